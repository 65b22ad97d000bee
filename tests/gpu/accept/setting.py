"""Where programs, data and results are, and running what a part runs. Standard library only."""
import json
import os
import shlex
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.path.join(ROOT, os.environ.get('BUILD') or 'build')
RUN = shlex.split(os.environ.get('RUN', ''))
BACKEND = os.environ.get('BACKEND', 'cuda')
REHEARSAL = BACKEND != 'cuda'
RESULTS = os.environ.get('RESULTS') or os.path.join(ROOT, 'tests', 'gpu', 'results')
PLACES = {'dltrain': 'launcher', 'conformance': 'tests/conformance', 'mpi_conformance_cuda': 'tests/mpi',
          'mpi_conformance': 'tests/mpi'}
# NCCL with two ranks on one GPU: each passes for a host of its own, and they talk through sockets.
TWO_ON_ONE = {'DLTRAIN_NCCL_HOSTID': '1', 'DLTRAIN_NCCL_TIMEOUT': '60', 'NCCL_SOCKET_IFNAME': 'lo',
              'NCCL_SOCKET_FAMILY': 'AF_INET', 'NCCL_NET': 'Socket', 'NCCL_NET_PLUGIN': 'none', 'NCCL_IB_DISABLE': '1',
              'NCCL_MNNVL_ENABLE': '0', 'NCCL_NVLS_ENABLE': '0', 'NCCL_RAS_ENABLE': '0', 'NCCL_MAX_CTAS': '2'}


def program(name):
    folder = os.environ.get('BIN') or os.path.join(BUILD, PLACES[name])
    return os.path.join(folder, name)


def config(name):
    return os.path.join(ROOT, 'configs', name)


class Outcome:
    """A finished command."""

    def __init__(self, words, code, out, err, seconds):
        self.words, self.code, self.out, self.err, self.seconds = words, code, out, err, seconds

    def last_json(self):
        return json.loads(self.out.strip().split('\n')[-1])

    def why(self):
        return f'exit status {self.code}: {" ".join(self.words[-6:])}: {(self.err or self.out)[-600:]}'


def run(words, ranks=0, timeout=300, **environment):
    """RUN, mpirun for ranks > 0, then the words; exit status 124 where it takes too long."""
    mpirun = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks)] if ranks else []
    command = [*RUN, *mpirun, *map(str, words)]
    root = {'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
    start = time.monotonic()
    try:
        done = subprocess.run(command, env=dict(os.environ, **root, **environment), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, out, err = 124, (late.stdout or b'').decode(), (late.stderr or b'').decode()
    return Outcome(command, code, out, err, time.monotonic() - start)


def dltrain(*words, ranks=0, timeout=300, **environment):
    return run([program('dltrain'), *words], ranks, timeout, **environment)


def data_of(name, kind):
    """(the data.path of a data set, is it the real one?): DATA's, else one that the program makes."""
    carried = os.path.join(os.environ.get('DATA', ''), name)
    if os.environ.get('DATA') and os.path.isdir(carried):
        return carried, True
    made = os.path.abspath(f'data/{kind}')
    if not os.path.isdir(made) and dltrain('data', 'make', kind, '--out', made).code != 0:
        sys.exit(f'dltrain data make {kind} fails')
    return made, False


def metrics(folder, kind):
    with open(os.path.join(folder, 'metrics.jsonl')) as f:
        return [m for m in map(json.loads, f) if m['kind'] == kind]


def nvidia_smi(query):
    if shutil.which('nvidia-smi') is None:
        return ''
    words = ['nvidia-smi', f'--query-{query}', '--format=csv,noheader']
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


def versions():
    """What a figure is of: program, commit, libraries, GPU, driver, date."""
    commit = subprocess.run(['git', '-C', ROOT, 'rev-parse', '--short', 'HEAD'], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()
    return {'commit': os.environ.get('COMMIT') or commit, 'date': time.strftime('%Y-%m-%d', time.gmtime()),
            'dltrain': dltrain('--version').out.strip(), 'devices': json.loads(dltrain('devices', '--json').out),
            'gpu': nvidia_smi('gpu=name,driver_version,memory.total,clocks.max.sm,power.limit'),
            'python': sys.version.split()[0]}
