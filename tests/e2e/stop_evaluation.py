#!/usr/bin/env python3
# TEST tier=default timeout=200 needs=python
"""A signal amid an evaluation ends it on all ranks: the run is saved as it stood at the epoch's end, exit status 85,
and the same command evaluates anew and goes on to the weights, figures and audit of a run that was never stopped. The
same holds for the evaluation at the very end of training, when there is nothing left to save."""
import collections
import glob
import json
import signal
import time

import numpy as np

import dltest
import rehearse

MODEL = rehearse.IMAGES % (4000, '''
train: {epochs: 2, batch_size: 40, ema_decay: 0.9, optimizer: {sgd: {learning_rate: 0.01}}}
run: {log_every: 1, audit: true}
checkpoint: {every_minutes: 0, keep: 1}
''')
STEPS_PER_EPOCH, N_EVALUATED = 10, 10000


def write_data():
    random = np.random.default_rng(1)
    for split, n in (('train', 40 * STEPS_PER_EPOCH), ('valid', N_EVALUATED), ('test', N_EVALUATED)):
        x = random.integers(0, 256, (n, 28, 28, 1)).astype(np.uint8)
        dltest.write_shards('data', split, {'x': x, 'y': random.integers(0, 10, n).astype(np.int32)})


def train(folder, ranks):
    return rehearse.Job(ranks, ['net.yaml', f'run.dir={folder}'])


def epochs_told(folder):
    try:
        return rehearse.content(f'{folder}/metrics.jsonl').count(b'"kind":"epoch"')
    except FileNotFoundError:
        return 0


def stop(folder, ranks, steps, epochs):
    """SIGTERM to the last rank, in the evaluation behind so many steps and lines of epochs."""
    job = train(folder, ranks)
    rehearse.wait_until('an evaluation', lambda: job.is_over() or (
        rehearse.steps_told(folder), epochs_told(folder)) == (steps, epochs), seconds=60)
    time.sleep(0.05)
    job.kill(ranks - 1, signal.SIGTERM)
    code, out = job.finish()
    now = rehearse.status(folder)
    if (code, now['state'], now['exit'], now['step']) != (85, 'stopped', 85, steps):
        dltest.fail(f'{folder}: exit status {code}, {now}\n{out}')
    if epochs_told(folder) != epochs or dltest.metrics(folder, 'end') or rehearse.committed(folder)[-1] != steps:
        dltest.fail(f'{folder}: {epochs_told(folder)} epochs evaluated, saved {rehearse.committed(folder)}\n{out}')


def check_audit(folder):
    """Every sample was evaluated once in each epoch."""
    seen = collections.Counter()
    for name in glob.glob(f'{folder}/audit.rank*.jsonl'):
        with open(name) as f:
            for line in map(json.loads, f):
                if line['split'] == 'valid':
                    seen.update((line['epoch'], i) for i in line['ids'])
    if len(seen) != 2 * N_EVALUATED or set(seen.values()) != {1}:
        dltest.fail(f'{folder}: {len(seen)} samples evaluated, {collections.Counter(seen.values())} times')


def main():
    rehearse.write_config(text=MODEL)
    write_data()
    for ranks in (1, 2):
        whole, folder = f'runs/whole-{ranks}', f'runs/{ranks}'
        train(whole, ranks).finish()
        stop(folder, ranks, STEPS_PER_EPOCH, 0)
        if ranks == 2:
            stop(folder, ranks, 2 * STEPS_PER_EPOCH, 1)
            stop(folder, ranks, 2 * STEPS_PER_EPOCH, 2)
        code, out = train(folder, ranks).finish()
        wrong = rehearse.difference(folder, whole)
        if code != 0 or wrong or rehearse.status(folder)['state'] != 'done':
            dltest.fail(f'{folder}: exit status {code}, {wrong}\n{out}')
        check_audit(folder)
        best = dltest.metrics(folder, 'end')[0]['best_epoch']
        if best != 1 or rehearse.committed(folder) != [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH]:
            dltest.fail(f'the best epoch was {best}, checkpoints are {rehearse.committed(folder)}')
    print('4 evaluations stopped; nothing lost, nothing evaluated twice')


main()
