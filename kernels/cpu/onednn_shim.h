/* The differences between oneDNN 2.x and 3.x, all in this file. Above it there is one interface: descriptors
 * of memory are pointers (dl_md), a primitive descriptor is made by one call, attributes have one signature.
 * The tests run with 2.6.3; they passed with 3.2 too, which has no f32 Winograd for x86 any more. */
#ifndef DLTRAIN_KERNELS_CPU_ONEDNN_SHIM_H
#define DLTRAIN_KERNELS_CPU_ONEDNN_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_version.h>

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6)
#error "oneDNN 2.6 or later is needed"
#endif

/* A convolution or an inner product: what its three passes share. */
typedef struct dl_shim_product {
    bool convolution; /* else an inner product: the last four fields are unused */
    bool training;
    dnnl_alg_kind_t algorithm;
    dnnl_dims_t strides, padding_before, padding_after;
} dl_shim_product;

/* How a descriptor of memory is laid out, as far as it can be said: blocked formats only. */
typedef struct dl_shim_md_info {
    int n_dims;
    dnnl_dims_t dims, padded_dims;
    dnnl_data_type_t dtype;
    bool blocked;
    dnnl_dims_t strides;
    int n_blocks;
    dnnl_dims_t block, block_dim;
} dl_shim_md_info;

#if DNNL_VERSION_MAJOR == 2

typedef const dnnl_memory_desc_t *dl_md; /* borrowed */
typedef dnnl_memory_desc_t *dl_md_owned; /* release with dl_shim_md_destroy */
typedef const_dnnl_primitive_desc_t dl_pd_const;

static inline dnnl_status_t dl_shim_md_clone(dl_md md, dl_md_owned *out) {
    *out = malloc(sizeof **out);
    if (*out == NULL) {
        return dnnl_out_of_memory;
    }
    memcpy(*out, md, sizeof **out);
    return dnnl_success;
}

static inline void dl_shim_md_destroy(dl_md_owned md) {
    free(md);
}

static inline dnnl_status_t dl_shim_md_with_tag(dl_md_owned *out, int n_dims, const dnnl_dims_t dims,
                                                dnnl_data_type_t dtype, dnnl_format_tag_t tag) {
    dnnl_memory_desc_t md;
    const dnnl_status_t status = dnnl_memory_desc_init_by_tag(&md, n_dims, dims, dtype, tag);
    return status == dnnl_success ? dl_shim_md_clone(&md, out) : status;
}

static inline dnnl_status_t dl_shim_md_with_strides(dl_md_owned *out, int n_dims, const dnnl_dims_t dims,
                                                    dnnl_data_type_t dtype, const dnnl_dims_t strides) {
    dnnl_memory_desc_t md;
    const dnnl_status_t status = dnnl_memory_desc_init_by_strides(&md, n_dims, dims, dtype, strides);
    return status == dnnl_success ? dl_shim_md_clone(&md, out) : status;
}

/* The same layout with another first dimension, which must not be blocked. */
static inline dnnl_status_t dl_shim_md_with_first_dim(dl_md md, int64_t n, dl_md_owned *out) {
    const dnnl_status_t status = dl_shim_md_clone(md, out);
    if (status == dnnl_success) {
        (*out)->dims[0] = n;
        (*out)->padded_dims[0] = n;
    }
    return status;
}

static inline void dl_shim_md_info_of(dl_md md, dl_shim_md_info *info) {
    memset(info, 0, sizeof *info);
    info->n_dims = md->ndims;
    info->dtype = md->data_type;
    memcpy(info->dims, md->dims, sizeof info->dims);
    memcpy(info->padded_dims, md->padded_dims, sizeof info->padded_dims);
    info->blocked = md->format_kind == dnnl_blocked;
    if (info->blocked) {
        const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
        memcpy(info->strides, blocking->strides, sizeof info->strides);
        info->n_blocks = blocking->inner_nblks;
        memcpy(info->block, blocking->inner_blks, sizeof info->block);
        memcpy(info->block_dim, blocking->inner_idxs, sizeof info->block_dim);
    }
}

static inline dnnl_status_t dl_shim_append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t algorithm) {
    return dnnl_post_ops_append_eltwise(ops, 1.0F, algorithm, 0.0F, 0.0F);
}

static inline dnnl_status_t dl_shim_append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0F);
}

