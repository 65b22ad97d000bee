#!/usr/bin/env python3
# TEST tier=default timeout=500 needs=python
"""Batch normalization over ranks. reproducible: true gives byte-equal weights.h5 after 200 steps of ResNet-20 with
augmentation, short last batches included, at np 1, 2, 3, 4, 8 and 1 or 2 threads; its cost at np 1 is stated. In the
fast mode statistics of groups agree over ranks and micro-batches, global ones over ranks, to 1e-5 after 10 steps.
Moving averages are those that NumPy computes, on one rank and on two, and evaluations agree on 1, 2, 3 ranks."""
import json
import os

import h5py
import numpy as np

import dltest

RESNET = os.path.join(dltest.ROOT, 'configs', 'models', 'resnet20.yaml')
GRIDS = ((1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (8, 1), (2, 2))
NET = '''
data: {path: data/noise}
model:
  input: {shape: [12, 12, 3]}
  layers:
    - batch_normalization: {name: first, statistics: STATISTICS}
    - conv2d: {filters: 16, kernel_size: 3, padding: 1, use_bias: false}
    - batch_normalization: {activation: relu, name: a, statistics: STATISTICS}
    - conv2d: {filters: 16, kernel_size: 3, padding: 1, use_bias: false}
    - batch_normalization: {statistics: STATISTICS}
    - add: {from: [above, a], activation: tanh}
    - average_pooling2d: {pool_size: 3}
    - flatten: {}
    - dense: {units: 10, activation: softmax}
train: {epochs: 1, batch_size: 48, optimizer: {sgd: {learning_rate: 0.05, momentum: 0.9}}}
'''


def write_images(folder, side, **splits):
    """Noise with a colour that tells the class; floats, so that no two cells are equal."""
    random = np.random.default_rng(5)
    os.makedirs(folder)
    for split, n in splits.items():
        y = random.integers(0, 10, n).astype(np.int32)
        x = random.normal(0, 1, (n, side, side, 3)).astype(np.float32) + (y[:, None, None, None] - 4.5) / 5
        with h5py.File(f'{folder}/{split}-000.h5', 'w') as f:
            f['x'], f['y'] = x.astype(np.float32), y


def difference(a, b):
    return max(np.abs(a[name] - b[name]).max() / np.abs(a[name]).max() for name in a)


def check_bytes():
    """200 steps of ResNet-20; returns the cost of the mode."""
    write_images('data/small', 32, train=16 * 12 + 5, test=40)
    words = [RESNET, 'data.path=data/small', 'data.mean=[0.0]', 'data.std=[1.0]', 'train.batch_size=16',
             'train.epochs=20', 'train.max_steps=200']
    dltest.run(*words, 'run.dir=runs/fast', DLTRAIN_THREADS='1')
    fast = dltest.metrics('runs/fast', 'step')[-1]['seconds']
    for ranks, threads in GRIDS:
        folder = f'runs/resnet-{ranks}x{threads}'
        dltest.run(*words, 'reproducible=true', f'run.dir={folder}', ranks=ranks, DLTRAIN_THREADS=str(threads))
        if open(f'{folder}/weights.h5', 'rb').read() != open('runs/resnet-1x1/weights.h5', 'rb').read():
            dltest.fail(f'ResNet-20 on {ranks} ranks with {threads} threads has other weights than on 1 with 1')
        if dltest.figures(folder) != dltest.figures('runs/resnet-1x1'):
            dltest.fail(f'ResNet-20 on {ranks} ranks with {threads} threads has other losses than on 1 with 1')
    return dltest.metrics('runs/resnet-1x1', 'step')[-1]['seconds'] / fast


def train(statistics, name, *words, ranks=0):
    with open(f'{statistics}.yaml', 'w') as f:
        f.write(NET.replace('STATISTICS', statistics))
    dltest.run(f'{statistics}.yaml', f'run.dir=runs/{name}', *words, ranks=ranks, DLTRAIN_THREADS='1')
    return dltest.weights(f'runs/{name}')


def check_same_numbers():
    """48 samples whole, in 4 micro-batches, on 4 ranks; returns the largest difference."""
    worst = 0
    for statistics, ways in (('12', (dict(), dict(words=['train.accumulate=4']), dict(ranks=4))),
                             ('global', (dict(), dict(ranks=3)))):
        found = [train(statistics, f'{statistics}-{i}', 'train.max_steps=10', *way.get('words', ()),
                       ranks=way.get('ranks', 0)) for i, way in enumerate(ways)]
        worst = max([worst] + [difference(found[0], other) for other in found[1:]])
    if worst > 1e-5:
        dltest.fail(f'statistics of groups or over all ranks depend on the grid: {worst:.1e}')
    return worst


def samples_of(folder, rank):
    with open(f'{folder}/audit.rank{rank:05}.jsonl') as f:
        return [line['ids'] for line in map(json.loads, f) if line['split'] == 'train'][0]


def check_moving():
    """One step on all 48 samples: the moving averages of the first layer, whose input is known."""
    with h5py.File('data/noise/train-000.h5') as f:
        x = f['x'][()].astype(np.float64)
    for ranks in (1, 2):
        found = train('rank', f'moving-{ranks}', 'train.max_steps=1', 'run.audit=true', ranks=ranks)
        shares = [x[samples_of(f'runs/moving-{ranks}', rank)] for rank in range(ranks)]
        for name, start, batch in (('moving_mean', 0, np.mean([s.mean((0, 1, 2)) for s in shares], 0)),
                                   ('moving_variance', 1, np.mean([s.var((0, 1, 2)) for s in shares], 0))):
            expected = 0.9 * start + 0.1 * batch
            if np.abs(found[f'/first/{name}'] - expected).max() > 1e-6:
                dltest.fail(f'{name} on {ranks} ranks is {found[f"/first/{name}"]}, not {expected}')
    lines = [json.loads(dltest.run('eval', 'runs/moving-2', '--json', ranks=ranks).stdout.strip().split('\n')[-1])
             for ranks in (1, 2, 3)]
    if any(abs(line[key] - lines[0][key]) > 1e-9 for line in lines for key in ('test_loss', 'test_accuracy')):
        dltest.fail(f'evaluations differ: {lines}')


def main():
    write_images('data/noise', 12, train=48, test=30)
    check_moving()
    worst = check_same_numbers()
    print(f'{len(GRIDS)} grids, one file; cost of the mode at np 1: {check_bytes():.2f}; '
          f'in the fast mode grids differ by {worst:.1e}')


main()
