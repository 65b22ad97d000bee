#!/usr/bin/env python3
# TEST tier=default timeout=400 slots=1 needs=python
"""dltrain predict, and the sources that it shares with eval and generate. The same samples as HDF5 (a shard, a plain
/x, compressed), IDX and CSV give the same lines, byte for byte for batches of 1, 7, 128 and 1000, at np 1, 2, 3 and
with 2 threads: those of eval --predictions. Of a text the predicted token is the one that generate writes first;
sequences are those of the data set. A run, a checkpoint, a folder of them, a copy and a file of weights give the
weights they hold, averaged ones where the run has them; a damaged checkpoint is 78 with file and bytes. No gradients or
optimizer are held. What cannot be read is told in one message that names file and line."""
import csv
import json
import os
import random
import re
import shutil

import h5py
import numpy as np

import dltest

BATCHES, RANKS = (1, 7, 128, 1000), (3,)
ONE = {'DLTRAIN_THREADS': '1'}


def predict(*words, out='said.jsonl', **options):
    """The bytes that are written."""
    dltest.run('predict', *words, '--out', out, **{**ONE, **options})
    return open(out, 'rb').read()


def parse(text):
    return [json.loads(line) for line in text.decode().splitlines()]


def without_input(text):
    return [{k: v for k, v in line.items() if k != 'input'} for line in parse(text)]


def same(found, wanted, what):
    if found != wanted:
        dltest.fail(f'{what}: not the lines that are expected')


def check_divisions(name, *words, all_ranks=RANKS):
    """One set of bytes for any batch, ranks and threads; returns it."""
    first = predict(*words, '--batch', BATCHES[0])
    for batch in BATCHES[1:]:
        same(predict(*words, '--batch', batch), first, f'{name}, batch {batch}')
    for ranks in all_ranks:
        same(predict(*words, '--batch', 7, ranks=ranks), first, f'{name}, np {ranks}')
    same(predict(*words, DLTRAIN_THREADS='2'), first, f'{name}, 2 threads')
    return first


# --- images: formats, sources, what is written ---

def write_images(x):
    """The same images in every format; their names."""
    dltest.write_idx('images.idx', x[..., 0])
    dltest.write_idx('images.idx.gz', x[..., 0])
    with h5py.File('x.h5', 'w') as f:
        f['x'] = x
    with h5py.File('packed.h5', 'w') as f:
        f.create_dataset('x', data=x[..., 0], chunks=(7, 28, 28), compression='gzip')
        f['y'] = np.zeros(len(x), 'i4')
    rows = [row.tolist() for row in x.reshape(len(x), -1)]
    for name, separator, end in (('plain.csv', ',', '\n'), ('tabs', '\t', '\r\n'), ('points.csv', ' ; ', '\n'),
                                 ('blanks.txt', '  ', '\n')):
        with open(name, 'w', newline='') as f:
            if name == 'points.csv':
                f.write('\ufeff' + separator.join(f'p{i}x' for i in range(784)) + '\n\n')
            f.write(end.join(separator.join(f'{v:.1f}' if name == 'tabs' else str(v) for v in row) for row in rows))
            f.write('' if name == 'blanks.txt' else end)
    return ['images.idx', 'images.idx.gz', 'x.h5', 'packed.h5', 'plain.csv', 'tabs', 'points.csv', 'blanks.txt']


def check_formats(shard):
    x = dltest.read_split('data', 'test', 40)['x']
    first = check_divisions('images', 'r', shard, all_ranks=(2, 3))
    dltest.run('eval', 'r', '--predictions', 'eval.jsonl', **ONE)
    known = parse(open('eval.jsonl', 'rb').read())
    lines = parse(first)
    for line, other in zip(lines, known):
        if line != {'input': shard, 'id': other['id'], 'prediction': other['prediction'],
                    'probability': other['probabilities'][other['prediction']]}:
            dltest.fail(f'{line} is not what eval says: {other}')
    if len(lines) != len(known) or len(lines) != 500:
        dltest.fail(f'{len(lines)} lines')
    for name in write_images(x):
        same(without_input(predict('r', name)), without_input(first)[:40], name)
    for backend in ('ref', 'ref:strict'):
        for line, other in zip(parse(predict('r', 'x.h5', '--batch', 9, f'backend={backend}')), lines):
            if line['prediction'] != other['prediction'] or abs(line['probability'] - other['probability']) > 1e-5:
                dltest.fail(f'{backend}: {line}, cpu: {other}')
    both = parse(predict('r', 'images.idx', shard, '--batch', 33))
    if [line['id'] for line in both] != list(range(40)) + list(range(500)) or both[39]['input'] != 'images.idx':
        dltest.fail('several inputs: each has its own numbers')
    return first, known


