#!/usr/bin/env python3
# TEST tier=default timeout=240 needs=python
"""Every sample exactly once in each epoch and once in each evaluation, at np 1, 2, 3, 5, 8, with an uneven end; the
order of an epoch depends on seed and epoch only."""
import collections
import glob
import json
import os

import dltest
from dltest import fail

N_TRAIN, N_TEST, BATCH, EPOCHS = 391, 103, 37, 3
CONFIG = '''
data: {path: data, valid: 0.1}
model: {input: {shape: [6, 6, 1]}, layers: [flatten: {}, dense: {units: auto, activation: softmax}]}
train: {epochs: %d, batch_size: %d}
run: {audit: true}
''' % (EPOCHS, BATCH)


def audit(folder):
    """{(split, epoch): {step: ids of all ranks}}."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for name in sorted(glob.glob(f'{folder}/audit.rank*.jsonl')):
        for line in open(name):
            m = json.loads(line)
            found[m['split'], m['epoch']][m['step']] += m['ids']
    return found


def check(folder, ranks):
    """The multisets of ids are right; returns the order of each epoch, step by step, sorted within a step."""
    if len(glob.glob(f'{folder}/audit.rank*.jsonl')) != ranks:
        fail(f'np {ranks}: not one audit file a rank')
    found = audit(folder)
    n_valid = N_TRAIN - sum(len(ids) for ids in found['train', 1].values())
    if not 30 <= n_valid <= 48:
        fail(f'np {ranks}: {n_valid} samples are not in the first epoch; valid: 0.1 of {N_TRAIN}')
    trained = [sorted(i for ids in found['train', e].values() for i in ids) for e in range(1, EPOCHS + 1)]
    for epoch, ids in enumerate(trained, 1):
        if len(set(ids)) != len(ids) or ids != trained[0]:
            fail(f'np {ranks}, epoch {epoch}: a sample is missing or comes twice')
        valid = sorted(i for step in found['valid', epoch].values() for i in step)
        if sorted(valid + ids) != list(range(N_TRAIN)):
            fail(f'np {ranks}, epoch {epoch}: train and valid together are not every sample once')
    tested = [key for key in found if key[0] == 'test']
    if not tested or any(sorted(i for ids in found[k].values() for i in ids) != list(range(N_TEST)) for k in tested):
        fail(f'np {ranks}: the test split is not evaluated once per sample')
    orders = {e: {s: sorted(ids) for s, ids in found['train', e].items()} for e in range(1, EPOCHS + 1)}
    sizes = [len(ids) for ids in orders[1].values()]
    if sorted(sizes)[1:] != [BATCH] * (len(sizes) - 1):
        fail(f'np {ranks}: sizes of the global batches {sizes}')
    return orders


def main():
    for split, n in (('train', N_TRAIN), ('test', N_TEST)):
        x, y = dltest.random_images(n, (6, 6, 1), seed=n)
        dltest.write_shards('data', split, {'x': x, 'y': y}, parts=3)
    with open('a.yaml', 'w') as f:
        f.write(CONFIG)
    orders = {}
    for ranks in (1, 2, 3, 5, 8):
        dltest.run('a.yaml', f'run.dir=runs/{ranks}', ranks=ranks)
        orders[ranks] = check(f'runs/{ranks}', ranks)
        if orders[ranks] != orders[1]:
            fail(f'the order of samples at np {ranks} is not that of np 1')
    if orders[1][1] == orders[1][2]:
        fail('two epochs have the same order')
    dltest.run('a.yaml', 'seed=2', 'run.dir=runs/seed')
    if check('runs/seed', 1)[1] == orders[1][1]:
        fail('another seed has the same order')
    print(f'{N_TRAIN} + {N_TEST} samples, np 1, 2, 3, 5, 8: each once')


main()
