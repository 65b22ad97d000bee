#define _GNU_SOURCE
#include "launcher/bootstrap.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "launcher/binding.h"
#include "launcher/hosts.h"
#include "launcher/lost_peer.h"
#include "launcher/signals.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 1024, MEET_SECONDS = 5, ABORT_MICROSECONDS = 300000, OTHERS_NANOSECONDS = 300000000 };

static dl_runtime *current;

dl_runtime *dl_runtime_current(void) {
    return current;
}

/* 0 when DLTRAIN_THREADS is not set. */
static dl_status read_threads(int *out) {
    const char *text = getenv("DLTRAIN_THREADS");
    *out = 0;
    if (text == NULL || text[0] == '\0') {
        return DL_OK;
    }
    int64_t number = 0;
    DL_RETURN_ERROR_IF(!dl_parse_int64(text, &number) || number < 1 || number > MAX_THREADS, DL_ERR_USAGE,
                       "DLTRAIN_THREADS is '%s'; it must be a number of threads per rank, 1 to %d", text,
                       MAX_THREADS);
    *out = (int)number;
    return DL_OK;
}

static void read_host(char out[64]) {
    if (gethostname(out, 64) != 0) {
        (void)snprintf(out, 64, "?");
    }
    out[63] = '\0';
    out[strcspn(out, ".")] = '\0';
}

/* Joins the ranks. Until they are, the system ends them with the launcher that started them: PMIx may wait
 * for ever for the answer of one that died. Later MPI notices by itself. MPI writes to connections that end
 * with the other host's rank, and SIGPIPE would end this one without a word. */
static dl_status join_ranks(dl_comm **out) {
    if (!dl_comm_mpi_launched()) {
        return dl_comm_self_create(out);
    }
    DL_RETURN_IF_ERROR(dl_signals_ignore(SIGPIPE));
    (void)prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL);
    const dl_status status = dl_comm_mpi_create(out);
    (void)prctl(PR_SET_PDEATHSIG, 0UL, 0UL, 0UL, 0UL);
    return status;
}

/* Joins the ranks and lets them agree on `status`: what this rank has met so far. With a failure the runtime
 * exists afterwards, for dl_runtime_end. */
static dl_status start(dl_status status) {
    int wanted_threads = 0;
    if (status == DL_OK) {
        status = read_threads(&wanted_threads);
    }
    dl_error met; /* making the runtime must not hide what was met before */
    dl_error_take(&met);
    dl_runtime *runtime = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *runtime, &runtime));
    const dl_status joined = join_ranks(&runtime->world);
    if (joined != DL_OK) {
        dl_free(&runtime);
        return joined;
    }
    runtime->n_threads = 1;
    read_host(runtime->host);
    dl_log_set_rank(runtime->world->rank, runtime->world->size);
    current = runtime;
    (void)dl_error_restore(&met);
    DL_RETURN_IF_ERROR(dl_comm_agree(runtime->world, status, NULL));
    if (runtime->world->size > 1) {
        DL_RETURN_IF_ERROR(dl_lost_peer_watch(runtime));
    }
    DL_RETURN_IF_ERROR(dl_binding_apply(runtime, wanted_threads));
    return dl_hosts_describe(runtime);
}

dl_status dl_runtime_start(dl_runtime **out) {
    DL_RETURN_ERROR_IF(current != NULL, DL_ERR_INTERNAL, "the runtime was started already");
    DL_RETURN_IF_ERROR(start(DL_OK));
    *out = current;
    return DL_OK;
}

void dl_runtime_finish(dl_runtime **runtime) {
    dl_runtime *ending = *runtime; /* `runtime` may be the address of `current` itself */
    if (ending == NULL) {
        return;
    }
    dl_lost_peer_ignore();
    dl_comm_destroy(&ending->world);
    dl_comm_mpi_finish();
    if (current == ending) {
        current = NULL;
    }
    *runtime = NULL;
    dl_free(&ending);
}

static void on_abort_timeout(int number) {
    (void)number;
    _exit((int)dl_error_last()->code);
}

/* MPI_Abort waits for the launcher, which may be busy with ending the job already. */
static void limit_abort(void) {
    const struct sigaction action = {.sa_handler = on_abort_timeout};
    const struct itimerval limit = {.it_value = {.tv_usec = ABORT_MICROSECONDS}};
    if (sigaction(SIGALRM, &action, NULL) == 0) {
        (void)setitimer(ITIMER_REAL, &limit, NULL);
    }
}

/* The launcher ends all ranks once one of them has; a rank that lost the claim gives the other time to speak,
 * and whom mpirun has ended is not blamed. */
_Noreturn void dl_runtime_abort(dl_runtime *runtime, const dl_error *error) {
    dl_comm *world = runtime->world;
    const int code = (int)error->code;
    dl_lost_peer_ignore();
    (void)fflush(stdout);
    if (error->code == DL_ERR_PEER && dl_lost_peer_was_ended()) {
        _exit(code);
    }
    if (world->functions->claim(world)) {
        dl_log_error(error, world->size > 1);
    } else {
        const struct timespec wait = {0, OTHERS_NANOSECONDS};
        (void)nanosleep(&wait, NULL);
    }
    int process = 0;
    if (world->functions->lost_peer(world, &process) < 0) { /* else the launcher is at work already */
        limit_abort();
        world->functions->abort_job(world, code);
    }
    _exit(code);
}

static void complete_record(dl_status status) {
    if (dl_error_last()->code != status) {
        (void)dl_error_raise(status, __FILE__, __LINE__, __func__, "%s", dl_code_text(status));
    }
}

/* All ranks know of the failure: one of them tells it. */
static void tell(const dl_comm *world) {
    const bool common = world->size == 1 || world->failed_rank < 0;
    if (world->rank == (common ? 0 : world->failed_rank)) {
        dl_log_error(dl_error_last(), !common);
    }
}

/* The others did not come: they do something else, or have ended. Runs while MPI waits for them in this
 * thread. */
static void tell_alone(int number) {
    (void)number;
    dl_log_set_rank(dl_comm_mpi_launched_rank(), dl_comm_mpi_launched_size());
    dl_log_error(dl_error_last(), true);
    _exit((int)dl_error_last()->code);
}

/* A failure before the runtime was started: the ranks meet, so that one message tells what all have met. */
static dl_status meet(dl_status status) {
    const struct sigaction action = {.sa_handler = tell_alone};
    if (sigaction(SIGALRM, &action, NULL) == 0) {
        (void)alarm(MEET_SECONDS);
    }
    const dl_status met = start(status);
    (void)alarm(0);
    return met != DL_OK ? met : status;
}

static bool is_failure(dl_status status) {
    return status != DL_OK && status != DL_STOPPED && status != DL_INTERRUPTED;
}

dl_status dl_runtime_settle(dl_status status) {
    if (is_failure(status) && current != NULL && current->world->size > 1 && !current->world->failed) {
        complete_record(status);
        dl_runtime_abort(current, dl_error_last());
    }
    return status;
}

int dl_runtime_end(dl_status status) {
    const bool failed = is_failure(status);
    if (failed) {
        complete_record(status);
        if (current == NULL && dl_comm_mpi_launched_size() > 1) {
            status = meet(status);
        }
    }
    if (current == NULL) {
        if (failed) {
            dl_log_error(dl_error_last(), false);
        }
        return (int)status;
    }
    if (is_failure(dl_runtime_settle(status))) {
        tell(current->world);
    }
    dl_runtime_finish(&current);
    return (int)status;
}
