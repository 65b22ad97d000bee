#!/bin/bash
# TEST tier=default timeout=120 slots=1
# The nccl communicator where NCCL fails (tests/mpi/fake_nccl.c plays its part): every failure ends the job in time,
# with the message of one rank, which says what to look at; nothing waits forever.
. "$(dirname "$0")/../lib/common.sh"
program=$BUILD/tests/mpi/mpi_conformance_fake
[ -x "$program" ] || { echo "SKIP: built without CUDA"; exit 77; }

# fails HOW RANKS PATTERN
fails() {
    local start=$SECONDS
    ! FAKE_NCCL=$1 DLTRAIN_NCCL_TIMEOUT=${limit:-1} timeout 30 \
        mpirun --oversubscribe --bind-to none -np "$2" "$program" nccl >out 2>err || fail "$1: no failure"
    [ $((SECONDS - start)) -le 12 ] || fail "$1: took $((SECONDS - start)) s"
    expect_text err "$3"
}

for ranks in 1 2 3; do
    fails id $ranks '^SKIP: nccl: ncclGetUniqueId: .*it was asked for .NCCL_DEBUG=INFO'
    fails init $ranks '^SKIP: nccl: ncclCommInitRankConfig\(.*it was asked for'
    fails hang $ranks "^SKIP: nccl: rank 0 of $ranks waited 1 s for .*NCCL_SOCKET_IFNAME.*DLTRAIN_NCCL_TIMEOUT"
    fails step $ranks 'not true: .*functions->start\(collective, at.stream\).*ncclAllReduce\(.*it was asked for'
done
fails split 2 'not true: .*dl_grid_create.*ncclCommSplit\(.*it was asked for'
limit=soon fails none 2 "^SKIP: nccl: DLTRAIN_NCCL_TIMEOUT is 'soon'; it must be a number of seconds"
echo "5 ways to fail, told in time"
