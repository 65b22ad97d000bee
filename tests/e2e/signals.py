#!/usr/bin/env python3
# TEST tier=default timeout=300 slots=1 needs=python,plain
"""Stopping. A signal to any one rank, SIGUSR1 and SIGUSR2 to mpirun, twice the same by timeout(1), a time limit and the
end of a Slurm job: all ranks save at the same step and end with exit status 85. A second signal, before that step or
while it is saved, ends without the checkpoint (130). After SIGTERM to mpirun a save that takes too long is given up
with the job: status.json says so, the earlier checkpoint stands, the same command goes on. It says so, too, when the
step takes too long."""
import glob
import os
import signal
import subprocess
import time

import dltest
import rehearse

MODEL = rehearse.IMAGES % (1000, '''
train: {epochs: 100000, batch_size: 20}
run: {log_every: 1}
checkpoint: {every_minutes: 0, every_epochs: 0, every_steps: 20}
''')
SLOW = os.path.abspath('slow')
ENVIRONMENT = dict(os.environ, DLTRAIN_THREADS='1', DLTRAIN_INJECT='1', SLOW_DISK=SLOW,
                   LD_PRELOAD=os.path.join(dltest.BUILD, 'tests', 'tools', 'slow_disk.so'))


def newest(folder):
    return max((int(name.split('/')[-2][5:]) for name in glob.glob(f'{folder}/checkpoints/step-*/manifest.json')),
               default=0)


class Job:
    """A run under mpirun (ranks > 0) that has saved once. While SLOW is there a save takes five times these seconds."""

    def __init__(self, folder, *words, ranks=2, begun=True, wrap=(), seconds=0.6):
        self.folder, self.ranks = folder, ranks
        mpirun = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks)] if ranks else []
        command = [*wrap, *mpirun, dltest.DLTRAIN, 'net.yaml', f'run.dir={folder}', *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=dict(ENVIRONMENT, SLOW_DISK_SECONDS=str(seconds)))
        if begun:
            rehearse.wait_until(f'{folder}: a checkpoint',
                                lambda: newest(folder) > 0 or self.process.poll() is not None)

    def pids(self):
        """Of the ranks, by rank."""
        found = subprocess.run(['pgrep', '-f', f'net.yaml run.dir={self.folder}( |$)'], stdout=subprocess.PIPE,
                               text=True, check=True).stdout.split()
        by_rank = {}
        for pid in found:
            with open(f'/proc/{pid}/environ', 'rb') as f:
                values = dict(v.split(b'=', 1) for v in f.read().split(b'\0') if b'=' in v)
            if int(pid) != self.process.pid and b'OMPI_COMM_WORLD_RANK' in values:
                by_rank[int(values[b'OMPI_COMM_WORLD_RANK'])] = int(pid)
        return by_rank

    def signal(self, number, rank):
        os.kill(self.pids()[rank], number)

    def end(self, code, seconds=20):
        begin = time.monotonic()
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            dltest.fail(f'{self.folder}: still there after {seconds} s')
        if code is not None and self.process.returncode != code:
            dltest.fail(f'{self.folder}: exit status {self.process.returncode}, not {code}\n{out[-800:]}{err[-800:]}')
        self.err = err
        return time.monotonic() - begin


def saved(job, code=85):
    """The job ends with a checkpoint of its last step."""
    job.end(code)
    now = rehearse.status(job.folder)
    if (now['state'], now['exit']) != ('stopped', 85) or now['step'] != newest(job.folder) or now['step'] == 0:
        dltest.fail(f'{job.folder}: {now}, newest {newest(job.folder)}')
    return now


def check_signals():
    for number, rank in ((signal.SIGTERM, 1), (signal.SIGINT, 0), (signal.SIGUSR1, 0), (signal.SIGUSR2, 2)):
        job = Job(f'runs/rank{rank}-{int(number)}', ranks=3)
        job.signal(number, rank)
        if f'signal {int(number)}' not in saved(job)['message']:
            dltest.fail(f'{job.folder}: {rehearse.status(job.folder)}')
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        job = Job(f'runs/mpirun-{int(number)}')
        job.process.send_signal(number)
        saved(job)
    for number in (signal.SIGTERM, signal.SIGINT):
        job = Job(f'runs/mpirun-{int(number)}')
        job.process.send_signal(number)
        saved(job, None)
    saved(Job('runs/timeout', ranks=0, wrap=('timeout', '-s', 'TERM', '2')), 124)


