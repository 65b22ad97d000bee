#!/usr/bin/env python3
# TEST tier=default timeout=400 slots=1 needs=python
"""dltrain verify. On models of every family the cpu backend agrees with ref in every instruction of two steps and of an
evaluation, also in pieces (reproducible: true) and with ref as the first backend. A weight that is 1 % too large on one
side is found for every layer that has weights, and for every tensor of it that is not zero, in that layer, at exit
status 70. K of the bounds is the length of the sums."""
import json
import math

import dltest

CONFIGS = dltest.ROOT + '/configs/'
BODY = '''
model:
  input: {shape: [32, 32, 3]}
  layers:
    - conv2d: {filters: 8, kernel_size: 3, strides: 2, activation: tanh, name: first}
    - batch_normalization: {name: norm}
    - average_pooling2d: {pool_size: 3, strides: 2}
    - conv2d: {filters: 12, kernel_size: 2, groups: 4, padding: same, activation: sigmoid, name: grouped}
    - batch_normalization: {name: frozen, trainable: false}
    - dropout: {rate: 0.3}
    - flatten: {}
    - dense: {units: 20, activation: relu, name: hidden}
    - batch_normalization: {name: flat}
    - dense: {units: 10, activation: softmax, name: last}
train: {batch_size: 12, accumulate: 2, clip_norm: 1.0, ema_decay: 0.9, label_smoothing: 0.1,
        optimizer: {rmsprop: {learning_rate: 0.01}}}
'''
TEXT = '''
data: {path: data/words, make: text}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: 10000, output_dim: 48}
    - dropout: {rate: 0.5}
    - lstm: {units: 40, return_sequences: true, stateful: true, name: lower}
    - dropout: {rate: 0.5}
    - lstm: {units: 40, return_sequences: true, stateful: true, name: upper}
    - dense: {units: 10000, activation: softmax}
train: {batch_size: 8, clip_norm: 0.25, optimizer: {sgd: {learning_rate: 0.3, momentum: 0.9}}}
'''
STACKED = '''
data: {path: data/words, make: text}
model:
  input: {shape: [9], dtype: tokens}
  layers:
    - embedding: {input_dim: 10000, output_dim: 40}
    - lstm: {units: 24, return_sequences: true, bidirectional: true, name: both}
    - lstm: {units: 16, name: over}
    - dense: {units: 10000, activation: softmax}
train: {batch_size: 16}
'''
TENSORS = {'conv2d': ['weight'], 'dense': ['weight'], 'embedding': ['weight'], 'batch_normalization': ['gamma'],
           'lstm': ['weight_ih', 'weight_hh', 'bias']}


def config(name, text):
    with open(name, 'w') as f:
        f.write(text)
    return name


def verify(model, *words, code=0):
    done = dltest.run('verify', *model, *words, '--json', code=code, DLTRAIN_THREADS='1')
    return json.loads(done.stdout), done.stderr


def agree(model, *words):
    report, _ = verify(model, *words)
    rows = [row for program in report['programs'] for row in program['instructions']]
    if any(row['verdict'] != 'ok' or row['max_error'] > row['bound'] for row in rows):
        dltest.fail(f'{model}: {[row for row in rows if row["verdict"] != "ok"][:3]}')
    if {p['program'] for p in report['programs']} != {'training', 'evaluation'}:
        dltest.fail(f'{model}: programs {[(p["program"], p["steps"]) for p in report["programs"]]}')
    return report, max(row['max_error'] / row['bound'] for row in rows if row['bound'] > 0)


def tensors_of(layer):
    names = TENSORS[layer['kind']]
    if layer['kind'] == 'lstm' and layer['name'] in ('both', 'lstm'):
        names = names + [name + '_reverse' for name in names]
    return names


def perturbed(model):
    """Every layer with weights, then every tensor; returns how many were tried."""
    described = json.loads(dltest.run('check', *model, '--json').stdout)
    tried = 0
    for layer in [layer for layer in described['layers'] if layer['parameters'] > 0]:
        names = tensors_of(layer)
        for target in [layer['name']] + ([f'{layer["name"]}/{name}' for name in names] if len(names) > 1 else []):
            report, said = verify(model, '--steps', '1', '--perturb', f'{target}=1e-2', code=70)
            program = report['programs'][0]
            row = [r for r in program['instructions'] if r['instruction'] == program['first']][0]
            if row['layer'] != layer['name'] or f"layer '{layer['name']}', departs from ref in step 1" not in said:
                dltest.fail(f'{model}, {target}: the first to depart is {row}\n{said}')
            tried += 1
    return tried


mnist = [dltest.MNIST_CNN, 'train.batch_size=6']
models = [mnist,
          [CONFIGS + 'models/resnet20.yaml', 'train.batch_size=2'],
          [config('body.yaml', 'data: {path: data/small, make: shapes}\n' + BODY)],
          [config('text.yaml', TEXT)],
          [config('stacked.yaml', STACKED)],
          [CONFIGS + 'vowels.yaml', 'train.batch_size=8']]
worst, tried = 0, 0
for model in models:
    report, share = agree(model)
    worst = max(worst, share)
    tried += perturbed(model)
    agree(model, 'reproducible=true', 'train.accumulate=1', '--steps', '1')
    agree(model, 'backend=ref', '--steps', '1')

# K is in the bound: 8 u sqrt(K)
report, _ = verify(mnist)
rows = {(row['name'], row['layer']): row for row in report['programs'][0]['instructions']}
for key, terms in {('conv2d_forward+relu', 'conv2d'): 3 * 3 * 1 + 1,
                   ('conv2d_forward+relu', 'conv2d_1'): 3 * 3 * 32 + 1,
                   ('conv2d_backward_weights', 'conv2d'): 6 * 26 * 26, ('dense_backward_data', 'dense_1'): 10,
                   ('max_pooling2d_forward', 'max_pooling2d'): 0}.items():
    row = rows[key]
    if row['terms'] != terms or not math.isclose(row['bound'], 8 * 2**-24 * math.sqrt(terms), rel_tol=1e-4):
        dltest.fail(f'{key}: {row}, K should be {terms}')

# the words of a person
table = dltest.run('verify', *mnist, '--steps', '1').stdout
if 'max error' not in table or 'conv2d_forward+relu' not in table or ' departs' in table:
    dltest.fail(table)
for words, expected in ((['--perturb', 'conv2d_11=1e-2'], "did you mean 'conv2d_1'"),
                        (['--perturb', 'conv2d'], 'LAYER=X'),
                        (['--against', 'cpu', 'backend=cpu'], 'backend of the configuration itself'),
                        (['--against', 'cuda'], 'must be ref or cpu')):
    done = dltest.run('verify', *mnist, *words, code=2)
    if expected not in done.stderr:
        dltest.fail(f'{words}: {done.stderr}')
print(f'{len(models)} models; errors up to {worst:.2f} of their bounds; {tried} weights off by 1 % were found')
