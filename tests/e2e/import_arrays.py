#!/usr/bin/env python3
# TEST tier=quick timeout=120 slots=1 needs=python
"""`dltrain data import cifar|sequences|npy`: everything arrives unchanged, in one shard or several, twice the same
bytes; each kind of wrong input is named with exit status 65 and leaves nothing; digests verify what arrived."""
import glob
import io
import json
import os

import dltest
import h5py
import numpy
from dltest import fail

R = numpy.random.default_rng(3)


def run_import(kind, inputs, out, *options, split='train', shards=1):
    return dltest.run('data', 'import', kind, *inputs, '--out', out, '--split', split, '--shards', shards, *options)


def expect_bad(kind, inputs, words, *options, code=65):
    done = dltest.run('data', 'import', kind, *inputs, '--out', 'bad', '--split', 'train', *options, code=code)
    message = [line for line in done.stderr.split('\n') if 'error:' in line]
    if len(message) != 1 or not all(w in message[0] for w in words):
        fail(f'{kind} {inputs} {options}: {words} not in {done.stderr!r}')
    if os.path.exists('bad'):
        fail(f'{kind} {inputs}: left behind bad: {os.listdir("bad")}')


def save(name, content):
    with open(name, 'wb') as f:
        f.write(content.encode() if isinstance(content, str) else content)
    return name


def same(what, a, b):
    if a.dtype != b.dtype or a.shape != b.shape or not numpy.array_equal(a, b):
        fail(f'{what}: {a.dtype} {a.shape} is not {b.dtype} {b.shape}, or other numbers')


def twice(kind, inputs, *options, shards=1):
    """Imports twice: the same bytes, and the digests in them are right."""
    for out in ('first', 'second'):
        run_import(kind, inputs, f'{kind}-{out}', *options, shards=shards)
    names = sorted(os.listdir(f'{kind}-first'))
    if len(names) != shards or names != sorted(os.listdir(f'{kind}-second')):
        fail(f'{kind}: {names}')
    for name in names:
        if open(f'{kind}-first/{name}', 'rb').read() != open(f'{kind}-second/{name}', 'rb').read():
            fail(f'{kind}: two imports differ in {name}')
    report = json.loads(dltest.run('data', 'verify', f'{kind}-first', '--json').stdout)
    if not all(s['checked'] > 0 and s['without'] == 0 for s in report['splits']):
        fail(f'{kind}: {report}')


# --- cifar ---

def records(x, y):
    return b''.join(bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(x, y))


