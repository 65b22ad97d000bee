"""Operations and communicators against the reference, then whole models instruction by instruction."""
import re

import setting

# configuration, overrides: small batches, for the reference is slow
VERIFIED = [('mnist_cnn.yaml', ['train.batch_size=16']),
            ('mnist_cnn.yaml', ['train.batch_size=16', 'precision=bfloat16']),
            ('models/resnet20.yaml', ['train.batch_size=8']),
            ('models/resnet20.yaml', ['train.batch_size=8', 'precision=bfloat16']),
            ('models/resnet50.yaml', ['train.batch_size=2']),
            ('word_lstm.yaml', ['train.batch_size=16']),
            ('char_lstm.yaml', ['train.batch_size=8']),
            ('ptb_medium.yaml', ['train.batch_size=4'])]


def operations(name):
    done = setting.run([setting.program('conformance'), '--backend', setting.BACKEND])
    counts = re.findall(r'(\d+) passed, (\d+) failed, (\d+) skipped', done.out)
    failures = [line for line in done.out.split('\n') if line.startswith('FAIL')][:20]
    return {'name': name, 'value': ' '.join(counts[-1]) if counts else done.why(), 'failures': failures,
            'kept': done.code == 0 and bool(counts)}


def communicator(kind, ranks, **environment):
    name = 'mpi_conformance' if setting.REHEARSAL else 'mpi_conformance_cuda'
    done = setting.run([setting.program(name), kind], ranks, 150, **environment)
    return {'name': f'{kind}, {ranks} ranks', 'value': 'all collectives' if done.code == 0 else done.why(),
            'kept': done.code == 0}


def communicators():
    if setting.REHEARSAL:
        yield communicator('staged', 2)
        return
    yield communicator('nccl', 1)
    for ranks in (1, 2, 3):
        yield communicator('staged', ranks)
    yield communicator('nccl', 2, **setting.TWO_ON_ONE)


def verified(name, overrides):
    """The largest error over its bound of all instructions."""
    done = setting.dltrain('verify', setting.config(name), f'backend={setting.BACKEND}', *overrides, '--json')
    label = f'verify {name} {" ".join(overrides)}'
    if done.code not in (0, 70):
        return {'name': label, 'value': done.why(), 'kept': False}
    found = [i for p in done.last_json()['programs'] for i in p['instructions']]
    worst = max((i['max_error'] / i['bound'] for i in found if i['bound'] > 0), default=0.0)
    departing = [f'{i["instruction"]} {i["name"]} {i["layer"]}' for i in found if i['verdict'] != 'ok']
    return {'name': label, 'value': f'{len(found)} instructions, errors up to {worst:.2g} of their bounds',
            'departing': departing, 'kept': done.code == 0}


def figures():
    yield operations('operations')
    if not setting.REHEARSAL:
        yield operations('operations, by the plans that were kept')
    yield from communicators()
    for name, overrides in VERIFIED[:2] if setting.REHEARSAL else VERIFIED:
        yield verified(name, overrides)
