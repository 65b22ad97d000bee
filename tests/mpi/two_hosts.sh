#!/bin/bash
# TEST tier=default timeout=120 slots=1 needs=python
# Two hosts (tests/lib/hosts.sh) with an interface each that leads nowhere, as docker0 does: places and threads of the
# ranks, the banner, the numbers of one host, what travels between hosts. tests/faults/two_hosts.sh: the ends of a job.
. "$(dirname "$0")/../lib/common.sh"
. "$LIB/hosts.sh"
[ -n "${IN_HOSTS:-}" ] || data=$(small_digits)
export data
enter_hosts "$ROOT/tests/mpi/two_hosts.sh"

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
train: {epochs: 1, max_steps: 15}
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
equal = len(a) == len(b) and worst <= 1e-4
sys.exit(0 if equal else f'{len(a)} and {len(b)} losses, largest relative difference {worst}')
PY
}

# per_rank N: the words of the banner for ranks that share the cores of a host.
per_rank() {
    local n=$((cores / $1 > 1 ? cores / $1 : 1))
    echo "$n thread$([ "$n" -eq 1 ] || echo s) per rank"
}

quietly mpi 4 dltrain norm.yaml run.dir=one
export DLTRAIN_THREADS=

# Ranks of a host at even and odd places; the gradients, added within each host first, travel once each way.
before=$(sent h1)
on_hosts h1:2,h2:2 --map-by node dltrain norm.yaml run.dir=by_turn --profile >out 2>err || { cat err; fail "by node"; }
traffic=$(python3 -c "print('%.2f' % (($(sent h1) - $before) / (15 * 4.0 * $n_gradients)))")
expect_text out '^hosts   h1 \(2 ranks\), h2 \(2 ranks\)$'
same_losses one by_turn
expect_text out '^ +[0-9]+\.[0-9]+ ms +[0-9.]+ %  all_reduce bucket 0 '
expect_text out '^ +[0-9]+\.[0-9]+ ms +[0-9.]+ %  in 5 all-reduces together'
holds "0.98 <= $traffic <= 1.2" "bytes that h1 sent, over those of 15 gradients"

# Hosts with different numbers of ranks.
on_hosts h1:1,h2:2 dltrain norm.yaml run.dir=uneven >out 2>err || { cat err; fail "h1:1,h2:2"; }
words=$(per_rank 2)
[ "$cores" -lt 2 ] || words="$((cores / 2)) to $cores threads per rank"
expect_text out "3 ranks on 2 hosts  cpu \(.*, $words\)  grid data=3"
expect_text out '^hosts   h1 \(1 rank\), h2 \(2 ranks\)$'
same_losses one uneven

# Ranks of a host side by side. Reproducible: the bits of one rank.
for net in plain norm; do
    quietly dltrain $net.yaml reproducible=true run.dir=one_$net
    on_hosts h1:2,h2:2 dltrain $net.yaml reproducible=true run.dir=two_$net >out 2>err || { cat err; fail "h1:2,h2:2"; }
    expect_text out "4 ranks on 2 hosts  cpu \(.*, $(per_rank 2)\)  grid data=4"
    expect_text out '^hosts   h1 \(2 ranks\), h2 \(2 ranks\)$'
    cmp one_$net/weights.h5 two_$net/weights.h5 || fail "reproducible: other weights on two hosts ($net)"
done
quietly on_hosts h1:2,h2:1 --map-by node dltrain norm.yaml reproducible=true run.dir=uneven_norm
cmp one_norm/weights.h5 uneven_norm/weights.h5 || fail "reproducible: other weights on uneven hosts"

# An error that the ranks agree on is told once, with its host.
mkdir bad bad/data
cp "$data"/*.h5 bad/data
truncate -s 5000 bad/data/train-*.h5
ln -s "$data" data
# shellcheck disable=SC2016
in_bad='[ "$OMPI_COMM_WORLD_RANK" -ne 3 ] || cd bad; exec dltrain "$0" data.path=data'
expect_exit 65 on_hosts h1:2,h2:2 sh -c "$in_bad" "$PWD/plain.yaml"
expect_one_message '\[rank 3, h2\] error: .*train-'
echo "3 ways to lay ranks on 2 hosts, $traffic of the gradients' bytes between them; reproducible: the bits of one rank"
