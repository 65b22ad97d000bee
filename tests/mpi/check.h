/* For test programs under mpirun: the first condition that does not hold is told, and ends the job. */
#ifndef DLTRAIN_TESTS_MPI_CHECK_H
#define DLTRAIN_TESTS_MPI_CHECK_H

#include "base/log.h"
#include "comm/comm.h"

#include <stdio.h>
#include <stdlib.h>

static dl_comm *check_world;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: rank %d: not true: %s (%s)\n", __FILE__, __LINE__,                 \
                          check_world->rank, #condition, dl_error_last()->message);                          \
            check_world->functions->abort_job(check_world, 1);                                               \
            exit(1); /* self has no job to end */                                                            \
        }                                                                                                    \
    } while (0)

#define CHECK_OK(call) CHECK((call) == DL_OK)

#endif
