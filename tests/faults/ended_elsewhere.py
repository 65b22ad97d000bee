#!/usr/bin/env python3
# TEST tier=default timeout=90 slots=1 needs=python
"""mpirun ends a job because of a rank on another host: SIGCONT, SIGTERM, then it kills the ranks of this host one after
another. Whom it kills first has not died by itself and is not blamed by the others; a rank that dies while nothing is
being ended is told."""
import os
import re
import signal
import subprocess
import time

import dltest


def ranks_of(folder):
    """Process ids by rank of the job whose run directory this is."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if folder in open(f'/proc/{pid}/cmdline').read() and \
                    os.readlink(f'/proc/{pid}/exe') == os.path.realpath(dltest.DLTRAIN):
                words = open(f'/proc/{pid}/environ').read()
                found[int(re.search(r'OMPI_COMM_WORLD_RANK=(\d+)', words).group(1))] = int(pid)
        except (OSError, AttributeError):
            pass
    return found


def end(name, ended_by_mpirun):
    """Kills rank 1, which takes no part any more; returns what rank 0 says of it."""
    folder = os.path.abspath(name)
    job = subprocess.Popen(['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', '2', dltest.DLTRAIN,
                            dltest.MNIST_CNN, data, 'train.epochs=100000', 'run.log_every=1', f'run.dir={folder}'],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    metrics = os.path.join(folder, 'metrics.jsonl')
    until = time.monotonic() + 30
    while not (os.path.exists(metrics) and os.path.getsize(metrics) > 0) and time.monotonic() < until:
        time.sleep(0.02)
    rank = ranks_of(folder)
    if len(rank) != 2:
        dltest.fail(f'the job did not start: {job.communicate()[1]}')
    os.kill(rank[1], signal.SIGSTOP)
    if ended_by_mpirun:
        os.kill(rank[0], signal.SIGCONT)
        os.kill(rank[0], signal.SIGTERM)
        time.sleep(0.3)
    os.kill(rank[1], signal.SIGKILL)
    said = job.communicate(timeout=30)[1]
    if job.returncode == 0 or ranks_of(folder):
        dltest.fail(f'mpirun ends with {job.returncode}, left: {ranks_of(folder)}')
    return rank[1], [line for line in said.split('\n') if line.startswith('dltrain:') and 'error:' in line]


data = f'data.path={dltest.small_digits()}'
process, told = end('alone', False)
if len(told) != 1 or not re.search(rf'rank 1 \(process {process}\) has died$', told[0]):
    dltest.fail(f'of a rank that died: {told}')
_, told = end('ended', True)
if told:
    dltest.fail(f'of a rank that mpirun killed: {told}')
print('a rank that died is told, one that mpirun ended is not')
