"""What a GPU's driver says of memory: tests/gpu/answers.json, from which `dltrain check --device` answers where there
is no GPU."""
import json
import os
import re

import setting
import training

ANSWERS = os.environ.get('ANSWERS') or os.path.join(setting.ROOT, 'tests', 'gpu', 'answers.json')
BF16 = 'precision=bfloat16'
# Configurations whose operations are asked for: those that are trained, and those of the benchmark.
ASKED = [('mnist_cnn.yaml',), ('mnist_cnn.yaml', 'train.batch_size=1024'), ('mnist_cnn.yaml', BF16),
         ('models/resnet20.yaml',), ('models/resnet18_cifar.yaml', BF16, 'train.batch_size=512'),
         ('models/resnet50.yaml', 'train.batch_size=64'), ('models/resnet50.yaml', BF16, 'train.batch_size=256'),
         ('char_lstm.yaml',), ('word_lstm.yaml',), ('word_lm.yaml',), ('word_lm.yaml', BF16), ('ptb_medium.yaml',),
         ('ptb_large.yaml',), ('ptb_large.yaml', BF16)]


def programs(name, *words):
    """The check of a configuration on this device, with all its instructions."""
    done = setting.dltrain('check', setting.config(name), f'backend={setting.BACKEND}', '--json', '--program', *words)
    return done, done.last_json() if done.code == 0 else None


def operations(report):
    """{work: {workspace, reserve}} of a report; what takes neither is left out but for kinds that may."""
    found = {}
    for program in report['programs']:
        for one in program['instructions']:
            memory = one['memory']
            if 'work' in one and ('workspace' in memory or re.match('conv2d|dense|embedding_dense|lstm', one['name'])):
                answer = {'workspace': memory.get('workspace', 0)}
                if one['name'] == 'lstm_layer_forward' and 'reserve' in memory:
                    answer['reserve'] = memory['reserve']
                found[one['work']] = answer
    return found


def name_of(gpu):
    """"NVIDIA H100 80GB HBM3": h100, as `check --device` calls it."""
    found = re.search(r'\b[ABH]\d00\b', gpu)
    return found.group(0).lower() if found else gpu


def context_bytes():
    """What nvidia-smi sees of a small training beyond what its plan takes."""
    _, report = programs('mnist_cnn.yaml')
    _, used = training.bench_memory('mnist_cnn.yaml', '--steps', '200')
    on_host = ('total', 'host', 'snapshot')
    return (used << 20) - sum(n for kind, n in report['memory'].items() if kind not in on_host)


def keep(gpu, asked):
    """{operations, context_bytes} into the file, beside the answers of other GPUs."""
    try:
        with open(ANSWERS) as f:
            kept = json.load(f)
    except FileNotFoundError:
        kept = {'format': 1, 'gpus': {}}
    kept['gpus'][gpu] = {'versions': setting.versions(), **asked}
    with open(ANSWERS + '.new', 'w') as f:
        json.dump(kept, f, indent=1)
    os.replace(ANSWERS + '.new', ANSWERS)


def figures():
    asked = {}
    for name, *words in ASKED:
        label = ' '.join([name, *words])
        done, report = programs(name, *words)
        if report is None:
            yield {'name': label, 'value': done.why(), 'kept': False}
            continue
        found = operations(report)
        asked.update(found)
        yield {'name': label, 'value': f'{len(found)} operations', 'kept': len(found) > 0}
    gpus = json.loads(setting.dltrain('devices', '--json').out)['gpus']
    if setting.REHEARSAL and 'ANSWERS' not in os.environ:
        return
    gpu = name_of(gpus[0]['name']) if gpus else 'none'
    context = context_bytes()
    keep(gpu, {'operations': asked, **({'context_bytes': context} if context > 0 else {})})
    yield {'name': f'answers of {gpu}', 'value': f'{len(asked)} operations, context {context >> 20} MiB',
           'kept': setting.REHEARSAL or context > 0}
