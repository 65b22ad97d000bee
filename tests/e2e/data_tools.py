#!/usr/bin/env python3
# TEST tier=quick timeout=120 slots=1 needs=python
"""`data verify`, `data stats`, `data info` of every kind of data set: numbers equal NumPy's, damage is found by name,
files of h5py are accepted in every form and named where they are wrong; one seed makes one data set."""
import json
import math
import os
import re
import shutil

import dltest
import h5py
import numpy
from dltest import fail

R = numpy.random.default_rng(5)


def write(name, fields, attributes=(), vocabulary=None):
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with h5py.File(name, 'w') as f:
        for path, rows in fields.items():
            f[path] = rows
        for key, value in attributes:
            f['tokens'].attrs[key] = value
        if vocabulary is not None:
            f['meta/vocab'] = vocabulary


def report(command, path):
    return {s['split']: s for s in json.loads(dltest.run('data', command, path, '--json').stdout)['splits']}


def near(what, a, b, tolerance=1e-12):
    if abs(a - b) > tolerance * max(1, abs(b)):
        fail(f'{what}: {a!r} instead of {b!r}')


def check_channels(what, channels, rows):
    """rows [n, channels]"""
    if len(channels) != rows.shape[1]:
        fail(f'{what}: {len(channels)} channels')
    for number, c in enumerate(channels):
        column = rows[:, number].astype('f8')
        finite = column[numpy.isfinite(column)]
        for key, value in (('min', finite.min()), ('max', finite.max()), ('mean', finite.mean()), ('std', finite.std()),
                           ('n', len(finite)), ('not_finite', len(column) - len(finite))):
            near(f'{what} {key}', c[key], value, 1e-10)


def ragged(lengths, features=3):
    offsets = numpy.concatenate([[0], numpy.cumsum(lengths)]).astype('i8')
    return {'x/values': R.normal(size=(offsets[-1], features)).astype('f4'), 'x/offsets': offsets}


def check_stats():
    x, y = R.integers(0, 256, (50, 6, 5, 3), 'u1'), R.integers(0, 4, 50).astype('i4')
    extra = R.normal(size=(50, 2)).astype('f2')
    huge = numpy.where(R.random(50) < 0.5, -1.5e308, 1.5e308)
    extra[7, 1] = numpy.nan
    write('images/train-0.h5', {'x': x[:20], 'y': y[:20], 'extra': extra[:20], 'huge': huge[:20]})
    write('images/train-1.h5', {'x': x[20:], 'y': y[20:], 'extra': extra[20:], 'huge': huge[20:]})
    s = report('stats', 'images')['train']
    check_channels('x', s['fields'][0]['channels'], x.reshape(-1, 3))
    check_channels('extra', s['fields'][2]['channels'], extra)
    found = s['fields'][3]['channels'][0]
    if found['mean'] is not None or found['std'] is not None or found['max'] != 1.5e308 or found['n'] != 50:
        fail(f'numbers whose squares are none: {found}')
    if 'mean nan        std nan' not in dltest.run('data', 'stats', 'images').stdout:
        fail('numbers whose squares are none')
    if s['counts'] != numpy.bincount(y).tolist():
        fail(f'counts {s["counts"]}')
    p = numpy.bincount(y) / 50
    near('entropy', s['entropy'], -(p * numpy.log(p)).sum())

    lengths = R.integers(1, 30, 41)
    fields = dict(ragged(lengths), y=R.normal(size=(41, 2)).astype('f4'))
    write('series/train-0.h5', fields)
    s = report('stats', 'series')['train']
    check_channels('values', s['fields'][0]['channels'], fields['x/values'])
    check_channels('targets', s['fields'][1]['channels'], fields['y'])
    ordered = sorted(lengths.tolist())
    if s['length_quantiles'] != [ordered[max(math.ceil(41 * q / 4), 1) - 1] for q in range(5)]:
        fail(f'lengths {s["length_quantiles"]}')

    tokens = R.integers(0, 9, 1000).astype('u2')
    words = ['a', 'b', 'ü', '<unk>', '\n', ' ', 'word', 'g', 'h']
    write('text/train-0.h5', {'tokens': tokens[:600]}, (('vocab_size', 9), ('unk_id', 3)), words)
    write('text/train-1.h5', {'tokens': tokens[600:].astype('i4')}, (('vocab_size', 9), ('unk_id', 3)), words)
    s = report('stats', 'text')['train']
    p = numpy.bincount(tokens) / 1000
    near('token entropy', s['entropy'], -(p * numpy.log(p)).sum())
    if s['counts'] != numpy.bincount(tokens).tolist() or s['unk_id'] != 3:
        fail(f'tokens {s}')
    for folder in ('images', 'series', 'text'):
        for command in ('stats', 'info', 'verify'):
            out = dltest.run('data', command, folder).stdout
            if 'train' not in out or (command == 'verify' and 'no digests' not in out):
                fail(f'data {command} {folder}: {out}')
    if 'ü' not in dltest.run('data', 'stats', 'text').stdout:
        fail('words of the vocabulary are not shown')


