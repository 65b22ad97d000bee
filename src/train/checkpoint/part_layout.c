/* The layout of a part, made by the first save of a run for all of them: libhdf5 makes the file, without
 * data, in memory; its metadata are the same each time, and so is what the manifest says of the tensors. */
#define _GNU_SOURCE
#include "train/checkpoint/part_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char step_name[] = "step";

static dl_status check_slice(const dl_checkpoint_slice *slice) {
    DL_RETURN_ERROR_IF(!dl_checkpoint_is_tensor_name(slice->name), DL_ERR_INTERNAL,
                       "'%.60s' is not a usable name of a tensor in a checkpoint", slice->name);
    DL_RETURN_IF_ERROR(dl_shape_check(&slice->whole));
    bool inside = slice->shape.n_dims == slice->whole.n_dims;
    for (int i = 0; i < slice->whole.n_dims && inside; i++) {
        const int64_t all = slice->whole.dim[i], size = slice->shape.dim[i];
        inside = slice->offset[i] >= 0 && size >= 0 && size <= all && slice->offset[i] <= all - size;
    }
    char box[DL_SHAPE_TEXT_BYTES], whole[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(!inside, DL_ERR_INTERNAL, "a slice %s of %s does not lie in its tensor %s",
                       dl_shape_text(&slice->shape, box), slice->name, dl_shape_text(&slice->whole, whole));
    return DL_OK;
}

/* The dataset has the tensor's name; further slices of one tensor in a part, and names that HDF5 files cannot
 * have here, get others. The manifest says which. */
static void name_dataset(dl_checkpoint_layout *l, int i) {
    dl_checkpoint_placed *item = &l->item[i];
    int n_before = 0;
    for (int k = 0; k < i; k++) {
        n_before += strcmp(l->item[k].slice->name, item->slice->name) == 0;
    }
    const bool plain = n_before == 0 && strlen(item->slice->name) < sizeof((dl_h5_dataset *)0)->name;
    if (plain) {
        (void)snprintf(item->path, sizeof item->path, "%s", item->slice->name);
    } else {
        (void)snprintf(item->path, sizeof item->path, "/slices/%05d", i);
    }
}

static int by_offset(const void *left, const void *right) {
    const dl_checkpoint_placed *a = left, *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset ? 1 : a->index - b->index;
}

static dl_status declare(dl_checkpoint_layout *l) {
    for (int i = 0; i < l->n; i++) {
        dl_checkpoint_placed *item = &l->item[i];
        const dl_checkpoint_slice *slice = &l->slice[i];
        DL_RETURN_IF_ERROR(check_slice(slice));
        item->slice = slice;
        item->n_bytes = dl_shape_elements(&slice->shape) * (int64_t)dl_dtype_bytes(slice->dtype);
        name_dataset(l, i);
        DL_RETURN_IF_ERROR(
            dl_h5_writer_dataset(l->file, item->path, slice->dtype, &slice->shape, &item->index));
    }
    DL_RETURN_IF_ERROR(
        dl_h5_writer_attribute_int(l->file, "/", "dltrain_checkpoint_format", DL_CHECKPOINT_FORMAT));
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(l->file, "/", step_name, 0));
    return dl_h5_writer_attribute_int(l->file, "/", "rank", l->rank);
}

static dl_status lay_out(dl_checkpoint_layout *l, const char *path) {
    DL_RETURN_IF_ERROR(dl_h5_writer_create_in_memory(path, &l->file));
    DL_RETURN_IF_ERROR(declare(l));
    DL_RETURN_IF_ERROR(dl_h5_writer_layout(l->file));
    DL_RETURN_IF_ERROR(dl_h5_writer_size(l->file, &l->n_bytes));
    for (int i = 0; i < l->n; i++) {
        l->item[i].offset = dl_h5_writer_offset(l->file, l->item[i].index);
    }
    qsort(l->item, (size_t)l->n, sizeof *l->item, by_offset);
    return DL_OK;
}

static json_t *describe_slice(const dl_checkpoint_layout *l, const dl_checkpoint_placed *item) {
    const dl_checkpoint_slice *slice = item->slice;
    const int n = slice->whole.n_dims;
    return json_pack("{s:s, s:s, s:o, s:[{s:s, s:s, s:o, s:o}]}", "name", slice->name, "dtype",
                     dl_dtype_name(slice->dtype), "shape", dl_checkpoint_json_ints(slice->whole.dim, n),
                     "slices", "file", l->name, "path", item->path, "offset",
                     dl_checkpoint_json_ints(slice->offset, n), "shape",
                     dl_checkpoint_json_ints(slice->shape.dim, n));
}

/* A tensor for each slice. */
static dl_status describe(dl_checkpoint_layout *l, const char *path) {
    dl_checkpoint_json_begin();
    l->tensors = json_array();
    bool good = l->tensors != NULL;
    for (int i = 0; i < l->n && good; i++) {
        good = json_array_append_new(l->tensors, describe_slice(l, &l->item[i])) == 0;
    }
    DL_RETURN_IF_ERROR(dl_checkpoint_json_end(DL_OK, path));
    DL_RETURN_ERROR_IF(!good, DL_ERR_MEMORY, "cannot describe %s: out of memory, or a name that is not UTF-8",
                       path);
    return DL_OK;
}

static dl_status fill(dl_checkpoint_layout *l, const dl_checkpoint_slice *slices) {
    dl_checkpoint_part_name(l->rank, l->name);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)l->n, sizeof *l->slice, &l->slice));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)l->n, sizeof *l->item, &l->item));
    for (int i = 0; i < l->n; i++) {
        l->slice[i] = slices[i];
    }
    return DL_OK;
}

/* What lay_out makes. */
static void forget(dl_checkpoint_layout *l) {
    dl_h5_writer_destroy(&l->file);
    json_decref(l->tensors);
    l->tensors = NULL;
    dl_free(&l->buffer);
}

static dl_status make(dl_checkpoint_layout *l, const char *path) {
    dl_status status = dl_alloc(1, DL_CHECKPOINT_BLOCK_BYTES, &l->buffer);
    status = status == DL_OK ? lay_out(l, path) : status;
    status = status == DL_OK ? describe(l, path) : status;
    if (status != DL_OK) {
        forget(l);
    }
    return status;
}

dl_status dl_checkpoint_lay_out(dl_checkpoint_layout *l, int64_t step, const char *path) {
    if (l->file == NULL) {
        DL_RETURN_IF_ERROR(make(l, path));
    }
    return dl_h5_writer_change_int(l->file, "/", step_name, step);
}

dl_status dl_checkpoint_layout_create(int rank, const dl_checkpoint_slice *slices, int n_slices,
                                      dl_checkpoint_layout **out) {
    dl_checkpoint_layout *l = NULL;
    DL_RETURN_ERROR_IF(rank < 0 || rank >= DL_CHECKPOINT_MAX_RANKS || n_slices < 0, DL_ERR_INTERNAL,
                       "rank %d, %d slices: out of range", rank, n_slices);
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *l, &l));
    l->rank = rank;
    l->n = n_slices;
    const dl_status status = fill(l, slices);
    if (status != DL_OK) {
        dl_checkpoint_layout_destroy(&l);
        return status;
    }
    *out = l;
    return DL_OK;
}

void dl_checkpoint_layout_destroy(dl_checkpoint_layout **layout) {
    dl_checkpoint_layout *l = *layout;
    if (l == NULL) {
        return;
    }
    forget(l);
    dl_free(&l->item);
    dl_free(&l->slice);
    dl_free(layout);
}
