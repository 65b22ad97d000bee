#include "kernels/ref/index_ref.h"

#include "base/mem.h"

enum { NARROW_CELLS = 256 };

struct dl_index_layout {
    dl_layout base;
    size_t sample_bytes;
    dl_index_layout *next;
};

bool dl_index_is_wide(const dl_op_desc *desc) {
    return desc->attr.u.pool.window[0] * desc->attr.u.pool.window[1] > NARROW_CELLS;
}

static dl_status intern(dl_index_layouts *layouts, size_t sample_bytes, int64_t n_samples,
                        const dl_layout **out) {
    const size_t n_bytes = sample_bytes * (size_t)n_samples;
    for (dl_index_layout *layout = layouts->first; layout != NULL; layout = layout->next) {
        if (layout->sample_bytes == sample_bytes && layout->base.n_bytes == n_bytes) {
            *out = &layout->base;
            return DL_OK;
        }
    }
    dl_index_layout *layout = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *layout, &layout));
    *layout = (dl_index_layout){.base = {.name = "index32", .n_bytes = n_bytes},
                                .sample_bytes = sample_bytes,
                                .next = layouts->first};
    layout->base.impl = layout;
    layouts->first = layout;
    *out = &layout->base;
    return DL_OK;
}

dl_status dl_index_layout_for(dl_index_layouts *layouts, const dl_op_desc *desc, int i,
                              const dl_layout **out) {
    *out = NULL;
    if (dl_index_is_wide(desc)) {
        const dl_shape *shape = &desc->slot[i].shape;
        const size_t sample_bytes = (size_t)dl_shape_stride(shape, 1) * sizeof(int32_t);
        DL_RETURN_IF_ERROR(intern(layouts, sample_bytes, shape->dim[0], out));
    }
    return DL_OK;
}

const dl_layout *dl_index_layout_with_samples(dl_index_layouts *layouts, const dl_layout *layout,
                                              int64_t n_samples) {
    const dl_layout *other = NULL;
    if (layout != NULL && layout->impl != NULL) {
        const dl_index_layout *own = layout->impl;
        if (intern(layouts, own->sample_bytes, n_samples, &other) != DL_OK) {
            other = NULL;
        }
    }
    return other;
}

void dl_index_layouts_free(dl_index_layouts *layouts) {
    while (layouts->first != NULL) {
        dl_index_layout *next = layouts->first->next;
        dl_free(&layouts->first);
        layouts->first = next;
    }
}
