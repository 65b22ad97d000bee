#!/usr/bin/env python3
# TEST tier=default timeout=120 slots=1 needs=python
"""Ctrl-C ends all ranks cleanly: alone (SIGINT), under mpirun (SIGINT to mpirun), and SIGTERM to one process: within
5 s, no traceback of the MPI library's own, status.json says stopped, no process is left."""
import json
import os
import signal
import subprocess
import time

import dltest


def stop(ranks, number, folder):
    words = [dltest.DLTRAIN, dltest.MNIST_CNN, f'data.path={dltest.digits()}', 'train.epochs=100', f'run.dir={folder}']
    if ranks:
        words = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks)] + words
    job = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if os.path.exists(f'{folder}/metrics.jsonl') and dltest.metrics(folder, 'step'):
            break
        time.sleep(0.05)
    job.send_signal(number)
    start = time.monotonic()
    try:
        err = job.communicate(timeout=15)[1]
    except subprocess.TimeoutExpired:
        job.kill()
        dltest.fail(f'np {ranks}: still running 15 s after signal {number}')
    took = time.monotonic() - start
    status = json.load(open(f'{folder}/status.json'))
    if took > 5 or status['state'] not in ('stopped',):
        dltest.fail(f'np {ranks}, signal {number}: {took:.1f} s, status {status}, {err[-800:]}')
    if 'Segmentation' in err or 'error:' in err.replace('mpirun', ''):
        dltest.fail(f'np {ranks}, signal {number}: {err[-1500:]}')
    if not ranks and job.returncode != status['exit']:
        dltest.fail(f'exit status {job.returncode}, status.json {status}')
    return took


def main():
    worst = max(stop(ranks, number, f'runs/{ranks}-{number}') for ranks in (0, 2, 3)
                for number in (signal.SIGINT, signal.SIGTERM))
    print(f'6 runs stopped within {worst:.1f} s')


main()
