#!/usr/bin/env python3
# TEST tier=full timeout=900 needs=python,shared-data
"""Japanese Vowels through its importer: test accuracy at least 0.95 for three seeds at np 1 and 2, losses at np 2
those at np 1. A thousand images of CIFAR-10 into ResNet-20: at least 0.95 of them learnt at np 1 and 2, on curves that
come down together (each rank has statistics of its own there, so that only reproducible: true would give equal
numbers)."""
import os

import dltest

LABELS = {'train': '30,30,30,30,30,30,30,30,30', 'test': '31,35,88,44,29,24,40,50,29'}


def vowels():
    def make(path):
        for split, labels in LABELS.items():
            source = os.path.join(dltest.SHARED_DATA, 'japanese-vowels', f'ae.{split}')
            dltest.run('data', 'import', 'sequences', source, '--labels', labels, '--out', path, '--split', split)
    return dltest.kept('vowels', make)


def cifar():
    def make(path):
        source = os.path.join(dltest.SHARED_DATA, 'cifar10-sample', 'data_batch_1_first1000.bin')
        dltest.run('data', 'import', 'cifar', source, '--out', path, '--split', 'train')
    return dltest.kept('cifar-sample', make)


def curve(folder, kind, figure):
    return [line[figure] for line in dltest.metrics(folder, kind)]


def check_vowels():
    """Returns the accuracies and the largest relative difference of the losses of the first 50 steps."""
    accuracies, worst = [], 0
    for seed in (1, 2, 3):
        for ranks in (1, 2):
            folder = f'runs/vowels-{seed}-{ranks}'
            dltest.run(os.path.join(dltest.ROOT, 'configs', 'vowels.yaml'), f'data.path={vowels()}', f'seed={seed}',
                       f'run.dir={folder}', 'run.log_every=1', ranks=ranks, DLTRAIN_THREADS='1')
            accuracies.append(dltest.metrics(folder, 'end')[0]['test_accuracy'])
        one, two = (curve(f'runs/vowels-{seed}-{ranks}', 'step', 'loss')[:50] for ranks in (1, 2))
        worst = max([worst] + [abs(a - b) / a for a, b in zip(one, two)])
    return accuracies, worst


def check_cifar():
    """Returns the shares that were learnt, and the largest difference of the losses of an epoch."""
    config = os.path.join(dltest.ROOT, 'configs', 'models', 'resnet20.yaml')
    words = [config, f'data.path={cifar()}', 'data.augment=[]', 'train.batch_size=50',
             'train.optimizer.sgd.learning_rate=0.05', 'train.epochs=25']
    for ranks in (1, 2):
        dltest.run(*words, f'run.dir=runs/cifar-{ranks}', ranks=ranks, DLTRAIN_THREADS='1')
    losses = [curve(f'runs/cifar-{ranks}', 'epoch', 'loss') for ranks in (1, 2)]
    learnt = [curve(f'runs/cifar-{ranks}', 'epoch', 'accuracy')[-1] for ranks in (1, 2)]
    return learnt, max(abs(a - b) for a, b in zip(*losses))


def main():
    accuracies, worst = check_vowels()
    print(f'vowels: {min(accuracies):.4f} to {max(accuracies):.4f}; losses of two ranks within {worst:.2g}')
    if min(accuracies) < 0.95:
        dltest.fail(f'test accuracy of the vowels {accuracies}')
    if worst > 1e-4:
        dltest.fail(f'the losses of the vowels at np 2 are {worst:.2g} away from those at np 1')
    learnt, apart = check_cifar()
    if min(learnt) < 0.95:
        dltest.fail(f'training accuracy of ResNet-20 {learnt}')
    if apart > 0.4:
        dltest.fail(f'the curves of ResNet-20 at np 1 and 2 are {apart:.2f} nats apart')
    print(f'vowels {min(accuracies):.4f} to {max(accuracies):.4f}, ResNet-20 on the CIFAR sample {min(learnt):.4f}, '
          f'its curves within {apart:.2f} nats')


main()
