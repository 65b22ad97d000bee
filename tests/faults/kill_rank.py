#!/usr/bin/env python3
# TEST tier=default timeout=240 needs=python
"""kill -9 of one rank: all other ranks are gone within 3 s, at np 2 and 4, whichever rank dies, while training, while
evaluating, and at the start; nothing of the job is left."""
import os
import random
import signal
import subprocess
import time

import dltest


def ranks_of(marker):
    """Process ids of the dltrain processes of this test: those with the marker in their command line, by rank."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if os.readlink(f'/proc/{pid}/exe') != os.path.realpath(dltest.DLTRAIN):
                continue
            if marker not in open(f'/proc/{pid}/cmdline').read():
                continue
            words = open(f'/proc/{pid}/environ').read().split('\0')
            found[int([w for w in words if w.startswith('OMPI_COMM_WORLD_RANK=')][0].split('=')[1])] = int(pid)
        except (OSError, IndexError):
            pass
    return found


def kill_one(ranks, victim, delay, words):
    """Starts a job, kills one rank after `delay` seconds of all being there; returns how long the others lived."""
    marker = f'run.dir=runs/kill-{random.random()}'
    command = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks), dltest.DLTRAIN] + words + [marker]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while len(ranks_of(marker)) < ranks and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(delay)
    there = ranks_of(marker)
    if len(there) < ranks:
        dltest.fail(f'the job did not start, or ended early: {job.communicate()[1]}')
    os.kill(there[victim], signal.SIGKILL)
    start = time.monotonic()
    while ranks_of(marker) and time.monotonic() - start < 15:
        time.sleep(0.02)
    lived = time.monotonic() - start
    if ranks_of(marker):
        job.kill()
        dltest.fail(f'np {ranks}: after 15 s still there: {ranks_of(marker)}')
    try:
        job.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        job.kill()
        dltest.fail('mpirun is still there')
    if job.returncode == 0:
        dltest.fail('mpirun says 0')
    return lived


def main():
    data = f'data.path={dltest.digits()}'
    training = [dltest.MNIST_CNN, data, 'train.epochs=100']
    evaluating = [dltest.MNIST_CNN, data, 'train.epochs=1000', 'train.max_steps=100000', 'data.valid=0.9']
    worst = 0
    for ranks, victim, delay, words in ((2, 0, 3, training), (2, 1, 3, training), (2, 1, 0, training),
                                        (2, 0, 0.2, training), (4, 0, 4, training), (4, 3, 4, training),
                                        (4, 2, 0.1, training), (2, 1, 4, evaluating), (2, 0, 4.5, evaluating)):
        lived = kill_one(ranks, victim, delay, words)
        worst = max(worst, lived)
        if lived > 3:
            dltest.fail(f'np {ranks}, rank {victim} killed {delay} s after the start: the others lived {lived:.1f} s')
    print(f'9 kills, the others were gone after {worst:.1f} s at most')


main()
