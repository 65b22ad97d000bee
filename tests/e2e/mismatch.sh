#!/bin/bash
# TEST tier=quick timeout=60 slots=1 needs=python
# Ranks that were given different configs, data or programs stop at once, with one message that names the difference.
. "$(dirname "$0")/../lib/common.sh"
data=$(small_digits)
config=$ROOT/configs/mnist_cnn.yaml

# differ WORD: rank 1 gets WORD too. The message goes to the file err.
differ() {
    local start=$SECONDS
    expect_exit 2 timeout 20 mpirun --oversubscribe --bind-to none -np 1 dltrain "$config" "data.path=$data" : \
        -np 1 dltrain "$config" "data.path=$data" "$1"
    [ $((SECONDS - start)) -le 5 ] || fail "took $((SECONDS - start)) s"
    [ "$(grep -c 'dltrain: .*error:' err)" -eq 1 ] || { cat err >&2; fail "not exactly one message"; }
}

differ seed=2
expect_text err 'error:.*\bseed\b.*\b1\b.*\b2\b'
differ train.batch_size=64
expect_text err 'batch_size'
expect_text err '\b128\b'
expect_text err '\b64\b'

# The same path, other data.
mkdir -p a/data b/data
cp -r "$data/." a/data
python - <<'PY'
import dltest
x, y = dltest.random_images(2000)
dltest.write_shards('b/data', 'train', {'x': x, 'y': y})
dltest.write_shards('b/data', 'test', {'x': x[:500], 'y': y[:500]})
PY
expect_exit 2 timeout 20 mpirun --oversubscribe --bind-to none -np 1 -wdir "$PWD/a" dltrain "$config" data.path=data : \
    -np 1 -wdir "$PWD/b" dltrain "$config" data.path=data
[ "$(grep -c 'dltrain: .*error:' err)" -eq 1 ] || { cat err >&2; fail "not exactly one message"; }
expect_text err 'data'
