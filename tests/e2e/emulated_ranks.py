#!/usr/bin/env python3
# TEST tier=default timeout=300 needs=python
"""Ranks that share the emulated GPU (tests/emulator) are joined by `staged`, which is said once; gradients, statistics
of batch normalization and the control word travel through it. Losses and weights are those of one rank, also where they
share its layers, and, reproducible, its bits."""
import dltest

dltest.use_emulated_gpu()

x, y = dltest.random_images(96, shape=(10, 10, 3), classes=4)
dltest.write_shards('images', 'train', {'x': x, 'y': y})
dltest.write_shards('images', 'test', {'x': x[:20], 'y': y[:20]})
with open('images.yaml', 'w') as f:
    f.write('''
name: images
backend: cuda
data: {path: images}
model:
  input: {shape: [10, 10, 3]}
  layers:
    - conv2d: {filters: 6, kernel_size: 3, padding: same}
    - batch_normalization: {statistics: global, activation: relu}
    - max_pooling2d: {pool_size: 2}
    - flatten: {}
    - dense: {units: 12, activation: relu}
    - dense: {units: 4, activation: softmax}
train: {epochs: 2, batch_size: 20, clip_norm: 1.0, optimizer: {sgd: {learning_rate: 0.05, momentum: 0.9}}}
run: {log_every: 1}
''')


def losses(folder):
    epochs = [m['valid_loss'] for m in dltest.metrics(folder, 'epoch')]
    return [m['loss'] for m in dltest.metrics(folder, 'step')] + epochs


worst = 0.0
for mode in ('false', 'true'):
    for ranks in (1, 2, 3):
        run = f'{mode}_{ranks}'
        done = dltest.run('train', 'images.yaml', f'reproducible={mode}', f'run.dir={run}', ranks=ranks)
        said = done.stderr.count(f'{ranks} ranks share a GPU')
        if said != (ranks > 1) or 'emulated GPU' not in done.stdout:
            dltest.fail(f'{run}: said {said} times: {done.stderr}')
        difference = dltest.max_difference(dltest.weights(f'{mode}_1'), dltest.weights(run))
        worst = max(worst, difference)
        if difference > (2e-5 if mode == 'false' else 0):
            dltest.fail(f'{run}: weights differ from those of one rank by {difference}')
        pairs = list(zip(losses(f'{mode}_1'), losses(run), strict=True))
        if max(abs(a - b) / abs(a) for a, b in pairs) > 2e-5:
            dltest.fail(f'{run}: losses {pairs}')
dltest.run('train', 'images.yaml', 'parallel.tensor=2', 'run.dir=tensor', ranks=2)
difference = dltest.max_difference(dltest.weights('false_1'), dltest.weights('tensor'))
if difference > 2e-5:
    dltest.fail(f'tensor=2: weights differ from those of one rank by {difference}')
print(f'2 and 3 ranks on one GPU: weights within {max(worst, difference):.1e} of one rank, reproducible: its bits')
