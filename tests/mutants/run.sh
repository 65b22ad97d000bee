#!/bin/bash
# TEST tier=full timeout=3000 needs=python,plain
# Plants one fault at a time in a scratch copy of the tree and runs the test that must fail with it.
#
#   tests/mutants/run.sh [NUMBER ...]        e.g. tests/mutants/run.sh 03 11; no number: all
#
# A mutant is NN-name.patch: lines "# what:" and "# test:" (a name of tests/run.sh --list), then the patch. First every
# named test must pass without a fault. BUILD names a build folder; the scratch copy lies in $BUILD/mutants.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
BUILD=${BUILD:-$root/build}
case $BUILD in /*) ;; *) BUILD=$root/$BUILD ;; esac
unset TEST_TMP ROOT SANITIZE PYTHONPATH
work=$BUILD/mutants tree=$BUILD/mutants/tree

header() {
    sed -n "s/^# $2: *//p" "$1"
}

# sync: the scratch tree is the real one, files that are equal keep their times so that little is compiled.
sync_tree() {
    mkdir -p "$tree"
    (cd "$root" && git -c safe.directory='*' ls-files -co --exclude-standard -z) | tr '\0' '\n' | sort >"$work/files"
    (cd "$tree" && find . -type f -printf '%P\n' | sort) | comm -13 "$work/files" - | while read -r gone; do
        rm -f "${tree:?}/$gone"
    done
    while read -r file; do
        [ -f "$root/$file" ] || continue
        cmp -s "$root/$file" "$tree/$file" && continue
        mkdir -p "$(dirname "$tree/$file")"
        cp -p "$root/$file" "$tree/$file"
        touch "$tree/$file"
    done <"$work/files"
}

build() {
    sh "$tree/launcher/build.sh" "$work/build" -DDLTRAIN_TESTS=ON >"$work/build.log" 2>&1
}

# run_tests NAMES: with the scratch tree's runner.
run_tests() {
    BUILD=$work/build SHARED_DATA=${SHARED_DATA:-$root/../shared/data} \
        python3 "$tree/tests/lib/runner.py" --full --only "$1"
}

mkdir -p "$work"
sync_tree
build || { tail -n 20 "$work/build.log"; echo "the scratch copy does not build"; exit 1; }
patches=()
for patch in "$here"/*.patch; do
    name=$(basename "$patch" .patch)
    if [ $# -eq 0 ] || [[ " $* " == *" ${name%%-*} "* ]]; then
        patches+=("$patch")
    fi
done
names=$(for patch in "${patches[@]}"; do header "$patch" test; done | sort -u | paste -sd,)
echo "without a fault: $names"
run_tests "$names" >"$work/clean.log" 2>&1 || grep -A 10 '^FAIL' "$work/clean.log"
living=()
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch) wanted=$(header "$patch" test)
    if ! grep -q "^PASS $wanted " "$work/clean.log"; then
        living+=("$name")
        echo "LIVES $name: $wanted does not pass without the fault"
        continue
    fi
    if ! patch -d "$tree" -p1 -F0 --dry-run -s <"$patch" >"$work/patch.log" 2>&1; then
        living+=("$name")
        echo "LIVES $name: the patch does not apply"
        sed 's/^/    | /' "$work/patch.log"
        continue
    fi
    patch -d "$tree" -p1 -s --no-backup-if-mismatch <"$patch"
    if ! build; then
        living+=("$name")
        echo "LIVES $name: does not build"
        grep -m 5 'error' "$work/build.log" | sed 's/^/    | /'
    elif run_tests "$wanted" >"$work/$name.log" 2>&1; then
        living+=("$name")
        echo "LIVES $name: $wanted passes with: $(header "$patch" what)"
    else
        echo "found $name by $wanted: $(header "$patch" what)"
    fi
    sync_tree
done
echo "${#patches[@]} mutants, $((${#patches[@]} - ${#living[@]})) found"
[ ${#living[@]} -eq 0 ] || { echo "living: ${living[*]}"; exit 1; }
