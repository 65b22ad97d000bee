#!/usr/bin/env python3
# TEST tier=quick timeout=120 needs=python
"""`dltrain eval RUN` repeats the run's test loss to 1e-6 and its accuracy exactly at np 1, 2, 3.
Dropout does nothing in an evaluation: a network without it has the same numbers with the same weights."""
import json

import dltest


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


def main():
    data = dltest.small_digits()
    check_dropout(data)
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
