"""The results as Markdown, and into README.md. Standard library only."""
import os
import sys

import models
import turns

BEGIN, END = '<!-- bench:begin -->', '<!-- bench:end -->'


def programs(result):
    """All programs at one model: time, memory, start."""
    rows = [f'{models.MODELS[models.FIRST].title}, float32, one thread; {result["machine"]}; {result["date"]}; '
            f'medians of {result["rounds"]} rounds, turn by turn.', '',
            '| program | ms per step | of the faster peer | share of the sgemm peak | memory | to the first step |',
            '| --- | --- | --- | --- | --- | --- |']
    for name, ms in result['ms_step'].items():
        faster = result['ms_step'][result['faster_peer']]
        label = 'dltrain' if name == 'dltrain' else result['versions'][name] or name
        rows.append(f'| {label} | {ms:.2f} | {ms / faster:.2f} | {100 * result["share_of_peak"][name]:.0f} % | '
                    f'{result["memory_mb"][name]:.0f} MB | {result["first_step_s"][name]:.1f} s |')
    return rows + ['', f'Peak: {result["peak_gflops"]:.0f} GFLOP/s, oneDNN sgemm of 2048 x 2048 matrices in the same '
                   'run. Memory: peak resident set less pages of files.']


def by_model(results):
    """A row for each model: time beside the peers', and two ranks where they were measured."""
    rows = ['| model | dltrain, ms per step | PyTorch | Keras | of the faster peer | share of the peak | '
            'two ranks over two single ones (PyTorch DDP) |', '| --- | --- | --- | --- | --- | --- | --- |']
    for name, row in models.MODELS.items():
        found, ranks = results['models'].get(name), results['ranks'].get(name)
        if found is not None:
            ms = found['ms_step']
            pair = f'{ranks["dltrain"]:.2f} ({ranks["pytorch"]:.2f})' if ranks is not None else ''
            rows.append(f'| {row.title} | {ms["dltrain"]:.2f} | {ms["pytorch"]:.2f} | '
                        + (f'{ms["keras"]:.2f}' if 'keras' in ms else '')
                        + f' | {found["ratio"]:.2f} | {100 * found["share_of_peak"]["dltrain"]:.0f} % | {pair} |')
    return rows


def text(results):
    rows = []
    if models.FIRST in results['models']:
        rows += programs(results['models'][models.FIRST]) + ['']
    if set(results['models']) - {models.FIRST} or results['ranks']:
        rows += by_model(results) + ['']
    return '\n'.join(rows + ['Made by `tests/bench/run.sh --readme`.'])


def update_readme(table):
    name = os.path.join(turns.ROOT, 'README.md')
    with open(name) as f:
        readme = f.read()
    if BEGIN not in readme or END not in readme:
        sys.exit(f'README.md has no lines {BEGIN} and {END}')
    head, tail = readme.split(BEGIN)[0], readme.split(END)[1]
    with open(name + '.new', 'w') as f:
        f.write(f'{head}{BEGIN}\n{table}\n{END}{tail}')
    os.replace(name + '.new', name)