def check_bad():
    """Wrong sequences and texts are named, with exit status 65."""
    good = ragged([3, 1, 2])
    y = numpy.arange(3, dtype='i4')
    off = good['x/offsets']
    bad = (({**good, 'x/offsets': numpy.array([0, 3, 3, 6])}, (), ('sample 1', 'length 0')),
           ({**good, 'x/offsets': numpy.array([0, 4, 3, 6])}, (), ('sample 1', 'falls', '4', '3')),
           ({**good, 'x/offsets': numpy.array([1, 3, 4, 6])}, (), ('begins with 1',)),
           ({**good, 'x/offsets': off[:-1]}, (), ('ends with 4', '6 rows')),
           ({**good, 'x/offsets': numpy.array([0, 3, 4, 7])}, (), ('sample 2', '7', '6 rows')),
           ({**good, 'x/offsets': off.astype('i4')}, (), ('int32', 'int64')),
           ({**good, 'x/offsets': off[:1]}, (), ('[1]',)), ({**good, 'x/values': good['x/values'][:, 0]}, (), ('[6]',)),
           ({**good, 'x/values': good['x/values'].astype('f8')}, (), ('float64',)),
           ({'x/values': good['x/values']}, (), ('/x/offsets',)), ({'x/offsets': off}, (), ('/x/values',)),
           ({**good, 'y': y[:2]}, (), ('2 labels', '3 samples')),
           ({**good, 'y': y.reshape(3, 1).astype('f8')}, (), ('/y', 'float64')),
           ({**good, 'y': numpy.zeros((3, 2, 2), 'f4')}, (), ('[3, 2, 2]',)),
           ({'tokens': numpy.array([1, 2, 9], 'u2')}, (('vocab_size', 9),), ('token 2', '9', '8')),
           ({'tokens': numpy.array([1, -2, 3], 'i4')}, (), ('token 1', '-2')),
           ({'tokens': numpy.zeros((3, 2), 'i4')}, (), ('[3, 2]',)), ({'tokens': numpy.zeros(3, 'i8')}, (), ('int64',)),
           ({'tokens': numpy.zeros(0, 'i4')}, (), ('[0]',)),
           ({'tokens': numpy.zeros(3, 'i4')}, (('vocab_size', 0),), ('vocab_size', '0')),
           ({'tokens': numpy.zeros(3, 'i4')}, (('vocab_size', 5), ('unk_id', 5)), ('unk_id', '5')))
    for fields, attributes, words in bad:
        shutil.rmtree('bad', ignore_errors=True)
        write('bad/train-0.h5', fields, attributes)
        done = dltest.run('data', 'info', 'bad', code=65)
        if not all(w in done.stderr for w in ('train-0.h5',) + words):
            fail(f'{words} not in {done.stderr!r}')
    for name in (b'caf\xe9', b'\x1b[31m'):
        shutil.rmtree('bad')
        write('bad/train-0.h5', {'x': numpy.zeros((3, 2), 'f4'), 'y': y, name: y})
        if 'the name of a field' not in dltest.run('data', 'info', 'bad', code=65).stderr:
            fail(f'the field {name}')
    shutil.rmtree('bad')
    write('bad/train-0.h5', {'tokens': numpy.arange(5, dtype='i4')}, (('vocab_size', 9),))
    write('bad/train-1.h5', {'tokens': numpy.arange(5, dtype='i4')}, (('vocab_size', 8),))
    if 'different vocabularies' not in dltest.run('data', 'info', 'bad', code=65).stderr:
        fail('different vocabularies are not noticed')
    # What cannot be trained on yet, or not by this model, is said before anything is computed.
    done = dltest.run(dltest.MNIST_CNN, 'data.path=text', 'run.dir=runs/text', code=2)
    if 'holds a text' not in done.stderr:
        fail(f'a text for a convolutional network: {done.stderr!r}')


