#!/usr/bin/env python3
# TEST tier=default timeout=500 needs=python
"""Texts and ragged samples over ranks. reproducible: true gives byte-equal weights.h5 at np 1, 2, 3, 4, 8 and 1 or 2
threads for a stateful language model, a stacked LSTM with dropout over shuffled windows (short last batch) and ragged
samples in buckets; the stacked one's batch has tokens enough, and its embedding is wide enough, for the cpu backend to
project each distinct token once, however few of them a rank has. In the fast mode ranks and accumulation agree with one
rank to 1e-5. A loss is a mean over all predictions: that of the model before training is log(vocabulary), however the
rows of the text end. The mode's cost is stated."""
import json
import math
import os

import h5py
import numpy as np

import dltest

VOCABULARY = 23
MODELS = {
    'stateful': '''
data: {path: data/text}
model:
  input: {shape: [8], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 12}
    - lstm: {units: 24, return_sequences: true, stateful: true}
    - lstm: {units: 16, return_sequences: true, stateful: true}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 24, epochs: 6, optimizer: {adam: {learning_rate: 0.02}}}
''',
    'stacked': '''
data: {path: data/text, stride: 3}
model:
  input: {shape: [9], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 40}
    - lstm: {units: 20, return_sequences: true}
    - dropout: {rate: 0.3}
    - lstm: {units: 16}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 50, epochs: 2}
''',
    'ragged': '''
data: {path: data/ragged}
model:
  input: {shape: [null, 5]}
  layers:
    - lstm: {units: 12, bidirectional: true, return_sequences: true}
    - dropout: {rate: 0.2}
    - lstm: {units: 10, bidirectional: true}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 30, epochs: 3}
''',
}
GRIDS = ((1, 1), (1, 2), (2, 1), (3, 1), (4, 2), (8, 1))


def write_text(random):
    """Each token mostly decides the next one."""
    follows = random.integers(0, VOCABULARY, (VOCABULARY, 2))
    for split, n in (('train', 3001), ('valid', 500)):
        text = np.zeros(n, np.uint16)
        for i in range(1, n):
            known = random.random() < 0.9
            text[i] = follows[text[i - 1], random.integers(0, 2)] if known else random.integers(0, VOCABULARY)
        dltest.write_shards('data/text', split, {'tokens': text})
        with h5py.File(f'data/text/{split}-00000.h5', 'a') as f:
            f['tokens'].attrs['vocab_size'] = VOCABULARY


def write_ragged(random):
    for split, n in (('train', 171), ('test', 60)):
        lengths, labels = random.integers(1, 20, n), random.integers(0, 4, n)
        steps = [np.outer(np.sin(np.arange(1, length + 1) * (label + 1)), np.arange(1, 6))
                 + 0.3 * random.standard_normal((length, 5)) for length, label in zip(lengths, labels)]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        dltest.write_shards('data/ragged', split, {'x/values': np.concatenate(steps).astype(np.float32),
                                                   'x/offsets': offsets, 'y': labels.astype(np.int32)})


def check_reproducible(name):
    files = {}
    for ranks, threads in GRIDS:
        folder = f'runs/{name}-{ranks}x{threads}'
        dltest.run(f'{name}.yaml', 'reproducible=true', f'run.dir={folder}', ranks=ranks, DLTRAIN_THREADS=str(threads))
        files[folder] = open(f'{folder}/weights.h5', 'rb').read()
        if files[folder] != files[f'runs/{name}-1x1']:
            dltest.fail(f'{name}: {ranks} ranks with {threads} threads: weights.h5 is not that of 1 rank with 1 thread')
        if dltest.figures(folder) != dltest.figures(f'runs/{name}-1x1'):
            dltest.fail(f'{name}: {ranks} ranks with {threads} threads: losses are not those of 1 rank with 1 thread')


def check_fast(name):
    worst, reference = 0, None
    for ranks, words in ((1, ()), (2, ()), (3, ()), (1, ('train.accumulate=3',)), (2, ('train.accumulate=2',))):
        folder = f'runs/{name}-fast-{ranks}-{len(words)}'
        dltest.run(f'{name}.yaml', f'run.dir={folder}', 'train.max_steps=25',
                   'train.optimizer={sgd: {learning_rate: 0.1, momentum: 0.9}}', *words, ranks=ranks)
        reference = reference or dltest.weights(folder)
        worst = max(worst, dltest.max_difference(reference, dltest.weights(folder)))
        if worst > 1e-5:
            dltest.fail(f'{name}: {ranks} ranks {words}: max |dw| / max |w| = {worst:.2e}')
    return worst


def cost():
    """What reproducible: true takes at np 1, of the time without, for an LSTM with 8 rows a piece: turn by turn."""
    times = {'false': [], 'true': []}
    for _ in range(3):
        for mode, found in times.items():
            done = dltest.run('bench', os.path.join(dltest.ROOT, 'configs', 'word_lm.yaml'), '--steps', '10',
                              f'reproducible={mode}', DLTRAIN_THREADS='1')
            found.append(json.loads(done.stdout)['ms_step'])
    return min(times['true']) / min(times['false'])


def main():
    random = np.random.default_rng(3)
    write_text(random)
    write_ragged(random)
    worst = 0
    for name, text in MODELS.items():
        with open(f'{name}.yaml', 'w') as f:
            f.write(text)
        check_reproducible(name)
        worst = max(worst, check_fast(name))
    dltest.run('stateful.yaml', 'run.dir=runs/start', 'train.optimizer={sgd: {learning_rate: 1.0e-9}}',
               'train.epochs=1', ranks=2)
    epoch = dltest.metrics('runs/start', 'epoch')[0]
    for loss in (epoch['loss'], epoch['valid_loss']):
        if abs(loss - math.log(VOCABULARY)) > 0.02:
            dltest.fail(f'the loss of an untrained model is {loss}, not {math.log(VOCABULARY):.4f}')
    if dltest.metrics('runs/stateful-1x1', 'epoch')[-1]['loss'] > 2.7:
        dltest.fail('the language model learns nothing')
    # a pass over a split begins without what another one carried
    done = dltest.run('eval', 'runs/stateful-1x1', '--split', 'valid', '--json')
    again, valid = json.loads(done.stdout)['valid_loss'], dltest.metrics('runs/stateful-1x1', 'epoch')[-1]['valid_loss']
    if abs(again - valid) > 1e-6 * valid:
        dltest.fail(f'eval gives {again}, the end of the last epoch {valid}')
    print(f'{len(MODELS)} models, {len(GRIDS)} grids, one file each; fast: max |dw| / max |w| = {worst:.2e}; '
          f'cost of the mode for word_lm at np 1: {cost():.2f}')


main()
