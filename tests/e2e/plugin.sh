#!/bin/bash
# TEST tier=default timeout=60
# The plugin for GPUs: the program links nothing of CUDA; each reason why no GPU can be used has its own sentence, with
# backend=cuda exit status 2 and no other message, with `auto` at most one line and the CPU.
. "$(dirname "$0")/../lib/common.sh"
config=$ROOT/configs/mnist_cnn.yaml
words=(data.path=nowhere data.make=digits run.dir=run)
tools=$BUILD/tests/tools

readelf -d "$DLTRAIN" >needed
! grep -Ei 'NEEDED.*(cuda|cudnn|cublas|nccl|nvidia)' needed || fail "the program links CUDA"

# refused PATTERN: backend=cuda says so, once, before anything is made.
refused() {
    expect_exit 2 dltrain check "$config" "${words[@]}" backend=cuda
    expect_text err "error: .*$1"
    expect_exit 2 dltrain train "$config" "${words[@]}" backend=cuda
    expect_text err "error: .*$1"
    [ "$(grep -c 'error:' err)" -eq 1 ] || fail "more than one message: $(cat err)"
    [ ! -e nowhere ] || fail "data was made for a run that is refused"
    dltrain devices >out || fail "dltrain devices fails"
    expect_text out "gpu +none: .*$1"
    expect_text out 'cpu .* [0-9]+ cores? for this process'
    dltrain devices --json | python3 -c 'import json, re, sys
d = json.load(sys.stdin)
assert d["gpus"] == [] and re.search(sys.argv[1], d["no_gpu"]) and d["cpu"]["cores"] >= 1, d' "$1"
}

# on_cpu LINES PATTERN: backend=auto runs on the CPU and says why in so many lines.
on_cpu() {
    dltrain bench "$config" --steps 1 --warmup 0 train.batch_size=8 >out 2>err || fail "auto does not run: $(cat err)"
    dltrain train "$config" "data.path=$data" run.dir=run train.batch_size=8 train.max_steps=1 --fresh >out 2>err ||
        fail "auto does not run: $(cat err)"
    expect_text out 'dltrain .* cpu \('
    [ "$(grep -c '^gpu ' out)" -eq "$1" ] || fail "not $1 lines about GPUs: $(cat out)"
    [ "$1" -eq 0 ] || expect_text out "^gpu +none is used: .*$2"
    [ ! -s err ] || fail "stderr: $(cat err)"
}

data=$(small_digits)
mkdir empty

# No plugin.
export DLTRAIN_PLUGIN_DIR=$PWD/empty
refused 'no plugin dltrain_cuda.so in .*/empty'

# A file that is no shared object, and one that is no plugin.
mkdir broken
echo text >broken/dltrain_cuda.so
DLTRAIN_PLUGIN_DIR=$PWD/broken refused 'the plugin cannot be opened: .*dltrain_cuda.so'
mkdir foreign
cp "$tools/driver_without_gpu/libcuda.so.1" foreign/dltrain_cuda.so
DLTRAIN_PLUGIN_DIR=$PWD/foreign refused 'is no plugin of dltrain'

# Another version.
export DLTRAIN_PLUGIN_DIR=$tools/other_version
refused 'belongs to another version of dltrain \(its ABI is 1, this program.s is [0-9a-f]+\)'

# A driver without a GPU makes people expect that one is used.
without_gpu=$tools/driver_without_gpu
LD_LIBRARY_PATH=$without_gpu on_cpu 1 'belongs to another version of dltrain'
DLTRAIN_PLUGIN_DIR=$PWD/empty LD_LIBRARY_PATH=$without_gpu on_cpu 1 'no plugin dltrain_cuda.so'

if [ -e "$BUILD/launcher/dltrain_cuda.so" ]; then
    unset DLTRAIN_PLUGIN_DIR
    readelf -W --dyn-syms "$BUILD/launcher/dltrain_cuda.so" >symbols
    [ "$(awk '$7 != "UND" && $5 == "GLOBAL" {print $8}' symbols)" = dltrain_plugin ] ||
        fail "the plugin shows more than its one function"
    LD_LIBRARY_PATH=$without_gpu refused 'has no GPU for this process'
    LD_LIBRARY_PATH=$without_gpu CUDA_VISIBLE_DEVICES=7 refused 'no GPU for this process \(CUDA_VISIBLE_DEVICES is 7\)'
    LD_LIBRARY_PATH=$without_gpu on_cpu 1 'has no GPU for this process'
fi
# The arithmetic that GPUs and CPUs share is compiled without contraction (in float; pow of doubles has it).
update=$(find "$BUILD/kernels/cuda" -name 'update.ptx' 2>/dev/null | head -n 1 || true)
if [ -n "$update" ]; then
    grep -E 'mul(\.rn)?\.f32' "$update" >/dev/null || fail "no product of floats in $update"
    ! grep -E 'fma\.rn\.f32' "$update" || fail "a fused multiply-add in $update"
fi

if ldconfig -p | grep libcuda.so.1 >/dev/null; then
    echo "a driver is installed: what is said without one was not looked at"
    exit 0
fi
DLTRAIN_PLUGIN_DIR=$PWD/empty on_cpu 0
DLTRAIN_PLUGIN_DIR=$tools/other_version on_cpu 1 'no NVIDIA driver is installed'
if [ -e "$BUILD/launcher/dltrain_cuda.so" ]; then
    refused 'no NVIDIA driver is installed on this machine'
    on_cpu 1 'no NVIDIA driver is installed on this machine'
    expect_exit 2 mpi 2 dltrain train "$config" "${words[@]}" backend=cuda
    expect_text err 'error: no NVIDIA driver is installed'
    [ "$(grep -c 'dltrain: .*error:' err)" -eq 1 ] || fail "more than one message: $(cat err)"
fi
