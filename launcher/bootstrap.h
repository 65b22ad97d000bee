/* Who am I: ranks, threads, binding. The only place that starts MPI. */
#ifndef DLTRAIN_LAUNCHER_BOOTSTRAP_H
#define DLTRAIN_LAUNCHER_BOOTSTRAP_H

#include "comm/comm.h"

typedef struct dl_runtime {
    dl_comm *world; /* self when not started by an MPI launcher */
    int n_threads;  /* this rank may use: max(1, cores it may use / ranks on its node), or DLTRAIN_THREADS */
    bool oversubscribed; /* more ranks than cores on this node */
    char host[64];
    int least_threads, most_threads; /* of all ranks */
    char hosts[512];                 /* on rank 0, for people: "h1 (2 ranks), h2 (2 ranks)" */
} dl_runtime;

/* Starts MPI when launched by it, decides threads and binding, tells log who we are. Collective over the job.
 * DL_ERR_USAGE for a wrong DLTRAIN_THREADS. Warnings about binding and oversubscription are said once. */
DL_NODISCARD dl_status dl_runtime_start(dl_runtime **out);

/* The runtime in use, NULL before dl_runtime_start: for the last act in main. */
dl_runtime *dl_runtime_current(void);

/* The last act of main: tells a failure exactly once in the whole job, ends the runtime if there is one, and
 * returns the exit code. Four cases: no runtime (the message is this process's; under a launcher the ranks
 * meet first, so that one tells what all have met); one rank; a failure all ranks know of (comm->failed, from
 * dl_comm_agree or dl_comm_compare: rank 0 or the failing rank tells it, all return its code); this rank
 * failed alone (dl_runtime_abort: does not return). DL_STOPPED is an orderly end of all ranks, and no
 * message. */
int dl_runtime_end(dl_status status);

/* For a command's outcome, before it releases what ranks share: a failure that only this rank knows of ends
 * the whole job here, since releasing would wait for the others. Returns `status` otherwise. */
dl_status dl_runtime_settle(dl_status status);

/* Orderly end: all ranks come with the same status. */
void dl_runtime_finish(dl_runtime **runtime);

/* This rank failed with the others not knowing: prints its error once in the whole job (a claim shared by the
 * ranks of the node keeps it to one message) and ends all ranks with its code. Does not return. */
_Noreturn void dl_runtime_abort(dl_runtime *runtime, const dl_error *error);

#endif