def check_odd():
    """Words cannot send commands to a terminal; numbers of classes beyond all bounds are not counted; JSON is UTF-8."""
    words = ['\x1b]0;title\x07', 'tab\there', '\x9b31m', '\x7f', 'plain', '\t']
    write('odd/train-0.h5', {'tokens': numpy.arange(6, dtype='i4')}, (('vocab_size', 6),), words)
    out = dltest.run('data', 'stats', 'odd').stdout
    if any(c != '\n' and (ord(c) < 32 or 127 <= ord(c) < 160) for c in out):
        fail(f'a control character is printed: {out!r}')
    if not all(w in out for w in ('U+001B]0;titleU+0007', 'tabU+0009here', 'U+009B31m', 'U+007F', ' plain', ' U+0009')):
        fail(f'words are not shown: {out!r}')
    write('wide/train-0.h5', {'x': numpy.zeros((2, 3), 'f4'), 'y': numpy.array([0, 20000000], 'i4')})
    s = report('stats', 'wide')['train']
    out = dltest.run('data', 'stats', 'wide').stdout
    if 'counts' in s or s['classes'] != 20000001 or '20000001 classes' not in out:
        fail(f'20,000,001 classes: {s.keys()}')
    os.rename('wide', 'caf\udce9')
    for command in ('info', 'stats', 'verify'):
        dltest.run('data', command, 'caf\udce9/train-0.h5', '--json', code=2)
    if 'UTF-8' not in dltest.run('data', 'info', 'caf\udce9', '--json', code=2).stderr:
        fail('a name that is not UTF-8 in JSON')


def check_damaged_words():
    """libhdf5 goes round in circles or beyond its buffers in damaged heaps of texts: they are found before it reads."""
    words = ['many', 'words', 'of', 'several', 'lengths', '', 'ü', 'in a heap', 'x' * 5000]
    tokens = numpy.arange(9, dtype='u2').repeat(range(9, 0, -1))
    write('heap/train-0.h5', {'tokens': tokens}, (('vocab_size', 9),), words)
    if 'most frequent: many words of several lengths ' not in dltest.run('data', 'stats', 'heap').stdout:
        fail('words of varying length are not read')
    whole = open('heap/train-0.h5', 'rb').read()
    at = whole.index(b'GCOL')
    reference = whole.index(b'\x05\0\0\0' + at.to_bytes(8, 'little'))  # of `words`
    changes = [(at + 8, b'\x08\0'), (at + 8, b'\xff' * 8), (at + 16 + 8, b'\x09'), (at + 16 + 8, b'\xff' * 7),
               (at + 16 + 8, b'\x00\x01'), (at, b'X'), (reference, b'\xff\xff'), (reference + 4, b'\xff\xff\xff'),
               (reference + 12, b'\xff\xff\xff')]
    for place, change in changes:
        with open('heap/train-0.h5', 'wb') as f:
            f.write(whole[:place] + change + whole[place + len(change):])
        out = dltest.run('data', 'stats', 'heap', timeout=20).stdout
        if 'most frequent: 0 1 2 3 4 5 6 7 8' not in out:
            fail(f'{change} at byte {place - at} from the heap: {out}')


