#include "kernels/ref/ref.h"

void dl_normalize_images_ref(const dl_op *op, void *const *slots) {
    const dl_normalize_attr *attr = &op->desc.attr.u.normalize;
    const dl_shape *shape = &op->desc.slot[0].shape;
    const int64_t n = dl_shape_elements(shape), channels = shape->dim[shape->n_dims - 1];
    const bool bytes = op->desc.slot[0].dtype == DL_U8;
    const uint8_t *pixels = slots[0];
    const float *values = slots[0];
    float *y = slots[1];
    for (int64_t i = 0; i < n; i++) {
        const int64_t c = attr->n_values == 1 ? 0 : i % channels;
        const double x = bytes ? (double)pixels[i] : (double)values[i];
        y[i] = (float)((x * attr->scale - attr->mean[c]) / attr->std[c]);
    }
}
