#!/usr/bin/env bash
# setup.sh [PART…]: makes sure that what a part needs is there. Parts: build, web, demo, test
# (which includes all others; the default). Missing Debian packages are installed when this runs
# as root on a machine with apt-get; else it says which to install and fails.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

node_is_new_enough() { have npm && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'; }
venv_works() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

missing=()
need() { # need PACKAGE CHECK…: remembers the package when the check fails
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

install_missing() {
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" = 0 ] && have apt-get; then
        say "Installing ${missing[*]}"
        apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
        return
    fi
    fail "These Debian packages are missing: ${missing[*]}
Install them with: sudo apt-get install ${missing[*]}"
}

check_build() {
    have cargo || fail "Rust is missing: install it with rustup (https://rustup.rs)"
    need gcc have cc
}
check_web() { need npm have npm; need nodejs have node; }
check_demo() { check_build; need openssl have openssl; need python3 have python3; need curl have curl; }
check_test() {
    check_web
    check_demo
    need postgresql postgres_bin
    need chromium chromium_bin
    need python3-venv venv_works
    # The stories that fill a disk have mounts of their own.
    need util-linux have unshare
    need util-linux have nsenter
}

# The lock file's stamp tells whether what is installed is what it names.
install_npm() { # install_npm FOLDER
    node_is_new_enough || fail "Node.js 20 or newer is needed, but this is $(node --version)"
    local stamp=$1/node_modules/.package-lock.json
    [ -e "$stamp" ] && [ ! "$1/package-lock.json" -nt "$stamp" ] && return
    npm --prefix "$1" ci --no-audit --no-fund
    touch "$stamp"
}

install_python() {
    local stamp=.hearth/venv/installed
    [ -e "$stamp" ] && cmp -s scripts/requirements.txt "$stamp" && return
    mkdir -p .hearth
    python3 -m venv --clear .hearth/venv
    .hearth/venv/bin/pip install -q --disable-pip-version-check -r scripts/requirements.txt
    cp scripts/requirements.txt "$stamp"
}

for part in "${@:-test}"; do
    case $part in
        build | web | demo | test) "check_$part" ;;
        *) fail "setup.sh: no such part: $part" ;;
    esac
done
install_missing
for part in "${@:-test}"; do
    case $part in
        web) install_npm web-client ;;
        test) install_npm web-client; install_npm tests/clients/js-sdk; install_python ;;
    esac
done
