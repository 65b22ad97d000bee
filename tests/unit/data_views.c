/* Views against a straightforward computation of what every batch must hold, for every division over ranks.
 */
#define _GNU_SOURCE
#include "base/mem.h"
#include "data_support.h"

enum { RANKS = 8, STEP = 3 };

/* --- files --- */

static int64_t length_of(int64_t sample) {
    return 2 + sample * 7 % 11 + (sample % 13 == 0 ? 9 : 0);
}

static float value_of(int64_t sample, int64_t step, int64_t feature) {
    return (float)(sample * 1000 + step * 10 + feature) + 0.5F;
}

/* Sequences first .. first+n: x float32 [length, STEP], y = number % 7. */
static void write_sequences(const char *path, int64_t first, int64_t n) {
    dl_h5_writer *writer = NULL;
    int values = 0, offsets = 0, y = 0;
    int64_t steps = 0, at = 0;
    for (int64_t i = 0; i < n; i++) {
        steps += length_of(first + i);
    }
    assert_ok(dl_h5_writer_create(path, &writer));
    assert_ok(dl_h5_writer_dataset(writer, "/x/values", DL_F32, &DL_SHAPE(steps, STEP), &values));
    assert_ok(dl_h5_writer_dataset(writer, "/x/offsets", DL_I64, &DL_SHAPE(n + 1), &offsets));
    assert_ok(dl_h5_writer_dataset(writer, "/y", DL_I32, &DL_SHAPE(n), &y));
    assert_ok(dl_h5_writer_layout(writer));
    assert_ok(dl_h5_writer_write(writer, offsets, 0, &at, sizeof at));
    for (int64_t i = 0; i < n; i++) {
        const int32_t label = (int32_t)((first + i) % 7);
        for (int64_t t = 0; t < length_of(first + i); t++) {
            float row[STEP];
            for (int64_t f = 0; f < STEP; f++) {
                row[f] = value_of(first + i, t, f);
            }
            assert_ok(dl_h5_writer_write(writer, values, (at + t) * (int64_t)sizeof row, row, sizeof row));
        }
        at += length_of(first + i);
        assert_ok(dl_h5_writer_write(writer, offsets, (i + 1) * 8, &at, sizeof at));
        assert_ok(dl_h5_writer_write(writer, y, i * 4, &label, sizeof label));
    }
    assert_ok(dl_h5_writer_commit(writer));
    dl_h5_writer_destroy(&writer);
}

static int32_t token_at(int64_t position) {
    return (int32_t)(position * 37 % 101);
}

static void write_text(const char *path, dl_dtype dtype, int64_t first, int64_t n) {
    dl_h5_writer *writer = NULL;
    int tokens = 0;
    assert_ok(dl_h5_writer_create(path, &writer));
    assert_ok(dl_h5_writer_dataset(writer, "/tokens", dtype, &DL_SHAPE(n), &tokens));
    assert_ok(dl_h5_writer_attribute_int(writer, "/tokens", "vocab_size", 101));
    assert_ok(dl_h5_writer_layout(writer));
    for (int64_t i = 0; i < n; i++) {
        const int32_t wide = token_at(first + i);
        const uint16_t narrow = (uint16_t)wide;
        const size_t each = dl_dtype_bytes(dtype);
        assert_ok(dl_h5_writer_write(writer, tokens, i * (int64_t)each,
                                     dtype == DL_U16 ? (const void *)&narrow : &wide, each));
    }
    assert_ok(dl_h5_writer_commit(writer));
    dl_h5_writer_destroy(&writer);
}

/* --- reading an epoch as several ranks do --- */

typedef struct rank {
    int number, n;
} rank;

static dl_range share(const void *context, int64_t n_samples) {
    const rank *me = context;
    return dl_share_samples(n_samples, me->n, me->number, 1, 0, 0);
}

typedef void (*check_function)(const dl_view_info *info, const dl_batch *batch, void *context);

