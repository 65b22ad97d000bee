#!/usr/bin/env python3
# TEST tier=quick timeout=60 slots=1 needs=python
"""`ckpt show`, `verify`, `diff`, `prune` on checkpoints of known content; and a reader of src/train/CHECKPOINT.md in
Python, which shares no code with the program: manifest, digests, parts by h5py."""
import fcntl
import json
import os
import shutil
import subprocess

import dltest
import h5py
import numpy
from dltest import fail

MAKE = os.path.join(dltest.BUILD, 'tests', 'tools', 'checkpoint_make')
BLOCK = 1 << 20
TAIL = len(',"digest":"') + 32 + len('"}\n')


def make(folder, step, ranks, *more):
    subprocess.run([MAKE, folder, str(step), str(ranks), *map(str, more)], check=True)


def read(folder):
    """({name: array}, manifest) of a checkpoint, by the text of the format alone."""
    raw = open(os.path.join(folder, 'manifest.json'), 'rb').read()
    manifest = json.loads(raw)
    if manifest['format'] != 1 or manifest['digest'] != dltest.xxh3_128(raw[:-TAIL]):
        fail(f'{folder}: the manifest is not as the format says')
    for file in manifest['files']:
        data = open(os.path.join(folder, file['name']), 'rb').read()
        blocks = [dltest.xxh3_128(data[i:i + BLOCK]) for i in range(0, len(data), BLOCK)]
        if len(data) != file['bytes'] or dltest.xxh3_128(data) != file['digest'] or blocks != file['blocks']:
            fail(f'{folder}/{file["name"]}: bytes or digests are not those of the manifest')
    tensors = {}
    for tensor in manifest['tensors']:
        dtype = {'bfloat16': 'uint16'}.get(tensor['dtype'], tensor['dtype'])
        whole, count = numpy.zeros(tensor['shape'], dtype), numpy.zeros(tensor['shape'], int)
        for piece in tensor['slices']:
            with h5py.File(os.path.join(folder, piece['file']), 'r') as part:
                values = read_dataset(part[piece['path']], tensor['dtype'])
            box = tuple(slice(o, o + n) for o, n in zip(piece['offset'], piece['shape']))
            whole[box] = values.reshape(piece['shape'])
            count[box] += 1
        if (count != 1).any():
            fail(f'{folder}: the slices of {tensor["name"]} do not cover it once')
        tensors[tensor['name']] = whole
    return tensors, manifest


def read_dataset(dataset, dtype):
    """Its values; of bfloat16, which NumPy does not have, the bits, from where HDF5 says they lie."""
    if dtype != 'bfloat16':
        if dataset.dtype != numpy.dtype(dtype):
            fail(f'{dataset.name} is {dataset.dtype}, not {dtype}')
        return dataset[()]
    return numpy.fromfile(dataset.file.filename, 'uint16', dataset.size, offset=dataset.id.get_offset())


