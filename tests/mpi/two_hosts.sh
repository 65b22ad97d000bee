#!/bin/bash
# TEST tier=default timeout=120 needs=python
# Two hosts (tests/lib/hosts.sh) with an interface each that leads nowhere, as docker0 does: places and threads of the
# ranks, the banner, the numbers of one host, what travels between hosts, the ends of a job.
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/hosts.sh"
self=$(cd "$(dirname "$0")" && pwd -P)/$(basename "$0")
[ -n "${IN_HOSTS:-}" ] || data=$(small_digits)
export data
enter_hosts "$self"
for host in h1 h2; do # the same address on both: Open MPI, not told otherwise, takes it for a way between them, and hangs
    on $host ip link add dock0 type veth peer name dock1
    on $host ip addr add 172.17.0.1/16 dev dock0
    on $host ip link set dock0 up
    on $host ip link set dock1 up
done

# config NAME LAYER: a small network of images with that layer in the middle.
config() {
    cat >"$1.yaml" <<YAML
name: $1
data: {path: $data}
model:
  input: {shape: [28, 28, 1]}
  layers:
    - conv2d: {filters: 16, kernel_size: 3, strides: 2, use_bias: false}
    - $2
    - flatten: {}
    - dense: {units: 40, activation: relu}
    - dense: {units: auto, activation: softmax}
train: {epochs: 2, max_steps: 20}
run: {log_every: 1}
YAML
}
config norm 'batch_normalization: {statistics: global, activation: relu}'
config plain 'max_pooling2d: {pool_size: 1, strides: 1}'
n_gradients=$((16 * 9 + 16 * 2 + 16 * 13 * 13 * 40 + 40 + 40 * 10 + 10)) # of norm
cores=$(nproc)

# same_losses A B: of every step, to rounding.
same_losses() {
    python - "$1" "$2" <<'PY' || fail "$1 and $2 differ"
import sys
import dltest
a, b = ([s['loss'] for s in dltest.metrics(run, 'step')] for run in sys.argv[1:])
worst = max(abs(x - y) / abs(x) for x, y in zip(a, b))
sys.exit(f'{len(a)} and {len(b)} losses, largest relative difference {worst}' if len(a) != len(b) or worst > 1e-4 else 0)
PY
}

# per_rank N: the words of the banner for ranks that share the cores of a host.
per_rank() {
    local n=$((cores / $1 > 1 ? cores / $1 : 1))
    echo "$n thread$([ "$n" -eq 1 ] || echo s) per rank"
}

# Ranks of a host side by side.
quietly mpi 4 dltrain norm.yaml run.dir=one
export DLTRAIN_THREADS=
on_hosts h1:2,h2:2 dltrain norm.yaml run.dir=by_host >out 2>err || { cat err; fail "h1:2,h2:2"; }
expect_text out "4 ranks on 2 hosts  cpu \(.*, $(per_rank 2)\)  grid data=4"
expect_text out '^hosts   h1 \(2 ranks\), h2 \(2 ranks\)$'
same_losses one by_host

# Ranks of a host at even and odd places; the gradients, added within each host first, travel once each way.
before=$(sent h1)
on_hosts h1:2,h2:2 --map-by node dltrain norm.yaml run.dir=by_turn >out 2>err || { cat err; fail "by node"; }
traffic=$(python3 -c "print('%.2f' % (($(sent h1) - $before) / (20 * 4.0 * $n_gradients)))")
expect_text out '^hosts   h1 \(2 ranks\), h2 \(2 ranks\)$'
same_losses one by_turn
holds "0.98 <= $traffic <= 1.2" "bytes that h1 sent, over those of 20 gradients"

# Hosts with different numbers of ranks.
on_hosts h1:1,h2:2 dltrain norm.yaml run.dir=uneven >out 2>err || { cat err; fail "h1:1,h2:2"; }
words=$(per_rank 2)
[ "$cores" -lt 2 ] || words="$((cores / 2)) to $cores threads per rank"
expect_text out "3 ranks on 2 hosts  cpu \(.*, $words\)  grid data=3"
expect_text out '^hosts   h1 \(1 rank\), h2 \(2 ranks\)$'
same_losses one uneven

# Reproducible: the bits of one rank.
export DLTRAIN_THREADS=1
for net in plain norm; do
    quietly dltrain $net.yaml reproducible=true run.dir=one_$net
    quietly on_hosts h1:2,h2:2 dltrain $net.yaml reproducible=true run.dir=two_$net
    cmp one_$net/weights.h5 two_$net/weights.h5 || fail "reproducible: other weights on two hosts ($net)"
done
quietly on_hosts h1:2,h2:1 --map-by node dltrain norm.yaml reproducible=true run.dir=uneven_norm
cmp one_norm/weights.h5 uneven_norm/weights.h5 || fail "reproducible: other weights on uneven hosts"

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
one_fails 65 train- sh -c '[ "$OMPI_COMM_WORLD_RANK" -ne 3 ] || cd bad; exec dltrain "$0" data.path=data' "$PWD/plain.yaml"
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
    on_hosts "$hosts" dltrain plain.yaml train.epochs=100000 train.max_steps=0 run.dir="killed_$victim" >out 2>err &
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
echo "4 grids of ranks on 2 hosts; $traffic of the gradients' bytes between them; after a kill gone in $slowest s"
