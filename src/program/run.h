/* Running the programs of a finished plan. */
#ifndef DLTRAIN_PROGRAM_RUN_H
#define DLTRAIN_PROGRAM_RUN_H

#include "program/plan.h"

/* A batch on the host, as LOAD sees it: this rank's samples of one step. */
typedef struct dl_host_batch {
    const void *const *field; /* by field number: [n_samples, ...] */
    const int64_t *ids;
    const dl_step_block *step;
} dl_host_batch;

/* Runs a program once. Collective over all ranks when it has collectives. Everything is done on return on
 * backends that run operations at once. On those with streams it has been handed over: the batch may be used
 * again, and a download without stream waits for the results, as dl_plan_outcome does. */
DL_NODISCARD dl_status dl_execute(dl_plan *plan, int program, const dl_host_batch *batch);

/* What run number `run` has left, waiting for it; dl_plan.n_runs counts them. The last are kept: one more
 * than the backend has steps in flight. */
DL_NODISCARD dl_status dl_plan_outcome(const dl_plan *plan, int64_t run, dl_outcome *out);

/* The host waits until the runs handed over are done, looking meanwhile whether another rank has failed
 * (DL_ERR_PEER). On backends that run operations at once there is nothing to wait for. */
DL_NODISCARD dl_status dl_plan_wait(const dl_plan *plan);

/* The same without collectives, stopping after the first instruction whose output holds a NaN or Inf: its
 * number, or -1. For finding where training went wrong; the update is not run. */
DL_NODISCARD dl_status dl_execute_until_bad(dl_plan *plan, int program, const dl_host_batch *batch,
                                            int *instruction);

/* Seconds each instruction of a program takes, summed over the runs made while profiling was on. An
 * all-reduce takes the time in which this rank waits for it and adds, also where that is within another
 * instruction's. */
typedef struct dl_profile {
    int64_t n_runs;
    double *seconds; /* by instruction */
} dl_profile;
DL_NODISCARD dl_status dl_execute_profiled(dl_plan *plan, int program, const dl_host_batch *batch,
                                           dl_profile *profile);

/* Called around each instruction of a run: `before` when what it waits for has happened, `after` when it is
 * done (an exchange: begun). A failure ends the run. */
typedef struct dl_observer {
    void *context;
    dl_status (*before)(void *context, int instruction);
    dl_status (*after)(void *context, int instruction);
} dl_observer;
DL_NODISCARD dl_status dl_execute_observed(dl_plan *plan, int program, const dl_host_batch *batch,
                                           const dl_observer *observer);

#endif
