#!/bin/bash
# TEST tier=default timeout=150 slots=1
# The ends of a job, with a small program in the place of training: a rank killed while the others wait for it in shared
# memory or in MPI; failures of one, of each, of all ranks; Ctrl-C. All gone within 3 s, one message, its code.
. "$(dirname "$0")/../lib/common.sh"
program=$BUILD/tests/mpi/mpi_runtime
[ -x "$program" ] || fail "$program is not built"
host=$(hostname -s)

# ends CODE MESSAGE-PATTERN RANKS LIFE...: exit status, exactly one message, in good time.
ends() {
    local code=$1 pattern=$2 ranks=$3 start=$SECONDS
    shift 3
    expect_exit "$code" timeout 20 mpirun --oversubscribe --bind-to none -np "$ranks" "$program" "$@"
    [ $((SECONDS - start)) -le 5 ] || fail "took $((SECONDS - start)) s: $*"
    [ "$(grep -cE 'dltrain: .*error:' err)" -eq 1 ] || { cat err >&2; fail "not exactly one message: $*"; }
    expect_text err "^dltrain: $pattern"
}

ends 65 "\[rank 1, $host\] error: sample 17" 2 alone 1
ends 65 "\[rank 0, $host\] error: sample 17" 3 alone 0
DLTRAIN_NO_SHARED_WINDOW=1 ends 65 "\[rank 2, $host\] error: sample 17" 3 alone 2
for _ in 1 2 3; do
    ends 74 "\[rank [0-3], $host\] error: disk [0-3] is full" 4 each
done
ends 78 "\[rank 2, $host\] error: bad digest" 3 agreed 2
ends 78 "error: bad digest" 3 common
ends 2 "\[rank 1, $host\] error: wrong option" 2 early 1
ends 2 "\[rank 0, $host\] error: wrong option" 2 early 0
DLTRAIN_THREADS=0 ends 2 "error: DLTRAIN_THREADS is '0'" 2 threads

# The other rank never starts MPI: the one that fails does not wait for it for long.
expect_exit 2 timeout 20 mpirun --oversubscribe --bind-to none -np 1 true : -np 1 "$program" early 1
expect_text err "^dltrain: \[rank 1, $host\] error: wrong option"

# start_loop RANKS: the job in the background, its ranks' process ids in $pids once all reduce.
start_loop() {
    mpirun --oversubscribe --bind-to none -np "$1" "$program" loop >out 2>err &
    job=$!
    for _ in $(seq 200); do
        [ "$(grep -c '^pid ' out || true)" -eq "$1" ] && break
        sleep 0.05
    done
    pids=$(awk '/^pid /{print $2}' out)
    [ "$(wc -w <<<"$pids")" -eq "$1" ] || fail "the job did not start: $(cat err)"
    sleep 0.3
}

# alive PID: it runs; one that has ended and waits for mpirun to take note does not.
alive() {
    grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null
}

# gone_within SECONDS: none of $pids is left by then.
gone_within() {
    local until
    until=$(($(date +%s%N) + $1 * 1000000000))
    for pid in $pids; do
        while alive "$pid"; do
            [ "$(date +%s%N)" -lt "$until" ] || fail "process $pid is still there after $1 s"
            sleep 0.02
        done
    done
}

worst=0
for switch in 0 1; do
    for ranks in 2 4; do
        for victim in 1 "$ranks"; do
            export DLTRAIN_NO_SHARED_WINDOW=$switch
            start_loop "$ranks"
            start=$(date +%s%N)
            killed=$(cut -d' ' -f"$victim" <<<"${pids//$'\n'/ }")
            kill -9 "$killed"
            gone_within 3
            took=$((($(date +%s%N) - start) / 1000000))
            worst=$((took > worst ? took : worst))
            code=0
            wait "$job" || code=$?
            [ "$code" -ne 0 ] || fail "mpirun says 0 after kill -9"
            [ "$(grep -cE 'dltrain: .*error:' err)" -eq 1 ] || fail "not exactly one message: $(cat err)"
            expect_text err "^dltrain: \[rank [0-9], $host\] error: rank [0-9] \(process $killed\) has died"
        done
    done
done
unset DLTRAIN_NO_SHARED_WINDOW

# Without MPI: the first signal lets the work end in order.
"$program" loop >out 2>err &
job=$!
sleep 0.5
kill -INT "$job"
wait "$job" || fail "exit status $? after SIGINT"

# Ctrl-C: mpirun passes it on; nobody is left, nobody complains.
start_loop 3
kill -INT "$job"
gone_within 3
wait "$job" || true
[ "$(grep -c 'dltrain: .*error' err || true)" -eq 0 ] || fail "a message after Ctrl-C: $(cat err)"
echo "12 failures told once; ranks killed: the others were gone after $worst ms at most"