def has_pending(pid):
    with open(f'/proc/{pid}/status') as f:
        return any(line.startswith(('ShdPnd', 'SigPnd')) and int(line.split()[1], 16) for line in f)


def check_twice():
    """The same signal at once again, the first already taken."""
    for trial in range(5):
        job = Job(f'runs/again-{trial}', ranks=0)
        begin = time.monotonic()
        job.process.send_signal(signal.SIGTERM)
        while has_pending(job.process.pid):
            pass
        job.process.send_signal(signal.SIGTERM)
        if time.monotonic() - begin < 0.03:
            saved(job)
            return
        job.end(None)
    dltest.fail('this machine is too slow to send two signals within 30 ms')


def check_second_while_saving(under_way):
    """The checkpoint of the end is written, or (under_way) an earlier one still is: then no other is begun."""
    job = Job(f'runs/second-{under_way}', seconds=1.5)
    open(SLOW, 'w').close()
    if under_way:
        rehearse.wait_until('a save under way', lambda: rehearse.unfinished(job.folder))
    job.signal(signal.SIGUSR1, 1)
    rehearse.wait_until('the save of the end', lambda: rehearse.status(job.folder)['state'] == 'stopped')
    job.signal(signal.SIGTERM, 1)
    took = job.end(130)
    now = rehearse.status(job.folder)
    os.unlink(SLOW)
    if took > 6 or now['exit'] != 130 or f'step {newest(job.folder)} is the newest' not in now['message'] or \
            newest(job.folder) >= now['step'] or job.err.count('is given up: a second signal') != 1:
        dltest.fail(f'a second signal while saving: {took:.1f} s, {now}, newest {newest(job.folder)}, {job.err}')
    if glob.glob(f'{job.folder}/checkpoints/step-{now["step"]:08d}'):
        dltest.fail('a checkpoint that was given up has left something')


def check_second_to_another():
    """The second signal reaches another rank than the first: no copy of that one any more."""
    job = Job('runs/another', seconds=3)
    open(SLOW, 'w').close()
    job.signal(signal.SIGUSR1, 0)
    rehearse.wait_until('the save of the end', lambda: rehearse.status(job.folder)['state'] == 'stopped')
    time.sleep(1.2)
    job.signal(signal.SIGTERM, 1)
    job.end(130)
    os.unlink(SLOW)
    if job.err.count('is given up: a second signal') != 1:
        dltest.fail(f'a second signal to another rank: {job.err}')


def check_second_before_saving():
    job = Job('runs/twice', '--inject', 'delay=1.5@rank=1,step=30', begun=False)
    rehearse.wait_until('step 29', lambda: os.path.exists('runs/twice/metrics.jsonl') and
                        any(m['step'] >= 29 for m in dltest.metrics('runs/twice', 'step')))
    job.signal(signal.SIGUSR1, 0)
    time.sleep(0.2)
    job.signal(signal.SIGUSR1, 0)
    job.end(130)
    now = rehearse.status(job.folder)
    if now['step'] > 31 or newest(job.folder) > 20 or 'a second signal after signal 10' not in now['message']:
        dltest.fail(f'two signals in one step: {now}, newest {newest(job.folder)}')


def check_failing_peer():
    """One rank cannot write: the other, which is slow, gives up at once, and the first one's reason is told."""
    open(SLOW, 'w').close()
    job = Job('runs/peer', '--inject', 'enospc@rank=1,step=1', 'train.max_steps=2000', begun=False)
    rehearse.wait_until('the failure', lambda: os.path.exists('runs/peer/log.txt') and
                        b'was not saved' in rehearse.content('runs/peer/log.txt'))
    os.unlink(SLOW)
    job.signal(signal.SIGUSR1, 0)
    saved(job)
    if 'step 20 was not saved (rank 1): cannot write' not in job.err:
        dltest.fail(f'a full disk on one rank: {job.err[:500]}')


