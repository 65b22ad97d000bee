#!/usr/bin/env python3
# TEST tier=full timeout=300 needs=python,plain
"""Two ranks have at least 0.92 of the throughput of two independent single ranks that run at the same time, each on a
core of its own, with the same number of samples a rank; medians of 5 turns."""
import statistics
import sys

import dltest
import pairs

WORDS = [dltest.DLTRAIN, 'bench', dltest.MNIST_CNN, '--steps', '150']
ONE_THREAD = {'DLTRAIN_THREADS': '1'}


def main():
    if len(pairs.cores()) < 2:
        print('SKIP: needs two cores')
        sys.exit(77)
    found = {}
    for per_rank in (128, 64):
        ratios = []
        for _ in range(5):
            alone = pairs.independent(WORDS + [f'train.batch_size={per_rank}'], ONE_THREAD)
            both = ['mpirun', '-np', '2'] + WORDS + [f'train.batch_size={2 * per_rank}']
            ratios.append(pairs.finish(pairs.start(both, None, ONE_THREAD))['per_s'] / alone)
        found[per_rank] = statistics.median(ratios)
    figure = ', '.join(f'{r:.3f} with {n} samples a rank' for n, r in found.items())
    if found[128] < 0.92:
        dltest.fail(figure)
    print(figure)


main()
