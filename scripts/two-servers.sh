#!/usr/bin/env bash
# two-servers.sh COMMAND…: runs COMMAND while two organizations' homeservers run on loopback, each
# with its own name, a certificate from a CA made for this run, and SQLite in a temporary folder, or,
# with ENGINE=postgres, a database of its own in the PostgreSQL of HEARTH_TEST_POSTGRES.
# Nothing is left when COMMAND ends or this is stopped.
#
# COMMAND finds HEARTH_E2E_ONE and HEARTH_E2E_TWO (the addresses for people: plain HTTP on loopback,
# which browsers take for secure), HEARTH_E2E_CONFIG_ONE and …_TWO (the configuration files),
# HEARTH_E2E_PID_ONE and …_TWO (the processes, which it may end and start anew), and HEARTH_E2E_CA
# (the certificate of the CA). HEARTH_… settings reach both servers; PROFILE=release
# takes the binaries of a release build.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$(mktemp -d "${TMPDIR:-/tmp}/hearth-two.XXXXXX")
children=()
databases=()
postgres() { "$(postgres_bin)/psql" "$HEARTH_TEST_POSTGRES" --quiet --command="$1"; }
cleanup() {
    # The newest first: COMMAND before the servers it talks to.
    local i
    for ((i = ${#children[@]} - 1; i >= 0; i--)); do
        kill "${children[i]}" 2>/dev/null || true
        wait "${children[i]}" 2>/dev/null || true
    done
    local name
    for name in "${databases[@]}"; do
        postgres "DROP DATABASE IF EXISTS $name"
    done
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

certificate() { # certificate NAME: signed by the CA, for one host
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$folder/$1.key" -out "$folder/$1.csr" 2>/dev/null
    openssl x509 -req -in "$folder/$1.csr" -days 2 -CA "$folder/ca.crt" -CAkey "$folder/ca.key" \
        -CAcreateserial -out "$folder/$1.crt" -extfile <(say "subjectAltName=DNS:$1
extendedKeyUsage=serverAuth
basicConstraints=CA:FALSE") 2>/dev/null
}

database() { # database HOST: makes one where it is not a file, and adds it to the configuration
    [ "${ENGINE:-sqlite}" = postgres ] || return 0
    local name=${1%%.*}_$$
    postgres "CREATE DATABASE $name"
    databases+=("$name")
    cat >>"$folder/$1.toml" <<TOML

[database]
url = "${HEARTH_TEST_POSTGRES%/*}/$name"
TOML
}

server() { # server HOST FEDERATION_PORT WEB_PORT: its configuration, then its process
    local host=$1 federation_port=$2 web_port=$3
    certificate "$host"
    cat >"$folder/$host.toml" <<TOML
[server]
name = "$host:$federation_port"
public_url = "http://$host:$web_port"
data_dir = "$host"

[[listener]]
bind = "127.0.0.1:$federation_port"
tls_cert = "$host.crt"
tls_key = "$host.key"

[[listener]]
bind = "127.0.0.1:$web_port"
resources = ["client", "media", "web"]

[registration]
enabled = true

[federation]
allow_loopback = true
trusted_ca = ["ca.crt"]
retry_initial_ms = 100
TOML
    database "$host"
    "target/${PROFILE:-debug}/hearth" --config "$folder/$host.toml" 2>"$folder/$host.log" &
    children+=($!)
}

answers() { # answers PORT HOST: waits until the server there serves clients
    local tries
    for tries in $(seq 150); do
        curl -fs -o /dev/null "http://127.0.0.1:$1/_matrix/client/versions" && return
        kill -0 "${children[-1]}" 2>/dev/null || break
        sleep 0.2
    done
    fail "The server $2 did not start:
$(cat "$folder/$2.log")"
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=Hearth demonstration CA" \
    -keyout "$folder/ca.key" -out "$folder/ca.crt" 2>/dev/null
read -r federation_one web_one federation_two web_two < <(free_ports 4)
server one.localhost "$federation_one" "$web_one"
answers "$web_one" one.localhost
server two.localhost "$federation_two" "$web_two"
answers "$web_two" two.localhost

HEARTH_E2E_ONE=http://one.localhost:$web_one HEARTH_E2E_TWO=http://two.localhost:$web_two \
    HEARTH_E2E_CONFIG_ONE=$folder/one.localhost.toml HEARTH_E2E_CONFIG_TWO=$folder/two.localhost.toml \
    HEARTH_E2E_PID_ONE=${children[0]} HEARTH_E2E_PID_TWO=${children[1]} \
    HEARTH_E2E_CA=$folder/ca.crt "$@" &
children+=($!)
status=0
wait $! || status=$?
if [ "$status" != 0 ]; then
    for host in one.localhost two.localhost; do
        say "--- the last lines of $host:" "$(tail -n 40 "$folder/$host.log")" >&2
    done
fi
exit "$status"
