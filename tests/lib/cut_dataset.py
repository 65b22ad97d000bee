#!/usr/bin/env python3
"""Copies the first samples of a data set: cut_dataset.py FROM TO SPLIT=COUNT ... (one shard a split)."""
import glob
import os
import sys

import h5py
import numpy


def main():
    source, target = sys.argv[1:3]
    os.makedirs(target)
    for word in sys.argv[3:]:
        split, count = word.split('=')
        files = [h5py.File(name, 'r') for name in sorted(glob.glob(os.path.join(source, split + '-*.h5')))]
        with h5py.File(os.path.join(target, f'{split}-00000.h5'), 'w') as out:
            for key, value in files[0].attrs.items():
                out.attrs[key] = value
            for field in [k for k, v in files[0].items() if isinstance(v, h5py.Dataset)]:
                rows = numpy.concatenate([f[field][:int(count)] for f in files])[:int(count)]
                made = out.create_dataset(field, data=rows)
                for key, value in files[0][field].attrs.items():
                    made.attrs[key] = value


if __name__ == '__main__':
    main()
