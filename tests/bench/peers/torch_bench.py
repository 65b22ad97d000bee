#!/usr/bin/env python3
"""Times PyTorch at the work of a dltrain config: forward, loss, backward, update, on a batch that is already in memory.

    torch_bench.py mnist_cnn [--batch N] [--threads N] [--steps N] [--warmup N] [--channels-last] [--compile]

Prints one JSON line: times of a step in ms (median, 10th and 90th percentile), samples per second, seconds for the
import and for the first step, peak memory.
"""
import time

STARTED = time.perf_counter()
import argparse  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402

import torch  # noqa: E402
from torch import nn  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - STARTED


def mnist_cnn():
    """The layers of configs/mnist_cnn.yaml; softmax is part of the loss."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))


# name: (model, shape of a sample, classes, batch)
MODELS = {'mnist_cnn': (mnist_cnn, (1, 28, 28), 10, 128)}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('model', choices=sorted(MODELS))
    for name, default in (('batch', 0), ('threads', 1), ('steps', 50), ('warmup', 10)):
        parser.add_argument('--' + name, type=int, default=default)
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--compile', action='store_true')
    return parser.parse_args()


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    make, shape, classes, batch = MODELS[options.model]
    batch = options.batch or batch
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    model = make().to(memory_format=layout)
    x = torch.rand(batch, *shape).to(memory_format=layout)
    y = torch.randint(classes, (batch,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    loss_of = nn.CrossEntropyLoss()
    forward = torch.compile(model) if options.compile else model

    def timed_step():
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss_of(forward(x), y).backward()
        optimizer.step()
        return time.perf_counter() - start

    first = timed_step()
    for _ in range(options.warmup):
        timed_step()
    ms = sorted(1e3 * timed_step() for _ in range(options.steps))
    median = statistics.median(ms)
    print(json.dumps({
        'peer': f'pytorch {torch.__version__}', 'model': options.model, 'device': 'cpu', 'ranks': 1,
        'parameters': sum(p.numel() for p in model.parameters()), 'threads': options.threads, 'dtype': 'f32',
        'batch': batch, 'seq': 0, 'optimizer': 'adam', 'compile': options.compile, 'train': True,
        'channels_last': options.channels_last, 'ms_step': round(median, 3), 'ms_p10': round(ms[len(ms) // 10], 3),
        'ms_p90': round(ms[len(ms) * 9 // 10], 3), 'per_s': round(1e3 * batch / median, 1), 'unit': 'samples',
        'import_s': round(IMPORT_SECONDS, 2), 'first_step_s': round(first, 2),
        'peak_mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}))


main()
