#!/bin/sh
# What is to be seen on a machine with a GPU, in parts of at most 8 minutes each:
#
#   tests/gpu/accept.sh [--list] [PART ...]     conformance, answers, training, sanitizer, benchmark; none: all
#
# Needs Python 3 and, for the benchmark, PyTorch. BIN names a folder with the programs dltrain, dltrain_cuda.so,
# conformance and mpi_conformance_cuda (default: those of BUILD, itself by default `build`); RUN is a command put before
# each of them (a wrapper that carries libraries along); DATA a folder with data sets mnist, cifar10, shakespeare made
# by `dltrain data import` (default: those the program makes). Results go to RESULTS (default tests/gpu/results), one
# file for each part, with versions; --list says which are missing. BACKEND=cpu rehearses all commands on a CPU, in
# small, and writes nothing. What the driver answers goes to ANSWERS (default tests/gpu/answers.json; a rehearsal writes
# it only where ANSWERS is given). Exit status 1 when a figure is not kept.
exec python3 "$(dirname "$0")/accept/main.py" "$@"
