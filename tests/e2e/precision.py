#!/usr/bin/env python3
# TEST tier=default timeout=300 slots=1 needs=python
"""precision: bfloat16 and float16 on the CPU. Losses follow those of float32; the weights on disk stay float32; the
same bits at any number of ranks and threads with reproducible: true; `check` tells of less memory; tf32 is float32.
Loss scales: one that overflows skips its step on all ranks (nothing changes but the scale, which halves, and the step's
line says so), is not train.on_nan's business, and goes on over a resumption."""
import json

import dltest
import rehearse

IMAGES = '''
data: {path: data}
model:
  input: {shape: [12, 12, 3]}
  layers:
    - conv2d: {filters: 8, kernel_size: 3, padding: same, use_bias: false}
    - batch_normalization: {activation: relu, name: block}
    - conv2d: {filters: 8, kernel_size: 3, padding: same}
    - batch_normalization: {name: norm}
    - add: {from: [norm, block]}
    - max_pooling2d: {pool_size: 2}
    - dropout: {rate: 0.2}
    - flatten: {}
    - dense: {units: 24, activation: relu}
    - dense: {units: 10, activation: softmax}
train: {epochs: 2, batch_size: 24, clip_norm: 1, optimizer: {adam: {learning_rate: 0.003}}}
run: {log_every: 1}
checkpoint: {every_minutes: 0, every_epochs: 0}
'''
TEXT = '''
data: {path: text, make: text}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 16}
    - lstm: {units: 24, return_sequences: true, stateful: true}
    - dense: {units: auto, activation: softmax}
train: {epochs: 1, max_steps: 20, batch_size: 24, ema_decay: 0.9, optimizer: {adam: {}}}
run: {log_every: 1}
'''


def train(config, folder, *words, ranks=0, code=0, threads='1'):
    return dltest.run(config, f'run.dir={folder}', *words, ranks=ranks, code=code, fresh=False, DLTRAIN_THREADS=threads,
                      DLTRAIN_INJECT='1')


def steps(folder):
    return dltest.metrics(folder, 'step')


def check_losses():
    for config in ('images.yaml', 'text.yaml'):
        for precision, bound in (('bfloat16', 0.03), ('float16', 0.01), ('tf32', 0.0)):
            wide, narrow = f'runs/{config}-float32', f'runs/{config}-{precision}'
            for folder, value in ((wide, 'float32'), (narrow, precision)):
                train(config, folder, f'precision={value}')
            first = steps(wide)[0]['loss']
            apart = max(abs(a['loss'] - b['loss']) / first for a, b in zip(steps(wide)[:10], steps(narrow)))
            print(f'{config} {precision}: losses of 10 steps at most {apart:.2g} of the first one apart')
            if not apart <= bound or (bound > 0 and apart == 0) or len(steps(wide)) != len(steps(narrow)):
                dltest.fail(f'{config}: the losses of {precision} are {apart:.3g} from those of float32')
            if any(w.dtype != 'f4' for w in dltest.weights(narrow).values()):
                dltest.fail(f'weights.h5 of {precision} is not float32')


def check_bits():
    """A batch of 24 over 3 ranks is shared in unequal pieces."""
    for config in ('images.yaml', 'text.yaml'):
        for precision in ('bfloat16', 'float16'):
            found = {}
            for ranks, threads in ((1, '1'), (1, '2'), (2, '1'), (3, '1')):
                folder = f'runs/bits-{config}-{precision}-{ranks}x{threads}'
                train(config, folder, f'precision={precision}', 'reproducible=true', ranks=ranks, threads=threads)
                found[ranks, threads] = dltest.weights_hash(folder)
            if len(set(found.values())) != 1:
                dltest.fail(f'{config} in {precision}: {found}')


def memory(*words):
    return json.loads(dltest.run('check', 'images.yaml', '--json', *words).stdout)['memory']


