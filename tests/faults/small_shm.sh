#!/bin/bash
# TEST tier=quick timeout=60
# A /dev/shm that is too small: ranks sum through MPI instead, said once, with the right sums; and no SIGBUS.
. "$(dirname "$0")/../lib/common.sh"
program=$BUILD/tests/mpi/mpi_reduce
[ -x "$program" ] || fail "$program is not built"
unshare -m true 2>/dev/null || skip "no mount namespaces for this user"

# with_shm SIZE COMMAND...: /dev/shm has that size.
with_shm() {
    local size=$1
    shift
    unshare -m bash -c 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && exec "$@"' "$size" "$@"
}

# The control area fits, arenas of a megabyte do not; then nothing fits.
for size in 3m 64k; do
    expect_exit 0 with_shm "$size" timeout 50 mpirun --oversubscribe --bind-to none -np 2 "$program"
    [ "$(grep -c 'dltrain: warning: no shared memory' err)" -eq 1 ] || { cat err >&2; fail "not said once"; }
    expect_text err '/dev/shm has [0-9.]+ MiB free'
done
expect_exit 0 with_shm 64m timeout 50 mpirun --oversubscribe --bind-to none -np 2 "$program"
[ ! -s err ] || { cat err >&2; fail "a warning although there is room"; }
echo "3 sizes of /dev/shm"
