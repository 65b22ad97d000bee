/* The flag protocol of all-reduce in shared memory, ranks being threads; also meant for the thread sanitizer.
 */
#include "base/mem.h"
#include "comm/shared.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_RANKS = 8, ROUNDS = 60, MAX_N = 20011 };

/* What the ranks share. */
static dl_shared_flags flags[2][MAX_RANKS];
static float buffer[MAX_RANKS][MAX_N];
static _Alignas(64) char banks[MAX_RANKS][2 * 4096];

typedef struct task {
    int rank, size, n_wrong;
    int64_t n;
    bool small, nodes; /* through banks; with a step between */
} task;

/* Whole numbers: sums are exact in any order, so that a missed or doubled value shows. */
static float value(int rank, int round, int64_t i) {
    return (float)((rank + 1) * 7 + round * 3 + (int)(i % 1000));
}

static float expected(int size, int round, int64_t i, bool nodes) {
    float sum = 0;
    for (int rank = 0; rank < size; rank++) {
        sum += value(rank, round, i);
    }
    return nodes ? 2 * sum : sum;
}

typedef struct connection {
    dl_shared_reduce reduce;
    dl_shared_flags *flags[MAX_RANKS];
    const void *leaf[2 * MAX_RANKS];
    void *out[MAX_RANKS];
} connection;

static void connect_rank(connection *c, const task *job, int number, float *own) {
    *c =
        (connection){.reduce = {.rank = job->rank, .size = job->size, .dtype = DL_F32, .n_elements = job->n}};
    c->reduce.n_slices = job->nodes && job->size > 2 ? job->size - 1 : job->size;
    c->reduce.bank_bytes = job->small ? 4096 : 0;
    c->reduce.bank = banks[job->rank];
    c->reduce.n_own = 1;
    c->reduce.own[0] = own;
    for (int r = 0; r < job->size; r++) {
        c->flags[r] = &flags[number][r];
        c->leaf[r] = job->small ? (void *)banks[r] : (void *)buffer[r];
        c->leaf[job->size + r] = banks[r] + 4096;
        c->out[r] = job->small ? own : buffer[r];
    }
    c->reduce.flags = c->flags;
    c->reduce.leaf = c->leaf;
    c->reduce.out = c->out;
    assert_int_equal(dl_sum_plan_line(job->size, &c->reduce.plan), DL_OK);
}

/* Stands for the sum over nodes: doubles the slice. */
static dl_status double_slice(void *context, dl_range slice) {
    float *out = context;
    for (int64_t i = slice.begin; i < slice.end; i++) {
        out[i] *= 2;
    }
    return DL_OK;
}

static void *run(void *argument) {
    task *job = argument;
    static _Thread_local float private_values[1024];
    float *own = job->small ? private_values : buffer[job->rank];
    connection c;
    connect_rank(&c, job, 0, own);
    for (int round = 0; round < ROUNDS; round++) {
        for (int64_t i = 0; i < job->n; i++) {
            own[i] = value(job->rank, round, i);
        }
        dl_shared_start(&c.reduce);
        if (dl_shared_wait(&c.reduce, job->nodes ? double_slice : NULL, own) != DL_OK) {
            job->n_wrong++;
        }
        for (int64_t i = 0; i < job->n; i++) {
            job->n_wrong += own[i] != expected(job->size, round, i, job->nodes);
        }
    }
    dl_sum_plan_free(&c.reduce.plan);
    return NULL;
}

static void run_ranks(int size, int64_t n, bool small, bool nodes) {
    pthread_t thread[MAX_RANKS];
    task jobs[MAX_RANKS];
    memset(flags, 0, sizeof flags);
    for (int r = 0; r < size; r++) {
        jobs[r] = (task){.rank = r, .size = size, .n = n, .small = small, .nodes = nodes};
        assert_int_equal(pthread_create(&thread[r], NULL, run, &jobs[r]), 0);
    }
    for (int r = 0; r < size; r++) {
        assert_int_equal(pthread_join(thread[r], NULL), 0);
        assert_int_equal(jobs[r].n_wrong, 0);
    }
}

static void buffers(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 17, 1023, MAX_N};
    for (int size = 1; size <= MAX_RANKS; size += size < 4 ? 1 : 4) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            run_ranks(size, sizes[i], false, false);
        }
    }
}

static void several_nodes(void **state) {
    (void)state;
    run_ranks(3, 1023, false, true);
    run_ranks(4, MAX_N, false, true);
}

static void small_values(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 8, 1024};
    for (int size = 1; size <= MAX_RANKS; size += size < 4 ? 1 : 4) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            run_ranks(size, sizes[i], true, false);
        }
    }
}

static void slices_cover_all_once(void **state) {
    (void)state;
    for (int64_t n = 0; n < 400; n += 13) {
        dl_shared_reduce reduce = {.size = 7, .n_slices = 5, .dtype = DL_F64, .n_elements = n};
        int64_t at = 0;
        for (int rank = 0; rank < 5; rank++) {
            const dl_range slice = dl_shared_slice(&reduce, rank);
            assert_true(slice.begin == at || slice.begin == slice.end);
            at = slice.end > at ? slice.end : at;
        }
        assert_int_equal(at, n);
        assert_int_equal(dl_shared_slice(&reduce, 6).end, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_cover_all_once),
        cmocka_unit_test(buffers),
        cmocka_unit_test(several_nodes),
        cmocka_unit_test(small_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
