#define _GNU_SOURCE
#include "launcher/waiting.h"

#include "base/text.h"

#include <stdlib.h>
#include <unistd.h>

static int64_t number_from(const char *name, int64_t fallback) {
    const char *text = getenv(name);
    int64_t number = 0;
    return text != NULL && dl_parse_int64(text, &number) && number > 0 ? number : fallback;
}

void dl_waiting_policy_apply(char **argv) {
    const int64_t threads = number_from("DLTRAIN_THREADS", 1),
                  ranks = number_from("OMPI_COMM_WORLD_LOCAL_SIZE", 1);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (threads < 2 || cores < 1 || threads <= cores / ranks || getenv("OMP_WAIT_POLICY") != NULL ||
        getenv("GOMP_SPINCOUNT") != NULL) {
        return;
    }
    if (setenv("OMP_WAIT_POLICY", "passive", 1) == 0) {
        (void)execv("/proc/self/exe", argv); /* where that fails, it is slow */
    }
}
