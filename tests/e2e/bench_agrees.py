#!/usr/bin/env python3
# TEST tier=full timeout=300 needs=python,plain
"""`dltrain bench` tells the truth: its step time is within 3 % of (wall of 220 steps - wall of 20) / 200 of real
training; training on real data (MNIST where it is there, else the made digits) is within 5 % of it; medians of
7 turns."""
import json
import os
import statistics
import time

import dltest

ROUNDS = 7


def wall(data, steps):
    start = time.perf_counter()
    dltest.run(dltest.MNIST_CNN, f'data.path={data}', 'train.epochs=1', f'train.max_steps={steps}',
               f'run.dir=runs/{os.path.basename(data)}-{steps}', DLTRAIN_THREADS='1')
    return time.perf_counter() - start


def main():
    sets = {'digits': dltest.digits()}
    if os.path.isdir(os.path.join(dltest.SHARED_DATA, 'mnist')):
        sets['mnist'] = dltest.mnist()
    bench, train = [], {name: [] for name in sets}
    for _ in range(ROUNDS):
        done = dltest.run('bench', dltest.MNIST_CNN, '--steps', 100, DLTRAIN_THREADS='1')
        bench.append(json.loads(done.stdout.strip().split('\n')[-1])['ms_step'])
        for name, path in sets.items():
            train[name].append(1e3 * (wall(path, 220) - wall(path, 20)) / 200)
    bench = statistics.median(bench)
    ratios = {name: statistics.median(ms) / bench for name, ms in train.items()}
    figure = f'bench {bench:.2f} ms; training / bench: ' + ', '.join(f'{n} {r:.3f}' for n, r in ratios.items())
    if abs(ratios['digits'] - 1) > 0.03 or max(ratios.values()) > 1.05:
        dltest.fail(figure)
    print(figure)


main()
