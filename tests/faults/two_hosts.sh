#!/bin/bash
# TEST tier=default timeout=120 slots=1 needs=python
# The ends of a job on two hosts (tests/lib/hosts.sh): an error of one rank is told once and ends all, a killed rank
# ends all, nothing hangs.
. "$(dirname "$0")/../lib/common.sh"
. "$LIB/hosts.sh"
[ -n "${IN_HOSTS:-}" ] || data=$(small_digits)
export data DLTRAIN_THREADS=1
enter_hosts "$ROOT/tests/faults/two_hosts.sh"
config=$ROOT/configs/mnist_cnn.yaml

# An error of one rank amid the others' all-reduce is told once, with its host. (Of one that ranks agree on:
# tests/mpi/two_hosts.sh.)
expect_exit 65 on_hosts h1:2,h2:2 "$BUILD/tests/mpi/mpi_runtime" alone 3
expect_one_message '\[rank 3, h2\] error: sample 17'

# rank_processes: "RANK PROCESS" of the dltrain processes; there are none but ours here.
rank_processes() {
    local p rank
    for p in /proc/[0-9]*; do
        if [ "$(readlink "$p/exe")" = "$(realpath "$DLTRAIN")" ]; then
            rank=$(tr '\0' '\n' <"$p/environ" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p') || continue
            echo "$rank ${p#/proc/}"
        fi
    done 2>/dev/null
}

# killed HOSTS RANK SECONDS WHO: that rank is killed amid training; the others are gone in that time. WHO is "told"
# where a rank of its host is left to tell it; where none is, only mpirun does.
slowest=0
killed() {
    local hosts=$1 victim=$2 most=$3 told=$4 job before lived
    on_hosts "$hosts" dltrain "$config" data.path="$data" train.epochs=100000 run.dir="killed_$victim" >out 2>err &
    job=$!
    for _ in $(seq 500); do
        [ ! -s "killed_$victim/metrics.jsonl" ] || break
        sleep 0.02
    done
    sleep 0.3
    before=$(date +%s.%N)
    kill -9 "$(rank_processes | sed -n "s/^$victim //p")" || { cat err >&2; fail "rank $victim is not there"; }
    while [ -n "$(rank_processes)" ]; do
        lived=$(python3 -c "print('%.1f' % ($(date +%s.%N) - $before))")
        holds "$lived <= 10" "seconds after rank $victim of $hosts was killed"
        sleep 0.02
    done
    wait $job && fail "mpirun says 0 though rank $victim was killed"
    holds "${lived:-0} <= $most" "seconds that the others lived after rank $victim of $hosts was killed"
    slowest=$(python3 -c "print(max($slowest, ${lived:-0}))")
    if [ "$told" = told ]; then
        expect_one_message "\[rank ., h.\] error: rank $victim \(process [0-9]+\) has died"
    elif grep 'dltrain: .*error:' err; then
        fail "a message of a rank that cannot know"
    fi
    expect_text err "process rank $victim with PID [0-9]+ on node h. exited on signal 9"
}
killed h1:2,h2:2 3 3 told
killed h1:1,h2:2 0 7 mpirun # its own host: it ends the others a second later than where the ranks are elsewhere
echo "an error of one rank, one message; 2 kills, the others were gone after $slowest s at most"
