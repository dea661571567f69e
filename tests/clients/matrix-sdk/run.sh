#!/usr/bin/env bash
# run.sh: the story of matrix-sdk. Runs inside scripts/two-servers.sh. It is compiled in a workspace of
# its own, without the flags of ours.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

RUSTFLAGS='' exec cargo run --locked --quiet
