"""Helpers of the tests that kill, stop and resume runs: a small network with every kind of state, a job and its
processes, comparison of a resumed run with one that was never disturbed, results as JSON lines."""
import glob
import json
import os
import random
import signal
import subprocess
import time

import dltest

# Adam's moments, averaged weights, a carried state, dropout's random numbers, a warmup, a short last batch.
MODEL = '''
data: {path: data/text, make: text}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 16}
    - lstm: {units: 32, return_sequences: true, stateful: true}
    - dropout: {rate: 0.2}
    - dense: {units: auto, activation: softmax}
train: {epochs: 7, batch_size: 24, ema_decay: 0.9, optimizer: {adam: {}}, schedule: {constant: {warmup_steps: 20}}}
run: {log_every: 1}
checkpoint: {every_minutes: 0}
reproducible: true
'''
# A layer of so many units on images, and what else there is.
IMAGES = '''
data: {path: data}
model:
  input: {shape: [28, 28, 1]}
  layers:
    - flatten: {}
    - dense: {units: %d, activation: relu}
    - dense: {units: 10, activation: softmax}
%s'''
TIMES = ('t', 'step_ms', 'samples_per_s', 'data_wait', 'seconds')
GONE_SECONDS = 3
MPIRUN = -1  # in the place of a rank


def nightly():
    """Is this the large version of a test (tests/run.sh --nightly)?"""
    return os.environ.get('TEST_NIGHTLY') == '1'


def settings(trials, nightly_trials):
    """(first seed, number of trials): SEED and TRIALS of the environment repeat some of an earlier run."""
    first = int(os.environ.get('SEED') or random.SystemRandom().randrange(1000000) * 1000)
    return first, int(os.environ.get('TRIALS') or (nightly_trials if nightly() else trials))


def write_config(name='net.yaml', text=MODEL):
    with open(name, 'w') as f:
        f.write(text)


def content(name):
    with open(name, 'rb') as f:
        return f.read()


def wait_until(what, condition, seconds=20):
    """Fails the test when the condition does not come true in that time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            dltest.fail(f'waited {seconds} s for {what}')
        time.sleep(0.005)


# --- a job and its processes ---

def command(ranks, words):
    """mpirun also for one rank."""
    return ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks), dltest.DLTRAIN, *map(str, words)]


class Job:
    """dltrain under mpirun. Its processes, mpirun's too, are those with its marker in their environment."""

    def __init__(self, ranks, words, **environment):
        self.ranks, self.marker = ranks, f'DLTRAIN_REHEARSAL={os.getpid()}-{random.SystemRandom().random()}'
        name, value = self.marker.split('=')
        environment = dict(os.environ, DLTRAIN_THREADS='1', **{name: value}, **environment)
        self.out = open('job.out', 'w+')
        self.began = time.monotonic()
        self.process = subprocess.Popen(command(ranks, words), env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.out, stderr=subprocess.STDOUT)

    def processes(self):
        """{process id: rank, or MPIRUN for what is not dltrain}; the dead and the half dead are not there."""
        self.process.poll()
        found = {}
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/environ') as f:
                    words = f.read().split('\0')
                if self.marker not in words or int(pid) == os.getpid():
                    continue
                is_rank = os.readlink(f'/proc/{pid}/exe') == os.path.realpath(dltest.DLTRAIN)
                rank = [w.split('=')[1] for w in words if w.startswith('OMPI_COMM_WORLD_RANK=')]
                found[int(pid)] = int(rank[0]) if is_rank and rank else MPIRUN
            except (OSError, UnicodeDecodeError):
                pass
        return found

    def is_over(self):
        return self.process.poll() is not None

    def kill(self, victim, number=signal.SIGKILL):
        """Sends a signal to the rank, or to mpirun where there is no such rank (yet); False: the job was over."""
        if victim != MPIRUN:
            for pid in [pid for pid, rank in self.processes().items() if rank == victim]:
                try:
                    os.kill(pid, number)
                    return True
                except ProcessLookupError:
                    pass
        if self.is_over():
            return False
        self.process.send_signal(number)
        return True

    def gone(self):
        """Waits until nothing of the job is left: (seconds until no rank was, is mpirun stuck?). Seconds are None when
        ranks are still there after some time; what is left then is killed.

        Open MPI 4.1.4 with PMIx 4.2.2: when a rank is killed while it connects, mpirun ends the others and now and then
        waits for ever for a mutex of its own (PMIx_server_finalize)."""
        start, seconds = time.monotonic(), None
        while time.monotonic() - start < 4 * GONE_SECONDS:
            left = set(self.processes().values())
            passed = time.monotonic() - start
            seconds = passed if seconds is None and not left - {MPIRUN} else seconds
            if (not left and self.is_over()) or (seconds is not None and passed > max(GONE_SECONDS, seconds + 2)):
                break
            time.sleep(0.01)
        stuck = not self.is_over()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.out.close()
        return seconds, stuck

    def finish(self, timeout=120):
        """Waits for the end: (exit status, output)."""
        code = self.process.wait(timeout)
        self.out.seek(0)
        text = self.out.read()
        self.out.close()
        return code, text


