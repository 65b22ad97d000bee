#!/usr/bin/env python3
# TEST tier=default timeout=240 slots=1 needs=python
"""`eval --predictions`: the same bytes at np 1, 2, 3, 5, one line for each sample in their order, and NumPy finds the
loss and every metric from them, to 1e-9 of what eval says; also of an eval without predictions."""
import json
import math
import os
import stat
import threading

import dltest
import numpy

SMOOTHING = 0.1
METRICS = 'accuracy, top_3_accuracy, top_5_accuracy, perplexity'


def figures(lines):
    """Loss and metrics by NumPy, from the rows of the file alone."""
    p = numpy.array([line['probabilities'] for line in lines], 'f8')
    labels = numpy.array([line['label'] for line in lines])
    rows, classes = numpy.arange(len(p)), p.shape[1]
    target = numpy.full(p.shape, SMOOTHING / classes)
    target[rows, labels] += 1 - SMOOTHING
    first_best = numpy.argsort(-p, axis=1, kind='stable')
    if [line['prediction'] for line in lines] != first_best[:, 0].tolist():
        dltest.fail('a prediction is not the most probable class')
    found = {'test_loss': -(target * numpy.log(p)).sum(axis=1).mean(),
             'test_perplexity': math.exp(-numpy.log(p[rows, labels]).mean())}
    for k in (1, 3, 5):
        name = 'test_accuracy' if k == 1 else f'test_top_{k}_accuracy'
        found[name] = (first_best[:, :k] == labels[:, None]).any(axis=1).mean()
    return found


def compare(said, found, where):
    worst = 0
    for name, value in found.items():
        worst = max(worst, abs(said[name] - value))
        if not abs(said[name] - value) <= 1e-9:
            dltest.fail(f'{where}: eval says {name} {said[name]}, NumPy {value}')
    return worst


def check_special(first):
    """Into a pipe they go as they are, and it stays one; a folder is refused before anything is computed."""
    os.mkfifo('pipe')
    read = []
    reader = threading.Thread(target=lambda: read.append(open('pipe', 'rb').read()), daemon=True)
    reader.start()
    dltest.run('eval', 'r', '--predictions', 'pipe', DLTRAIN_THREADS='1', timeout=60)
    reader.join(30)
    if read != [first] or not stat.S_ISFIFO(os.stat('pipe').st_mode):
        dltest.fail('a pipe does not get the predictions, or is replaced by a file')
    os.mkdir('folder')
    for name in ('folder', 'folder/'):
        done = dltest.run('eval', 'r', '--predictions', name, ranks=2, code=None)
        if done.returncode != 2 or done.stderr.count('error:') != 1 or f'{name} is a folder' not in done.stderr:
            dltest.fail(f'a folder: exit status {done.returncode}: {done.stderr}')


def check_other_divisions(data):
    """What can be trained in no pieces has predictions, too: groups of a batch, and rows that 8 does not divide."""
    with open('groups.yaml', 'w') as f:
        f.write(open(dltest.MNIST_CNN).read().replace('    - flatten',
                                                      '    - batch_normalization: {statistics: 16}\n    - flatten'))
    dltest.run('groups.yaml', f'data.path={data}', 'train.max_steps=3', 'train.accumulate=2', 'run.dir=groups')
    with open('rows.yaml', 'w') as f:
        f.write('data: {path: chars, make: text_chars}\nmodel:\n  input: {shape: [50], dtype: tokens}\n  layers:\n'
                '    - embedding: {output_dim: 4}\n    - lstm: {units: 6, return_sequences: true, stateful: true}\n'
                '    - dense: {units: auto}\ntrain: {batch_size: 12, max_steps: 3}\n')
    dltest.run('rows.yaml', 'run.dir=rows')
    for name in ('groups', 'rows'):
        found = []
        for ranks in (1, 3):
            dltest.run('eval', name, '--split', 'valid', '--predictions', f'{name}{ranks}', ranks=ranks)
            found.append(open(f'{name}{ranks}', 'rb').read())
        if found[0] != found[1]:
            dltest.fail(f'{name}: the predictions of 1 and 3 ranks differ')


def main():
    data = dltest.small_digits()
    dltest.run(dltest.MNIST_CNN, f'data.path={data}', 'train.epochs=2', 'train.batch_size=97', 'run.dir=r',
               f'train.label_smoothing={SMOOTHING}', f'train.metrics=[{METRICS}]')
    worst, first = 0, None
    for ranks in (1, 2, 3, 5):
        done = dltest.run('eval', 'r', '--json', '--predictions', f'{ranks}.jsonl', ranks=ranks, DLTRAIN_THREADS='1')
        said = json.loads(done.stdout.strip().split('\n')[-1])
        text = open(f'{ranks}.jsonl', 'rb').read()
        first = first or text
        if text != first:
            dltest.fail(f'the predictions at np {ranks} are not those at np 1')
        lines = [json.loads(line) for line in text.decode().splitlines()]
        if [line['id'] for line in lines] != list(range(500)):
            dltest.fail('not every sample once, in order')
        worst = max(worst, compare(said, figures(lines), f'np {ranks}'))
    labels = dltest.read_split(data, 'test', 500)['y']
    if [line['label'] for line in lines] != labels.tolist():
        dltest.fail('the labels are not those of the data set')
    said = json.loads(dltest.run('eval', 'r', '--json').stdout.strip().split('\n')[-1])
    compare(said, figures(lines), 'eval without predictions')
    dltest.run('eval', 'r', '--split', 'valid', '--predictions', 'valid.jsonl', DLTRAIN_THREADS='1')
    if open('valid.jsonl', 'rb').read() != first:  # this set has no validation split of its own
        dltest.fail('the predictions of split valid are not those of test')
    done = dltest.run('eval', 'r', '--predictions', 'no/such/folder.jsonl', ranks=2, code=None)
    if done.returncode != 74 or done.stderr.count('error:') != 1 or 'no/such/folder.jsonl' not in done.stderr:
        dltest.fail(f'a folder that is not there: exit status {done.returncode}: {done.stderr}')
    with open('mine.jsonl.unfinished', 'w') as f:
        f.write('mine')
    dltest.run('eval', 'r', '--predictions', 'mine.jsonl')
    if open('mine.jsonl.unfinished').read() != 'mine':
        dltest.fail('a file of the user was replaced')
    check_special(first)
    check_other_divisions(data)
    if [name for name in os.listdir('.') + os.listdir('folder') if '.tmp' in name]:
        dltest.fail('an unfinished file is left')
    print(f'largest difference from NumPy {worst:.1e}')


main()
