#!/usr/bin/env python3
# TEST tier=default timeout=200 slots=1 needs=python
"""--inject: failures on demand. Refused without DLTRAIN_INJECT=1 and when it is not understood; announced in the log,
in metrics.jsonl and in status.json. A killed rank ends the job, and the same command goes on to the bytes of an
undisturbed run; a delayed and a stopped rank change nothing but the time; nan stops training or is skipped; a full disk
costs one checkpoint, or with on_error: stop the job (exit status 74)."""
import glob
import json
import os
import re
import signal
import subprocess
import time

import dltest
import rehearse

MODEL = rehearse.IMAGES % (16, '''
train: {epochs: 1, batch_size: 20}
run: {log_every: 1}
checkpoint: {every_minutes: 0, every_steps: 10, keep: 9}
''')
# Steps are quicker than disks: a save goes on with the steps, so some are made to last.
SAVED = [f'delay=0.3@rank=0,step={step}' for step in (11, 12, 13, 21, 22, 23)]


def train(folder, *words, code=0, allowed='1', ranks=2):
    inject = [x for word in words for x in (('--inject', word) if '@' in word else (word,))]
    return dltest.run('net.yaml', f'run.dir={folder}', *inject, ranks=ranks, code=code, fresh=False,
                      DLTRAIN_THREADS='1', DLTRAIN_INJECT=allowed)


def same_weights(folder, what):
    with open('runs/plain/weights.h5', 'rb') as a, open(f'{folder}/weights.h5', 'rb') as b:
        if a.read() != b.read():
            dltest.fail(f'{what}: other weights than the undisturbed run')


def check_refused():
    wrong = ('kill@rank=2,step=5', 'kill@rank=0,step=0', 'kill@rank=0', 'kill@step=3', 'hang@rank=0,step=1', 'kill',
             'delay@rank=0,step=1', 'delay=x@rank=0,step=1', 'kill=1@rank=0,step=1', 'nan@rank=0,step=1,step',
             'enospc@rank=-1,step=2', '@')
    for word in wrong:
        ranks = 2 if 'rank=2' in word else 0  # mpirun takes a second to end
        done = dltest.run('net.yaml', 'run.dir=runs/wrong', '--inject', word, ranks=ranks, code=2, fresh=False,
                          DLTRAIN_INJECT='1')
        if f'--inject {word}' not in done.stderr or done.stderr.count('error:') != 1:
            dltest.fail(f'{word}: {done.stderr}')
    for allowed in ('', '0', 'yes'):
        message = train('runs/wrong', 'kill@rank=0,step=1', code=2, allowed=allowed, ranks=0).stderr
        if 'DLTRAIN_INJECT=1' not in message:
            dltest.fail(f'DLTRAIN_INJECT={allowed}: {message}')
    if os.path.exists('runs/wrong'):
        dltest.fail('a refused rehearsal has made a run directory')


def check_kill():
    begin = time.monotonic()
    train('runs/kill', 'kill@rank=1,step=25', *SAVED, code=None)
    if time.monotonic() - begin > 10:
        dltest.fail('a killed rank: the job has ended too late')
    told = [m['what'] for m in dltest.metrics('runs/kill', 'inject')]
    with open('runs/kill/log.txt') as f:
        log = f.read()
    now = rehearse.status('runs/kill')
    if told != ['kill@rank=1,step=25', *SAVED] or now['inject'] != ' '.join(told) or f'inject  {told[0]}' not in log:
        dltest.fail(f'not announced: {told}, {now}, {log}')
    if dltest.metrics('runs/kill', 'step')[-1]['step'] != 24:
        dltest.fail('it was not before step 25')
    newest = rehearse.committed('runs/kill')[-1]  # the save of step 20 may have been cut short
    said = train('runs/kill').stdout
    if newest not in (10, 20) or f'after step {newest} of' not in said or 'inject' in rehearse.status('runs/kill'):
        dltest.fail(f'after the kill: {said[:800]}')
    same_weights('runs/kill', 'killed and gone on')


