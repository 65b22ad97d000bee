#!/bin/bash
# TEST tier=default timeout=180 needs=python
# An error of one rank alone ends all ranks, with one message that names the rank and the rank's exit status; no hang.
. "$(dirname "$0")/../lib/common.sh"
config=$ROOT/configs/mnist_cnn.yaml
host=$(hostname)

# failing CODE PATTERN COMMAND...: exit status, and exactly one message, of that rank, that matches.
failing() {
    local code=$1 pattern=$2 start=$SECONDS
    shift 2
    expect_exit "$code" timeout 30 "$@"
    [ $((SECONDS - start)) -le 8 ] || fail "took $((SECONDS - start)) s: $*"
    [ "$(grep -cE 'dltrain: .*error:' err)" -eq 1 ] || { cat err >&2; fail "not exactly one message: $*"; }
    expect_text err "dltrain: \[rank $victim, $host\] error: .*$pattern"
}

# Rank 1 (0, 2) finds a damaged shard where the others find a good one.
good=$(small_digits)
mkdir -p good bad
cp -r "$good" good/data
cp -r "$good" bad/data
truncate -s 5000 bad/data/train-*.h5
words=(dltrain "$config" data.path=data)
victim=1
failing 65 'train-' mpirun --oversubscribe --bind-to none -np 1 -wdir "$PWD/good" "${words[@]}" : \
    -np 1 -wdir "$PWD/bad" "${words[@]}"
victim=0
failing 65 'train-' mpirun --oversubscribe --bind-to none -np 1 -wdir "$PWD/bad" "${words[@]}" : \
    -np 2 -wdir "$PWD/good" "${words[@]}"
victim=2
failing 65 'train-' mpirun --oversubscribe --bind-to none -np 2 -wdir "$PWD/good" "${words[@]}" : \
    -np 1 -wdir "$PWD/bad" "${words[@]}"

# One rank may not have the memory that the step takes. (The address sanitizer needs more addresses than memory.)
large=(dltrain "$config" "data.path=$(digits)" train.batch_size=20000)
victim=1
if [[ ${SANITIZE:-} != *address* ]]; then
    failing 71 'memory' mpirun --oversubscribe --bind-to none -np 1 "${large[@]}" : \
        -np 1 bash -c 'ulimit -v 1000000; exec "$@"' limited "${large[@]}"
fi

# One rank is given a wrong environment.
failing 2 'DLTRAIN_THREADS' mpirun --oversubscribe --bind-to none -np 1 dltrain "$config" "data.path=$good" : \
    -np 1 -x DLTRAIN_THREADS=many dltrain "$config" "data.path=$good"
echo "5 failures of one rank, one message each"
