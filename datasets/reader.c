/* A data set: the files of a split put one after another. */
#define _GNU_SOURCE
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "datasets/shard.h"

#include <inttypes.h>
#include <string.h>

enum { DIGEST_SAMPLES = 64, MAX_REPORTED_FILES = 4 };

struct dl_dataset {
    dl_dataset_info info;
    int n_shards; /* opened so far */
    dl_shard *shard;
};

/* --- opening --- */

/* Has `there` every field of `here`? */
static dl_status check_has_fields(const dl_shard *here, const dl_shard *there) {
    for (int i = 0; i < here->n_fields; i++) {
        bool found = false;
        for (int j = 0; j < there->n_fields; j++) {
            found = found || strcmp(here->field[i].name, there->field[j].name) == 0;
        }
        DL_RETURN_ERROR_IF(!found, DL_ERR_DATA, "%s has no field /%s, which %s has", there->path,
                           here->field[i].name, here->path);
    }
    return DL_OK;
}

static dl_status check_same_fields(const dl_shard *first, const dl_shard *other) {
    char one[DL_SHAPE_TEXT_BYTES], two[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_IF_ERROR(check_has_fields(first, other));
    DL_RETURN_IF_ERROR(check_has_fields(other, first));
    for (int i = 0; i < first->n_fields; i++) {
        const dl_field *a = &first->field[i], *b = &other->field[i];
        DL_RETURN_ERROR_IF(a->dtype != b->dtype || !dl_shape_equal(&a->sample_shape, &b->sample_shape),
                           DL_ERR_DATA, "%s: the samples of /%s are %s %s, those of %s are %s %s",
                           other->path, a->name, dl_dtype_name(b->dtype),
                           dl_shape_text(&b->sample_shape, two), first->path, dl_dtype_name(a->dtype),
                           dl_shape_text(&a->sample_shape, one));
    }
    return DL_OK;
}

static dl_status open_shard(dl_dataset *dataset, const char *folder, const char *name) {
    char path[DL_SHARD_PATH_BYTES];
    if (folder[0] != '\0') {
        DL_RETURN_IF_ERROR(dl_path_join(path, sizeof path, folder, name));
    } else {
        memcpy(path, name, strlen(name) + 1);
    }
    dl_shard *shard = &dataset->shard[dataset->n_shards++];
    DL_RETURN_IF_ERROR(dl_shard_open(path, shard));
    return DL_OK;
}

/* Opens all files, so that every bad one is named at once; other failures end the search. */
static dl_status open_shards(dl_dataset *dataset, const char *folder, const dl_shard_list *list) {
    dl_text bad = {0};
    int n_bad = 0;
    dl_status status = DL_OK;
    const dl_shard *good = NULL;
    for (int64_t i = 0; i < list->n; i++) {
        status = open_shard(dataset, folder, list->name[i]);
        const dl_shard *shard = &dataset->shard[i];
        if (status == DL_OK && good != NULL) {
            status = check_same_fields(good, shard);
        }
        if (status == DL_OK) {
            good = good != NULL ? good : shard;
            continue;
        }
        if (status != DL_ERR_DATA) {
            goto done;
        }
        if (n_bad++ < MAX_REPORTED_FILES) {
            DL_GOTO_IF_ERROR(
                status, dl_text_append(&bad, "%s%s", n_bad > 1 ? "; " : "", dl_error_last()->message), done);
        }
    }
    status = DL_OK;
    DL_GOTO_ERROR_IF(status, n_bad == 1, done, DL_ERR_DATA, "%s", bad.data);
    DL_GOTO_ERROR_IF(status, n_bad > 1, done, DL_ERR_DATA, "%d of %" PRId64 " files cannot be used: %s%s",
                     n_bad, list->n, bad.data, n_bad > MAX_REPORTED_FILES ? "; ..." : "");
done:
    dl_text_free(&bad);
    return status;
}

static void fill_info(dl_dataset *dataset) {
    dl_dataset_info *info = &dataset->info;
    const char *why = NULL;
    info->n_files = dataset->n_shards;
    info->n_fields = dataset->shard[0].n_fields;
    memcpy(info->field, dataset->shard[0].field, sizeof info->field);
    info->mapped = true;
    for (int i = 0; i < dataset->n_shards; i++) {
        dl_shard *shard = &dataset->shard[i];
        shard->first = info->n_samples;
        info->n_samples += shard->n_samples;
        info->n_classes = shard->n_classes > info->n_classes ? shard->n_classes : info->n_classes;
        if (!dl_shard_is_mapped(shard, &why) && info->mapped) {
            info->mapped = false;
            dl_log(
                DL_LOG_WARN,
                "%s %s and is read through HDF5, which is slower; contiguous little-endian data is mapped: "
                "see datasets/FORMAT.md",
                shard->path, why);
        }
    }
}

/* The number of classes is what the files say, else what their labels need. */
static dl_status settle_classes(dl_dataset *dataset) {
    dl_dataset_info *info = &dataset->info;
    const bool declared = info->n_classes > 0;
    for (int i = 0; i < dataset->n_shards; i++) {
        const dl_shard *shard = &dataset->shard[i];
        const int64_t needed = shard->label != NULL ? (int64_t)shard->label[shard->largest_label] + 1 : 0;
        if (declared) {
            DL_RETURN_IF_ERROR(dl_shard_check_labels(shard, info->n_classes));
        } else if (needed > info->n_classes) {
            info->n_classes = needed;
        }
    }
    return DL_OK;
}

/* --- the digest --- */

static void digest_number(dl_digest *digest, int64_t number) {
    dl_digest_add(digest, &number, sizeof number);
}

static dl_status digest_samples(dl_dataset *dataset, dl_digest *digest) {
    const dl_dataset_info *info = &dataset->info;
    void *sample = NULL;
    size_t largest = 0;
    for (int i = 0; i < info->n_fields; i++) {
        largest = info->field[i].sample_bytes > largest ? info->field[i].sample_bytes : largest;
    }
    DL_RETURN_IF_ERROR(dl_alloc(largest, 1, &sample));
    dl_status status = DL_OK;
    const int64_t n = info->n_samples < DIGEST_SAMPLES ? info->n_samples : DIGEST_SAMPLES;
    for (int64_t i = 0; i < n; i++) {
        const int64_t index = i * (info->n_samples / n);
        for (int field = 0; field < info->n_fields; field++) {
            DL_GOTO_IF_ERROR(status, dl_dataset_read(dataset, index, field, sample), done);
            dl_digest_add(digest, sample, info->field[field].sample_bytes);
        }
    }
done:
    dl_free(&sample);
    return status;
}

/* Of what was read, not of how it is stored: the same samples give the same digest in one file or in ten. */
static dl_status make_digest(dl_dataset *dataset) {
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
            dl_digest_add(digest, shard->label, (size_t)shard->n_samples * sizeof *shard->label);
        }
    }
    const dl_status status = digest_samples(dataset, digest);
    dl_digest_text(digest, info->digest);
    dl_digest_destroy(&digest);
    return status;
}

