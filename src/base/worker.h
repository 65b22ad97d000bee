/* A thread beside the computation that does one job after another and gives way to the computation meanwhile
 * (base/thread.h). It is there before the first job, so that none of them fails for want of a thread and none
 * pays for one. Its calls come from one thread, but for dl_worker_hurry. */
#ifndef DLTRAIN_BASE_WORKER_H
#define DLTRAIN_BASE_WORKER_H

#include "base/status.h"

typedef struct dl_worker dl_worker;

/* Starts the thread, with all signals blocked. DL_ERR_MEMORY when the system has no thread to give. */
DL_NODISCARD dl_status dl_worker_create(dl_worker **out);

/* Hurries and waits for what is under way, then ends the thread; sets *worker to NULL; NULL-safe. */
void dl_worker_destroy(dl_worker **worker);

/* A task of one or more jobs begins: unhurried, with the longest rests. The job before must have been waited
 * for. */
void dl_worker_begin(dl_worker *worker);

/* Hands over a job of the task. The one before must have been waited for. */
void dl_worker_give(dl_worker *worker, void (*work)(void *context), void *context);

/* The task is waited for: no job of it rests any more. */
void dl_worker_hurry(dl_worker *worker);

/* Until the job is done; at once when there is none. */
void dl_worker_wait(dl_worker *worker);

/* Seconds that the jobs of the task have rested. */
double dl_worker_rested(const dl_worker *worker);

#endif