# --- what a run has left ---

def steps_told(folder):
    """Steps that metrics.jsonl tells of so far; a line that is being written does not count."""
    try:
        with open(f'{folder}/metrics.jsonl', 'rb') as f:
            return f.read().count(b'"kind":"step"')
    except FileNotFoundError:
        return 0


def committed(folder):
    """Steps of the checkpoints with a manifest, oldest first."""
    return sorted(int(name.split('/')[-2][5:]) for name in glob.glob(f'{folder}/checkpoints/step-*/manifest.json')
                  if name.split('/')[-2][5:].isdigit())


def status(folder):
    """What status.json says."""
    return json.loads(content(f'{folder}/status.json'))


def unfinished(folder):
    """Marks of saves that did not come to their end."""
    return glob.glob(f'{folder}/checkpoints/step-*/manifest.json.unfinished')


def damaged(folder):
    """How many checkpoints `ckpt verify` finds damaged; none of a run that had not begun."""
    if not glob.glob(f'{folder}/checkpoints/step-*/manifest.json'):
        return 0
    done = dltest.run('ckpt', 'verify', folder, '--json', code=None)
    if done.returncode not in (0, 78):
        dltest.fail(f'ckpt verify {folder}: exit status {done.returncode}: {done.stderr}')
    return json.loads(done.stdout)['damaged']


def lines(folder):
    """What metrics.jsonl says of steps, epochs and the end, but for times."""
    return [{k: v for k, v in line.items() if k not in TIMES}
            for kind in ('step', 'epoch', 'end') for line in dltest.metrics(folder, kind)]


def is_close(a, b):
    """Sums of losses over ranks have other last bits."""
    return a == b or (isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-12 * abs(b))


def difference(folder, whole):
    """Where a run differs from the one that was never disturbed; None: nowhere."""
    for name in ('weights.h5', 'ema.h5'):
        if content(f'{folder}/{name}') != content(f'{whole}/{name}'):
            return f'{name} has other bytes'
    told, wanted = lines(folder), lines(whole)
    if [line['step'] for line in told] != [line['step'] for line in wanted]:
        return f'metrics.jsonl has a gap or a repetition: {len(told)} lines instead of {len(wanted)}'
    for a, b in zip(told, wanted):
        if a.keys() != b.keys() or not all(is_close(a[k], b[k]) for k in a):
            return f'metrics.jsonl: {a} instead of {b}'
    return None


# --- results ---

class Results:
    """One JSON line for each trial, in $RESULTS/NAME.json where RESULTS is set (tests/faults/table.py reads them)."""

    def __init__(self, name):
        folder = os.environ.get('RESULTS')
        self.file = None
        if folder:
            os.makedirs(os.path.join(dltest.ROOT, folder), exist_ok=True)
            self.file = open(os.path.join(dltest.ROOT, folder, name + '.json'), 'w')
        self.trials = []

    def add(self, **trial):
        print(' '.join(f'{k}={v}' for k, v in trial.items()), flush=True)
        self.trials.append(trial)
        if self.file:
            self.file.write(json.dumps(trial) + '\n')
            self.file.flush()

    def count(self, key):
        """Trials where it is neither 0 nor false."""
        return sum(1 for trial in self.trials if trial.get(key))