static dl_status open_list(dl_dataset *dataset, const char *folder, const dl_shard_list *list) {
    DL_RETURN_ERROR_IF(list->n > INT32_MAX, DL_ERR_DATA, "%s holds too many files", folder);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)list->n, sizeof *dataset->shard, &dataset->shard));
    DL_RETURN_IF_ERROR(open_shards(dataset, folder, list));
    fill_info(dataset);
    DL_RETURN_IF_ERROR(settle_classes(dataset));
    return make_digest(dataset);
}

static dl_status find_and_open(dl_dataset *dataset, const char *folder, const char *split,
                               dl_shard_list *list) {
    bool exists = false;
    DL_RETURN_IF_ERROR(dl_shard_list_create(folder, split, list, &exists));
    DL_RETURN_ERROR_IF(!exists, DL_ERR_USAGE, "there is no folder %s", folder);
    DL_RETURN_ERROR_IF(list->n == 0, DL_ERR_USAGE, "%s holds no %s-*.h5: the folder has no split '%s'",
                       folder, split, split);
    DL_RETURN_IF_ERROR(dl_shard_list_check(list, folder, split));
    return open_list(dataset, folder, list);
}

dl_status dl_dataset_open(const char *folder, const char *split, dl_dataset **out) {
    dl_dataset *dataset = NULL;
    *out = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *dataset, &dataset));
    dl_shard_list list = {0};
    const dl_status status = find_and_open(dataset, folder, split, &list);
    dl_shard_list_destroy(&list);
    if (status != DL_OK) {
        dl_dataset_close(&dataset);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "opening split %s of %.100s", split,
                                  folder);
    }
    *out = dataset;
    return DL_OK;
}

dl_status dl_dataset_open_file(const char *path, dl_dataset **out) {
    char name[DL_SHARD_PATH_BYTES];
    char *names[1] = {name};
    dl_dataset *dataset = NULL;
    *out = NULL;
    DL_RETURN_ERROR_IF(strlen(path) >= sizeof name, DL_ERR_USAGE, "the path %.80s... is too long", path);
    memcpy(name, path, strlen(path) + 1);
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *dataset, &dataset));
    const dl_shard_list list = {.name = names, .n = 1};
    const dl_status status = open_list(dataset, "", &list);
    if (status != DL_OK) {
        dl_dataset_close(&dataset);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "opening %.140s", path);
    }
    *out = dataset;
    return DL_OK;
}

dl_status dl_dataset_check_labels(const dl_dataset *dataset, int64_t n_classes) {
    for (int i = 0; i < dataset->n_shards; i++) {
        DL_RETURN_IF_ERROR(dl_shard_check_labels(&dataset->shard[i], n_classes));
    }
    return DL_OK;
}

void dl_dataset_close(dl_dataset **dataset) {
    if (*dataset == NULL) {
        return;
    }
    for (int i = 0; i < (*dataset)->n_shards; i++) {
        dl_shard_close(&(*dataset)->shard[i]);
    }
    dl_free(&(*dataset)->shard);
    dl_free(dataset);
}

const dl_dataset_info *dl_dataset_info_of(const dl_dataset *dataset) {
    return &dataset->info;
}

/* --- reading --- */

static const dl_shard *shard_of(const dl_dataset *dataset, int64_t index) {
    int low = 0, high = dataset->n_shards - 1;
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (dataset->shard[middle].first <= index) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return &dataset->shard[low];
}

dl_status dl_dataset_read(dl_dataset *dataset, int64_t index, int field, void *out) {
    DL_RETURN_ERROR_IF(index < 0 || index >= dataset->info.n_samples || field < 0 ||
                           field >= dataset->info.n_fields,
                       DL_ERR_INTERNAL, "sample %" PRId64 " or field %d does not exist", index, field);
    const dl_shard *shard = shard_of(dataset, index);
    return dl_shard_read(shard, field, index - shard->first, out);
}
