#!/usr/bin/env python3
# TEST tier=default timeout=400 slots=1 needs=python
"""Resuming is the default: the same command goes on from the newest checkpoint, mid-epoch, on another number of ranks,
and ends with the weights, averages and metrics of a run that was never stopped: byte for byte with reproducible: true,
and on the same number of ranks without. What has changed in configuration or data is named; damaged checkpoints are
passed over; a finished run is left alone; SIGTERM ends with a checkpoint and exit status 85."""
import glob
import os
import signal
import subprocess
import time

import dltest
import rehearse

MODEL = '''
data: {path: data/text, make: text}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 16}
    - lstm: {units: 24, return_sequences: true, stateful: true}
    - dropout: {rate: 0.2}
    - dense: {units: auto, activation: softmax}
train: {epochs: 2, batch_size: 24, ema_decay: 0.9, optimizer: {adam: {}}, schedule: {constant: {warmup_steps: 20}}}
run: {log_every: 1}
checkpoint: {every_steps: 10, every_minutes: 0}
'''


def train(folder, *words, ranks=0, code=0):
    return dltest.run('net.yaml', f'run.dir={folder}', *words, ranks=ranks, code=code, fresh=False,
                      DLTRAIN_THREADS='1')


def lines(folder):
    """What metrics.jsonl says of steps and epochs, but for times."""
    kept = []
    for kind in ('step', 'epoch', 'end'):
        for line in dltest.metrics(folder, kind):
            kept.append({k: v for k, v in line.items() if k not in rehearse.TIMES})
    return kept


def is_close(a, b):
    """Sums of losses over ranks have other last bits."""
    return a == b or (isinstance(a, float) and abs(a - b) <= 1e-12 * abs(b))


def compare(folder, whole, what):
    for name in ('weights.h5', 'ema.h5'):
        if rehearse.content(f'{folder}/{name}') != rehearse.content(f'{whole}/{name}'):
            dltest.fail(f'{what}: {name} is not that of the run that was never stopped')
    told, wanted = lines(folder), lines(whole)
    same = len(told) == len(wanted) and all(a.keys() == b.keys() and all(is_close(a[k], b[k]) for k in a)
                                            for a, b in zip(told, wanted))
    if not same:
        dltest.fail(f'{what}: metrics.jsonl tells something else')


def check_ranks():
    """Stopped after 37 steps (mid-epoch) and continued."""
    words = ['reproducible=true', 'train.max_steps=80']
    train('runs/whole', *words)
    for before, after in ((1, 3), (3, 2), (2, 8), (8, 1), (4, 4)):
        folder = f'runs/{before}-{after}'
        train(folder, 'reproducible=true', 'train.max_steps=37', ranks=before)
        train(folder, *words, ranks=after)
        told = dltest.metrics(folder, 'resume')
        if [t['step'] for t in told] != [37] or (told[0]['ranks_before'], told[0]['ranks']) != (before, after):
            dltest.fail(f'{folder}: {told}')
        compare(folder, 'runs/whole', f'{before} ranks, then {after}')
    train('runs/fast', 'train.max_steps=80', ranks=2)
    train('runs/fast-2', 'train.max_steps=33', ranks=2)
    train('runs/fast-2', 'train.max_steps=80', ranks=2)
    compare('runs/fast-2', 'runs/fast', 'two ranks, not reproducible')


def check_finished():
    before = {name: rehearse.content(name) for name in glob.glob('runs/whole/*') if os.path.isfile(name)}
    said = train('runs/whole', 'reproducible=true', 'train.max_steps=80').stdout
    after = {name: rehearse.content(name) for name in glob.glob('runs/whole/*') if os.path.isfile(name)}
    if not said.startswith('already finished at step 80') or before != after:
        dltest.fail(f'a finished run: {said}')
    train('runs/whole', 'reproducible=true', 'train.max_steps=5', '--fresh')
    if not os.path.exists('runs/whole.1/weights.h5') or dltest.metrics('runs/whole', 'end')[0]['step'] != 5:
        dltest.fail('--fresh does not begin anew, or does not keep the earlier run')


def check_changes():
    train('runs/changed', 'train.max_steps=15')
    for word, said in (('train.batch_size=12', 'train.batch_size'), ('seed=5', 'seed'),
                       ('train.optimizer={adam: {learning_rate: 0.5}}', 'train.optimizer.adam.learning_rate'),
                       ('model.layers.1.lstm.units=32', 'model.layers')):
        message = train('runs/changed', 'train.max_steps=30', word, code=2).stderr
        if f'another {said}' not in message or '--force' not in message:
            dltest.fail(f'{word}: {message}')
    train('runs/changed', 'train.max_steps=30', 'train.schedule.constant.warmup_steps=3', '--force', 'train.schedule',
          'checkpoint.keep=3', 'run.log_every=2', ranks=2)
    dltest.run('data', 'make', 'text', '--out', 'data/other', '--seed', '9')
    message = train('runs/changed', 'train.max_steps=40', 'data.path=data/other', '--force', 'train.schedule',
                    code=2).stderr
    if 'is not the one that the run was begun with' not in message:
        dltest.fail(f'other data: {message}')


def check_damage():
    train('runs/damaged', 'train.max_steps=25', 'checkpoint.keep=3')
    *_, older, newest = sorted(glob.glob('runs/damaged/checkpoints/step-*'))
    part = f'{newest}/part-00000.h5'
    whole = bytearray(rehearse.content(part))
    whole[len(whole) // 2] ^= 1
    with open(part, 'wb') as f:
        f.write(whole)
    message = train('runs/damaged', 'train.max_steps=30', '--strict', code=78).stderr
    if 'part-00000.h5' not in message:
        dltest.fail(f'--strict: {message}')
    done = train('runs/damaged', 'train.max_steps=30')
    if 'part-00000.h5' not in done.stderr or f'after step {int(older[-8:])}' not in done.stdout or \
            'set aside' not in done.stderr or os.path.exists(newest):
        dltest.fail(f'a damaged checkpoint: {done.stdout}{done.stderr}')
    message = train('runs/damaged', 'train.max_steps=40', '--resume', '7', code=2).stderr
    if 'step-00000007' not in message:
        dltest.fail(f'--resume 7: {message}')


def check_stop():
    """SIGTERM to one rank of two."""
    command = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', '2', dltest.DLTRAIN, 'net.yaml',
               'run.dir=runs/stopped', 'train.epochs=400', 'train.schedule=constant']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        while job.poll() is None and not glob.glob('runs/stopped/checkpoints/step-*/manifest.json'):
            time.sleep(0.02)
        found = subprocess.run(['pgrep', '-f', 'net.yaml run.dir=runs/stopped'], stdout=subprocess.PIPE, text=True,
                               check=True).stdout.split()
        ranks = [number for number in found if int(number) != job.pid]
        os.kill(int(ranks[-1]), signal.SIGTERM)
        out, err = job.communicate(timeout=60)
    status = rehearse.status('runs/stopped')
    newest = max(glob.glob('runs/stopped/checkpoints/step-*'))
    if job.returncode != 85 or (status['state'], status['exit']) != ('stopped', 85) or \
            int(newest[-8:]) != status['step']:
        dltest.fail(f'exit status {job.returncode}, {status}, newest {newest}\n{out[-800:]}{err[-800:]}')


def main():
    with open('net.yaml', 'w') as f:
        f.write(MODEL)
    check_ranks()
    check_finished()
    check_changes()
    check_damage()
    check_stop()
    print('6 resumptions byte-equal; 4 changes, other data and damage named; SIGTERM ends with 85')


main()
