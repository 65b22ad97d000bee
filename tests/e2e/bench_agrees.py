#!/usr/bin/env python3
# TEST tier=full timeout=600 needs=python,plain
"""`dltrain bench` tells the truth: its step time is within 3 % of (wall of 220 steps - wall of 20) / 200 of real
training; training on real data (MNIST where it is there, else the made digits) is within 5 % of it. Turn by turn; the
quickest turn of each counts, for whatever else the machine does only adds time."""
import json
import os
import time

import dltest

ROUNDS = 15


def wall(data, steps):
    start = time.perf_counter()
    dltest.run(dltest.MNIST_CNN, f'data.path={data}', 'train.epochs=1', f'train.max_steps={steps}',
               f'run.dir=runs/{os.path.basename(data)}-{steps}', DLTRAIN_THREADS='1')
    return time.perf_counter() - start


def main():
    sets = {'digits': dltest.digits()}
    if os.path.isdir(os.path.join(dltest.SHARED_DATA, 'mnist')):
        sets['mnist'] = dltest.mnist()
    bench, walls = [], {(name, steps): [] for name in sets for steps in (20, 220)}
    for _ in range(ROUNDS):
        done = dltest.run('bench', dltest.MNIST_CNN, '--steps', 100, DLTRAIN_THREADS='1')
        bench.append(json.loads(done.stdout.strip().split('\n')[-1])['ms_step'])
        for (name, steps), times in walls.items():
            times.append(wall(sets[name], steps))
    bench = min(bench)
    ratios = {name: 1e3 * (min(walls[name, 220]) - min(walls[name, 20])) / 200 / bench for name in sets}
    figure = f'bench {bench:.2f} ms; training / bench: ' + ', '.join(f'{n} {r:.3f}' for n, r in ratios.items())
    if abs(ratios['digits'] - 1) > 0.03 or max(ratios.values()) > 1.05:
        dltest.fail(figure)
    print(figure)


main()
