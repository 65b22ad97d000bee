#!/usr/bin/env python3
"""Times PyTorch at the work of a dltrain config: forward, loss, backward, update, on a batch that is already in memory.

    torch_bench.py MODEL [--batch N] [--threads N] [--steps N] [--warmup N] [--channels-last] [--compile]

MODEL is a row of torch_models.py. Started with RANK and WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment (as
torchrun does), the processes train together by DistributedDataParallel over gloo, each on a batch of its own. Prints
one JSON line (rank 0): times of a step in ms (median, 10th and 90th percentile), samples or tokens per second over all
ranks, seconds for the import and for the first step, peak memory.
"""
import time

STARTED = time.perf_counter()
import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402

import torch  # noqa: E402
from torch import nn  # noqa: E402

import torch_models  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - STARTED


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('model', choices=sorted(torch_models.MODELS))
    for name, default in (('batch', 0), ('threads', 1), ('steps', 50), ('warmup', 10)):
        parser.add_argument('--' + name, type=int, default=default)
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--compile', action='store_true')
    return parser.parse_args()


def optimizer_of(name, parameters):
    """The fused ones are PyTorch's fastest."""
    if name == 'adam':
        return torch.optim.Adam(parameters, lr=1e-3, eps=1e-7, fused=True)
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True)


def step_of(options, row, batch, distributed):
    """A function that takes one training step and returns its seconds; the model's number of parameters."""
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    model = row.make().to(memory_format=layout)
    n_parameters = sum(p.numel() for p in model.parameters())
    x, y = torch_models.samples(row, batch, layout)
    if distributed:
        model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = optimizer_of(row.optimizer, model.parameters())
    loss_of = nn.CrossEntropyLoss()
    forward = torch.compile(model) if options.compile else model

    def timed_step():
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss_of(forward(x), y).backward()
        optimizer.step()
        return time.perf_counter() - start

    return timed_step, n_parameters


def main():
    options = parse()
    ranks, rank = int(os.environ.get('WORLD_SIZE', 1)), int(os.environ.get('RANK', 0))
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    if ranks > 1:
        torch.distributed.init_process_group('gloo')
    row = torch_models.MODELS[options.model]
    batch = options.batch or row.batch
    timed_step, n_parameters = step_of(options, row, batch, ranks > 1)
    first = timed_step()
    for _ in range(options.warmup):
        timed_step()
    ms = sorted(1e3 * timed_step() for _ in range(options.steps))
    median = statistics.median(ms)
    positions = row.shape[0] if row.words else 0
    if rank == 0:
        print(json.dumps({
            'peer': f'pytorch {torch.__version__}', 'model': options.model, 'device': 'cpu', 'ranks': ranks,
            'parameters': n_parameters, 'threads': options.threads, 'dtype': 'f32', 'batch': batch * ranks,
            'seq': positions, 'optimizer': row.optimizer, 'compile': options.compile, 'train': True,
            'channels_last': options.channels_last, 'ms_step': round(median, 3),
            'ms_p10': round(ms[len(ms) // 10], 3), 'ms_p90': round(ms[len(ms) * 9 // 10], 3),
            'per_s': round(1e3 * batch * ranks * max(1, positions) / median, 1),
            'unit': 'tokens' if positions else 'samples', 'import_s': round(IMPORT_SECONDS, 2),
            'first_step_s': round(first, 2),
            'peak_mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}))
    if ranks > 1:  # without an orderly end: gloo's threads may abort the process that tears its group down
        torch.distributed.barrier()
        sys.stdout.flush()
        os._exit(0)


main()
