/* The backend of CPUs: oneDNN for products and layout changes, our own loops for the rest, ref for what is
 * left. */
#include "kernels/cpu/cpu.h"

#include "base/log.h"
#include "base/mem.h"
#include "kernels/cpu/small_blocks.h"

#include <omp.h>
#include <stdatomic.h>

static atomic_int concurrency = 1;

int dl_cpu_concurrency(void) {
    return atomic_load(&concurrency);
}

static void note_concurrency(int n_threads) {
    int seen = atomic_load(&concurrency);
    while (seen < n_threads && !atomic_compare_exchange_weak(&concurrency, &seen, n_threads)) {
    }
}

static void cpu_close(dl_device *base) {
    dl_cpu_device *device = dl_cpu_device_of(base);
    if (device->stream != NULL) {
        (void)dnnl_stream_destroy(device->stream);
    }
    if (device->engine != NULL) {
        (void)dnnl_engine_destroy(device->engine);
    }
    dl_free(&device);
}

static dl_status cpu_open(const dl_device_options *options, dl_device **out) {
    dl_cpu_device *device = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *device, &device));
    dl_status status = DL_OK;
    DL_GOTO_IF_DNNL(status, dnnl_engine_create(&device->engine, dnnl_cpu, 0), failed);
    DL_GOTO_IF_DNNL(status, dnnl_stream_create(&device->stream, device->engine, dnnl_stream_default_flags),
                    failed);
    device->loops = dl_cpu_loops_best();
    DL_DEBUG("cpu: loops for %s, oneDNN's small objects %s", device->loops->isa,
             dl_small_blocks_in_use() ? "kept off the heap" : "on the heap");
    note_concurrency(options->n_threads);
    *out = &device->base;
    return DL_OK;
failed:
    cpu_close(&device->base);
    return status;
}

/* ---- a rank without samples: outputs that sum over samples are zero, the others have no bytes ---- */

static dl_status run_empty(const dl_op *op, void *const *slots, dl_stream *stream) {
    (void)stream;
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    for (int i = 0; i < info->n_slots; i++) {
        const size_t n_bytes = dl_op_slot_bytes(op, i);
        if (info->slots[i].role == DL_SLOT_OUT && n_bytes > 0 && !op->desc.attr.accumulate) {
            memset(slots[i], 0, n_bytes);
        }
    }
    return DL_OK;
}

static void destroy_empty(dl_op *op) {
    dl_free(&op);
}

static const dl_op_functions empty_functions = {.run = run_empty, .destroy = destroy_empty};

static dl_status prepare_empty(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    dl_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->functions = &empty_functions;
    op->device = device;
    op->desc = *desc;
    op->batch_invariant = true;
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        const dl_layout *layout = desc->slot[i].layout;
        op->layout[i] = layout == &dl_layout_any ? NULL : layout;
        op->desc.slot[i].layout = op->layout[i];
    }
    memcpy(op->implementation, "empty", sizeof "empty");
    *out = op;
    return DL_OK;
}

static bool empty_takes(const dl_device *device, const dl_op_desc *desc) {
    return dl_op_samples(desc) == 0 &&
           (dl_cpu_product_takes(device, desc) || dl_cpu_reorder_takes(device, desc) ||
            dl_cpu_loop_takes(device, desc));
}

/* ---- the table ---- */

typedef struct taker {
    bool (*takes)(const dl_device *device, const dl_op_desc *desc);
    dl_status (*prepare)(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out);
    bool half; /* looks at types: may be asked for 16-bit floats */
} taker;

static const taker takers[] = {
    {empty_takes, prepare_empty, true},
    {dl_cpu_dense_takes, dl_cpu_prepare_dense, false},
    {dl_cpu_embedding_dense_takes, dl_cpu_prepare_embedding_dense, false},
    {dl_cpu_product_takes, dl_cpu_prepare_product, true},
    {dl_cpu_lstm_takes, dl_cpu_prepare_lstm, false},
    {dl_cpu_reorder_takes, dl_cpu_prepare_reorder, true},
    {dl_cpu_loop_takes, dl_cpu_prepare_loop, true},
};
enum { N_TAKERS = sizeof takers / sizeof takers[0] };

static const taker *taker_of(const dl_device *device, const dl_op_desc *desc) {
    const bool half = dl_op_has_half(desc);
    for (int i = 0; i < N_TAKERS; i++) {
        if ((takers[i].half || !half) && takers[i].takes(device, desc)) {
            return &takers[i];
        }
    }
    return NULL;
}

