#!/bin/bash
# TEST tier=default timeout=120 needs=python
# The ends of a job on two hosts (tests/lib/hosts.sh): an error of one rank is told once and ends all, a killed rank ends
# all, nothing hangs.
. "$(dirname "$0")/../lib/common.sh"
. "$LIB/hosts.sh"
[ -n "${IN_HOSTS:-}" ] || data=$(small_digits)
export data DLTRAIN_THREADS=1
enter_hosts "$ROOT/tests/faults/two_hosts.sh"
config=$ROOT/configs/mnist_cnn.yaml

# An error of one rank is told once, with its host: one that the ranks agree on, and one amid the others' all-reduce.
one_fails() {
    local code=$1 pattern=$2
    shift 2
    expect_exit "$code" on_hosts h1:2,h2:2 "$@"
    [ "$(grep -cE 'dltrain: .*error:' err)" -eq 1 ] || { cat err >&2; fail "not exactly one message: $*"; }
    expect_text err "dltrain: \[rank 3, h2\] error: .*$pattern"
}
mkdir bad bad/data
cp "$data"/*.h5 bad/data
truncate -s 5000 bad/data/train-*.h5
ln -s "$data" data
# shellcheck disable=SC2016
one_fails 65 train- sh -c '[ "$OMPI_COMM_WORLD_RANK" -ne 3 ] || cd bad; exec dltrain "$0" data.path=data' "$config"
one_fails 65 'sample 17' "$BUILD/tests/mpi/mpi_runtime" alone 3

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

# killed HOSTS RANK SECONDS MESSAGES: that rank is killed amid training; the others are gone in that time, and so many
# messages tell it.
slowest=0
killed() {
    local hosts=$1 victim=$2 most=$3 messages=$4 job before lived
    on_hosts "$hosts" dltrain "$config" data.path=data train.epochs=100000 train.max_steps=0 run.dir="killed_$victim" >out 2>err &
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
    [ "$(grep -cE 'dltrain: .*error:' err)" -eq "$messages" ] || { cat err >&2; fail "not $messages messages"; }
    [ "$messages" -eq 0 ] || expect_text err "dltrain: \[rank ., h.\] error: rank $victim \(process [0-9]+\) has died"
    expect_text err "process rank $victim with PID [0-9]+ on node h. exited on signal 9"
}
killed h1:2,h2:2 3 3 1
killed h1:2,h2:2 0 5 1 # mpirun's own host: it ends the ranks here first, a second later those of the others
killed h1:1,h2:1 1 3 0 # nobody is left on its host to tell; mpirun does
echo "2 errors of one rank, one message each; 3 kills, the others were gone after $slowest s at most"
