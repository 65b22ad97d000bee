#include "datasets/make_images.h"

#include "base/mem.h"
#include "datasets/shard_writer.h"

enum { AT_ONCE = 1000, N_PARTS = 2 };

typedef struct part {
    const char *split;
    const dl_dataset_info *info;
    uint64_t first_sample; /* in the numbering over both parts */
    int64_t order_epoch;   /* keeps the order of labels apart from any epoch of training */
    dl_shard_writer *writer;
} part;

static dl_status draw_part(const part *each, const dl_make_request *request, dl_draw_function draw,
                           uint8_t *images, uint32_t *label) {
    const int64_t n = each->info->n_samples;
    const size_t image_bytes = each->info->field[0].sample_bytes;
    DL_RETURN_IF_ERROR(dl_sampler_order(request->seed, each->order_epoch, n, label));
    for (int64_t first = 0; first < n; first += AT_ONCE) {
        int32_t labels[AT_ONCE];
        const int64_t count = n - first < AT_ONCE ? n - first : AT_ONCE;
        for (int64_t i = 0; i < count; i++) {
            labels[i] = (int32_t)(label[first + i] % (uint64_t)each->info->n_classes);
            draw(request->seed, each->first_sample + (uint64_t)(first + i), labels[i],
                 images + (size_t)i * image_bytes);
        }
        DL_RETURN_IF_ERROR(dl_shard_writer_write(each->writer, 0, first, count, images));
        DL_RETURN_IF_ERROR(dl_shard_writer_write(each->writer, 1, first, count, labels));
        if (request->progress != NULL) {
            request->progress(each->split, (double)(first + count) / (double)n);
        }
    }
    return dl_shard_writer_finish(each->writer);
}

static dl_status make_parts(const dl_make_request *request, const dl_maker *maker, dl_draw_function draw,
                            part *parts, uint8_t *images, uint32_t *label) {
    for (int i = 0; i < N_PARTS; i++) {
        DL_RETURN_IF_ERROR(dl_shard_refuse_existing(request->folder, parts[i].split));
    }
    for (int i = 0; i < N_PARTS; i++) {
        DL_RETURN_IF_ERROR(dl_shard_writer_create(request->folder, parts[i].split, maker->name,
                                                  request->n_shards, parts[i].info, NULL, &parts[i].writer));
        DL_RETURN_IF_ERROR(draw_part(&parts[i], request, draw, images, label));
    }
    for (int i = 0; i < N_PARTS; i++) {
        DL_RETURN_IF_ERROR(dl_shard_writer_commit(parts[i].writer));
    }
    return DL_OK;
}

dl_status dl_make_images(const dl_make_request *request, const dl_maker *maker, dl_draw_function draw) {
    part parts[N_PARTS] = {{"train", &maker->train, 0, -1, NULL},
                           {"test", &maker->test, (uint64_t)maker->train.n_samples, -2, NULL}};
    uint8_t *images = NULL;
    uint32_t *label = NULL;
    const int64_t most =
        maker->train.n_samples > maker->test.n_samples ? maker->train.n_samples : maker->test.n_samples;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_alloc(AT_ONCE, maker->train.field[0].sample_bytes, &images), done);
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)most, sizeof *label, &label), done);
    DL_GOTO_IF_ERROR(status, make_parts(request, maker, draw, parts, images, label), done);
done:
    for (int i = 0; i < N_PARTS; i++) {
        dl_shard_writer_destroy(&parts[i].writer);
    }
    dl_free(&images);
    dl_free(&label);
    return status;
}
