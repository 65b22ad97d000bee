/* The digest of a data set: cheap, and the same for the same samples in one file or in ten. */
#include "base/digest.h"
#include "base/mem.h"
#include "datasets/reader.h"

#include <string.h>

enum { DIGEST_SAMPLES = 64, DIGEST_TOKENS = 64 };

static void digest_number(dl_digest *digest, int64_t number) {
    dl_digest_add(digest, &number, sizeof number);
}

/* The first tokens of evenly spaced parts of a text. */
static dl_status digest_text(dl_dataset *dataset, dl_digest *digest) {
    const int64_t total = dataset->info.n_samples;
    int32_t token[DIGEST_TOKENS];
    for (int64_t i = 0; i < DIGEST_SAMPLES; i++) {
        const int64_t first = i * (total / DIGEST_SAMPLES), left = total - first;
        const int64_t n = left < DIGEST_TOKENS ? left : DIGEST_TOKENS;
        DL_RETURN_IF_ERROR(dl_dataset_read_tokens(dataset, first, n, token));
        dl_digest_add(digest, token, (size_t)n * sizeof *token);
    }
    return DL_OK;
}

static void digest_lengths(const dl_dataset *dataset, dl_digest *digest) {
    for (int64_t i = 0; i < dataset->info.n_samples && dataset->info.n_steps > 0; i++) {
        digest_number(digest, dl_dataset_length(dataset, i));
    }
}

static dl_status digest_samples(dl_dataset *dataset, dl_digest *digest) {
    const dl_dataset_info *info = &dataset->info;
    void *sample = NULL;
    size_t largest = 0;
    for (int i = 0; i < info->n_fields; i++) {
        const size_t steps = info->field[i].kind == DL_FIELD_RAGGED ? (size_t)info->max_length : 1;
        largest =
            info->field[i].sample_bytes * steps > largest ? info->field[i].sample_bytes * steps : largest;
    }
    DL_RETURN_IF_ERROR(dl_alloc(largest, 1, &sample));
    dl_status status = DL_OK;
    const int64_t n = info->n_samples < DIGEST_SAMPLES ? info->n_samples : DIGEST_SAMPLES;
    for (int64_t i = 0; i < n; i++) {
        const int64_t index = i * (info->n_samples / n);
        for (int field = 0; field < info->n_fields; field++) {
            const size_t steps =
                info->field[field].kind == DL_FIELD_RAGGED ? (size_t)dl_dataset_length(dataset, index) : 1;
            DL_GOTO_IF_ERROR(status, dl_dataset_read(dataset, index, field, sample), done);
            dl_digest_add(digest, sample, info->field[field].sample_bytes * steps);
        }
    }
done:
    dl_free(&sample);
    return status;
}

/* Of what was read, not of how it is stored: the same samples give the same digest in one file or in ten. */
dl_status dl_dataset_make_digest(dl_dataset *dataset) {
    dl_dataset_info *info = &dataset->info;
    dl_digest *digest = NULL;
    DL_RETURN_IF_ERROR(dl_digest_create(&digest));
    digest_number(digest, info->n_samples);
    digest_number(digest, info->n_classes);
    for (int i = 0; i < info->n_fields; i++) {
        const dl_field *field = &info->field[i];
        dl_digest_add(digest, field->name, strlen(field->name) + 1);
        digest_number(digest, field->dtype);
        digest_number(digest, field->sample_shape.n_dims);
        for (int d = 0; d < field->sample_shape.n_dims; d++) {
            digest_number(digest, field->sample_shape.dim[d]);
        }
    }
    for (int i = 0; i < dataset->n_shards; i++) {
        const dl_shard *shard = &dataset->shard[i];
        if (shard->label != NULL) {
            dl_digest_add(digest, shard->label, (size_t)shard->n_labels * sizeof *shard->label);
        }
    }
    digest_lengths(dataset, digest);
    const bool is_text = info->field[0].kind == DL_FIELD_TOKENS;
    const dl_status status = is_text ? digest_text(dataset, digest) : digest_samples(dataset, digest);
    dl_digest_text(digest, info->digest);
    dl_digest_destroy(&digest);
    return status;
}
