#!/bin/bash
# dltrain beside PyTorch and Keras: turn by turn in one run, medians, ratios, share of the core's peak.
#
#   tests/bench/run.sh [--models NAME,...|all] [--ranks] [--rounds N] [--steps N] [--readme]
#
# The models are rows of tests/bench/models.py; without --models it is mnist_cnn. --ranks compares two ranks with two
# single ones at the same time instead, and with PyTorch's DistributedDataParallel over gloo. Writes
# $BUILD/bench/results.json, which keeps the rows of models that were measured before, and prints tables; --readme puts
# them into README.md. The peers come from PyPI into ${XDG_CACHE_HOME:-~/.cache}/dltrain-peers (1 to 2 GB), unless
# TORCH_PYTHON and KERAS_PYTHON name interpreters that have them. BUILD names the build folder (default build).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
case " $* " in *" --help "*) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
BUILD=${BUILD:-$root/build}
case $BUILD in /*) ;; *) BUILD=$root/$BUILD ;; esac
export BUILD
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dltrain-peers

# peer NAME MODULE PACKAGE...: prints a Python that imports MODULE, making it when there is none.
peer() {
    local folder=$cache/$1 module=$2
    shift 2
    if ! "$folder/bin/python" -c "import $module" 2>/dev/null; then
        echo "Installing $* into $folder" >&2
        rm -rf "$folder"
        python3 -m venv "$folder" 2>/dev/null || /usr/bin/python3 -m venv "$folder" ||
            { echo "tests/bench/run.sh: needs python3-venv: apt-get install python3-venv" >&2; return 1; }
        "$folder/bin/pip" install -q "$@" >&2
    fi
    echo "$folder/bin/python"
}

TORCH_PYTHON=${TORCH_PYTHON:-$(peer torch torch numpy torch)}
KERAS_PYTHON=${KERAS_PYTHON:-$(peer keras keras tensorflow-cpu)}
export TORCH_PYTHON KERAS_PYTHON
sh "$root/launcher/build.sh" "$BUILD" -DDLTRAIN_TESTS=ON >"${TMPDIR:-/tmp}/dltrain-bench-build.log" 2>&1 ||
    { tail -n 30 "${TMPDIR:-/tmp}/dltrain-bench-build.log" >&2; exit 1; }
exec python3 "$root/tests/bench/compare.py" "$@"
