#!/usr/bin/env python3
# TEST tier=default timeout=240 nightly=1800 slots=1 needs=python,plain
"""Every system call of saving, deleting, cleaning up and loading a checkpoint fails, is cut short, or kills the
process (tests/tools/checkpoint_calls.c); then power is lost after every change of a file: of what was not synced, any
part may be missing or half done. Always the older or the newer checkpoint loads, and the newer once it was said to be
committed.

Here each twelfth allocation and 24 losses of power after each change; by --nightly, or with STRIDE=1 CRASHES=64, all
and 64. SEED repeats a run.
"""
import os
import random
import shutil
import subprocess
import tempfile

import dltest

SECTOR = 512
TOOL = os.path.join(dltest.BUILD, 'tests', 'tools', 'checkpoint_calls')
PRELOAD = dict(os.environ, LD_PRELOAD=os.path.join(dltest.BUILD, 'tests', 'tools', 'call_fail.so'))


class Disk:
    """Files and folders as they were changed, and as a loss of power may leave them.

    A folder is a list of changes: ({name: node or None}, synced); a file one of (offset, bytes or None to cut, synced).
    fsync of a file brings its bytes to disk and not its name, fsync of a folder the names in it; the order of what is
    not synced is the disk's own."""

    def __init__(self, root):
        self.root = root
        self.node = {root: []}  # path -> list of changes, now
        self.kind = {id(self.node[root]): 'folder'}
        self.keep = []  # so that ids stay unique

    def add(self, path, kind):
        changes = []
        self.keep.append(changes)
        self.kind[id(changes)] = kind
        self.node[path] = changes
        self.name({path: changes})

    def name(self, names):
        folder = os.path.dirname(next(iter(names)))
        self.node[folder].append([{os.path.basename(p): n for p, n in names.items()}, False])

    def apply(self, words):
        what, path = words[0], words[1]
        if not path.startswith(self.root + '/') and path != self.root:
            return
        if what in ('create', 'mkdir'):
            self.add(path, 'file' if what == 'create' else 'folder')
        elif what == 'write':
            self.node[path].append([int(words[2]), bytes.fromhex(words[3]), False])
        elif what == 'truncate':
            self.node[path].append([int(words[2]), None, False])
        elif what == 'sync':
            for change in self.node[path]:
                change[-1] = True
        elif what == 'rename':
            moved = {p: n for p, n in self.node.items() if p == path or p.startswith(path + '/')}
            for p, n in moved.items():
                del self.node[p]
                self.node[words[2] + p[len(path):]] = n
            self.name({path: None, words[2]: moved[path]})
        elif what in ('unlink', 'rmdir'):
            del self.node[path]
            self.name({path: None})
        else:
            dltest.fail(f'unknown line in the trace: {words[:2]}')

    def content(self, changes, kept):
        data = bytearray()
        for offset, piece, synced in changes:
            if piece is None:
                if synced or kept():
                    data[offset:] = b''
                continue
            for start in range(0, len(piece), SECTOR):
                end = offset + min(start + SECTOR, len(piece))
                data.extend(bytes(max(0, end - len(data))))  # the size may be there without the bytes
                if synced or kept():
                    data[offset + start:end] = piece[start:start + SECTOR]
        return data

    def write(self, changes, target, kept):
        """Makes in the folder `target` what the disk holds of these changes."""
        os.mkdir(target)
        names = {}
        for change, synced in changes:
            if synced or kept():
                names.update(change)
        for name, node in names.items():
            path = os.path.join(target, name)
            if node is not None and self.kind[id(node)] == 'folder':
                self.write(node, path, kept)
            elif node is not None:
                with open(path, 'wb') as f:
                    f.write(self.content(node, kept))


def chances(number):
    """How likely a change that is not synced reached the disk, for the n-th loss of power: none, all, any."""
    return (0.0, 1.0)[number] if number < 2 else random.choice((0.1, 0.5, 0.9))


def lose_power(folder, crashes):
    """Replays the trace of three saves and of what they delete; returns the number of losses of power."""
    root, trace = os.path.join(folder, 'run'), os.path.join(folder, 'trace')
    os.mkdir(root)
    subprocess.run([TOOL, 'trace', os.path.join(root, 'checkpoints'), trace], check=True, env=PRELOAD)
    disk = Disk(root)
    checker = subprocess.Popen([TOOL, 'check'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    least, trials, newer = -1, 0, 0
    for number, words in enumerate(line.rstrip('\n').split(' ') for line in open(trace)):
        if words[0] == 'mark':
            least = int(words[2])
            continue
        disk.apply(words)
        for crash in range(crashes):
            chance = chances(crash)
            target = os.path.join(folder, 'after')
            disk.write(disk.node[root], target, lambda: random.random() < chance)
            print(os.path.join(target, 'checkpoints'), file=checker.stdin, flush=True)
            newest, damaged = map(int, checker.stdout.readline().split())
            if newest < least or damaged:
                dltest.fail(f'after change {number} ({" ".join(words)[:200]}), chance {chance}: newest that loads is '
                            f'{newest}, at least {least} is wanted; damaged: {damaged}')
            newer += newest > least
            trials += 1
            shutil.rmtree(target)
    checker.stdin.close()
    if checker.wait() != 0 or least != 3 or newer == 0:
        dltest.fail(f'the replay saw nothing: last committed {least}, {newer} newer ones')
    return trials


def main():
    nightly = os.environ.get('TEST_NIGHTLY') == '1'
    seed = int(os.environ.get('SEED') or random.randrange(1 << 30))
    random.seed(seed)
    folder = tempfile.mkdtemp(prefix='dltrain-calls-', dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else None)
    try:
        stride = os.environ.get('STRIDE') or ('1' if nightly else '12')
        done = subprocess.run([TOOL, 'all', os.path.join(folder, 'calls'), stride, str(random.randrange(1000))],
                              env=PRELOAD, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            dltest.fail(f'SEED={seed}: {done.stdout[-3000:]}')
        losses = lose_power(folder, int(os.environ.get('CRASHES') or (64 if nightly else 24)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f'{done.stdout.strip().splitlines()[-1]}; {losses} losses of power; SEED={seed}')


main()
