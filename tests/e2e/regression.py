#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""Losses of numbers: a line is learnt, at np 1 and 2; targets, outputs, loss and metrics of `eval --predictions`
agree with NumPy to 1e-9 at np 1, 2, 3, 5; targets that do not fit are told."""
import json

import dltest
import numpy

CONFIG = """
data: {path: line}
model: {input: {shape: [6]}, layers: [dense: {units: 3}]}
train: {loss: %s, metrics: [mse, mae], batch_size: 50, epochs: 40, optimizer: {adam: {learning_rate: 0.02}},
        early_stopping: {monitor: valid_mae, patience: 30}}
"""


def make(folder, y):
    dltest.write_shards(folder, 'train', {'x': x[:700], 'y': y[:700]})
    dltest.write_shards(folder, 'test', {'x': x[700:], 'y': y[700:]})


def figures(lines, loss):
    output, target = (numpy.array([line[key] for line in lines], 'f8') for key in ('output', 'target'))
    if (target != y[700:]).any():
        dltest.fail('the targets are not those of the data set')
    found = {'test_mse': ((output - target) ** 2).mean(), 'test_mae': abs(output - target).mean()}
    return dict(found, test_loss=found['test_' + loss])


r = numpy.random.default_rng(3)
x = r.uniform(-1, 1, (1013, 6)).astype('f4')
y = (x @ r.uniform(-1, 1, (6, 3)) + [0.5, 0, -0.5]).astype('f4')
make('line', y)
for loss in ('mse', 'mae'):
    with open('line.yaml', 'w') as f:
        f.write(CONFIG % loss)
    for ranks in (0, 2):
        dltest.run('line.yaml', f'run.dir=runs/{loss}', ranks=ranks, DLTRAIN_THREADS='1')
        end = dltest.metrics(f'runs/{loss}', 'end')[0]
        if not end['test_mae'] < 0.05 or end['best_valid_mae'] > 0.05:
            dltest.fail(f'{loss}, np {ranks or 1}: the line is not learnt: {end}')
    first, worst = None, 0
    for ranks in (1, 2, 3, 5):
        said = json.loads(dltest.run('eval', f'runs/{loss}', '--json', '--predictions', 'p.jsonl', ranks=ranks,
                                     DLTRAIN_THREADS='1').stdout.strip().split('\n')[-1])
        text = open('p.jsonl').read()
        first = first or text
        if text != first:
            dltest.fail(f'the predictions at np {ranks} are not those at np 1')
        for name, value in figures([json.loads(line) for line in text.splitlines()], loss).items():
            worst = max(worst, abs(said[name] - value))
            if worst > 1e-9:
                dltest.fail(f'np {ranks}: eval says {name} {said[name]}, NumPy {value}')
make('wide', numpy.concatenate([y, y], axis=1))
make('classes', numpy.arange(1013, dtype='i4') % 3)
for words, text in ((['data.path=wide'], 'y of the data set has [6]'),
                    (['data.path=classes'], 'needs float32 targets, but y of the data set is int32'),
                    (['train.loss=softmax_cross_entropy', 'train.metrics=[accuracy]',
                      'train.early_stopping.monitor=valid_loss'],
                     'needs class numbers, but y of the data set is float32')):
    done = dltest.run('line.yaml', *words, 'run.dir=runs/no', code=2)
    if done.stderr.count('error:') != 1 or text not in done.stderr:
        dltest.fail(f'{words}: {done.stderr}')
print(f'largest difference from NumPy {worst:.1e}')
