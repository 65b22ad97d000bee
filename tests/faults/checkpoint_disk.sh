#!/bin/bash
# TEST tier=quick timeout=60 slots=1
# A checkpoint on a disk that is full, has no names left, may not be written, or limits the size of files: exit status
# 74, path, bytes wanted and free; nothing of it is left, the older one is whole, and the next save works.
. "$(dirname "$0")/../lib/common.sh"
make=$BUILD/tests/tools/checkpoint_make
[ -x "$make" ] || fail "$make is not built"
if [ -z "${IN_DISK:-}" ]; then
    # A file-size limit needs no disk of our own.
    mkdir run
    expect_exit 0 "$make" run/checkpoints 1 2
    expect_exit 74 bash -c 'ulimit -f 2048; exec "$@"' limited "$make" run/checkpoints 2 1 8
    expect_text err 'run/checkpoints/step-00000002/part-00000.h5: File too large'
    [ "$(ls run/checkpoints)" = step-00000001 ] || fail "left behind: $(ls run/checkpoints)"
    expect_exit 0 dltrain ckpt verify run/checkpoints
    unshare -m true 2>/dev/null || { echo "a file-size limit; no disks: no mount namespaces for this user"; exit 0; }
    IN_DISK=1 exec unshare -m "$0"
fi

# disk NAME OPTIONS: a tmpfs there.
disk() {
    mkdir "$1"
    mount -t tmpfs -o "$2" tmpfs "$1"
}

# whole NAME STEP...: exactly these checkpoints are there, undamaged.
whole() {
    local name=$1
    shift
    [ "$(ls "$name/checkpoints" | paste -sd' ')" = "$*" ] || fail "$name: $(ls "$name/checkpoints") instead of $*"
    expect_exit 0 dltrain ckpt verify "$name/checkpoints"
}

disk full size=4m
expect_exit 0 "$make" full/checkpoints 1 2
expect_exit 74 "$make" full/checkpoints 2 1 8
expect_text err 'full/checkpoints/step-00000002/part-00000.h5: No space left on device'
expect_text err '[0-9,]+ more bytes are wanted, [0-9,]+ are free$'
whole full step-00000001
expect_exit 0 "$make" full/checkpoints 2 2
whole full step-00000001 step-00000002

# No room for the manifest alone.
for kib in $(seq 0 4 40); do
    rm -rf full/filler full/checkpoints/step-00000003
    head -c $(((4096 - 128 + kib) * 1024)) /dev/zero >full/filler 2>/dev/null || true
    "$make" full/checkpoints 3 2 2>err && continue
    grep -q 'No space left on device' err || fail "$(cat err)"
    whole full step-00000001 step-00000002
done
rm full/filler

disk names nr_inodes=9
expect_exit 0 "$make" names/checkpoints 1 2
expect_exit 74 "$make" names/checkpoints 2 3
expect_text err 'names/checkpoints/step-00000002.*: No space left on device'
whole names step-00000001

disk fixed size=4m
expect_exit 0 "$make" fixed/checkpoints 1 2
expect_exit 0 "$make" fixed/checkpoints 2 2
mount -o remount,ro fixed
expect_exit 74 "$make" fixed/checkpoints 3 2
expect_text err 'fixed/checkpoints/step-00000003: Read-only file system'
expect_exit 74 dltrain ckpt prune fixed/checkpoints --keep 1
expect_text err 'cannot delete fixed/checkpoints/step-00000001: Read-only file system'
whole fixed step-00000001 step-00000002
echo "a file-size limit, full disks, no names, read only"
