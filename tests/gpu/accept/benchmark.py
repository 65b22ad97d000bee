"""dltrain beside PyTorch on the same GPU in the same run: bfloat16, turn by turn, PyTorch at its fastest setting."""
import os
import statistics

import setting

PEER = os.path.join(setting.ROOT, 'tests', 'bench', 'peers', 'torch_bench.py')
ROUNDS = 1 if setting.REHEARSAL else 3
WARM_FIRST_STEP_S = 3.0  # of a start that finds the choices and plans of an earlier one
# name of PyTorch's model, configuration, overrides, batch, is it images?, least speed-up over PyTorch's eager mode
MODELS = [('mnist_cnn', 'mnist_cnn.yaml', [], 128, True, 3.0),
          ('word_lm', 'word_lm.yaml', [], 64, False, 3.0),
          ('resnet18_cifar', 'models/resnet18_cifar.yaml', [], 512, True, 0.0),
          ('ptb_large', 'ptb_large.yaml', ['train.clip_norm=0'], 20, False, 0.0),
          ('resnet50', 'models/resnet50.yaml', [], 256, True, 0.0)]
EAGER, COMPILED = [], ['--compile']
REDUCED = ['--compile', '--compile-mode', 'reduce-overhead']


def size(batch):
    return (min(batch, 4), 1, 0) if setting.REHEARSAL else (batch, 50, 10)


def ours(config, overrides, batch):
    batch, steps, warmup = size(batch)
    return setting.dltrain('bench', setting.config(config), f'backend={setting.BACKEND}', 'precision=bfloat16',
                           f'train.batch_size={batch}', *overrides, '--steps', steps, '--warmup', warmup)


def theirs(name, options, batch):
    """Not under RUN: PyTorch has libraries of its own."""
    batch, steps, warmup = size(batch)
    before, setting.RUN[:] = list(setting.RUN), []
    done = setting.run([os.environ.get('TORCH_PYTHON') or 'python3', PEER, name, '--device',
                        'cpu' if setting.REHEARSAL else 'cuda', '--dtype', 'bf16', '--batch', batch, '--steps', steps,
                        '--warmup', warmup, *options])
    setting.RUN[:] = before
    return done


def settings_of(images):
    kinds = (EAGER,) if setting.REHEARSAL else (EAGER, COMPILED, REDUCED)
    return [kind + layout for kind in kinds for layout in ([[], ['--channels-last']] if images else [[]])]


def compare(name, config, overrides, batch, images, over_eager):
    tried = {' '.join(o) or 'eager': theirs(name, o, batch) for o in settings_of(images)}
    ms = {label: done.last_json()['ms_step'] for label, done in tried.items() if done.code == 0}
    if not ms:
        return {'name': name, 'value': next(iter(tried.values())).why(), 'kept': False}
    best = min(ms, key=ms.get)
    options = [] if best == 'eager' else best.split()
    mine, other, first = [], [], []
    for _ in range(ROUNDS):
        done, peer = ours(config, overrides, batch), theirs(name, options, batch)
        if done.code != 0 or peer.code != 0:
            return {'name': name, 'value': (done if done.code != 0 else peer).why(), 'kept': False}
        mine.append(done.last_json()['ms_step'])
        other.append(peer.last_json()['ms_step'])
        first.append(done.last_json()['first_step_s'])
    ratio = statistics.median(other) / statistics.median(mine)
    eager = min(v for label, v in ms.items() if 'compile' not in label) / statistics.median(mine)
    return {'name': name, 'value': f'{ratio:.2f} of PyTorch\'s speed, {eager:.2f} of its eager mode\'s; '
            f'first step after {first[0]:.2f} s, {first[-1]:.2f} s once it is known',
            'ms': statistics.median(mine), 'pytorch_ms': statistics.median(other), 'pytorch': best, 'tried_ms': ms,
            'per_s': done.last_json()['per_s'], 'batch': size(batch)[0], 'first_step_s': first,
            'layers': ours(config, [*overrides, '--layers'], batch).out.split('\n')[:-2],
            'kept': setting.REHEARSAL or (ratio >= 1.0 and eager >= over_eager and first[-1] <= WARM_FIRST_STEP_S)}


def figures():
    for row in MODELS:
        yield compare(*row)
