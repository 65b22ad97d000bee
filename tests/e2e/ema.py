#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""train.ema_decay: ema.h5 is the moving average of the weights after every step, as NumPy has it from runs of 1, 2, ...
steps; evaluations are of the averaged weights; the training itself is the same with and without, at np 1 and 2."""
import json

import dltest

DECAY, STEPS = 0.8, 6


def evaluated(*words):
    return json.loads(dltest.run('eval', *words, '--json').stdout.strip().split('\n')[-1])


def main():
    words = [dltest.MNIST_CNN, f'data.path={dltest.small_digits()}', 'train.schedule=constant',
             'train.optimizer={adam: {learning_rate: 0.01}}', 'reproducible=true']
    average = {}
    for step in range(1, STEPS + 1):
        dltest.run(*words, f'train.max_steps={step}', 'run.dir=runs/plain', DLTRAIN_THREADS='1')
        for path, w in dltest.weights('runs/plain').items():
            average[path] = w.astype('f8') if step == 1 else DECAY * average[path] + (1 - DECAY) * w
    worst, files = 0, []
    for ranks in (1, 2):
        folder = f'runs/ema-{ranks}'
        dltest.run(*words, f'train.max_steps={STEPS}', f'train.ema_decay={DECAY}', f'run.dir={folder}', ranks=ranks,
                   DLTRAIN_THREADS='1')
        if open(f'{folder}/weights.h5', 'rb').read() != open('runs/plain/weights.h5', 'rb').read():
            dltest.fail(f'np {ranks}: averaging changes the training')
        files.append(open(f'{folder}/ema.h5', 'rb').read())
        worst = max(worst, dltest.max_difference(average, dltest.weights(f'{folder}/ema.h5')))
        if worst > 1e-6:
            dltest.fail(f'np {ranks}: ema.h5 differs from NumPy by {worst}')
    if files[0] != files[1]:
        dltest.fail('ema.h5 at np 2 is not that at np 1')
    end = dltest.metrics('runs/ema-1', 'end')[0]
    plain = dltest.metrics('runs/plain', 'end')[0]
    for words, expected in ((['runs/ema-1'], end), (['runs/ema-1', '--weights', 'runs/ema-1/ema.h5'], end),
                            (['runs/ema-1', '--weights', 'runs/ema-1/weights.h5'], plain)):
        said = evaluated(*words)
        if abs(said['test_loss'] - expected['test_loss']) > 1e-6:
            dltest.fail(f'eval {words} says {said}, expected {expected}')
    if abs(end['test_loss'] - plain['test_loss']) < 1e-4:
        dltest.fail(f'the evaluation is of the trained weights: {end} and {plain}')
    print(f'largest difference from NumPy {worst:.1e}')


main()
