#!/usr/bin/env python3
# TEST tier=quick timeout=60 needs=python,plain
"""From exec to the line of the first step in less than 1 s; `dltrain check` in less than 0.2 s (medians of 5)."""
import statistics
import subprocess
import time

import dltest


def first_step_seconds(words):
    """Time until metrics.jsonl or stdout tells of step 1."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if 'step' in line or 'epoch' in line:
            break
    found = time.perf_counter() - start
    process.communicate()
    return found


def main():
    words = [dltest.DLTRAIN, dltest.MNIST_CNN, f'data.path={dltest.digits()}', 'train.max_steps=5', 'run.log_every=1']
    first = statistics.median(first_step_seconds(words + ['run.dir=runs/a']) for _ in range(5))
    check = []
    for _ in range(5):
        start = time.perf_counter()
        dltest.run('check', dltest.MNIST_CNN, f'data.path={dltest.digits()}')
        check.append(time.perf_counter() - start)
    check = statistics.median(check)
    figure = f'first step after {first:.2f} s, check {check:.3f} s'
    if first >= 1 or check >= 0.2:
        dltest.fail(figure)
    print(figure)


main()
