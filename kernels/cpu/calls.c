#include "kernels/cpu/cpu.h"

#include "base/mem.h"

#include <omp.h>

static dl_status run_calls(const dl_op *base, void *const *slots, dl_stream *stream) {
    (void)stream;
    const dl_cpu_calls_op *op = (const dl_cpu_calls_op *)(const void *)base;
    const dl_cpu_device *device = dl_cpu_device_of(base->device);
    const int set = omp_get_thread_num();
    DL_RETURN_ERROR_IF(
        set >= op->n_sets, DL_ERR_INTERNAL,
        "%s was prepared for %d concurrent threads, thread %d runs it; open the device with all "
        "threads before the one for single threads",
        dl_op_info_of(base->desc.kind)->name, op->n_sets, set);
    omp_set_num_threads(base->device->n_threads);
    for (int c = 0; c < op->n_calls; c++) {
        const dl_cpu_call *call = &op->call[c];
        dnnl_exec_arg_t *exec = call->exec + (size_t)set * (size_t)call->n_args;
        for (int i = 0; i < call->n_args; i++) {
            char *memory = slots[call->arg[i].slot];
            memory = memory != NULL ? memory + call->arg[i].offset : NULL;
            DL_RETURN_IF_DNNL(dnnl_memory_set_data_handle(exec[i].memory, memory));
        }
        DL_RETURN_IF_DNNL(dnnl_primitive_execute(call->primitive, device->stream, call->n_args, exec));
    }
    return DL_OK;
}

void dl_cpu_calls_destroy(dl_op *base) {
    dl_cpu_calls_op *op = (dl_cpu_calls_op *)(void *)base;
    for (int c = 0; op != NULL && c < op->n_calls; c++) {
        dl_cpu_call *call = &op->call[c];
        for (int i = 0; call->exec != NULL && i < op->n_sets * call->n_args; i++) {
            (void)dnnl_memory_destroy(call->exec[i].memory);
        }
        dl_free(&call->exec);
        (void)dnnl_primitive_destroy(call->primitive);
    }
    dl_free(&op);
}

static const dl_op_functions calls_functions = {.run = run_calls, .destroy = dl_cpu_calls_destroy};

dl_status dl_cpu_calls_create(dl_device *device, const dl_op_desc *desc, dl_cpu_calls_op **out) {
    dl_cpu_calls_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->base.functions = &calls_functions;
    op->base.device = device;
    op->base.desc = *desc;
    op->n_sets = device->n_threads == 1 ? dl_cpu_concurrency() : 1;
    *out = op;
    return DL_OK;
}

void dl_cpu_calls_stage(dl_cpu_calls_op *op, size_t n_bytes, size_t *offset) {
    *offset = op->staging_bytes;
    op->staging_bytes += dl_round_up(n_bytes, DL_CACHE_LINE);
    op->base.workspace_bytes = op->staging_bytes;
}

static dl_status create_memories(dl_cpu_calls_op *op, dl_cpu_call *call) {
    const dl_cpu_device *device = dl_cpu_device_of(op->base.device);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)op->n_sets * (size_t)call->n_args, sizeof *call->exec, &call->exec));
    for (int i = 0; i < op->n_sets * call->n_args; i++) {
        const dl_cpu_arg *arg = &call->arg[i % call->n_args];
        call->exec[i].arg = arg->index;
        DL_RETURN_IF_DNNL(
            dnnl_memory_create(&call->exec[i].memory, arg->md, device->engine, DNNL_MEMORY_NONE));
    }
    return DL_OK;
}

/* oneDNN divides the work when the primitive is made, so the number of threads must be the one it runs with.
 */
dl_status dl_cpu_calls_add(dl_cpu_calls_op *op, dl_pd_const pd, int n_args, const dl_cpu_arg *args) {
    DL_RETURN_ERROR_IF(op->n_calls == DL_CPU_MAX_CALLS || n_args + 1 > DL_CPU_MAX_ARGS, DL_ERR_INTERNAL,
                       "%s needs more primitives or arguments than planned for",
                       dl_op_info_of(op->base.desc.kind)->name);
    dl_cpu_call *call = &op->call[op->n_calls++];
    memcpy(call->arg, args, (size_t)n_args * sizeof *args);
    call->n_args = n_args;
    const dl_md scratchpad = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    const size_t scratch_bytes = scratchpad != NULL ? dnnl_memory_desc_get_size(scratchpad) : 0;
    if (scratch_bytes > 0) {
        const dl_layout *interned = NULL;
        DL_RETURN_IF_ERROR(dl_onednn_layout_md(scratchpad, "a", &interned));
        call->arg[call->n_args++] = (dl_cpu_arg){.index = DNNL_ARG_SCRATCHPAD,
                                                 .md = dl_onednn_md(interned),
                                                 .slot = dl_op_info_of(op->base.desc.kind)->n_slots,
                                                 .offset = op->staging_bytes};
        const size_t need = op->staging_bytes + dl_round_up(scratch_bytes, DL_CACHE_LINE);
        op->base.workspace_bytes = need > op->base.workspace_bytes ? need : op->base.workspace_bytes;
    }
    omp_set_num_threads(op->base.device->n_threads);
    DL_RETURN_IF_DNNL(dnnl_primitive_create(&call->primitive, pd));
    return create_memories(op, call);
}

dl_status dl_cpu_attr_create(dnnl_primitive_attr_t *out) {
    DL_RETURN_IF_DNNL(dnnl_primitive_attr_create(out));
    const dnnl_status_t status = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (status != dnnl_success) {
        (void)dnnl_primitive_attr_destroy(*out);
        *out = NULL;
    }
    DL_RETURN_IF_DNNL(status);
    return DL_OK;
}

static dl_status set_sum(dnnl_primitive_attr_t attr) {
    dnnl_post_ops_t ops = NULL;
    DL_RETURN_IF_DNNL(dnnl_post_ops_create(&ops));
    dnnl_status_t status = dl_shim_append_sum(ops);
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_set_post_ops(attr, ops);
    }
    (void)dnnl_post_ops_destroy(ops);
    DL_RETURN_IF_DNNL(status);
    return DL_OK;
}

dl_status dl_cpu_calls_add_reorder(dl_cpu_calls_op *op, const dl_cpu_arg *from, const dl_cpu_arg *to,
                                   bool add) {
    const dl_cpu_device *device = dl_cpu_device_of(op->base.device);
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dl_cpu_arg args[2] = {*from, *to};
    args[0].index = DNNL_ARG_FROM;
    args[1].index = DNNL_ARG_TO;
    DL_RETURN_IF_ERROR(dl_cpu_attr_create(&attr));
    dl_status status = DL_OK;
    if (add) {
        DL_GOTO_IF_ERROR(status, set_sum(attr), done);
    }
    omp_set_num_threads(op->base.device->n_threads);
    DL_GOTO_IF_DNNL(
        status,
        dnnl_reorder_primitive_desc_create(&pd, from->md, device->engine, to->md, device->engine, attr),
        done);
    DL_GOTO_IF_ERROR(status, dl_cpu_calls_add(op, pd, 2, args), done);
done:
    (void)dnnl_primitive_desc_destroy(pd);
    (void)dnnl_primitive_attr_destroy(attr);
    return status;
}
