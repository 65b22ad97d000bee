#!/usr/bin/env python3
# TEST tier=default timeout=90 needs=python,plain
"""The memory that `dltrain check` states is what a run takes: the peak of RssAnon + RssShmem is within 5 % + 20 MiB of
it, for three models and batch sizes, at one rank and at two. MNIST CNN at one rank: VmHWM less RssFile <= 110 MB."""
import json
import os

import dltest
import procmem

MIB = 1 << 20


def peaks(words, ranks):
    """Runs dltrain; returns (peak of RssAnon + RssShmem, VmHWM - RssFile), the largest of any rank."""
    command = [dltest.DLTRAIN] + words
    if ranks:
        command = ['mpirun', '--oversubscribe', '--bind-to', 'none', '-np', str(ranks)] + command
    code, _, err, peak, high = procmem.watch(command, os.path.realpath(dltest.DLTRAIN), interval=0.002)
    if code != 0:
        dltest.fail(err)
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
