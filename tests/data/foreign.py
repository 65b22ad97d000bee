#!/usr/bin/env python3
"""Writes HDF5 files as other programs write them, for tests/unit/h5.c: foreign.py DIR"""
import sys

import h5py
import numpy

folder = sys.argv[1]
x = (numpy.arange(40 * 6, dtype="i8").reshape(40, 6) * 7 % 251).astype("u1")
y = (numpy.arange(40) % 3).astype("i4")


def write(name, make):
    with h5py.File(f"{folder}/{name}.h5", "w") as file:
        make(file)


def both(file, **options):
    file.create_dataset("x", data=x, **options)
    file["y"] = y


write("plain", both)
write("gzip", lambda f: both(f, chunks=(8, 6), compression="gzip", shuffle=True))
write("fletcher", lambda f: both(f, chunks=(8, 6), fletcher32=True))
write("lzf", lambda f: both(f, compression="lzf"))
write("latest", lambda f: both(f))
with h5py.File(f"{folder}/latest.h5", "w", libver="latest") as file:
    both(file)


def big_endian(file):
    file["x"] = x.astype(">f4")
    file["y"] = y.astype(">i8")


def compact(file):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(x.shape)
    dataset = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, plist)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, x)
    file["y"] = y


def soft_link(file):
    file["real"] = x
    file["x"] = h5py.SoftLink("/real")


def external_link(file):
    file["x"] = h5py.ExternalLink("plain.h5", "/x")


def group_link(file):
    file["meta/z"] = h5py.SoftLink("/x")
    both(file)


def virtual(file):
    layout = h5py.VirtualLayout(shape=x.shape, dtype="u1")
    layout[:] = h5py.VirtualSource("plain.h5", "x", shape=x.shape)
    file.create_virtual_dataset("x", layout)


def external(file):
    file.create_dataset("x", shape=x.shape, dtype="u1", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def texts(file):
    both(file)
    file["meta/class_names"] = ["zero", "one", "two"]
    file["names"] = numpy.array([b"a"] * 40)
    file["weight"] = numpy.linspace(0, 1, 40, dtype="f4")
    file["mean"] = numpy.zeros(6, "f4")
    file.attrs["name"] = "written by h5py"
    file.attrs["bytes"] = numpy.bytes_("fixed")
    file.attrs["n_classes"] = 3
    file.attrs["list"] = [1, 2]


def text_labels(file):
    file["x"] = x
    file["y"] = numpy.array([b"one"] * 40)


def cycle(file):
    both(file)
    file["a/b"] = file["/"]


def unwritten(file):
    file.create_dataset("x", shape=x.shape, dtype="u1")
    file["y"] = y


def bomb(file):
    file.create_dataset("x", shape=(1 << 30, 1 << 10), dtype="u1", chunks=(1, 1024), compression="gzip")


write("big_endian", big_endian)
write("compact", compact)
write("soft_link", soft_link)
write("external_link", external_link)
write("group_link", group_link)
write("virtual", virtual)
write("external", external)
write("texts", texts)
write("text_labels", text_labels)
write("cycle", cycle)
write("unwritten", unwritten)
write("bomb", bomb)
with h5py.File(f"{folder}/user_block.h5", "w", userblock_size=512) as file:
    both(file)
