/* The data set `series`: sequences of different lengths in the form of Japanese Vowels: 12 features, 9
 * classes, 7 to 29 steps. A class is a set of curves, one for each feature; a sample runs along them at its
 * own speed, shifted, scaled and noisy. */
#include "base/mem.h"
#include "datasets/shard_writer.h"
#include "datasets/stream.h"

enum { N_FEATURES = 12, N_CLASSES = 9, MIN_LENGTH = 7, MAX_LENGTH = 29, N_TRAIN = 1800, N_TEST = 900 };

#define SERIES_INFO(n)                                                                                       \
    {                                                                                                        \
        .n_samples = (n), .n_classes = N_CLASSES, .n_fields = 2, .n_files = 1, .mapped = true, .unk_id = -1, \
        .min_length = MIN_LENGTH, .max_length = MAX_LENGTH, .field = {                                       \
            {.name = "x",                                                                                    \
             .kind = DL_FIELD_RAGGED,                                                                        \
             .dtype = DL_F32,                                                                                \
             .sample_shape = {1, {N_FEATURES}},                                                              \
             .sample_bytes = N_FEATURES * sizeof(float)},                                                    \
            {.name = "y", .dtype = DL_I32, .sample_bytes = 4},                                               \
        }                                                                                                    \
    }

/* The classes do not depend on the seed: data sets of two seeds are of one kind. */
static const uint64_t class_seed = 9;

typedef struct curve {
    double start, bend[3]; /* a polynomial of the third degree over 0..1 */
} curve;

static void make_class(int class_number, curve out[N_FEATURES]) {
    dl_stream random = {.seed = class_seed, .sample = (uint64_t)class_number};
    for (int f = 0; f < N_FEATURES; f++) {
        out[f].start = dl_stream_uniform(&random, -0.25, 0.25);
        for (int i = 0; i < 3; i++) {
            out[f].bend[i] = dl_stream_uniform(&random, -0.6, 0.6);
        }
    }
}

static int64_t length_of(uint64_t seed, uint64_t sample) {
    dl_stream random = {.seed = seed, .sample = sample};
    /* The mean of two uniform numbers: middle lengths are frequent. */
    const uint32_t span = MAX_LENGTH - MIN_LENGTH + 1, one = dl_stream_below(&random, span);
    return MIN_LENGTH + (int64_t)((one + dl_stream_below(&random, span)) / 2);
}

/* Writes [length, N_FEATURES]. */
static void draw(uint64_t seed, uint64_t sample, int class_number, int64_t length, float *out) {
    curve curves[N_FEATURES];
    dl_stream random = {.seed = seed, .sample = sample, .block = 1}; /* block 0 chose the length */
    make_class(class_number, curves);
    const double scale = dl_stream_uniform(&random, 0.6, 1.4), from = dl_stream_uniform(&random, 0, 0.25);
    const double to = dl_stream_uniform(&random, 0.75, 1), noise = dl_stream_uniform(&random, 0.15, 0.6);
    double shift[N_FEATURES];
    for (int f = 0; f < N_FEATURES; f++) {
        shift[f] = 0.7 * dl_stream_bell(&random);
    }
    for (int64_t step = 0; step < length; step++) {
        const double t = from + (to - from) * (double)step / (double)(length - 1);
        for (int f = 0; f < N_FEATURES; f++) {
            const curve *c = &curves[f];
            const double value = c->start + t * (c->bend[0] + t * (c->bend[1] + t * c->bend[2]));
            *out++ = (float)(scale * value + shift[f] + noise * dl_stream_bell(&random));
        }
    }
}

typedef struct part {
    const char *split;
    int64_t n, order_epoch;
    uint64_t first_sample;
    int64_t *length;
    dl_shard_writer *writer;
} part;

static dl_status draw_part(part *each, const dl_make_request *request, const dl_dataset_info *info) {
    uint32_t order[N_TRAIN];
    const dl_shard_extra extra = {.length = each->length};
    for (int64_t i = 0; i < each->n; i++) {
        each->length[i] = length_of(request->seed, each->first_sample + (uint64_t)i);
    }
    DL_RETURN_IF_ERROR(dl_shard_writer_create(request->folder, each->split, "series", request->n_shards, info,
                                              &extra, &each->writer));
    DL_RETURN_IF_ERROR(dl_sampler_order(request->seed, each->order_epoch, each->n, order));
    for (int64_t i = 0; i < each->n; i++) {
        float values[MAX_LENGTH * N_FEATURES];
        const int32_t label = (int32_t)(order[i] % N_CLASSES);
        draw(request->seed, each->first_sample + (uint64_t)i, label, each->length[i], values);
        DL_RETURN_IF_ERROR(dl_shard_writer_write(each->writer, 0, i, 1, values));
        DL_RETURN_IF_ERROR(dl_shard_writer_write(each->writer, 1, i, 1, &label));
    }
    if (request->progress != NULL) {
        request->progress(each->split, 1.0);
    }
    return dl_shard_writer_finish(each->writer);
}

static dl_status make_parts(const dl_make_request *request, part parts[2]) {
    static const dl_dataset_info info[2] = {SERIES_INFO(N_TRAIN), SERIES_INFO(N_TEST)};
    for (int i = 0; i < 2; i++) {
        DL_RETURN_IF_ERROR(dl_shard_refuse_existing(request->folder, parts[i].split));
        DL_RETURN_IF_ERROR(dl_alloc((size_t)parts[i].n, sizeof(int64_t), &parts[i].length));
    }
    for (int i = 0; i < 2; i++) {
        DL_RETURN_IF_ERROR(draw_part(&parts[i], request, &info[i]));
    }
    for (int i = 0; i < 2; i++) {
        DL_RETURN_IF_ERROR(dl_shard_writer_commit(parts[i].writer));
    }
    return DL_OK;
}

static dl_status make(const dl_make_request *request) {
    part parts[2] = {{"train", N_TRAIN, -1, 0, NULL, NULL}, {"test", N_TEST, -2, N_TRAIN, NULL, NULL}};
    const dl_status status = make_parts(request, parts);
    for (int i = 0; i < 2; i++) {
        dl_shard_writer_destroy(&parts[i].writer);
        dl_free(&parts[i].length);
    }
    return status;
}

const dl_maker dl_maker_series = {
    .name = "series",
    .doc = "sequences of 7 to 29 steps of 12 features, 9 classes, 1,800 to train and 900 to test",
    .train = SERIES_INFO(N_TRAIN),
    .test = SERIES_INFO(N_TEST),
    .make = make,
};