def check_memory():
    wide, narrow = memory('train.batch_size=256'), memory('train.batch_size=256', 'precision=bfloat16')
    print(f'activations {narrow["activations"] / wide["activations"]:.2f}, all {narrow["total"] / wide["total"]:.2f}')
    if not narrow['activations'] < 0.6 * wide['activations']:
        dltest.fail(f'activations take {narrow["activations"]} bytes in bfloat16, {wide["activations"]} in float32')
    if not narrow['total'] < 0.95 * wide['total']:
        dltest.fail(f'{narrow["total"]} bytes in bfloat16, {wide["total"]} in float32')


def check_overflow():
    """One step at np 2: as if it had not been, but for the scale; train.on_nan: stop does not stop."""
    words = ['train.max_steps=1', 'train.ema_decay=0.9']
    train('images.yaml', 'runs/over', 'precision=float16', 'train.loss_scale=1e30', *words, ranks=2)
    train('images.yaml', 'runs/nothing', 'train.on_nan=skip', '--inject', 'nan@rank=0,step=1', *words, ranks=2)
    for name in ('weights.h5', 'ema.h5'):
        if rehearse.content(f'runs/over/{name}') != rehearse.content(f'runs/nothing/{name}'):
            dltest.fail(f'a step that overflowed changed {name}')
    line = steps('runs/over')[0]
    if line.get('skipped') is not True or line['loss_scale'] != 5e29 or line['samples'] != 0 or not line['loss'] > 0:
        dltest.fail(f'the step that overflowed is told as {line}')
    if dltest.metrics('runs/over', 'skip') or dltest.metrics('runs/over', 'end')[0]['skipped'] != 1:
        dltest.fail('the step that overflowed was taken for a NaN')
    if any('skipped' in line for line in steps('runs/images.yaml-float16')):
        dltest.fail('the automatic scale overflows')
    if any(line['loss_scale'] != 65536 for line in steps('runs/images.yaml-float16')):
        dltest.fail('the automatic scale does not begin with 65536')
    train('images.yaml', 'runs/nan', 'precision=float16', '--inject', 'nan@rank=1,step=3', ranks=2, code=77)


def check_resumption():
    """From a scale that overflows for some steps to one that does not; ended amid them, and behind."""
    words = ['precision=float16', 'train.loss_scale=1e9', 'reproducible=true']
    train('images.yaml', 'runs/whole', *words)
    scales = {line['step']: line['loss_scale'] for line in steps('runs/whole')}
    skipped = [line['step'] for line in steps('runs/whole') if line.get('skipped')]
    if not 3 <= len(skipped) <= 12 or skipped != list(range(1, len(skipped) + 1)):
        dltest.fail(f'skipped: {skipped}')
    for at, ranks in ((4, 2), (len(skipped) + 6, 1)):
        folder = f'runs/ended-{at}'
        train('images.yaml', folder, *words, f'train.max_steps={at}')
        train('images.yaml', folder, *words, '--force', 'train.max_steps', ranks=ranks)
        if not dltest.metrics(folder, 'resume'):
            dltest.fail(f'ended with step {at}: no resumption')
        if {line['step']: line['loss_scale'] for line in steps(folder)} != scales:
            dltest.fail(f'ended with step {at}: scales {[line["loss_scale"] for line in steps(folder)]}, not {scales}')
        if dltest.weights_hash(folder) != dltest.weights_hash('runs/whole'):
            dltest.fail(f'ended with step {at}: other weights')
    print(f'{len(skipped)} steps skipped, then scale {list(scales.values())[-1]:g}')


def main():
    x, y = dltest.random_images(24 * 12 + 7, (12, 12, 3), 5)
    dltest.write_shards('data', 'train', {'x': x, 'y': y})
    dltest.write_shards('data', 'test', {'x': x[:60], 'y': y[:60]})
    for name, text in (('images.yaml', IMAGES), ('text.yaml', TEXT)):
        with open(name, 'w') as f:
            f.write(text)
    check_losses()
    check_bits()
    check_memory()
    check_overflow()
    check_resumption()


main()
