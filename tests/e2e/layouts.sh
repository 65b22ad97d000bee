#!/bin/bash
# TEST tier=quick timeout=60 slots=1
# In ResNet-20 activations change their layout at the ends and around padded shortcuts alone, not at each convolution.
. "$(dirname "$0")/../lib/common.sh"

XDG_CACHE_HOME=$PWD/cache expect_exit 0 dltrain check "$ROOT/configs/models/resnet20.yaml" --program
reorders=$(grep -c ' compute .*  reorder  ' out)
blocked=$(grep -c 'conv2d_forward .*<nChw' out || true)
[ "$blocked" -gt 0 ] || { echo "SKIP: this machine has no layout of its own"; exit 77; }
holds "$reorders <= 12" "reorders in a step of ResNet-20"
echo "$reorders reorders, $blocked convolutions in blocks of channels"
