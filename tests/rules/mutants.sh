#!/bin/bash
# TEST tier=default timeout=60 slots=1
# Every mutant's patch applies to the tree as it is, its context in full.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
n=0 bad=0
for patch in "$root"/tests/mutants/*.patch; do
    n=$((n + 1))
    if ! git -c safe.directory="*" -C "$root" apply --check "$patch" 2>/dev/null; then
        bad=$((bad + 1))
        echo "tests/mutants/$(basename "$patch"): does not apply; make it anew from the code as it is"
    fi
done
echo "$n mutants, $bad problems"
[ "$bad" -eq 0 ]