def check_kill_first():
    """Rank 0 keeps the record, and is what is lost: who is left writes how the run ended."""
    train('runs/first', 'kill@rank=0,step=25', *SAVED, code=None)
    now = rehearse.status('runs/first')
    if (now['state'], now['exit']) != ('failed', 75) or 'rank 0' not in now['message'] or now['step'] < 24 or \
            not now['inject'].startswith('kill@rank=0,step=25'):
        dltest.fail(f'rank 0 was killed: {now}')
    train('runs/first')
    same_weights('runs/first', 'rank 0 killed and gone on')


def check_delay_and_stop():
    train('runs/delay', 'delay=0.7@rank=1,step=5', 'delay=0.3@rank=0,step=9')
    times = {m['step']: m['step_ms'] for m in dltest.metrics('runs/delay', 'step')}
    if times[5] < 690 or times[9] < 290 or len(dltest.metrics('runs/delay', 'inject')) != 2:
        dltest.fail(f'delays: {times[5]} ms, {times[9]} ms')
    same_weights('runs/delay', 'delayed')
    command = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', '2', dltest.DLTRAIN, 'net.yaml',
               'run.dir=runs/stop', '--inject', 'stop@rank=1,step=15']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, DLTRAIN_INJECT='1', DLTRAIN_THREADS='1')) as job:
        stopped, until = [], time.monotonic() + 20
        while not stopped and time.monotonic() < until:
            time.sleep(0.05)
            found = subprocess.run(['pgrep', '-r', 'T', '-f', 'run.dir=runs/stop'], stdout=subprocess.PIPE, text=True,
                                   check=False)
            stopped = found.stdout.split()
        if len(stopped) != 1 or job.poll() is not None:
            job.kill()
            dltest.fail(f'stopped processes: {stopped}')
        os.kill(int(stopped[0]), signal.SIGCONT)
        out, err = job.communicate(timeout=30)
    if job.returncode != 0:
        dltest.fail(f'after SIGCONT: {job.returncode}\n{out}{err}')
    same_weights('runs/stop', 'stopped and continued')


def check_nan():
    message = train('runs/nan', 'nan@rank=1,step=7', code=77).stderr
    if 'step 7' not in message or '--inject, on rank 1' not in message:
        dltest.fail(f'nan: {message}')
    if (rehearse.status('runs/nan')['exit'], rehearse.status('runs/nan')['inject']) != (77, 'nan@rank=1,step=7'):
        dltest.fail(f'nan: {rehearse.status("runs/nan")}')
    train('runs/nan', 'nan@rank=0,step=8', 'nan@rank=1,step=9', 'train.on_nan=skip', '--fresh')
    told = [(m['step'], m['in_row'], m['where'][-1]) for m in dltest.metrics('runs/nan', 'skip')]
    if told != [(8, 1, '0'), (9, 2, '1')]:
        dltest.fail(f'nan, skipped: {told}')


def lost_step(message, rank):
    """The step whose checkpoint was not saved: 20, or a later one where the save of step 10 lasted that long."""
    lost = re.findall(rf'the checkpoint of step (\d+) was not saved \(rank {rank}\): .*No space left', message)
    if len(lost) != 1 or not 20 <= int(lost[0]) < 30:
        dltest.fail(f'a full disk on rank {rank}: {message}')
    return int(lost[0])


def check_full_disk():
    done = train('runs/full', 'enospc@rank=1,step=15', *SAVED)
    steps = [int(name[-8:]) for name in sorted(glob.glob('runs/full/checkpoints/step-*'))]
    if lost_step(done.stderr, 1) in steps or not {10, 50} <= set(steps):
        dltest.fail(f'a full disk: {steps}\n{done.stderr}')
    same_weights('runs/full', 'after a full disk')
    message = train('runs/full-stop', 'enospc@rank=0,step=15', *SAVED, 'checkpoint.on_error=stop', code=74).stderr
    lost_step(message, 0)
    if rehearse.status('runs/full-stop')['exit'] != 74:
        dltest.fail(f'a full disk, on_error: stop: {message}')


def main():
    with open('net.yaml', 'w') as f:
        f.write(MODEL)
    dltest.cut_digits('data', train=1000, test=100)
    train('runs/plain', allowed='')
    check_refused()
    check_kill()
    check_kill_first()
    check_delay_and_stop()
    check_nan()
    check_full_disk()
    print('5 kinds of failures on demand; 15 misunderstandings refused')


main()
