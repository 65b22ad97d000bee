/* A program with the runtime's beginning and end around one of several lives; tests/faults/comm_ends.sh runs
 * it.
 *
 *   threads            rank 0 prints the number of threads and whether ranks outnumber cores
 *   loop               all-reduces until a signal asks to stop; every rank prints "pid N" first
 *   alone RANK         that rank fails in the middle of the others' all-reduce
 *   each               every rank fails with a message of its own, at the same time
 *   agreed RANK        that rank fails, and the ranks agree on it
 *   common             every rank fails alike, and the ranks agree on it
 *   early RANK         that rank fails before it starts the runtime */
#include "base/mem.h"
#include "launcher/bootstrap.h"
#include "launcher/signals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 1 << 20 };

/* A bucket and a control word, as a training step has them. */
typedef struct step {
    int32_t stop;
    dl_collective *bucket, *control;
} step;

static dl_status prepare_step(dl_comm *world, void **arena, step *out) {
    DL_RETURN_IF_ERROR(world->functions->memory_create(world, N * sizeof(float), arena));
    const dl_reduce_desc bucket = {.dtype = DL_F32, .n_elements = N, .buffer = *arena, .name = "bucket"};
    DL_RETURN_IF_ERROR(world->functions->all_reduce_prepare(world, &bucket, &out->bucket));
    const dl_reduce_desc control = {.reduction = DL_REDUCE_MAX,
                                    .dtype = DL_I32,
                                    .n_elements = 1,
                                    .buffer = &out->stop,
                                    .name = "control"};
    return world->functions->all_reduce_prepare(world, &control, &out->control);
}

static dl_status reduce_until(dl_comm *world, int failing_rank) {
    void *arena = NULL;
    step one = {0};
    DL_RETURN_IF_ERROR(prepare_step(world, &arena, &one));
    for (int round = 0; one.stop == 0; round++) {
        if (world->rank == failing_rank && round == 20) {
            DL_RETURN_ERROR(DL_ERR_DATA, "sample 17 is broken");
        }
        memset(arena, 0, N * sizeof(float));
        one.stop = dl_signals_pending();
        DL_RETURN_IF_ERROR(world->functions->start(one.bucket, NULL));
        DL_RETURN_IF_ERROR(world->functions->start(one.control, NULL));
        DL_RETURN_IF_ERROR(world->functions->wait(one.bucket));
        DL_RETURN_IF_ERROR(world->functions->wait(one.control));
    }
    world->functions->collective_destroy(one.bucket);
    world->functions->collective_destroy(one.control);
    world->functions->memory_destroy(world, arena);
    return DL_OK;
}

static dl_status live(const char *life, int number) {
    if (strcmp(life, "early") == 0 && dl_comm_mpi_launched_rank() == number) {
        DL_RETURN_ERROR(DL_ERR_USAGE, "wrong option");
    }
    dl_runtime *runtime = NULL;
    DL_RETURN_IF_ERROR(dl_runtime_start(&runtime));
    dl_comm *world = runtime->world;
    if (strcmp(life, "threads") == 0) {
        if (world->rank == 0) {
            printf("threads %d oversubscribed %d\n", runtime->n_threads, runtime->oversubscribed);
        }
        return DL_OK;
    }
    if (strcmp(life, "loop") == 0) {
        printf("pid %d\n", (int)getpid());
        (void)fflush(stdout);
        return reduce_until(world, -1);
    }
    if (strcmp(life, "alone") == 0) {
        return reduce_until(world, number);
    }
    if (strcmp(life, "each") == 0) {
        DL_RETURN_IF_ERROR(world->functions->barrier(world));
        DL_RETURN_ERROR(DL_ERR_IO, "disk %d is full", world->rank);
    }
    dl_status status = DL_OK;
    if (strcmp(life, "common") == 0 || (strcmp(life, "agreed") == 0 && world->rank == number)) {
        status = dl_error_raise(DL_ERR_CORRUPT, __FILE__, __LINE__, __func__, "bad digest");
    }
    return dl_comm_agree(world, status, NULL);
}

int main(int argc, char **argv) {
    dl_status status = dl_signals_install();
    if (status == DL_OK) {
        status = live(argc > 1 ? argv[1] : "threads", argc > 2 ? atoi(argv[2]) : -1);
    }
    return dl_runtime_end(status);
}
