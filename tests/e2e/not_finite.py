#!/usr/bin/env python3
# TEST tier=default timeout=200 needs=python
"""train.on_nan: skip. A sample that is not finite, on one rank of several: its step leaves parameters, moments,
moving statistics, averages and what goes by them (learning rate, bias correction, samples) as they were, byte for byte,
is told in metrics.jsonl and on the console, and training goes on, also over a resumption; more than max_skips in a row
stop it with exit status 77, as on_nan: stop does at once."""
import glob
import json

import dltest
import numpy

MODEL = '''
data: {path: data}
model:
  input: {shape: [6, 6, 1]}
  layers:
    - conv2d: {filters: 4, kernel_size: 3, padding: same}
    - batch_normalization: {activation: relu}
    - dropout: {rate: 0.2}
    - flatten: {}
    - dense: {units: 5, activation: softmax}
train:
  {epochs: 2, batch_size: 24, ema_decay: 0.9, optimizer: {adam: {learning_rate: 0.01}},
   schedule: {constant: {warmup_steps: 8}}}
run: {log_every: 1, audit: true}
checkpoint: {every_minutes: 0, every_epochs: 0}
'''
TEXT = '''
data: {path: text, make: text}
model:
  input: {shape: [12], dtype: tokens}
  layers:
    - embedding: {input_dim: auto, output_dim: 8}
    - lstm: {units: 8, return_sequences: true, stateful: true}
    - dense: {units: auto, activation: softmax}
train: {epochs: 1, batch_size: 24, optimizer: {sgd: {learning_rate: 0.1, momentum: 0.9}}}
'''
STEPS, BATCH, BAD = 12, 24, 5  # of an epoch; step BAD gets the sample that is not finite


def train(folder, *words, ranks=0, code=0, data='data'):
    return dltest.run('net.yaml', f'run.dir={folder}', f'data.path={data}', *words, ranks=ranks, code=code, fresh=False,
                      DLTRAIN_THREADS='1')


def make_data():
    """The clean set, and the samples of a step: from a run's audit."""
    x, y = dltest.random_images(STEPS * BATCH, (6, 6, 1), 5)
    x = x.astype('f4') / 255
    dltest.write_shards('data', 'train', {'x': x, 'y': y})
    dltest.write_shards('data', 'test', {'x': x[:60], 'y': y[:60]})
    train('runs/clean')
    with open('runs/clean/audit.rank00000.jsonl') as f:
        of_step = {line['step']: line['ids'] for line in map(json.loads, f) if line['split'] == 'train'}
    return x, y, of_step


def plant(path, x, y, ids):
    bad = x.copy()
    for number in ids:
        bad[number, 2, 2, 0] = numpy.nan
    dltest.write_shards(path, 'train', {'x': bad, 'y': y})
    dltest.write_shards(path, 'test', {'x': x[:60], 'y': y[:60]})


def newest(folder):
    return sorted(glob.glob(f'{folder}/checkpoints/step-*'))[-1]


def state(folder):
    with open(newest(folder) + '/manifest.json') as f:
        return json.load(f)


