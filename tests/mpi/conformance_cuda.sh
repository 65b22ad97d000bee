#!/bin/bash
# TEST tier=default timeout=300
# The conformance suite of communicators on a GPU: nccl with 1 rank, staged with 1, 2, 3 on the one GPU, and nccl with
# 2 ranks: on two GPUs where there are two, else on one, where each rank passes for a host of its own and NCCL goes
# through sockets. That last one may be refused by a version of NCCL; then its reason is the figure. On a machine
# without a GPU: all of them say so.
. "$(dirname "$0")/../lib/common.sh"
program=$BUILD/tests/mpi/mpi_conformance_cuda
[ -x "$program" ] || { echo "SKIP: built without CUDA"; exit 77; }
n_gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)

# runs RANKS COMMUNICATOR [VARIABLE=VALUE ...]
runs() {
    local ranks=$1 communicator=$2
    shift 2
    env "$@" timeout 120 mpirun --oversubscribe --bind-to none -np "$ranks" "$program" "$communicator" >out 2>err
}

if [ "$n_gpus" -eq 0 ]; then
    for communicator in nccl staged; do
        ! runs 1 $communicator || fail "$communicator ran without a GPU"
        expect_text err "^SKIP: $communicator: no GPU here: "
    done
    echo "SKIP: no GPU"
    exit 77
fi
runs 1 nccl || { cat err; fail "nccl, 1 rank"; }
for ranks in 1 2 3; do
    runs "$ranks" staged || { cat err; fail "staged, $ranks ranks"; }
done
one_gpu=(DLTRAIN_NCCL_HOSTID=1 DLTRAIN_NCCL_TIMEOUT=60 NCCL_SOCKET_IFNAME=lo NCCL_SOCKET_FAMILY=AF_INET NCCL_NET=Socket
    NCCL_NET_PLUGIN=none NCCL_IB_DISABLE=1 NCCL_MNNVL_ENABLE=0 NCCL_NVLS_ENABLE=0 NCCL_RAS_ENABLE=0 NCCL_MAX_CTAS=2)
[ "$n_gpus" -lt 2 ] || one_gpu=()
if runs 2 nccl "${one_gpu[@]}"; then
    echo "nccl with 1 and 2 ranks, staged with 1 to 3, on $n_gpus GPUs"
elif [ "$n_gpus" -gt 1 ] || grep -q 'not true' err; then
    cat err
    fail "nccl, 2 ranks"
else
    echo "nccl with 1 rank, staged with 1 to 3; nccl with 2 on one GPU: $(grep -m 1 '^SKIP' err)"
fi
