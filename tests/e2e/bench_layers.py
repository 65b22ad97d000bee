#!/usr/bin/env python3
# TEST tier=default timeout=120 needs=python
"""dltrain bench --layers: a row for each layer that takes time, whose shares and times add up to the whole; the line of
figures stays the last one, for programs. On two ranks rank 0 tells."""
import json
import re

import dltest

NET = '''
name: net
model:
  input: {shape: [32, 32, 3]}
  layers:
    - conv2d: {filters: 8, kernel_size: 3, activation: relu, name: first}
    - max_pooling2d: {pool_size: 2, name: pool}
    - flatten: {}
    - dense: {units: auto, activation: softmax, name: last}
data: {path: none, make: shapes}
train: {batch_size: 32}
'''
with open('net.yaml', 'w') as f:
    f.write(NET)
n_classes = 10
ROW = re.compile(r'^(.{24}) +([\d.]+) ms +([\d.]+) % +([\d.]+) GFLOP/s +([\d.]+) GB/s +([\d.]+) %$')
for ranks in (0, 2):
    out = dltest.run('bench', 'net.yaml', '--layers', '--steps', '2', '--warmup', '0', ranks=ranks,
                     DLTRAIN_THREADS='1').stdout.strip().split('\n')
    if json.loads(out[-1])['parameters'] != 3 * 3 * 3 * 8 + 8 + 15 * 15 * 8 * n_classes + n_classes:
        dltest.fail(f'the last line: {out[-1]}')
    rows = {m.group(1).strip(): [float(x) for x in m.groups()[1:]] for m in map(ROW.match, out) if m}
    if not out[0].startswith('roofline: ') or set(rows) != {'first', 'pool', 'last', '(the step itself)', 'together'}:
        dltest.fail(f'rows: {out}')
    whole = rows.pop('together')
    if abs(sum(r[1] for r in rows.values()) - 100) > 0.5 or abs(sum(r[0] for r in rows.values()) - whole[0]) > 0.01:
        dltest.fail(f'rows do not add up: {out}')
    if not (rows['first'][2] > 0 and rows['pool'][2] == 0 and all(0 < r[4] < 1000 for r in rows.values())):
        dltest.fail(f'work: {out}')
print(f'{len(rows)} rows, {whole[0]} ms together, {whole[4]} % of the roofline')
