#!/bin/bash
# TEST tier=full timeout=900 needs=clang
# Fuzzes what reads files of others, SECONDS (default 20) a target, starting from the kept corpora:
#
#   tests/fuzz/run.sh [SECONDS] [TARGET ...]
#
# A finding is kept in $BUILD/findings and makes the exit status 1. BUILD: default build-fuzz. New inputs that reach new
# code stay in $BUILD/new/TARGET; `fuzz_TARGET -merge=1 tests/fuzz/corpus/TARGET $BUILD/new/TARGET` keeps the useful.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
seconds=${1:-20}
[ $# -eq 0 ] || shift
# Under tests/run.sh, BUILD is an ordinary build: the fuzzers' lies inside it.
if [ -n "${TEST_TMP:-}" ]; then
    BUILD=$BUILD/fuzz
fi
BUILD=${BUILD:-$root/build-fuzz}
mkdir -p "$BUILD"
BUILD=$(cd "$BUILD" && pwd -P)

if ! TARGET=fuzzers CC=clang sh "$root/launcher/build.sh" "$BUILD" -DDLTRAIN_SANITIZE=fuzzer \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$BUILD/build.log" 2>&1; then
    tail -n 30 "$BUILD/build.log"
    exit 1
fi
export ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=$root/tests/lib/lsan.supp:print_suppressions=0
mkdir -p "$BUILD/findings"
rm -f "$BUILD"/*.said "$BUILD"/*.end
failed=()
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in "$root"/tests/fuzz/*.c; do
        targets+=("$(basename "$source" .c)")
    done
fi

# fuzz TARGET: one line and status 0, or what was found and status 1.
fuzz() {
    local target=$1 corpus=$root/tests/fuzz/corpus/$1
    [ -n "$(ls -A "$corpus" 2>/dev/null)" ] || { echo "$target: no corpus in $corpus"; return 1; }
    mkdir -p "$BUILD/new/$target"
    if (cd "$BUILD" && "$BUILD/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=65536 -print_final_stats=1 -artifact_prefix="$BUILD/findings/$target-" "new/$target" "$corpus") \
        >"$BUILD/$target.log" 2>&1; then
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$BUILD/$target.log") inputs, nothing found"
    else
        grep -E '^(==|SUMMARY|stat|Test unit)' "$BUILD/$target.log" | head -n 20
        tail -n 20 "$BUILD/$target.log"
        return 1
    fi
}

# As many targets at a time as there are cores.
for target in "${targets[@]}"; do
    while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do
        wait -n || true
    done
    (fuzz "$target" >"$BUILD/$target.said" 2>&1 && echo ok >"$BUILD/$target.end" || echo failed >"$BUILD/$target.end") &
done
wait
for target in "${targets[@]}"; do
    cat "$BUILD/$target.said"
    [ "$(cat "$BUILD/$target.end")" = ok ] || failed+=("$target")
done
[ ${#targets[@]} -gt 0 ] || { echo "there are no targets"; exit 1; }
[ ${#failed[@]} -eq 0 ] || { echo "findings: ${failed[*]} (see $BUILD/findings)"; exit 1; }
echo "${#targets[@]} targets, $seconds s each, nothing found"