/* Reads batches first .. end on `n_ranks` ranks, checks each, and that the shares of a batch make it up. */
static void read_all(const dl_view *view, bool shuffled, int64_t first, int64_t end, int n_ranks,
                     check_function check, void *context) {
    dl_prefetch *prefetch[RANKS] = {NULL};
    rank ranks[RANKS];
    for (int r = 0; r < n_ranks; r++) {
        ranks[r] = (rank){r, n_ranks};
        const dl_view_reading reading = {.shuffled = shuffled,
                                         .seed = 11,
                                         .first_batch = first,
                                         .end_batch = end,
                                         .n_buffers = 2,
                                         .share = share,
                                         .context = &ranks[r]};
        assert_ok(dl_view_start(view, &reading, &prefetch[r]));
    }
    const dl_view_info *info = dl_view_info_of(view);
    for (int64_t number = first; number < end; number++) {
        int64_t n = 0, weight = 0;
        dl_global_batch global = {0};
        for (int r = 0; r < n_ranks; r++) {
            const dl_batch *batch = NULL;
            assert_ok(dl_prefetch_next(prefetch[r], &batch));
            assert_non_null(batch);
            global = r == 0 ? batch->global : global;
            assert_memory_equal(&global, &batch->global, sizeof global);
            n += batch->n_samples;
            weight += batch->weight;
            check(info, batch, context);
            dl_prefetch_release(prefetch[r], batch);
        }
        assert_int_equal(global.epoch, number / info->n_batches + 1);
        assert_int_equal(global.number, number % info->n_batches);
        assert_int_equal(n, global.n_samples);
        assert_int_equal(weight, global.weight);
    }
    for (int r = 0; r < n_ranks; r++) {
        const dl_batch *batch = NULL;
        assert_ok(dl_prefetch_next(prefetch[r], &batch));
        assert_null(batch);
        dl_prefetch_stop(&prefetch[r]);
    }
}

/* --- sequences --- */

typedef struct tally {
    int64_t count[500], order[500], n;
    int64_t batches;
} tally;

static void count_ids(tally *seen, const dl_batch *batch) {
    seen->batches++;
    for (int64_t i = 0; i < batch->n_samples; i++) {
        assert_true(batch->ids[i] >= 0 && batch->ids[i] < 500);
        seen->count[batch->ids[i]]++;
        seen->order[seen->n++] = batch->ids[i];
    }
}

static void check_ragged(const dl_view_info *info, const dl_batch *batch, void *context) {
    const int64_t length = batch->global.length;
    const float *x = batch->field[0];
    const int32_t *y = batch->field[1], *lengths = batch->field[dl_view_field(info, "lengths")];
    count_ids(context, batch);
    assert_int_equal(length, info->bucket_length[batch->global.bucket]);
    for (int64_t i = 0; i < batch->n_samples; i++) {
        const int64_t id = batch->ids[i];
        assert_int_equal(lengths[i], length_of(id));
        assert_int_equal(y[i], id % 7);
        assert_true(length_of(id) <= length);
        assert_true(batch->global.bucket == 0 ||
                    length_of(id) > info->bucket_length[batch->global.bucket - 1]);
        for (int64_t j = 0; j < length * STEP; j++) {
            const float expected = j / STEP < lengths[i] ? value_of(id, j / STEP, j % STEP) : 0.0F;
            assert_true(x[i * length * STEP + j] == expected);
        }
    }
}

static void sequences(void **state) {
    const char *folder = *state;
    dl_dataset *dataset = NULL;
    write_sequences(path_in(folder, "train-0.h5"), 0, 90);
    write_sequences(path_in(folder, "train-1.h5"), 90, 43);
    assert_ok(dl_dataset_open(folder, "train", &dataset));
    assert_int_equal(dl_dataset_info_of(dataset)->min_length, 2);
    assert_int_equal(dl_dataset_info_of(dataset)->max_length, 21);
    assert_true(dl_dataset_info_of(dataset)->mapped);
    const dl_view_options options = {.kind = DL_VIEW_RAGGED, .batch_size = 8};
    dl_view *view = NULL;
    assert_ok(dl_view_open(dataset, &options, &view));
    const dl_view_info *info = dl_view_info_of(view);
    assert_int_equal(info->n_samples, 133);
    assert_int_equal(info->n_fields, 3);
    assert_int_equal(info->n_buckets, 4);
    assert_int_equal(info->bucket_length[3], 21);
    assert_true(dl_shape_equal(&info->field[0].sample_shape, &DL_SHAPE(21, STEP)));
    int64_t n_batches = 0;
    for (int i = 0; i < 4; i++) {
        n_batches += (info->bucket_samples[i] + 7) / 8;
    }
    assert_int_equal(info->n_batches, n_batches);
    static tally one, more;
    for (int n_ranks = 1; n_ranks <= RANKS; n_ranks++) {
        memset(&more, 0, sizeof more);
        read_all(view, true, n_batches, 2 * n_batches, n_ranks, check_ragged, &more);
        for (int64_t i = 0; i < 133; i++) {
            assert_int_equal(more.count[i], 1);
        }
        one = n_ranks == 1 ? more : one;
        assert_memory_equal(one.order, more.order, sizeof one.order);
    }
    memset(&more, 0, sizeof more);
    read_all(view, true, 0, n_batches, 1, check_ragged, &more);
    assert_memory_not_equal(one.order, more.order, sizeof one.order);
    memset(&more, 0, sizeof more);
    read_all(view, false, 0, n_batches, 3, check_ragged, &more);
    for (int64_t i = 0; i < 133; i++) {
        assert_int_equal(more.count[i], 1);
    }
    dl_view_close(&view);
    dl_dataset_close(&dataset);
}

