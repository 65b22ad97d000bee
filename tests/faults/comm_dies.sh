#!/bin/bash
# TEST tier=default timeout=120 slots=1
# A rank is killed in the middle of all-reduces: each of the others learns it from its communicator, by rank and process
# number, before mpirun ends it. With mpi in shared memory, and with staged, where they wait for a device as well.
. "$(dirname "$0")/../lib/common.sh"
program=$BUILD/tests/mpi/mpi_conformance
[ -x "$program" ] || fail "$program is not built"

# dies RANKS VICTIM COMMUNICATOR
dies() {
    local start=$SECONDS
    expect_code_not_0 timeout 20 mpirun --oversubscribe --bind-to none -np "$1" "$program" "$3" dies "$2"
    [ $((SECONDS - start)) -le 8 ] || fail "took $((SECONDS - start)) s: $*"
    for rank in $(seq 0 $(($1 - 1))); do
        [ "$rank" -eq "$2" ] || expect_text err "^rank $rank: code 75: rank $2 \(process [0-9]+\) has died"
    done
}

expect_code_not_0() {
    ! "$@" >out 2>err || fail "exit 0 although a rank died: $*"
}

for communicator in mpi staged; do
    dies 2 1 $communicator
    dies 3 0 $communicator
done
echo "each rank told of 4 deaths"
