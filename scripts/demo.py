#!/usr/bin/env python3
"""The story of `make demo`, told through the real APIs: two people on two servers and a room.

Runs inside two-servers.sh, prints where to look, and waits until it is stopped (or, with --once,
ends when the story is told).
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

DEADLINE_SECONDS = 30


class Person:
    """Somebody with an account on one of the servers, logged in."""

    def __init__(self, localpart, name, base, config):
        made = subprocess.run(
            ["target/debug/hearthctl", "--config", config, "--json", "user", "create", localpart,
             "--display-name", name],
            stdout=subprocess.PIPE, text=True)
        answer = json.loads(made.stdout)
        if made.returncode:
            sys.exit(f"hearthctl could not make {localpart}: {answer['error']}")
        self.user_id, self.password, self.base, self.token = answer["user_id"], answer["password"], base, None
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": localpart},
            "password": self.password,
        }
        self.token = self.ask("POST", "/login", login)["access_token"]

    def ask(self, method, path, body=None):
        """One request of the client-server API. The name under .localhost is for browsers; here
        the connection goes to loopback itself."""
        url = urllib.parse.urlsplit(self.base)
        request = urllib.request.Request(
            f"http://127.0.0.1:{url.port}/_matrix/client/v3{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Host": url.netloc, "Content-Type": "application/json"})
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path} was answered with {error.code}: {error.read().decode()}")

    def say(self, room_id, text, txn_id):
        self.ask("PUT", f"/rooms/{quote(room_id)}/send/m.room.message/{txn_id}",
                 {"msgtype": "m.text", "body": text})

    def wait_for(self, room_id, text):
        """Until a message of that text has arrived here."""
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            chunk = self.ask("GET", f"/rooms/{quote(room_id)}/messages?dir=b&limit=50")["chunk"]
            if any(event.get("content", {}).get("body") == text for event in chunk):
                return
            time.sleep(0.2)
        sys.exit(f"{self.user_id} did not receive {text!r} within {DEADLINE_SECONDS} s")


def quote(text):
    return urllib.parse.quote(text, safe="")


def tell():
    env = os.environ
    alice = Person("alice", "Alice", env["HEARTH_E2E_ONE"], env["HEARTH_E2E_CONFIG_ONE"])
    bob = Person("bob", "Bob", env["HEARTH_E2E_TWO"], env["HEARTH_E2E_CONFIG_TWO"])
    room_id = alice.ask("POST", "/createRoom", {
        "name": "Kitchen table", "preset": "private_chat", "invite": [bob.user_id],
    })["room_id"]
    server = alice.user_id.split(":", 1)[1]
    bob.ask("POST", f"/join/{quote(room_id)}?server_name={quote(server)}", {})
    alice.say(room_id, "Welcome, Bob! Is the kettle on?", "1")
    bob.wait_for(room_id, "Welcome, Bob! Is the kettle on?")
    bob.say(room_id, "It is. From here on we talk encrypted.", "1")
    alice.wait_for(room_id, "It is. From here on we talk encrypted.")
    alice.ask("PUT", f"/rooms/{quote(room_id)}/state/m.room.encryption/", {"algorithm": "m.megolm.v1.aes-sha2"})
    return alice, bob


def main():
    alice, bob = tell()
    print("\n  Two organizations are running and know each other:\n")
    for person in (alice, bob):
        print(f"    {person.base}   sign in as {person.user_id.split(':')[0][1:]}, password {person.password}")
    print("\n  Both are in the room \"Kitchen table\". Open the two addresses side by side and talk.")
    print("  Ctrl-C ends both servers and removes everything.\n", flush=True)
    if "--once" not in sys.argv:
        threading.Event().wait()


if __name__ == "__main__":
    main()
