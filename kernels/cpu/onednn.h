/* oneDNN as this folder uses it: errors with its own text, layouts that are equal when their pointers are,
 * and primitives whose arguments are slots. */
#ifndef DLTRAIN_KERNELS_CPU_ONEDNN_H
#define DLTRAIN_KERNELS_CPU_ONEDNN_H

#include "kernels/backend.h"
#include "kernels/cpu/onednn_shim.h"

/* Turns a oneDNN status into ours; `call` is the text of the call for the message. */
dl_status dl_onednn_raise(dnnl_status_t status, const char *call, const char *file, int line,
                          const char *function);

#define DL_RETURN_IF_DNNL(call)                                                                              \
    do {                                                                                                     \
        const dnnl_status_t dnnl_status_ = (call);                                                           \
        if (dnnl_status_ != dnnl_success) {                                                                  \
            return dl_onednn_raise(dnnl_status_, #call, __FILE__, __LINE__, __func__);                       \
        }                                                                                                    \
    } while (0)

#define DL_GOTO_IF_DNNL(status, call, label)                                                                 \
    do {                                                                                                     \
        const dnnl_status_t dnnl_status_ = (call);                                                           \
        if (dnnl_status_ != dnnl_success) {                                                                  \
            (status) = dl_onednn_raise(dnnl_status_, #call, __FILE__, __LINE__, __func__);                   \
            goto label;                                                                                      \
        }                                                                                                    \
    } while (0)

/* Layouts are interned for the whole process and live until it ends, so that devices of one backend share
 * them: equal descriptors (and letters) are one pointer. `letters` names the dimensions ("nchw", "oihw",
 * "goihw"). Descriptors of plain tensors and the wish "any" are interned too, for their lifetime; they do not
 * leave this folder as layouts. */
DL_NODISCARD dl_status dl_onednn_layout_tag(int n_dims, const dnnl_dims_t dims, dnnl_data_type_t dtype,
                                            dnnl_format_tag_t tag, const char *letters,
                                            const dl_layout **out);
DL_NODISCARD dl_status dl_onednn_layout_strides(int n_dims, const dnnl_dims_t dims, dnnl_data_type_t dtype,
                                                const dnnl_dims_t strides, const char *letters,
                                                const dl_layout **out);
DL_NODISCARD dl_status dl_onednn_layout_md(dl_md md, const char *letters, const dl_layout **out);

/* The same layout with another first dimension, or NULL when it has none. */
const dl_layout *dl_onednn_layout_with_first_dim(const dl_layout *layout, int64_t n);

/* The descriptor behind a layout made here. */
static inline dl_md dl_onednn_md(const dl_layout *layout) {
    return (dl_md)layout->impl;
}

/* The name of the implementation behind a primitive descriptor ("jit:avx512_core"). */
const char *dl_onednn_implementation(dl_pd_const pd);

/* Whether this name means the slow reference code, 100 times slower than the others. */
bool dl_onednn_is_reference(const char *implementation);

/* oneDNN's data type, or dnnl_data_type_undef for those it has no use for here. */
dnnl_data_type_t dl_onednn_dtype(dl_dtype dtype);

/* "oneDNN 2.6.3" */
void dl_onednn_version(char *out, size_t n_bytes);

#endif
