/* One file of a data set: opened, checked against FORMAT.md, mapped. The parts of reader.c that concern one
 * file. */
#ifndef DLTRAIN_DATASETS_SHARD_H
#define DLTRAIN_DATASETS_SHARD_H

#include "base/digest.h"
#include "datasets/dataset.h"
#include "io/h5.h"

enum { DL_SHARD_FORMAT = 1, DL_MAX_CLASSES = INT32_MAX, DL_SHARD_PATH_BYTES = 4096 };

typedef struct dl_shard {
    char path[DL_SHARD_PATH_BYTES];
    int64_t first, n_samples; /* its samples are first .. first + n_samples of the data set */
    int64_t n_classes;        /* attribute n_classes, 0 when absent */
    int n_fields;
    dl_field field[DL_MAX_FIELDS]; /* x, y, then the others in bytewise order of their names; or tokens */
    dl_h5_dataset dataset[DL_MAX_FIELDS];
    int32_t *label;        /* [n_labels], NULL without /y */
    int64_t n_labels;      /* of samples; of steps where each has one (field label_field is ragged) */
    int label_field;       /* -1 without class numbers in /y */
    int64_t largest_label; /* the number of the largest label */
    int64_t *offset;       /* [n_samples + 1]: the first step of each sample of a ragged x; NULL otherwise */
    int64_t min_length, max_length, n_steps;
    bool is_text;               /* field 0 is /tokens */
    int64_t vocab_size, unk_id; /* attributes of a text, 0 and -1 when absent */
    int64_t largest_token;
    char words[DL_DIGEST_TEXT_BYTES]; /* digest of /meta/vocab; "": there is none */
    dl_h5 *file;                      /* open when some field is not mapped */
    const char *bytes;                /* the mapped file, NULL when no field can be taken from it */
    size_t n_bytes;
} dl_shard;

/* Opens and checks one file. DL_ERR_DATA names file, dataset, what was found and what is expected. Close in
 * any case. */
DL_NODISCARD dl_status dl_shard_open(const char *path, dl_shard *shard);
void dl_shard_close(dl_shard *shard);

/* Is every field mapped (or in memory, as labels are)? Otherwise *why tells what stands in the way. */
bool dl_shard_is_mapped(const dl_shard *shard, const char **why);

/* Copies one sample of a field to `out`; labels and tokens as int32, all steps of a ragged field.
 * Thread-safe.
 */
DL_NODISCARD dl_status dl_shard_read(const dl_shard *shard, int field, int64_t row, void *out);

/* Reads field shard->label_field into shard->label as int32 and notes the largest (for dl_shard_open).
 * DL_ERR_DATA names the first sample whose label is negative or too large for a class number; a step's may be
 * -1: none. */
DL_NODISCARD dl_status dl_shard_take_labels(dl_shard *shard);

/* DL_ERR_DATA names a sample whose label is not below n_classes, if there is one. */
DL_NODISCARD dl_status dl_shard_check_labels(const dl_shard *shard, int64_t n_classes);

/* A ragged /x: datasets /x/values and /x/offsets. Finds them among all datasets of the file (`values` NULL: x
 * is not ragged), checks them, reads the offsets into shard->offset. DL_ERR_DATA names the first offset that
 * is wrong. */
DL_NODISCARD dl_status dl_shard_take_ragged(dl_shard *shard, const dl_h5_dataset *all, int n,
                                            const dl_h5_dataset **values);

/* Classes of the steps of a ragged /x: /y/values, and /y/offsets equal to /x/offsets where it is there.
 * *found tells whether the file has them. DL_ERR_DATA names what does not fit /x. */
DL_NODISCARD dl_status dl_shard_find_step_labels(dl_shard *shard, const dl_h5_dataset *all, int n,
                                                 dl_h5_dataset *labels, bool *found);

/* A text: checks /tokens and its attributes, reads all tokens once. DL_ERR_DATA names the first token that
 * the vocabulary does not have. */
DL_NODISCARD dl_status dl_shard_check_tokens(dl_shard *shard, const dl_h5_dataset *tokens);

/* Copies tokens first .. first+n of a text to `out`. Thread-safe. */
DL_NODISCARD dl_status dl_shard_read_tokens(const dl_shard *shard, int64_t first, int64_t n, int32_t *out);

/* The file names SPLIT-*.h5 of a folder. */
typedef struct dl_shard_list {
    char **name; /* in bytewise order */
    int64_t n, capacity;
} dl_shard_list;

/* Lists them; *exists tells whether the folder does. Release the list in any case. */
DL_NODISCARD dl_status dl_shard_list_create(const char *folder, const char *split, dl_shard_list *list,
                                            bool *exists);
void dl_shard_list_destroy(dl_shard_list *list);

/* Names like SPLIT-00003-of-00016.h5 say how many there must be: DL_ERR_DATA when some are missing. */
DL_NODISCARD dl_status dl_shard_list_check(const dl_shard_list *list, const char *folder, const char *split);

#endif
