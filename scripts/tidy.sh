#!/usr/bin/env bash
# tidy.sh: rules about files that no linter keeps.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

found=0
complain() { say "$*" >&2; found=1; }

while IFS= read -r file; do
    case ${file##*/} in
        mod.rs | utils.* | common.* | misc.* | helper.* | helpers.* | manager.*) complain "$file: name it after its one idea" ;;
    esac
    case $file in
        *.rs | *.ts | *.tsx | *.mjs | *.py | *.sh)
            lines=$(wc -l <"$file")
            [ "$lines" -le 1000 ] || complain "$file has $lines lines, more than 1000"
            ;;
    esac
done < <(git ls-files --cached --others --exclude-standard | while IFS= read -r file; do
    [ -f "$file" ] && say "$file"
done)

for script in scripts/*.sh .ci/run; do
    bash -n "$script" || complain "$script is not valid"
done

# What planted-faults.sh plants must still be plantable.
for patch in tests/simulator/faults/*.patch; do
    git apply --check -C1 --recount "$patch" || complain "$patch does not apply any more: plant the fault anew"
done

# Both engines' migrations come in pairs.
if ! diff <(cd migrations/sqlite && ls) <(cd migrations/postgres && ls) >&2; then
    complain "migrations/sqlite and migrations/postgres differ in their files"
fi
exit $found
