#!/usr/bin/env python3
"""Measures homeservers in turn through the public client-server API, one scenario of hearth-load after
the other, each on a server that was started for it. Prints a row per figure and server as Markdown.

Hearth runs as it was built for release; where --postgres names an administrator's URL (and
--postgres-pid the server's process), once more on a database of its own there; where --synapse names
a Python environment that has it, Synapse runs beside them, on SQLite, its logs at warnings.
"""

import argparse
import asyncio
import json
import os
import pathlib
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
READY_SECONDS = 60
SETTLE_SECONDS = 10

# Name, arguments, fewer of them where a server takes long, whether passwords are hashed as in use.
SCENARIOS = [
    ("send", [], ["--requests=1000"], False),
    ("send-one-room", ["--senders=64", "--rooms=1"], ["--senders=64", "--rooms=1", "--requests=1000"], False),
    ("send-many-rooms", ["--senders=64", "--rooms=64"], None, False),
    ("fanout", ["--listeners=50"], ["--listeners=50", "--requests=50"], False),
    ("fanout-100", ["--members=100", "--listeners=100"], ["--members=100", "--listeners=100", "--requests=50"], False),
    ("fanout-50", ["--members=50", "--listeners=50"], ["--members=50", "--listeners=50", "--requests=50"], False),
    ("sync-incremental", [], ["--requests=500"], False),
    ("sync-initial", [], ["--requests=30"], False),
    ("sync-initial-50", ["--rooms=50", "--state=30", "--messages=20", "--requests=60"],
     ["--rooms=50", "--state=30", "--messages=20", "--requests=10"], False),
    ("sliding", [], ["--requests=50"], False),
    ("sliding-2000", ["--rooms=2000", "--state=0", "--messages=0"], None, False),
    ("messages", [], ["--messages=3000", "--requests=50"], False),
    # Larger than what is kept in memory, and filled in two minutes, about: most of its pages are read from the database.
    ("messages-large", ["--messages=200000"], None, False),
    ("state", [], ["--requests=30"], False),
    ("join", [], ["--members=300"], False),
    ("create", [], ["--requests=30"], False),
    ("register", [], ["--requests=20"], True),
    ("login", [], ["--requests=20"], True),
    ("mixed", [], ["--requests=2000"], False),
    ("ephemeral", [], ["--requests=200"], False),
    ("idle", [], ["--connections=300"], False),
    ("idle-tls", [], None, False),
]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Server:
    """A running homeserver with a folder of its own, which goes with it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="hearth-measure.")
        self.path = pathlib.Path(self.folder.name)
        self.port = free_port()
        self.process = None
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, hashes):
        self.configure(hashes)
        self.begin()

    def begin(self):
        log = (self.path / "log").open("ab")
        started = time.monotonic()
        self.process = subprocess.Popen(self.command(), cwd=self.path, stdout=log, stderr=log,
                                        env=os.environ | self.environment())
        while time.monotonic() - started < READY_SECONDS:
            try:
                with urllib.request.urlopen(f"{self.url}/_matrix/client/versions", timeout=5):
                    return time.monotonic() - started, cpu_seconds(self.process.pid)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.01)
        sys.exit(f"{self.name} did not start:\n{(self.path / 'log').read_text()[-3000:]}")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def close(self):
        self.end()
        self.folder.cleanup()

    def environment(self):
        return {}

    def pids(self):
        return [self.process.pid]


class Hearth(Server):
    name = "Hearth, SQLite"

    def __init__(self, options):
        super().__init__()
        self.binary = ROOT / "target" / "release" / "hearth" if options.hearth is None else options.hearth

    def configure(self, hashes):
        self.tls_port = free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-keyout", "tls.key", "-out", "tls.crt"],
                       cwd=self.path, check=True, capture_output=True)
        cost = "" if hashes else "argon2_memory_kib = 64\nargon2_passes = 1\n"
        (self.path / "hearth.toml").write_text(f"""
