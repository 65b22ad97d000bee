#!/usr/bin/env python3
# TEST tier=quick timeout=60 needs=python,plain
"""The ranks that resume read the parts of a checkpoint together, each its share: what one of them finds damaged is told
once, by file and bytes, and no rank goes on from it."""
import re

import dltest
import rehearse

STEPS = 30


def run(ranks, *more, code=0):
    words = ['net.yaml', 'run.dir=runs/one', 'checkpoint.keep=9', 'checkpoint.best=none', *more]
    status, out = rehearse.Job(ranks, words).finish()
    if status != code:
        dltest.fail(f'{more}: exit status {status} instead of {code}\n{out}')
    return out


def damage(step, part):
    with open(f'runs/one/checkpoints/step-{step:08d}/part-{part:05d}.h5', 'r+b') as f:
        f.seek(5000)
        byte = f.read(1)[0]
        f.seek(5000)
        f.write(bytes([byte ^ 1]))


def main():
    rehearse.write_config()
    dltest.run('data', 'make', 'text', '--out', 'data/text')
    for steps in (STEPS - 20, STEPS - 10, STEPS):
        run(3, f'train.max_steps={steps}')
    last, before, whole = reversed(rehearse.committed('runs/one')[-3:])
    damage(last, 1)
    damage(before, 2)
    words = [f'train.max_steps={STEPS + 10}']
    out = run(2, *words, '--strict', code=78)
    if f'step-{last:08d} is damaged: part-00001.h5: bytes 0-' not in out:
        dltest.fail(f'--strict: {out}')
    run(2, *words, '--resume', '', code=2)
    out = run(2, *words)
    told = re.findall(r'step-(\d+) is damaged: part-0000(\d)\.h5: bytes 0-', out)
    if [(int(step), int(part)) for step, part in told] != [(last, 1), (before, 2)]:
        dltest.fail(f'damaged parts of two ranks: {told}\n{out}')
    if not re.search(rf'resum\w+ .*step {whole}\b', out) or rehearse.committed('runs/one')[-1] != STEPS + 10:
        dltest.fail(f'not gone on from step {whole}: {out}')
    print(f'two damaged parts told by two ranks; gone on from step {whole}')


main()
