#!/usr/bin/env python3
# TEST tier=default timeout=120 slots=1 needs=python
"""cuDNN has several algorithms for an LSTM: which of them train a layer is tried, the fastest is measured and kept, and
both passes take it; a layer that has fewer, or a batch that has, takes the standard one. On the emulated GPU, whose
algorithms keep weights and reserve space in orders of their own and compute the same numbers."""
import glob
import os
import re

import numpy

import dltest

dltest.use_emulated_gpu()
os.environ['XDG_CACHE_HOME'] = os.path.abspath('cache')

# What the emulator has for 8, 7 and 12 units: persist_static refuses odd ones when it runs, persist_small those
# above 8 when its memory is asked for.
OFFERED = {'a': ['standard', 'persist_static', 'persist_dynamic', 'persist_small'],
           'b': ['standard', 'persist_dynamic', 'persist_small'],
           'c': ['standard', 'persist_static', 'persist_dynamic']}
NET = '''
name: net
data: {path: text}
model:
  input: {shape: [6], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 10}
    - lstm: {units: 8, return_sequences: true, name: a}
    - lstm: {units: 7, return_sequences: true, name: b}
    - lstm: {units: 12, name: c}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 8, epochs: 1, optimizer: {adam: {learning_rate: 0.02}}}
backend: cuda
'''
RECURRENT, LAYER_BYTES = 7, 8  # of a layer's choices in the file

with open('net.yaml', 'w') as f:
    f.write(NET)
random = numpy.random.default_rng(5)
for split, n in (('train', 300), ('valid', 60)):
    dltest.write_tokens('text', split, random.integers(0, 11, n), 11)


def train(folder):
    done = dltest.run('net.yaml', f'run.dir={folder}', DLTRAIN_LOG='debug')
    return done.stderr, dltest.weights(folder)


def taken():
    """Names of the algorithms of a full training step, by layer: forward, backward."""
    listing = dltest.run('check', 'net.yaml', '--program').stdout.split('program ')[1]
    found = {}
    for layer, name in re.findall(r'layer=(\w+) .*\[cudnn_rnn:(\w+)\]', listing):
        found.setdefault(layer, []).append(name)
    return found


said, weights = train('measured')
for layer, names in OFFERED.items():
    times = re.findall(rf'layer {layer}, algorithm (\d+): [0-9.]+ ms', said)
    if times != [str(i) for i in range(len(names))]:
        dltest.fail(f'layer {layer} was measured with {times}: {said}')
kept = glob.glob('cache/dltrain/choices-*')
if len(kept) != 1:
    dltest.fail(f'kept: {kept}')
for algorithm in range(4):
    with open(kept[0], 'r+b') as f:
        choices = bytearray(f.read())
        choices[RECURRENT::LAYER_BYTES] = bytes([algorithm] * (len(choices) // LAYER_BYTES))
        f.seek(0)
        f.write(choices)
    expected = {layer: [names[algorithm] if algorithm < len(names) else 'standard'] * 2
                for layer, names in OFFERED.items()}
    if taken() != expected:
        dltest.fail(f'algorithm {algorithm}: {taken()} instead of {expected}')
    said, again = train(f'algorithm-{algorithm}')
    if 'as measured before' not in said:
        dltest.fail('it measured again')
    if dltest.max_difference(weights, again) != 0:
        dltest.fail(f'algorithm {algorithm} gives other weights')
print('4 algorithms, the same weights')
