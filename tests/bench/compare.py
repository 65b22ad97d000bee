#!/usr/bin/env python3
"""Runs the programs turn by turn and compares medians; called by run.sh. Standard library only.

A ratio is the median of the rounds' ratios: the speed of a shared machine drifts from round to round."""
import argparse
import datetime
import json
import os
import platform
import statistics

import models
import tables
import turns

RESULTS = os.path.join(turns.FOLDER, 'results.json')


def commands(name, row, steps):
    """What takes turns: name to command line."""
    torch_best = turns.fastest(turns.torch, name, row.torch, steps)
    words = {'peak': turns.PEAK, 'dltrain': turns.dltrain(row, steps),
             'pytorch': turns.torch(name, steps, torch_best)}
    if row.keras is not None:
        words['keras'] = turns.keras(name, steps, turns.fastest(turns.keras, name, row.keras, steps))
    return words


def machine():
    with open('/proc/cpuinfo') as f:
        names = [line.split(':')[1].strip() for line in f if line.startswith('model name')]
    return f'{names[0] if names else platform.machine()}, {os.cpu_count()} cores'


def summary(row, found):
    """Medians over the rounds, ratios, share of the peak."""
    ms = {name: statistics.median(t['ms_step'] for t in of) for name, of in found.items() if name != 'peak'}
    peers = [name for name in ms if name != 'dltrain']
    peak = statistics.median(t['gflops'] for t in found['peak'])
    faster = min(peers, key=ms.get)
    by_round = [ours['ms_step'] / theirs['ms_step'] for ours, theirs in zip(found['dltrain'], found[faster])]
    return {
        'date': datetime.date.today().isoformat(), 'machine': machine(), 'rounds': len(found['peak']),
        'limit': row.limit,
        'versions': {n: found[n][0].get('peer', '') for n in ms}, 'ms_step': {n: round(v, 3) for n, v in ms.items()},
        'memory_mb': {n: statistics.median(t['memory_mb'] for t in found[n]) for n in ms},
        'first_step_s': {n: statistics.median(t.get('first_step_s', 0) + t.get('import_s', 0) for t in found[n])
                         for n in ms},
        'faster_peer': faster, 'ratio': round(statistics.median(by_round), 3), 'peak_gflops': round(peak, 1),
        'share_of_peak': {n: round(row.gflop / (v * 1e-3) / peak, 3) for n, v in ms.items()},
        'ratio_by_round': [round(ratio, 3) for ratio in by_round]}


def measure(name, options):
    """One model's row of the results."""
    row = models.MODELS[name]
    steps = options.steps or row.steps
    print(f'{name}: settings of the peers, the fastest is taken:')
    words = commands(name, row, steps)
    found = {}
    for number in range(options.rounds):
        for program, command in words.items():
            found.setdefault(program, []).append(turns.run(command))
        print(f'round {number + 1}: ' + ', '.join(f'{n} {found[n][-1]["ms_step"]:.2f} ms' for n in words if n != 'peak')
              + f', peak {found["peak"][-1]["gflops"]:.0f} GFLOP/s', flush=True)
    result = summary(row, found)
    result['commands'] = {n: ' '.join(w) for n, w in words.items()}
    return dict(result, turns=found)


def measure_ranks(name, options):
    """Two ranks of one model: medians of the rounds' ratios."""
    row = models.MODELS[name]
    steps = options.steps or 2 * row.steps  # what is compared differs by hundredths only
    plain = [choice for choice in row.torch if '--compile' not in choice]
    best = turns.fastest(turns.torch, name, plain, steps)
    rounds = []
    for _ in range(options.rounds):
        rounds.append(turns.two_ranks(name, row, steps, best))
        print(f'{name}, two ranks over two single ones: dltrain {rounds[-1]["dltrain"]:.3f}, PyTorch DDP '
              f'{rounds[-1]["pytorch"]:.3f}', flush=True)
    result = {n: round(statistics.median(r[n] for r in rounds), 3) for n in ('dltrain', 'pytorch')}
    result['per_s'] = {n: statistics.median(r['per_s'][n] for r in rounds) for n in ('dltrain', 'pytorch')}
    return dict(result, limit=row.ranks_limit, rounds=rounds)


def earlier():
    try:
        with open(RESULTS) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def keep(results):
    top = dict(results['models'].get(models.FIRST, {}), models=results['models'], ranks=results['ranks'])
    with open(RESULTS + '.new', 'w') as f:
        json.dump(top, f, indent=1)
    os.replace(RESULTS + '.new', RESULTS)


def parse():
    parser = argparse.ArgumentParser(prog='tests/bench/run.sh')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--steps', type=int, default=0)
    parser.add_argument('--models', default=models.FIRST)
    parser.add_argument('--ranks', action='store_true')
    parser.add_argument('--readme', action='store_true')
    options = parser.parse_args()
    options.models = list(models.MODELS) if options.models == 'all' else options.models.split(',')
    for name in options.models:
        if name not in models.MODELS:
            parser.error(f'there is no model {name}; there are all, {", ".join(models.MODELS)}')
    return options


def main():
    options = parse()
    os.makedirs(turns.FOLDER, exist_ok=True)
    before = earlier()
    results = {'models': before.get('models', {}), 'ranks': before.get('ranks', {})}
    for name in options.models:
        if options.ranks:
            results['ranks'][name] = measure_ranks(name, options)
        else:
            results['models'][name] = measure(name, options)
        keep(results)
    text = tables.text(results)
    print(text)
    if options.readme:
        tables.update_readme(text)
    for name in options.models:
        row = results['ranks' if options.ranks else 'models'][name]
        if options.ranks:
            print(f'{name}: two ranks over two single ones {row["dltrain"]:.3f} (PyTorch DDP {row["pytorch"]:.3f})')
        else:
            print(f'{name}: ratio to the faster peer ({row["faster_peer"]}): {row["ratio"]:.3f}')


main()