static void buckets(void **state) {
    const char *folder = *state;
    dl_dataset *dataset = NULL;
    dl_view *view = NULL;
    write_sequences(path_in(folder, "train-0.h5"), 0, 50);
    assert_ok(dl_dataset_open(folder, "train", &dataset));
    dl_view_options options = {.kind = DL_VIEW_RAGGED,
                               .batch_size = 8,
                               .first = 10,
                               .n = 30,
                               .n_buckets = 2,
                               .bucket_length = {5, 64}};
    assert_ok(dl_view_open(dataset, &options, &view));
    int64_t few = 0;
    for (int64_t i = 10; i < 40; i++) {
        few += length_of(i) <= 5;
    }
    assert_int_equal(dl_view_info_of(view)->bucket_samples[0], few);
    assert_int_equal(dl_view_info_of(view)->bucket_samples[1], 30 - few);
    static tally seen;
    memset(&seen, 0, sizeof seen);
    read_all(view, true, 0, dl_view_info_of(view)->n_batches, 2, check_ragged, &seen);
    for (int64_t i = 0; i < 50; i++) {
        assert_int_equal(seen.count[i], i >= 10 && i < 40);
    }
    dl_view_close(&view);
    options.bucket_length[1] = 9;
    assert_error(dl_view_open(dataset, &options, &view), DL_ERR_USAGE, "the longest bucket 9");
    int64_t length[DL_MAX_BUCKETS];
    int n = 0;
    assert_ok(dl_view_choose_buckets(dataset, 3, 1, 4, length, &n));
    assert_int_equal(n, 1);
    assert_int_equal(length[0], length_of(3));
    assert_ok(dl_view_choose_buckets(dataset, 0, 0, 1, length, &n));
    assert_int_equal(n, 1);
    assert_int_equal(length[0], dl_dataset_info_of(dataset)->max_length);
    dl_dataset_close(&dataset);
}

/* --- texts --- */

typedef struct text_case {
    int64_t first, n, window, stride, rows;
    int64_t predicted[2000]; /* how often each token was a target */
    int64_t last_epoch;
} text_case;

static void check_next(const dl_view_info *info, const dl_batch *batch, void *context) {
    text_case *c = context;
    const int32_t *x = batch->field[0], *y = batch->field[1];
    assert_int_equal(info->n_samples, (c->n - c->window - 1) / c->stride + 1);
    for (int64_t i = 0; i < batch->n_samples; i++) {
        const int64_t begin = c->first + batch->ids[i] * c->stride;
        for (int64_t t = 0; t < c->window; t++) {
            assert_int_equal(x[i * c->window + t], token_at(begin + t));
        }
        assert_true(begin + c->window < c->first + c->n);
        assert_int_equal(y[i], token_at(begin + c->window));
        c->predicted[begin + c->window]++;
    }
}

static dl_dataset *open_text(const char *folder, dl_dtype dtype) {
    dl_dataset *dataset = NULL;
    write_text(path_in(folder, "train-0.h5"), dtype, 0, 700);
    write_text(path_in(folder, "train-1.h5"), dtype, 700, 1);
    write_text(path_in(folder, "train-2.h5"), dtype, 701, 300);
    assert_ok(dl_dataset_open(folder, "train", &dataset));
    assert_int_equal(dl_dataset_info_of(dataset)->n_samples, 1001);
    assert_int_equal(dl_dataset_info_of(dataset)->vocab_size, 101);
    assert_int_equal(dl_dataset_info_of(dataset)->n_classes, 101);
    assert_int_equal(dl_dataset_info_of(dataset)->unk_id, -1);
    return dataset;
}