static inline dnnl_prop_kind_t dl_shim_forward_kind(const dl_shim_product *p) {
    return p->training ? dnnl_forward_training : dnnl_forward_inference;
}

static inline dnnl_status_t dl_shim_product_forward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                                    const dl_shim_product *p, dl_md x, dl_md w, dl_md b,
                                                    dl_md y, const_dnnl_primitive_attr_t attr) {
    dnnl_status_t status = dnnl_success;
    if (p->convolution) {
        dnnl_convolution_desc_t desc;
        status = dnnl_convolution_forward_desc_init(&desc, dl_shim_forward_kind(p), p->algorithm, x, w, b, y,
                                                    p->strides, p->padding_before, p->padding_after);
        return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL) : status;
    }
    dnnl_inner_product_desc_t desc;
    status = dnnl_inner_product_forward_desc_init(&desc, dl_shim_forward_kind(p), x, w, b, y);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL) : status;
}

static inline dnnl_status_t dl_shim_product_backward_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                                          const dl_shim_product *p, dl_md dx, dl_md w,
                                                          dl_md dy, dl_pd_const hint,
                                                          const_dnnl_primitive_attr_t attr) {
    dnnl_status_t status = dnnl_success;
    if (p->convolution) {
        dnnl_convolution_desc_t desc;
        status = dnnl_convolution_backward_data_desc_init(&desc, p->algorithm, dx, w, dy, p->strides,
                                                          p->padding_before, p->padding_after);
        return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, hint) : status;
    }
    dnnl_inner_product_desc_t desc;
    status = dnnl_inner_product_backward_data_desc_init(&desc, dx, w, dy);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, hint) : status;
}

static inline dnnl_status_t dl_shim_product_backward_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                                             const dl_shim_product *p, dl_md x, dl_md dw,
                                                             dl_md db, dl_md dy, dl_pd_const hint,
                                                             const_dnnl_primitive_attr_t attr) {
    dnnl_status_t status = dnnl_success;
    if (p->convolution) {
        dnnl_convolution_desc_t desc;
        status = dnnl_convolution_backward_weights_desc_init(&desc, p->algorithm, x, dw, db, dy, p->strides,
                                                             p->padding_before, p->padding_after);
        return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, hint) : status;
    }
    dnnl_inner_product_desc_t desc;
    status = dnnl_inner_product_backward_weights_desc_init(&desc, x, dw, db, dy);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, hint) : status;
}

static inline dnnl_status_t dl_shim_eltwise(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                            dnnl_alg_kind_t algorithm, dl_md md,
                                            const_dnnl_primitive_attr_t attr) {
    dnnl_eltwise_desc_t desc;
    const dnnl_status_t status =
        dnnl_eltwise_forward_desc_init(&desc, dnnl_forward_inference, algorithm, md, 0.0F, 0.0F);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL) : status;
}

#else /* 3.x */

typedef const_dnnl_memory_desc_t dl_md;
typedef dnnl_memory_desc_t dl_md_owned;
typedef const_dnnl_primitive_desc_t dl_pd_const;

static inline dnnl_status_t dl_shim_md_clone(dl_md md, dl_md_owned *out) {
    return dnnl_memory_desc_clone(out, md);
}

static inline void dl_shim_md_destroy(dl_md_owned md) {
    (void)dnnl_memory_desc_destroy(md);
}

static inline dnnl_status_t dl_shim_md_with_tag(dl_md_owned *out, int n_dims, const dnnl_dims_t dims,
                                                dnnl_data_type_t dtype, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(out, n_dims, dims, dtype, tag);
}

static inline dnnl_status_t dl_shim_md_with_strides(dl_md_owned *out, int n_dims, const dnnl_dims_t dims,
                                                    dnnl_data_type_t dtype, const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(out, n_dims, dims, dtype, strides);
}