def check_skip(ranks):
    """One epoch has one bad step: BAD, and in the second epoch another one."""
    folder = f'runs/skip-{ranks}'
    said = train(folder, 'train.on_nan=skip', ranks=ranks, data='one').stdout
    skips = dltest.metrics(folder, 'skip')
    steps = {m['step']: m for m in dltest.metrics(folder, 'step')}
    if [s['step'] for s in skips][:1] != [BAD] or len(skips) != 2 or skips[0]['in_row'] != 1 or BAD in steps:
        dltest.fail(f'{ranks} ranks: {skips}')
    if 'on rank' not in skips[0]['where'] or f'skip    step {BAD}:' not in said or 'skipped 2 steps' not in said:
        dltest.fail(f'{ranks} ranks: {skips[0]}\n{said}')
    if dltest.metrics(folder, 'end')[0]['skipped'] != 2:
        dltest.fail('the end line does not count them')
    for step in (BAD - 1, BAD + 1):  # the schedule has not seen the step
        made = step - (step > BAD)
        if abs(steps[step]['lr'] - 0.01 * made / 8) > 1e-12 or steps[step]['samples'] != made * BATCH:
            dltest.fail(f'{ranks} ranks, step {step}: {steps[step]}')
    before, after = f'runs/before-{ranks}', f'runs/after-{ranks}'
    train(before, 'train.on_nan=skip', f'train.max_steps={BAD - 1}', ranks=ranks, data='one')
    train(after, 'train.on_nan=skip', f'train.max_steps={BAD}', ranks=ranks, data='one')
    told = json.loads(dltest.run('ckpt', 'diff', '--json', newest(before), newest(after)).stdout)
    if not told['equal']:
        dltest.fail(f'{ranks} ranks: a skipped step has changed {told}')
    old, new = state(before), state(after)
    names = [t['name'] for t in new['tensors']]
    for kind in ('/parameters/', '/optimizer/', '/state/statistics/', '/state/averaged/', '/state/samples_seen'):
        if not any(name.startswith(kind) for name in names):
            dltest.fail(f'nothing was compared of {kind}: {names}')
    for key in ('samples', 'epoch_samples', 'epoch_sums', 'best', 'stopping'):
        if old['state']['trainer'][key] != new['state']['trainer'][key]:
            dltest.fail(f'{key}: {old["state"]["trainer"][key]}, {new["state"]["trainer"][key]}')
    if (old['samples'], old['step'] + 1) != (new['samples'], new['step']) or new['state']['trainer']['skipped'] != 1:
        dltest.fail(f'{old["state"]}, {new["state"]}')
    train(after, 'train.on_nan=skip', ranks=ranks, data='one')
    if dltest.weights_hash(after) != dltest.weights_hash(folder) or len(dltest.metrics(after, 'skip')) != 2:
        dltest.fail(f'{ranks} ranks: gone on after the skipped step it ends elsewhere')


def check_first_update():
    """After a skipped first step Adam's first update changes by the whole rate."""
    rate = ['train.schedule=constant', 'train.on_nan=skip']
    train('runs/first-1', 'train.max_steps=1', *rate, data='first')
    train('runs/first-2', 'train.max_steps=2', *rate, data='first')
    before, after = (dltest.weights(f'runs/first-{n}') for n in (1, 2))
    change = numpy.abs(after['/dense/weight'] - before['/dense/weight'])
    if not 0.0099 < float(numpy.median(change)) < 0.0101:
        dltest.fail(f'the first update after a skipped step changes by {float(numpy.median(change))}')


def check_carried():
    """What a stateful LSTM carries from batch to batch, too. Tokens cannot be NaN: the step is injected."""
    words = ['train.on_nan=skip', 'train.clip_norm=1', 'train.accumulate=2', '--inject', f'nan@rank=1,step={BAD}']
    for step in (BAD - 1, BAD):
        dltest.run('text.yaml', f'run.dir=runs/text-{step}', f'train.max_steps={step}', *words, ranks=2,
                   DLTRAIN_THREADS='1', DLTRAIN_INJECT='1')
    told = json.loads(dltest.run('ckpt', 'diff', '--json', *(newest(f'runs/text-{s}') for s in (BAD - 1, BAD))).stdout)
    carried = [t['name'] for t in state(f'runs/text-{BAD}')['tensors'] if t['name'].startswith('/state/carried/')]
    if not told['equal'] or not carried:
        dltest.fail(f'carried: {carried}, {told}')


def check_bound():
    for ranks in (0, 2):
        message = train('runs/all', 'train.on_nan=skip', 'train.max_skips=3', '--fresh', ranks=ranks, code=77,
                        data='all').stderr
        if 'step 4, after 3 skipped in a row' not in message or 'step 0 are unchanged' not in message:
            dltest.fail(f'the bound: {message}')
    message = train('runs/stop', code=77, data='one').stderr
    if f'diverged at step {BAD}:' not in message:
        dltest.fail(f'on_nan: stop: {message}')
    # The same run goes on with the other policy.
    train('runs/change', f'train.max_steps={BAD - 1}', data='one')
    train('runs/change', 'train.on_nan=skip', data='one')
    # Skips that are not in a row do not add up, also over a resumption.
    train('runs/apart', 'train.on_nan=skip', 'train.max_skips=1', data='one')


def main():
    with open('net.yaml', 'w') as f:
        f.write(MODEL)
    with open('text.yaml', 'w') as f:
        f.write(TEXT)
    x, y, of_step = make_data()
    plant('one', x, y, [of_step[BAD][-1]])
    plant('first', x, y, [of_step[1][0]])
    plant('all', x, y, range(len(x)))
    for ranks in (0, 2, 3):
        check_skip(ranks)
    check_first_update()
    check_carried()
    check_bound()
    print('a step that is skipped changes no byte at np 1, 2, 3; 4 in a row stop training')


main()
