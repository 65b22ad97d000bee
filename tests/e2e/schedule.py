#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""The learning rate is a function of samples seen: every schedule with warm-up; some of them also at two ranks and with
accumulated batches."""
import math

import dltest

RATE, WARMUP, BATCH, STEPS = 0.02, 5, 50, 40
OPTIMIZER = 'train.optimizer={sgd: {learning_rate: %g}}' % RATE


def expected(kind, step):
    if step <= WARMUP:
        return RATE * step / WARMUP
    share, epochs = (step - WARMUP) / (STEPS - WARMUP), step / STEPS
    return RATE * {'constant': 1, 'cosine': 0.5 * (1 + math.cos(math.pi * share)), 'polynomial': (1 - share) ** 2,
                   'exponential': 0.5 ** max(0, epochs - 0.5),
                   'step': 0.5 ** ((epochs >= 0.25) + (epochs >= 0.6))}[kind]


def main():
    worst = 0
    for kind, options in (('constant', ''), ('cosine', ''), ('polynomial', ', power: 2'),
                          ('exponential', ', factor: 0.5, start: 0.5'), ('step', ', factor: 0.5, epochs: [0.25, 0.6]')):
        grids = ((0, []), (2, []), (0, ['train.accumulate=5']))
        for ranks, words in grids if kind in ('cosine', 'step') else grids[:1]:
            dltest.run(dltest.MNIST_CNN, f'data.path={dltest.small_digits()}', f'train.batch_size={BATCH}', OPTIMIZER,
                       'train.schedule={%s: {warmup_steps: %d%s}}' % (kind, WARMUP, options), 'train.epochs=1',
                       'run.log_every=1', f'run.dir=runs/{kind}', *words, ranks=ranks)
            rates = {m['step']: m['lr'] for m in dltest.metrics(f'runs/{kind}', 'step')}
            if sorted(rates) != list(range(1, STEPS + 1)):
                dltest.fail(f'steps logged: {sorted(rates)}')
            # Whether step 1 counts as 0 or 1 samples seen is the program's choice: one step either way.
            errors = [min(abs(rates[s] - expected(kind, s + d)) for d in (-1, 0, 1)) / RATE for s in rates]
            worst = max(worst, max(errors))
            if worst > 1e-3:
                dltest.fail(f'{kind}, np {ranks or 1} {words}: {rates}')
    print(f'largest relative difference {worst:.1e}')


main()