def check_output(shard, first, known):
    """--top, CSV, stdout, the summary."""
    text = predict('r', shard, '--top', '3')
    for line, other in zip(parse(text), known):
        p = np.array(other['probabilities'])
        top = np.argsort(-p, kind='stable')[:3].tolist()
        if line['top'] != top or line['probabilities'] != p[top].tolist() or line['prediction'] != top[0]:
            dltest.fail(f'--top 3: {line}')
    predict('r', shard, '--top', '3', out='said.csv')
    with open('said.csv', newline='') as f:
        rows = list(csv.DictReader(f))
    for row, line in zip(rows, parse(text)):
        found = [[kind(row[key + k]) for k in ('', '_2', '_3')] for kind, key in ((int, 'prediction'),
                                                                                 (float, 'probability'))]
        if found != [line['top'], line['probabilities']] or int(row['id']) != line['id'] or row['input'] != shard:
            dltest.fail(f'CSV: {row} is not {line}')
    done = dltest.run('predict', 'r', shard, '--json', **ONE)
    if done.stdout.encode() != first:
        dltest.fail('stdout has not the predictions alone')
    said = json.loads(done.stderr)
    if set(said) != set('samples batch batches ranks threads seconds samples_per_s latency_ms memory'.split()) \
            or (said['samples'], said['batch'], said['batches']) != (500, 128, 4) \
            or not 0 < said['latency_ms']['p50'] <= said['latency_ms']['p99'] \
            or abs(said['samples_per_s'] * said['seconds'] / 500 - 1) > 1e-3:
        dltest.fail(f'summary: {said}')
    memory = said['memory']
    if memory['total'] != sum(memory.values()) - memory['total'] or {'gradients', 'optimizer'} & set(memory) \
            or not 373000 < memory['parameters'] < 374000 or memory['copies'] > 1.2 * memory['parameters']:
        dltest.fail(f'memory: {memory}')
    one = json.loads(dltest.run('predict', 'r', shard, '--batch', 1, '--json', '--out', 'x', **ONE).stdout)['memory']
    if one['total'] > 3 * one['parameters']:
        dltest.fail(f'one image at a time takes {one}')
    line = dltest.run('predict', 'r', shard, '--out', 'x', ranks=2, **ONE).stdout.split('\n')
    summary = r'500 samples, batch 128, 2 ranks: [\d,]+ samples/s; a batch p50 [\d.]+ ms, p99 [\d.]+ ms$'
    if not re.match(summary, line[0]) \
            or not re.match(r'memory  [\d.]+ MiB per rank \(parameters 0.4, copies', line[1]):
        dltest.fail(f'summary: {line}')


def check_names(x):
    names = [f'class, "{i}"' for i in range(10)]
    shutil.copytree('data', 'named')
    for name in os.listdir('named'):
        with h5py.File(os.path.join('named', name), 'a') as f:
            f['meta/class_names'] = names
    said = parse(predict('r', 'x.h5', 'data.path=named', '--top', 2))
    if any([line['name'], *line['names']] != [names[i] for i in (line['prediction'], *line['top'])] for line in said):
        dltest.fail('names of classes')
    predict('r', 'x.h5', 'data.path=named', out='named.csv')
    with open('named.csv', newline='') as f:
        if [row['name'] for row in csv.DictReader(f)] != [line['name'] for line in said]:
            dltest.fail('names of classes in CSV')


