#!/usr/bin/env python3
# TEST tier=default timeout=60 needs=python
"""What reads the output may go away (`dltrain ... | head -1`), and the other end of a connection between hosts too:
both are no more than a failed write. A training trains to its end, with the lines in its log.txt; SIGPIPE ends no
rank. Started without stdin, stdout and stderr (`>&-`), nothing that is meant for them goes into a file of the run."""
import json
import os
import signal
import subprocess

import dltest
import rehearse


def start(*words):
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_end(what, folder, job, err):
    if job.returncode != 0:
        dltest.fail(f'{what}: exit status {job.returncode}, {err[-1000:]}')
    state = json.load(open(f'{folder}/status.json'))['state']
    log = open(f'{folder}/log.txt').read()
    if state != 'done' or 'weights ' not in log:
        dltest.fail(f'{what}: state {state}, log {log[-500:]!r}')


def reader_goes_away():
    data = f'data.path={dltest.small_digits()}'
    job = start(dltest.DLTRAIN, dltest.MNIST_CNN, data, 'run.dir=read', 'train.epochs=2')
    job.stdout.readline()
    job.stdout.close()
    err = job.stderr.read()
    job.wait(timeout=30)
    check_end('a closed stdout', 'read', job, err)


def in_mpi(pid):
    try:
        with open(f'/proc/{pid}/maps') as f:
            return 'mca_pml' in f.read()
    except OSError:
        return False


def ranks_get_sigpipe():
    """While they compute something that waits for no signal."""
    job = start('mpirun', '--oversubscribe', '--bind-to', 'none', '-np', '2', dltest.DLTRAIN, 'bench', dltest.MNIST_CNN,
                '--steps', '60')
    pids = []

    def both_there():
        pids[:] = [int(pid) for pid in subprocess.run(['pgrep', '-P', str(job.pid)], stdout=subprocess.PIPE, text=True,
                                                      check=False).stdout.split()]
        return len(pids) == 2 and all(map(in_mpi, pids))

    rehearse.wait_until('two ranks', both_there)
    for pid in pids:
        os.kill(pid, signal.SIGPIPE)
    out, err = job.communicate(timeout=50)
    if job.returncode != 0 or 'ms' not in out:
        dltest.fail(f'SIGPIPE to two ranks: exit status {job.returncode}, {out!r}, {err[-1000:]}')


def without_streams():
    words = [dltest.DLTRAIN, dltest.MNIST_CNN, f'data.path={dltest.small_digits()}', 'run.dir=none']
    job = subprocess.run(['sh', '-c', '"$@" <&- >&- 2>&-', 'sh', *words, 'train.epochs=1'], timeout=60, check=False)
    check_end('no streams', 'none', job, '')
    lines = open('none/log.txt').read().splitlines()
    twice = sorted(line for line in lines if lines.count(line) > 1)
    if twice or not lines[0].startswith('dltrain '):
        dltest.fail(f'no streams: log.txt has {twice} more than once, begins with {lines[0]!r}')
    dltest.metrics('none', 'step')
    told = subprocess.run(['sh', '-c', '"$@" >&-', 'sh', dltest.DLTRAIN, '--version'], stderr=subprocess.PIPE,
                          text=True, check=False)
    if told.returncode != 74 or 'cannot write to stdout' not in told.stderr:
        dltest.fail(f'--version without stdout: exit status {told.returncode}, {told.stderr!r}')


reader_goes_away()
without_streams()
ranks_get_sigpipe()
print('a reader that goes away, no streams, SIGPIPE to both ranks: all came to their end')
