#!/usr/bin/env python3
# TEST tier=full timeout=1500 needs=python,shared-data
"""tiny-shakespeare: the character model of configs/char_lstm.yaml on two ranks comes to at most 1.60 nats a character
on the last tenth of the text within ten minutes (all figures of the run are printed), its loss at np 1 is that at np 2,
and it then writes lines that look like the text's."""
import os
import re

import dltest

CONFIG = os.path.join(dltest.ROOT, 'configs', 'char_lstm.yaml')


def first_losses(ranks):
    folder = f'runs/first-{ranks}'
    dltest.run(CONFIG, f'data.path={dltest.shakespeare()}', 'train.max_steps=30', 'run.log_every=1',
               f'run.dir={folder}', ranks=ranks, DLTRAIN_THREADS='1')
    return [line['loss'] for line in dltest.metrics(folder, 'step')]


def main():
    apart = max(abs(a - b) / a for a, b in zip(first_losses(1), first_losses(2)))
    if apart > 1e-4:
        dltest.fail(f'the losses at np 1 and 2 are {apart:.2g} apart')
    dltest.run(CONFIG, f'data.path={dltest.shakespeare()}', 'train.epochs=6', 'run.dir=runs/text', ranks=2,
               timeout=1400, DLTRAIN_THREADS='1')
    losses = [line['valid_loss'] for line in dltest.metrics('runs/text', 'epoch')]
    seconds = dltest.metrics('runs/text', 'end')[0]['seconds']
    said = dltest.run('generate', 'runs/text', '--prompt', 'ROMEO:', '--tokens', '300', '--temperature', '0.7',
                      '--seed', '1').stdout
    print(said)
    if losses[-1] > 1.60 or seconds > 600:
        dltest.fail(f'{losses[-1]:.4f} nats after {seconds:.0f} s; epochs: {losses}')
    if not re.search(r'\n[A-Z][A-Za-z ]+:\n', said):
        dltest.fail('the text names no speaker')
    print(f'{losses[-1]:.4f} nats a character after {len(losses)} epochs, {seconds:.0f} s on two ranks')


main()
