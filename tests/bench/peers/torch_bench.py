#!/usr/bin/env python3
"""Times PyTorch at the work of a dltrain config: forward, loss, backward, update, on a batch that is already in memory.

    torch_bench.py MODEL [--batch N] [--threads N] [--steps N] [--warmup N] [--channels-last] [--compile]
                   [--compile-mode default|reduce-overhead] [--device cpu|cuda] [--dtype f32|bf16]

MODEL is a row of torch_models.py. bf16 is autocast; f32 on a GPU is without tf32, as dltrain's float32. There the time
of a step is that of all steps behind each other, as a user sees it. Started with RANK and WORLD_SIZE, MASTER_ADDR and
MASTER_PORT in the environment (as torchrun does), the processes train together by DistributedDataParallel over gloo,
each on a batch of its own. Prints one JSON line (rank 0): times of a step in ms (median, 10th and 90th percentile),
samples or tokens per second over all ranks, seconds for the import and for the first step, peak memory.
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
    parser.add_argument('--compile-mode', default='default')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--dtype', choices=('f32', 'bf16'), default='f32')
    return parser.parse_args()


def optimizer_of(name, parameters):
    """The fused ones are PyTorch's fastest."""
    if name == 'adam':
        return torch.optim.Adam(parameters, lr=1e-3, eps=1e-7, fused=True)
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True)


def step_of(options, row, batch, distributed):
    """A function that takes one training step and returns its seconds; the model's number of parameters."""
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    model = row.make().to(options.device, memory_format=layout)
    n_parameters = sum(p.numel() for p in model.parameters())
    x, y = (t.to(options.device) for t in torch_models.samples(row, batch, layout))
    if distributed:
        model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = optimizer_of(row.optimizer, model.parameters())
    loss_of = nn.CrossEntropyLoss()
    forward = torch.compile(model, mode=options.compile_mode) if options.compile else model
    autocast = torch.autocast(options.device, torch.bfloat16, enabled=options.dtype == 'bf16')

    def timed_step():
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = loss_of(forward(x).float(), y)
        loss.backward()
        optimizer.step()
        return time.perf_counter() - start

    return timed_step, n_parameters


def window(timed_step, steps):
    """Milliseconds of each of so many steps that a GPU does behind each other."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        timed_step()
    torch.cuda.synchronize()
    return [1e3 * (time.perf_counter() - start) / steps] * steps


def prepare(options):
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    if options.device == 'cuda':
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def peak_mb(device):
    if device == 'cuda':
        return round(torch.cuda.max_memory_reserved() / 2**20)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main():
    options = parse()
    ranks, rank = int(os.environ.get('WORLD_SIZE', 1)), int(os.environ.get('RANK', 0))
    prepare(options)
    if ranks > 1:
        torch.distributed.init_process_group('gloo')
    row = torch_models.MODELS[options.model]
    batch = options.batch or row.batch
    timed_step, n_parameters = step_of(options, row, batch, ranks > 1)
    first = window(timed_step, 1)[0] / 1e3 if options.device == 'cuda' else timed_step()
    for _ in range(options.warmup):
        timed_step()
    if options.device == 'cuda':
        ms = window(timed_step, options.steps)
    else:
        ms = sorted(1e3 * timed_step() for _ in range(options.steps))
    median = statistics.median(ms)
    positions = row.shape[0] if row.words else 0
    if rank == 0:
        print(json.dumps({
            'peer': f'pytorch {torch.__version__}', 'model': options.model, 'device': options.device, 'ranks': ranks,
            'parameters': n_parameters, 'threads': options.threads, 'dtype': options.dtype, 'batch': batch * ranks,
            'seq': positions, 'optimizer': row.optimizer, 'compile': options.compile, 'train': True,
            'channels_last': options.channels_last, 'ms_step': round(median, 3),
            'ms_p10': round(ms[len(ms) // 10], 3), 'ms_p90': round(ms[len(ms) * 9 // 10], 3),
            'per_s': round(1e3 * batch * ranks * max(1, positions) / median, 1),
            'unit': 'tokens' if positions else 'samples', 'import_s': round(IMPORT_SECONDS, 2),
            'first_step_s': round(first, 2),
            'peak_mb': peak_mb(options.device)}))
    if ranks > 1:  # without an orderly end: gloo's threads may abort the process that tears its group down
        torch.distributed.barrier()
        sys.stdout.flush()
        os._exit(0)


main()
