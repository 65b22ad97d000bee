/* Memory, text, numbers, names, files, random numbers, digests, pieces, threads. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/pieces.h"
#include "base/rng.h"
#include "base/tensor.h"
#include "base/text.h"
#include "base/thread.h"
#include "base/worker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    void *memory = NULL;
    assert_int_equal(dl_alloc(SIZE_MAX / 2, 4, &memory), DL_ERR_MEMORY);
    assert_int_equal(dl_alloc(0, 4, &memory), DL_OK);
    assert_non_null(memory);
    dl_free(&memory);
    assert_null(memory);
    assert_int_equal(dl_shape_check(&DL_SHAPE(1 << 30, 1 << 30)), DL_ERR_USAGE);
    assert_int_equal(dl_shape_check(&DL_SHAPE(3, -1)), DL_ERR_USAGE);
}

static void a_pool_gives_zeroed_aligned_memory(void **state) {
    (void)state;
    dl_pool *pool = NULL;
    assert_int_equal(dl_pool_create(&pool), DL_OK);
    for (size_t n = 1; n < 100000; n = n * 3 + 1) {
        unsigned char *memory = NULL;
        assert_int_equal(dl_pool_alloc(pool, n, 1, &memory), DL_OK);
        assert_int_equal((uintptr_t)memory % 16, 0);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(memory[i], 0);
        }
        memset(memory, 0xAB, n); /* must not reach what comes next */
    }
    char *text = NULL;
    assert_int_equal(dl_pool_printf(pool, &text, "%d-%s", 7, "x"), DL_OK);
    assert_string_equal(text, "7-x");
    dl_pool_destroy(&pool);
    assert_null(pool);
}

static void numbers_are_read_strictly(void **state) {
    (void)state;
    int64_t i = 0;
    double d = 0;
    assert_true(dl_parse_int64("-12", &i) && i == -12);
    static const char *const not_ints[] = {"", "12x", " 1", "1.0", "0x10", "9999999999999999999", "-", "+"};
    for (size_t n = 0; n < sizeof not_ints / sizeof *not_ints; n++) {
        assert_false(dl_parse_int64(not_ints[n], &i));
    }
    assert_true(dl_parse_double("1e-3", &d) && d == 1e-3);
    assert_true(dl_parse_double(".5", &d) && d == 0.5);
    static const char *const not_doubles[] = {"", "nan", "inf", "1e999", "0x1p3", "1,5", "1 "};
    for (size_t n = 0; n < sizeof not_doubles / sizeof *not_doubles; n++) {
        assert_false(dl_parse_double(not_doubles[n], &d));
    }
}

static void the_nearest_name_is_near(void **state) {
    (void)state;
    static const char *const names[] = {"batch_size", "epochs", "optimizer"};
    assert_string_equal(dl_nearest_name("bathc_size", names, 3), "batch_size");
    assert_string_equal(dl_nearest_name("Epoch", names, 3), "epochs");
    assert_null(dl_nearest_name("zebra", names, 3));
    assert_null(dl_nearest_name("", names, 3));
}

static void files_are_replaced_whole(void **state) {
    (void)state;
    char folder[] = "/tmp/dltrain-unit-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(dl_path_join(path, sizeof path, folder, "f"), DL_OK);
    assert_int_equal(dl_file_replace(path, "one", 3), DL_OK);
    assert_int_equal(dl_file_replace(path, "second", 6), DL_OK);
    dl_text text = {0};
    assert_int_equal(dl_file_read(path, 100, &text), DL_OK);
    assert_string_equal(text.data, "second");
    dl_text_free(&text);
    assert_int_equal(dl_file_read(path, 3, &text), DL_ERR_USAGE);
    dl_text_free(&text);
    assert_int_equal(dl_file_read("/nonexistent/x", 3, &text), DL_ERR_USAGE);
    assert_int_equal(dl_file_replace("/nonexistent/x", "a", 1), DL_ERR_IO);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void thousands_have_commas(void **state) {
    (void)state;
    char out[32];
    assert_string_equal(dl_thousands(0, out), "0");
    assert_string_equal(dl_thousands(93322, out), "93,322");
    assert_string_equal(dl_thousands(-1234567, out), "-1,234,567");
}

/* Philox4x32-10's known answers (Random123's kat_vectors): counter and key all zero. */
static void random_numbers_are_philox(void **state) {
    (void)state;
    uint32_t out[4];
    dl_rng_4x32(0, 0, 0, 0, out);
    assert_int_equal(out[0], 0x6627e8d5);
    assert_int_equal(out[1], 0xe169c58d);
    assert_int_equal(out[2], 0xbc57ac4c);
    assert_int_equal(out[3], 0x9b00dbd8);
    double sum = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        const double u = dl_rng_uniform(1, DL_RNG_TEST, i, 0);
        assert_true(u > 0 && u < 1);
        assert_true(dl_rng_below(1, DL_RNG_TEST, i, 0, 7) < 7);
        sum += u;
    }
    assert_true(sum > 4900 && sum < 5100);
}

