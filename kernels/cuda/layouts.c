#include "kernels/cuda/layouts.h"

#include "base/mem.h"

#include <pthread.h>

typedef struct known_layout {
    dl_layout layout;
    struct known_layout *next;
} known_layout;

static const char *const names[DL_CUDA_N_LAYOUTS] = {[DL_CUDA_KRSC] = "krsc", [DL_CUDA_RESERVE] = "reserve"};
static known_layout *known[DL_CUDA_N_LAYOUTS];
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;

static dl_status find(dl_cuda_layout kind, size_t n_bytes, const dl_layout **out) {
    for (const known_layout *l = known[kind]; l != NULL; l = l->next) {
        if (l->layout.n_bytes == n_bytes) {
            *out = &l->layout;
            return DL_OK;
        }
    }
    known_layout *made = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *made, &made));
    made->layout.name = names[kind];
    made->layout.n_bytes = n_bytes;
    made->next = known[kind];
    known[kind] = made;
    *out = &made->layout;
    return DL_OK;
}

dl_status dl_cuda_layout_of(dl_cuda_layout kind, size_t n_bytes, const dl_layout **out) {
    *out = NULL;
    (void)pthread_mutex_lock(&known_lock);
    const dl_status status = find(kind, n_bytes, out);
    (void)pthread_mutex_unlock(&known_lock);
    return status;
}

bool dl_cuda_is_layout(const dl_layout *layout, dl_cuda_layout kind) {
    return layout != NULL && layout->name == names[kind];
}

static bool is_ours(const dl_layout *layout) {
    for (int kind = 0; kind < DL_CUDA_N_LAYOUTS; kind++) {
        if (dl_cuda_is_layout(layout, (dl_cuda_layout)kind)) {
            return true;
        }
    }
    return false;
}

static const dl_layout *layout_of(const dl_op_desc *desc, int slot) {
    const dl_layout *layout = desc->slot[slot].present ? desc->slot[slot].layout : NULL;
    return layout == &dl_layout_any ? NULL : layout;
}

bool dl_cuda_has_foreign_layout(const dl_op_desc *desc) {
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        const dl_layout *layout = layout_of(desc, i);
        if (layout != NULL && !is_ours(layout)) {
            return true;
        }
    }
    return false;
}

bool dl_cuda_has_layout(const dl_op_desc *desc) {
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        if (layout_of(desc, i) != NULL) {
            return true;
        }
    }
    return false;
}
