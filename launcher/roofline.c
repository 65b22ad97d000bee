#include "launcher/roofline.h"

#include "base/mem.h"
#include "kernels/common/half.h"
#include "program/choose.h"

#include <math.h>

static const size_t copied_bytes = (size_t)64 << 20; /* no cache holds it */

/* --- the device --- */

/* Large enough for the device to reach its speed. */
static int64_t side_of(const dl_device *device) {
    return device->backend->own_memory ? 8192 : 2048;
}

static dl_status time_operation(dl_device *device, const dl_op_desc *desc, double *seconds) {
    dl_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_op_prepare(device, desc, NULL, &op));
    const dl_status status = dl_measure_prepared(device, op, seconds);
    dl_op_destroy(&op);
    return status;
}

/* Products in the type that those of the model have. */
dl_status dl_roofline_measure(dl_session *session, dl_roofline *out) {
    const dl_op_info *info = dl_op_info_of(DL_OP_DENSE_FORWARD);
    const dl_dtype half = session->plan->options.half;
    const int64_t side = side_of(session->device);
    const dl_tensor_desc matrix = {
        .present = true, .dtype = dl_dtype_is_half(half) ? half : DL_F32, .shape = DL_SHAPE(side, side)};
    dl_op_desc product = {.kind = DL_OP_DENSE_FORWARD}, copy = {.kind = DL_OP_COPY};
    double seconds = 0.0;
    product.slot[dl_op_slot(info, "x")] = product.slot[dl_op_slot(info, "y")] = matrix;
    product.slot[dl_op_slot(info, "w")] = matrix;
    product.slot[dl_op_slot(info, "w")].layout = &dl_layout_any;
    DL_RETURN_IF_ERROR(time_operation(session->device, &product, &seconds));
    out->flops = info->flops(&product) / seconds;
    copy.slot[0] = copy.slot[1] = (dl_tensor_desc){
        .present = true, .dtype = DL_F32, .shape = DL_SHAPE((int64_t)(copied_bytes / sizeof(float)))};
    DL_RETURN_IF_ERROR(time_operation(session->device, &copy, &seconds));
    out->bytes = 2.0 * (double)copied_bytes / seconds;
    return DL_OK;
}

/* --- the layers --- */

typedef struct work {
    double seconds, flops, bytes, ideal;
} work;

/* The least time of an instruction at the roofline, and what it does. */
static void add_instruction(const dl_program *program, int at, double seconds, const dl_roofline *roofline,
                            work *to) {
    const dl_instruction *instruction = &program->instruction[at];
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    double flops = 0.0, bytes = 0.0;
    to->seconds += seconds;
    if (instruction->type != DL_DO_OPERATION) {
        return;
    }
    for (int s = 0; s < info->n_slots; s++) {
        bytes += instruction->slot[s] >= 0 ? (double)program->slot[instruction->slot[s]].n_bytes : 0.0;
    }
    for (int p = 0; p < (instruction->n_parts > 0 ? instruction->n_parts : 1) && info->flops != NULL; p++) {
        const dl_op *op = instruction->n_parts > 0 ? instruction->part[p].op : instruction->op;
        flops += op != NULL ? info->flops(&op->desc) : 0.0;
    }
    to->flops += flops;
    to->bytes += bytes;
    to->ideal += fmax(flops / roofline->flops, bytes / roofline->bytes);
}

static dl_status append_row(dl_text *out, const char *name, const work *w, double total) {
    return dl_text_append(out, "%-24.24s %9.3f ms %5.1f %% %9.1f GFLOP/s %8.1f GB/s %6.1f %%\n", name,
                          1e3 * w->seconds, 100.0 * w->seconds / total, 1e-9 * w->flops / w->seconds,
                          1e-9 * w->bytes / w->seconds, 100.0 * w->ideal / w->seconds);
}

static dl_status append_table(const dl_session *session, const dl_profile *profile,
                              const dl_roofline *roofline, work *layers, dl_text *out) {
    const dl_program *program = session->plan->program[session->train_full];
    const dl_model *model = session->plan->options.model;
    work all = {0};
    for (int i = 0; i < program->n_instructions; i++) {
        const int layer = program->instruction[i].layer;
        const double seconds = profile->seconds[i] / (double)profile->n_runs;
        add_instruction(program, i, seconds, roofline, &layers[layer >= 0 ? layer : model->n_layers]);
        add_instruction(program, i, seconds, roofline, &all);
    }
    DL_RETURN_IF_ERROR(dl_text_append(out,
                                      "roofline: %.1f GFLOP/s (a product of matrices of %lld), %.1f GB/s (a "
                                      "copy of %zu MiB)\n%-24s %12s %7s %17s %13s %8s\n",
                                      1e-9 * roofline->flops, (long long)side_of(session->device),
                                      1e-9 * roofline->bytes, copied_bytes >> 20, "layer", "a step", "share",
                                      "work", "tensors", "roofline"));
    for (int i = 0; i <= model->n_layers; i++) {
        if (layers[i].seconds > 0) {
            DL_RETURN_IF_ERROR(append_row(out,
                                          i < model->n_layers ? model->layer[i].name : "(the step itself)",
                                          &layers[i], all.seconds));
        }
    }
    return append_row(out, "together", &all, all.seconds);
}

dl_status dl_roofline_layers(dl_session *session, const dl_host_batch *batch, int n,
                             const dl_roofline *roofline, dl_text *out) {
    const dl_program *program = session->plan->program[session->train_full];
    const size_t n_rows = (size_t)session->plan->options.model->n_layers + 1;
    dl_profile profile = {0};
    work *layers = NULL;
    dl_status status = dl_alloc((size_t)program->n_instructions, sizeof *profile.seconds, &profile.seconds);
    status = status == DL_OK ? dl_alloc(n_rows, sizeof *layers, &layers) : status;
    for (int i = 0; i < n && status == DL_OK; i++) {
        status = dl_execute_profiled(session->plan, session->train_full, batch, &profile);
    }
    status = status == DL_OK ? append_table(session, &profile, roofline, layers, out) : status;
    dl_free(&profile.seconds);
    dl_free(&layers);
    return status;
}
