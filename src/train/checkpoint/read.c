/* Reading boxes of tensors from the parts that hold them. */
#define _GNU_SOURCE
#include "train/checkpoint/checkpoint_private.h"

#include <stdio.h>
#include <string.h>

/* Files kept open at a time: a job of many ranks left more of them than a process may open. */
enum { MAX_OPEN = 64 };

static dl_status open_part(dl_checkpoint *c, int index) {
    dl_checkpoint_file *file = &c->file[index];
    char path[PATH_MAX];
    dl_text damage = {0};
    if (file->h5 != NULL) {
        return DL_OK;
    }
    dl_status status = dl_checkpoint_verify_file(c, index, &damage);
    if (status == DL_OK && !file->verified) {
        status = dl_error_raise(DL_ERR_CORRUPT, __FILE__, __LINE__, __func__, "%s is damaged: %s", c->path,
                                damage.data);
    }
    dl_text_free(&damage);
    DL_RETURN_IF_ERROR(status);
    if (c->n_open == MAX_OPEN) {
        for (int i = 0; i < c->n_files; i++) {
            dl_h5_close(&c->file[i].h5);
        }
        c->n_open = 0;
    }
    DL_RETURN_IF_ERROR(dl_path_join(path, sizeof path, c->path, file->name));
    DL_RETURN_IF_ERROR(dl_h5_open(path, &file->h5));
    c->n_open++;
    return DL_OK;
}

/* The dataset of a piece, which must be what the manifest says. */
static dl_status find_dataset(dl_checkpoint *c, const dl_checkpoint_entry *entry,
                              const dl_checkpoint_piece *piece, dl_h5_dataset *out) {
    bool found = false;
    DL_RETURN_IF_ERROR(open_part(c, piece->file));
    DL_RETURN_IF_ERROR(dl_h5_find(c->file[piece->file].h5, piece->path, out, &found));
    DL_RETURN_ERROR_IF(!found || out->dtype != entry->tensor.dtype ||
                           !dl_shape_equal(&out->shape, &piece->shape) || out->offset < 0,
                       DL_ERR_CORRUPT,
                       "%s/%s is damaged: its %s is not the slice of %s that the manifest names", c->path,
                       c->file[piece->file].name, piece->path, entry->tensor.name);
    return DL_OK;
}

/* Element number of the point `at` in a box of this shape at `offset`. */
static int64_t place_in(const int64_t *at, const int64_t *offset, const dl_shape *shape) {
    int64_t place = 0;
    for (int i = 0; i < shape->n_dims; i++) {
        place = place * shape->dim[i] + (at[i] - offset[i]);
    }
    return place;
}

/* Steps `at` to the next run of a box, whose first `n_outer` dimensions count runs. False after the last. */
static bool next_run(int64_t *at, const int64_t *offset, const dl_shape *box, int n_outer) {
    for (int i = n_outer - 1; i >= 0; i--) {
        if (++at[i] < offset[i] + box->dim[i]) {
            return true;
        }
        at[i] = offset[i];
    }
    return false;
}

/* Dimensions that are counted one by one: those behind lie side by side in the piece and in memory. */
static int count_outer(const dl_shape *box, const dl_shape *piece, const dl_shape *out) {
    int n = box->n_dims;
    while (n > 0 && (n == box->n_dims || (box->dim[n] == piece->dim[n] && box->dim[n] == out->dim[n]))) {
        n--;
    }
    return n;
}

/* Reads the box that a piece shares with what is wanted, in runs of elements that lie side by side. */
static dl_status read_piece(dl_checkpoint *c, const dl_checkpoint_entry *entry,
                            const dl_checkpoint_piece *piece, const int64_t *offset, const dl_shape *shape,
                            char *out) {
    int64_t first[DL_MAX_DIMS] = {0}, at[DL_MAX_DIMS] = {0};
    dl_shape box;
    dl_h5_dataset dataset;
    if (!dl_checkpoint_intersect(piece->offset, &piece->shape, offset, shape, first, &box)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(find_dataset(c, entry, piece, &dataset));
    const int n_outer = count_outer(&box, &piece->shape, shape);
    const size_t each = dl_dtype_bytes(entry->tensor.dtype);
    const size_t run_bytes = (size_t)dl_shape_stride(&box, n_outer) * each;
    memcpy(at, first, sizeof at);
    do {
        const int64_t from = place_in(at, piece->offset, &piece->shape), to = place_in(at, offset, shape);
        DL_RETURN_IF_ERROR(dl_h5_read_bytes(c->file[piece->file].h5, &dataset, from * (int64_t)each,
                                            run_bytes, out + (size_t)to * each));
    } while (next_run(at, first, &box, n_outer));
    return DL_OK;
}

dl_status dl_checkpoint_read(dl_checkpoint *c, int index, const int64_t *offset, const dl_shape *shape,
                             void *out) {
    DL_RETURN_ERROR_IF(index < 0 || index >= c->n_tensors, DL_ERR_INTERNAL, "%s has no tensor %d", c->path,
                       index);
    const dl_checkpoint_entry *entry = &c->entry[index];
    const dl_shape *whole = &entry->tensor.shape;
    bool inside = shape->n_dims == whole->n_dims;
    for (int i = 0; i < whole->n_dims && inside; i++) {
        inside = offset[i] >= 0 && shape->dim[i] >= 0 && shape->dim[i] <= whole->dim[i] &&
                 offset[i] <= whole->dim[i] - shape->dim[i];
    }
    char box[DL_SHAPE_TEXT_BYTES], all[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(!inside, DL_ERR_USAGE, "%s: a slice %s of %s does not lie in its shape %s", c->path,
                       dl_shape_text(shape, box), entry->tensor.name, dl_shape_text(whole, all));
    for (int i = 0; i < entry->n_pieces; i++) {
        const dl_status status = read_piece(c, entry, &entry->piece[i], offset, shape, out);
        /* What libhdf5 cannot make sense of in a file of a checkpoint is damage. */
        DL_RETURN_ERROR_IF(status == DL_ERR_DATA, DL_ERR_CORRUPT, "%s", dl_error_last()->message);
        DL_RETURN_IF_ERROR(status);
    }
    return DL_OK;
}
