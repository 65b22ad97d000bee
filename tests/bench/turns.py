"""Turns of the programs that are compared: command lines, one turn on one thread, two ranks on two cores."""
import json
import os
import socket
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'lib'))
import pairs  # noqa: E402
import procmem  # noqa: E402

BUILD = os.environ['BUILD']
FOLDER = os.path.join(BUILD, 'bench')
DLTRAIN = os.path.join(BUILD, 'launcher', 'dltrain')
PEAK = [os.path.join(BUILD, 'tests', 'bench', 'sgemm_peak'), '2048', '5']
PEERS = os.path.join(ROOT, 'tests', 'bench', 'peers')
ONE_THREAD = {'OMP_NUM_THREADS': '1', 'DLTRAIN_THREADS': '1'}
# glibc's malloc that keeps what it has: else PyTorch's single runs of one model fall by chance into one of two modes,
# 18 or 27 ms a step (memory given back and faulted in again), and so would what two ranks are compared with.
KEEPS_MEMORY = {'MALLOC_MMAP_THRESHOLD_': str(1 << 30), 'MALLOC_TRIM_THRESHOLD_': str(1 << 34),
                'MALLOC_TOP_PAD_': str(1 << 28)}
MOST_WARMUP = 10


def dltrain(row, steps, *overrides):
    """The command of a row of models.py."""
    return [DLTRAIN, 'bench', os.path.join(ROOT, 'configs', row.config), *row.overrides, *overrides,
            '--steps', str(steps), '--warmup', str(min(steps, MOST_WARMUP))]


def torch(name, steps, options):
    return [os.environ['TORCH_PYTHON'], os.path.join(PEERS, 'torch_bench.py'), name,
            '--steps', str(steps), '--warmup', str(min(steps, MOST_WARMUP)), *options]


def keras(name, steps, options):
    """Its epochs need more steps than the others' turns: the first of each is slower."""
    return [os.environ['KERAS_PYTHON'], os.path.join(PEERS, 'keras_bench.py'), name,
            '--steps', str(2 * steps), *options]


def run(words):
    """One turn on one thread: its JSON line, with the memory it took beside its files' pages."""
    code, out, err, _, high = procmem.watch(words, interval=0.02, env=dict(os.environ, **ONE_THREAD), cwd=FOLDER)
    if code != 0:
        raise RuntimeError(f'{" ".join(words)}: exit status {code}\n{out[-2000:]}{err[-2000:]}')
    return dict(json.loads(out.strip().split('\n')[-1]), memory_mb=round(high / 1e6, 1))


def fastest(command, name, choices, steps):
    """The options with which a peer is fastest; those that fail are left out, and said."""
    found = []
    for options in choices:
        words = command(name, steps, options)
        label = f'  {name}, {os.path.basename(words[1])} {" ".join(options)}:'
        try:
            found.append((run(words)['ms_step'], options))
            print(f'{label} {found[-1][0]:.2f} ms', flush=True)
        except RuntimeError as error:
            print(f'{label} does not run here: {str(error)[-200:]}')
    return min(found)[1]


def distributed(words):
    """Two processes of torch_bench.py that train together over gloo, each on a core: tokens or samples per second."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    place = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port), 'WORLD_SIZE': '2', **ONE_THREAD,
             **KEEPS_MEMORY}
    started = [pairs.start(words, core, dict(place, RANK=str(rank))) for rank, core in enumerate(pairs.cores())]
    lines = [pairs.finish(process) for process in started]
    return lines[0]['per_s']


def over_singles(single, pair):
    """(share, throughput of the pair). The single ones run before and behind the pair: a machine that grows slower or
    faster meanwhile does so for both."""
    before = single()
    together = pair()
    return 2 * together / (before + single()), together


def two_ranks(name, row, steps, torch_options):
    """(dltrain's, PyTorch's) throughput of two ranks over that of two single ones at the same time, and how many
    samples or tokens a second the two ranks of each do; the same number of samples a rank."""
    batch = 2 * run(dltrain(row, 1))['batch']
    ours = ['mpirun', '-np', '2', *dltrain(row, steps, f'train.batch_size={batch}')]
    words = torch(name, steps, torch_options)
    share, together = over_singles(lambda: pairs.independent(dltrain(row, steps), ONE_THREAD),
                                   lambda: pairs.finish(pairs.start(ours, None, ONE_THREAD))['per_s'])
    peer_share, peer_together = over_singles(lambda: pairs.independent(words, dict(ONE_THREAD, **KEEPS_MEMORY)),
                                             lambda: distributed(words))
    return {'dltrain': share, 'pytorch': peer_share, 'per_s': {'dltrain': together, 'pytorch': peer_together}}
