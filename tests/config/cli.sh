#!/bin/bash
# TEST tier=quick timeout=60 slots=1
# The command line: options anywhere, overrides, nearest names, exit status 2 with one message; help of every command.
. "$(dirname "$0")/../lib/common.sh"

cases=0

# says CODE STREAM PATTERN ARGUMENTS...: exit status, and a line of that output; errors are one message.
says() {
    local code=$1 stream=$2 pattern=$3
    shift 3
    expect_exit "$code" dltrain "$@"
    expect_text "$stream" "$pattern"
    if [ "$code" -eq 2 ] && [ "$(grep -c 'error:' err)" -ne 1 ]; then
        fail "not one message: dltrain $* gives $(cat err)"
    fi
    cases=$((cases + 1))
}

cat >small.yaml <<'EOF'
model: {input: {shape: [8, 8, 1]}, layers: [flatten, dense: {units: 10, activation: softmax}]}
EOF
mkdir -p runs

# Words that are no command.
says 2 err "^dltrain: error: unknown command 'chekc'; did you mean 'check'\?$" chekc small.yaml
says 2 err "'frobnicate' is neither a command nor a file; .dltrain --help. lists the commands$" frobnicate
says 2 err "^dltrain: error: there is no file smal.yaml; did you mean small.yaml\?$" smal.yaml
says 2 err "there is no file no/such.yaml$" train no/such.yaml
says 2 err "^dltrain: error: runs/ is a folder; a configuration is a file$" runs/
says 2 err "unknown command 'data imprt'; did you mean 'data import'\?$" data imprt
says 2 err "^dltrain: error: data is several commands: data import" data
says 2 err "unknown command 'hlep'; did you mean 'help'\?$" help hlep
says 2 err "'check' is a command, nothing is known of more words behind it$" help check extra

# Options.
says 2 err "^dltrain: error: check has no option --jsn; did you mean --json\?$" check small.yaml --jsn
says 2 err "check has no option -x; see .dltrain help check.$" check -x small.yaml
says 2 err "^dltrain: error: --json takes no value$" check small.yaml --json=1
says 2 err "^dltrain: error: --np is given twice$" check --np 2 small.yaml --np=3
says 2 err "^dltrain: error: --np needs a value: --np N$" check small.yaml --np
says 2 err "^dltrain: error: --np needs a value: --np N$" check small.yaml --np --json
says 2 err "^dltrain: error: --np must be a whole number from 1 to [0-9]*, but it is 'two'$" check small.yaml --np two
says 2 err "is missing; usage: dltrain check CONFIG" check
says 2 err "'b' is too much; usage: dltrain weights hash FILE$" weights hash a b

# generate: what is missing, and values out of range, told before anything is read.
says 2 err "^dltrain: error: .* is missing; usage: dltrain generate RUN" generate
says 2 err "^dltrain: error: generate wants a beginning: --prompt TEXT" generate runs/x --tokens 3
says 2 err "^dltrain: error: generate wants the number of tokens to write: --tokens N$" generate runs/x --prompt a
says 2 err "^dltrain: error: --tokens must be a whole number from 1 to 1000000000, but it is '0'$" \
    generate runs/x --prompt a --tokens 0
says 2 err "^dltrain: error: --temperature must be 0 .* but it is 'hot'$" \
    generate runs/x --prompt a --tokens 3 --temperature hot
says 2 err "^dltrain: error: --temperature must be 0 .* but it is '-0.5'$" \
    generate runs/x --prompt a --tokens 3 --temperature=-0.5
says 2 err "^dltrain: error: --top-k must be a whole number from 1 to 2147483647, but it is '0'$" \
    generate runs/x --prompt a --tokens 3 --top-k 0
says 2 err "^dltrain: error: generate has no option --topk; did you mean --top-k\?$" generate runs/x --topk 3
says 2 err "^dltrain: error: runs/x is not a run directory" generate runs/x --prompt a --tokens 3

# Overrides: before and after the file, not after --, and with the messages of files.
says 2 err "^command line:1:7: error: unknown key 'epoch' in train; did you mean 'epochs'\?$" train.epoch=1 small.yaml
says 2 err "^command line:1:14: error: epochs must be" train small.yaml train.epochs=x
says 2 err "'train.epochs=1' is too much; usage: dltrain check" check small.yaml -- train.epochs=1
says 2 err "there is no file --json$" check -- --json
says 2 err "^command line:1:6: error: seed must be .*, but it is nothing$" check seed= small.yaml

# Help and version, wherever they stand.
says 0 out "^usage: dltrain \[COMMAND\]" --help
says 0 out "^usage: dltrain \[COMMAND\]" -h
says 0 out "^usage: dltrain check CONFIG" check --help
says 0 out "^usage: dltrain check CONFIG" -h --np 3 check small.yaml
says 0 out "^dltrain [0-9]" check --version
says 0 out "^ *85  stopped, checkpoint committed$" help exit
says 0 out "^  batch_size: a whole number from 1" help config
says 0 out "^    conv2d: " help config
expect_exit 0 dltrain --help
[ "$(head -n 1 out | cut -c 1-6)" = "usage:" ] || fail "--help begins with $(head -n 1 out)"
sed -n '/^commands$/,/^$/p' out | sed -n 's/^  \([a-z]\+\( [a-z]\+\)*\)  .*/\1/p' >commands
[ "$(wc -l <commands)" -ge 5 ] || fail "--help lists too few commands"
while read -r command; do
    # shellcheck disable=SC2086
    says 0 out "^usage: dltrain $command" help $command
    # shellcheck disable=SC2086
    says 0 out "^usage: dltrain $command" $command --help
done <commands

# A full disk is an error, not silence.
if [ -w /dev/full ]; then
    code=0
    dltrain --help >/dev/full 2>err || code=$?
    [ "$code" -eq 74 ] || fail "--help to a full disk: exit status $code"
fi
code=0
DLTRAIN_LOG=loud dltrain --version >out 2>err || code=$?
[ "$code" -eq 2 ] || fail "DLTRAIN_LOG=loud: exit status $code"
expect_text err "DLTRAIN_LOG is 'loud'"

# Several ranks: one message, one help text.
code=0
mpi 2 dltrain weights hash x >out 2>err || code=$?
[ "$code" -eq 2 ] || fail "weights hash on two ranks: exit status $code"
[ "$(grep -c 'dltrain: .*error: weights hash runs in one process; start it without mpirun' err)" -eq 1 ] ||
    fail "weights hash on two ranks says: $(cat err)"
mpi 2 dltrain --help >out 2>err
[ "$(grep -c '^usage:' out)" -eq 1 ] || fail "--help on two ranks: $(grep -c '^usage:' out) times"

echo "$cases command lines"
