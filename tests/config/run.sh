#!/bin/bash
# TEST tier=quick timeout=120 slots=1
# Every wrong configuration of wrong/ gives exactly the messages in NN-name.expected, and exit status 2.
#   tests/config/run.sh [BINARY]        BINARY: default $BUILD/launcher/dltrain
# NN-name.args: further arguments, one a line. NN-name.sh: prints the configuration.
#   --accept         first word: writes the .expected files instead
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
accept=0
if [ "${1:-}" = --accept ]; then
    accept=1
    shift
fi
build=${BUILD:-$root/build}
binary=${1:-$build/launcher/dltrain}
case $binary in /*) ;; *) binary=$PWD/$binary ;; esac
[ -x "$binary" ] || {
    echo "$binary is not a program" >&2
    exit 1
}
work=$(mktemp -d "${TMPDIR:-/tmp}/dltrain-wrong-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here"/wrong/* "$work"
cd "$work" || exit 1
unset DLTRAIN_LOG
passed=0 failed=0 skipped=0

for script in *.sh; do
    bash "$script" >"${script%.sh}.yaml"
done
for file in *.yaml; do
    name=${file%.yaml}
    args=()
    if [ -f "$name.args" ]; then
        mapfile -t args <"$name.args"
    fi
    code=0
    timeout 20 "$binary" check "$file" "${args[@]}" >"$name.out" 2>"$name.err" </dev/null || code=$?
    if [ $accept -eq 1 ]; then
        cp "$name.err" "$here/wrong/$name.expected"
        cp "$name.err" "$name.expected"
    fi
    if [ "$code" -ne 2 ]; then
        echo "FAILED $name: exit status $code instead of 2"
        cat "$name.err"
        failed=$((failed + 1))
    elif ! diff -u "$name.expected" "$name.err" >"$name.diff" 2>&1; then
        echo "FAILED $name: other messages than expected"
        cat "$name.diff"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
