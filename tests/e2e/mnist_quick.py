#!/usr/bin/env python3
# TEST tier=default timeout=240 needs=python,shared-data
"""The real MNIST through the importer at np 2: test accuracy at least 0.990 within 5 epochs for seed 1."""
import dltest


def main():
    dltest.run(dltest.MNIST_CNN, f'data.path={dltest.mnist()}', 'train.epochs=5', 'run.dir=runs/a', ranks=2)
    accuracy = dltest.metrics('runs/a', 'end')[0]['test_accuracy']
    if accuracy < 0.990:
        dltest.fail(f'test accuracy {accuracy}')
    print(f'test accuracy {accuracy:.4f}')


main()
