#!/usr/bin/env python3
# TEST tier=quick timeout=90 needs=python,plain
"""The memory that `dltrain check` states is what a run takes: the peak of RssAnon + RssShmem is within 5 % + 20 MiB of
it, for three models and batch sizes, at one rank and at two. MNIST CNN at one rank: VmHWM less RssFile <= 110 MB."""
import json
import os
import subprocess
import time

import dltest

MIB = 1 << 20


def status_of(pid):
    """Memory of a process in bytes, by the names in /proc, or None when it is gone."""
    try:
        with open(f'/proc/{pid}/status') as f:
            return {line.split(':')[0]: int(line.split()[1]) * 1024 for line in f if line.startswith(('Rss', 'VmHWM'))}
    except (OSError, IndexError):
        return None


def dltrain_children(pid):
    """Processes below `pid` that are dltrain, itself included."""
    found, waiting = [], [pid]
    while waiting:
        p = waiting.pop()
        try:
            if os.readlink(f'/proc/{p}/exe') == dltest.DLTRAIN:
                found.append(p)
            for task in os.listdir(f'/proc/{p}/task'):
                with open(f'/proc/{p}/task/{task}/children') as f:
                    waiting += [int(c) for c in f.read().split()]
        except OSError:
            pass
    return found


def peaks(words, ranks):
    """Runs dltrain; returns (peak of RssAnon + RssShmem, VmHWM - RssFile), the largest of any rank."""
    command = [dltest.DLTRAIN] + words
    if ranks:
        command = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks)] + command
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = high = 0
    while process.poll() is None:
        for pid in dltrain_children(process.pid):
            s = status_of(pid)
            if s and 'VmHWM' in s:
                peak = max(peak, s['RssAnon'] + s['RssShmem'])
                high = max(high, s['VmHWM'] - s['RssFile'])
        time.sleep(0.002)
    if process.returncode != 0:
        dltest.fail(process.stderr.read().decode())
    return peak, high


def main():
    data = dltest.small_digits()
    wide = os.path.abspath('wide.yaml')
    with open(wide, 'w') as f:
        f.write('''
data: {path: %s}
model:
  input: {shape: [28, 28, 1]}
  layers:
    - conv2d: {filters: 96, kernel_size: 5, padding: same, activation: relu}
    - max_pooling2d: {pool_size: 2}
    - flatten: {}
    - dense: {units: 512, activation: relu}
    - dense: {units: auto, activation: softmax}
train: {epochs: 1, max_steps: 8, batch_size: 64}
''' % data)
    figures = []
    for name, config, words in (('mnist_cnn', dltest.MNIST_CNN, []), ('batch 1024', dltest.MNIST_CNN,
                                ['train.batch_size=1024']), ('wide', wide, [])):
        for ranks in (0, 2):
            all_words = [config, f'data.path={data}', 'train.max_steps=12'] + words
            stated = json.loads(dltest.run('check', *all_words, '--json', '--np', str(ranks or 1)).stdout)
            stated = stated['memory']['total']
            peak, high = peaks(all_words + [f'run.dir=runs/{name}-{ranks}'.replace(' ', '-')], ranks)
            figures.append(f'{name} np {ranks or 1}: {peak / MIB:.0f} of {stated / MIB:.0f} MiB')
            if abs(peak - stated) > 0.05 * stated + 20 * MIB:
                dltest.fail(f'{figures[-1]}: not within 5 % + 20 MiB')
            if name == 'mnist_cnn' and not ranks and high > 110e6:
                dltest.fail(f'VmHWM less RssFile is {high / 1e6:.0f} MB, more than 110')
    print('; '.join(figures))


main()
