#define _GNU_SOURCE
#include "base/clock.h"

#include <time.h>

static double read_clock(clockid_t id) {
    struct timespec now = {0};
    (void)clock_gettime(id, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double dl_clock_seconds(void) {
    return read_clock(CLOCK_MONOTONIC);
}

double dl_clock_unix(void) {
    return read_clock(CLOCK_REALTIME);
}

double dl_clock_on_core(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}