static void next_tokens(void **state) {
    dl_dataset *dataset = open_text(*state, DL_U16);
    static const int64_t cases[][4] = {{0, 1001, 20, 1}, {0, 1001, 20, 7}, {100, 777, 5, 5}, {10, 21, 20, 3}};
    static text_case c;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        for (int n_ranks = 1; n_ranks <= 3; n_ranks++) {
            dl_view *view = NULL;
            memset(&c, 0, sizeof c);
            c.first = cases[k][0], c.n = cases[k][1], c.window = cases[k][2], c.stride = cases[k][3];
            const dl_view_options options = {.kind = DL_VIEW_NEXT,
                                             .first = c.first,
                                             .n = c.n,
                                             .batch_size = 16,
                                             .window = c.window,
                                             .stride = c.stride};
            assert_ok(dl_view_open(dataset, &options, &view));
            read_all(view, true, 0, dl_view_info_of(view)->n_batches, n_ranks, check_next, &c);
            for (int64_t p = 0; p < 1001; p++) {
                const int64_t from = p - c.first - c.window;
                const bool target = from >= 0 && p < c.first + c.n && from % c.stride == 0;
                assert_int_equal(c.predicted[p], target);
            }
            dl_view_close(&view);
        }
    }
    dl_dataset_close(&dataset);
}

/* Row r of a stream is the predictions floor(r M / R) .. floor((r+1) M / R); prediction p is of token p + 1.
 */
static void check_stream(const dl_view_info *info, const dl_batch *batch, void *context) {
    text_case *c = context;
    const int32_t *x = batch->field[0], *y = batch->field[1];
    const int64_t m = c->n - 1;
    int64_t weight = 0;
    assert_int_equal(info->weight, m);
    for (int64_t i = 0; i < batch->n_samples; i++) {
        const int64_t k = batch->ids[i] / c->rows, r = batch->ids[i] % c->rows;
        assert_int_equal(k, batch->global.number);
        for (int64_t t = 0; t < c->window; t++) {
            const int64_t p = r * m / c->rows + k * c->window + t;
            const bool inside = p < (r + 1) * m / c->rows;
            assert_int_equal(x[i * c->window + t], inside ? token_at(c->first + p) : 0);
            assert_int_equal(y[i * c->window + t], inside ? token_at(c->first + p + 1) : -1);
            if (inside) {
                c->predicted[c->first + p + 1]++;
                weight++;
            }
        }
    }
    assert_int_equal(batch->weight, weight);
}

static void streams(void **state) {
    dl_dataset *dataset = open_text(*state, DL_I32);
    static const int64_t cases[][4] = {
        {0, 1001, 20, 8}, {0, 1001, 7, 3}, {33, 500, 35, 20}, {5, 2, 4, 3}, {0, 1001, 2000, 1}};
    static text_case c;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        for (int n_ranks = 1; n_ranks <= RANKS; n_ranks++) {
            dl_view *view = NULL;
            memset(&c, 0, sizeof c);
            c.first = cases[k][0], c.n = cases[k][1], c.window = cases[k][2], c.rows = cases[k][3];
            const dl_view_options options = {
                .kind = DL_VIEW_STREAM, .first = c.first, .n = c.n, .batch_size = c.rows, .window = c.window};
            assert_ok(dl_view_open(dataset, &options, &view));
            /* Two epochs: a stream is never shuffled. */
            read_all(view, true, 0, 2 * dl_view_info_of(view)->n_batches, n_ranks, check_stream, &c);
            for (int64_t p = 0; p < 1001; p++) {
                assert_int_equal(c.predicted[p], p > c.first && p < c.first + c.n ? 2 : 0);
            }
            dl_view_close(&view);
        }
    }
    dl_dataset_close(&dataset);
}

/* --- samples --- */

