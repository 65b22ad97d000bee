"""Helpers of the test scripts in Python: running the program, its metrics, weights and their hash, data sets.

Importing this changes to an empty folder, which is removed in the end. BUILD names the build folder (default build)."""
import atexit
import fcntl
import ctypes
import ctypes.util
import glob
import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import h5py
import numpy

ROOT = os.environ.get('ROOT') or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get('BUILD') or 'build')
DLTRAIN = os.path.join(BUILD, 'launcher', 'dltrain')
MNIST_CNN = os.path.join(ROOT, 'configs', 'mnist_cnn.yaml')
SHARED_DATA = os.environ.get('SHARED_DATA') or os.path.join(os.path.dirname(ROOT), 'shared', 'data')
if os.geteuid() == 0:
    os.environ['OMPI_ALLOW_RUN_AS_ROOT'] = os.environ['OMPI_ALLOW_RUN_AS_ROOT_CONFIRM'] = '1'
if 'TEST_TMP' not in os.environ:
    os.environ['TEST_TMP'] = tempfile.mkdtemp(prefix='dltrain-test-')
    atexit.register(shutil.rmtree, os.environ['TEST_TMP'], ignore_errors=True)
os.chdir(os.environ['TEST_TMP'])


def fail(text):
    """Ends the test, failed."""
    print('FAILED: ' + text, file=sys.stderr)
    sys.exit(1)


def run(*words, ranks=0, code=0, timeout=300, fresh=True, **environment):
    """Runs dltrain with these words (ranks > 0: under mpirun), returns the finished process; any other exit status
    than `code` fails the test. Training begins anew unless fresh is False."""
    command = [DLTRAIN] + [str(w) for w in words]
    if fresh and words and (words[0] == 'train' or str(words[0]).endswith('.yaml')):
        command.append('--fresh')
    if ranks:
        command = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks)] + command
    done = subprocess.run(command, env=dict(os.environ, **environment), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout)
    if code is not None and done.returncode != code:
        fail(f'exit status {done.returncode} instead of {code}: {" ".join(command)}\n'
             f'{done.stdout[-1500:]}{done.stderr[-3000:]}')
    return done


def metrics(folder, kind):
    """The lines of one kind in a run's metrics.jsonl."""
    with open(os.path.join(folder, 'metrics.jsonl')) as f:
        return [m for m in map(json.loads, f) if m['kind'] == kind]


def figures(folder):
    """What a run says of its training and evaluations in metrics.jsonl, without what time decides."""
    return [{key: value for key, value in line.items() if 'loss' in key or 'accuracy' in key or 'perplexity' in key}
            for kind in ('step', 'epoch', 'end') for line in metrics(folder, kind)]


def weights(folder):
    """{path: array} of a run's weights.h5 (or of a file), in bytewise order of the paths."""
    found = {}
    name = folder if folder.endswith('.h5') else os.path.join(folder, 'weights.h5')
    with h5py.File(name, 'r') as f:
        f.visititems(lambda path, item: found.update({'/' + path: item}))
        found = {path: item[()] for path, item in found.items() if isinstance(item, h5py.Dataset)}
    return {path: found[path] for path in sorted(found, key=str.encode)}


class Hash128(ctypes.Structure):
    _fields_ = [('low', ctypes.c_uint64), ('high', ctypes.c_uint64)]


def xxh3_128(data):
    """XXH3-128 as 32 hexadecimal digits, by the system's libxxhash."""
    library = ctypes.CDLL(ctypes.util.find_library('xxhash') or 'libxxhash.so.0')
    library.XXH3_128bits.restype = Hash128
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    h = library.XXH3_128bits(data, len(data))
    return f'{h.high:016x}{h.low:016x}'


def weights_hash(folder):
    """The contract's HASH of a run's weights, computed from the file."""
    return xxh3_128(b''.join(numpy.ascontiguousarray(w, '<f4').tobytes() for w in weights(folder).values()))


def max_difference(a, b):
    """max |a - b| over max |a|, over all tensors of two sets of weights."""
    if a.keys() != b.keys():
        fail(f'different tensors: {sorted(a.keys() ^ b.keys())}')
    scale = max(float(numpy.abs(w).max()) for w in a.values())
    return max(float(numpy.abs(a[k].astype('f8') - b[k]).max()) for k in a) / scale


