#!/usr/bin/env python3
# TEST tier=quick timeout=120 slots=1 needs=python
"""`dltrain eval RUN` repeats the run's test loss to 1e-6 and its accuracy exactly at np 1, 2, 3.
Dropout does nothing in an evaluation: a network without it has the same numbers with the same weights. Figures that are
no numbers are null in JSON; what a run advises to try next works, also without a test split."""
import glob
import json
import os
import shutil

import dltest
import h5py
import numpy


def evaluated(*words, ranks=0):
    return json.loads(dltest.run('eval', *words, '--json', ranks=ranks).stdout.strip().split('\n')[-1])


def check_dropout(data):
    """The MNIST CNN with 90 % dropout before its last layer, and without."""
    at = '    - dense: {units: auto'
    text = open(dltest.MNIST_CNN).read()
    with open('dropout.yaml', 'w') as f:
        f.write(text.replace(at, '    - dropout: {rate: 0.9}\n' + at))
    dltest.run('dropout.yaml', f'data.path={data}', 'train.max_steps=12', 'run.dir=runs/with')
    dltest.run(dltest.MNIST_CNN, f'data.path={data}', 'train.max_steps=1', 'run.dir=runs/without')
    end = dltest.metrics('runs/with', 'end')[0]
    found = evaluated('runs/without', '--weights', 'runs/with/weights.h5')
    if abs(found['test_loss'] - end['test_loss']) > 1e-6 or found['test_accuracy'] != end['test_accuracy']:
        dltest.fail(f'without dropout {found}, with it {end}')


def check_no_numbers():
    shutil.copytree('runs/without', 'runs/nan')
    with h5py.File('runs/nan/weights.h5', 'r+') as f:
        f['dense_1/bias'][...] = numpy.nan
    found = evaluated('runs/nan')  # json takes NaN, but not -nan
    if found['test_loss'] is not None or found['test_accuracy'] != 0:
        dltest.fail(f'weights that are no numbers: {found}')
    if ' loss nan ' not in dltest.run('eval', 'runs/nan').stdout:
        dltest.fail('the loss is not nan')


def check_advice(data):
    """A data set without a test split, and one without any other than train."""
    os.mkdir('alone')
    for name in glob.glob(f'{data}/train-*.h5'):
        shutil.copy(name, 'alone')
    for valid, advice in ((0.2, 'eval runs/valid --split valid'), (0, None)):
        done = dltest.run(dltest.MNIST_CNN, 'data.path=alone', f'data.valid={valid}', 'train.max_steps=1',
                          f'run.dir=runs/{"valid" if valid else "train"}')
        found = [line.split('dltrain ')[1] for line in done.stdout.split('\n') if line.startswith('next:')]
        if found != ([advice] if advice else []):
            dltest.fail(f'advice {found} instead of {advice}')
    dltest.run(*'eval runs/valid --split valid'.split())
    if "no split 'test'; it has valid: --split valid" not in dltest.run('eval', 'runs/valid', code=2).stderr:
        dltest.fail('a split that is not there')
    done = dltest.run('eval', 'runs/valid', '--weights', 'none.h5', code=2)
    if 'there is no none.h5' not in done.stderr or 'epoch' in done.stderr:
        dltest.fail(f'weights that are not there: {done.stderr}')


def main():
    data = dltest.small_digits()
    check_dropout(data)
    check_no_numbers()
    check_advice(data)
    words = [f'data.path={data}', 'train.epochs=2', 'train.batch_size=96', 'run.dir=runs/a']
    dltest.run(dltest.MNIST_CNN, *words, ranks=2)
    end = dltest.metrics('runs/a', 'end')[0]
    worst = 0
    for ranks in (0, 1, 2, 3):
        found = evaluated('runs/a', ranks=ranks)
        worst = max(worst, abs(found['test_loss'] - end['test_loss']))
        if found['test_accuracy'] != end['test_accuracy'] or worst > 1e-6:
            dltest.fail(f'np {ranks}: eval says {found}, the run ended with {end}')
    print(f'largest difference of the loss {worst:.1e}')


main()
