#!/usr/bin/env python3
# TEST tier=default timeout=90 slots=1 needs=python
"""mpirun ends a job because of a rank on another host: SIGCONT, SIGTERM, then it kills the ranks of this host one after
another. Whom it kills first has not died by itself and is not blamed by the others; a rank that dies while nothing is
being ended is told."""
import os
import re
import signal
import time

import dltest
import rehearse


def end(folder, ended_by_mpirun):
    """Kills rank 1, which takes no part any more; returns its process and what rank 0 says of it."""
    job = rehearse.Job(2, [dltest.MNIST_CNN, data, 'train.epochs=100000', 'run.log_every=1', f'run.dir={folder}'])
    metrics = os.path.join(folder, 'metrics.jsonl')
    rehearse.wait_until('a step', lambda: os.path.exists(metrics) and os.path.getsize(metrics) > 0)
    process = next(pid for pid, rank in job.processes().items() if rank == 1)
    job.kill(1, signal.SIGSTOP)
    if ended_by_mpirun:
        job.kill(0, signal.SIGCONT)
        job.kill(0, signal.SIGTERM)
        time.sleep(0.3)
    job.kill(1)
    seconds, _ = job.gone()
    if seconds is None or seconds > rehearse.GONE_SECONDS or job.process.returncode == 0:
        dltest.fail(f'rank 0 lived {seconds} s, mpirun ends with {job.process.returncode}')
    said = rehearse.content('job.out').decode().split('\n')
    return process, [line for line in said if line.startswith('dltrain:') and 'error:' in line]


data = f'data.path={dltest.small_digits()}'
killed, told = end('alone', False)
if len(told) != 1 or not re.search(rf'rank 1 \(process {killed}\) has died$', told[0]):
    dltest.fail(f'of a rank that died: {told}')
_, told = end('ended', True)
if told:
    dltest.fail(f'of a rank that mpirun killed: {told}')
print('a rank that died is told, one that mpirun ended is not')
