#!/usr/bin/env python3
# TEST tier=default timeout=300 needs=python
"""Runs whole trainings with backend=cuda on the emulated GPU (tests/emulator): the plugin, its kernels, streams and
copies as they are, with memory of the device that the host cannot touch. The numbers are those of `ref`; a run that was
stopped goes on to the same bits, also on another backend; evaluations agree."""
import json
import os
import subprocess

import numpy

import dltest

dltest.use_emulated_gpu()

x, y = dltest.random_images(96, shape=(10, 10, 3), classes=4)
dltest.write_shards('images', 'train', {'x': x, 'y': y})
dltest.write_shards('images', 'test', {'x': x[:20], 'y': y[:20]})

IMAGES = '''
name: images
data: {path: images, mean: [0.4], std: [0.3], augment: [random_crop: {padding: 1}, random_flip: {}]}
model:
  input: {shape: [10, 10, 3]}
  layers:
    - conv2d: {filters: 6, kernel_size: 3, padding: same, name: a}
    - batch_normalization: {}
    - activation: {function: relu, name: b}
    - conv2d: {filters: 6, kernel_size: 3, padding: same}
    - batch_normalization: {name: c}
    - add: {from: [b, c]}
    - max_pooling2d: {pool_size: 2}
    - average_pooling2d: {pool_size: 2}
    - dropout: {rate: 0.2}
    - flatten: {}
    - dense: {units: 4, activation: softmax}
train: {epochs: 2, batch_size: 20, clip_norm: 1.0, ema_decay: 0.9,
        optimizer: {sgd: {learning_rate: 0.05, momentum: 0.9}}}
run: {log_every: 1}
'''
# A language model that carries its state, and sequences of several lengths, read in both directions.
TEXT = '''
name: text
data: {path: text}
model:
  input: {shape: [6], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 10}
    - lstm: {units: 8, return_sequences: true, stateful: true}
    - dropout: {rate: 0.2}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 8, epochs: 1, clip_norm: 0.5, optimizer: {adam: {learning_rate: 0.02}}}
run: {log_every: 1}
'''
RAGGED = '''
name: ragged
data: {path: ragged}
model:
  input: {shape: [null, 3]}
  layers:
    - lstm: {units: 6, bidirectional: true}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 12, epochs: 2, optimizer: {rmsprop: {learning_rate: 0.01, momentum: 0.5, centered: true}}}
run: {log_every: 1}
'''
for name, text in (('images', IMAGES), ('text', TEXT), ('ragged', RAGGED)):
    with open(name + '.yaml', 'w') as f:
        f.write(text)

random = numpy.random.default_rng(5)
for split, n in (('train', 400), ('valid', 100)):
    dltest.write_tokens('text', split, random.integers(0, 11, n), 11)
for split, n in (('train', 40), ('test', 15)):
    lengths = random.integers(1, 9, n)
    offsets = numpy.concatenate([[0], numpy.cumsum(lengths)]).astype('i8')
    values = random.standard_normal((offsets[-1], 3)).astype('f4')
    dltest.write_shards('ragged', split, {'x/values': values, 'x/offsets': offsets,
                                          'y': random.integers(0, 3, n).astype('i4')})


def losses(folder):
    return ([m['loss'] for m in dltest.metrics(folder, 'step')] +
            [m['valid_loss'] for m in dltest.metrics(folder, 'epoch')])


def compare(name, *words):
    """Trains on both backends; the losses agree and so do the weights."""
    for backend in ('ref', 'cuda'):
        done = dltest.run('train', name + '.yaml', f'backend={backend}', f'run.dir={name}_{backend}', *words)
    if 'emulated GPU' not in done.stdout or 'cuda (CUDA' not in done.stdout:
        dltest.fail('no word of the GPU: ' + done.stdout)
    if 'CUDA graph' in done.stderr:
        dltest.fail('steps are no CUDA graphs: ' + done.stderr)
    expected, got = losses(name + '_ref'), losses(name + '_cuda')
    if len(got) != len(expected) or max(abs(a - b) / abs(b) for a, b in zip(got, expected)) > 2e-5:
        dltest.fail(f'losses {got} instead of {expected}')
    difference = dltest.max_difference(dltest.weights(name + '_ref'), dltest.weights(name + '_cuda'))
    if difference > 2e-5:
        dltest.fail(f'weights differ by {difference}')
    return difference


difference = max(compare('text'), compare('ragged'), compare('images'))
hash_whole = dltest.weights_hash('images_cuda')

