"""Training to the end, ranks that agree, float16 that overflows, memory as predicted."""
import json
import re
import threading
import time

import setting

SMALL = ['train.max_steps=4'] if setting.REHEARSAL else []


def train(folder, name, *words, ranks=0, **environment):
    return setting.dltrain(setting.config(name), f'backend={setting.BACKEND}', f'run.dir={folder}', '--fresh', *words,
                           *SMALL, ranks=ranks, **environment)


def reached(folder, name, kind, key, at_least, data, words):
    """A figure of the end of a training."""
    path, real = setting.data_of(*data)
    done = train(folder, name, f'data.path={path}', *words)
    label = f'{folder}: {key}' + ('' if real else ' (data of the program)')
    if done.code != 0:
        return {'name': label, 'value': done.why(), 'kept': False}
    value = setting.metrics(folder, kind)[-1][key]
    good = value >= at_least if at_least > 0 else value <= -at_least
    return {'name': label, 'value': value, 'limit': at_least, 'seconds': round(done.seconds, 1),
            'kept': setting.REHEARSAL or good}


def losses(folder):
    return [m['loss'] for m in setting.metrics(folder, 'step')]


def same_losses():
    """30 steps in other ways than one rank: the largest relative difference of a loss."""
    path, _ = setting.data_of('mnist', 'digits')
    words = [f'data.path={path}', 'train.max_steps=30', 'run.log_every=1',
             'train.optimizer={sgd: {learning_rate: 0.05, momentum: 0.9}}']
    alone = train('one', 'mnist_cnn.yaml', *words)
    if alone.code != 0:
        yield {'name': 'losses of one rank', 'value': alone.why(), 'kept': False}
        return
    # Ranks that share a GPU are staged, unless NCCL is to take each for a host.
    ways = [('staged', 2, {}), ('staged', 4, {}), ('nccl', 2, setting.TWO_ON_ONE)]
    for kind, ranks, environment in ways[:1] if setting.REHEARSAL else ways:
        done = train(f'{kind}-{ranks}', 'mnist_cnn.yaml', *words, ranks=ranks, **environment)
        if done.code != 0:
            yield {'name': f'{kind}, {ranks} ranks', 'value': done.why(), 'kept': False}
            continue
        far = max(abs(a - b) / abs(a) for a, b in zip(losses('one'), losses(f'{kind}-{ranks}')))
        yield {'name': f'{kind}, {ranks} ranks: losses of one rank', 'value': far, 'limit': 1e-4, 'kept': far <= 1e-4}


def overflow():
    path, _ = setting.data_of('mnist', 'digits')
    done = train('overflow', 'mnist_cnn.yaml', f'data.path={path}', 'precision=float16', 'train.loss_scale=1e30',
                 'train.max_steps=3', 'run.log_every=1')
    if done.code != 0:
        return {'name': 'float16 overflow', 'value': done.why(), 'kept': False}
    first = setting.metrics('overflow', 'step')[0]
    return {'name': 'float16 overflow', 'value': f'skipped {first.get("skipped")}, scale {first.get("loss_scale")}',
            'kept': first.get('skipped') is True and first.get('loss_scale') == 5e29}


def graph():
    """Steps as CUDA graphs and as single operations: the bits of 30 losses."""
    path, _ = setting.data_of('mnist', 'digits')
    words = [f'data.path={path}', 'reproducible=true', 'train.max_steps=30', 'run.log_every=1']
    done = [train(f'graph-{on}', 'mnist_cnn.yaml', *words, DLTRAIN_CUDA_GRAPH=on) for on in ('1', '0')]
    for one in done:
        if one.code != 0:
            return {'name': 'CUDA graph', 'value': one.why(), 'kept': False}
    same = losses('graph-1') == losses('graph-0')
    said = 'CUDA graph' in done[0].err
    return {'name': 'CUDA graph on and off', 'value': 'the same losses' if same else 'other losses', 'refused': said,
            'kept': same and not said}


def bench_memory(name, *words):
    """A benchmark, and the most MiB that all programs on the GPU had while it ran."""
    stop, found = threading.Event(), [0]

    def watch():
        while not stop.is_set():
            found.append(sum(map(int, re.findall(r'\d+', setting.nvidia_smi('compute-apps=used_memory')))))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = setting.dltrain('bench', setting.config(name), f'backend={setting.BACKEND}', *words)
    stop.set()
    watcher.join()
    return done, max(found)


def memory(name, *words):
    """What check --device predicts over what nvidia-smi saw."""
    if setting.REHEARSAL:
        return {'name': f'memory {name}', 'value': 'needs a GPU', 'kept': True}
    predicted = json.loads(setting.dltrain('check', setting.config(name), '--device', 'h200', '--json', *words).out)
    done, taken = bench_memory(name, '--steps', '50', *words)
    if done.code != 0:
        return {'name': f'memory {name}', 'value': done.why(), 'kept': False}
    ratio = predicted['memory_bytes']['total'] / (1 << 20) / max(1, taken)
    return {'name': f'memory {name}: predicted over taken', 'value': round(ratio, 3), 'taken_mib': taken,
            'predicted': predicted['memory_bytes'], 'kept': 0.95 <= ratio <= 1.05}


def figures():
    yield reached('mnist', 'mnist_cnn.yaml', 'end', 'test_accuracy', 0.99, ('mnist', 'digits'), ['train.epochs=3'])
    yield reached('mnist-bf16', 'mnist_cnn.yaml', 'end', 'test_accuracy', 0.99, ('mnist', 'digits'),
                  ['train.epochs=3', 'precision=bfloat16'])
    yield reached('resnet20', 'models/resnet20.yaml', 'epoch', 'accuracy', 0.95, ('cifar10', 'shapes'),
                  ['train.epochs=40'])
    yield reached('char', 'char_lstm.yaml', 'epoch', 'valid_loss', -1.6, ('shakespeare', 'text'), ['train.epochs=2'])
    yield from same_losses()
    yield overflow()
    yield graph()
    yield memory('mnist_cnn.yaml', 'train.batch_size=1024')
    yield memory('models/resnet50.yaml', 'train.batch_size=64')
