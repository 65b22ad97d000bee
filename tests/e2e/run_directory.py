#!/usr/bin/env python3
# TEST tier=quick timeout=120 needs=python
"""A run leaves what the contract says: metrics.jsonl, status.json, config.yaml, weights.h5, log.txt; the last line of
output is the weights' hash, which Python computes too; an earlier run is moved aside; the config given back repeats
the run."""
import json
import math
import os
import re
import subprocess

import dltest
from dltest import fail

TYPES = {
    'start': {'v': int, 't': float, 'version': str, 'ranks': int, 'threads': int, 'backend': str, 'parameters': int,
              'config_digest': str},
    'step': {'v': int, 't': float, 'epoch': int, 'step': int, 'samples': int, 'loss': float, 'accuracy': float,
             'lr': float, 'step_ms': float, 'samples_per_s': float, 'data_wait': float, 'seconds': float},
    'epoch': {'v': int, 't': float, 'epoch': int, 'step': int, 'samples': int, 'loss': float, 'accuracy': float,
              'valid_loss': float, 'valid_accuracy': float, 'samples_per_s': float, 'data_wait': float,
              'seconds': float},
    'end': {'v': int, 't': float, 'epoch': int, 'step': int, 'samples': int, 'test_loss': float,
            'test_accuracy': float, 'seconds': float, 'weights': str},
}


def check_metrics(folder, n_train, batch, epochs, log_every):
    """Every line has the contract's fields, and steps, samples and times are those of such a run."""
    lines = [json.loads(line) for line in open(os.path.join(folder, 'metrics.jsonl'))]
    for m in lines:
        for key, kind in TYPES[m['kind']].items():
            ok = isinstance(m.get(key), (int, float) if kind is float else kind) and not isinstance(m[key], bool)
            if not ok:
                fail(f'{m["kind"]} line: {key} is {m.get(key)!r}')
        if m['v'] != 1:
            fail('v is not 1')
    per_epoch = math.ceil(n_train / batch)
    kinds = [m['kind'] for m in lines]
    if kinds[0] != 'start' or kinds[-1] != 'end' or kinds.count('epoch') != epochs:
        fail(f'kinds of lines: {kinds}')
    steps = [m for m in lines if m['kind'] == 'step']
    if [m['step'] for m in steps] != [1] + list(range(log_every, epochs * per_epoch + 1, log_every)):
        fail(f'steps logged: {[m["step"] for m in steps]}')
    for m in steps:
        epoch = (m['step'] - 1) // per_epoch + 1
        samples = (epoch - 1) * n_train + min((m['step'] - (epoch - 1) * per_epoch) * batch, n_train)
        if (m['epoch'], m['samples']) != (epoch, samples):
            fail(f'step {m["step"]}: epoch {m["epoch"]}, samples {m["samples"]}, wanted {epoch}, {samples}')
    ends = [m for m in lines if m['kind'] in ('epoch', 'end')]
    if (ends[-1]['step'], ends[-1]['samples'], ends[-1]['epoch']) != (epochs * per_epoch, epochs * n_train, epochs):
        fail(f'end line: {ends[-1]}')
    seconds = [m['seconds'] for m in lines if 'seconds' in m]
    if seconds != sorted(seconds):
        fail(f'seconds go back: {seconds}')
    return lines


def check_advice(words):
    """The command that a run ends with works in a shell as it stands, whatever the folder is called."""
    said = dltest.run(*words, "run.dir=runs/it's a $HOME", 'train.max_steps=2').stdout
    command = re.search(r'^next: (dltrain eval .*)$', said, flags=re.M).group(1)
    shell = subprocess.run(['sh', '-c', command.replace('dltrain', dltest.DLTRAIN, 1)], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, check=False)
    if shell.returncode != 0 or 'loss' not in shell.stdout:
        fail(f'{command!r} in a shell: exit status {shell.returncode}, {shell.stderr}')


def main():
    data = dltest.small_digits()
    words = [dltest.MNIST_CNN, f'data.path={data}', 'data.valid=0.1', 'train.epochs=2', 'run.log_every=4']
    done = dltest.run('train', *words, 'run.dir=runs/a')
    lines = check_metrics('runs/a', 1800, 128, 2, 4)
    if lines[0]['ranks'] != 1 or lines[0]['parameters'] != 93322:
        fail(f'start line: {lines[0]}')
    printed = re.fullmatch(r'weights ([0-9a-f]{32})', done.stdout.rstrip('\n').split('\n')[-1])
    computed = dltest.weights_hash('runs/a')
    if not printed or printed.group(1) != computed or lines[-1]['weights'] != computed:
        fail(f'hash computed {computed}, printed {done.stdout[-60:]!r}, in metrics {lines[-1]["weights"]}')
    status = json.load(open('runs/a/status.json'))
    if (status['state'], status['exit'], status['step']) != ('done', 0, 30) or 'message' not in status:
        fail(f'status.json: {status}')
    for name in ('config.yaml', 'log.txt', 'weights.h5'):
        if not os.path.getsize(f'runs/a/{name}'):
            fail(f'{name} is empty')

    shapes = {path: w.shape for path, w in dltest.weights('runs/a').items()}
    if len(shapes) != 10 or not all(re.fullmatch(r'/\w+/(weight|bias)', path) for path in shapes):
        fail(f'tensors: {shapes}')
    if sorted(shapes.values()) != sorted([(32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (64, 64, 3, 3), (64,),
                                          (64, 576), (64,), (10, 64), (10,)]):
        fail(f'shapes: {shapes}')

    dltest.run('train', 'runs/a/config.yaml', 'run.dir=runs/b')
    if dltest.weights_hash('runs/b') != computed:
        fail('the resolved config makes other weights')
    again = dltest.run(*words, 'run.dir=runs/a', 'train.max_steps=3')
    if not os.path.exists('runs/a.1/weights.h5') or 'runs/a.1' not in again.stdout + again.stderr:
        fail('the earlier run was not moved to runs/a.1, or that was not said')
    if dltest.metrics('runs/a', 'end')[0]['step'] != 3:
        fail('max_steps=3 did not end at step 3')
    check_advice(words)
    print('10 tensors, hash', computed)


main()
