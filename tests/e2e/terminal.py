#!/usr/bin/env python3
# TEST tier=quick timeout=90 needs=python
"""On a terminal a live bar, elsewhere plain lines without control characters; the banner, epoch lines, the summary;
with several ranks everything is said once; NO_COLOR is heeded."""
import os
import pty
import re

import dltest
from dltest import fail


def on_terminal(words, **environment):
    """Output of dltrain on a pseudo-terminal of 100 columns."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(environment, COLUMNS='100', TERM='xterm')
        os.execv(words[0], words)
    text = b''
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        fail(f'on a terminal: {text[-2000:]!r}')
    return text.decode()


def check_report(text, ranks):
    """Banner, epoch lines, hash: each once."""
    for pattern, count in ((r'^dltrain \d+\.\d+\.\d+ +%d rank' % ranks, 1),
                           (r'^model +mnist_cnn +93,322 parameters', 1),
                           (r'^data +.*\b1,800 train\b', 1), (r'^memory +\d+ MiB per rank \(', 1),
                           (r'epoch [12]/2\b.*valid', 2), (r'^weights [0-9a-f]{32}$', 1)):
        found = re.findall(pattern, text, flags=re.M)
        if len(found) < count or (count == 1 and len(found) > 1):
            fail(f'{pattern!r} found {len(found)} times in {text!r}')


def main():
    words = [dltest.DLTRAIN, dltest.MNIST_CNN, f'data.path={dltest.small_digits()}', 'data.valid=0.1', 'train.epochs=2']
    live = on_terminal(words + ['run.dir=runs/live'])
    if '\r' not in live.replace('\r\n', '\n') or not re.search(r'\[=*>? *\]|\[[=>.# ]+\]', live):
        fail(f'no live bar on a terminal: {live!r}')
    if 'eta' not in live or 'samples/s' not in live:
        fail(f'the bar has no rate or no time left: {live!r}')
    plain = on_terminal(words + ['run.dir=runs/plain'], NO_COLOR='1')
    if re.search(r'\x1b\[\d+(;\d+)*m', plain):
        fail('colour in spite of NO_COLOR')
    for ranks in (1, 2):
        piped = dltest.run(*words[1:], f'run.dir=runs/{ranks}', ranks=ranks).stdout
        if re.search(r'[\r\x1b\x08]', piped):
            fail(f'control characters in a file: {piped!r}')
        check_report(piped, ranks)
    print('live on a terminal, plain elsewhere')


main()
