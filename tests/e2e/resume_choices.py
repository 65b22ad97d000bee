#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""The layouts and algorithms that a run has measured go into its checkpoints: a run that goes on does not measure
again, though nothing is kept elsewhere (another host, a cache that was emptied); under other conditions it does."""
import glob
import json

import dltest

NET = '''
name: net
data: {path: data/shapes, make: shapes}
model:
  input: {shape: [32, 32, 3]}
  layers:
    - conv2d: {filters: 16, kernel_size: 3, padding: same, activation: relu}
    - max_pooling2d: {pool_size: 2}
    - conv2d: {filters: 16, kernel_size: 3, padding: same, activation: relu}
    - flatten: {}
    - dense: {units: auto, activation: softmax}
train: {epochs: 1, batch_size: 32, optimizer: {sgd: {learning_rate: 0.01}}}
'''
with open('net.yaml', 'w') as f:
    f.write(NET)
SAID = 'layouts and algorithms as in the checkpoint'


def train(folder, cache, *words, threads='1'):
    """Did it take the checkpoint's?"""
    done = dltest.run('net.yaml', f'run.dir={folder}', *words, fresh=False, DLTRAIN_THREADS=threads,
                      DLTRAIN_LOG='debug', XDG_CACHE_HOME=cache)
    return SAID in done.stderr


if train('run', '/dev/null', 'train.max_steps=4'):
    dltest.fail('a new run has choices')
with open(glob.glob('run/checkpoints/step-*4/manifest.json')[0]) as f:
    text = json.load(f)['state']['choices']
if len(text.split()) != 2:
    dltest.fail(f'choices: {text}')
if not train('run', '/dev/null', 'train.max_steps=8'):
    dltest.fail('choices were measured again')
if train('run', '/dev/null', 'train.max_steps=12', threads='2'):
    dltest.fail('choices of one thread were taken for two')
print(f'{len(text)} bytes of choices, taken where the conditions are the same')