static void the_digest_is_xxh3(void **state) {
    (void)state;
    char whole[DL_DIGEST_TEXT_BYTES], parts[DL_DIGEST_TEXT_BYTES];
    dl_digest_of("", 0, whole);
    assert_string_equal(whole, "99aa06d3014798d86001c324468d497f"); /* XXH3-128 of nothing */
    dl_digest *digest = NULL;
    assert_int_equal(dl_digest_create(&digest), DL_OK);
    dl_digest_add(digest, "abc", 3);
    dl_digest_add(digest, "def", 3);
    dl_digest_text(digest, parts);
    dl_digest_of("abcdef", 6, whole);
    assert_string_equal(whole, parts);
    dl_digest_destroy(&digest);
}

static void shares_cover_a_batch_once(void **state) {
    (void)state;
    for (int pieces = 0; pieces < 2; pieces++) {
        for (int n_ranks = 1; n_ranks <= 8; n_ranks++) {
            for (int64_t batch = 0; batch < 70; batch += 7) {
                int64_t at = 0;
                for (int rank = 0; rank < n_ranks; rank++) {
                    const dl_range share = dl_share_samples(batch, n_ranks, rank, 1, 0, pieces);
                    assert_int_equal(share.begin, at);
                    assert_true(share.end >= share.begin);
                    at = share.end;
                }
                assert_int_equal(at, batch);
            }
        }
    }
}

static void aligned_blocks_cover_their_range(void **state) {
    (void)state;
    for (int64_t begin = 0; begin < DL_PIECES; begin++) {
        for (int64_t end = begin; end <= DL_PIECES; end++) {
            dl_range blocks[DL_MAX_BLOCKS];
            const int n = dl_aligned_blocks((dl_range){begin, end}, blocks);
            int64_t at = begin;
            for (int i = 0; i < n; i++) {
                const int64_t length = blocks[i].end - blocks[i].begin;
                assert_int_equal(blocks[i].begin, at);
                assert_int_equal(length & (length - 1), 0);
                assert_int_equal(blocks[i].begin % length, 0);
                at = blocks[i].end;
            }
            assert_int_equal(at, end);
        }
    }
    assert_true(dl_pieces_fit(8, 1) && dl_pieces_fit(2, 4) && dl_pieces_fit(3, 2));
    assert_false(dl_pieces_fit(9, 1) || dl_pieces_fit(3, 3));
}

static void *give_way(void *context) {
    static dl_thread_pace pace;
    dl_thread_give_way(&pace);
    *(int *)context = getpriority(PRIO_PROCESS, 0);
    return NULL;
}

static void a_thread_gives_way_alone(void **state) {
    (void)state;
    pthread_t thread;
    int then = -99;
    const int before = getpriority(PRIO_PROCESS, 0);
    assert_int_equal(pthread_create(&thread, NULL, give_way, &then), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(then, before + 15 < 19 ? before + 15 : 19);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), before);
}

/* What a thread that works for some milliseconds, with rests, needs. */
typedef struct working {
    dl_thread_pace pace;
    bool gives_way;
    double seconds, on_a_core;
    long sleeps;
} working;

static void *work_with_rests(void *context) {
    working *work = context;
    struct rusage usage;
    if (work->gives_way) {
        dl_thread_give_way(&work->pace);
    }
    (void)getrusage(RUSAGE_THREAD, &usage);
    const long before = usage.ru_nvcsw;
    const double start = dl_clock_seconds(), on_a_core = dl_clock_on_core();
    while (dl_clock_on_core() < on_a_core + 4e-3) {
        dl_thread_rest();
    }
    work->seconds = dl_clock_seconds() - start;
    work->on_a_core = dl_clock_on_core() - on_a_core;
    (void)getrusage(RUSAGE_THREAD, &usage);
    work->sleeps = usage.ru_nvcsw - before;
    return NULL;
}

