#!/usr/bin/env python3
# TEST tier=default timeout=60 needs=python
"""What reads the output may go away (`dltrain ... | head -1`), and the other end of a connection between hosts too:
both are no more than a failed write. A training trains to its end, with the lines in its log.txt; SIGPIPE ends no
rank."""
import json
import os
import signal
import subprocess

import dltest
import rehearse


def start(folder, *words, ranks=0):
    mpirun = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks)] if ranks else []
    command = [*mpirun, dltest.DLTRAIN, dltest.MNIST_CNN, f'data.path={dltest.small_digits()}', f'run.dir={folder}']
    return subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_end(what, folder, job, err):
    if job.returncode != 0:
        dltest.fail(f'{what}: exit status {job.returncode}, {err[-1000:]}')
    state = json.load(open(f'{folder}/status.json'))['state']
    log = open(f'{folder}/log.txt').read()
    if state != 'done' or 'weights ' not in log:
        dltest.fail(f'{what}: state {state}, log {log[-500:]!r}')


def reader_goes_away():
    job = start('read', 'train.epochs=2')
    job.stdout.readline()
    job.stdout.close()
    err = job.stderr.read()
    job.wait(timeout=30)
    check_end('a closed stdout', 'read', job, err)


def rank_gets_sigpipe(ranks):
    folder = f'ranks_{ranks}'
    job = start(folder, 'train.epochs=8', ranks=ranks)
    rehearse.wait_until('a step', lambda: os.path.exists(f'{folder}/metrics.jsonl') and dltest.metrics(folder, 'step'))
    pids = [int(pid) for pid in subprocess.run(['pgrep', '-f', f'^{dltest.DLTRAIN} .*run.dir={folder}'],
                                               stdout=subprocess.PIPE, text=True, check=True).stdout.split()]
    if len(pids) != ranks:
        dltest.fail(f'{len(pids)} of {ranks} processes there to be told')
    for pid in pids:
        os.kill(pid, signal.SIGPIPE)
    err = job.communicate(timeout=60)[1]
    check_end(f'SIGPIPE to {ranks} ranks', folder, job, err)


reader_goes_away()
rank_gets_sigpipe(2)
print('a reader that goes away, and SIGPIPE to both ranks: trained to the end')
