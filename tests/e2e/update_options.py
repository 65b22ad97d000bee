#!/usr/bin/env python3
# TEST tier=default timeout=240 needs=python
"""Clipping, rmsprop, averaging and smoothing together: in reproducible mode the same weights, averages and norms bit
for bit at np 1, 2, 3, 5 and 1 or 2 threads, otherwise norms within rounding. A layer's learning_rate_factor scales its
step and no other's; clipping makes the step's norm what it promises; grad_norm is the norm of the mean gradient."""
import dltest
import numpy

WORDS = ['train.clip_norm=0.5', 'train.optimizer={rmsprop: {learning_rate: 0.001, momentum: 0.9, centered: true}}',
         'train.ema_decay=0.9', 'train.label_smoothing=0.1', 'train.metrics=[accuracy, top_5_accuracy, perplexity]',
         'train.batch_size=90', 'train.max_steps=30', 'run.log_every=1', 'train.schedule={exponential: {every: 0.5}}']


def norms(folder):
    return [m['grad_norm'] for m in dltest.metrics(folder, 'step')]


def check_grids(data):
    """Any number of ranks and threads."""
    first = None
    for ranks, threads in ((1, 1), (1, 2), (2, 1), (3, 1), (5, 1)):
        folder = f'runs/{ranks}x{threads}'
        dltest.run(dltest.MNIST_CNN, f'data.path={data}', *WORDS, 'reproducible=true', f'run.dir={folder}', ranks=ranks,
                   DLTRAIN_THREADS=str(threads))
        files = [open(f'{folder}/{name}', 'rb').read() for name in ('weights.h5', 'ema.h5')] + [norms(folder)]
        first = first or files
        if files != first:
            dltest.fail(f'{folder}: not the weights, averages and norms of 1 rank with 1 thread')
    if not all(0 < norm < 100 for norm in first[2]) or len(first[2]) != 30:
        dltest.fail(f'norms {first[2]}')
    worst = 0
    for ranks, words in ((2, []), (3, []), (1, ['train.accumulate=3'])):
        dltest.run(dltest.MNIST_CNN, f'data.path={data}', *WORDS, *words, 'train.max_steps=1', 'run.dir=runs/fast',
                   ranks=ranks, DLTRAIN_THREADS='1')
        worst = max(worst, abs(norms('runs/fast')[0] / first[2][0] - 1))
    if worst > 1e-5:
        dltest.fail(f'not reproducible: the norm of the first step differs by {worst}')
    return worst


def step_of(data, config, rate, *words):
    """What one step of plain gradient descent adds to the weights, {path: array}."""
    found = []
    for learning_rate in (0, rate):
        dltest.run(config, f'data.path={data}', 'train.optimizer={sgd: {learning_rate: %g}}' % learning_rate,
                   'train.schedule=constant', 'train.max_steps=1', 'run.dir=runs/one', *words, DLTRAIN_THREADS='1')
        found.append(dltest.weights('runs/one'))
    return {path: found[1][path].astype('f8') - found[0][path] for path in found[0]}


def check_factors(data):
    text = open(dltest.MNIST_CNN).read()
    with open('factors.yaml', 'w') as f:
        f.write(text.replace('conv2d: {filters: 32,', 'conv2d: {learning_rate_factor: 0.25, filters: 32,')
                .replace('dense: {units: 64,', 'dense: {learning_rate_factor: 8, units: 64,'))
    plain, scaled = step_of(data, dltest.MNIST_CNN, 0.1), step_of(data, 'factors.yaml', 0.1)
    for path, step in plain.items():
        factor = {'conv2d': 0.25, 'dense': 8}.get(path.split('/')[1], 1)
        if not numpy.allclose(scaled[path], factor * step, rtol=1e-3, atol=1e-7 * factor):
            dltest.fail(f'{path}: the step is not {factor} times the plain one')


def check_clip(data, config, limit):
    """With rate 1 the step is the gradient itself. A sample may count once, or once for each of its positions."""
    gradient = step_of(data, config, 1)
    norm = numpy.sqrt(sum((g ** 2).sum() for g in gradient.values()))
    clipped = step_of(data, config, 1, f'train.clip_norm={limit}')
    said = dltest.metrics('runs/one', 'step')[0]['grad_norm']
    found = numpy.sqrt(sum((g ** 2).sum() for g in clipped.values()))
    if abs(said / norm - 1) > 1e-4 or norm < 1.1 * limit:
        dltest.fail(f'{config}: grad_norm is {said}, NumPy finds {norm}')
    if abs(found / limit - 1) > 1e-4:
        dltest.fail(f'{config}: the norm after clipping to {limit} is {found}')
    free = step_of(data, config, 1, 'train.clip_norm=1000')
    if any((free[path] != gradient[path]).any() for path in free):
        dltest.fail(f'{config}: a limit that is not reached changes the step')


TEXT = """
data: {path: data/text, make: text}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 16}
    - lstm: {units: 24, return_sequences: true}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 24}
run: {log_every: 1}
"""
RAGGED = """
data: {path: data/series, make: series}
model:
  input: {shape: [null, 12]}
  layers:
    - lstm: {units: 8}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 20}
run: {log_every: 1}
"""


def main():
    data = dltest.small_digits()
    worst = check_grids(data)
    check_factors(data)
    check_clip(data, dltest.MNIST_CNN, 0.125)
    if 'grad_norm' in dltest.metrics('runs/1x1', 'end')[0]:
        dltest.fail('grad_norm is a figure of steps')
    for name, text in (('text', TEXT), ('series', RAGGED)):
        with open(name + '.yaml', 'w') as f:
            f.write(text)
        check_clip(f'data/{name}', name + '.yaml', 0.03)
    print(f'bits equal in reproducible mode; otherwise the norm differs by {worst:.1e}')


main()
