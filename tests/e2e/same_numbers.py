#!/usr/bin/env python3
# TEST tier=default timeout=180 needs=python
"""One batch of 64, 4 accumulated batches of 16, and 4 ranks with 16 each agree after 20 steps: max |dw| <= 1e-5
max |w|; so do uneven splits (64 over 3 ranks) and a short last batch, whose true weight counts."""

import dltest

LIMIT = 1e-5
COMMON = ['train.batch_size=64', 'train.optimizer={sgd: {learning_rate: 0.05, momentum: 0.9}}']


def main():
    worst, data = 0, dltest.small_digits()
    for kind, steps in (('plain', ['train.max_steps=20']), ('short', ['train.max_steps=66'])):
        # 2,000 samples in batches of 64: the 32nd and the 64th step have 16 samples.
        reference = None
        for name, words, ranks in (('one', [], 0), ('accumulated', ['train.accumulate=4'], 0), ('ranks', [], 4),
                                   ('uneven', [], 3), ('both', ['train.accumulate=2'], 2)):
            folder = f'runs/{kind}-{name}'
            dltest.run(dltest.MNIST_CNN, *COMMON, f'data.path={data}', *steps, *words, f'run.dir={folder}', ranks=ranks)
            found = dltest.weights(folder)
            reference = reference or found
            difference = dltest.max_difference(reference, found)
            limit = LIMIT if kind == 'plain' else 10 * LIMIT  # rounding grows over three times as many steps
            if difference > limit:
                dltest.fail(f'{kind}, {name}: max |dw| / max |w| = {difference:.2e} > {limit}')
            worst = max(worst, difference if kind == 'plain' else 0)
    print(f'max |dw| / max |w| after 20 steps: {worst:.2e}')


main()
