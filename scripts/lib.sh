# Shared by the scripts beside it; sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# free_ports COUNT: that many TCP ports of loopback that nobody uses.
free_ports() {
    python3 - "$1" <<'PY'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*[s.getsockname()[1] for s in held])
PY
}

# postgres_bin: the folder of initdb and pg_ctl; Debian keeps them off the PATH, newest last.
postgres_bin() {
    local folder
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V -r); do
        [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ] && { say "$folder"; return 0; }
    done
    have initdb && have pg_ctl && dirname "$(command -v initdb)"
}

# chromium_bin: a Chromium or Chrome for the browser tests.
chromium_bin() {
    local name
    [ -n "${CHROMIUM:-}" ] && { say "$CHROMIUM"; return 0; }
    for name in chromium chromium-browser google-chrome; do
        have "$name" && { command -v "$name"; return 0; }
    done
    return 1
}
