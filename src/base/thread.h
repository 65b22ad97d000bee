/* Threads beside the computation. */
#ifndef DLTRAIN_BASE_THREAD_H
#define DLTRAIN_BASE_THREAD_H

#include "base/status.h"

#include <pthread.h>
#include <stdatomic.h>

/* Starts a thread with all signals blocked: they are the main thread's. DL_ERR_MEMORY when the system has
 * none to give. */
DL_NODISCARD dl_status dl_thread_start(pthread_t *thread, void *(*work)(void *context), void *context);

/* How a thread that gives way is getting on; shared with those who wait for it. Zeros at first. */
typedef struct dl_thread_pace {
    atomic_bool begins;    /* a task that it has not rested in */
    atomic_uint hurry;     /* 1 after dl_thread_hurry: the thread does not sleep any more; 0 before */
    _Atomic double began;  /* the task that the thread is at, by the clock */
    _Atomic double rested; /* seconds of the task that the thread has slept in dl_thread_rest */
} dl_thread_pace;

/* The calling thread from now on leaves the cores to others: it gets some hundredths of one where none is to
 * spare, and dl_thread_rest makes it sleep. `pace` must live as long as the thread, and is one thread's at a
 * time. Best effort; a thread cannot take it back. */
void dl_thread_give_way(dl_thread_pace *pace);

/* Called as often as calls of libraries allow, best every few hundredths of a millisecond of work that may
 * run in a thread that gives way: such a thread sleeps here for many times as long as it has worked since it
 * last slept, so that its work spreads over many steps of the computation. (Left to the scheduler it takes
 * whole ticks of it, up to 4 or 10 ms at a time.) Does nothing in other threads. */
void dl_thread_rest(void);

/* The thread of this pace begins another task: with a rest, for whoever gives it one has just worked for it
 * (copied what is to be written), and rests grow shorter with the time since now. Before the thread is given
 * the task. */
void dl_thread_begin(dl_thread_pace *pace);

/* The thread of this pace is waited for: it is woken if it rests, and does not rest again until `hurry` is 0.
 * Any thread may call this. */
void dl_thread_hurry(dl_thread_pace *pace);

#endif
