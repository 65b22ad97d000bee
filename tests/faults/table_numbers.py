#!/usr/bin/env python3
# TEST tier=quick timeout=20 slots=1
"""tests/faults/table.py counts as the results say, and its bound is that of the published tables: 0 of 100, 300 and
1,000 prove 3.0, 1.0 and 0.3 %; 1 of 20 proves 21.6 % (Clopper and Pearson, one-sided, 95 %)."""
import json
import os
import subprocess
import sys
import tempfile

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'table.py')
KILL = {'test': 'random_kills', 'phase': 'training', 'gone': 1.0, 'save_cut': False, 'mpirun_stuck': False,
        'corrupt': 0, 'orphan': False, 'lost': False}


def rows(trials):
    """The cells of the table's rows by their first one."""
    with tempfile.NamedTemporaryFile('w', suffix='.json') as f:
        f.write(''.join(json.dumps(dict(t, seed=i)) + '\n' for i, t in enumerate(trials)))
        f.flush()
        text = subprocess.run([sys.executable, TABLE, f.name], stdout=subprocess.PIPE, check=True, text=True).stdout
    cells = [[c.strip() for c in line.strip('|').split('|')] for line in text.split('\n') if line.startswith('|')]
    return {row[0]: row[1:] for row in cells}


def expect(trials, title, wanted):
    found = rows(trials).get(title)
    if found != wanted:
        sys.exit(f'FAILED: {title}: {found} instead of {wanted}')


def main():
    for n, bound in ((100, '3.0 %'), (300, '1.0 %'), (1000, '0.3 %')):
        expect([KILL] * n, 'all', [str(n), '0', '0', '0', bound])
    starting = dict(KILL, phase='start')
    bad = [KILL] * 17 + [dict(KILL, lost=True), dict(starting, orphan=True), dict(starting, corrupt=2)]
    expect(bad, 'all', ['20', '1', '1', '1', '21.6 %'])
    expect(bad, 'kill -9 while training', ['18', '1', '0', '0', '23.8 %'])
    expect(bad, 'kill -9 while starting', ['2', '0', '1', '1', '97.5 %'])
    print('6 rows')


main()
