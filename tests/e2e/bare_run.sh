#!/bin/bash
# TEST tier=default timeout=300
# `mpirun -np 8 dltrain` in an empty folder: the built-in example on made digits, said in one line; then ./dltrain.yaml
# when it is there.
. "$(dirname "$0")/../lib/common.sh"

expect_exit 0 timeout 280 mpirun --oversubscribe -np 8 dltrain
expect_text out '(built-in|no config|dltrain\.yaml)'
expect_text out '^weights [0-9a-f]{32}$'
[ "$(tail -n 1 out | grep -c '^weights ')" -eq 1 ] || fail "the last line is not the hash"
run=$(dirname "$(ls runs/*/metrics.jsonl)")
accuracy=$(metric "$run" end test_accuracy)
holds "$accuracy >= 0.98" "test accuracy of the example"
[ "$(metric "$run" start ranks)" -eq 8 ] || fail "not 8 ranks"

cp "$ROOT/configs/mnist_cnn.yaml" dltrain.yaml
expect_exit 0 dltrain train.max_steps=3 run.dir=runs/here
[ "$(metric runs/here end step)" -eq 3 ] || fail "./dltrain.yaml was not taken"
echo "8 ranks, test accuracy $accuracy"
