/* Threads beside the computation. */
#ifndef DLTRAIN_BASE_THREAD_H
#define DLTRAIN_BASE_THREAD_H

#include <stdatomic.h>

/* The calling thread from now on leaves the cores to others: it gets some hundredths of one where none is to
 * spare, and dl_thread_rest makes it sleep. `hurry`: while it is set nobody works beside the thread, and it
 * does not sleep; it must live as long as the thread. Best effort; a thread cannot take it back. */
void dl_thread_give_way(const atomic_bool *hurry);

/* Called every few hundredths of a millisecond of work that may run in a thread that gives way: such a thread
 * sleeps here for many times as long as it has worked since it last slept, so that its work spreads over many
 * steps of the computation. (Left to the scheduler it takes whole ticks of it, up to 4 or 10 ms at a time.)
 * Does nothing in other threads. */
void dl_thread_rest(void);

#endif