def check_damage():
    """A changed byte of any dataset is found, and named."""
    dltest.run('data', 'make', 'series', '--out', 'made', '--shards', '2')
    dltest.run('data', 'verify', 'made')
    name = 'made/train-00001-of-00002.h5'
    whole = open(name, 'rb').read()
    with h5py.File(name) as f:
        # the second half of a dataset; of the offsets, one that stays between its neighbours
        places = {path: f[path].id.get_offset() + f[path].nbytes // 2 // 8 * 8 for path in
                  ('x/values', 'x/offsets', 'y')}
    for path, at in places.items():
        open(name, 'wb').write(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        done = dltest.run('data', 'verify', 'made', code=65)
        if name not in done.stderr or f'/{path} is damaged' not in done.stderr:
            fail(f'a changed byte of {path}: {done.stderr!r}')
        dltest.run('data', 'verify', name, code=65)
    open(name, 'wb').write(whole)
    with h5py.File(name, 'r+') as f:
        rows = f['y'][()]
        del f['y']
    done = dltest.run('data', 'verify', 'made', code=65)
    with h5py.File(name, 'r+') as f:
        f.create_dataset('y', data=rows, chunks=True, compression='gzip')
    if report('verify', 'made')['train'] != {'split': 'train', 'files': 2, 'checked': 6, 'without': 0}:
        fail('the same numbers in another layout are not the same')


def check_makers():
    for maker, splits in (('text', 'train valid'), ('text_chars', 'train valid'), ('series', 'train test'),
                          ('shapes', 'train test')):
        folders = [f'{maker}{i}' for i in range(3)]
        for folder, seed in zip(folders, (1, 1, 2)):
            dltest.run('data', 'make', maker, '--out', folder, '--seed', seed)
        for split in splits.split():
            name = f'{split}-00000-of-00001.h5'
            content = [open(f'{folder}/{name}', 'rb').read() for folder in folders]
            if content[0] != content[1] or content[0] == content[2]:
                fail(f'{maker} {split}: not a function of the seed')
        if sorted(os.listdir(folders[0])) != [f'{s}-00000-of-00001.h5' for s in sorted(splits.split())]:
            fail(f'{maker}: {os.listdir(folders[0])}')
    dltest.run('data', 'make', 'text', '--tokens', 'chars', '--out', 'option', '--shards', 3)
    if report('info', 'option')['train']['digest'] != report('info', 'text_chars0')['train']['digest']:
        fail('text --tokens chars is not text_chars')
    dltest.run('data', 'make', 'text', '--tokens', 'bytes', '--out', 'bytes', code=2)
    dltest.run('data', 'make', 'series', '--tokens', 'chars', '--out', 'bytes', code=2)


def check_examples():
    """The examples of FORMAT.md write data sets."""
    blocks = open(os.path.join(dltest.ROOT, 'datasets', 'FORMAT.md')).read().split('```python\n')[1:]
    parts = [part for block in blocks for part in re.split('\n(?=words = )', block.split('```')[0])]
    kinds = [('x', 1000), ('x', 100), ('tokens', 6)]
    if len(parts) != len(kinds):
        fail(f'{len(parts)} examples in FORMAT.md')
    names = {'h5py': h5py, 'np': numpy}
    for part, (field, n) in zip(parts, kinds):
        exec(part, names)
        s = report('info', 'train-0.h5')['file']
        if s['samples'] != n or s['fields'][0]['name'] != field:
            fail(f'an example of FORMAT.md: {s}')


check_examples()
check_stats()
check_bad()
check_odd()
check_damaged_words()
check_damage()
check_makers()
print('statistics equal NumPy, 21 bad files and each changed byte are named, 4 made sets are functions of the seed')