static bool cpu_takes(const dl_device *device, const dl_op_desc *desc) {
    return taker_of(device, desc) != NULL;
}

static dl_status cpu_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    const taker *found = taker_of(device, desc);
    DL_RETURN_ERROR_IF(found == NULL, DL_ERR_INTERNAL, "the cpu backend does not take %s in this form",
                       dl_op_info_of(desc->kind)->name);
    DL_RETURN_IF_ERROR(found->prepare(device, desc, forward, out));
    dl_small_blocks_top_up();
    return DL_OK;
}

static dl_status cpu_memory_create(dl_device *device, size_t n_bytes, void **out) {
    (void)device;
    return dl_pages_alloc(n_bytes, out);
}

static void cpu_memory_destroy(dl_device *device, void *memory, size_t n_bytes) {
    (void)device;
    dl_pages_free(memory, n_bytes);
}

static dl_status cpu_upload(dl_device *device, void *to, const void *from, size_t n_bytes,
                            dl_stream *stream) {
    (void)device;
    (void)stream;
    memcpy(to, from, n_bytes);
    return DL_OK;
}

/* Channels in blocks as wide as the vectors oneDNN uses, for channel counts they divide. */
static int cpu_layouts(dl_device *device, dl_dtype dtype, const dl_shape *shape, const dl_layout **out) {
    (void)device;
    const int isa = (int)dnnl_get_effective_cpu_isa();
    const bool wide = (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
    const bool narrow = (isa & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2;
    const int64_t block = wide ? 16 : 8;
    if (dtype != DL_F32 || shape->n_dims != 4 || shape->dim[3] % block != 0 || !(wide || narrow)) {
        return 0;
    }
    const dnnl_dims_t dims = {shape->dim[0], shape->dim[3], shape->dim[1], shape->dim[2]};
    const dl_status status =
        dl_onednn_layout_tag(4, dims, dnnl_f32, wide ? dnnl_nChw16c : dnnl_nChw8c, "nchw", &out[0]);
    return status == DL_OK ? 1 : 0;
}

static const dl_layout *cpu_layout_with_samples(dl_device *device, const dl_layout *layout,
                                                int64_t n_samples) {
    (void)device;
    return layout == NULL || layout == &dl_layout_any ? layout
                                                      : dl_onednn_layout_with_first_dim(layout, n_samples);
}

/* Each call runs on one thread: oneDNN sees that it is inside a parallel region, and the operations come from
 * a device of one thread. The first error by number wins. */
static dl_status cpu_for_each(dl_device *device, int n, dl_status (*function)(void *context, int i),
                              void *context) {
    int failed = n;
    dl_error error = {0};
#pragma omp parallel for schedule(static) num_threads(device->n_threads) if (device->n_threads > 1)
    for (int i = 0; i < n; i++) {
        omp_set_num_threads(1);
        if (function(context, i) != DL_OK) {
#pragma omp critical(dl_cpu_for_each)
            if (i < failed) {
                failed = i;
                dl_error_take(&error);
            }
        }
    }
    return failed == n ? DL_OK : dl_error_restore(&error);
}

static const char *cpu_describe_half(const dl_device *device, dl_dtype half) {
    (void)device;
    return half == DL_BF16 && dl_cpu_multiplies_bfloat16()
               ? "products by oneDNN, other operations in float32 with their results rounded"
               : "this processor has no products of it: every operation in float32, its results rounded";
}

static void cpu_version(char *out, size_t n_bytes) {
    dl_onednn_version(out, n_bytes);
}

const dl_backend dl_backend_cpu = {
    .name = "cpu",
    .doc = "oneDNN and vector loops, one or more threads of this machine",
    .fallback = "ref",
    .open = cpu_open,
    .close = cpu_close,
    .version = cpu_version,
    .takes = cpu_takes,
    .prepare = cpu_prepare,
    .memory_create = cpu_memory_create,
    .memory_destroy = cpu_memory_destroy,
    .upload = cpu_upload,
    .download = dl_cpu_download,
    .n_algorithms = dl_cpu_product_algorithms,
    .algorithm_name = dl_cpu_product_algorithm_name,
    .layouts = cpu_layouts,
    .layout_with_samples = cpu_layout_with_samples,
    .describe_half = cpu_describe_half,
    .for_each = cpu_for_each,
};
