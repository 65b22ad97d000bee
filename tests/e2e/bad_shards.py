#!/usr/bin/env python3
# TEST tier=default timeout=120 slots=1 needs=python
"""Bad data is named before step 1: exit status 65, one message with the file and what is wrong, on one rank and on two.
Data in other layouts than contiguous works, is said to be slower, and trains to the same weights; so do several files.
A field of another type (int64 labels, float32 pixels), fields beside x and y, and a missing test split are accepted."""
import os
import shutil

import dltest
import h5py
import numpy
from dltest import fail

WORDS = ['data.path=bad', 'train.max_steps=3']


def damaged():
    """(name, function that spoils the folder `bad`, words the message must have)."""
    name = 'bad/train-00001.h5'

    def edit(change):
        def apply():
            with h5py.File(name, 'r+') as f:
                change(f)
        return apply

    def replace(field, rows):
        def change(f):
            del f[field]
            f[field] = rows
        return edit(change)

    def rewrite(change):
        def apply():
            content = open(name, 'rb').read()
            open(name, 'wb').write(change(content))
        return apply
    x, y = dltest.random_images(128)
    return (
        ('cut', rewrite(lambda b: b[:len(b) // 2]), ()),
        ('empty', rewrite(lambda b: b''), ()),
        ('text', rewrite(lambda b: b'x,y\n1,2\n' * 100), ()),
        ('no y', edit(lambda f: f.pop('y')), ('y',)),
        ('fewer labels', replace('y', y[:100]), ('100', '128')),
        ('another shape', replace('x', x[:, :20]), ('20', '28')),
        ('negative label', replace('y', numpy.where(y == 3, -1, y)), ('-1',)),
        ('real labels', replace('y', y.astype('f8')), ('y',)),
        ('text labels', replace('y', numpy.array([b'three'] * 128)), ('y',)),
    )


def check_bad():
    for name, spoil, words in damaged():
        shutil.rmtree('bad', ignore_errors=True)
        x, y = dltest.random_images(384)
        dltest.write_shards('bad', 'train', {'x': x, 'y': y}, parts=3)
        spoil()
        for ranks in (0, 2):
            done = dltest.run(dltest.MNIST_CNN, *WORDS, f'run.dir=runs/bad{ranks}', ranks=ranks, code=65, timeout=60)
            message = [line for line in done.stderr.split('\n') if 'dltrain:' in line and 'error:' in line]
            if len(message) != 1 or not all(w in message[0] for w in ('train-00001.h5',) + words):
                fail(f'{name}, np {ranks or 1}: {done.stderr[-1500:]!r}')
            if os.path.exists(f'runs/bad{ranks}/metrics.jsonl') and dltest.metrics(f'runs/bad{ranks}', 'step'):
                fail(f'{name}: a step was made')


def check_layouts():
    x, y = dltest.random_images(700, seed=3)
    sets = {'one': ({'x': x, 'y': y}, {}), 'five': ({'x': x, 'y': y.astype('i8')}, {'parts': 5}),
            'chunked': ({'x': x, 'y': y}, {'chunks': True, 'compression': 'gzip'}),
            'beside': ({'x': x, 'y': y, 'id': numpy.arange(700), 'note': numpy.arange(1400.).reshape(700, 2)}, {}),
            'real': ({'x': (x / numpy.float32(255)).astype('f4'), 'y': y}, {})}
    found = {}
    for name, (fields, options) in sets.items():
        dltest.write_shards(f'set/{name}', 'train', fields, **options)
        # not Adam, whose first steps follow the sign of a gradient and so blow up last bits
        done = dltest.run(dltest.MNIST_CNN, f'data.path=set/{name}', 'train.epochs=2', f'run.dir=runs/{name}',
                          'train.optimizer={sgd: {learning_rate: 0.05}}')
        found[name] = dltest.weights(f'runs/{name}')
        slower = 'slower' in done.stdout + done.stderr + open(f'runs/{name}/log.txt').read()
        if slower != (name == 'chunked'):
            fail(f'{name}: "slower" is {"" if slower else "not "}said')
        if name == 'real':  # other rounding of the pixels, so only the first loss is compared
            first = [dltest.metrics(f'runs/{n}', 'step')[0]['loss'] for n in ('one', 'real')]
            if abs(first[0] - first[1]) > 1e-5:
                fail(f'pixels as real numbers: the first losses are {first}')
        elif dltest.max_difference(found['one'], found[name]) != 0:
            fail(f'{name}: the weights differ')


check_bad()
check_layouts()
print('9 bad shards named, 5 layouts accepted')
