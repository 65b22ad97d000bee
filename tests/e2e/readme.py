#!/usr/bin/env python3
# TEST tier=default timeout=600 needs=python,plain
"""Runs every command of README.md from its text: the ```sh blocks, in order, in one shell in a scratch copy of the
tree, with dltrain on PATH. A block after a line <!-- not run: REASON --> is left out, at most four of them. Documents
that README.md and CONTRIBUTING.md name must exist."""
import os
import re
import shutil
import subprocess
import sys

import dltest
from dltest import ROOT, fail

MAX_LEFT_OUT = 4


def blocks(text):
    """[(line number, commands, reason why not run or None)] of the sh blocks."""
    found = []
    pattern = r'(?:<!-- not run: ([^\n]*?) -->\n+)?^```(?:sh|shell|bash|console)\n(.*?)^```'
    for match in re.finditer(pattern, text, flags=re.M | re.S):
        found.append((text.count('\n', 0, match.start(2)) + 1, match.group(2), match.group(1)))
    return found


def check_names(name):
    """Paths in backquotes or links that look like files of the tree are there."""
    text = open(os.path.join(ROOT, name)).read()
    for path in re.findall(r'\]\(([\w./-]+)\)|`((?:src|tests|configs|datasets|kernels|comm|launcher)/[\w./-]+)`', text):
        path = (path[0] or path[1]).rstrip('/')
        if '://' not in path and 'NAME' not in path and not os.path.exists(os.path.join(ROOT, path)):
            fail(f'{name} names {path}, which is not there')


def scratch_copy():
    """The tree's files, with the build folder in place of a build."""
    names = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '-z'], cwd=ROOT, check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split('\0')
    for name in filter(None, names):
        if os.path.isfile(os.path.join(ROOT, name)):
            os.makedirs(os.path.join('tree', os.path.dirname(name)), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join('tree', name))
    os.makedirs('tree/data')
    shutil.copytree(dltest.digits(), 'tree/data/digits')


def main():
    text = open(os.path.join(ROOT, 'README.md')).read()
    all_blocks = blocks(text)
    left_out = [b for b in all_blocks if b[2] is not None]
    if len(all_blocks) - len(left_out) < 3 or len(left_out) > MAX_LEFT_OUT:
        fail(f'README.md has {len(all_blocks)} blocks of commands, {len(left_out)} not run (at most {MAX_LEFT_OUT})')
    for name in ('README.md', 'CONTRIBUTING.md', 'src/README.md', 'datasets/FORMAT.md'):
        check_names(name)
    scratch_copy()
    script = 'set -e\n'
    for line, commands, reason in all_blocks:
        if reason is None:
            script += f'echo "== README.md:{line}"\n{commands}\n'
    home = os.path.abspath('home')
    os.makedirs(home)
    done = subprocess.run(['bash', '-c', script], cwd='tree', env=dict(os.environ, HOME=home, PYTHONPATH=''))
    if done.returncode != 0:
        fail(f'exit status {done.returncode} after the last block named above')
    sys.stdout.flush()
    print(f'{len(all_blocks) - len(left_out)} blocks of commands run, {len(left_out)} not')


main()
