/* From a slot's tensor to oneDNN's description of it. oneDNN counts dimensions as N, C, H, W whatever the
 * order in memory; ours are N, H, W, C. */
#include "kernels/cpu/cpu.h"

/* The layout asked for, or NULL when the tensor is plain. */
static dl_status explicit_layout(const dl_tensor_desc *tensor, int n_dims, const dnnl_dims_t dims,
                                 const dl_layout **out) {
    *out = tensor->layout;
    if (tensor->layout != &dl_layout_any) {
        return DL_OK;
    }
    return dl_onednn_layout_tag(n_dims, dims, dl_onednn_dtype(tensor->dtype), dnnl_format_tag_any, "any",
                                out);
}

dl_status dl_cpu_md_activation(const dl_tensor_desc *tensor, const dl_layout **out) {
    const int64_t *d = tensor->shape.dim;
    const dnnl_data_type_t dtype = dl_onednn_dtype(tensor->dtype);
    if (tensor->shape.n_dims == 4) {
        const dnnl_dims_t dims = {d[0], d[3], d[1], d[2]};
        const dnnl_dims_t strides = {d[1] * d[2] * d[3], 1, d[2] * d[3], d[3]};
        DL_RETURN_IF_ERROR(explicit_layout(tensor, 4, dims, out));
        return *out != NULL ? DL_OK : dl_onednn_layout_strides(4, dims, dtype, strides, "nchw", out);
    }
    DL_RETURN_ERROR_IF(tensor->shape.n_dims != 2, DL_ERR_INTERNAL, "an activation with %d dimensions",
                       tensor->shape.n_dims);
    const dnnl_dims_t dims = {d[0], d[1]};
    const dnnl_dims_t strides = {d[1], 1};
    DL_RETURN_IF_ERROR(explicit_layout(tensor, 2, dims, out));
    return *out != NULL ? DL_OK : dl_onednn_layout_strides(2, dims, dtype, strides, "nc", out);
}

dl_status dl_cpu_md_weights(const dl_tensor_desc *tensor, int64_t groups, const dl_layout **out) {
    static const char *const letters[] = {"oi", "oihw", "goihw"};
    const int64_t *d = tensor->shape.dim;
    dnnl_dims_t dims = {0};
    dnnl_dims_t strides = {0};
    int n_dims = 0;
    if (groups > 1) {
        dims[n_dims++] = groups;
    }
    dims[n_dims++] = d[0] / groups;
    for (int i = 1; i < tensor->shape.n_dims; i++) {
        dims[n_dims++] = d[i];
    }
    strides[n_dims - 1] = 1;
    for (int i = n_dims - 2; i >= 0; i--) {
        strides[i] = strides[i + 1] * (dims[i + 1] > 0 ? dims[i + 1] : 1);
    }
    DL_RETURN_IF_ERROR(explicit_layout(tensor, n_dims, dims, out));
    if (*out != NULL) {
        return DL_OK;
    }
    return dl_onednn_layout_strides(n_dims, dims, dl_onednn_dtype(tensor->dtype), strides,
                                    letters[n_dims == 2 ? 0 : n_dims - 3], out);
}

dl_status dl_cpu_md_vector(const dl_tensor_desc *tensor, const dl_layout **out) {
    const dnnl_dims_t dims = {dl_shape_elements(&tensor->shape)};
    const dnnl_dims_t strides = {1};
    return dl_onednn_layout_strides(1, dims, dl_onednn_dtype(tensor->dtype), strides, "a", out);
}

bool dl_cpu_image_view_of(const dl_tensor_desc *tensor, dl_cpu_image_view *out) {
    const int64_t *d = tensor->shape.dim;
    if (tensor->shape.n_dims != 4) {
        return false;
    }
    *out = (dl_cpu_image_view){.n = d[0], .rows = d[1], .columns = d[2], .channels = d[3]};
    if (tensor->layout == NULL) {
        return true;
    }
    dl_shim_md_info info;
    dl_shim_md_info_of(dl_onednn_md(tensor->layout), &info);
    const int64_t block = info.block[0];
    const bool by_channel = info.blocked && info.n_dims == 4 && info.n_blocks == 1 && info.block_dim[0] == 1;
    if (!by_channel || info.strides[3] != block || info.strides[2] != block * d[2] ||
        info.strides[1] != block * d[1] * d[2]) {
        return false;
    }
    out->n = d[0] * (info.padded_dims[1] / block);
    out->channels = block;
    out->block = block;
    return true;
}
