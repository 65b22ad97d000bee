/* A data set: the files of a split put one after another. */
#define _GNU_SOURCE
#include "datasets/reader.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_REPORTED_FILES = 4 };

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
        DL_RETURN_ERROR_IF(
            a->kind != b->kind || a->dtype != b->dtype || !dl_shape_equal(&a->sample_shape, &b->sample_shape),
            DL_ERR_DATA, "%s: the samples of /%s are %s %s, those of %s are %s %s", other->path, a->name,
            dl_dtype_name(b->dtype), dl_shape_text(&b->sample_shape, two), first->path,
            dl_dtype_name(a->dtype), dl_shape_text(&a->sample_shape, one));
    }
    DL_RETURN_ERROR_IF(first->vocab_size != other->vocab_size || first->unk_id != other->unk_id, DL_ERR_DATA,
                       "%s has vocab_size %" PRId64 " and unk_id %" PRId64 ", %s has %" PRId64 " and %" PRId64
                       ": they are of different vocabularies",
                       other->path, other->vocab_size, other->unk_id, first->path, first->vocab_size,
                       first->unk_id);
    DL_RETURN_ERROR_IF(first->words[0] != '\0' && other->words[0] != '\0' &&
                           strcmp(first->words, other->words) != 0,
                       DL_ERR_DATA, "/meta/vocab of %s and of %s differ: they are of different vocabularies",
                       other->path, first->path);
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

/* The range of lengths over all files. */
static void add_lengths(dl_dataset_info *info, const dl_shard *shard) {
    if (shard->offset != NULL) {
        info->min_length =
            info->n_steps == 0 || shard->min_length < info->min_length ? shard->min_length : info->min_length;
        info->max_length = shard->max_length > info->max_length ? shard->max_length : info->max_length;
        info->n_steps += shard->n_steps;
    }
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
        add_lengths(info, shard);
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

/* A text without the attribute vocab_size has as many words as its tokens need. */
static void settle_vocabulary(dl_dataset *dataset) {
    dl_dataset_info *info = &dataset->info;
    info->vocab_size = dataset->shard[0].vocab_size;
    info->unk_id = dataset->shard[0].unk_id;
    for (int i = 0; i < dataset->n_shards && info->words[0] == '\0'; i++) {
        memcpy(info->words, dataset->shard[i].words, sizeof info->words);
    }
    for (int i = 0; i < dataset->n_shards && dataset->shard[0].vocab_size == 0; i++) {
        const int64_t needed = dataset->shard[i].largest_token + 1;
        info->vocab_size = needed > info->vocab_size ? needed : info->vocab_size;
    }
    info->n_classes = info->vocab_size;
}

/* The number of classes is what the files say, else what their labels need. */
static dl_status settle_classes(dl_dataset *dataset) {
    dl_dataset_info *info = &dataset->info;
    info->unk_id = -1;
    if (dataset->shard[0].is_text) {
        settle_vocabulary(dataset);
        return DL_OK;
    }
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

static dl_status open_list(dl_dataset *dataset, const char *folder, const dl_shard_list *list) {
    DL_RETURN_ERROR_IF(list->n > INT32_MAX, DL_ERR_DATA, "%s holds too many files", folder);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)list->n, sizeof *dataset->shard, &dataset->shard));
    DL_RETURN_IF_ERROR(open_shards(dataset, folder, list));
    fill_info(dataset);
    DL_RETURN_IF_ERROR(settle_classes(dataset));
    return dl_dataset_make_digest(dataset);
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
