#!/bin/bash
# TEST tier=default timeout=150 needs=python,plain
# A training step allocates nothing: malloc, calloc, realloc and their relatives are called as often in a run of 220
# steps as in one of 20, with all that a step can do; and so does a token of a generated text.
. "$(dirname "$0")/../lib/common.sh"

# count STEPS: the calls of a run.
count() {
    MALLOC_COUNT_FILE=$PWD/count.$1 LD_PRELOAD=$BUILD/tests/tools/malloc_count.so quietly dltrain \
        "$ROOT/configs/mnist_cnn.yaml" "data.path=$data" train.epochs=100 "train.max_steps=$1" "run.dir=runs/$1" \
        train.clip_norm=1 train.ema_decay=0.99 train.optimizer=rmsprop train.label_smoothing=0.1
    [ -s "count.$1" ] || fail "nothing was counted"
}
data=$(digits)
count 20 # may measure which algorithms are fastest, and keeps the answer for the others
rm -r runs count.20
count 20
count 220
diff count.20 count.220 || fail "the counts of 20 and 220 steps differ"
awk '{n += $2} END {print n " allocations, with 20 steps and with 220"}' count.20

# count_text RUN TOKENS: the calls of generating so many.
count_text() {
    MALLOC_COUNT_FILE=$PWD/count.text.$2 LD_PRELOAD=$BUILD/tests/tools/malloc_count.so quietly dltrain generate \
        "$1" --prompt 'the old' --tokens "$2" --top-k 20
    [ -s "count.text.$2" ] || fail "nothing was counted"
}
for model in word_lm word_lstm; do
    quietly dltrain "$ROOT/configs/$model.yaml" train.max_steps=2 "run.dir=runs/$model"
    count_text "runs/$model" 20
    count_text "runs/$model" 220
    diff count.text.20 count.text.220 || fail "$model: the counts of 20 and 220 tokens differ"
done
