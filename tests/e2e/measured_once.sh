#!/bin/bash
# TEST tier=quick timeout=60 slots=1
# Convolutions of one shape are measured once, however many layers have it.
. "$(dirname "$0")/../lib/common.sh"

# measured N: how many operations a network with N equal convolutions measures.
measured() {
    cat >net.yaml <<'C'
model:
  input: {shape: [28, 28, 1]}
  layers:
    - conv2d: {filters: 8, kernel_size: 3, padding: same}
C
    for _ in $(seq "$1"); do
        echo '    - conv2d: {filters: 8, kernel_size: 3, padding: same, activation: relu}' >>net.yaml
    done
    printf '    - flatten: {}\n    - dense: {units: 10, activation: softmax}\n' >>net.yaml
    XDG_CACHE_HOME=$PWD/cache-$1 DLTRAIN_LOG=debug quietly dltrain bench net.yaml --steps 2 --warmup 1
    sed -n 's/.* \([0-9]*\) operations were measured.*/\1/p' quiet.log
}

two=$(measured 2) five=$(measured 5)
holds "$two > 0" "operations measured for two equal layers"
holds "$five == $two" "operations measured for five"
echo "$two operations for two layers and for five"