static inline void dl_shim_md_info_of(dl_md md, dl_shim_md_info *info) {
    const dnnl_dims_t *dims = NULL;
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    memset(info, 0, sizeof *info);
    (void)dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &info->n_dims);
    (void)dnnl_memory_desc_query(md, dnnl_query_data_type, &info->dtype);
    (void)dnnl_memory_desc_query(md, dnnl_query_dims, &dims);
    memcpy(info->dims, *dims, sizeof info->dims);
    (void)dnnl_memory_desc_query(md, dnnl_query_padded_dims, &dims);
    memcpy(info->padded_dims, *dims, sizeof info->padded_dims);
    (void)dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind);
    info->blocked = kind == dnnl_blocked;
    if (info->blocked) {
        (void)dnnl_memory_desc_query(md, dnnl_query_strides, &dims);
        memcpy(info->strides, *dims, sizeof info->strides);
        (void)dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &info->n_blocks);
        (void)dnnl_memory_desc_query(md, dnnl_query_inner_blks, &dims);
        memcpy(info->block, *dims, sizeof info->block);
        (void)dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &dims);
        memcpy(info->block_dim, *dims, sizeof info->block_dim);
    }
}

/* 3.x has no way to change a dimension of a blocked descriptor; the two layouts that are offered for chains
 * are made again by their tag. */
static inline dnnl_status_t dl_shim_md_with_first_dim(dl_md md, int64_t n, dl_md_owned *out) {
    dl_shim_md_info info;
    dl_shim_md_info_of(md, &info);
    info.dims[0] = n;
    if (info.blocked && info.n_blocks == 0) {
        return dnnl_memory_desc_create_with_strides(out, info.n_dims, info.dims, info.dtype, info.strides);
    }
    const bool by_channel = info.n_dims == 4 && info.n_blocks == 1 && info.block_dim[0] == 1;
    if (!by_channel || (info.block[0] != 16 && info.block[0] != 8)) {
        return dnnl_unimplemented;
    }
    return dnnl_memory_desc_create_with_tag(out, 4, info.dims, info.dtype,
                                            info.block[0] == 16 ? dnnl_nChw16c : dnnl_nChw8c);
}

static inline dnnl_status_t dl_shim_append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t algorithm) {
    return dnnl_post_ops_append_eltwise(ops, algorithm, 0.0F, 0.0F);
}

static inline dnnl_status_t dl_shim_append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0F, 0, dnnl_data_type_undef);
}

static inline dnnl_prop_kind_t dl_shim_forward_kind(const dl_shim_product *p) {
    return p->training ? dnnl_forward_training : dnnl_forward_inference;
}

static inline dnnl_status_t dl_shim_product_forward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                                    const dl_shim_product *p, dl_md x, dl_md w, dl_md b,
                                                    dl_md y, const_dnnl_primitive_attr_t attr) {
    if (p->convolution) {
        return dnnl_convolution_forward_primitive_desc_create(pd, engine, dl_shim_forward_kind(p),
                                                              p->algorithm, x, w, b, y, p->strides, NULL,
                                                              p->padding_before, p->padding_after, attr);
    }
    return dnnl_inner_product_forward_primitive_desc_create(pd, engine, dl_shim_forward_kind(p), x, w, b, y,
                                                            attr);
}

static inline dnnl_status_t dl_shim_product_backward_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                                          const dl_shim_product *p, dl_md dx, dl_md w,
                                                          dl_md dy, dl_pd_const hint,
                                                          const_dnnl_primitive_attr_t attr) {
    if (p->convolution) {
        return dnnl_convolution_backward_data_primitive_desc_create(pd, engine, p->algorithm, dx, w, dy,
                                                                    p->strides, NULL, p->padding_before,
                                                                    p->padding_after, hint, attr);
    }
    return dnnl_inner_product_backward_data_primitive_desc_create(pd, engine, dx, w, dy, hint, attr);
}

static inline dnnl_status_t dl_shim_product_backward_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                                             const dl_shim_product *p, dl_md x, dl_md dw,
                                                             dl_md db, dl_md dy, dl_pd_const hint,
                                                             const_dnnl_primitive_attr_t attr) {
    if (p->convolution) {
        return dnnl_convolution_backward_weights_primitive_desc_create(
            pd, engine, p->algorithm, x, dw, db, dy, p->strides, NULL, p->padding_before, p->padding_after,
            hint, attr);
    }
    return dnnl_inner_product_backward_weights_primitive_desc_create(pd, engine, x, dw, db, dy, hint, attr);
}

static inline dnnl_status_t dl_shim_eltwise(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                            dnnl_alg_kind_t algorithm, dl_md md,
                                            const_dnnl_primitive_attr_t attr) {
    return dnnl_eltwise_forward_primitive_desc_create(pd, engine, dnnl_forward_inference, algorithm, md, md,
                                                      0.0F, 0.0F, attr);
}

#endif
#endif
