#!/usr/bin/env python3
# TEST tier=quick timeout=60 slots=1
"""Plants violations of each rule in a scratch tree, one at a time: check.py must name each, and nothing in the clean
tree."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check as rules  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CLEAN = {
    'CMakeLists.txt': '', 'README.md': '', 'LICENSE': '', 'comm/c.h': '', 'kernels/op.h': '', 'configs/a.yaml': '',
    'src/base/b.h': '#include <stddef.h>\nint b(void);\n',
    'src/base/b.c': '#include "base/b.h"\n\nint b(void) {\n    return "exit(1) } {"[0]; /* exit(1) */\n}\n',
    'src/io/h5.c': '#include <hdf5.h>\n', 'src/config/tree.c': '#include <libfyaml.h>\n',
    'comm/mpi.c': '#include <mpi.h>\nint s(void) {\n    return MPI_Init(0, 0) + f->abort(1);\n}\n',
    'launcher/bootstrap.c': '#include "comm/c.h"\nint m(void) {\n    exit(dl_comm_mpi_create(&w));\n}\n',
    'datasets/d.c': '#include "base/b.h"\n',
    'src/model/layers.def': 'DL_LAYER(dense)\n',
    'src/model/layers/dense.c': 'const dl_layer_kind dl_layer_dense = {.name = "dense", .doc = "A matrix."};\n',
}
BODY = '    x();\n'
# What is planted: file, its text ('+' in front: added to the file; None: removed), the complaint expected.
PLANTED = (
    ('notes.txt', '', 'notes.txt:1: top:'),
    ('docs/x.md', '', 'docs:1: top:'),
    ('README.md', None, 'README.md:1: top: is missing'),
    ('src/base/x.c', '#include "comm/c.h"\n', 'src/base/x.c:1: include:'),
    ('src/base/x.c', '\n#  include "config/option.h"\n', 'src/base/x.c:2: include:'),
    ('comm/x.c', '#include "model/model.h"\n', 'comm/x.c:1: include: no such header'),
    ('kernels/x.c', '#include "comm/c.h"\n', 'kernels/x.c:1: include:'),
    ('datasets/x.c', '#include "kernels/op.h"\n', 'datasets/x.c:1: include:'),
    ('src/model/x.c', '#include "comm/c.h"\n', 'src/model/x.c:1: include:'),
    ('src/train/x.c', '#include <hdf5.h>\n', 'src/train/x.c:1: library:'),
    ('src/io/x.c', '#include <hdf5.h>\n', 'src/io/x.c:1: library:'),
    ('src/program/x.c', '#include <mpi.h>\n', 'src/program/x.c:1: library:'),
    ('kernels/ref/x.c', '#include <oneapi/dnnl/dnnl.h>\n', 'kernels/ref/x.c:1: library:'),
    ('src/config/x.c', '#include "libfyaml.h"\n', 'src/config/x.c:1: library:'),
    ('src/base/x.c', 'void f(void) {\n    exit(1);\n}\n', 'src/base/x.c:2: exit:'),
    ('comm/x.c', 'void f(void) {\n    if (a) { abort (); }\n}\n', 'comm/x.c:2: exit:'),
    ('datasets/x.c', 'void f(void) {\n    printf("x");\n}\n', 'datasets/x.c:2: print:'),
    ('src/io/x.c', 'void f(void) {\n    fputs("x", stdout);\n}\n', 'src/io/x.c:2: print:'),
    ('comm/x.c', 'void f(void) {\n    MPI_Init_thread(0, 0, 0, 0);\n}\n', 'mpi: MPI is started in comm/mpi.c already'),
    ('launcher/x.c', 'void f(void) {\n    dl_comm_mpi_create(&w);\n}\n', 'launcher/x.c:2: mpi:'),
    ('src/train/x.c', 'void f(void) {\n    cudaMalloc(0, 0);\n}\n', 'src/train/x.c:2: cuda:'),
    ('kernels/cuda/x.cu', 'cudaError_t dl_launch_f(int n) {\n}\n\nint g(int n) {\n}\n', 'kernels/cuda/x.cu:4: cuda:'),
    ('src/base/x.c', '\n' * 601, 'src/base/x.c:600: size:'),
    ('src/base/x.c', 'static int\nf(void) {\n' + BODY * 79 + '}\n', 'src/base/x.c:1: size: f has'),
    ('tests/x.py', 'def g():\n' + BODY * 81, 'tests/x.py:1: size: g has'),
    ('src/base/x.c', '/*' + 'x' * 119 + '*/\n', 'src/base/x.c:1: size:'),
    ('tests/rules/exceptions.txt', 'line src/base/b.c it is a very good reason indeed\n', 'is not needed any more'),
    ('tests/rules/exceptions.txt', 'line src/base/b.c short\n', 'exceptions: KIND, FILE and a reason'),
    ('kernels/b.h', '', 'names: kernels/b.h has the same name'),
    ('src/model/layers.def', '+DL_LAYER(conv2d)\n', 'layers.def:2: table: dl_layer_conv2d is not defined'),
    ('src/model/layers/dense.c', 'const dl_layer_kind dl_layer_dense = {.name = "dense", .doc = ""};\n',
     'table: dl_layer_dense has no documentation'),
    ('src/model/layers/lstm.c', 'const dl_layer_kind dl_layer_lstm = {.doc = "Gates."};\n', 'lstm.c:1: table: no row'),
    ('src/base/x.h', 'size_t f(void);\n', 'src/base/x.h:1: header:'),
    ('tests/x.sh', 'a || grep -q b\nnm x |\n  grep -Eq b\n', 'tests/x.sh:2: pipe:'),
)


def write(root, name, text):
    path = os.path.join(root, name)
    if text is None:
        os.remove(path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'a' if text.startswith('+') else 'w') as f:
        f.write(text.lstrip('+'))


def problems_with(name=None, text=None, checks=rules.CHECKS):
    """What check.py says of the clean tree with one file changed."""
    root = tempfile.mkdtemp(prefix='dltrain-rules-')
    try:
        for file, content in CLEAN.items():
            write(root, file, content)
        os.makedirs(os.path.join(root, 'tests/rules'))
        shutil.copy(os.path.join(HERE, 'layering.txt'), os.path.join(root, 'tests/rules'))
        write(root, 'tests/rules/exceptions.txt', '')
        if name:
            write(root, name, text)
        return rules.check(root, checks)
    finally:
        shutil.rmtree(root)


def main():
    failed = [f'clean tree: {p}' for p in problems_with()]
    without_compiler = [c for c in rules.CHECKS if c is not rules.check_headers]
    for name, text, expected in PLANTED:
        checks = rules.CHECKS if 'header' in expected else without_compiler
        found = problems_with(name, text, checks)
        if not any(expected in p for p in found):
            failed.append(f'not found: {expected!r}; said: {found}')
    for line in failed:
        print(line)
    print(f'{len(PLANTED)} violations planted, {len(failed)} problems')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
