#!/usr/bin/env python3
# TEST tier=full timeout=300 needs=python,plain
"""Two ranks have at least 0.92 of the throughput of two independent single ranks that run at the same time, each on a
core of its own, with the same number of samples a rank; medians of 5 turns."""
import json
import os
import statistics
import subprocess
import sys

import dltest

WORDS = [dltest.DLTRAIN, 'bench', dltest.MNIST_CNN, '--steps', '150']


def per_second(process):
    out, err = process.communicate()
    if process.returncode != 0:
        dltest.fail(err)
    return json.loads(out.strip().split('\n')[-1])['per_s']


def start(words):
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=dict(os.environ, DLTRAIN_THREADS='1'))


def main():
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        print('SKIP: needs two cores')
        sys.exit(77)
    found = {}
    for per_rank in (128, 64):
        ratios = []
        for _ in range(5):
            alone = [start(['taskset', '-c', str(core)] + WORDS + [f'train.batch_size={per_rank}']) for core in cores]
            alone = sum(per_second(process) for process in alone)
            together = per_second(start(['mpirun', '-np', '2'] + WORDS + [f'train.batch_size={2 * per_rank}']))
            ratios.append(together / alone)
        found[per_rank] = statistics.median(ratios)
    figure = ', '.join(f'{r:.3f} with {n} samples a rank' for n, r in found.items())
    if found[128] < 0.92:
        dltest.fail(figure)
    print(figure)


main()
