/* For the tests of the cpu backend: runs one operation on plain tensors, whatever layouts it was prepared
 * with. */
#ifndef DLTRAIN_TESTS_UNIT_CPU_KIT_H
#define DLTRAIN_TESTS_UNIT_CPU_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/backend.h"
#include "kernels/common/blocks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KIT_OK(call)                                                                                         \
    do {                                                                                                     \
        if ((call) != DL_OK) {                                                                               \
            fail_msg("%s: %s", #call, dl_error_last()->message);                                             \
        }                                                                                                    \
    } while (0)

/* The tensors of one operation, plain. */
typedef struct kit_tensors {
    void *slot[DL_OP_MAX_SLOTS];
} kit_tensors;

static inline dl_device *kit_open(const char *backend, int n_threads) {
    const dl_device_options options = {.n_threads = n_threads};
    dl_device *device = NULL;
    const dl_backend *found = dl_backend_find(backend);
    assert_non_null(found);
    KIT_OK(dl_device_open(found, &options, &device));
    return device;
}

static inline void *kit_pages(size_t n_bytes) {
    void *memory = NULL;
    KIT_OK(dl_pages_alloc(n_bytes, &memory));
    return memory;
}

static inline dl_tensor_desc kit_tensor(dl_dtype dtype, dl_shape shape) {
    return (dl_tensor_desc){.present = true, .dtype = dtype, .shape = shape};
}

/* Room for every slot of the desc; floats get numbers in -1..1 that depend on the seed, the slot and the
 * place. */
static inline kit_tensors kit_tensors_create(const dl_op_desc *desc, uint64_t seed) {
    kit_tensors tensors = {{NULL}};
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        const dl_tensor_desc *tensor = &desc->slot[i];
        if (!tensor->present) {
            continue;
        }
        tensors.slot[i] = kit_pages(dl_tensor_plain_bytes(tensor));
        const int64_t n = dl_shape_elements(&tensor->shape);
        for (int64_t k = 0; tensor->dtype == DL_F32 && k < n; k++) {
            const double u = dl_rng_uniform(seed, DL_RNG_TEST, (uint64_t)i, (uint64_t)k);
            ((float *)tensors.slot[i])[k] = (float)(2 * u - 1);
        }
    }
    return tensors;
}

static inline void kit_tensors_free(const dl_op_desc *desc, kit_tensors *tensors) {
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        if (desc->slot[i].present) {
            dl_pages_free(tensors->slot[i], dl_tensor_plain_bytes(&desc->slot[i]));
        }
    }
}

/* Moves a tensor between the plain layout and another one, with the backend's own operations. */
static inline void kit_convert(dl_device *device, const dl_tensor_desc *tensor, const dl_layout *layout,
                               bool batched, bool to_plain, void *from, void *to) {
    dl_op_desc desc = {.kind = batched ? DL_OP_REORDER : to_plain ? DL_OP_UNPACK : DL_OP_PACK};
    desc.slot[0] = desc.slot[1] = *tensor;
    desc.slot[0].layout = to_plain ? layout : NULL;
    desc.slot[1].layout = to_plain ? NULL : layout;
    dl_op *op = NULL;
    KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
    void *slots[3] = {from, to, kit_pages(op->workspace_bytes + 64)};
    KIT_OK(op->functions->run(op, slots, NULL));
    dl_pages_free(slots[2], op->workspace_bytes + 64);
    dl_op_destroy(&op);
}

/* Runs a prepared operation once: inputs are converted to its layouts, outputs back to plain. Saved slots (an
 * index) stay in the backend's layout, which has the plain one's size here. */
