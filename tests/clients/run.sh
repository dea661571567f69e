#!/usr/bin/env bash
# run.sh: what clients that are not ours do with two servers, one after the other. Runs inside
# scripts/two-servers.sh; matrix-nio comes last, since it kills a server and starts it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

node tests/clients/js-sdk/story.mjs
.hearth/venv/bin/python tests/clients/nio_story.py
