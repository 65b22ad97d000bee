#!/usr/bin/env python3
# TEST tier=default timeout=400 needs=python
"""reproducible: true makes byte-equal weights.h5 after 200 steps of the MNIST CNN with dropout, the last batch of an
epoch having 61 samples, at np 1, 2, 3, 4, 8 and 1 or 2 threads, and the same losses and accuracies in every digit.
States the cost of the mode at np 1."""
import dltest

N_TRAIN = 128 * 40 + 61


def main():
    dltest.cut_digits('data/digits', train=N_TRAIN, test=500)
    text = open(dltest.MNIST_CNN).read()
    at = '    - dense: {units: auto'
    if at not in text:
        dltest.fail(f'configs/mnist_cnn.yaml has no line {at!r}')
    with open('a.yaml', 'w') as f:
        f.write(text.replace(at, '    - dropout: {rate: 0.5}\n' + at))
    words = ['a.yaml', 'data.path=data/digits', 'train.epochs=5', 'train.max_steps=200']
    dltest.run(*words, 'run.dir=runs/fast', DLTRAIN_THREADS='1')
    fast = dltest.metrics('runs/fast', 'step')[-1]['seconds']
    files, cost = {}, 0
    for ranks, threads in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (4, 1), (8, 1), (8, 2)):
        folder = f'runs/{ranks}x{threads}'
        dltest.run(*words, 'reproducible=true', f'run.dir={folder}', ranks=ranks, DLTRAIN_THREADS=str(threads))
        files[folder] = open(f'{folder}/weights.h5', 'rb').read()
        if (ranks, threads) == (1, 1):
            cost = dltest.metrics(folder, 'step')[-1]['seconds'] / fast
        if files[folder] != files['runs/1x1']:
            dltest.fail(f'{ranks} ranks with {threads} threads: weights.h5 is not that of 1 rank with 1 thread')
        if dltest.figures(folder) != dltest.figures('runs/1x1'):
            dltest.fail(f'{ranks} ranks with {threads} threads: losses or accuracies are not those of 1 rank')
    if dltest.metrics('runs/8x2', 'end')[0]['step'] != 200:
        dltest.fail('not 200 steps')
    print(f'8 grids, one file; cost of the mode at np 1: {cost:.2f}')


main()
