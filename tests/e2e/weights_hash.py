#!/usr/bin/env python3
# TEST tier=quick timeout=120 needs=python
"""The hash of the weights is a function of the run: the same twice, another after one more step, with another seed or
learning rate."""

import dltest


def main():
    hashes, data = {}, dltest.small_digits()
    for name, words in (('first', []), ('again', []), ('step', ['train.max_steps=11']), ('seed', ['seed=2']),
                        ('rate', ['train.optimizer.adam.learning_rate=0.0011'])):
        dltest.run(dltest.MNIST_CNN, f'data.path={data}', 'train.max_steps=10', *words, f'run.dir=runs/{name}')
        hashes[name] = dltest.weights_hash(f'runs/{name}')
        if dltest.metrics(f'runs/{name}', 'end')[0]['weights'] != hashes[name]:
            dltest.fail(f'{name}: the hash in metrics.jsonl is not that of weights.h5')
    if hashes['first'] != hashes['again']:
        dltest.fail('the same run twice has two hashes')
    if len(set(hashes.values())) != 4:
        dltest.fail(f'runs that differ have equal hashes: {hashes}')
    print('5 runs, 4 hashes')


main()
