#!/usr/bin/env bash
# run.sh: a homeserver for one machine, on loopback with SQLite, in .hearth/run. PORT changes the port.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

port=${PORT:-8008}
config=.hearth/run/hearth.toml
address=http://localhost:$port
hearthctl="target/debug/hearthctl --config $config"

if [ ! -e "$config" ]; then
    $hearthctl init --server-name localhost --open-registration >/dev/null
fi
cat <<TEXT

  Open $address and choose "Create account" to make the first account,
  or make it here, in another terminal:
      $hearthctl user create NAME --admin

  Ctrl-C ends the server; what it stored stays in .hearth/run.

TEXT
exec target/debug/hearth --config "$config" \
    --set "server.public_url=$address" \
    --set "listener=[{ bind = \"127.0.0.1:$port\" }]"
