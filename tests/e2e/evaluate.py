#!/usr/bin/env python3
# TEST tier=quick timeout=120 needs=python
"""`dltrain eval RUN` repeats the run's test loss to 1e-6 and its accuracy exactly at np 1, 2, 3."""
import json

import dltest


def main():
    words = [f'data.path={dltest.small_digits()}', 'train.epochs=2', 'train.batch_size=96', 'run.dir=runs/a']
    dltest.run(dltest.MNIST_CNN, *words, ranks=2)
    end = dltest.metrics('runs/a', 'end')[0]
    worst = 0
    for ranks in (0, 1, 2, 3):
        found = json.loads(dltest.run('eval', 'runs/a', '--json', ranks=ranks).stdout.strip().split('\n')[-1])
        worst = max(worst, abs(found['test_loss'] - end['test_loss']))
        if found['test_accuracy'] != end['test_accuracy'] or worst > 1e-6:
            dltest.fail(f'np {ranks}: eval says {found}, the run ended with {end}')
    print(f'largest difference of the loss {worst:.1e}')


main()
