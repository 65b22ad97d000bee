# Shared by the acceptance scripts: . "$(dirname "$0")/lib.sh"
# shellcheck shell=bash disable=SC1091
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

# pieces [--nightly] PATTERN[,PATTERN...]: these tests pass, none is skipped, and at least one is there for each
# pattern; with --nightly in their larger versions.
pieces() {
    local pattern log=$TEST_TMP/pieces.log tier=--full
    if [ "$1" = --nightly ]; then
        tier=$1
        shift
    fi
    for pattern in ${1//,/ }; do
        [ -n "$(env -u TEST_TMP python3 "$LIB/runner.py" "$tier" --only "$pattern" --list)" ] ||
            fail "there is no test $pattern"
    done
    env -u TEST_TMP python3 "$LIB/runner.py" "$tier" --only "$1" | tee "$log" || fail "tests failed: $1"
    grep -q ', 0 skipped$' "$log" || fail "tests were skipped"
}

# has FILE PATTERN...: extended regular expressions that the file of the tree must match, one each.
has() {
    local file=$ROOT/$1 pattern
    shift
    [ -s "$file" ] || fail "$file is not there"
    for pattern in "$@"; do
        grep -Eiq -- "$pattern" "$file" || fail "${file#"$ROOT"/} says nothing of: $pattern"
    done
}

# clone: a fresh clone of what is committed, in the folder `clone`.
clone() {
    git -c safe.directory='*' clone -q "$ROOT" clone
}
