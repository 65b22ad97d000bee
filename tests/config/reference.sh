#!/bin/bash
# TEST tier=quick timeout=30 slots=1
# configs/REFERENCE.md is what the program says of its keys. After a change: tests/config/reference.sh --accept
. "$(dirname "$0")/../lib/common.sh"
{
    echo '# All keys of a configuration'
    echo
    echo 'Made from the option tables by `tests/config/reference.sh --accept`; `dltrain help config` prints the same.'
    echo
    echo '```'
    dltrain help config
    echo '```'
} >page
if [ "${1:-}" = --accept ]; then
    cp page "$ROOT/configs/REFERENCE.md"
fi
diff -u "$ROOT/configs/REFERENCE.md" page || fail "configs/REFERENCE.md is not what dltrain help config prints"
echo "$(grep -c '^ *[a-z_0-9]*: ' page) entries"
