#!/usr/bin/env bash
# planted-faults.sh [PATCH…]: whether the simulator sees.
#
# Each patch in tests/simulator/faults plants one fault. A copy of the tree gets it, the simulator runs
# there, and must fail within 500 seeds. A patch that no longer applies is an error, too. The lines
# before its first `---` say what it is: `# fault: …`, `# level: 1` (federation/protocol) or `2`
# (engines), `# oracle: …` (which ones see it).
#
# SEEDS=500 is how many seeds each fault has to be found in; COMMIT=HEAD takes the files as they were
# committed instead of as they are. The copy and what is compiled of it stay in target/planted.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seeds=${SEEDS:-500}
place=$root/target/planted
tree=$place/tree
mkdir -p "$place"

# The copy keeps the files' times, so that only what a patch touches is compiled again.
copy() {
    rm -rf "$tree"
    mkdir -p "$tree"
    if [ -n "${COMMIT:-}" ]; then
        git archive "$COMMIT" | tar --extract --directory "$tree"
        return
    fi
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        [ -f "$file" ] && printf '%s\0' "$file"
    done | tar --create --null --files-from=- | tar --extract --directory "$tree"
}

# A repository further up would make git look for the paths there.
apply() { GIT_CEILING_DIRECTORIES=$place git -C "$tree" apply -C1 --recount "$@"; }

header() { sed -n "/^---/q;s/^# $1: *//p" "$2"; }

simulator() {
    local package=hearth-protocol
    [ "$1" = 2 ] && package=hearth-tests
    (cd "$tree" && CARGO_TARGET_DIR=$place/target HEARTH_SIM_SEEDS=$seeds HEARTH_SIM_SHRINK=0 \
        nice cargo test --quiet -p "$package" --test simulator) >"$place/log" 2>&1
}

[ $# -gt 0 ] || set -- tests/simulator/faults/*.patch
copy
missed=0
for patch in "$@"; do
    patch=$(realpath "$patch")
    name=$(basename "$patch" .patch)
    fault=$(header fault "$patch")
    level=$(header level "$patch")
    [ -n "$fault" ] && [ -n "$level" ] || fail "$name: says neither its fault nor its level"
    apply "$patch" || fail "$name: does not apply any more"
    began=$SECONDS
    if simulator "$level"; then
        say "NOT FOUND  $name ($fault) in $seeds seeds"
        missed=1
    elif found=$(grep -m1 -oE 'seed [0-9]+ failed: [^:]+' "$place/log"); then
        say "found      $name ($fault): $(sed -E 's/seed ([0-9]+) failed: /by seed \1, oracle: /' <<<"$found"), $((SECONDS - began)) s"
    else
        tail -n 30 "$place/log" >&2
        fail "$name: the simulator could not be run"
    fi
    apply --reverse "$patch"
done
exit "$missed"