static void check_samples(const dl_view_info *info, const dl_batch *batch, void *context) {
    assert_int_equal(info->field[0].sample_bytes, 30);
    count_ids(context, batch);
    for (int64_t i = 0; i < batch->n_samples; i++) {
        assert_int_equal(((const int32_t *)batch->field[1])[i], batch->ids[i] % 7);
        for (int64_t j = 0; j < 30; j++) {
            assert_int_equal(((const uint8_t *)batch->field[0])[i * 30 + j], pixel(batch->ids[i], j));
        }
    }
}

/* Dense samples come in the order of dl_sampler_order, batch after batch. */
static void samples(void **state) {
    const char *folder = *state;
    dl_dataset *dataset = NULL;
    dl_view *view = NULL;
    static tally seen;
    uint32_t order[83];
    write_shard(path_in(folder, "train-0.h5"), 0, 60);
    write_shard(path_in(folder, "train-1.h5"), 60, 40);
    assert_ok(dl_dataset_open(folder, "train", &dataset));
    const dl_view_options options = {.kind = DL_VIEW_SAMPLES, .first = 17, .batch_size = 9};
    assert_ok(dl_view_open(dataset, &options, &view));
    assert_int_equal(dl_view_info_of(view)->n_batches, 10);
    assert_int_equal(dl_view_info_of(view)->n_shapes, 2);
    for (int n_ranks = 1; n_ranks <= RANKS; n_ranks++) {
        memset(&seen, 0, sizeof seen);
        read_all(view, true, 20, 30, n_ranks, check_samples, &seen);
        assert_ok(dl_sampler_order(11, 3, 83, order));
        for (int64_t i = 0; i < 83; i++) {
            assert_int_equal(seen.order[i], 17 + (int64_t)order[i]);
        }
    }
    /* From the middle of an epoch on, as a run that is continued. */
    memset(&seen, 0, sizeof seen);
    read_all(view, true, 23, 31, 3, check_samples, &seen);
    for (int64_t i = 0; i < 83 - 27; i++) {
        assert_int_equal(seen.order[i], 17 + (int64_t)order[27 + i]);
    }
    memset(&seen, 0, sizeof seen);
    read_all(view, false, 0, 10, 2, check_samples, &seen);
    for (int64_t i = 0; i < 83; i++) {
        assert_int_equal(seen.order[i], 17 + i);
    }
    dl_view_close(&view);
    dl_dataset_close(&dataset);
}

static void what_cannot_be_viewed(void **state) {
    dl_dataset *dataset = open_text(*state, DL_U16);
    dl_view *view = NULL;
    dl_view_options options = {.kind = DL_VIEW_SAMPLES, .batch_size = 4};
    assert_error(dl_view_open(dataset, &options, &view), DL_ERR_USAGE,
                 "holds a text (/tokens) where samples");
    options = (dl_view_options){.kind = DL_VIEW_NEXT, .batch_size = 4, .window = 1001, .stride = 1};
    assert_error(dl_view_open(dataset, &options, &view), DL_ERR_USAGE, "need 1002 tokens, there are 1001");
    options.window = 0;
    assert_error(dl_view_open(dataset, &options, &view), DL_ERR_USAGE, "a window of 0 tokens");
    options = (dl_view_options){.kind = DL_VIEW_STREAM, .batch_size = 4, .window = 5, .first = 1000};
    assert_error(dl_view_open(dataset, &options, &view), DL_ERR_USAGE, "nothing to predict");
    options.first = 1001;
    assert_error(dl_view_open(dataset, &options, &view), DL_ERR_USAGE, "the split has 1001");
    assert_null(view);
    dl_dataset_close(&dataset);
}

static void memory_is_known_before(void **state) {
    dl_dataset *dataset = open_text(*state, DL_U16);
    dl_view *view = NULL;
    const dl_view_options options = {.kind = DL_VIEW_NEXT, .batch_size = 16, .window = 20, .stride = 1};
    assert_ok(dl_view_open(dataset, &options, &view));
    const dl_view_reading reading = {.shuffled = true, .n_buffers = 3, .end_batch = 1};
    /* ids 128, x 1280, y 64; the order of 981 windows. */
    assert_int_equal(dl_view_bytes(view, &reading), 3 * (128 + 1280 + 64) + 981 * 4);
    dl_view_close(&view);
    dl_dataset_close(&dataset);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(sequences),
        TEST(buckets),
        TEST(next_tokens),
        TEST(streams),
        TEST(samples),
        TEST(what_cannot_be_viewed),
        TEST(memory_is_known_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
