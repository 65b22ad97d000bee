#define _GNU_SOURCE
#include "base/thread.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Nicer by so much: 1/30 of the weight (kernel/sched/core.c, sched_prio_to_weight). */
enum { NICER = 15, NICEST = 19, TURN_NANOSECONDS = 100000 };

/* struct sched_attr of linux/sched/types.h, in its first version; that header is at odds with <sched.h>. */
typedef struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} attributes;

void dl_thread_give_way(void) {
    const int nice_now = getpriority(PRIO_PROCESS, 0); /* on Linux that of the thread */
    const int nicer = nice_now + NICER < NICEST ? nice_now + NICER : NICEST;
    const attributes wanted = {
        .size = sizeof wanted, .policy = SCHED_OTHER, .nice = nicer, .runtime = TURN_NANOSECONDS};
    if (syscall(SYS_sched_setattr, 0, &wanted, 0U) != 0) {
        (void)setpriority(PRIO_PROCESS, 0, nicer);
    }
}
