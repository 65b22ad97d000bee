#include "launcher/device_check.h"

#include <inttypes.h>
#include <string.h>

static const size_t matrix_workspace = (size_t)32 << 20, context_bytes = (size_t)1 << 30,
                    exchange_bytes = (size_t)1 << 29;
enum { MAX_PROBES = 40 };
static const int64_t most_samples = (int64_t)1 << 24; /* of a batch, as the option table has it */

dl_status dl_device_check_find(const char *name, const dl_gpu_spec **out) {
    size_t n = 0;
    const dl_gpu_spec *specs = dl_gpu_specs(&n);
    const char *names[32];
    *out = dl_gpu_spec_find(name);
    if (*out != NULL) {
        return DL_OK;
    }
    dl_text all = {0};
    dl_status status = DL_OK;
    for (size_t i = 0; i < n && i < sizeof names / sizeof *names && status == DL_OK; i++) {
        names[i] = specs[i].name;
        status = dl_text_append(&all, "%s%s", i > 0 ? ", " : "", specs[i].name);
    }
    if (status == DL_OK) {
        const char *near = dl_nearest_name(name, names, n);
        status = dl_error_raise(DL_ERR_USAGE, __FILE__, __LINE__, __func__,
                                "--device: unknown GPU '%s'%s%s%s; known ones: %s", name,
                                near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                                near != NULL ? "'?" : "", all.data);
    }
    dl_text_free(&all);
    return status;
}

/* --- memory --- */

/* Only a driver knows them (device_check.h). */
static bool is_estimated(dl_storage storage) {
    return storage == DL_STORE_WORKSPACE || storage == DL_STORE_COPY;
}

static size_t workspace_of(const dl_program *program, const dl_instruction *instruction) {
    size_t tensors = 0;
    if (instruction->type != DL_DO_OPERATION) {
        return 0;
    }
    for (int i = 0; i < dl_op_info_of(instruction->kind)->n_slots; i++) {
        tensors += instruction->slot[i] >= 0 ? program->slot[instruction->slot[i]].n_bytes : 0;
    }
    switch (instruction->kind) {
    case DL_OP_CONV2D_FORWARD:
    case DL_OP_CONV2D_BACKWARD_DATA:
    case DL_OP_CONV2D_BACKWARD_WEIGHTS:
        return tensors;
    case DL_OP_DENSE_FORWARD:
    case DL_OP_DENSE_BACKWARD_DATA:
    case DL_OP_DENSE_BACKWARD_WEIGHTS:
    case DL_OP_EMBEDDING_DENSE_FORWARD:
    case DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS:
    case DL_OP_LSTM_FORWARD:
    case DL_OP_LSTM_BACKWARD_DATA:
    case DL_OP_LSTM_BACKWARD_WEIGHTS:
    case DL_OP_LSTM_LAYER_FORWARD:
    case DL_OP_LSTM_LAYER_BACKWARD:
        return matrix_workspace;
    default:
        return 0;
    }
}

void dl_device_check_memory(const dl_session *session, dl_device_memory *out) {
    const dl_plan *plan = session->plan;
    *out =
        (dl_device_memory){.context = context_bytes + (dl_session_ranks(session) > 1 ? exchange_bytes : 0)};
    dl_plan_memory(plan, out->storage);
    size_t *workspace = &out->storage[DL_STORE_WORKSPACE];
    *workspace = 0;
    for (int p = 0; p < plan->n_programs; p++) {
        for (int i = 0; i < plan->program[p]->n_instructions; i++) {
            const size_t wanted = workspace_of(plan->program[p], &plan->program[p]->instruction[i]);
            *workspace = wanted > *workspace ? wanted : *workspace;
        }
    }
    size_t *copies = &out->storage[DL_STORE_COPY];
    *copies = 0;
    for (int i = 0; i < plan->options.model->n_layers; i++) {
        const dl_layer *layer = &plan->options.model->layer[i];
        if (strcmp(layer->kind, "lstm") == 0) {
            *copies += 2 * (size_t)layer->n_parameters * sizeof(float);
        }
    }
    out->total = out->context;
    for (int s = 0; s < DL_N_STORAGES; s++) {
        out->total += out->storage[s];
    }
}

