#!/usr/bin/env bash
# Fuzzes each target, or those that are named, for a while: tests/fuzz/run.sh [seconds] [target…]
#
# Needs a nightly toolchain and a C++ compiler. What a target crashes on is written to
# target/fuzz/found; what is new and interesting is put into the corpus, minimized.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
shift || true
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
    for folder in corpus/*/; do targets+=("$(basename "$folder")"); done
fi

out=$(realpath -m ../../target/fuzz)
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
# What `cargo fuzz` builds with, but without a sanitizer: there is no unsafe code to watch.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Ccodegen-units=1"
cargo +nightly build --quiet --locked --release --target "$triple" --target-dir "$out"
fuzzer="$out/$triple/release/hearth-fuzz"

mkdir -p "$out/found"
for target in "${targets[@]}"; do
    export HEARTH_FUZZ_TARGET=$target
    work="$out/corpus/$target"
    mkdir -p "$work"
    echo "== $target, $seconds s"
    # An event has 65,536 bytes at most, but what is slow there is slow at a sixteenth of it.
    "$fuzzer" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
        -dict=json.dict -artifact_prefix="$out/found/$target-" "$work" "corpus/$target" 2>&1 |
        grep -E '^(stat::|SUMMARY|==|artifact|.*panicked)|ERROR' || true
    if compgen -G "$out/found/$target-*" >/dev/null; then
        echo "$target: see $out/found" >&2
        exit 1
    fi
done