[server]
name = "localhost:{self.port}"
public_url = "{self.url}"
data_dir = "{self.path}/data"
[[listener]]
bind = "127.0.0.1:{self.port}"
resources = ["client", "keys"]
[[listener]]
bind = "127.0.0.1:{self.tls_port}"
resources = ["client"]
tls_cert = "{self.path}/tls.crt"
tls_key = "{self.path}/tls.key"
[registration]
enabled = true
[password]
{cost}
[rate_limit]
enabled = false
[log]
level = "warn"
{self.database()}
""")

    def database(self):
        return ""

    def command(self):
        return [self.binary, "--config", "hearth.toml"]


class HearthOnPostgres(Hearth):
    name = "Hearth, PostgreSQL"

    def __init__(self, options):
        super().__init__(options)
        self.admin, self.postmaster = options.postgres, options.postgres_pid
        self.schema = f"measure_{secrets.token_hex(6)}"
        self.psql(f"CREATE DATABASE {self.schema}")

    def psql(self, text):
        subprocess.run(["psql", "--quiet", self.admin, "--command", text], check=True)

    def database(self):
        return f'[database]\nurl = "{self.admin.rsplit("/", 1)[0]}/{self.schema}"'

    def pids(self):
        return [self.process.pid, self.postmaster]

    def close(self):
        super().close()
        self.psql(f"DROP DATABASE {self.schema} WITH (FORCE)")


class Synapse(Server):
    name = "Synapse, SQLite"

    def __init__(self, options):
        super().__init__()
        self.python = pathlib.Path(options.synapse) / "bin" / "python"

    def configure(self, hashes):
        plenty = "{per_second: 100000, burst_count: 100000}"
        rates = "\n".join(f"{name}: {plenty}" for name in [
            "rc_message", "rc_registration", "rc_admin_redaction", "rc_joins_per_room", "rc_room_creation",
            "rc_presence", "rc_delayed_event_mgmt", "rc_3pid_validation"])
        rounds = 12 if hashes else 4
        (self.path / "log.yaml").write_text("version: 1\nroot: {level: WARNING}\n")
        (self.path / "homeserver.yaml").write_text(f"""
server_name: "localhost:{self.port}"
public_baseurl: "{self.url}/"
report_stats: false
pid_file: "{self.path}/pid"
signing_key_path: "{self.path}/signing.key"
media_store_path: "{self.path}/media"
log_config: "{self.path}/log.yaml"
listeners:
  - {{port: {self.port}, type: http, bind_addresses: ["127.0.0.1"], resources: [{{names: [client], compress: false}}]}}
