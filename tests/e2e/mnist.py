#!/usr/bin/env python3
# TEST tier=full timeout=1200 needs=python,shared-data
"""The real MNIST through the importer: the last epoch's test accuracy is at least 0.990 within 5 epochs for seeds 1,
2, 3 at np 1, 2, 4."""
import dltest


def main():
    found = {}
    for seed in (1, 2, 3):
        for ranks in (1, 2, 4):
            folder = f'runs/{seed}-{ranks}'
            dltest.run(dltest.MNIST_CNN, f'data.path={dltest.mnist()}', f'seed={seed}', 'train.epochs=5',
                       f'run.dir={folder}', ranks=ranks)
            end = dltest.metrics(folder, 'end')[0]
            found[seed, ranks] = end['test_accuracy']
            print(f'seed {seed} np {ranks}: {found[seed, ranks]:.4f}, {end["seconds"]:.0f} s', flush=True)
    if min(found.values()) < 0.990:
        dltest.fail(f'test accuracy {found}')
    print(f'test accuracy of 9 runs: {min(found.values()):.4f} to {max(found.values()):.4f}')


main()
