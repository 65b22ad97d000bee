#!/usr/bin/env python3
"""What saving and resuming cost: a ratio and its limit for each figure, one JSON line at the end.

    BUILD=build PYTHONPATH=tests/lib python3 tests/bench/checkpoints.py [--pairs 5] [--only FIGURE,...]

rate     steps/s of two ranks that save every 100 steps over those of ranks that do not, both from one run: the steps
         behind each save, until it is long done, beside as many right after them (a shared machine differs by several
         hundredths from one second to the next, whole runs by more than what is looked for);
stall    the longest of the ten steps behind a save over the longest of ten steps long after it + 1.5 x memcpy of a
         rank's snapshot (medians over the saves of a run: single steps take twice their time here with and without);
write    500 MB from two ranks over two processes that write the same number of bytes with the same fsyncs, in turns;
resume   seconds from the start of the command to the first new step of a small network on two ranks.

Needs NumPy and h5py. The machine should have nothing else to do. Exit status 1 when a limit is missed."""
import argparse
import json
import multiprocessing
import os
import re
import shutil
import statistics
import sys
import time

import dltest
import numpy
import rehearse

BLOCK = 1 << 20
LARGEST_CACHE = 128 * BLOCK
HUNDRED, LOOKED_AT = 100, 10
# overrides, steps that a save may take and saves in a run, least share of the rate without saving
MODELS = {'mnist_cnn': ([], 200, 20, 0.98), 'ptb_medium': (['train.clip_norm=0'], 40, 3, 0.90)}
LARGE = '''
data: {path: data/text, stride: 200}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 32}
    - flatten: {}
    - dense: {units: 6144, activation: relu}
    - dense: {units: 6144, activation: relu}
    - dense: {units: auto, activation: softmax}
train: {epochs: 1, batch_size: 16, optimizer: {adam: {}}, max_steps: 2}
checkpoint: {every_minutes: 0, every_epochs: 0}
'''


def train(words, folder):
    """Two ranks; standard output."""
    shutil.rmtree(folder, ignore_errors=True)
    code, out = rehearse.Job(2, [*words, f'run.dir={folder}', '--fresh']).finish(1800)
    if code != 0:
        dltest.fail(f'exit status {code}: {out}')
    return out


def memcpy_seconds(n_bytes):
    """The median of some copies between arrays whose pages are there and which the caches no longer hold: in a run
    a step of training lies between two copies."""
    source, target, others = numpy.ones(n_bytes, 'u1'), numpy.ones(n_bytes, 'u1'), numpy.ones(LARGEST_CACHE, 'u1')
    times = []
    for _ in range(9):
        others += 1
        start = time.perf_counter()
        numpy.copyto(target, source)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def one_run(name):
    """Seconds of the steps behind each save and of as many after them; bytes of a rank's snapshot."""
    overrides, behind, saves, _ = MODELS[name]
    every = 2 * behind
    words = [os.path.join(dltest.ROOT, 'configs', name + '.yaml'), *overrides, f'train.max_steps={every * (1 + saves)}',
             'train.epochs=1000', 'run.log_every=1', 'checkpoint.every_minutes=0', 'checkpoint.every_epochs=0',
             f'checkpoint.every_steps={every}', f'data.path=data/{name}']
    out = train(words, 'runs/turn')
    seconds = {m['step']: m['step_ms'] / 1e3 for m in dltest.metrics('runs/turn', 'step')}
    parts = [[seconds[save + i] for i in range(1, every + 1)] for save in range(every, every * (1 + saves), every)]
    took = [float(s) for s in re.findall(r'^saved .* in ([\d.]+) s$', open('runs/turn/log.txt').read(), re.M)][:saves]
    slow = [t for t, part in zip(took, parts) if t > sum(part[:behind])]
    if len(took) != saves or slow:
        dltest.fail(f'{len(took)} saves; {len(slow)} are not done within {behind} steps: {took} s')
    snapshot = float(re.search(r'snapshot ([\d.,]+)\)', out).group(1).replace(',', '')) * BLOCK
    return [(part[:behind], part[behind:]) for part in parts], int(snapshot)


def middle_mean(values):
    """The mean without the smallest and the largest quarter."""
    n = len(values) // 4
    return statistics.mean(sorted(values)[n:len(values) - n])


def measure_rate(name, runs):
    """The figures rate and stall of a model."""
    behind = MODELS[name][1]
    rates, costs, longest, limits, plain = [], [], [], [], []
    for _ in range(runs):
        saves, snapshot = one_run(name)
        step = statistics.median(sum(after) / behind for _, after in saves)
        costs.append(middle_mean([sum(with_save) - sum(after) for with_save, after in saves]))
        rates.append(HUNDRED * step / (HUNDRED * step + costs[-1]))
        longest.append(statistics.median(max(with_save[:LOOKED_AT]) for with_save, _ in saves))
        plain.append(statistics.median(max(after[-LOOKED_AT:]) for _, after in saves))
        limits.append(plain[-1] + 1.5 * memcpy_seconds(snapshot))
    stall = [a / b for a, b in zip(longest, limits)]
    return [{'figure': f'rate {name}', 'ratio': statistics.median(rates), 'at_least': MODELS[name][3], 'all': rates,
             'save_ms': [1e3 * cost for cost in costs], 'step_ms': 1e3 * step},
            {'figure': f'stall {name}', 'ratio': statistics.median(stall), 'at_most': 1.0, 'all': stall,
             'limits_ms': [1e3 * s for s in limits],
             'longest_ms': [1e3 * s for s in longest], 'longest_without_saving_ms': [1e3 * s for s in plain],
             'snapshot_mib': snapshot / BLOCK}]


