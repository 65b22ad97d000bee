#!/bin/bash
# TEST tier=default timeout=120 slots=1
# A small checkpoint damaged in every way that is one change: every byte of every file changed twice, every cut, every
# exchange of files (tests/tools/checkpoint_damage.c). Nothing is accepted, nothing crashes, the older one is taken.
. "$(dirname "$0")/../lib/common.sh"
seed=${SEED:-$RANDOM}
folder=$TEST_TMP
[ ! -w /dev/shm ] || folder=$(mktemp -d /dev/shm/dltrain-test-XXXXXX)
"$BUILD/tests/tools/checkpoint_damage" "$folder/checkpoints" "$seed" && code=0 || code=$?
[ "$folder" = "$TEST_TMP" ] || rm -rf "$folder"
exit $code
