#!/bin/sh
# Prints a Python that imports numpy and h5py: $DLTRAIN_TEST_PYTHON, python3 on the PATH, the system's (root installs
# its packages), or one made with pip in a throw-away folder under the user's cache. Exit status 1: there is none.
set -eu

works() { "$1" -c 'import numpy, h5py' >/dev/null 2>&1; }

folder=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dltrain-tests/python
# print_first CANDIDATE...: the first that works.
print_first() {
    for candidate in "$@"; do
        if [ -n "$candidate" ] && works "$candidate"; then
            command -v "$candidate"
            exit 0
        fi
    done
}

print_first "${DLTRAIN_TEST_PYTHON:-}" python3 /usr/bin/python3 "$folder/bin/python"
if [ "$(id -u)" -eq 0 ] && sh "$(dirname "$0")/../../launcher/quickstart.sh" --packages python --yes >&2; then
    print_first /usr/bin/python3
fi
for maker in python3 /usr/bin/python3; do
    rm -rf "$folder"
    if "$maker" -m venv "$folder" >/dev/null 2>&1 && "$folder/bin/pip" install -q numpy h5py >&2 &&
        works "$folder/bin/python"; then
        echo "$folder/bin/python"
        exit 0
    fi
done
echo "find_python.sh: no Python with numpy and h5py; apt-get install python3-numpy python3-h5py" >&2
exit 1
