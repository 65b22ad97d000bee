#!/bin/bash
# TEST tier=default timeout=60 slots=1 needs=python
# A loss that is not finite any more stops all ranks with exit status 77 and one message: step and first bad layer.
. "$(dirname "$0")/../lib/common.sh"
data=$(small_digits)

for ranks in 1 2 3; do
    code=0
    mpi "$ranks" dltrain "$ROOT/configs/mnist_cnn.yaml" "data.path=$data" "run.dir=runs/$ranks" \
        train.optimizer='{sgd: {learning_rate: 1000000}}' >out 2>err || code=$?
    [ "$code" -eq 77 ] || { tail err >&2; fail "np $ranks: exit status $code instead of 77"; }
    [ "$(grep -c 'dltrain: .*error:' err)" -eq 1 ] || { cat err >&2; fail "np $ranks: not exactly one message"; }
    grep 'dltrain: .*error:' err | grep -E 'step [0-9]+' | grep -E '(conv2d|dense)' >/dev/null ||
        { cat err >&2; fail "np $ranks: step and layer are not named"; }
    [ "$(json "runs/$ranks/status.json" "d['state'], d['exit']")" = "('failed', 77)" ] || fail "np $ranks: status.json"
done

# One rank's data is not finite: float pixels, one of them NaN, in a set of 4 batches.
python - <<'PY'
import dltest, numpy
x, y = dltest.random_images(512)
x = x.astype('f4') / 255
x[300, 5, 5, 0] = numpy.nan
dltest.write_shards('nan', 'train', {'x': x, 'y': y})
PY
code=0
mpi 2 dltrain "$ROOT/configs/mnist_cnn.yaml" data.path=nan run.dir=runs/nan >out 2>err || code=$?
[ "$code" -eq 77 ] || { tail err >&2; fail "NaN in the data: exit status $code instead of 77"; }
expect_text err 'step [1-4]\b'
echo "exit status 77 at np 1, 2, 3"
