#!/bin/bash
# TEST tier=full timeout=900 slots=2
# Every command of accept.sh on the CPU, in small; the benchmark where there is a PyTorch (TORCH_PYTHON).
. "$(dirname "$0")/../lib/common.sh"

parts=(conformance answers training sanitizer)
! "${TORCH_PYTHON:-python3}" -c 'import torch' 2>/dev/null || parts+=(benchmark)
BACKEND=cpu "$ROOT/tests/gpu/accept.sh" "${parts[@]}" | tee out || fail "a command of accept.sh does not run"
RESULTS=nowhere "$ROOT/tests/gpu/accept.sh" --list >listed || fail "accept.sh --list"
[ "$(grep -c 'missing: not yet run on a GPU' listed)" -eq 5 ] || fail "accept.sh --list: $(cat listed)"
expect_exit 2 "$ROOT/tests/gpu/accept.sh" speed
expect_text err 'there is no part speed'
echo "$(grep -c '^ok' out) figures of ${#parts[@]} parts"
