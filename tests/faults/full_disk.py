#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python,plain
"""A disk that is full for a while, a tmpfs: with on_error: continue training goes on behind epochs' ends, saves and
lines that found no room, and once there is room ends with the weights and the lines of a run that was never disturbed.
Without room at the end that is exit status 74, also in status.json, and the same command works when there is."""
import os
import shutil
import subprocess
import sys

import dltest
import rehearse

STEPS = 600


def fill(name):
    """To the last byte."""
    with open(name, 'wb', buffering=0) as f:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while f.write(b'\0' * size) == size:
                    pass
            except OSError:
                pass


def train(folder, *words, **environment):
    return rehearse.Job(2, ['net.yaml', f'run.dir={folder}', f'train.max_steps={STEPS}', *words], **environment)


def fill_amid(folder, last):
    """A job whose disk is full from step 5 on; it waits before step `last`, behind epochs' ends."""
    waits = [word for step in (6, last) for word in ('--inject', f'delay=3@rank=0,step={step}')]
    job = train(folder, 'checkpoint.every_steps=10', *waits, DLTRAIN_INJECT='1')
    rehearse.wait_until('step 5', lambda: rehearse.steps_told(folder) == 5 or job.is_over())
    fill('disk/filler')
    for text in ('lines are kept in memory', 'was not saved', 'weights.h5.tmp'):
        rehearse.wait_until(f'{text}, without room', lambda: text in open('job.out').read() or job.is_over())
    if job.is_over():
        dltest.fail(f'a full disk ended training: {job.finish()}')
    return job


def main():
    if 'IN_NAMESPACE' not in os.environ:
        if subprocess.run(['unshare', '-m', 'true'], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            print('no mount namespaces for this user: no disks')
            return
        os.execvpe('unshare', ['unshare', '-m', sys.executable, __file__], dict(os.environ, IN_NAMESPACE='1'))
    rehearse.write_config()
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    train('runs/whole').finish()
    per_epoch = dltest.metrics('runs/whole', 'epoch')[0]['step']
    os.mkdir('disk')
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', 'disk'], check=True)

    job = fill_amid('disk/a', 2 * per_epoch + 5)
    os.unlink('disk/filler')
    code, out = job.finish()
    wrong = rehearse.difference('disk/a', 'runs/whole')
    if code != 0 or wrong or rehearse.status('disk/a')['state'] != 'done' or rehearse.committed('disk/a')[-1] != STEPS:
        dltest.fail(f'full for a while: exit status {code}, {wrong}, {rehearse.status("disk/a")}\n{out}')
    if [line for line in open('disk/a/metrics.jsonl') if not line.endswith('}\n')]:
        dltest.fail('lines of metrics.jsonl are cut')

    shutil.rmtree('disk/a')
    code, out = fill_amid('disk/b', 2 * per_epoch + 5).finish()
    status = rehearse.status('disk/b')
    if code != 74 or (status['state'], status['exit']) != ('failed', 74) or 'No space left' not in status['message']:
        dltest.fail(f'full to the end: exit status {code}, {status}\n{out}')
    os.unlink('disk/filler')
    code, out = train('disk/b').finish()
    wrong = rehearse.difference('disk/b', 'runs/whole')
    if code != 0 or wrong:
        dltest.fail(f'full to the end, then with room: exit status {code}, {wrong}\n{out}')
    print(f'full for {2 * per_epoch} steps, and to the end: nothing lost')


main()
