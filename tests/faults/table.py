#!/usr/bin/env python3
"""The table of README.md from the results of the tests that draw at random: trials, lost runs, corrupt checkpoints
that were accepted, orphans, and what that proves.

    RESULTS=tests/faults/results tests/run.sh --nightly --only 'faults/random_kills,faults/stop_anywhere'
    python3 tests/faults/table.py [--readme] [tests/faults/results/*.json]

--readme puts the table into README.md. Standard library only."""
import glob
import json
import math
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'README.md')
BEGIN, END = '<!-- rehearsals:begin -->', '<!-- rehearsals:end -->'
WHAT = {('random_kills', 'start'): 'kill -9 while starting', ('random_kills', 'training'): 'kill -9 while training',
        ('random_kills', 'saving'): 'kill -9 amid a save', ('random_kills', 'resume'): 'kill -9 while going on',
        ('stop_anywhere', None): 'SIGUSR1 to one rank, at any of 40 steps'}
COUNTS = ('lost', 'corrupt', 'orphan')


def most(failures, trials, confidence=0.95):
    """The upper end of the one-sided interval of Clopper and Pearson for the share of failures."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        fewer = sum(math.comb(trials, k) * p ** k * (1 - p) ** (trials - k) for k in range(failures + 1))
        low, high = (p, high) if fewer > 1 - confidence else (low, p)
    return high


def row(title, trials):
    counts = [sum(1 for t in trials if t[key]) for key in COUNTS]
    worst = most(max(counts), len(trials))
    return f'| {title} | {len(trials)} | {" | ".join(map(str, counts))} | {100 * worst:.1f} % |'


def seeds(trials):
    """"1000 to 1299" of the seeds of one test."""
    of_test = {}
    for trial in trials:
        of_test.setdefault(trial['test'], []).append(trial['seed'])
    return ', '.join(f'`{test}` {min(all_)} to {max(all_)}' for test, all_ in sorted(of_test.items()))


def table(trials):
    lines = ['| what | trials | lost runs | corrupt checkpoints accepted | orphans | at most (95 %) |',
             '|---|---:|---:|---:|---:|---:|']
    for (test, phase), title in WHAT.items():
        some = [t for t in trials if t['test'] == test and t.get('phase') == phase]
        if some:
            lines.append(row(title, some))
    lines.append(row('all', trials))
    kills = [t for t in trials if t['test'] == 'random_kills']
    lines += ['', 'None in N trials only proves that it happens in at most 3/N of them (95 %): in '
              f'{100 * 3 / len(trials):.1f} % for all of these together.']
    if kills:
        slowest = max(t['gone'] for t in kills if t['gone'] is not None)
        cut = sum(1 for t in kills if t['save_cut'])
        stuck = sum(1 for t in kills if t['mpirun_stuck'])
        lines += [f'All ranks were gone {slowest:.1f} s after the kill at most; {cut} kills cut a save short. '
                  f'mpirun itself hung in {stuck} of them, waiting for a mutex of its own after a rank was killed '
                  'while it connected (Open MPI 4.1.4).']
    return '\n'.join(lines + [f'Seeds: {seeds(trials)}.'])


def update_readme(text):
    with open(README) as f:
        readme = f.read()
    if BEGIN not in readme or END not in readme:
        sys.exit(f'README.md has no lines {BEGIN} and {END}')
    with open(README + '.new', 'w') as f:
        f.write(f'{readme.split(BEGIN)[0]}{BEGIN}\n{text}\n{END}{readme.split(END)[1]}')
    os.replace(README + '.new', README)


def main():
    words = [word for word in sys.argv[1:] if word != '--readme']
    names = words or sorted(glob.glob(os.path.join(HERE, 'results', '*.json')))
    trials = []
    for name in names:
        with open(name) as f:
            trials += map(json.loads, f)
    if not trials:
        sys.exit(f'tests/faults/table.py: there are no results in {HERE}/results; run tests/run.sh --nightly first')
    text = table(trials)
    print(text)
    if '--readme' in sys.argv:
        update_readme(text)


main()