database: {{name: sqlite3, args: {{database: "{self.path}/homeserver.db"}}}}
enable_registration: true
enable_registration_without_verification: true
suppress_key_server_warning: true
trusted_key_servers: []
bcrypt_rounds: {rounds}
experimental_features: {{msc3575_enabled: true}}
{rates}
rc_login: {{address: {plenty}, account: {plenty}, failed_attempts: {plenty}}}
rc_joins: {{local: {plenty}, remote: {plenty}}}
rc_invites: {{per_room: {plenty}, per_user: {plenty}, per_issuer: {plenty}}}
""")
        subprocess.run([self.python, "-m", "synapse.app.homeserver", "-c", "homeserver.yaml", "--generate-keys"],
                       cwd=self.path, check=True, capture_output=True)

    def command(self):
        return [self.python, "-m", "synapse.app.homeserver", "-c", "homeserver.yaml"]


class TlsTunnel:
    """Speaks TLS for a client that does not: each connection to it is one over TLS to a server."""

    def __init__(self, port):
        self.to = port
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.loop = asyncio.new_event_loop()
        # Connections that are open at the end are no error.
        self.loop.set_exception_handler(lambda *_: None)
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.carry, "127.0.0.1", 0), self.loop)
        self.port = listening.result().sockets[0].getsockname()[1]

    async def carry(self, reader, writer):
        there = await asyncio.open_connection("127.0.0.1", self.to, ssl=self.context)
        await asyncio.gather(self.copy(reader, there[1]), self.copy(there[0], writer))

    @staticmethod
    async def copy(reader, writer):
        try:
            while read := await reader.read(65536):
                writer.write(read)
                await writer.drain()
        except OSError:
            pass
        writer.close()


def run(options, server, scenario):
    name, usual, fewer, _ = scenario
    arguments = usual if not isinstance(server, Synapse) else fewer
    if arguments is None:
        return {}
    verb = next(verb for verb in VERBS if name == verb or name.startswith(f"{verb}-"))
    load = ROOT / "target" / "release" / "hearth-load" if options.load is None else options.load
    pids = [f"--pid={pid}" for pid in server.pids()]
    url = f"http://127.0.0.1:{TlsTunnel(server.tls_port).port}" if name == "idle-tls" else server.url
    done = subprocess.run([load, f"--url={url}", *pids, "--json", verb, *arguments],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{server.name}, {name}: {done.stderr.strip()}", file=sys.stderr)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


VERBS = ["sync-incremental", "sync-initial", "send", "fanout", "sliding", "messages", "state", "join", "create",
         "register", "login", "mixed", "ephemeral", "idle"]


def written(row):
    if "figure" in row:
        return f"{row['figure']:.3f} {row['unit']}"
    cpu = "–" if row["cpu_ms"] is None else f"{row['cpu_ms']:.3f} ms"
    return (f"{cpu} CPU, {row['rate']:.0f}/s, p50 {row['p50_ms']:.1f} p95 {row['p95_ms']:.1f} ms, "
            f"{(row['resident_kib'] or 0) / 1024:.0f} MB")


def figures_of_process(server):
    """Memory after load and at rest, and what it costs to start with what is there."""
    pid = server.process.pid
    time.sleep(SETTLE_SECONDS)
    after = resident_mb(pid)
    server.end()
    wall, cpu = server.begin()
    time.sleep(3)
    idle = resident_mb(server.process.pid)
    return [("memory ten seconds after", f"{after:.0f} MB"), ("memory idle, started anew", f"{idle:.0f} MB"),
            ("start to ready", f"{cpu:.2f} s CPU, {wall:.2f} s")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hearth", help="the server (target/release/hearth)", type=pathlib.Path)
    parser.add_argument("--load", help="the load tool (target/release/hearth-load)", type=pathlib.Path)
    parser.add_argument("--postgres", help="an administrator's URL", default=os.environ.get("HEARTH_TEST_POSTGRES"))
    parser.add_argument("--postgres-pid", type=int, help="the process of that PostgreSQL")
    parser.add_argument("--synapse", help="a Python environment that has matrix-synapse")
    parser.add_argument("--only", help="one of sqlite, postgres, synapse", action="append")
    parser.add_argument("scenarios", nargs="*", help="all by default")
    options = parser.parse_args()
    servers = {"sqlite": Hearth}
    if options.postgres and options.postgres_pid:
        servers["postgres"] = HearthOnPostgres
    if options.synapse:
        servers["synapse"] = Synapse
    load = os.getloadavg()
    print(f"load at the beginning: {load[0]:.1f} {load[1]:.1f} {load[2]:.1f}", flush=True)
    for scenario in SCENARIOS:
        if options.scenarios and scenario[0] not in options.scenarios:
            continue
        for kind, make in servers.items():
            if options.only and kind not in options.only:
                continue
            server = make(options)
            server.start(hashes=scenario[3])
            over = ", TLS" if scenario[0] == "idle-tls" else ""
            try:
                for row in run(options, server, scenario):
                    print(f"| {server.name}{over} | {row['name']} | {written(row)} |", flush=True)
                if scenario[0] == "mixed":
                    for name, figure in figures_of_process(server):
                        print(f"| {server.name} | {name} | {figure} |", flush=True)
            finally:
                server.close()


if __name__ == "__main__":
    main()
