#!/usr/bin/env python3
# TEST tier=nightly timeout=7200 needs=python,shared-data
"""tiny-shakespeare, character by character, in bfloat16: the mean validation loss over 5 seeds is that of float32
within 0.02 nats, after two epochs."""
import os

import dltest

SEEDS, EPOCHS, BOUND = (1, 2, 3, 4, 5), 2, 0.02
CONFIG = os.path.join(dltest.ROOT, 'configs', 'char_lstm.yaml')


def loss(precision, seed):
    folder = f'runs/{precision}-{seed}'
    dltest.run(CONFIG, f'data.path={dltest.shakespeare()}', f'seed={seed}', f'train.epochs={EPOCHS}',
               f'precision={precision}', f'run.dir={folder}', timeout=3600)
    found = dltest.metrics(folder, 'epoch')[-1]['valid_loss']
    print(f'{precision}, seed {seed}: {found:.4f} nats', flush=True)
    return found


def main():
    mean = {precision: sum(loss(precision, seed) for seed in SEEDS) / len(SEEDS)
            for precision in ('float32', 'bfloat16')}
    if abs(mean['bfloat16'] - mean['float32']) > BOUND:
        dltest.fail(f'mean validation losses {mean}')
    print(f'mean validation loss {mean["bfloat16"]:.4f} in bfloat16, {mean["float32"]:.4f} in float32')


main()