static inline void kit_run_op(dl_device *device, const dl_op *op, kit_tensors *tensors) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    void *slots[DL_OP_MAX_SLOTS + 1] = {NULL};
    for (int i = 0; i < info->n_slots; i++) {
        slots[i] = tensors->slot[i];
        if (op->desc.slot[i].present && op->layout[i] != NULL && !info->slots[i].saved) {
            slots[i] = kit_pages(op->layout[i]->n_bytes);
            if (info->slots[i].role != DL_SLOT_OUT) {
                kit_convert(device, &op->desc.slot[i], op->layout[i], info->slots[i].batched, false,
                            tensors->slot[i], slots[i]);
            }
        }
    }
    slots[info->n_slots] = op->workspace_bytes > 0 ? kit_pages(op->workspace_bytes) : NULL;
    KIT_OK(op->functions->run(op, slots, NULL));
    for (int i = 0; i < info->n_slots; i++) {
        if (slots[i] != tensors->slot[i]) {
            if (info->slots[i].role != DL_SLOT_IN) {
                kit_convert(device, &op->desc.slot[i], op->layout[i], info->slots[i].batched, true, slots[i],
                            tensors->slot[i]);
            }
            dl_pages_free(slots[i], op->layout[i]->n_bytes);
        }
    }
    dl_pages_free(slots[info->n_slots], op->workspace_bytes);
}

static inline void kit_run(dl_device *device, const dl_op_desc *desc, kit_tensors *tensors) {
    dl_op *op = NULL;
    KIT_OK(dl_op_prepare(device, desc, NULL, &op));
    kit_run_op(device, op, tensors);
    dl_op_destroy(&op);
}

/* |a - b| / |b| over all elements. */
static inline double kit_difference(const float *a, const float *b, int64_t n) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference) / (norm > 0 ? sqrt(norm) : 1);
}

/* The desc with every slot's layout asked for plain. */
static inline dl_op_desc kit_plain(const dl_op_desc *desc) {
    dl_op_desc plain = *desc;
    plain.algorithm = 0;
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        plain.slot[i].layout = NULL;
    }
    return plain;
}

/* Runs the desc on `device` and, plain, on ref from the same numbers; every float output must agree. */
static inline void kit_agrees_with_ref(dl_device *device, const dl_op_desc *desc, double tolerance) {
    const dl_op_desc plain = kit_plain(desc);
    const dl_op_info *info = dl_op_info_of(desc->kind);
    dl_device *ref = kit_open("ref", 1);
    kit_tensors ours = kit_tensors_create(desc, 7), theirs = kit_tensors_create(desc, 7);
    kit_run(device, desc, &ours);
    kit_run(ref, &plain, &theirs);
    for (int i = 0; i < info->n_slots; i++) {
        const dl_tensor_desc *tensor = &desc->slot[i];
        if (tensor->present && tensor->dtype == DL_F32 && info->slots[i].role != DL_SLOT_IN) {
            const double d = kit_difference(ours.slot[i], theirs.slot[i], dl_shape_elements(&tensor->shape));
            if (!(d <= tolerance)) {
                fail_msg("%s: slot %s differs from ref by %.3g", info->name, info->slots[i].name, d);
            }
        }
    }
    kit_tensors_free(desc, &ours);
    kit_tensors_free(desc, &theirs);
    dl_device_close(&ref);
}

/* A convolution's shapes; `pass` 0 forward, 1 backward data, 2 backward weights. */
typedef struct kit_conv {
    int64_t n, h, w, c, k, r, stride, padding, groups;
} kit_conv;

