#!/usr/bin/env python3
# TEST tier=default timeout=240 needs=python
"""kill -9 of one rank: all other ranks are gone within 3 s, at np 2 and 4, whichever rank dies, while training, while
evaluating, and at the start; nothing of the job is left."""
import time

import dltest
import rehearse


def kill_one(ranks, victim, delay, words):
    """Starts a job, kills one rank after `delay` seconds of all being there; returns how long the others lived."""
    job = rehearse.Job(ranks, [*words, f'run.dir=runs/kill-{ranks}-{victim}-{delay}'])
    rehearse.wait_until(f'{ranks} ranks', lambda: set(job.processes().values()) >= set(range(ranks)))
    time.sleep(delay)
    if job.is_over() or not job.kill(victim):
        dltest.fail(f'the job ended early: {rehearse.content("job.out").decode()}')
    lived, stuck = job.gone()
    if lived is None or stuck or job.process.returncode == 0:
        dltest.fail(f'np {ranks}: lived {lived} s, mpirun ends with {job.process.returncode}, stuck: {stuck}')
    return lived


def main():
    data = f'data.path={dltest.digits()}'
    training = [dltest.MNIST_CNN, data, 'train.epochs=100']
    evaluating = [dltest.MNIST_CNN, data, 'train.epochs=1000', 'train.max_steps=100000', 'data.valid=0.9']
    worst = 0
    for ranks, victim, delay, words in ((2, 0, 3, training), (2, 1, 3, training), (2, 1, 0, training),
                                        (2, 0, 0.2, training), (4, 0, 4, training), (4, 3, 4, training),
                                        (4, 2, 0.1, training), (2, 1, 4, evaluating), (2, 0, 4.5, evaluating)):
        lived = kill_one(ranks, victim, delay, words)
        worst = max(worst, lived)
        if lived > 3:
            dltest.fail(f'np {ranks}, rank {victim} killed {delay} s after the start: the others lived {lived:.1f} s')
    print(f'9 kills, the others were gone after {worst:.1f} s at most')


main()
