#!/usr/bin/env python3
# TEST tier=default timeout=150 nightly=1500 slots=1 needs=python,plain
"""SIGUSR1 to a random rank at any of 40 steps, on P ranks, then the same command on P': all ranks stop at the same step
with a checkpoint and exit status 85, and the run that goes on, from that checkpoint or from one that was saved while
the optimizer ran, ends with the bytes of a run that was never stopped. A run with another seed does not. Snapshots
that take longer than an update hold the numbers of one step.

The signal comes when the rank has written the step's line of the audit (tests/tools/signal_at.c). Every pair of
{1,2,3,4,8} occurs in 25 trials, every step in 40. 16 trials, 200 by --nightly; SEED=N TRIALS=1 repeats one."""
import json
import os
import sys

import dltest
import rehearse

STOPS = 40
STEPS = 46
EPOCH_STEPS = 12
RANKS = (1, 2, 3, 4, 8)
PAIRS = [(a, b) for a in RANKS for b in RANKS]
SIGUSR1 = 10
PRELOAD = os.path.join(dltest.BUILD, 'tests', 'tools', 'signal_at.so')
# 31 MB of state, nearly all of rows that no step reads but each update decays: it begins before a copy would end.
# Not reproducible: sums in pieces would take longer than the copy.
WIDE = '''
data: {path: data/text, stride: 200}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: 60000, output_dim: 32}
    - flatten: {}
    - dense: {units: auto, activation: softmax}
train: {epochs: 4, batch_size: 2, optimizer: {adam: {weight_decay: 0.01}}, ema_decay: 0.9, max_steps: 501}
checkpoint: {every_steps: 100, every_epochs: 0, every_minutes: 0, keep: 60}
'''


def words(folder, *more):
    """An epoch has 12 steps: stops fall within epochs, at their ends, and amid the evaluations behind them."""
    return ['net.yaml', f'run.dir={folder}', 'train.batch_size=384', f'train.max_steps={STEPS}',
            'checkpoint.every_steps=2', 'checkpoint.keep=3', 'run.audit=true', *more]


def draw(seed):
    """(step, ranks before, ranks after, rank that gets the signal, from an older checkpoint?) of a trial: both strides
    are prime to what they walk through, so 40 seeds in a row have every step and 25 every pair."""
    step = 1 + seed * 7 % STOPS
    before, after = PAIRS[seed * 8 % len(PAIRS)]
    return step, before, after, seed * 5 % before, seed // 3 % 2 == 1


def last_step(step):
    """Of a run that gets the signal after `step`: the next one, or this, where an evaluation comes between."""
    return step if step % EPOCH_STEPS == 0 else step + 1


def stop(folder, step, ranks, victim):
    """Stops a run by a signal after `step`; what is wrong, None: nothing."""
    at = f'{SIGUSR1}:{victim}:"step":{step},"ids"'
    code, out = rehearse.Job(ranks, words(folder), LD_PRELOAD=PRELOAD, SIGNAL_AT=at).finish()
    status = rehearse.status(folder)
    saved = rehearse.committed(folder)
    if code != 85 or (status['state'], status['exit'], status['step']) != ('stopped', 85, last_step(step)):
        return f'exit status {code}, status.json {status}: {out[-1500:]}'
    if not saved or saved[-1] != last_step(step) or rehearse.unfinished(folder):
        return f'the checkpoints are of steps {saved}, left: {rehearse.unfinished(folder)}'
    return None


def go_on(folder, ranks, older):
    """Goes on from the checkpoint of the stop, or the one before it; what is wrong, None: nothing."""
    saved = rehearse.committed(folder)
    older = older and len(saved) > 1
    code, out = rehearse.Job(ranks, words(folder) + (['--resume', saved[-2]] if older else [])).finish()
    if code != 0:
        return f'exit status {code}: {out[-1500:]}'
    told = dltest.metrics(folder, 'resume')
    if [t['step'] for t in told] != [saved[-2 if older else -1]]:
        return f'went on from {told} of {saved}'
    return rehearse.difference(folder, 'runs/whole')


def trial(seed, results):
    step, before, after, victim, older = draw(seed)
    folder = f'runs/{seed}'
    wrong = stop(folder, step, before, victim)
    n_damaged = rehearse.damaged(folder)
    wrong = wrong or go_on(folder, after, older)
    results.add(test='stop_anywhere', seed=seed, step=last_step(step), ranks=before, victim=victim, ranks_after=after,
                older=older, corrupt=n_damaged, lost=wrong is not None, orphan=False)
    if wrong or n_damaged:
        print(f'seed {seed}: {n_damaged} damaged checkpoints; {wrong}', file=sys.stderr)


def train_whole(folder, *more):
    code, out = rehearse.Job(1, words(folder, *more)).finish()
    if code != 0:
        dltest.fail(f'{folder}: exit status {code}: {out}')


def check_control(seed):
    """What is compared does tell two runs apart."""
    step, before, after, victim, _ = draw(seed)
    train_whole('runs/other', 'seed=2')
    if rehearse.difference('runs/other', 'runs/whole') is None:
        dltest.fail('a run with another seed has the same bytes')
    if rehearse.content('runs/other/weights.h5') == rehearse.content('runs/whole/weights.h5'):
        dltest.fail('another seed, the same weights')


def check_snapshots():
    """Checkpoints that were begun amid training are those of the same step of the same run at another pace."""
    rehearse.write_config('wide.yaml', WIDE)
    for turn in (1, 2):
        code, out = rehearse.Job(1, ['wide.yaml', f'run.dir=runs/wide-{turn}']).finish()
        if code != 0:
            dltest.fail(f'wide: exit status {code}: {out}')
    steps = [s for s in rehearse.committed('runs/wide-1') if s < 501 and s in rehearse.committed('runs/wide-2')]
    for step in steps:
        pair = [f'runs/wide-{turn}/checkpoints/step-{step:08d}' for turn in (1, 2)]
        told = json.loads(dltest.run('ckpt', 'diff', *pair, '--json', code=None).stdout)
        if not told['equal']:
            dltest.fail(f'the checkpoints of step {step} differ: {told}')
    if not steps:
        dltest.fail('the two runs have saved no step in common')
    return len(steps)


def main():
    rehearse.write_config()
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    train_whole('runs/whole')
    first, n = rehearse.settings(16, 200)
    results = rehearse.Results('stop_anywhere')
    for seed in range(first, first + n):
        trial(seed, results)
    bad = {key: results.count(key) for key in ('corrupt', 'lost')}
    if any(bad.values()):
        dltest.fail(f'{n} trials from seed {first} on: {bad}')
    check_control(first)
    n_snapshots = check_snapshots()
    print(f'{n} stops from seed {first} on, {results.count("older")} resumed from a checkpoint saved while the '
          f'optimizer ran: the same bytes; {n_snapshots} snapshots of single steps')


main()
