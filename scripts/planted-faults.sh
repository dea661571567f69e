#!/usr/bin/env bash
# planted-faults.sh [PATCH…]: whether the simulator sees.
#
# Each patch in tests/simulator/faults plants one fault. A copy of the tree gets it, the simulator runs
# there, and must fail within 500 seeds, by one of the oracles that are there for such faults: another
# one may have seen something else. A patch that no longer applies, or with which the tree no longer
# compiles, is an error, too. The lines before its first `---` say what it is: `# fault: …`, `# level: 1`
# (federation/protocol) or `2` (engines), `# oracle: …` (which ones see it, with commas between them).
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

# simulator LEVEL [--no-run]: builds it in the copy, and runs it there.
simulator() {
    local package=hearth-protocol
    [ "$1" = 2 ] && package=hearth-tests
    (cd "$tree" && CARGO_TARGET_DIR=$place/target HEARTH_SIM_SEEDS=$seeds HEARTH_SIM_SHRINK=0 \
        nice cargo test --quiet -p "$package" --test simulator "${@:2}") >"$place/log" 2>&1
}

missed=0
miss() { say "$@"; missed=1; }

# judge NAME FAULT ORACLES: what the simulator's output says, once it has failed.
judge() {
    local found seed oracle
    if ! found=$(grep -m1 -oE 'seed [0-9]+ failed: [^:]+' "$place/log"); then
        tail -n 30 "$place/log" >&2
        miss "NOT RUN    $1 ($2): the simulator failed otherwise"
        return
    fi
    seed=$(cut -d' ' -f2 <<<"$found") oracle=${found#*failed: }
    case ", $3, " in
        *", $oracle, "*) say "found      $1 ($2): by seed $seed, oracle: $oracle, $((SECONDS - began)) s" ;;
        *) miss "ELSEWHERE  $1 ($2): by seed $seed, oracle: $oracle, and not $3" ;;
    esac
}

[ $# -gt 0 ] || set -- tests/simulator/faults/*.patch
copy
for patch in "$@"; do
    patch=$(realpath "$patch")
    name=$(basename "$patch" .patch)
    fault=$(header fault "$patch")
    level=$(header level "$patch")
    oracles=$(header oracle "$patch")
    [ -n "$fault" ] && [ -n "$level" ] && [ -n "$oracles" ] || fail "$name: says not all of fault, level and oracle"
    apply "$patch" || fail "$name: does not apply any more"
    began=$SECONDS
    if ! simulator "$level" --no-run; then
        tail -n 30 "$place/log" >&2
        miss "NOT RUN    $name ($fault): does not compile any more"
    elif simulator "$level"; then
        miss "NOT FOUND  $name ($fault) in $seeds seeds"
    else
        judge "$name" "$fault" "$oracles"
    fi
    apply --reverse "$patch"
done
exit "$missed"