# Stopped in the second epoch and gone on with: the same bits as in one go.
dltest.run('train', 'images.yaml', 'backend=cuda', 'run.dir=parts', 'train.max_steps=7')
dltest.run('train', 'images.yaml', 'backend=cuda', 'run.dir=parts', fresh=False)
if dltest.weights_hash('parts') != hash_whole:
    dltest.fail('a run in two parts has other weights')

# One operation after the other in place of a CUDA graph.
for run, word, said in (('eager', '0', False), ('graphs', '1', True)):
    done = dltest.run('train', 'images.yaml', 'backend=cuda', f'run.dir={run}', DLTRAIN_CUDA_GRAPH=word,
                      DLTRAIN_LOG='debug')
    if ('a training program of' in done.stderr and 'is a CUDA graph' in done.stderr) != said:
        dltest.fail(f'DLTRAIN_CUDA_GRAPH={word}: {done.stderr}')
    if dltest.weights_hash(run) != hash_whole:
        dltest.fail('steps as CUDA graphs have other weights')

# The host is some steps behind the device. What comes amid them is as on a device that does one after the other:
# checkpoints, a step that is skipped and those behind it that were given as if it were not, a scale that overflows.
dltest.run('train', 'images.yaml', 'backend=cuda', 'run.dir=saved', 'checkpoint.every_steps=4', 'checkpoint.keep=9',
           'checkpoint.every_epochs=0')
for step in ('00000004', '00000010'):  # at 8 the thread that saves may be at work still
    dltest.run('ckpt', 'verify', f'saved/checkpoints/step-{step}')
dltest.run('train', 'images.yaml', 'backend=cuda', 'run.dir=from_4', '--resume', 'saved/checkpoints/step-00000004',
           fresh=False)
if not dltest.weights_hash('saved') == dltest.weights_hash('from_4') == hash_whole:
    dltest.fail('runs with checkpoints have other weights')


def skips(name, *words):
    """Steps skipped on ref and on the GPU: the same lines; when the host sees every step first (as --profile needs
    it) the same bits."""
    found = []
    for folder, more in ((f'{name}_ref', ['backend=ref']), (f'{name}_cuda', ['backend=cuda']),
                         (f'{name}_seen', ['backend=cuda', '--profile'])):
        dltest.run('train', 'images.yaml', f'run.dir={folder}', *words, *more, DLTRAIN_INJECT='1')
        keys = ('kind', 'step', 'samples', 'learning_rate', 'loss_scale', 'skipped', 'in_row', 'where')
        found.append([{k: m[k] for k in keys if k in m}
                      for kind in ('skip', 'step') for m in dltest.metrics(folder, kind)])
    if found[0] != found[1] or not any(m.get('skipped') or m['kind'] == 'skip' for m in found[0]):
        dltest.fail(f'{name}: lines {found[1]} instead of {found[0]}')
    if dltest.weights_hash(f'{name}_cuda') != dltest.weights_hash(f'{name}_seen'):
        dltest.fail(f'{name}: other weights than when the host sees every step first')


skips('nan', 'train.on_nan=skip', 'train.schedule={cosine: {}}', 'train.optimizer={adam: {learning_rate: 0.01}}',
      '--inject', 'nan@rank=0,step=3', '--inject', 'nan@rank=0,step=4', '--inject', 'nan@rank=0,step=8')
skips('overflow', 'precision=float16', 'train.loss_scale=1e30', 'train.max_steps=4')

# What a checkpoint holds does not depend on where it was made: ref goes on with it.
dltest.run('train', 'images.yaml', 'backend=cuda', 'run.dir=moved', 'train.max_steps=7')
dltest.run('train', 'images.yaml', 'backend=ref', 'run.dir=moved', fresh=False)
moved = dltest.max_difference(dltest.weights('images_ref'), dltest.weights('moved'))
if moved > 2e-5:
    dltest.fail(f'a run that went on elsewhere differs by {moved}')

figures = [json.loads(dltest.run('eval', 'images_cuda', f'backend={b}', '--json').stdout) for b in ('cuda', 'ref')]
if abs(figures[0]['test_loss'] - figures[1]['test_loss']) > 1e-6:
    dltest.fail(f'evaluations differ: {figures}')

# `auto` needs a driver; the emulator is none.
done = dltest.run('train', 'images.yaml', 'run.dir=auto', 'train.max_steps=1')
if subprocess.run(['sh', '-c', 'ldconfig -p | grep -c libcuda.so.1'], stdout=subprocess.DEVNULL).returncode != 0 and \
        'cpu (oneDNN' not in done.stdout:
    dltest.fail('auto took a GPU without a driver')

print(f'weights differ from ref by {difference:.1e}; in two parts the same bits')
