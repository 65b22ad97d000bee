#!/usr/bin/env python3
# TEST tier=default timeout=120 slots=1 needs=python,plain
"""kill -9 just before, and just after, the first write of each kind that a run makes to its directory: status.json,
config.yaml, each kind of line of metrics.jsonl, weights, parts, manifest, the end; in a run that begins and in one that
goes on. The same command then works at once and ends like a run that was never disturbed, and says so."""
import os
import shutil

import dltest
import rehearse

SIGKILL = 9
PRELOAD = os.path.join(dltest.BUILD, 'tests', 'tools', 'signal_at.so')
# What the bytes of the write hold.
WRITES = ('"state":"running"', 'every_minutes', '"kind":"start"', '"kind":"step"', '"kind":"epoch"', 'HDF',
          '"tensors":[', '"kind":"end"', '"state":"done"')
ON_GOING_ON = ('"kind":"resume"',)
DIGITS = '''
model:
  input: {shape: [28, 28, 1]}
  layers:
    - flatten: {}
    - dense: {units: 16, activation: relu}
    - dense: {units: auto, activation: softmax}
train: {epochs: 2, batch_size: 256, ema_decay: 0.9, early_stopping: {monitor: valid_loss, patience: 5}}
run: {log_every: 1}
checkpoint: {every_minutes: 0, every_steps: 3, best: valid_loss}
reproducible: true
'''
# A run that ends amid an epoch, one that ends with one and has a test split.
RUNS = {'text': ['net.yaml', 'train.batch_size=384', 'train.max_steps=15', 'checkpoint.every_steps=4'],
        'digits': ['digits.yaml']}


def train(words, folder, code=0, **environment):
    return dltest.run(*words, f'run.dir={folder}', code=code, fresh=False, DLTRAIN_THREADS='1', **environment)


def check(name, folder, what):
    """After the kill the same command ends as if nothing had been."""
    out = train(RUNS[name], folder).stdout
    wrong = rehearse.difference(folder, f'runs/{name}')
    state = rehearse.status(folder)
    if wrong or state != rehearse.status(f'runs/{name}'):
        dltest.fail(f'{name}, killed {what}: {wrong}, status.json {state}\n{out[-800:]}')
    if out.strip().split('\n')[-1] != f'weights {dltest.weights_hash(f"runs/{name}")}':
        dltest.fail(f'{name}, killed {what}: the last line of output is not that of the weights\n{out[-800:]}')
    left = [name for name in os.listdir(folder) if '.tmp' in name]
    if left:
        dltest.fail(f'{name}, killed {what}: {left} stay')
    if rehearse.unfinished(folder) or rehearse.damaged(folder):
        dltest.fail(f'{name}, killed {what}: {rehearse.unfinished(folder)} is left, or a checkpoint is damaged')


def kill_at(name, text, number, earlier):
    """One kill; `earlier`: a run of some steps that goes on, or None."""
    what = f'{"before" if number < 0 else "after"} writing {text}{" while going on" if earlier else ""}'
    folder = 'runs/killed'
    shutil.rmtree(folder, ignore_errors=True)
    if earlier:
        shutil.copytree(earlier, folder)
    code = train(RUNS[name], folder, code=None, LD_PRELOAD=PRELOAD, SIGNAL_AT=f'{number}:0:{text}').returncode
    if code != -SIGKILL:
        dltest.fail(f'{name}: there was nothing to kill {what}: exit status {code}')
    check(name, folder, what)


def main():
    rehearse.write_config()
    rehearse.write_config('digits.yaml', f'data: {{path: {dltest.small_digits()}}}\n' + DIGITS)
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    n = 0
    for name, words in RUNS.items():
        train(words, f'runs/{name}')
        train(words + ['train.max_steps=6'], f'runs/{name}-6')
        for text in WRITES + ON_GOING_ON:
            for number in (-SIGKILL, SIGKILL):
                for earlier in (f'runs/{name}-6',) if text in ON_GOING_ON else (None, f'runs/{name}-6'):
                    kill_at(name, text, number, earlier)
                    n += 1
    print(f'{n} kills beside writes: the next start ends like an undisturbed run')


main()
