#!/usr/bin/env python3
# TEST tier=default timeout=60 needs=python,plain
"""A second job in a run directory that another one has: exit status 2, and the holder's process and host are named;
--fresh and `ckpt prune` are refused as well, and the first job goes on undisturbed. After kill -9 of it the next start
works at once, goes on from its checkpoint, and ends with the bytes of a run that was never disturbed."""
import json
import os
import random
import shutil
import socket
import subprocess
import time

import dltest
import rehearse

WORDS = ['net.yaml', 'checkpoint.every_steps=10']
STEPS = 60
N_LARGE = 8  # checkpoints that take a while to verify


def refused(job, *words, ranks=2):
    before = rehearse.steps_told('runs/a')
    message = dltest.run(*words, ranks=ranks, code=2, fresh=False, DLTRAIN_THREADS='1').stderr
    holders = [f'process {pid} on host {socket.gethostname()}' for pid, rank in job.processes().items() if rank == 0]
    if not holders or 'another run is going on in runs/a' not in message or holders[0] not in message:
        dltest.fail(f'{words} beside a run of {holders}: {message}')
    rehearse.wait_until('the first job to go on', lambda: rehearse.steps_told('runs/a') > before or job.is_over())
    if job.is_over():
        dltest.fail(f'{words} ended the job that was there')


def check_verify_beside_pruning():
    """What is deleted while it is looked at is no damage; returns how many looks there were until one met that."""
    os.mkdir('many')
    for step in range(1, N_LARGE + 1):
        make = [f'{dltest.BUILD}/tests/tools/checkpoint_make', 'many/checkpoints', str(step), '1', '16']
        subprocess.run(make, check=True)
    for look in range(1, 50):
        subprocess.run(['cp', '-al', 'many', 'few'], check=True)
        verify = subprocess.Popen([dltest.DLTRAIN, 'ckpt', 'verify', 'few', '--json'], stdout=subprocess.PIPE,
                                  text=True)
        time.sleep(random.uniform(0, 0.05))
        dltest.run('ckpt', 'prune', 'few', '--keep', '1')
        out, _ = verify.communicate()
        if verify.returncode != 0:
            dltest.fail(f'ckpt verify beside ckpt prune: exit status {verify.returncode}: {out}')
        shutil.rmtree('few')
        if 1 < len(json.loads(out)['checkpoints']) < N_LARGE:
            return look
    return dltest.fail('pruning never met a verification')


def main():
    rehearse.write_config()
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    dltest.run(*WORDS, 'run.dir=runs/whole', f'train.max_steps={STEPS}', ranks=2, DLTRAIN_THREADS='1')
    # Each step takes some time, so that the job is there while the others are refused.
    slow = [word for step in range(STEPS - 15, STEPS) for word in ('--inject', f'delay=0.5@rank=0,step={step}')]
    job = rehearse.Job(2, [*WORDS, 'run.dir=runs/a', f'train.max_steps={STEPS}', *slow], DLTRAIN_INJECT='1')
    rehearse.wait_until('a checkpoint', lambda: rehearse.committed('runs/a') or job.is_over())
    again = [*WORDS, 'run.dir=runs/a', f'train.max_steps={STEPS}']
    refused(job, *again)
    refused(job, *again, '--fresh')
    refused(job, 'ckpt', 'prune', 'runs/a', '--keep', '1', ranks=0)
    if 'another run is going on' not in dltest.run('ckpt', 'prune', 'runs/a/checkpoints/.', code=2).stderr:
        dltest.fail('ckpt prune of the folder by another name')
    job.kill(0)
    seconds, _ = job.gone()
    if seconds is None or seconds > rehearse.GONE_SECONDS:
        dltest.fail(f'the killed job was there for {seconds} s')
    newest = rehearse.committed('runs/a')[-1]
    said = dltest.run(*again, ranks=2, fresh=False, DLTRAIN_THREADS='1').stdout
    wrong = rehearse.difference('runs/a', 'runs/whole')
    if f'after step {newest} of' not in said or wrong or os.path.exists('runs/a.1'):
        dltest.fail(f'after the kill, from step {newest}: {wrong}\n{said[:800]}')
    n = check_verify_beside_pruning()
    print(f'{n} verifications until one met a deletion; 4 commands refused by name; '
          f'the next start went on from step {newest} at once')


main()
