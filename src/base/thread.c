#define _GNU_SOURCE
#include "base/thread.h"

#include "base/clock.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Nicer by so much: 1/30 of the weight (kernel/sched/core.c, sched_prio_to_weight). */
enum { NICER = 15, NICEST = 19, TURN_NANOSECONDS = 100000 };

/* It sleeps when it has worked for so long; so many times as long. To fall asleep and wake costs some 20 us,
 * which shorter turns would multiply. */
static const double turn_seconds = 200e-6, rest_per_work = 200;

/* From so many seconds of a task on rests grow shorter, so that no task lasts for ever: twice as long a task,
 * half the rest. */
static const double patient_seconds = 1;

/* Of a thread that gives way; `pace` is NULL in others. */
static _Thread_local struct {
    dl_thread_pace *pace;
    double worked; /* its seconds on a core when it last slept */
} giving_way;

/* struct sched_attr of linux/sched/types.h, in its first version; that header is at odds with <sched.h>. */
typedef struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} attributes;

dl_status dl_thread_start(pthread_t *thread, void *(*work)(void *context), void *context) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(thread, NULL, work, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    DL_RETURN_ERROR_IF(failed != 0, DL_ERR_MEMORY, "cannot start a thread: %s", strerror(failed));
    return DL_OK;
}

/* Until the time is over, or somebody hurries the thread, or a little less. */
static void doze(dl_thread_pace *pace, double seconds) {
    const long whole = (long)seconds;
    const struct timespec time = {.tv_sec = whole, .tv_nsec = (long)(1e9 * (seconds - (double)whole))};
    (void)syscall(SYS_futex, &pace->hurry, FUTEX_WAIT_PRIVATE, 0U, &time, NULL, 0);
}

/* Turns of a tenth of a millisecond, where the system has them (Linux 6.12 and later). */
void dl_thread_give_way(dl_thread_pace *pace) {
    const int nice_now = getpriority(PRIO_PROCESS, 0); /* on Linux that of the thread */
    const int nicer = nice_now + NICER < NICEST ? nice_now + NICER : NICEST;
    const attributes wanted = {
        .size = sizeof wanted, .policy = SCHED_OTHER, .nice = nicer, .runtime = TURN_NANOSECONDS};
    if (syscall(SYS_sched_setattr, 0, &wanted, 0U) != 0) {
        (void)setpriority(PRIO_PROCESS, 0, nicer);
    }
    atomic_store(&pace->began, dl_clock_seconds());
    giving_way.pace = pace;
    giving_way.worked = dl_clock_on_core();
}

/* Seconds of rest for a second of work. */
static double rests_of(const dl_thread_pace *pace) {
    const double lasted = dl_clock_seconds() - atomic_load(&pace->began);
    return rest_per_work * (lasted > patient_seconds ? patient_seconds / lasted : 1);
}

void dl_thread_begin(dl_thread_pace *pace) {
    atomic_store(&pace->began, dl_clock_seconds());
    atomic_store(&pace->rested, 0);
    atomic_store(&pace->begins, true);
    atomic_store(&pace->hurry, 0);
}

void dl_thread_rest(void) {
    dl_thread_pace *pace = giving_way.pace;
    if (pace == NULL || atomic_load(&pace->hurry) != 0) {
        return;
    }
    const double since = dl_clock_on_core() - giving_way.worked;
    const double worked = atomic_exchange(&pace->begins, false) ? turn_seconds : since;
    if (worked < turn_seconds) {
        return;
    }
    const double start = dl_clock_seconds(), end = start + rests_of(pace) * worked;
    for (double left = end - start; left > 0 && atomic_load(&pace->hurry) == 0;
         left = end - dl_clock_seconds()) {
        doze(pace, left);
    }
    atomic_store(&pace->rested, atomic_load(&pace->rested) + dl_clock_seconds() - start);
    giving_way.worked = dl_clock_on_core();
}

void dl_thread_hurry(dl_thread_pace *pace) {
    atomic_store(&pace->hurry, 1);
    (void)syscall(SYS_futex, &pace->hurry, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
