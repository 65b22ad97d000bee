#!/usr/bin/env python3
# TEST tier=default timeout=60 needs=python,plain
"""The thread that saves beside training finds no room for a part: on rank 0, on rank 1 (tests/tools/signal_at.c). With
on_error: continue each failure is told once, by rank, path and cause, nothing of the save is left, and training ends
with the same weights; with stop it ends with 74. The same command goes on when there is room again. Files beyond the
limit of sizes are exit status 74 as well, and no signal's end. Parameters that are not finite are never kept. Where the
disk of one rank keeps other bytes than were written, that is told by rank, path and bytes, and nothing older goes."""
import os
import re
import resource

import dltest
import numpy
import rehearse

STEPS = 40
HUGE = """
data: {path: data/huge}
model: {input: {shape: [1]}, layers: [dense: {units: 1}]}
train: {loss: mae, batch_size: 8, epochs: 20, on_nan: skip, max_skips: 9, optimizer: {sgd: {learning_rate: 10000}}}
checkpoint: {every_minutes: 0, every_steps: 1}
"""
PRELOAD = os.path.join(dltest.BUILD, 'tests', 'tools', 'signal_at.so')
IN_PARTS = 'dltrain_checkpoint_format'
MESSAGE = r'the checkpoint of step (\d+) was not saved \(rank (\d)\): (.*part-0000\d\.h5: No space.*)'


def train(folder, limited, *more, code=0):
    """Two ranks; what they said. Rank `limited` has no room for parts (None: all have)."""
    room = {} if limited is None else {'LD_PRELOAD': PRELOAD, 'SIGNAL_AT': f'0:{limited}:{IN_PARTS}'}
    words = ['net.yaml', f'run.dir={folder}', f'train.max_steps={STEPS}', 'checkpoint.every_steps=10', *more]
    status, out = rehearse.Job(2, words, **room).finish()
    if status != code:
        dltest.fail(f'{folder}: exit status {status} instead of {code}\n{out}')
    return out


def check_continue(limited):
    folder = f'runs/continue-{limited}'
    out = train(folder, limited)
    told = re.findall(MESSAGE, out)
    steps = [int(step) for step, _, _ in told]
    again = [STEPS] if steps.count(STEPS) == 2 else []  # the last step is due, fails, and is tried once more at the end
    if not steps or steps != sorted(set(steps)) + again or steps[-1] != STEPS:
        dltest.fail(f'rank {limited} has no room: told of steps {steps}\n{out}')
    if any(int(rank) != limited or f'{folder}/checkpoints/step-' not in message for _, rank, message in told):
        dltest.fail(f'rank {limited} has no room: rank or path is wrong in {told}')
    if os.listdir(f'{folder}/checkpoints'):
        dltest.fail(f'rank {limited} has no room: left {os.listdir(f"{folder}/checkpoints")}')
    wrong = rehearse.difference(folder, 'runs/whole')
    if wrong:
        dltest.fail(f'rank {limited} has no room: {wrong}')
    return len(steps)


def check_stop(limited):
    folder = f'runs/stop-{limited}'
    out = train(folder, limited, 'checkpoint.on_error=stop', code=74)
    status = rehearse.status(folder)
    if len(re.findall(MESSAGE, out)) != 1 or (status['state'], status['exit']) != ('failed', 74):
        dltest.fail(f'rank {limited}, stop: {status}\n{out}')
    train(folder, None, 'checkpoint.on_error=stop')
    wrong = rehearse.difference(folder, 'runs/whole')
    if wrong or not rehearse.committed(folder):
        dltest.fail(f'rank {limited}, then with room: {wrong}')


def check_damaged(wrong):
    """Rank `wrong` finds at each save that is to replace an older one that the disk has not kept what it wrote."""
    folder = f'runs/damaged-{wrong}'
    words = ['net.yaml', f'run.dir={folder}', f'train.max_steps={STEPS}', 'checkpoint.every_steps=10',
             'checkpoint.keep=2', 'checkpoint.best=none']
    for step in (15, 25, 35):  # in which saves get on
        words += ['--inject', f'delay=0.3@rank=0,step={step}']
    code, out = rehearse.Job(2, words, LD_PRELOAD=PRELOAD, SIGNAL_AT=f'1000:{wrong}:{IN_PARTS}',
                             DLTRAIN_INJECT='1').finish()
    message = rf'checkpoints are kept \(rank {wrong}\): \S*/step-(\d+) is damaged: part-0000{wrong}\.h5: bytes 0-'
    steps = [int(step) for step in re.findall(message, out)]
    saved, there = [int(step) for step in re.findall(r'^saved .* step (\d+) ', out, re.M)], rehearse.committed(folder)
    if code != 0 or len(saved) < 3 or there != saved or steps != saved[2:]:
        dltest.fail(f'rank {wrong}, a disk that forgets: exit status {code}, told of {steps}, {there} are there\n{out}')