static inline dl_op_desc kit_conv_desc(const kit_conv *z, int pass) {
    const int64_t p = (z->h + 2 * z->padding - z->r) / z->stride + 1;
    const int64_t q = (z->w + 2 * z->padding - z->r) / z->stride + 1;
    const dl_tensor_desc x = kit_tensor(DL_F32, DL_SHAPE(z->n, z->h, z->w, z->c));
    const dl_tensor_desc w = kit_tensor(DL_F32, DL_SHAPE(z->k, z->c / z->groups, z->r, z->r));
    const dl_tensor_desc b = kit_tensor(DL_F32, DL_SHAPE(z->k));
    const dl_tensor_desc y = kit_tensor(DL_F32, DL_SHAPE(z->n, p, q, z->k));
    dl_op_desc desc = {.kind = (dl_op_kind)(DL_OP_CONV2D_FORWARD + pass)};
    desc.attr.u.conv = (dl_conv_attr){.stride = {z->stride, z->stride},
                                      .padding = {z->padding, z->padding, z->padding, z->padding},
                                      .groups = z->groups};
    const dl_tensor_desc forward[] = {x, w, b, y}, data[] = {y, w, x}, weights[] = {x, y, w, b};
    switch (pass) {
    case 0:
        memcpy(desc.slot, forward, sizeof forward);
        break;
    case 1:
        memcpy(desc.slot, data, sizeof data);
        break;
    default:
        memcpy(desc.slot, weights, sizeof weights);
        break;
    }
    return desc;
}

/* Asks for a layout in the slots that hold activations (NULL plain), `weights` in those that hold weights. */
static inline void kit_ask(dl_device *device, dl_op_desc *desc, bool blocked, const dl_layout *weights) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    for (int i = 0; i < info->n_slots; i++) {
        dl_tensor_desc *tensor = &desc->slot[i];
        const dl_layout *offered[DL_MAX_LAYOUTS] = {NULL};
        if (!tensor->present || !info->slots[i].layout_free) {
            continue;
        }
        if (!info->slots[i].batched) {
            tensor->layout = weights;
        } else if (blocked && dl_device_layouts(device, DL_F32, &tensor->shape, offered) > 0) {
            tensor->layout = offered[0];
        }
    }
}

static inline dl_op_desc kit_dense_desc(int64_t n, int64_t in, int64_t out, int pass) {
    const dl_tensor_desc x = kit_tensor(DL_F32, DL_SHAPE(n, in)), w = kit_tensor(DL_F32, DL_SHAPE(out, in));
    const dl_tensor_desc b = kit_tensor(DL_F32, DL_SHAPE(out)), y = kit_tensor(DL_F32, DL_SHAPE(n, out));
    dl_op_desc desc = {.kind = (dl_op_kind)(DL_OP_DENSE_FORWARD + pass)};
    const dl_tensor_desc forward[] = {x, w, b, y}, data[] = {y, w, x}, weights[] = {x, y, w, b};
    memcpy(desc.slot,
           pass == 0   ? forward
           : pass == 1 ? data
                       : weights,
           pass == 1 ? sizeof data : sizeof forward);
    return desc;
}

static inline dl_op_desc kit_pool_desc(int64_t n, int64_t h, int64_t c, int64_t window, int64_t stride,
                                       int64_t padding, bool backward, bool relu) {
    const int64_t p = (h + 2 * padding - window) / stride + 1;
    const dl_tensor_desc x = kit_tensor(DL_F32, DL_SHAPE(n, h, h, c)),
                         y = kit_tensor(DL_F32, DL_SHAPE(n, p, p, c));
    const dl_tensor_desc index = kit_tensor(DL_U8, DL_SHAPE(n, p, p, c));
    dl_op_desc desc = {.kind = backward ? DL_OP_MAX_POOLING2D_BACKWARD : DL_OP_MAX_POOLING2D_FORWARD};
    desc.attr.u.pool = (dl_pool_attr){.window = {window, window},
                                      .stride = {stride, stride},
                                      .padding = {padding, padding, padding, padding}};
    if (backward) {
        desc.slot[0] = y;
        desc.slot[1] = index;
        desc.slot[2] = relu ? y : (dl_tensor_desc){0};
        desc.slot[3] = x;
        desc.attr.activation = relu ? DL_ACT_RELU : DL_ACT_NONE;
    } else {
        desc.slot[0] = x;
        desc.slot[1] = y;
        desc.slot[2] = index;
    }
    return desc;
}

#endif