/* --- the largest batch --- */

/* Bytes that a global batch takes. */
static dl_status probe(dl_setup *setup, int n_ranks, int64_t batch, size_t *total) {
    const int64_t own = setup->config->train.batch_size;
    dl_session *session = NULL;
    setup->config->train.batch_size = batch;
    const dl_status status = dl_setup_session(setup, NULL, n_ranks, 1, true, true, &session);
    if (status == DL_OK) {
        dl_device_memory memory;
        dl_device_check_memory(session, &memory);
        *total = memory.total;
    }
    dl_session_close(&session);
    setup->config->train.batch_size = own;
    return status;
}

/* Where the line through two measured points meets the capacity, kept strictly between `low` and `high`:
 * memory is nearly affine in the batch. */
static int64_t between(int64_t low, size_t at_low, int64_t high, size_t at_high, size_t capacity) {
    const double share = (double)(capacity - at_low) / (double)(at_high - at_low);
    const int64_t guess = low + (int64_t)(share * (double)(high - low));
    return guess <= low ? low + 1 : guess >= high ? high - 1 : guess;
}

/* In units of check->step. Doubles until it does not fit, then narrows by interpolation and halving in turn.
 */
static dl_status find_largest(dl_setup *setup, int n_ranks, dl_device_check *check) {
    const int64_t most = most_samples / check->step;
    int64_t low = 0, high = 1;
    size_t at_low = 0, at_high = 0;
    DL_RETURN_IF_ERROR(probe(setup, n_ranks, check->step, &at_high));
    while (at_high <= check->capacity && low < most) {
        low = high;
        at_low = at_high;
        high = 2 * high < most ? 2 * high : most;
        DL_RETURN_IF_ERROR(probe(setup, n_ranks, high * check->step, &at_high));
    }
    for (int i = 0; low > 0 && high - low > 1 && i < MAX_PROBES; i++) {
        const int64_t middle =
            i % 3 == 2 ? low + (high - low) / 2 : between(low, at_low, high, at_high, check->capacity);
        size_t at_middle = 0;
        DL_RETURN_IF_ERROR(probe(setup, n_ranks, middle * check->step, &at_middle));
        const bool fits = at_middle <= check->capacity;
        *(fits ? &low : &high) = middle;
        *(fits ? &at_low : &at_high) = at_middle;
    }
    check->largest_batch = low * check->step;
    return DL_OK;
}

dl_status dl_device_check_run(dl_setup *setup, int n_ranks, const dl_session *session, const dl_gpu_spec *gpu,
                              dl_device_check *out) {
    *out = (dl_device_check){.gpu = gpu,
                             .capacity = (size_t)(gpu->memory_mebibytes * 1024.0 * 1024.0),
                             .step =
                                 (int64_t)session->plan->options.n_ranks * session->plan->options.accumulate};
    dl_device_check_memory(session, &out->memory);
    return find_largest(setup, n_ranks, out);
}

/* --- for a person --- */

dl_status dl_device_check_print(const dl_device_check *check, dl_text *out) {
    const double mebi = 1024.0 * 1024.0;
    const dl_device_memory *memory = &check->memory;
    DL_RETURN_IF_ERROR(dl_text_append(out, "%s, %.0f MiB; MiB of each:", check->gpu->full_name,
                                      check->gpu->memory_mebibytes));
    for (int s = 0; s < DL_N_STORAGES; s++) {
        if (memory->storage[s] > 0) {
            DL_RETURN_IF_ERROR(dl_text_append(out, " %s %.1f%s,", dl_storage_name((dl_storage)s),
                                              (double)memory->storage[s] / mebi,
                                              is_estimated((dl_storage)s) ? " (estimated)" : ""));
        }
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, " context %.1f (estimated); total %.1f: %s\n",
                                      (double)memory->context / mebi, (double)memory->total / mebi,
                                      memory->total <= check->capacity ? "fits" : "does not fit"));
    return dl_text_append(out, "largest batch that fits: %" PRId64 "\n", check->largest_batch);
}