def check_done():
    """The run ends without a checkpoint of its last steps: it is finished all the same, and left alone."""
    train('runs/late', None, f'train.max_steps={STEPS // 2}')
    train('runs/late', 1)
    weights = open('runs/late/weights.h5', 'rb').read()
    if rehearse.committed('runs/late')[-1] != STEPS // 2:
        dltest.fail(f'the last steps were saved: {rehearse.committed("runs/late")}')
    if f'already finished at step {STEPS};' not in train('runs/late', None):
        dltest.fail('a finished run was trained again, for want of its last checkpoint')
    if open('runs/late/weights.h5', 'rb').read() != weights or rehearse.status('runs/late')['state'] != 'done':
        dltest.fail('a finished run was changed')


def check_weights():
    """Alone: MPI itself needs files of some size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 << 10, before[1]))
    done = dltest.run('net.yaml', 'run.dir=runs/weights', f'train.max_steps={STEPS}', code=74)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if not re.search(r'runs/weights/weights\.h5.*File too large', done.stderr):
        dltest.fail(f'weights.h5 beyond the limit: {done.stderr}')


def check_not_finite():
    """The first update leaves the range of floats, though loss and gradient are finite: it is due, and not kept. The
    thread that saves has time to say so."""
    x = numpy.full((24, 1), 1e36, 'f4')
    dltest.write_shards('data/huge', 'train', {'x': x, 'y': x})
    rehearse.write_config('huge.yaml', HUGE)
    done = dltest.run('huge.yaml', 'run.dir=runs/huge', '--inject', 'delay=1@rank=0,step=4', code=77,
                      DLTRAIN_INJECT='1')
    if 'step 1 was not saved (rank 0)' not in done.stderr or 'holds a NaN or an infinite value' not in done.stderr or \
            rehearse.committed('runs/huge'):
        dltest.fail(f'infinite parameters: {rehearse.committed("runs/huge")}, {done.stderr}')


def check_metrics():
    """Lines of steps find no room: training goes on, its weights are there, missing lines are not hidden."""
    words = ['net.yaml', 'run.dir=runs/lines', f'train.max_steps={STEPS}', 'checkpoint.every_steps=10']
    code, out = rehearse.Job(2, words, LD_PRELOAD=PRELOAD, SIGNAL_AT='0:0:"kind":"step"').finish()
    status = rehearse.status('runs/lines')
    if code != 74 or out.count('lines are kept in memory') != 1 or (status['state'], status['exit']) != ('failed', 74):
        dltest.fail(f'no room for lines: exit status {code}, {status}\n{out}')
    if rehearse.committed('runs/lines')[-1] != STEPS:
        dltest.fail(f'no room for lines: checkpoints {rehearse.committed("runs/lines")}')
    train('runs/lines', None)
    wrong = rehearse.difference('runs/lines', 'runs/whole')
    if wrong and 'metrics' not in str(wrong):
        dltest.fail(f'no room for lines, then with room: {wrong}')


def check_diverged():
    """A gradient is NaN while an earlier step is being saved: that step is kept."""
    words = ['net.yaml', 'run.dir=runs/nan', f'train.max_steps={STEPS}', 'checkpoint.every_steps=20']
    code, out = rehearse.Job(2, [*words, '--inject', 'nan@rank=0,step=21'], DLTRAIN_INJECT='1').finish()
    if code != 77 or rehearse.committed('runs/nan') != [20] or os.listdir('runs/nan/checkpoints') != ['step-00000020']:
        dltest.fail(f'a NaN amid a save: exit status {code}, {os.listdir("runs/nan/checkpoints")}\n{out}')


def main():
    rehearse.write_config()
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    train('runs/whole', None)
    n = sum(check_continue(limited) for limited in (0, 1))
    for limited in (0, 1):
        check_stop(limited)
        check_damaged(limited)
    check_done()
    check_weights()
    check_not_finite()
    check_metrics()
    check_diverged()
    print(f'{n} failed saves told, training went on; on_error: stop ends with 74')


main()
