# Shared by the test scripts in shell: . "$(dirname "$0")/../lib/common.sh"
# Afterwards: ROOT (the source tree), BUILD (the build folder), DLTRAIN (the program, also first on PATH), TEST_TMP (an
# empty folder, removed in the end; the script starts in it), and the functions below.
# shellcheck shell=bash
set -euo pipefail

ROOT=${ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)}
BUILD=${BUILD:-$ROOT/build}
case $BUILD in /*) ;; *) BUILD=$ROOT/$BUILD ;; esac
DLTRAIN=$BUILD/launcher/dltrain
LIB=$ROOT/tests/lib
if [ -z "${SHARED_DATA:-}" ] && [ -d "$ROOT/../shared/data" ]; then
    SHARED_DATA=$(cd "$ROOT/../shared/data" && pwd -P)
fi
SHARED_DATA=${SHARED_DATA:-}
export ROOT BUILD DLTRAIN SHARED_DATA PATH="$BUILD/launcher:$PATH"
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
if [ -z "${TEST_TMP:-}" ]; then
    TEST_TMP=$(mktemp -d "${TMPDIR:-/tmp}/dltrain-test-XXXXXX")
    trap 'rm -rf "$TEST_TMP"' EXIT
fi
export TEST_TMP
cd "$TEST_TMP"

# fail TEXT: the test ends here, failed.
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# skip REASON: what the test needs is not here.
skip() {
    echo "SKIP: $*"
    exit 77
}

[ -x "$DLTRAIN" ] || fail "$DLTRAIN is not built (launcher/build.sh build; BUILD names another folder)"

# python SCRIPT...: a Python with numpy and h5py; tests/lib is on its path.
python() {
    if [ -z "${PYTHON:-}" ]; then
        PYTHON=$(sh "$LIB/find_python.sh") || skip "no Python with numpy and h5py"
        export PYTHON
    fi
    PYTHONPATH=$LIB PYTHONDONTWRITEBYTECODE=1 "$PYTHON" "$@"
}

# mpi N COMMAND...: N ranks, more than cores too, output of both kinds as it comes.
mpi() {
    local n=$1
    shift
    mpirun --oversubscribe --bind-to none -np "$n" "$@"
}

# quietly COMMAND...: its output goes to the file quiet.log, and is shown when it fails.
quietly() {
    "$@" >quiet.log 2>&1 || {
        local code=$?
        tail -n 30 quiet.log >&2
        fail "exit status $code: $*"
    }
}

# expect_exit CODE COMMAND...: stdout goes to the file out, stderr to the file err.
expect_exit() {
    local wanted=$1 code=0
    shift
    "$@" >out 2>err || code=$?
    [ "$code" -eq "$wanted" ] || {
        tail -n 15 out err >&2
        fail "exit status $code instead of $wanted: $*"
    }
}

# expect_text FILE PATTERN: an extended regular expression that some line must match.
expect_text() {
    grep -Eq -- "$2" "$1" || {
        tail -n 15 "$1" >&2
        fail "$1 has no line that matches: $2"
    }
}

# metric RUN KIND KEY: the value of KEY in the last line of that kind in RUN/metrics.jsonl.
metric() {
    python3 - "$@" <<'PY'
import json, sys
run, kind, key = sys.argv[1:]
lines = [json.loads(line) for line in open(run + '/metrics.jsonl')]
print([line for line in lines if line['kind'] == kind][-1][key])
PY
}

# json FILE EXPRESSION: a Python expression over `d`, the file's (last line's) JSON value.
json() {
    python3 - "$@" <<'PY'
import json, sys
text = open(sys.argv[1]).read()
try:
    d = json.loads(text)
except ValueError:
    d = json.loads(text.strip().split('\n')[-1])
print(eval(sys.argv[2]))
PY
}

# holds EXPRESSION: a Python expression of numbers, true or the test fails. holds "0.3 <= 0.60" "step time ratio"
holds() {
    [ "$(python3 -c "print(bool($1))")" = True ] || fail "${2:-condition}: $1 does not hold"
}

# seconds COMMAND...: runs it, prints how long it took; its output goes to quiet.log.
seconds() {
    local start
    start=$(date +%s.%N)
    quietly "$@"
    python3 -c "print('%.3f' % ($(date +%s.%N) - $start))"
}

# digits, small_digits: the path of the made digits data set, 60,000 + 10,000 samples or 2,000 + 500 of them.
digits() {
    python -c 'import dltest; print(dltest.digits())'
}
small_digits() {
    python -c 'import dltest; print(dltest.small_digits())'
}

# training_tree: links the configs folder here, with data/digits in place, so that paths in configs work.
training_tree() {
    ln -sfn "$ROOT/configs" configs
    mkdir -p data
    ln -sfn "$(digits)" data/digits
}
