#!/usr/bin/env python3
# TEST tier=default timeout=60 needs=python
"""Tokens that mean other words than in training are refused, though they are as many: in another split, in another
shard, in a file whose list of words is shorter than it says."""
import os
import shutil

import dltest
import h5py

CONFIG = '''
data: {path: PATH}
model:
  input: {shape: [4], dtype: tokens}
  layers: [embedding: {output_dim: 3}, lstm: {units: 3}, dense: {units: auto}]
train: {max_steps: 2, batch_size: 7}
'''


def text(name, sentence):
    with open(name, 'w') as file:
        file.write(sentence * 100)
    folder = name + '.d'
    dltest.run('data', 'import', 'text', name, '--tokens', 'words', '--valid', '0', '--vocab', '6', '--out', folder)
    return folder + '/train-00000-of-00001.h5'


def refused(folder, files, message):
    os.mkdir(folder)
    for name, source in files.items():
        shutil.copy(source, f'{folder}/{name}')
    with open(f'{folder}.yaml', 'w') as file:
        file.write(CONFIG.replace('PATH', folder))
    done = dltest.run(f'{folder}.yaml', code=65)
    if message not in done.stderr:
        dltest.fail(f'{folder}: {done.stderr}')


def main():
    one, other = text('one', 'the cat sat on the mat the cat ran\n'), text('other', 'a dog in a fog a dog is in it\n')
    refused('splits', {'train-00000-of-00001.h5': one, 'test-00000-of-00001.h5': other},
            'split test has another vocabulary than train; import both together')
    refused('shards', {'train-00000-of-00002.h5': one, 'train-00001-of-00002.h5': other},
            'they are of different vocabularies')
    shutil.copy(one, 'short.h5')
    with h5py.File('short.h5', 'r+') as file:
        words = file['meta/vocab'][:4]
        del file['meta/vocab']
        file['meta/vocab'] = words
    refused('short', {'train-00000-of-00001.h5': 'short.h5'}, '/meta/vocab has 4 words but vocab_size is 6')
    print('3 texts refused')


main()
