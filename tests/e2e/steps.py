#!/usr/bin/env python3
# TEST tier=default timeout=240 needs=python
"""A class for each step of samples of different lengths, some steps without: such a model learns; loss and metrics are
NumPy's from `eval --predictions`, to 1e-9, over the steps that have a class; what a sample costs does not depend on
who is in its batch, on its padding or on the ranks; the same bytes with reproducible: true. What does not fit is
told."""
import json
import os

import dltest
import h5py
import numpy

MODEL = '''
data: {path: data/steps}
model:
  input: {shape: [null, 3]}
  layers:
    - lstm: {units: 16, bidirectional: true, return_sequences: true}
    - dense: {units: auto, activation: softmax}
train: {epochs: 12, batch_size: 16, metrics: [accuracy, perplexity], optimizer: {adam: {learning_rate: 0.01}}}
'''


def write(folder, split, n, seed):
    """The class of a step: which of its neighbours is the greatest; every seventh step has none."""
    random = numpy.random.default_rng(seed)
    lengths = random.integers(1, 18, n)
    lengths[0] = 1
    values, labels = [], []
    for length in lengths:
        x = random.normal(0, 1, (length, 3)).astype('f4')
        padded = numpy.concatenate([[-9], x[:, 0], [-9]])
        label = numpy.argmax(numpy.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
        label[3::7] = -1
        values.append(x)
        labels.append(label)
    os.makedirs(folder, exist_ok=True)
    with h5py.File(f'{folder}/{split}-0.h5', 'w') as f:
        f['x/values'] = numpy.concatenate(values)
        f['x/offsets'] = f['y/offsets'] = numpy.concatenate([[0], numpy.cumsum(lengths)]).astype('i8')
        f['y/values'] = numpy.concatenate(labels).astype('i4')
    return lengths, numpy.concatenate(labels)


def evaluate(folder, *words, ranks=0):
    done = dltest.run('eval', folder, '--json', *words, ranks=ranks, DLTRAIN_THREADS='1')
    return json.loads(done.stdout.strip().split('\n')[-1])


def check_figures(lengths, labels):
    said = evaluate('runs/r', '--predictions', '1.jsonl')
    evaluate('runs/r', '--predictions', '3.jsonl', ranks=3)
    if open('1.jsonl', 'rb').read() != open('3.jsonl', 'rb').read():
        dltest.fail('three ranks write other predictions than one')
    lines = sorted((json.loads(line) for line in open('1.jsonl')), key=lambda line: line['id'])
    if [len(line['label']) for line in lines] != lengths.tolist() or \
            [len(line['probabilities']) for line in lines] != lengths.tolist():
        dltest.fail('a sample has another number of predictions than steps')
    if numpy.concatenate([line['label'] for line in lines]).tolist() != labels.tolist():
        dltest.fail('the labels are others than those of the file')
    p = numpy.concatenate([numpy.array(line['probabilities'], 'f8') for line in lines])
    found = numpy.concatenate([line['prediction'] for line in lines])
    known = labels >= 0
    loss = -numpy.log(p[numpy.arange(len(p)), labels])[known].mean()
    accuracy = (found == labels)[known].mean()
    worst = max(abs(said['test_loss'] - loss), abs(said['test_accuracy'] - accuracy),
                abs(said['test_perplexity'] - numpy.exp(loss)))
    if worst > 1e-9:
        dltest.fail(f'eval says {said}, NumPy {loss}, {accuracy}')
    return accuracy, worst


def check_ranks():
    words = ['steps.yaml', 'train.max_steps=20', 'run.log_every=1', 'train.optimizer={sgd: {learning_rate: 0.3}}']
    runs = {'one': dict(), 'two': dict(ranks=2), 'three': dict(ranks=3), 'parts': dict(words=['train.accumulate=4'])}
    losses = {}
    for name, way in runs.items():
        dltest.run(*words, f'run.dir=runs/{name}', *way.get('words', ()), ranks=way.get('ranks', 0),
                   DLTRAIN_THREADS='1')
        losses[name] = [line['loss'] for line in dltest.metrics(f'runs/{name}', 'step')]
    apart = max(abs(a - b) / a for other in losses.values() for a, b in zip(losses['one'], other))
    if apart > 2e-6:
        dltest.fail(f'losses over ranks and micro-batches are {apart:.2g} apart')
    for ranks, threads in ((1, 1), (2, 1), (3, 1), (4, 2), (8, 1)):
        dltest.run(*words, 'reproducible=true', f'run.dir=runs/same-{ranks}', ranks=ranks, DLTRAIN_THREADS=str(threads))
        if open(f'runs/same-{ranks}/weights.h5', 'rb').read() != open('runs/same-1/weights.h5', 'rb').read():
            dltest.fail(f'reproducible: {ranks} ranks have other weights than one')
    return apart


def check_refusals():
    """(change of the file, words of the message)"""
    def replace(name, change):
        def spoil(f):
            rows = change(f[name][:])
            del f[name]
            f[name] = rows
        return spoil
    cases = ((replace('y/values', lambda y: y[:-1]), '/y/values has shape'),
             (replace('y/values', lambda y: y - 1), 'has label -2'),
             (replace('y/values', lambda y: y.astype('f4')), '/y/values is float32'),
             (replace('y/offsets', lambda o: numpy.concatenate([o[:1], o[1:-1] + 1, o[-1:]])), '/y/offsets[1] is'))
    for spoil, words in cases:
        write('data/bad', 'train', 40, 1)
        with h5py.File('data/bad/train-0.h5', 'r+') as f:
            spoil(f)
        done = dltest.run('steps.yaml', 'data.path=data/bad', 'run.dir=runs/bad', code=65)
        if words not in done.stderr or done.stderr.count('error:') != 1:
            dltest.fail(f'no "{words}" in: {done.stderr}')
    for words, said in ((['model.layers.0.lstm.return_sequences=false'], 'its steps have classes'),
                        (['train.loss=mse', 'train.metrics=[]'], 'not there for every step')):
        done = dltest.run('steps.yaml', *words, 'run.dir=runs/bad', code=2)
        if said not in done.stderr:
            dltest.fail(f'no "{said}" in: {done.stderr}')


def main():
    write('data/steps', 'train', 403, 1)
    lengths, labels = write('data/steps', 'test', 90, 2)
    with open('steps.yaml', 'w') as f:
        f.write(MODEL)
    dltest.run('steps.yaml', 'run.dir=runs/r', DLTRAIN_THREADS='1')
    counts = json.loads(dltest.run('data', 'info', 'data/steps', '--json').stdout)
    accuracy, worst = check_figures(lengths, labels)
    if accuracy < 0.9:
        dltest.fail(f'accuracy {accuracy} after training; {counts}')
    apart = check_ranks()
    check_refusals()
    print(f'accuracy {accuracy:.3f}; NumPy agrees to {worst:.1e}, ranks and micro-batches to {apart:.1e}')


main()