def check_too_slow():
    job = Job('runs/slow', seconds=1.5)
    open(SLOW, 'w').close()
    rehearse.wait_until('a save under way', lambda: rehearse.unfinished(job.folder))
    job.process.send_signal(signal.SIGTERM)
    took = job.end(None)
    now = rehearse.status(job.folder)
    os.unlink(SLOW)
    step = newest(job.folder)
    if took > 6 or (now['state'], now['exit']) != ('stopped', 130) or step >= now['step'] or step == 0 or \
            f'while a checkpoint was being written; that of step {step} is the newest' not in now['message']:
        dltest.fail(f'no time to save: {took:.1f} s, {now}, newest {step}')
    dltest.run('ckpt', 'verify', job.folder)
    said = dltest.run('net.yaml', f'run.dir={job.folder}', f'train.max_steps={step + 5}', ranks=2, fresh=False).stdout
    if f'after step {step} of' not in said or glob.glob(f'{job.folder}/checkpoints/*/*.unfinished'):
        dltest.fail(f'gone on: {said[:1000]}')


def check_slow_step():
    """mpirun's second is over before the step is."""
    job = Job('runs/slow-step', '--inject', 'delay=6@rank=1,step=50', begun=False)
    rehearse.wait_until('step 49', lambda: os.path.exists('runs/slow-step/metrics.jsonl') and
                        any(m['step'] >= 49 for m in dltest.metrics('runs/slow-step', 'step')))
    job.process.send_signal(signal.SIGTERM)
    job.end(None)
    now = rehearse.status(job.folder)
    if (now['state'], now['exit'], now['step']) != ('stopped', 130, 49) or 'signal 15' not in now['message']:
        dltest.fail(f'SIGTERM to mpirun amid a long step: {now}')


def check_time():
    for name, limit, words in (('limit', 11, ('--time-limit', '0:00:11', 'checkpoint.every_steps=0')),
                               ('slurm', 5, ())):
        if name == 'slurm':
            ENVIRONMENT['SLURM_JOB_END_TIME'] = str(int(time.time()) + limit)
        else:  # a save takes 3 s, which only a first one tells
            open(SLOW, 'w').close()
        begin = time.time()
        job = Job(f'runs/{name}', *words, begun=False)
        now = saved(job)
        took = os.stat(f'runs/{name}/status.json').st_mtime - begin
        ENVIRONMENT.pop('SLURM_JOB_END_TIME', None)
        if name == 'limit':
            os.unlink(SLOW)
        if took > limit or 'is near' not in now['message']:
            dltest.fail(f'{name}: {took:.1f} s of {limit}, {now}')
    for word in ('0', '-3', 'x', '3y', '1:00', '1:60:00', '', '1e400', '0:00:00'):
        message = dltest.run('net.yaml', f'--time-limit={word}', code=2, fresh=False).stderr
        if f'--time-limit {word} is not a time' not in message:
            dltest.fail(f'{word}: {message}')
    for word in ('1', 'soon'):
        done = dltest.run('net.yaml', 'run.dir=runs/stale', 'train.max_steps=2', SLURM_JOB_END_TIME=word)
        if 'SLURM_JOB_END_TIME' not in done.stderr or rehearse.status('runs/stale')['state'] != 'done':
            dltest.fail(f'SLURM_JOB_END_TIME={word}: {done.stderr}')


def main():
    with open('net.yaml', 'w') as f:
        f.write(MODEL)
    dltest.cut_digits('data', train=2000, test=100)
    check_signals()
    check_twice()
    for under_way in (False, True):
        check_second_while_saving(under_way)
    check_second_to_another()
    check_second_before_saving()
    check_failing_peer()
    check_too_slow()
    check_slow_step()
    check_time()
    print('9 signals, a time limit and the end of a job saved; second signals, a slow disk and a slow step leave the '
          'earlier one')


main()