def check_sources(shard, first):
    """r has averaged weights; each source gives those it holds."""
    checkpoints = sorted(os.listdir('r/checkpoints'))
    last = 'r/checkpoints/' + checkpoints[-1]
    shutil.copytree(last, 'copy')
    os.symlink('r', 'link')
    for source in ('r/', 'link', 'r/ema.h5', last, last + '/', 'r/checkpoints', 'r/checkpoints/'):
        same(predict(source, shard), first, source)
    same(predict('copy', shard, '--config', 'r/config.yaml'), first, 'copy')
    trained = predict('r/weights.h5', shard)
    same(predict('r', shard, '--weights', 'r/weights.h5'), trained, '--weights')
    older = predict('r/checkpoints/' + checkpoints[0], shard)
    if len({first, trained, older}) != 3:
        dltest.fail('averaged, trained and older weights say the same')
    here = os.getcwd()
    os.chdir(last)
    same(predict('.', os.path.join(here, shard), out=here + '/dot').replace(here.encode() + b'/', b''), first, '.')
    os.chdir(here)
    for source in ('r', last, 'r/checkpoints'):
        for ranks in (0, 3):
            figures = dltest.run('eval', source, '--json', ranks=ranks, **ONE).stdout
            same(json.loads(figures)['test_accuracy'],
                 json.loads(dltest.run('eval', 'r/ema.h5', '--json', **ONE).stdout)['test_accuracy'], f'eval {source}')
    os.makedirs('killed')  # a run that has not finished an epoch
    shutil.copytree(last, 'killed/checkpoints/' + checkpoints[-1])
    shutil.copy('r/config.yaml', 'killed')
    same(predict('killed', shard), first, 'a run with checkpoints alone')
    os.rename('data', 'away')
    shutil.copytree('away', 'elsewhere')
    same(predict('r', 'elsewhere/' + shard.split('/')[1]).replace(b'elsewhere/', b'data/'), first, 'no data set')
    if os.path.exists('data'):
        dltest.fail('predict made a data set')
    os.rename('away', 'data')


def check_damage(shard):
    """Each byte that is changed is a damaged checkpoint, with file and bytes, in all three commands."""
    for ranks in (0, 3):
        part = 'copy/part-00000.h5'
        shutil.rmtree('copy')
        shutil.copytree('r/checkpoints/' + sorted(os.listdir('r/checkpoints'))[-1], 'copy')
        at = random.Random(ranks).randrange(os.path.getsize(part))
        with open(part, 'r+b') as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1]))
        for words in (('predict', 'copy', shard), ('eval', 'copy')):
            done = dltest.run(*words, '--config', 'r/config.yaml', ranks=ranks, code=None)
            if done.returncode != 78 or done.stderr.count('error:') != 1 or \
                    not re.search(r'copy is damaged: part-00000.h5: bytes \d+-\d+', done.stderr):
                dltest.fail(f'{words} of a damaged checkpoint: {done.returncode}: {done.stderr}')
    if [name for name in os.listdir('.') if '.tmp' in name]:
        dltest.fail('an unfinished file is left')


def check_images():
    shutil.copytree(dltest.small_digits(), 'data')
    os.remove('data/.complete')
    dltest.run(dltest.MNIST_CNN, 'data.path=data', 'train.max_steps=40', 'train.ema_decay=0.9', 'run.dir=r',
               'checkpoint.every_steps=15', 'checkpoint.keep=4')
    shard = 'data/' + [name for name in os.listdir('data') if name.startswith('test')][0]
    first, known = check_formats(shard)
    check_output(shard, first, known)
    check_names(known)
    check_sources(shard, first)
    check_damage(shard)
    return shard


# --- numbers, sequences, text ---

def check_numbers():
    """Targets by NumPy from the weights; CSV holds what HDF5 holds."""
    r = np.random.default_rng(5)
    x, w = r.normal(size=(300, 6)).astype('f4'), r.normal(size=(6, 2))
    for split in ('train', 'test'):
        dltest.write_shards('numbers', split, {'x': x, 'y': (x @ w).astype('f4')})
    with open('numbers.yaml', 'w') as f:
        f.write('data: {path: numbers}\nmodel:\n  input: {shape: [6]}\n  layers: [dense: {units: 2}]\n'
                'train: {loss: mse, epochs: 2, optimizer: {sgd: {learning_rate: 0.05}}}\n')
    dltest.run('numbers.yaml', 'run.dir=n')
    name = 'numbers/' + os.listdir('numbers')[0]
    text = check_divisions('numbers', 'n', name)
    weights = dltest.weights('n')
    wanted = x.astype('f8') @ weights['/dense/weight'].T + weights['/dense/bias']
    if np.abs(np.array([line['output'] for line in parse(text)]) - wanted).max() > 1e-5:
        dltest.fail('the outputs are not those of the weights')
    np.savetxt('numbers.csv', x, delimiter=',', fmt='%.9g', header='a,b,c,d,e,f', comments='')
    same(without_input(predict('n', 'numbers.csv')), without_input(text), 'numbers.csv')
    predict('n', 'numbers.csv', out='outputs.csv')
    if open('outputs.csv').readline() != 'input,id,output_1,output_2\n':
        dltest.fail('names of columns')


