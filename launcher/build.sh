#!/bin/sh
# Configures and builds the project into a folder; run again, it builds what changed.
#
#   launcher/build.sh DIR [CMAKE OPTION ...]
#
# A folder configured for another source tree, as in a copied clone, is configured afresh.
# JOBS=N compiles N files at a time (default: one per core, at least 600 MB of free memory each); TARGET=NAME builds
# that alone, with what it needs.
set -eu

[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd -P)
mkdir -p "$1"
dir=$(cd "$1" && pwd -P)
shift

home=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$dir/CMakeCache.txt" 2>/dev/null || true)
if [ -n "$home" ] && [ "$home" != "$root" ]; then
    rm -rf "$dir/CMakeCache.txt" "$dir/CMakeFiles"
    home=
fi
if [ -z "$home" ] && command -v ninja >/dev/null; then
    set -- -G Ninja "$@"
fi

jobs=${JOBS:-}
if [ -z "$jobs" ]; then
    jobs=$(nproc 2>/dev/null || echo 1)
    free_mb=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo 2>/dev/null || echo 0)
    [ "$free_mb" -eq 0 ] || [ $((free_mb / 600)) -ge "$jobs" ] || jobs=$((free_mb / 600))
    [ "$jobs" -ge 1 ] || jobs=1
fi

cmake -S "$root" -B "$dir" "$@"
cmake --build "$dir" -j "$jobs" ${TARGET:+--target "$TARGET"}
