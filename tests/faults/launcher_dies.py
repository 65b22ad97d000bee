#!/usr/bin/env python3
# TEST tier=default timeout=30 needs=python,plain
"""mpirun is killed while ranks are within MPI_Init, from which PMIx then may not come back (here it never does,
tests/tools/stuck_in_init.c): no rank is left."""
import os
import time

import dltest
import rehearse

PRELOAD = os.path.join(dltest.BUILD, 'tests', 'tools', 'stuck_in_init.so')
RANKS = 3
JOIN_SECONDS = 1  # until they are stuck, also on a machine that is busy


def main():
    rehearse.write_config()
    job = rehearse.Job(RANKS, ['net.yaml', 'run.dir=runs/stuck'], LD_PRELOAD=PRELOAD)
    until = time.monotonic() + 20
    while time.monotonic() < until and sorted(job.processes().values()) != [rehearse.MPIRUN, *range(RANKS)]:
        time.sleep(0.02)
    time.sleep(JOIN_SECONDS)
    if sorted(job.processes().values()) != [rehearse.MPIRUN, *range(RANKS)]:
        dltest.fail(f'the ranks are not stuck in MPI_Init: {job.processes()}')
    job.kill(rehearse.MPIRUN)
    seconds, _ = job.gone()
    if seconds is None or seconds > rehearse.GONE_SECONDS:
        dltest.fail('ranks outlived mpirun')
    print(f'{RANKS} ranks were gone {seconds:.2f} s after mpirun')


main()
