#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""Early stopping ends training exactly `patience` epochs after the best one, at np 1 and 2; best.h5 holds that epoch's
weights, and the end line and the summary name it."""
import json
import os

import dltest

PATIENCE = 2


def best_of(values, min_delta):
    """(epoch of the best, epochs run) by a few lines of Python."""
    best, at = None, 0
    for epoch, value in enumerate(values, 1):
        if best is None or best - value > min_delta:
            best, at = value, epoch
        elif epoch - at >= PATIENCE:
            return at, epoch
    return at, len(values)


def main():
    words = [dltest.MNIST_CNN, f'data.path={dltest.small_digits()}', 'train.schedule=constant', 'train.epochs=30',
             'train.optimizer={adam: {learning_rate: 0.01}}', 'data.valid=0.2']
    figure = ''
    for ranks, min_delta in ((1, 0.0), (2, 0.02)):
        folder = f'runs/{ranks}'
        stopping = 'train.early_stopping={patience: %d, min_delta: %g}' % (PATIENCE, min_delta)
        done = dltest.run(*words, stopping, f'run.dir={folder}', ranks=ranks, DLTRAIN_THREADS='1')
        losses = [m['valid_loss'] for m in dltest.metrics(folder, 'epoch')]
        end = dltest.metrics(folder, 'end')[0]
        at, epochs = best_of(losses, min_delta)
        if epochs != len(losses) or len(losses) == 30:
            dltest.fail(f'np {ranks}: {len(losses)} epochs were run, {epochs} expected: {losses}')
        lowest = losses.index(min(losses)) + 1
        if end['best_epoch'] != lowest or end['best_valid_loss'] != min(losses) or end['epoch'] != epochs:
            dltest.fail(f'np {ranks}: {end} after {losses}')
        for text in (f'done early, no better valid_loss for {PATIENCE} epochs', f'best:  epoch {lowest}, valid_loss'):
            if text not in done.stdout:
                dltest.fail(f'np {ranks}: the summary does not say {text!r}: {done.stdout[-800:]}')
        said = dltest.run('eval', folder, '--split', 'valid', '--weights', f'{folder}/best.h5', '--json').stdout
        if abs(json.loads(said)['valid_loss'] - min(losses)) > 1e-6:
            dltest.fail(f'best.h5 gives {said}, the best epoch had {min(losses)}')
        figure += f' np {ranks}: best {lowest} of {epochs};'
    # A figure of the training itself, kept but not waited for.
    dltest.run(*words, 'train.epochs=3', 'checkpoint.best=accuracy', 'run.dir=runs/kept', DLTRAIN_THREADS='1')
    accuracies = [m['accuracy'] for m in dltest.metrics('runs/kept', 'epoch')]
    end = dltest.metrics('runs/kept', 'end')[0]
    if len(accuracies) != 3 or end['best_accuracy'] != max(accuracies):
        dltest.fail(f'checkpoint.best=accuracy: {end} after {accuracies}')
    # By default, too; not where nobody wants it, or there is nothing to validate on.
    for more, kept in (((), True), (('checkpoint.best=none',), False)):
        dltest.run(*words, 'train.epochs=2', 'run.dir=runs/default', *more, DLTRAIN_THREADS='1')
        end = dltest.metrics('runs/default', 'end')[0]
        lowest = min(m['valid_loss'] for m in dltest.metrics('runs/default', 'epoch'))
        if os.path.exists('runs/default/best.h5') != kept or end.get('best_valid_loss') != (lowest if kept else None):
            dltest.fail(f'checkpoint.best, {more}: {end}')
    # Nothing to validate on.
    x, y = dltest.random_images(64)
    dltest.write_shards('only-train', 'train', {'x': x, 'y': y})
    done = dltest.run(dltest.MNIST_CNN, 'data.path=only-train', 'train.early_stopping={patience: 1}', 'run.dir=runs/no',
                      code=2)
    dltest.run(dltest.MNIST_CNN, 'data.path=only-train', 'run.dir=runs/none', 'train.epochs=1')
    if os.path.exists('runs/none/best.h5') or 'best_epoch' in dltest.metrics('runs/none', 'end')[0]:
        dltest.fail('a best epoch without validation samples')
    dltest.run('runs/none/config.yaml', 'run.dir=runs/again')
    if 'valid_loss is watched' not in done.stderr or 'data.valid' not in done.stderr:
        dltest.fail(f'without validation samples: {done.stderr}')
    done = dltest.run(*words, 'data.valid=0.00001', 'run.dir=runs/no', code=2)
    if 'training samples is none; 0 validates on the test samples' not in done.stderr:
        dltest.fail(f'a share of no sample: {done.stderr}')
    print(figure.strip(' ;'))


main()
