#!/usr/bin/env python3
"""Training in bfloat16 beside PyTorch's autocast, one thread each, turn by turn: the median of the rounds' ratios.

    BUILD=build TORCH_PYTHON=python3 python3 tests/bench/half.py [--rounds 3]

The machine should have nothing else to do. Exit status 1 when dltrain is the slower one; the last line is JSON."""
import argparse
import json
import os
import statistics
import sys

import models
import turns

# PyTorch's choices of memory format, where there are images
CHOICES = {'word_lm': [[]], 'resnet18_cifar': [[], ['--channels-last']]}
LIMIT = 1.0


def measure(name, rounds):
    row = models.MODELS[name]
    choices = [['--dtype', 'bf16', *choice] for choice in CHOICES[name]]
    options = turns.fastest(turns.torch, name, choices, row.steps)
    pairs = []
    for _ in range(rounds):
        ours = turns.run(turns.dltrain(row, row.steps, 'precision=bfloat16'))['ms_step']
        pairs.append((ours, turns.run(turns.torch(name, row.steps, options))['ms_step']))
        print(f'{name} in bfloat16: dltrain {pairs[-1][0]:.2f} ms, PyTorch {pairs[-1][1]:.2f} ms', flush=True)
    return {'ratio': round(statistics.median(a / b for a, b in pairs), 3), 'ms': pairs, 'options': options}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args()
    os.makedirs(turns.FOLDER, exist_ok=True)
    results = {name: measure(name, options.rounds) for name in CHOICES}
    for name, result in results.items():
        print(f'{name} in bfloat16: {result["ratio"]:.3f} of PyTorch\'s step time (at most {LIMIT})')
    print(json.dumps(results))
    sys.exit(any(result['ratio'] > LIMIT for result in results.values()))


main()
