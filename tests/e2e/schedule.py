#!/usr/bin/env python3
# TEST tier=quick timeout=60 needs=python
"""The learning rate is a function of samples seen: constant and cosine with warm-up, at one rank, two ranks, and with
accumulated batches."""
import math

import dltest

RATE, WARMUP, BATCH, STEPS = 0.02, 5, 50, 40
OPTIMIZER = 'train.optimizer={sgd: {learning_rate: %g}}' % RATE


def expected(kind, step):
    if step <= WARMUP:
        return RATE * step / WARMUP
    return RATE if kind == 'constant' else RATE * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def main():
    worst = 0
    for kind in ('constant', 'cosine'):
        for ranks, words in ((0, []), (2, []), (0, ['train.accumulate=5'])):
            dltest.run(dltest.MNIST_CNN, f'data.path={dltest.small_digits()}', f'train.batch_size={BATCH}', OPTIMIZER,
                       'train.schedule={%s: {warmup_steps: %d}}' % (kind, WARMUP), 'train.epochs=1', 'run.log_every=1',
                       f'run.dir=runs/{kind}', *words, ranks=ranks)
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
