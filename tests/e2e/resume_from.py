#!/usr/bin/env python3
# TEST tier=default timeout=200 needs=python
"""--resume best goes on from the best epoch's checkpoint, which `keep` and `ckpt prune` leave alone while it is the
best, and which is saved amid other saves; without one it says why. --resume PATH of another run's checkpoint begins a
run of its own, which ends with the weights of the run that was never stopped, and leaves the other run alone."""
import glob
import os
import shutil

import dltest
import rehearse

MODEL = '''
data: {path: data/digits, valid: 0.2}
model:
  input: {shape: [28, 28, 1]}
  layers:
    - flatten: {}
    - dense: {units: 32, activation: relu}
    - dropout: {rate: 0.1}
    - dense: {units: 10, activation: softmax}
train: {epochs: 12, batch_size: 100, optimizer: {adam: {learning_rate: 0.02}}}
run: {log_every: 1}
checkpoint: {every_minutes: 0, keep: 1, best: valid_loss}
'''


def train(folder, *words, ranks=0, code=0):
    return dltest.run('net.yaml', f'run.dir={folder}', *words, ranks=ranks, code=code, fresh=False,
                      DLTRAIN_THREADS='1')


def steps(folder):
    return [int(name[-8:]) for name in sorted(glob.glob(f'{folder}/checkpoints/step-????????'))]


def best_of(folder):
    epochs = dltest.metrics(folder, 'epoch')
    return min(epochs, key=lambda e: e['valid_loss'])


def tree(folder):
    return {name: rehearse.content(name) for name in glob.glob(f'{folder}/**', recursive=True) if os.path.isfile(name)}


def check_pinned():
    """Every checkpoint of every step is saved, so that one is always under way when an epoch ends."""
    train('runs/a', 'checkpoint.every_steps=1', ranks=2)
    best = best_of('runs/a')
    last = dltest.metrics('runs/a', 'epoch')[-1]
    if best['epoch'] >= last['epoch']:
        dltest.fail(f'the last epoch is the best: this test needs another ({best})')
    if steps('runs/a') != [best['step'], last['step']]:
        dltest.fail(f'kept: {steps("runs/a")}; the best epoch ended at step {best["step"]}')
    dltest.run('ckpt', 'prune', 'runs/a', '--keep', '1')
    if steps('runs/a') != [best['step'], last['step']]:
        dltest.fail(f'ckpt prune left {steps("runs/a")}')
    return best, last


def check_best(best, last):
    shutil.copytree('runs/a', 'runs/b')
    said = train('runs/b', '--resume', 'best', ranks=2).stdout
    if f'after step {best["step"]} of' not in said:
        dltest.fail(f'--resume best: {said[:1500]}')
    again = dltest.metrics('runs/b', 'epoch')
    if [e['epoch'] for e in again] != list(range(1, last['epoch'] + 1)):
        dltest.fail('metrics.jsonl has a gap, or repeats')
    same = rehearse.content('runs/a/weights.h5') == rehearse.content('runs/b/weights.h5')
    if not same or best['step'] not in steps('runs/b'):
        dltest.fail(f'from the best on: other weights, or other checkpoints: {steps("runs/b")}')
    # Pinned from the start in a run that goes on, too.
    train('runs/c', 'train.max_steps=' + str(best['step'] + 3))
    train('runs/c', 'train.max_steps=' + str(best['step'] + 6))
    if best['step'] not in steps('runs/c') or len(steps('runs/c')) != 2:
        dltest.fail(f'kept over a resumption: {steps("runs/c")}')


def check_no_best():
    train('runs/d', 'train.max_steps=3')
    for folder, words in (('runs/d', []), ('runs/nothing', []), ('runs/d', ['checkpoint.best=""'])):
        message = train(folder, '--resume', 'best', *words, code=2).stderr
        if 'best epoch' not in message:
            dltest.fail(f'{folder}: {message}')


def check_path():
    before = tree('runs/a')
    start = sorted(glob.glob('runs/a/checkpoints/step-*'))[0]
    said = train('runs/e', '--resume', start).stdout
    step = int(start[-8:])
    if f'after step {step} of' not in said or start not in said:
        dltest.fail(f'--resume PATH: {said[:1500]}')
    if tree('runs/a') != before:
        dltest.fail('--resume PATH has changed the other run')
    told = dltest.metrics('runs/e', 'step')
    if [m['step'] for m in told] != list(range(step + 1, dltest.metrics('runs/a', 'end')[0]['step'] + 1)):
        dltest.fail('the new run does not go on behind that step')
    if dltest.max_difference(dltest.weights('runs/a'), dltest.weights('runs/e')) > 1e-4:
        dltest.fail('the new run ends with other weights')
    message = train('runs/f', '--resume', start, 'train.batch_size=50', code=2).stderr
    if 'another train.batch_size' not in message or os.path.exists('runs/f'):
        dltest.fail(f'another configuration: {message}')
    shutil.copytree(start, 'copy')
    message = train('runs/g', '--resume', 'copy').stderr
    if 'configuration' not in message or dltest.metrics('runs/g', 'resume')[0]['step'] != step:
        dltest.fail(f'a copy without its run: {message}')
    message = train('runs/h', '--resume', 'runs/a', code=2).stderr
    if 'runs/a' not in message:
        dltest.fail(f'no checkpoint: {message}')
    # In the run itself, by its path.
    train('runs/b', '--resume', sorted(glob.glob('runs/b/checkpoints/step-*'))[0])
    if rehearse.status('runs/b')['state'] != 'done' or os.path.exists('runs/b.1'):
        dltest.fail('the path of an own checkpoint')
    os.rename('runs/b/checkpoints', 'large-disk')
    os.symlink(os.path.abspath('large-disk'), 'runs/b/checkpoints')
    train('runs/b', '--resume', sorted(glob.glob('runs/b/checkpoints/step-*'))[0])
    if os.path.exists('runs/b.1'):
        dltest.fail('the path of an own checkpoint, behind a link')


def main():
    dltest.cut_digits('data/digits', train=1000, test=200)
    with open('net.yaml', 'w') as f:
        f.write(MODEL)
    best, last = check_pinned()
    check_best(best, last)
    check_no_best()
    check_path()
    print(f'the best epoch is {best["epoch"]} of {last["epoch"]}: kept, gone on from; a run begun from another')


main()
