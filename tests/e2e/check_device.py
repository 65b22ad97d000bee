#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""dltrain check --device: what a configuration takes of a GPU that is not here. The kinds of memory add up; parameters,
gradients and optimizer states are what the parameter table says; activations are those of ref, whose layouts are
plain; what only a driver can tell is called estimated. The largest batch fits and the next one does not, also by a
check of just these batches; a larger GPU takes a larger one. Where a driver was asked (here the emulated GPU's, by what
accept.sh asks with), its answers take the place of estimates."""
import json
import os
import re
import sys

import dltest

CONFIGS = dltest.ROOT + '/configs/'
KINDS = {'parameters', 'gradients', 'optimizer', 'state', 'input', 'control', 'activations', 'workspace', 'context',
         'total'}


def check(name, *words):
    return json.loads(dltest.run('check', CONFIGS + name, *words, '--json').stdout)


def reordered(name):
    """Elements of the filters that are in another order on a GPU: of several channels and several cells."""
    training = check(name, 'backend=ref', '--program')['programs'][0]['instructions']
    shapes = [map(int, re.search(r' w\[(.*?)\]', one['work']).group(1).split(', '))
              for one in training if one['name'].startswith('conv2d_forward')]
    return sum(k * c * r * s for k, c, r, s in shapes if c > 1 and r * s > 1)


def holds(condition, what):
    if not condition:
        dltest.fail(what)


for name, ranks in (('mnist_cnn.yaml', 1), ('models/resnet50.yaml', 8), ('ptb_medium.yaml', 2)):
    words = ['--device', 'h200', '--np', ranks]
    r = check(name, *words)
    memory = r['memory_bytes']
    holds(KINDS <= memory.keys(), f'{name}: {memory}')
    holds(sum(memory.values()) == 2 * memory['total'], f'{name}: the kinds do not add up: {memory}')
    estimated = ['copies', 'workspace', 'context'] if name == 'ptb_medium.yaml' else ['workspace', 'context']
    holds(r['workspace'] == 'estimated' and r['estimated'] == estimated, f'{name}: what is estimated')
    arena = 4 * r['trainable']
    holds(arena <= memory['parameters'] == memory['gradients'] < arena + 64 * 4 * 100, f'{name}: {arena}, {memory}')
    plain = check(name, 'backend=ref', '--np', ranks)['memory']
    lstm = sum(layer['parameters'] for layer in r['layers'] if layer['kind'] == 'lstm')
    holds(memory.get('copies', 0) == 2 * 4 * lstm + 4 * reordered(name), f'{name}: copies of weights: {memory}')
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

# answers
answers = os.path.abspath('answers.json')
plugin = os.path.join(dltest.BUILD, 'tests', 'emulator')
if os.path.exists(os.path.join(plugin, 'dltrain_cuda.so')):
    os.environ.update(BUILD=dltest.BUILD, BACKEND='cuda', ANSWERS=answers, DLTRAIN_PLUGIN_DIR=plugin)
    sys.path.insert(0, os.path.join(dltest.ROOT, 'tests', 'gpu', 'accept'))
    import answers as asking
    for name, *words in (('mnist_cnn.yaml',), ('mnist_cnn.yaml', 'precision=bfloat16'), ('ptb_medium.yaml',),
                         ('models/resnet20.yaml', 'train.batch_size=8')):
        done, report = asking.programs(name, *words)
        holds(report is not None, f'{name}: {done.why()}')
        asking.keep('h200', {'operations': asking.operations(report), 'context_bytes': 123 << 20})
        os.environ['DLTRAIN_GPU_ANSWERS'] = answers
        known = check(name, *words, '--device', 'h200')
        others = check(name, *words, '--device', 'h100')
        if name == 'mnist_cnn.yaml' and not words:
            rounded = check(name, 'precision=tf32', '--device', 'h200')
            holds('workspace' in rounded['estimated'], 'nobody asked for plans in tf32')
        del os.environ['DLTRAIN_GPU_ANSWERS']
        holds(known['estimated'] == [] and known['workspace'] == 'asked', f'{name}: {known["estimated"]} is estimated')
        holds('context' in others['estimated'], f'{name}: an H100 was not asked')
        memory, real = known['memory_bytes'], report['memory']
        holds(memory['context'] == 123 << 20 and memory['workspace'] == real['workspace'], f'{name}: {memory}, {real}')
        sums = [sum(r.get(kind, 0) for kind in ('copies', 'activations')) for r in (memory, real)]
        holds(abs(sums[0] / sums[1] - 1) < 0.01, f'{name}: activations and copies: {memory}, {real}')
with open(answers, 'w') as f:
    f.write('{"format": 2}')
os.environ['DLTRAIN_GPU_ANSWERS'] = answers
said = dltest.run('check', CONFIGS + 'mnist_cnn.yaml', '--device', 'h200', code=2).stderr
holds('answers.json' in said and 'tests/gpu/accept.sh answers' in said, said)
del os.environ['DLTRAIN_GPU_ANSWERS']

said = dltest.run('check', CONFIGS + 'mnist_cnn.yaml', '--device', 'a100', 'train.batch_size=16777216').stdout
holds('does not fit' in said and 'NVIDIA A100' in said and '(estimated)' in said, said)
said = dltest.run('check', CONFIGS + 'mnist_cnn.yaml', '--device', 'h300', code=2).stderr
holds("unknown GPU 'h300'; did you mean 'h" in said and 'a100-40gb' in said, said)
print(figure)
