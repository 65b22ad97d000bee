#!/usr/bin/env python3
# TEST tier=default timeout=300 needs=python
"""Ranks that share layers (parallel.tensor): the losses of 50 steps are those of one rank to 1e-6, with 2 and 3 ranks
(uneven slices) and in a grid of 2 x 2, with dropout and clipping, of vectors and of every position of a text, and where
what one pair of layers gives is what others begin with. All
ranks' slices are in one weights.h5 of the usual form, which one rank evaluates to the same figures. (A relu at whose
kink a sum of another order takes the other side ends this agreement; with seed 1 and relu that happens once in the 480
000 activations of `positions`, which therefore has tanh.)"""
import json

import dltest

MODELS = {
    'vectors': '''
data: {path: data/images, make: digits}
model:
  input: {shape: [28, 28, 1]}
  layers:
    - flatten: {}
    - dense: {units: 64, activation: relu}
    - dense: {units: 255, activation: relu, trainable: false}
    - dropout: {rate: 0.3}
    - dense: {units: 96, activation: tanh}
    - batch_normalization: {statistics: 30}
    - dense: {units: 50, activation: sigmoid}
    - dense: {units: 10, activation: softmax}
train: {epochs: 1, max_steps: 50, batch_size: 60, clip_norm: 0.5, ema_decay: 0.9,
        optimizer: {sgd: {learning_rate: 0.05, momentum: 0.9}}}
''',
    'pairs_of_pairs': '''
data: {path: data/images, make: digits}
model:
  input: {shape: [28, 28, 1]}
  layers:
    - flatten: {}
    - dense: {units: 40, activation: tanh}
    - dense: {units: 24, name: shared}
    - dense: {units: 33, activation: tanh}
    - dense: {units: 20, name: left}
    - dense: {units: 12, activation: sigmoid, from: shared}
    - dense: {units: 20}
    - add: {from: [above, left]}
    - dense: {units: 30, trainable: false}
    - dense: {units: 10, activation: softmax}
train: {epochs: 1, max_steps: 50, batch_size: 60, optimizer: {sgd: {learning_rate: 0.1}}}
''',
    'positions': '''
data: {path: data/text, make: text}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 24}
    - lstm: {units: 32, return_sequences: true}
    - dense: {units: 50, activation: tanh}
    - dropout: {rate: 0.2}
    - dense: {units: auto, activation: softmax}
train: {epochs: 4, max_steps: 50, batch_size: 16, optimizer: {sgd: {learning_rate: 0.5}}}
''',
}
GRIDS = ((2, 2), (3, 3), (2, 4))  # tensor, ranks


def losses(folder):
    return [line['loss'] for line in dltest.metrics(folder, 'step')]


def evaluate(folder, ranks=0):
    done = dltest.run('eval', folder, '--split', 'valid', '--json', ranks=ranks, DLTRAIN_THREADS='1')
    said = json.loads(done.stdout.strip().split('\n')[-1])
    return said[f"{said['split']}_loss"]


def check(name):
    """Returns the largest relative difference of a loss."""
    worst = 0
    words = [f'{name}.yaml', 'run.log_every=1']
    with open(f'{name}.yaml', 'w') as f:
        f.write(MODELS[name])
    dltest.run(*words, f'run.dir=runs/{name}', DLTRAIN_THREADS='1')
    alone, kept = losses(f'runs/{name}'), dltest.weights(f'runs/{name}')
    if len(alone) < 50:
        dltest.fail(f'{name}: {len(alone)} steps')
    for tensor, ranks in GRIDS:
        folder = f'runs/{name}-{tensor}-{ranks}'
        dltest.run(*words, f'parallel.tensor={tensor}', f'run.dir={folder}', ranks=ranks, DLTRAIN_THREADS='1')
        found, weights = losses(folder), dltest.weights(folder)
        if len(found) != len(alone):
            dltest.fail(f'{folder}: {len(found)} steps, {len(alone)} on one rank')
        worst = max([worst] + [abs(a - b) / a for a, b in zip(alone, found)])
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in kept.items()}:
            dltest.fail(f'{folder}/weights.h5 has other tensors than the run on one rank')
        difference = dltest.max_difference(weights, kept)
        if difference > 1e-4:
            dltest.fail(f'{folder}: weights differ from those of one rank by {difference:.2g}')
        if abs(evaluate(folder) - evaluate(f'runs/{name}')) > 1e-6 * abs(evaluate(f'runs/{name}')):
            dltest.fail(f'{folder}: its weights evaluate to another loss')
    return worst


def main():
    found = {name: check(name) for name in MODELS}
    worst = max(found.values())
    if worst > 1e-6:
        dltest.fail(f'losses over 50 steps differ from those of one rank by {found}')
    alone, three = evaluate('runs/vectors-2-2'), evaluate('runs/vectors-2-2', ranks=3)
    if abs(alone - three) > 1e-9 * alone:
        dltest.fail(f'three ranks evaluate a model that two shared to {three}, one to {alone}')
    print(f'{len(GRIDS)} grids, {len(MODELS)} models, 50 steps: losses within {worst:.2g} of one rank\'s')


main()
