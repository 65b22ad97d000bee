#!/usr/bin/env python3
"""Recomputes the hash of weights without dltrain: hash.py FILE|RUN

XXH3-128 over the tensors' bytes in bytewise order of their paths. For a run directory the result is also
compared with the hash in the last line of metrics.jsonl. Prints the hash; exit status 1 when the two differ.
Needs h5py and xxhash."""
import json
import os
import sys

import h5py
import numpy
import xxhash


def tensors(path):
    """(path in the file, array) of every dataset, in bytewise order of the paths."""
    found = {}
    with h5py.File(path, 'r') as file:
        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                found['/' + name] = item[()]
        file.visititems(visit)
    return sorted(found.items(), key=lambda pair: pair[0].encode())


def weights_hash(path):
    digest = xxhash.xxh3_128()
    for name, array in tensors(path):
        if array.dtype != numpy.dtype('<f4'):
            sys.exit(f'{path}: {name} is {array.dtype}, not little-endian float32')
        digest.update(numpy.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def main(argument):
    if not os.path.isdir(argument):
        print(weights_hash(argument))
        return 0
    with open(os.path.join(argument, 'metrics.jsonl')) as lines:
        end = json.loads(lines.readlines()[-1])
    computed = weights_hash(os.path.join(argument, 'weights.h5'))
    print(computed)
    if end.get('weights') != computed:
        print(f'metrics.jsonl ends with {end.get("weights")}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
