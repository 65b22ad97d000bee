#!/usr/bin/env python3
# TEST tier=quick timeout=90 slots=1 needs=python
"""`dltrain data import idx`: images and labels arrive unchanged, plain or gzip'd, in one shard or several; bad files
are named with exit status 65 and leave nothing behind."""
import gzip
import json
import os

import dltest
import numpy
from dltest import fail


def expect_bad(images, labels, *words):
    """The import fails with 65 and a message that has these words; the target is not there afterwards."""
    done = dltest.run('data', 'import', 'idx', images, labels, '--out', 'bad', '--split', 'train', code=65)
    message = [line for line in done.stderr.split('\n') if 'error:' in line]
    if len(message) != 1 or not all(w in message[0] for w in words):
        fail(f'{images}, {labels}: {words} not in {done.stderr!r}')
    if os.path.exists('bad'):
        fail(f'{images}: left behind bad: {os.listdir("bad")}')


def main():
    r = numpy.random.default_rng(7)
    for shape, suffix, shards in (((50, 28, 28), '', 1), ((33, 9, 14), '.gz', 3), ((7, 5, 5), '.gz', 1)):
        x, y = r.integers(0, 256, shape, 'u1'), r.integers(0, 10, shape[0]).astype('u1')
        images, labels = f'images-idx3-ubyte{suffix}', f'labels-idx1-ubyte{suffix}'
        dltest.write_idx(images, x)
        dltest.write_idx(labels, y)
        out = 'set-' + 'x'.join(map(str, shape))
        for split in ('train', 'test'):
            dltest.run('data', 'import', 'idx', images, labels, '--out', out, '--split', split, '--shards', shards)
        if len([n for n in os.listdir(out) if n.startswith('train-')]) != shards:
            fail(f'{out}: not {shards} shards')
        for split in ('train', 'test'):
            found = dltest.read_split(out, split, 1 << 20)
            if not numpy.array_equal(found['x'], x[..., None]) or not numpy.array_equal(found['y'], y):
                fail(f'{out} {split}: not what the IDX files hold')
        if str(shape[0]) not in dltest.run('data', 'info', out).stdout:
            fail('data info does not give the number of samples')
        json.loads(dltest.run('data', 'info', out, '--json').stdout)

    x, y = r.integers(0, 256, (20, 8, 8), 'u1'), r.integers(0, 10, 20).astype('u1')
    dltest.write_idx('x', x)
    dltest.write_idx('y', y)
    dltest.write_idx('short', y[:19])
    whole = open('x', 'rb').read()
    for name, content in (('cut', whole[:-5]), ('longer', whole + b'12345'), ('head', whole[:7]), ('empty', b''),
                          ('text', b'not an IDX file at all'), ('cut.gz', gzip.compress(whole)[:-30]),
                          ('huge', b'\0\0\x08\x03' + b'\x7f\xff\xff\xff' * 3 + b'1234')):
        open(name, 'wb').write(content)
        expect_bad(name, 'y', name)
    expect_bad('x', 'short', 'short', '20', '19')
    expect_bad('y', 'x', 'y')
    done = dltest.run('data', 'import', 'idx', 'nowhere', 'y', '--out', 'bad', '--split', 'train', code=None)
    if done.returncode not in (2, 74) or 'nowhere' not in done.stderr:
        fail(f'a missing file: {done.returncode} {done.stderr!r}')
    print('3 sets arrive unchanged, 9 bad pairs are named')


main()
