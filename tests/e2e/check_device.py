#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""dltrain check --device: what a configuration takes of a GPU that is not here. The kinds of memory add up; parameters,
gradients and optimizer states are what the parameter table says; activations are those of ref, whose layouts are
plain; what only a driver can tell is called estimated. The largest batch fits and the next one does not, also by a
check of just these batches; a larger GPU takes a larger one."""
import json

import dltest

CONFIGS = dltest.ROOT + '/configs/'
KINDS = {'parameters', 'gradients', 'optimizer', 'state', 'input', 'control', 'activations', 'workspace', 'context',
         'total'}


def check(name, *words):
    return json.loads(dltest.run('check', CONFIGS + name, *words, '--json').stdout)


def holds(condition, what):
    if not condition:
        dltest.fail(what)


for name, ranks in (('mnist_cnn.yaml', 1), ('models/resnet50.yaml', 8), ('ptb_medium.yaml', 2)):
    words = ['--device', 'h200', '--np', ranks]
    r = check(name, *words)
    memory = r['memory_bytes']
    holds(KINDS <= memory.keys(), f'{name}: {memory}')
    holds(sum(memory.values()) == 2 * memory['total'], f'{name}: the kinds do not add up: {memory}')
    estimated = ['workspace', 'copies', 'context']
    holds(r['workspace'] == 'estimated' and r['estimated'] == estimated, f'{name}: what is estimated')
    arena = 4 * r['trainable']
    holds(arena <= memory['parameters'] == memory['gradients'] < arena + 64 * 4 * 100, f'{name}: {arena}, {memory}')
    plain = check(name, 'backend=ref', '--np', ranks)['memory']
    lstm = sum(layer['parameters'] for layer in r['layers'] if layer['kind'] == 'lstm')
    holds(memory.get('copies', 0) == 2 * 4 * lstm, f'{name}: copies of LSTM weights: {memory}')
    for kind in KINDS - {'workspace', 'context', 'total'}:
        holds(memory[kind] == plain[kind], f'{name}: {kind} is {memory[kind]}, on ref {plain[kind]}')
    # the edge
    largest, step, room = r['largest_batch'], r['batch_step'], r['device']['memory_bytes']
    holds(r['fits'] and largest % step == 0 and step % ranks == 0, f'{name}: {largest} by {step}')
    last, over = (check(name, *words, f'train.batch_size={largest + more}') for more in (0, step))
    holds(last['fits'] and last['memory_bytes']['total'] <= room, f'{name}: {largest} does not fit')
    holds(not over['fits'] and over['memory_bytes']['total'] > room, f'{name}: {largest + step} fits, too')
    smaller = check(name, '--device', 'a100-40gb', '--np', ranks)
    holds(smaller['largest_batch'] < largest, f'{name}: a100-40gb takes {smaller["largest_batch"]}')
    if name == 'models/resnet50.yaml':
        figure = f'ResNet-50 in float32 on 8 GPUs of H200: up to {largest} samples a batch'

said = dltest.run('check', CONFIGS + 'mnist_cnn.yaml', '--device', 'a100', 'train.batch_size=16777216').stdout
holds('does not fit' in said and 'NVIDIA A100' in said and '(estimated)' in said, said)
said = dltest.run('check', CONFIGS + 'mnist_cnn.yaml', '--device', 'h300', code=2).stderr
holds("unknown GPU 'h300'; did you mean 'h" in said and 'a100-40gb' in said, said)
print(figure)
