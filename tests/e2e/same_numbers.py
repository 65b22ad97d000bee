#!/usr/bin/env python3
# TEST tier=default timeout=180 needs=python
"""One batch of 64, 4 accumulated batches of 16, and 4 ranks with 16 each agree after 20 steps: max |dw| <= 1e-5
max |w|; so do uneven splits (64 over 3 ranks) and a short last batch, whose true weight counts. The network is smooth:
where a maximum or a ReLU has two nearly equal sides, rounding may choose another one, and runs part."""
import dltest

LIMIT = 1e-5
CONFIG = '''
data: {path: %s}
model:
  input: {shape: [28, 28, 1]}
  layers:
    - conv2d: {filters: 16, kernel_size: 3, strides: 2, activation: tanh}
    - conv2d: {filters: 32, kernel_size: 3, strides: 2, activation: tanh, padding: same}
    - conv2d: {filters: 32, kernel_size: 3, activation: sigmoid}
    - flatten: {}
    - dense: {units: 64, activation: tanh}
    - dense: {units: auto, activation: softmax}
train: {batch_size: 64, epochs: 3}
'''
OPTIMIZERS = ('{sgd: {learning_rate: 0.05, momentum: 0.9}}',
              '{sgd: {learning_rate: 0.02, momentum: 0.9, nesterov: true, weight_decay: 1.0e-3}}')


def main():
    with open('smooth.yaml', 'w') as f:
        f.write(CONFIG % dltest.small_digits())
    worst = 0
    # 2,000 samples in batches of 64: the 32nd step has 16.
    for optimizer, steps in [(o, n) for o in OPTIMIZERS for n in (20, 33)]:
        reference = None
        for name, words, ranks in (('one', [], 0), ('accumulated', ['train.accumulate=4'], 0), ('four', [], 4),
                                   ('three', [], 3), ('both', ['train.accumulate=2'], 2)):
            dltest.run('smooth.yaml', f'train.max_steps={steps}', f'train.optimizer={optimizer}', *words,
                       f'run.dir=runs/{name}', ranks=ranks)
            found = dltest.weights(f'runs/{name}')
            reference = reference or found
            worst = max(worst, dltest.max_difference(reference, found))
            if worst > LIMIT:
                dltest.fail(f'{optimizer}, {steps} steps, {name}: max |dw| / max |w| = {worst:.2e}')
    print(f'max |dw| / max |w|: {worst:.2e}')


main()