def sync_folder(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def write_raw(rank, n_bytes, memory, start):
    """What a rank does, without layout and digest: its bytes in blocks, fsync, fsync of the folder. The process has as
    much memory as a rank: a virtual machine's host may have to find each page that is touched, ten times as slowly as
    the machine itself, and pages just left by another process are those that it has."""
    state = numpy.random.default_rng(rank).integers(0, 256, n_bytes, 'u1')
    others = numpy.ones(max(0, memory - n_bytes), 'u1')
    start.wait()
    del others
    fd = os.open(f'raw/part-{rank}', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    for done in range(0, n_bytes, BLOCK):
        os.write(fd, state[done:done + BLOCK])
    os.fsync(fd)
    os.close(fd)
    sync_folder('raw')


def raw_seconds(n_bytes, memory):
    """Two processes of so much memory, then the three fsyncs of a commit."""
    os.mkdir('raw')
    start = multiprocessing.Barrier(3)
    ranks = [multiprocessing.Process(target=write_raw, args=(rank, n, memory, start)) for rank, n in enumerate(n_bytes)]
    for process in ranks:
        process.start()
    start.wait()
    began = time.perf_counter()
    for process in ranks:
        process.join()
    with open('raw/manifest', 'wb') as f:
        f.write(b'x' * 8192)
        f.flush()
        os.fsync(f.fileno())
    sync_folder('.')
    sync_folder('raw')
    return time.perf_counter() - began


def save_seconds(folder):
    """The last save of a run, which no step runs beside: seconds from the line of the epoch, behind which it is begun,
    to the rename of the manifest; bytes of the parts. Copying, looking for NaN and the commit are within."""
    path = f'{folder}/checkpoints/step-{rehearse.committed(folder)[-1]:08d}'
    sizes = [os.path.getsize(f'{path}/part-{rank:05d}.h5') for rank in range(2)]
    return os.stat(f'{path}/manifest.json').st_ctime - dltest.metrics(folder, 'epoch')[-1]['t'], sizes


def clear_disk():
    """Both sides begin with the same free space."""
    for folder in ('raw', 'runs/large'):
        shutil.rmtree(folder, ignore_errors=True)
    os.sync()


def measure_write(pairs):
    """The first pair does not count."""
    rehearse.write_config('large.yaml', LARGE)
    ratios, seconds = [], []
    for _ in range(1 + pairs):
        clear_disk()
        out = train(['large.yaml'], 'runs/large')
        memory = int(re.search(r'^memory *([\d,]+) MiB per rank', out, re.M).group(1).replace(',', '')) * BLOCK
        took, sizes = save_seconds('runs/large')
        clear_disk()
        raw = raw_seconds(sizes, memory)
        ratios.append(took / raw)
        seconds.append((round(took, 3), round(raw, 3)))
    clear_disk()
    ratios, seconds = ratios[1:], seconds[1:]
    return [{'figure': 'write', 'ratio': statistics.median(ratios), 'at_most': 1.5, 'all': ratios, 'seconds': seconds,
             'megabytes': sum(sizes) / 1e6}]


def measure_resume(pairs):
    rehearse.write_config()
    seconds = []
    for i in range(pairs):
        words = ['net.yaml', f'run.dir=runs/resume-{i}']
        if rehearse.Job(2, words + ['train.max_steps=50']).finish()[0] != 0:
            dltest.fail('a small network does not train')
        began = time.time()
        rehearse.Job(2, words + ['train.max_steps=80']).finish()
        first = [m['t'] for m in dltest.metrics(f'runs/resume-{i}', 'step') if m['step'] == 51]
        seconds.append(first[0] - began)
    return [{'figure': 'resume', 'ratio': statistics.median(seconds) / 2, 'at_most': 1.0, 'seconds': seconds}]


def is_kept(figure):
    return figure['ratio'] >= figure['at_least'] if 'at_least' in figure else figure['ratio'] <= figure['at_most']


def main():
    parser = argparse.ArgumentParser(description='What saving and resuming cost.')
    parser.add_argument('--pairs', type=int, default=5)
    parser.add_argument('--only', default='mnist_cnn,ptb_medium,write,resume')
    options = parser.parse_args()
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    figures = []
    for name in options.only.split(','):
        figures += (measure_rate(name, options.pairs) if name in MODELS else
                    measure_write(options.pairs) if name == 'write' else measure_resume(options.pairs))
        for figure in figures[-2 if name in MODELS else -1:]:
            limit = f'at least {figure["at_least"]}' if 'at_least' in figure else f'at most {figure["at_most"]}'
            print(f'{figure["figure"]:18} {figure["ratio"]:.3f}  ({limit}: {"kept" if is_kept(figure) else "MISSED"})',
                  flush=True)
    print(json.dumps({'cores': len(os.sched_getaffinity(0)), 'figures': figures}))
    return 0 if all(map(is_kept, figures)) else 1


if __name__ == '__main__':
    sys.exit(main())