def write_shards(folder, split, fields, parts=1, **options):
    """A split of a data set with h5py: fields {name: array}, cut into `parts` files."""
    os.makedirs(folder, exist_ok=True)
    n = len(next(iter(fields.values())))
    for part in range(parts):
        with h5py.File(os.path.join(folder, f'{split}-{part:05d}.h5'), 'w') as f:
            for name, rows in fields.items():
                f.create_dataset(name, data=rows[n * part // parts:n * (part + 1) // parts], **options)


def write_tokens(folder, split, tokens, vocabulary):
    """A text as a shard, without the names of its tokens."""
    write_shards(folder, split, {'tokens': tokens.astype('u2')})
    with h5py.File(f'{folder}/{split}-00000.h5', 'a') as f:
        f['tokens'].attrs['vocab_size'] = vocabulary


def use_emulated_gpu():
    """For backend=cuda from here on; skips the test where the build has no plugin. One thread computes for it."""
    plugin = os.path.join(BUILD, 'tests', 'emulator')
    if not os.path.exists(os.path.join(plugin, 'dltrain_cuda.so')):
        print('SKIP: this build has no plugin for GPUs')
        sys.exit(77)
    os.environ['DLTRAIN_PLUGIN_DIR'] = plugin
    os.environ['DLTRAIN_THREADS'] = '1'


def write_idx(name, array):
    """An IDX file of unsigned bytes, gzip'd when the name ends in .gz."""
    head = struct.pack('>HBB', 0, 8, array.ndim) + struct.pack(f'>{array.ndim}I', *array.shape)
    with (gzip.open if name.endswith('.gz') else open)(name, 'wb') as f:
        f.write(head + array.astype('u1').tobytes())


def random_images(n, shape=(28, 28, 1), classes=10, seed=0):
    """Images whose class can be learnt: a class's own fixed pattern, and noise."""
    r = numpy.random.default_rng(seed)
    patterns = numpy.random.default_rng(12345).integers(0, 200, (classes,) + tuple(shape))
    y = r.integers(0, classes, n)
    return (patterns[y] + r.integers(0, 56, (n,) + tuple(shape))).astype('u1'), y.astype('i4')


def read_split(folder, split, count):
    """The first samples of a split as {field: array}."""
    files = [h5py.File(name, 'r') for name in sorted(glob.glob(os.path.join(folder, split + '-*.h5')))]
    names = [k for k, v in files[0].items() if isinstance(v, h5py.Dataset)]
    return {k: numpy.concatenate([f[k][:count] for f in files])[:count] for k in names}


def kept(name, make):
    """A folder of test data in the build folder, made by make(path) when it is not there whole."""
    path = os.path.join(BUILD, 'test-data', name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + '.lock', 'w') as lock:  # another test may want it at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(path, '.complete')):
            shutil.rmtree(path, ignore_errors=True)
            make(path)
            open(os.path.join(path, '.complete'), 'w').close()
    return path


def digits():
    """The made digits: 60,000 to train, 10,000 to test."""
    return kept('digits', lambda path: run('data', 'make', 'digits', '--out', path))


def cut_digits(path, **counts):
    """The first digits of each split: cut_digits('data', train=2000, test=500)."""
    for split, count in counts.items():
        write_shards(path, split, read_split(digits(), split, count))


def small_digits():
    """2,000 + 500 of the digits, for tests that only need data."""
    return kept('digits-small', lambda path: cut_digits(path, train=2000, test=500))


def mnist():
    """The real MNIST as a data set, imported from ../shared/data."""
    def make(path):
        for split, stem in (('train', 'train'), ('test', 't10k')):
            files = [os.path.join(SHARED_DATA, 'mnist', f'{stem}-{kind}-ubyte.gz') for kind in
                     ('images-idx3', 'labels-idx1')]
            run('data', 'import', 'idx', *files, '--out', path, '--split', split)
    return kept('mnist', make)


def shakespeare():
    """tiny-shakespeare by characters as a data set, imported from ../shared/data."""
    def make(path):
        source = os.path.join(SHARED_DATA, 'tiny-shakespeare', 'input.txt')
        run('data', 'import', 'text', source, '--tokens', 'chars', '--out', path)
    return kept('shakespeare', make)