def check_cifar():
    x, y = R.integers(0, 256, (700, 32, 32, 3), 'u1'), R.integers(0, 10, 700).astype('i4')
    save('a.bin', records(x[:300], y[:300]))
    save('b.bin', records(x[300:], y[300:]))
    twice('cifar', ['a.bin', 'b.bin'], shards=3)
    found = dltest.read_split('cifar-first', 'train', 1000)
    same('cifar x', found['x'], x)
    same('cifar y', found['y'], y)
    with h5py.File('cifar-first/train-00000-of-00003.h5') as f:
        if f.attrs['n_classes'] != 10 or len(f['x']) != 233:
            fail('cifar: attribute n_classes, or uneven shards')
    expect_bad('cifar', [save('cut.bin', records(x[:3], y[:3])[:-1])], ('cut.bin', '9218', '3073'))
    expect_bad('cifar', [save('empty.bin', b'')], ('empty.bin', '0 bytes'))
    expect_bad('cifar', ['a.bin', save('label.bin', records(x[:9], [1, 2, 3, 10, 4, 5, 6, 7, 8]))],
               ('label.bin', 'record 3', 'label 10'))
    expect_bad('cifar', ['a.bin', 'nowhere.bin'], ('nowhere.bin',), code=2)
    sample = os.path.join(dltest.SHARED_DATA, 'cifar10-sample', 'data_batch_1_first1000.bin')
    if os.path.exists(sample):
        run_import('cifar', [sample], 'real')
        raw = numpy.fromfile(sample, 'u1').reshape(-1, 3073)
        found = dltest.read_split('real', 'train', 1000)
        same('sample x', found['x'], raw[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        same('sample y', found['y'], raw[:, 0].astype('i4'))


# --- sequences ---

def read_sequences(folder, split):
    """[array of a sample], labels or None."""
    samples, labels = [], []
    for name in sorted(glob.glob(f'{folder}/{split}-*.h5')):
        with h5py.File(name) as f:
            values, offsets = f['x/values'][()], f['x/offsets'][()]
            samples += [values[a:b] for a, b in zip(offsets[:-1], offsets[1:])]
            labels += f['y'][()].tolist() if 'y' in f else []
    return samples, labels


def as_text(samples, end='\n', newline='\n'):
    return end.join(''.join(' '.join(f'{v:.6f}' for v in row) + newline for row in sample) for sample in samples)


def check_samples(what, folder, wanted, labels, split='train'):
    found, y = read_sequences(folder, split)
    if len(found) != len(wanted) or y != labels:
        fail(f'{what}: {len(found)} samples instead of {len(wanted)}, or other labels')
    for a, b in zip(found, wanted):
        same(what, a, b)


def check_sequences():
    samples = [R.normal(size=(int(n), 4)).round(6).astype('f4') for n in R.integers(1, 12, 57)]
    counts, labels = '20,0,30,7', [0] * 20 + [2] * 30 + [3] * 7
    save('blank.txt', as_text(samples))
    twice('sequences', ['blank.txt'], '--labels', counts, shards=4)
    check_samples('blank lines', 'sequences-first', samples, labels)
    save('labels.txt', '\n'.join(map(str, labels)))
    ones = ' '.join(['1.0'] * 4)
    forms = {'plain': as_text(samples) + '\n\n', 'crlf': as_text(samples, '\r\n', ' \r\n'),
             'ones': as_text(samples, ones + '\n') + ones + '\n',
             'both': as_text(samples, ones + ' \r\n\r\n') + '1 1 1.00 1\n'}
    for form, text in forms.items():
        run_import('sequences', [save(f'{form}.txt', text)], form, '--labels', 'labels.txt')
        check_samples(form, form, samples, labels)
    run_import('sequences', ['plain.txt'], 'unlabelled')
    check_samples('without labels', 'unlabelled', samples, [])
    # A row of ones is data where no such row ends the text, and in one column.
    run_import('sequences', [save('data.txt', '1 1\n2 3\n\n1 1\n2 2\n')], 'data')
    pairs = [numpy.array([[1, 1], [2, 3]], 'f4'), numpy.array([[1, 1], [2, 2]], 'f4')]
    check_samples('ones as data', 'data', pairs, [])
    run_import('sequences', [save('column.txt', '3\n1\n\n2\n1\n')], 'column')
    check_samples('one column', 'column', [numpy.array([[3], [1]], 'f4'), numpy.array([[2], [1]], 'f4')], [])
    for text, words in (('1 2\n3 4\n\n\n5 6\n', (':4:', 'sample 1', 'length 0')),
                        ('\n1 2\n', (':1:', 'sample 0', 'length 0')),
                        ('1 2\n3 x\n', (':2:3:', "'x'")), ('1 2\n3 nan\n', (':2:3:', 'nan')), ('1 1e39\n', (':1:3:',)),
                        ('1 2\n\n3 4 5\n', (':3:', '3 columns', '2')), ('', ('no sequence',)),
                        ('\n\n', ('no sequence',)),
                        ('2 2\n1 1\n1 1\n', (':3:', 'sample 1', 'length 0')), ('1 2\n3 0x1g\n', (':2:3:',)),
                        ('1\0002 3\n', (':1:2:', 'zero')), ('1 2'.encode('utf-16-le'), (':1:2:', 'zero')),
                        ('1 2\r3 4\r', (':1:4:', 'carriage return'))):
        expect_bad('sequences', [save('bad.txt', text)], ('bad.txt',) + words)
    expect_bad('sequences', ['blank.txt'], ('20', '57'), '--labels', '10,10', code=2)
    expect_bad('sequences', ['blank.txt'], ('twenty',), '--labels', '20,twenty', code=2)
    expect_bad('sequences', ['blank.txt'], ('short.txt', '3', '57'), '--labels', save('short.txt', '0 1 2'))
    expect_bad('sequences', ['blank.txt'], ('minus.txt', 'label 1', '-1'), '--labels', save('minus.txt', '0 -1 2'))
    for counts in ('20,,37', '', '57,', ',57'):
        expect_bad('sequences', ['blank.txt'], ('--labels', "''"), '--labels', counts, code=2)
    for name, labels, words in (('zeros.txt', '0' * 30 + '1', ('label 0',)),
                                ('large.txt', '0 2147483647', ('label 1', '0 to 2147483646'))):
        expect_bad('sequences', ['blank.txt'], (name,) + words, '--labels', save(name, labels))
    os.mkdir('folder')
    expect_bad('sequences', ['folder'], ('folder is a folder',), code=2)
    expect_bad('sequences', ['blank.txt'], ('folder is a folder',), '--labels', 'folder', code=2)
    folder = os.path.join(dltest.SHARED_DATA, 'japanese-vowels')
    if os.path.exists(folder):
        for split, counts, frames in (('train', [30] * 9, 4274), ('test', [31, 35, 88, 44, 29, 24, 40, 50, 29], 5687)):
            labels = ','.join(map(str, counts))
            run_import('sequences', [f'{folder}/ae.{split}'], 'vowels', '--labels', labels, split=split)
            found, y = read_sequences('vowels', split)
            lengths = [len(s) for s in found]
            if y != [c for c, n in enumerate(counts) for _ in range(n)] or sum(lengths) != frames or min(lengths) != 7:
                fail(f'vowels {split}: {len(y)} samples, {sum(lengths)} frames')


# --- npy ---

def check_npy():
    x, y = R.integers(0, 256, (90, 5, 4, 3), 'u1'), R.integers(0, 7, 90)
    targets = R.normal(size=(90, 3))
    numpy.save('x.npy', x)
    numpy.save('y.npy', y.astype('i8'))
    twice('npy', ['x.npy', 'y.npy'], shards=2)
    for kind in ('|u1', '<f4', '>f4', '<f8', '>f8'):
        numpy.save('x.npy', x.astype(kind))
        for number, label in enumerate(('<i4', '>i4', '<i8', '>i8', '|u1')):
            numpy.save('y.npy', y.astype(label)[:, None] if number == 1 else y.astype(label))
            out = f'npy{kind[0]}{kind[1:]}{label}'.replace('<', 'l').replace('>', 'b').replace('|', '')
            run_import('npy', ['x.npy', 'y.npy'], out)
            found = dltest.read_split(out, 'train', 90)
            same(out, found['x'], x if kind == '|u1' else x.astype('f4'))
            same(out, found['y'], y.astype('i4'))
    for kind, rows in (('<f8', targets), ('>f4', targets[:, 0])):
        numpy.save('y.npy', rows.astype(kind))
        run_import('npy', ['x.npy', 'y.npy'], f'targets{rows.ndim}')
        same('targets', dltest.read_split(f'targets{rows.ndim}', 'train', 90)['y'], rows.reshape(90, -1).astype('f4'))
        if '90 samples' not in dltest.run('data', 'info', f'targets{rows.ndim}').stdout:
            fail('targets are not read')
    for version in ((1, 0), (2, 0), (3, 0)):
        with open('version.npy', 'wb') as f:
            numpy.lib.format.write_array(f, x, version=version)
        numpy.save('y.npy', y)
        run_import('npy', ['version.npy', 'y.npy'], f'version{version[0]}')
        same('version', dltest.read_split(f'version{version[0]}', 'train', 90)['x'], x)


def check_bad_npy():
    def of(array, **options):
        f = io.BytesIO()
        numpy.save(f, array, **options)
        return f.getvalue()

    def header(text, rest=b'', magic=b'\x93NUMPY\1\0'):
        return magic + len(text).to_bytes(2, 'little') + text.encode() + rest
    x, y = R.integers(0, 9, (6, 4)).astype('f4'), numpy.arange(6)
    save('y.npy', of(y))
    good = "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 4), }"
    save('x.npy', header(good, x.tobytes()))
    run_import('npy', ['x.npy', 'y.npy'], 'handmade')
    same('handmade', dltest.read_split('handmade', 'train', 6)['x'], x)
    broken = x.copy()
    broken[4, 2] = numpy.nan
    bad = {'cut': (of(x)[:-1], ('cut off', '[6, 4]')), 'long': (of(x) + b'1', ('too long',)),
           'fortran': (of(numpy.asfortranarray(x)), ('Fortran', 'ascontiguousarray')),
           'objects': (of(numpy.array([[1, 'a']], object), allow_pickle=True), ("'|O'",)),
           'complex': (of(x.astype('c8')), ("'<c8'",)), 'int': (of(x.astype('i4')), ('int32', 'astype')),
           'short': (of(x.astype('i2')), ("'<i2'", "'float32'", "'int32'")),
           'records': (of(numpy.zeros((3, 2), [('a', 'f4')])), ('records',)), 'flat': (of(x[:, 0]), ('[6]',)),
           'none': (of(x[:0]), ('[0, 4]',)), 'nan': (of(broken), ('sample 4', 'finite')),
           'overflow': (of(x.astype('f8') + 1e300), ('sample 0', 'finite')),
           'magic': (b'PK\3\4' + b'0' * 100, ('not a .npy',)), 'empty': (b'', ('not a .npy',)),
           'version': (header(good, magic=b'\x93NUMPY\4\0'), ('4.0',)), 'head': (of(x)[:40], ('header',)),
           'code': (header("__import__('os').system('touch pwned')"), ("'{'",)),
           'key': (header(good.replace('shape', 'size ')), ('shape',)),
           'again': (header(good[:-1] + "'shape': (6, 4)}", x.tobytes()), ('once',)),
           'without': (header("{'descr': '<f4', 'shape': (6, 4)}", x.tobytes()), ('fortran_order',)),
           'minus': (header(good.replace('6', '-6'), x.tobytes()), ('number',)),
           'huge': (header(good.replace('6', '281474976710656'), x.tobytes()), ('2^48',)),
           'deep': (header(good.replace('(6, 4)', '(1,1,1,1,1,1,6)'), x.tobytes()), ('6 dimensions',)),
           'behind': (header(good + ' x', x.tobytes()), ('nothing behind',))}
    for name, (content, words) in bad.items():
        expect_bad('npy', [save(f'{name}.npy', content), 'y.npy'], (f'{name}.npy',) + words)
    for array, words in ((y[:5], ('5', '6')), (-y, ('sample 1', '-1')), (y << 31, ('sample 1', '0 to 2147483646')),
                         (numpy.zeros((6, 2), 'i4'), ('[6, 2]',)),
                         (numpy.zeros((6, 2, 2)), ('[6, 2, 2]',)), (numpy.full(6, numpy.inf), ('sample 0', 'finite'))):
        expect_bad('npy', ['x.npy', save('bad.npy', of(array))], ('bad.npy',) + words)
    if os.path.exists('pwned'):
        fail('a header was evaluated')


check_cifar()
check_sequences()
check_npy()
check_bad_npy()
print('cifar, sequences, npy arrive unchanged; 63 wrong inputs are named')
