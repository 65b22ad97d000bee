#!/usr/bin/env python3
"""Runs the programs turn by turn and compares medians; called by run.sh. Standard library only."""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'lib'))
import procmem  # noqa: E402

BUILD = os.environ['BUILD']
PEERS = os.path.join(ROOT, 'tests', 'bench', 'peers')
GFLOP_PER_STEP = 2.10  # MNIST CNN, batch 128: forward, both backward products, update left out
BEGIN, END = '<!-- bench:begin -->', '<!-- bench:end -->'


def run(words):
    """Runs one turn on one thread. Returns its JSON line, with the memory it took beside its files' pages."""
    environment = dict(os.environ, OMP_NUM_THREADS='1', DLTRAIN_THREADS='1')
    code, out, err, _, high = procmem.watch(words, interval=0.02, env=environment, cwd=os.path.join(BUILD, 'bench'))
    if code != 0:
        raise RuntimeError(f'{" ".join(words)}: exit status {code}\n{out[-2000:]}{err[-2000:]}')
    found = json.loads(out.strip().split('\n')[-1])
    found['memory_mb'] = round(high / 1e6, 1)
    return found


def best_setting(script, python, choices, steps):
    """The options with which a peer is fastest; those that fail are left out, and said."""
    found = []
    for options in choices:
        try:
            found.append((run([python, script, 'mnist_cnn', '--steps', str(steps), *options])['ms_step'], options))
            print(f'  {os.path.basename(script)} {" ".join(options)}: {found[-1][0]:.2f} ms', flush=True)
        except RuntimeError as error:
            print(f'  {os.path.basename(script)} {" ".join(options)}: does not run here: {str(error)[-200:]}')
    return min(found)[1]


def commands(steps):
    """What takes turns: name to command line."""
    torch = [os.environ['TORCH_PYTHON'], os.path.join(PEERS, 'torch_bench.py')]
    keras = [os.environ['KERAS_PYTHON'], os.path.join(PEERS, 'keras_bench.py')]
    print('settings of the peers, the fastest is taken:')
    last, both = ['--channels-last'], ['--channels-last', '--compile']
    torch_best = best_setting(torch[1], torch[0], [[], last, ['--compile'], both], steps)
    keras_best = best_setting(keras[1], keras[0], [[], ['--jit']], 2 * steps)
    config = os.path.join(ROOT, 'configs', 'mnist_cnn.yaml')
    return {
        'peak': [os.path.join(BUILD, 'tests', 'bench', 'sgemm_peak'), '2048', '5'],
        'dltrain': [os.path.join(BUILD, 'launcher', 'dltrain'), 'bench', config, '--steps', str(steps)],
        'pytorch': torch + ['mnist_cnn', '--steps', str(steps)] + torch_best,
        'keras': keras + ['mnist_cnn', '--steps', str(2 * steps)] + keras_best,
    }


def machine():
    with open('/proc/cpuinfo') as f:
        names = [line.split(':')[1].strip() for line in f if line.startswith('model name')]
    return f'{names[0] if names else platform.machine()}, {os.cpu_count()} cores'


def summary(turns):
    """Medians over the rounds, ratios, share of the peak."""
    ms = {name: statistics.median(t['ms_step'] for t in found) for name, found in turns.items() if name != 'peak'}
    peak = statistics.median(t['gflops'] for t in turns['peak'])
    faster = min(('pytorch', 'keras'), key=ms.get)
    return {
        'date': datetime.date.today().isoformat(), 'machine': machine(), 'rounds': len(turns['peak']),
        'versions': {n: turns[n][0].get('peer', '') for n in ms}, 'ms_step': {n: round(v, 3) for n, v in ms.items()},
        'memory_mb': {n: statistics.median(t['memory_mb'] for t in turns[n]) for n in ms},
        'first_step_s': {n: statistics.median(t.get('first_step_s', 0) + t.get('import_s', 0) for t in turns[n])
                         for n in ms},
        'faster_peer': faster, 'ratio': round(ms['dltrain'] / ms[faster], 3), 'peak_gflops': round(peak, 1),
        'share_of_peak': {n: round(GFLOP_PER_STEP / (v * 1e-3) / peak, 3) for n, v in ms.items()},
        'ratio_by_round': [round(d['ms_step'] / min(p['ms_step'], k['ms_step']), 3) for d, p, k in
                           zip(turns['dltrain'], turns['pytorch'], turns['keras'])]}


def table(result):
    """The summary as Markdown."""
    rows = [f'MNIST CNN, Adam, batch 128, float32, one thread; {result["machine"]}; {result["date"]}; medians of '
            f'{result["rounds"]} rounds, turn by turn.', '',
            '| program | ms per step | of the faster peer | share of the sgemm peak | memory | to the first step |',
            '| --- | --- | --- | --- | --- | --- |']
    for name in ('dltrain', 'pytorch', 'keras'):
        ms, faster = result['ms_step'][name], result['ms_step'][result['faster_peer']]
        label = 'dltrain' if name == 'dltrain' else result['versions'][name] or name
        rows.append(f'| {label} | {ms:.2f} | {ms / faster:.2f} | {100 * result["share_of_peak"][name]:.0f} % | '
                    f'{result["memory_mb"][name]:.0f} MB | {result["first_step_s"][name]:.1f} s |')
    rows += ['', f'Peak: {result["peak_gflops"]:.0f} GFLOP/s, oneDNN sgemm of 2048 x 2048 matrices in the same run. '
             'Memory: peak resident set less pages of files. Made by `tests/bench/run.sh --readme`.']
    return '\n'.join(rows)


def update_readme(text):
    name = os.path.join(ROOT, 'README.md')
    readme = open(name).read()
    if BEGIN not in readme or END not in readme:
        sys.exit(f'README.md has no lines {BEGIN} and {END}')
    head, tail = readme.split(BEGIN)[0], readme.split(END)[1]
    with open(name + '.new', 'w') as f:
        f.write(f'{head}{BEGIN}\n{text}\n{END}{tail}')
    os.replace(name + '.new', name)


def main():
    parser = argparse.ArgumentParser(prog='tests/bench/run.sh')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--steps', type=int, default=60)
    parser.add_argument('--readme', action='store_true')
    options = parser.parse_args()
    folder = os.path.join(BUILD, 'bench')
    os.makedirs(folder, exist_ok=True)
    turns = {}
    words = commands(options.steps)
    for number in range(options.rounds):
        for name, command in words.items():
            turns.setdefault(name, []).append(run(command))
        print(f'round {number + 1}: ' + ', '.join(f'{n} {turns[n][-1]["ms_step"]:.2f} ms' for n in words if n != 'peak')
              + f', peak {turns["peak"][-1]["gflops"]:.0f} GFLOP/s', flush=True)
    result = summary(turns)
    result['commands'] = {n: ' '.join(w) for n, w in words.items()}
    with open(os.path.join(folder, 'results.json'), 'w') as f:
        json.dump(dict(result, turns=turns), f, indent=1)
    text = table(result)
    print(text)
    if options.readme:
        update_readme(text)
    print(f'ratio to the faster peer ({result["faster_peer"]}): {result["ratio"]:.3f}')


main()