def check_sequences():
    """Of different lengths, a class for the whole and one for each step."""
    r = np.random.default_rng(6)
    lengths = r.integers(1, 12, 90)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = r.normal(size=(offsets[-1], 3)).round(3).astype('f4')
    for name in ('whole', 'steps'):
        os.makedirs(name)
        for split in ('train', 'test'):
            with h5py.File(f'{name}/{split}-0.h5', 'w') as f:
                f['x/values'], f['x/offsets'] = values, offsets
                if name == 'whole':
                    f['y'] = lengths % 4
                else:
                    f['y/values'], f['y/offsets'] = r.integers(0, 4, len(values)), offsets
        with open(name + '.yaml', 'w') as f:
            every = ', return_sequences: true' * (name == 'steps')
            f.write(f'data: {{path: {name}}}\nmodel:\n  input: {{shape: [null, 3]}}\n  layers:\n'
                    f'    - lstm: {{units: 8, bidirectional: true{every}}}\n    - dense: {{units: auto}}\n'
                    'train: {epochs: 2, batch_size: 32}\n')
        dltest.run(name + '.yaml', f'run.dir=run_{name}')
        text = check_divisions(name, 'run_' + name, f'{name}/test-0.h5')
        dltest.run('eval', 'run_' + name, '--predictions', 'eval.jsonl', **ONE)
        known = {line['id']: line for line in parse(open('eval.jsonl', 'rb').read())}
        for line in parse(text):
            p = np.array(known[line['id']]['probabilities'])
            found = np.array(line['probability'])
            if found.shape != p.shape[:-1] or np.abs(p.max(axis=-1) - found).max() > 1e-6:
                dltest.fail(f'{name}: {line} is not what eval says')
        with open('sequences.txt', 'w') as f:
            f.write('\n\n'.join('\n'.join(' '.join(map(str, row)) for row in values[a:b])
                                for a, b in zip(offsets, offsets[1:])) + '\n')
        same(without_input(predict('run_' + name, 'sequences.txt')), without_input(text), 'sequences as text')
    predict('run_steps', 'steps/test-0.h5', out='steps.csv')
    with open('steps.csv') as f:
        rows = list(csv.DictReader(f))
    if len(rows) != offsets[-1] or [int(row['position']) for row in rows[:lengths[0]]] != list(range(lengths[0])):
        dltest.fail('a line for each step in CSV')


EMBEDDING, DENSE = 'embedding: {output_dim: 10}', 'dense: {units: auto, activation: softmax}'
TEXT_MODELS = {
    'vector': ('words', [EMBEDDING, 'lstm: {units: 24}', DENSE]),
    'carried': ('chars', [EMBEDDING, 'lstm: {units: 24, return_sequences: true, stateful: true}', DENSE]),
    'window': ('words', [EMBEDDING, 'lstm: {units: 24, return_sequences: true}', DENSE]),
    'both_ways': ('chars', [EMBEDDING, 'lstm: {units: 12, return_sequences: true, bidirectional: true}', DENSE]),
}
LINES = ['the fox', '', 'a dog sees the cat and the old bird', 'the old', 'the cat sees a dog and a bird', 'a']


