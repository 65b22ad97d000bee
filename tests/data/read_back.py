#!/usr/bin/env python3
"""Checks with h5py what tests/unit/h5.c wrote: read_back.py FILE"""
import sys

import h5py
import numpy

kinds = {"float32": "<f4", "float64": "<f8", "float16": "<f2", "uint8": "|u1", "uint16": "<u2", "int32": "<i4",
         "int64": "<i8"}
with h5py.File(sys.argv[1]) as file:
    for name, kind in kinds.items():
        found = file[f"group/{name}"]
        assert found.shape == (3, 5) and found.dtype == numpy.dtype(kind), (name, found)
        assert found.chunks is None and found.compression is None, name
        assert (found[:] == numpy.arange(15).reshape(3, 5)).all(), (name, found[:])
    assert file["scalar"][()] == 2.5 and file["scalar"].shape == ()
    assert file["empty"].shape == (0, 4)
    assert file["large"].shape == (9000,) and file["large"].id.get_offset() % 4096 == 0
    assert file.attrs["number"] == -5 and file["group/int32"].attrs["text"] == "fünf".encode()
