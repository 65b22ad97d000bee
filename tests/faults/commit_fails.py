#!/usr/bin/env python3
# TEST tier=default timeout=60 slots=1 needs=python,plain
"""The manifest of a checkpoint finds no room (tests/tools/signal_at.c) while the host is steps ahead of an emulated
GPU: words of the phase before come in behind its end, and do not pass for the end of the commit. The failure is told,
nothing of the save is left; with on_error: stop training ends with 74."""
import os
import re

import dltest
import rehearse

dltest.use_emulated_gpu()
NET = '''
data: {path: data/text}
model:
  input: {shape: [12], dtype: tokens}
  layers: [embedding: {input_dim: auto, output_dim: 8}, flatten: {}, dense: {units: auto, activation: softmax}]
train: {epochs: 1, batch_size: 16, optimizer: {adam: {}}}
checkpoint: {every_minutes: 0, every_epochs: 0}
'''
PRELOAD = os.path.join(dltest.BUILD, 'tests', 'tools', 'signal_at.so')


def train(folder, *more):
    words = ['net.yaml', f'run.dir={folder}', 'train.max_steps=40', 'checkpoint.every_steps=10', 'backend=cuda', *more]
    return rehearse.Job(1, words, LD_PRELOAD=PRELOAD, SIGNAL_AT='0:0:{"format":1').finish()


def main():
    rehearse.write_config(text=NET)
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    code, out = train('runs/continue')
    told = re.findall(r'the checkpoint of step (\d+) was not saved \(rank 0\): .*No space', out)
    if code != 0 or not told or 'saved   checkpoint' in out or os.listdir('runs/continue/checkpoints'):
        dltest.fail(f'exit status {code}, told of {told}, left {os.listdir("runs/continue/checkpoints")}\n{out}')
    code, out = train('runs/stop', 'checkpoint.on_error=stop')
    if code != 74 or rehearse.committed('runs/stop'):
        dltest.fail(f'on_error: stop: exit status {code}\n{out}')
    print(f'{len(told)} failed commits told')


main()