def content(tensor, step, n):
    """The bytes that tests/unit/checkpoint_support.h gives tensor number `tensor`."""
    i = numpy.arange(n)
    return ((tensor * 41 + step * 17 + i * 7 + i // 251) % 256).astype('u1')


def check_format():
    os.mkdir('run')
    for step, ranks in ((1, 1), (2, 3), (3, 5)):
        make('run/checkpoints', step, ranks)
        tensors, manifest = read(f'run/checkpoints/step-{step:08d}')
        state = {'position': 10 * step, 'best': {'valid_loss': 0.1 + 0.2}}
        if (manifest['step'], manifest['ranks'], manifest['state']) != (step, ranks, state):
            fail(f'step {step}: {manifest}')
        for number, (name, value) in enumerate(sorted(tensors.items())):
            if value.tobytes() != content(number, step, value.nbytes).tobytes():
                fail(f'step {step}: {name} is not what was written')
    read(os.path.join(dltest.ROOT, 'tests', 'golden', 'checkpoint-1'))
    make('run/checkpoints', 4, 1, 3)
    if read('run/checkpoints/step-00000004')[0]['/large'].nbytes != 3 << 20:
        fail('/large')


def check_show_and_verify():
    shown = json.loads(dltest.run('ckpt', 'show', 'run', '--json').stdout)['checkpoints']
    if [s['step'] for s in shown] != [4, 3, 2, 1] or [s['ranks'] for s in shown] != [1, 5, 3, 1]:
        fail(f'ckpt show: {shown}')
    one = json.loads(dltest.run('ckpt', 'show', 'run/checkpoints/step-00000002', '--json').stdout)['checkpoints'][0]
    if one['state']['position'] != 20 or [t['shape'] for t in one['tensors']][:2] != [[5, 7], [13]]:
        fail(f'ckpt show of one: {one}')
    if 'damaged' in dltest.run('ckpt', 'show', 'run').stdout:
        fail('ckpt show finds damage')
    good = json.loads(dltest.run('ckpt', 'verify', 'run', '--json').stdout)
    if good['damaged'] != 0 or len(good['checkpoints']) != 4:
        fail(f'ckpt verify: {good}')
    with open('run/checkpoints/step-00000004/part-00000.h5', 'r+b') as f:
        f.seek(2 * BLOCK + 7)
        byte = f.read(1)
        f.seek(2 * BLOCK + 7)
        f.write(bytes([byte[0] ^ 1]))
    for path in ('run', 'run/checkpoints/', 'run/checkpoints/step-00000004'):
        bad = dltest.run('ckpt', 'verify', path, code=78)
        where = f'part-00000.h5: bytes {2 * BLOCK}-{3 * BLOCK - 1} are damaged'
        if where not in bad.stdout or bad.stderr.count('error:') != 1:
            fail(f'ckpt verify {path}: {bad.stdout} {bad.stderr}')
    bad = json.loads(dltest.run('ckpt', 'verify', 'run', '--json', code=78).stdout)
    if [c['good'] for c in bad['checkpoints']] != [False, True, True, True]:
        fail(f'ckpt verify --json: {bad}')
    os.mkdir('empty')
    open('empty/status.json', 'w').write('{}')
    if 'has no checkpoint' not in dltest.run('ckpt', 'verify', 'empty').stdout:
        fail('a run without checkpoints is fine')
    for words in (['nothing'], ['run/nothing'], ['/']):
        dltest.run('ckpt', 'verify', *words, code=2)
    os.remove('run/checkpoints/step-00000001/manifest.json')
    dltest.run('ckpt', 'show', 'run/checkpoints/step-00000001', code=2)


def check_prune():
    damaged = dltest.run('ckpt', 'prune', 'run', '--keep', 1, code=78)
    if 'step-00000004' not in damaged.stderr or not os.path.exists('run/checkpoints/step-00000002/manifest.json'):
        fail(f'pruned although the newest is damaged: {damaged.stderr}')
    shutil.rmtree('run/checkpoints/step-00000004')
    open('run/status.json', 'w').write('{}')
    with open('run/lock', 'w') as lock:
        lock.write('host-of-the-other 4711\n')
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = dltest.run('ckpt', 'prune', 'run', '--keep', 1, code=2).stderr
        if 'process 4711 on host host-of-the-other' not in refused:
            fail(f'pruned although a run is going on: {refused}')
    dltest.run('ckpt', 'prune', 'run', '--keep', 0, code=2)
    dltest.run('ckpt', 'prune', 'run/checkpoints/step-00000003', code=2)
    pruned = dltest.run('ckpt', 'prune', 'run', '--keep', 1, '--json').stdout
    if json.loads(pruned)['deleted'] != ['run/checkpoints/step-00000002'] or json.loads(pruned)['kept'] != 1:
        fail(f'ckpt prune: {pruned}')
    left = sorted(os.listdir('run/checkpoints')), os.listdir('run/checkpoints/step-00000001')
    if left != (['step-00000001', 'step-00000003'], ['part-00000.h5']):  # of the first the manifest was taken away
        fail(f'left: {left}')
    if '0 deleted, 1 kept' not in dltest.run('ckpt', 'prune', 'run').stdout:
        fail('pruned once more')


def check_diff():
    """Against NumPy."""
    os.mkdir('other')
    make('other/checkpoints', 7, 2)
    a, b = read('run/checkpoints/step-00000003')[0], read('other/checkpoints/step-00000007')[0]
    told = json.loads(dltest.run('ckpt', 'diff', 'run/checkpoints/step-00000003', 'other', '--json').stdout)
    if told['equal'] or told['compared'] != len(a) or len(told['different']) != len(a) - 1:  # one has no elements
        fail(f'ckpt diff: {told}')
    for each in told['different']:
        x, y = a[each['name']], b[each['name']]
        if each['count'] != int((x != y).sum() if x.dtype.kind != 'f' else (x.view('u4') != y.view('u4')).sum()):
            fail(f'ckpt diff: {each}')
        if x.dtype == 'f4':
            apart = numpy.abs(x.astype('f8') - y)
            if not numpy.isclose(each['max_abs'], numpy.nanmax(apart), rtol=1e-12):
                fail(f'ckpt diff: {each}, {numpy.nanmax(apart)}')
            larger = numpy.maximum(numpy.abs(x.astype('f8')), numpy.abs(y.astype('f8')))
            if not numpy.isclose(each['max_rel'], numpy.nanmax(apart / larger), rtol=1e-12):
                fail(f'ckpt diff: {each}')
    make('other/checkpoints', 3, 4)
    same = json.loads(dltest.run('ckpt', 'diff', 'run', 'other/checkpoints/step-00000003', '--json').stdout)
    if same != {'equal': True, 'compared': len(a), 'different': []}:
        fail(f'the same tensors from other ranks: {same}')
    make('other/checkpoints', 9, 1, 1)
    more = dltest.run('ckpt', 'diff', 'run', 'other').stdout
    if not any(line.split() == ['/large', 'only', 'in', 'other'] for line in more.split('\n')):
        fail(f'ckpt diff: {more}')


check_format()
check_show_and_verify()
check_prune()
check_diff()