def check_text():
    r = random.Random(3)
    words = 'the a old dog cat fox bird sees and sleeps'.split()
    with open('story.txt', 'w') as f:
        f.writelines(' '.join(r.choice(words) for _ in range(r.randint(3, 9))) + '\n' for _ in range(400))
    for kind in ('words', 'chars'):
        dltest.run('data', 'import', 'text', 'story.txt', '--out', kind, '--tokens', kind)
    with open('lines.txt', 'w') as f:
        f.write('\n'.join(LINES) + '\n')
    for name, (data, layers) in TEXT_MODELS.items():
        with open(name + '.yaml', 'w') as f:
            f.write(f'data: {{path: {data}}}\nmodel:\n  input: {{shape: [6], dtype: tokens}}\n  layers:\n' +
                    ''.join(f'    - {layer}\n' for layer in layers) +
                    'train: {batch_size: 16, max_steps: 60, optimizer: {adam: {learning_rate: 0.01}}}\n')
        dltest.run(name + '.yaml', 'run.dir=t_' + name)
        said = parse(check_divisions(name, 't_' + name, 'lines.txt', '--top', 2))
        for line, text in zip(said, LINES):
            done = dltest.run('generate', 't_' + name, '--prompt', text, '--tokens', 1, '--temperature', 0,
                              **ONE).stdout
            token = '\n' if line['name'] == '<eos>' else line['name']
            if not done[:-1].endswith(token) or len(done) > len(text) + len(token) + 2 \
                    or line['names'][0] != line['name']:
                dltest.fail(f'{name}: behind {text!r} predict has {line["name"]!r}, generate writes {done!r}')
    dltest.run('data', 'import', 'text', 'story.txt', '--out', 'few', '--tokens', 'words', '--vocab', 6)
    with open('few.yaml', 'w') as f:
        f.write(open('window.yaml').read().replace('path: words', 'path: few'))
    dltest.run('few.yaml', 'run.dir=t_few')
    vocabulary = h5py.File('few/' + os.listdir('few')[0], 'r')['meta/vocab'][()]
    known = [word.decode() for word in vocabulary if word.decode() in words][0]
    write('unknown', f'{known}\n{known} gnu {known} emu\n{known}\nemu\n')
    said = dltest.run('predict', 't_few', 'unknown', ranks=2, **ONE).stderr
    if said.count('2 lines of the inputs have words') != 1 or "unknown:2: 'gnu', 'emu'" not in said:
        dltest.fail(f'unknown words: {said}')
    shard = 'chars/' + sorted(os.listdir('chars'))[0]
    tokens = h5py.File(shard, 'r')['tokens'].shape[0]
    if len(parse(predict('t_carried', shard))) != (tokens + 5) // 6:
        dltest.fail('windows of /tokens')
    for source in ('t_carried/checkpoints', 't_carried/weights.h5'):
        texts = {dltest.run('generate', s, '--prompt', 'the', '--tokens', 20, **ONE).stdout
                 for s in ('t_carried', source)}
        if len(texts) != 1:
            dltest.fail(f'generate {source} is not generate of the run')


# --- what cannot be done ---

def bad(code, message, *words, count=iter(range(1000))):
    for ranks in (0, 2)[:1 + (next(count) % 5 == 1)]:  # every fifth at np 2, too
        done = dltest.run('predict', *words, ranks=ranks, code=None)
        found = [line for line in done.stderr.split('\n') if 'error:' in line]
        if done.returncode != code or len(found) != 1 or not re.search(message, found[0]) or done.stdout:
            dltest.fail(f'{words}, ranks {ranks}: exit status {done.returncode}, not {code} with {message}: '
                        f'{done.stderr}')


def write(name, text):
    with open(name, 'wb') as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    return name


