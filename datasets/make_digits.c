/* The data set `digits`: 60,000 + 10,000 images drawn by digits.c, every class equally often. */
#include "base/mem.h"
#include "datasets/digits.h"
#include "datasets/shard_writer.h"

enum { N_TRAIN = 60000, N_TEST = 10000, AT_ONCE = 1000, N_DIGITS = 10 };

#define DIGITS_INFO(n)                                                                                       \
    {                                                                                                        \
        .n_samples = (n), .n_classes = N_DIGITS, .n_fields = 2, .n_files = 1, .mapped = true, .field = {     \
            {.name = "x",                                                                                    \
             .dtype = DL_U8,                                                                                 \
             .sample_shape = {3, {DL_DIGIT_SIDE, DL_DIGIT_SIDE, 1}},                                         \
             .sample_bytes = DL_DIGIT_PIXELS},                                                               \
            {.name = "y", .dtype = DL_I32, .sample_bytes = 4},                                               \
        }                                                                                                    \
    }

typedef struct part {
    const char *split;
    dl_dataset_info info;
    uint64_t first_sample; /* in the numbering over both parts */
    int64_t order_epoch;   /* keeps the order of labels apart from any epoch of training */
} part;

static const part parts[2] = {{"train", DIGITS_INFO(N_TRAIN), 0, -1},
                              {"test", DIGITS_INFO(N_TEST), N_TRAIN, -2}};

static dl_status draw(const part *each, const dl_make_request *request, dl_shard_writer *writer,
                      uint8_t *images, uint32_t *label) {
    const int64_t n = each->info.n_samples;
    DL_RETURN_IF_ERROR(dl_sampler_order(request->seed, each->order_epoch, n, label));
    for (int64_t first = 0; first < n; first += AT_ONCE) {
        int32_t labels[AT_ONCE];
        const int64_t count = n - first < AT_ONCE ? n - first : AT_ONCE;
        for (int64_t i = 0; i < count; i++) {
            labels[i] = (int32_t)(label[first + i] % N_DIGITS);
            dl_digit_draw(request->seed, each->first_sample + (uint64_t)(first + i), labels[i],
                          images + i * DL_DIGIT_PIXELS);
        }
        DL_RETURN_IF_ERROR(dl_shard_writer_write(writer, 0, first, count, images));
        DL_RETURN_IF_ERROR(dl_shard_writer_write(writer, 1, first, count, labels));
        if (request->progress != NULL) {
            request->progress(each->split, (double)(first + count) / (double)n);
        }
    }
    return dl_shard_writer_finish(writer);
}

static dl_status make_both(const dl_make_request *request, dl_shard_writer *writer[2], uint8_t *images,
                           uint32_t *label) {
    for (int i = 0; i < 2; i++) {
        DL_RETURN_IF_ERROR(dl_shard_refuse_existing(request->folder, parts[i].split));
    }
    for (int i = 0; i < 2; i++) {
        DL_RETURN_IF_ERROR(dl_shard_writer_create(request->folder, parts[i].split, "digits",
                                                  request->n_shards, &parts[i].info, NULL, &writer[i]));
        DL_RETURN_IF_ERROR(draw(&parts[i], request, writer[i], images, label));
    }
    for (int i = 0; i < 2; i++) {
        DL_RETURN_IF_ERROR(dl_shard_writer_commit(writer[i]));
    }
    return DL_OK;
}

static dl_status make(const dl_make_request *request) {
    dl_shard_writer *writer[2] = {NULL, NULL};
    uint8_t *images = NULL;
    uint32_t *label = NULL;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_alloc(AT_ONCE, DL_DIGIT_PIXELS, &images), done);
    DL_GOTO_IF_ERROR(status, dl_alloc(N_TRAIN, sizeof *label, &label), done);
    DL_GOTO_IF_ERROR(status, make_both(request, writer, images, label), done);
done:
    for (int i = 0; i < 2; i++) {
        dl_shard_writer_destroy(&writer[i]);
    }
    dl_free(&images);
    dl_free(&label);
    return status;
}

const dl_maker dl_maker_digits = {
    .name = "digits",
    .doc = "28x28 grey images of drawn digits, 10 classes, 60,000 to train and 10,000 to test",
    .train = DIGITS_INFO(N_TRAIN),
    .test = DIGITS_INFO(N_TEST),
    .make = make,
};