static void rests_spread_the_work(void **state) {
    (void)state;
    working spread = {.gives_way = true}, hurried = {.gives_way = true, .pace = {.hurry = 1}}, other = {0};
    working *const all[] = {&spread, &hurried, &other};
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, work_with_rests, all[i]), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    assert_true(spread.sleeps >= 5 && spread.seconds > 10 * spread.on_a_core);
    const double rested = atomic_load(&spread.pace.rested);
    assert_true(rested > 0.5 * spread.seconds && rested < spread.seconds);
    assert_true(atomic_load(&hurried.pace.rested) == 0);
    assert_true(hurried.sleeps == 0 && other.sleeps == 0);
}

static void *work_until_hurried(void *context) {
    working *work = context;
    dl_thread_give_way(&work->pace);
    const double on_a_core = dl_clock_on_core();
    while (dl_clock_on_core() < on_a_core + 20e-3) { /* then it rests for most of a second */
    }
    dl_thread_rest();
    work->on_a_core = dl_clock_on_core() - on_a_core;
    return NULL;
}

static void who_rests_is_woken(void **state) {
    (void)state;
    working work = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, work_until_hurried, &work), 0);
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    dl_thread_hurry(&work.pace);
    const double asked = dl_clock_seconds();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(dl_clock_seconds() - asked < 0.3);
    assert_true(work.on_a_core < 0.1);
    assert_true(atomic_load(&work.pace.rested) < 0.7);
}

/* A job of a worker: works for `milliseconds` of a core. */
typedef struct job {
    int milliseconds;
    pthread_t thread;
    bool done;
} job;

static void do_job(void *context) {
    job *one = context;
    const double start = dl_clock_on_core();
    while (dl_clock_on_core() < start + 1e-3 * one->milliseconds) {
        dl_thread_rest();
    }
    one->thread = pthread_self();
    one->done = true;
}

/* Of 40 ms of work: some 7 s, were all rests as long as the first. */
static void rests_grow_shorter(void **state) {
    (void)state;
    dl_worker *worker = NULL;
    job one = {.milliseconds = 40};
    assert_int_equal(dl_worker_create(&worker), DL_OK);
    dl_worker_begin(worker);
    dl_worker_give(worker, do_job, &one);
    dl_worker_wait(worker);
    assert_true(dl_worker_rested(worker) > 2 && dl_worker_rested(worker) < 5);
    dl_worker_destroy(&worker);
}

static void a_worker_does_one_job_after_another(void **state) {
    (void)state;
    dl_worker *worker = NULL;
    pthread_t first = pthread_self();
    assert_int_equal(dl_worker_create(&worker), DL_OK);
    dl_worker_wait(worker); /* for nothing */
    for (int i = 0; i < 3; i++) {
        job one = {.milliseconds = 2}, next = {.milliseconds = 2};
        dl_worker_begin(worker);
        dl_worker_give(worker, do_job, &one);
        if (i == 1) {
            dl_worker_hurry(worker);
        }
        dl_worker_wait(worker);
        const double rested = dl_worker_rested(worker);
        dl_worker_give(worker, do_job, &next);
        dl_worker_wait(worker);
        assert_true(one.done && next.done);
        /* Who hurried one task hurried all its jobs, and not the next task. */
        assert_true(i == 1 ? dl_worker_rested(worker) - rested < 5e-3 : rested > 10e-3);
        first = i == 0 ? one.thread : first;
        assert_true(pthread_equal(one.thread, first));
    }
    job last = {.milliseconds = 50}; /* with rests some seconds */
    dl_worker_begin(worker);
    dl_worker_give(worker, do_job, &last);
    const double asked = dl_clock_seconds();
    dl_worker_destroy(&worker);
    assert_true(last.done && worker == NULL && dl_clock_seconds() - asked < 1);
    dl_worker_destroy(&worker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(a_pool_gives_zeroed_aligned_memory),
        cmocka_unit_test(numbers_are_read_strictly),
        cmocka_unit_test(the_nearest_name_is_near),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(thousands_have_commas),
        cmocka_unit_test(random_numbers_are_philox),
        cmocka_unit_test(the_digest_is_xxh3),
        cmocka_unit_test(shares_cover_a_batch_once),
        cmocka_unit_test(aligned_blocks_cover_their_range),
        cmocka_unit_test(a_thread_gives_way_alone),
        cmocka_unit_test(rests_spread_the_work),
        cmocka_unit_test(who_rests_is_woken),
        cmocka_unit_test(rests_grow_shorter),
        cmocka_unit_test(a_worker_does_one_job_after_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