def check_bad(shard):
    row = ','.join(['7'] * 784)
    bad(2, 'predict wants files', 'r')
    bad(2, 'no/such.csv.*HDF5, IDX, CSV or text', 'r', 'no/such.csv')
    bad(2, 'data is a folder; name the files in it', 'r', 'data')
    bad(2, 'no regular file', 'r', '/dev/null')
    bad(2, 'nothing is not a run directory', 'nothing', shard)
    bad(2, 'copy does not stand in a run directory.*--config', 'copy', shard)
    bad(2, 'said.jsonl is not a run directory and no file of weights', 'said.jsonl', shard)
    bad(65, 'empty', 'r', write('empty', ''))
    bad(65, r'bad.csv:3:1: the line has 783 columns, a sample of the model has 784', 'r',
        write('bad.csv', f'{row}\n\n{row[:-2]}\n'))
    bad(65, r"bad.csv:2:7: 'x' is no pixel", 'r', write('bad.csv', f'{row}\n7,7,7,x{row[7:]}\n'))
    bad(65, r"bad.csv:1:1: '256' is no pixel.*0 to 255", 'r', write('bad.csv', f'256{row[1:]}\n'))
    bad(65, r"bad.csv:1:1: '0.5' is no pixel", 'r', write('bad.csv', f'0.5{row[1:]}\n'))
    bad(65, r"nan.csv:2:3: 'nan' is no finite number", 'n', write('nan.csv', '1,2,3,4,5,6\n1,nan,3,4,5,6\n'))
    bad(65, r"nan.csv:1:1: 'NaN' is no finite number", 'n', write('nan.csv', ','.join(['NaN'] * 6) + '\n'))
    bad(65, r"nan.csv:1:5: '1e40' is no finite number", 'n', write('nan.csv', '1,2,1e40,4,5,6\n'))
    bad(65, r"nan.csv:1:11: '' is no finite number", 'n', write('nan.csv', '1,2,3,4,5,\n'))
    bad(65, r"nan.csv:1:1: the line has 7 columns.*has 6", 'n', write('nan.csv', '1,2,3,4,5,6,7\n'))
    bad(65, 'names.csv holds no samples', 'n', write('names.csv', 'a,b,c,d,e,f\n'))
    bad(2, 'shape \\[6\\], the model reads \\[28, 28, 1\\]', 'r', 'numbers/test-00000.h5')
    bad(2, 'float32, the model was trained on uint8', 'r', write_x('float.h5', np.zeros((3, 28, 28, 1), 'f4')))
    bad(2, 'different lengths', 'n', 'whole/test-0.h5')
    bad(2, 'have one shape', 'run_whole', write_x('one.h5', np.zeros((3, 5, 3), 'f4')))
    bad(65, 'not an IDX file|damaged|cut off', 'r', write('cut.gz', open('images.idx.gz', 'rb').read()[:300]))
    bad(65, 'cut.h5', 'r', write('cut.h5', open('x.h5', 'rb').read()[:3000]))
    bad(2, 'labels', 'r', write('labels.idx', b'\0\0\x08\1\0\0\0\2\1\2'))
    bad(65, r"lines:2 says: 'Q'|lines:2 .*'Q'", 't_carried', write('lines', 'the fox\ntheQ\n'))
    bad(65, 'byte 4 of lines:2 is 0xff', 't_carried', write('lines', b'the fox\nthe \xff\n'))
    bad(65, "lines:1 says: 'zebra'", 't_vector', write('lines', 'the zebra\n'))
    bad(2, 'the model reads tokens', 't_vector', 'x.h5')
    bad(2, 'does not read tokens', 'r', 'chars/' + sorted(os.listdir('chars'))[0])
    bad(2, 'IDX file of images', 't_vector', 'images.idx')
    bad(2, '--top 11 is more than the 10 classes', 'r', shard, '--top', '11')
    bad(2, '--top is for models of classes', 'n', 'numbers.csv', '--top', '2')
    bad(2, '--batch must be a whole number', 'r', shard, '--batch', '0')
    bad(2, "--format is 'xml'", 'r', shard, '--format', 'xml')
    bad(2, 'r is a folder; name a file', 'r', shard, '--out', 'r')
    bad(74, 'cannot create no/such/folder', 'r', shard, '--out', 'no/such/folder.csv')
    bad(74, 'cannot write.*[Nn]o space', 'r', shard, '--out', '/dev/full')
    bad(2, "there is no data set in 'nowhere', whose vocabulary", 't_vector', 'lines.txt', 'data.path=nowhere',
        'data.make=text')
    bad(2, "no data set in 'nowhere', which says whether samples are pixels", 'n', 'numbers.csv', 'data.path=nowhere')
    bad(2, 'does not fit the model', 'r', shard, '--weights', 'n/weights.h5')
    bad(2, 'does not fit the model', 'n/checkpoints', shard, '--config', 'r/config.yaml')


def check_kept(shard):
    """Nothing that is read is replaced, nor is HDF5."""
    os.link('numbers.csv', 'other_name.csv')
    before = {name: open(name, 'rb').read() for name in ('x.h5', 'numbers.csv', 'r/weights.h5', 'r/config.yaml')}
    bad(2, 'x.h5 is read by this command; name another', 'r', 'x.h5', '--out', 'x.h5')
    bad(2, 'other_name.csv is read by this command', 'n', 'numbers.csv', '--out', 'other_name.csv')
    bad(2, 'r/weights.h5 is an HDF5 file', 'r', shard, '--out', 'r/weights.h5')
    bad(2, 'r/config.yaml is read by this command', 'r', shard, '--out', 'r/config.yaml')
    for name, said in ('r/config.yaml', 'is read by this command'), ('x.h5', 'is an HDF5 file'):
        done = dltest.run('eval', 'r', '--predictions', name, code=2)
        if said not in done.stderr:
            dltest.fail(f'eval --predictions {name}: {done.stderr}')
    if before != {name: open(name, 'rb').read() for name in before}:
        dltest.fail('a file that is read was changed')


def write_x(name, x):
    with h5py.File(name, 'w') as f:
        f['x'] = x
    return name


def main():
    shard = check_images()
    check_numbers()
    check_sequences()
    check_text()
    check_bad(shard)
    check_kept(shard)
    if [name for name in os.listdir('.') if '.tmp' in name]:
        dltest.fail('an unfinished file is left')
    print(f'{len(BATCHES)} batch sizes, np 1, 2, 3: the same bytes; 8 formats of images, 2 of sequences')


main()
