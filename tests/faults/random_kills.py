#!/usr/bin/env python3
# TEST tier=default timeout=200 nightly=2400 needs=python,plain
"""kill -9 of a random rank or of mpirun, at a random time: at the start, while training, while a checkpoint is being
saved, while a run that was killed before is going on again. Each time all processes are gone within 3 s, every
committed checkpoint is whole, and the same command goes on at once from the newest of them, on a random number of
ranks, to weights, averages and metrics of a run that was never disturbed, byte for byte.

Each trial prints its seed; SEED=N TRIALS=1 repeats one (as far as times repeat). 25 trials, 300 by --nightly."""
import os
import random
import sys
import time

import dltest
import rehearse

STEPS = 1200
PHASES = ('start', 'training', 'saving', 'resume')
ATTEMPTS = 20  # a run may end before its time to die


class Pace:
    """How long things take here: to the first step, and all steps."""

    def __init__(self, start, training):
        self.start, self.training = start, training


def words(folder):
    return ['net.yaml', f'run.dir={folder}', f'train.max_steps={STEPS}', 'checkpoint.every_steps=10']


def finish(folder, ranks):
    """Trains to the end; the exit status and the output."""
    return rehearse.Job(ranks, words(folder)).finish()


def first_step(job, folder):
    """Waits for it; seconds since the job's start, or None when the job is over."""
    while not job.is_over() and rehearse.steps_told(folder) == 0:
        time.sleep(0.005)
    return None if job.is_over() else time.monotonic() - job.began


def measure():
    """The run that is never disturbed, and its pace on three ranks."""
    code, out = finish('runs/whole', 1)
    if code != 0:
        dltest.fail(f'the undisturbed run: exit status {code}\n{out}')
    job = rehearse.Job(3, words('runs/pace'))
    start = first_step(job, 'runs/pace')
    code, out = job.finish()
    if code != 0 or start is None:
        dltest.fail(f'three ranks: exit status {code}\n{out}')
    return Pace(start, time.monotonic() - job.began - start)


def wait_for_phase(job, folder, phase, pace, draw):
    """Waits for the moment of the kill."""
    if phase in ('start', 'resume'):
        time.sleep(draw.uniform(0, pace.start * (1.0 if phase == 'start' else 1.3)))
        return
    if first_step(job, folder) is None:
        return
    time.sleep(draw.uniform(0, pace.training * (1.0 if phase == 'training' else 0.8)))
    while phase == 'saving' and not job.is_over() and not rehearse.unfinished(folder):
        pass
    if phase == 'saving':
        time.sleep(draw.uniform(0, 0.004))


def kill_once(folder, phase, pace, draw):
    """Starts the job and kills it: what happened, or None when it was over before."""
    ranks = draw.choice((2, 3, 4))
    victim = draw.randrange(rehearse.MPIRUN, ranks)
    told = rehearse.steps_told(folder)
    job = rehearse.Job(ranks, words(folder))
    wait_for_phase(job, folder, phase, pace, draw)
    after = time.monotonic() - job.began
    if not job.kill(victim):
        return None
    begun = rehearse.steps_told(folder) > told
    gone, stuck = job.gone()
    if job.process.returncode == 0:
        return None
    return {'phase': phase, 'ranks': ranks, 'victim': 'mpirun' if victim == rehearse.MPIRUN else victim,
            'after': round(after, 3), 'gone': None if gone is None else round(gone, 2), 'mpirun_stuck': stuck,
            'orphan': gone is None or gone > rehearse.GONE_SECONDS or (stuck and begun)}


def disturb(folder, phase, pace, draw):
    """One kill, or one amid training and another while that is going on again."""
    for attempt in range(ATTEMPTS):
        place = f'{folder}-{attempt}'
        if phase == 'resume' and kill_once(place, 'training', pace, draw) is None:
            continue
        trial = kill_once(place, phase, pace, draw)
        if trial is not None:
            return place, trial
    dltest.fail(f'{folder}: in {ATTEMPTS} attempts the job was never alive when it was to be killed')


def judge_resumed(place, newest, code, out):
    """What is wrong with the run that went on; None: nothing."""
    told = dltest.metrics(place, 'resume')
    started = told[-1]['step'] if told else 0
    if code != 0:
        return f'going on: exit status {code}: {out[-1500:]}'
    if started != newest and 'already finished' not in out:
        return f'went on from step {started}, {newest} was committed'
    if 'was not saved' in out or rehearse.unfinished(place):
        return f'a later save failed, or left {rehearse.unfinished(place)}: {out[-1500:]}'
    return rehearse.difference(place, 'runs/whole')


def trial(seed, pace, results):
    draw = random.Random(seed)
    phase = PHASES[seed % len(PHASES)]
    place, told = disturb(f'runs/{seed}', phase, pace, draw)
    steps = rehearse.committed(place)
    newest, cut = steps[-1] if steps else 0, bool(rehearse.unfinished(place))
    n_damaged = rehearse.damaged(place)
    ranks = draw.choice((1, 2, 3, 4, 8))
    code, out = finish(place, ranks)
    n_damaged += rehearse.damaged(place)
    wrong = judge_resumed(place, newest, code, out)
    results.add(test='random_kills', seed=seed, **told, committed=newest, save_cut=cut, ranks_after=ranks,
                corrupt=n_damaged, lost=wrong is not None)
    if told['orphan'] or n_damaged or wrong:
        print(f'seed {seed}: {"processes outlived the job; " if told["orphan"] else ""}'
              f'{f"{n_damaged} damaged checkpoints; " if n_damaged else ""}{wrong or ""}', file=sys.stderr)
        os.rename(place, place + '-failed')


def main():
    rehearse.write_config()
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    pace = measure()
    first, n = rehearse.settings(25, 300)
    results = rehearse.Results('random_kills')
    for seed in range(first, first + n):
        trial(seed, pace, results)
    bad = {key: results.count(key) for key in ('orphan', 'corrupt', 'lost')}
    if any(bad.values()):
        dltest.fail(f'{n} trials from seed {first} on: {bad}')
    slowest = max(t['gone'] for t in results.trials)
    print(f'{n} kills from seed {first} on, {results.count("save_cut")} of them amid a save: all ranks gone after '
          f'{slowest:.1f} s at most (mpirun stuck {results.count("mpirun_stuck")} times), nothing lost')


main()
