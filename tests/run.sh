#!/bin/bash
# Builds what the tests need and runs them.
#
#   tests/run.sh [--quick | --full | --nightly] [--list] [--only PATTERN]
#
#   --quick   the short tests: 90 s at most        (default: 15 minutes at most)
#   --full    everything: long trainings, planted faults, fuzzing too
#   --nightly everything, and of the tests that kill, stop and damage at random the large versions: hours
#   --list    names the tests instead of running them
#   --only    only tests whose name matches one of the shell patterns: 'unit/*,e2e/threads'
#
# The build folder is $BUILD (default build-tests). Missing packages are installed, or named, first.
# Last line: N passed, N failed, N skipped. Exit status 1 when a test failed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export BUILD=${BUILD:-${BUILD_DIR:-$root/build-tests}}

case " $* " in
*" --help "* | *" -h "*) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac

sh "$root/launcher/quickstart.sh" --packages build,test --yes
mkdir -p "$BUILD"
BUILD=$(cd "$BUILD" && pwd -P)
echo "Building into $BUILD"
if ! sh "$root/launcher/build.sh" "$BUILD" -DDLTRAIN_TESTS=ON >"$BUILD/build.log" 2>&1; then
    tail -n 40 "$BUILD/build.log"
    echo "tests/run.sh: error: the build failed; the whole log is $BUILD/build.log" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
exec python3 "$root/tests/lib/runner.py" "$@"
