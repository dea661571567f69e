#!/usr/bin/env bash
# A private PostgreSQL on a free loopback port, for the tests.
#
#   postgres.sh run COMMAND…   runs COMMAND with HEARTH_TEST_POSTGRES set, then removes everything
#   postgres.sh start          starts one and prints the variable: eval "$(scripts/postgres.sh start)"
#   postgres.sh stop           removes the one that `start` made
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

remembered=.hearth/postgres
bin=$(postgres_bin) || fail "PostgreSQL (initdb, pg_ctl) is missing: run scripts/setup.sh"

# initdb refuses root: there, an unprivileged user owns the cluster.
if [ "$(id -u)" = 0 ]; then
    owner=$(id -un postgres 2>/dev/null || say nobody)
    as_owner() { (cd / && setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups "$@"); }
else
    owner=$(id -un)
    as_owner() { "$@"; }
fi

start() { # sets $folder and $url
    local port password connections
    folder=$(mktemp -d "${TMPDIR:-/tmp}/hearth-postgres.XXXXXX")
    port=$(free_ports 1)
    password=$(openssl rand -hex 16)
    say "$password" >"$folder/password"
    chown -R "$owner" "$folder"
    as_owner "$bin/initdb" --pgdata="$folder/data" --username=hearth --pwfile="$folder/password" \
        --auth=scram-sha-256 --locale=C --encoding=UTF8 >"$folder/initdb.log" 2>&1 ||
        fail "$(cat "$folder/initdb.log")"
    # A test is a server or two, each with its pool and its followers, and as many tests run at once
    # as there are processors.
    connections=$((200 + 80 * $(nproc)))
    cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$folder'
max_connections = $connections
fsync = on
CONF
    as_owner "$bin/pg_ctl" --pgdata="$folder/data" --log="$folder/log" --wait --silent start ||
        fail "$(cat "$folder/log")"
    url="postgres://hearth:$password@127.0.0.1:$port/postgres"
}

stop() { # of $folder
    [ -e "$folder/data/postmaster.pid" ] &&
        as_owner "$bin/pg_ctl" --pgdata="$folder/data" --mode=fast --wait --silent stop
    rm -rf "$folder"
}

case ${1:-} in
    run)
        shift
        folder=
        trap '[ -n "$folder" ] && stop' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        start
        HEARTH_TEST_POSTGRES=$url "$@" &
        wait $!
        ;;
    start)
        [ ! -e "$remembered" ] || fail "One is running already: scripts/postgres.sh stop ends it"
        start >&2
        mkdir -p .hearth
        say "$folder" >"$remembered"
        say "export HEARTH_TEST_POSTGRES='$url'"
        ;;
    stop)
        [ -e "$remembered" ] || fail "None is running"
        folder=$(cat "$remembered")
        stop
        rm "$remembered"
        ;;
    *) fail "usage: postgres.sh run COMMAND… | start | stop" ;;
esac
