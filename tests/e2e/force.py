#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""What has changed when a run is to go on: all of it is named as it was and is, each key can be forced, several at a
time, and what cannot go on all the same leaves the run as it was."""
import os

import dltest

CONFIG = '''
data: {path: data}
model:
  input: {shape: [28, 28, 1]}
  layers: [flatten: {}, dense: {units: 16, activation: relu}, dense: {units: auto, activation: softmax}]
train: {batch_size: 64, max_steps: 40, ema_decay: 0.9}
'''
RUN = ['net.yaml', 'run.dir=run']
# what is given, what is said of it
CHANGES = (
    (['train.optimizer=sgd'], "another train.optimizer: 'adam', here it is 'sgd'. --force train.optimizer goes"),
    (['train.schedule=cosine', 'train.max_steps=20'],
     "another train.schedule: 'constant', here it is 'cosine'. --force train.schedule goes"),
    (['seed=2', 'data.valid=0.1'], "another seed: '1', here it is '2', another data.valid: '0', here it is '0.1'. "
     '--force seed --force data.valid goes'),
    (['seed=2', 'data.valid=0.1', '--force', 'seed'], "begun with another data.valid: '0', here it is '0.1'. --force"),
    (['model.layers.1.dense.units=17'], "another model.layers: '- dense: {units: 16, activation: relu}', here it is "
     "'- dense: {units: 17, activation: relu}'. --force model.layers goes"),
    (['data.mean=[0.5]'], "another data.mean: '[0]', here it is '[0.5]'"),
)
# forced, and yet the checkpoint does not fit
IMPOSSIBLE = (['precision=float16', '--force', 'precision'], ['train.ema_decay=0', '--force', 'train.ema_decay'],
              ['model.layers.1.dense.units=17', '--force', 'model.layers'],
              ['train.optimizer=sgd', '--force', 'train.optimizer'])


def bytes_of(folder):
    """Of all files but the lock, which says who had it last."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in set(names) - {'lock'}:
            with open(os.path.join(path, name), 'rb') as file:
                found[os.path.join(path, name)] = file.read()
    return found


def main():
    with open('net.yaml', 'w') as file:
        file.write(CONFIG)
    dltest.run('data', 'make', 'digits', '--out', 'data')
    dltest.run(*RUN, 'train.max_steps=20', fresh=False)  # finished, until it is to go on to step 40
    before = bytes_of('run')
    for words, said in CHANGES:
        done = dltest.run(*RUN, *words, code=2, fresh=False)
        if said not in done.stderr:
            dltest.fail(f'{words}: {done.stderr}')
    for words in IMPOSSIBLE:
        dltest.run(*RUN, *words, code=2, fresh=False)
    if bytes_of('run') != before:
        now = bytes_of('run')
        dltest.fail(f'a refused run changed {[n for n in set(before) | set(now) if before.get(n) != now.get(n)]}')
    done = dltest.run(*RUN, 'seed=2', 'data.valid=0.1', '--force', 'seed', '--force', 'data.valid', fresh=False)
    if 'resume  after step 20' not in done.stdout:
        dltest.fail(f'two forced changes: {done.stdout}')
    print(f'{len(CHANGES)} changes named, {len(IMPOSSIBLE)} that cannot go on left the run as it was')


main()
