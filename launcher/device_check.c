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

/* By estimate. */
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

static bool ask(const dl_gpu_answers *answers, const dl_program *program, const dl_instruction *instruction,
                dl_text *work, dl_gpu_answer *answer, dl_status *status) {
    dl_text_clear(work);
    if (answers == NULL || instruction->type != DL_DO_OPERATION || *status != DL_OK) {
        return false;
    }
    *status = dl_instruction_work(program, instruction, work);
    return *status == DL_OK && dl_gpu_answers_find(answers, work->data, answer);
}

/* The largest workspace of all instructions: they follow one another. */
static dl_status add_workspace(const dl_plan *plan, const dl_gpu_answers *answers, dl_device_memory *out) {
    size_t *largest = &out->storage[DL_STORE_WORKSPACE];
    dl_text work = {0};
    dl_status status = DL_OK;
    *largest = 0;
    for (int p = 0; p < plan->n_programs; p++) {
        for (int i = 0; i < plan->program[p]->n_instructions; i++) {
            const dl_instruction *instruction = &plan->program[p]->instruction[i];
            dl_gpu_answer answer = {.workspace = workspace_of(plan->program[p], instruction)};
            if (!ask(answers, plan->program[p], instruction, &work, &answer, &status)) {
                out->estimated[DL_STORE_WORKSPACE] |= answer.workspace > 0;
            }
            *largest = answer.workspace > *largest ? answer.workspace : *largest;
        }
    }
    dl_text_free(&work);
    return status;
}

/* Bytes of the slot of this name; 0 where it is absent. */
static size_t slot_bytes(const dl_program *program, const dl_instruction *instruction, const char *name) {
    const int slot = instruction->slot[dl_op_slot(dl_op_info_of(instruction->kind), name)];
    return slot >= 0 ? program->slot[slot].n_bytes : 0;
}

/* What an LSTM layer keeps on the GPU beyond what ref keeps: weight spaces, padding. */
static dl_status add_lstm(const dl_program *program, const dl_instruction *instruction,
                          const dl_gpu_answers *answers, dl_device_memory *out) {
    dl_text work = {0};
    dl_status status = DL_OK;
    dl_gpu_answer answer = {0};
    if (ask(answers, program, instruction, &work, &answer, &status)) {
        const size_t kept = slot_bytes(program, instruction, "reserve");
        out->storage[DL_STORE_COPY] += answer.reserve > kept ? answer.reserve - kept : 0;
    } else {
        out->estimated[DL_STORE_COPY] = true;
        out->storage[DL_STORE_COPY] +=
            2 * (slot_bytes(program, instruction, "w_ih") + slot_bytes(program, instruction, "w_hh") +
                 slot_bytes(program, instruction, "b"));
    }
    dl_text_free(&work);
    return status;
}

/* Filters lie on the GPU as [K, R, S, C]: copies, where that is another order. */
static void add_filters(const dl_program *program, const dl_instruction *instruction, dl_device_memory *out) {
    const int w = instruction->slot[dl_op_slot(dl_op_info_of(instruction->kind), "w")];
    const dl_shape *shape = &program->slot[w].tensor.shape;
    if (shape->dim[1] > 1 && shape->dim[2] * shape->dim[3] > 1) {
        out->storage[DL_STORE_COPY] += program->slot[w].n_bytes;
    }
}

static dl_status add_copies(const dl_plan *plan, const dl_gpu_answers *answers, dl_device_memory *out) {
    const dl_program *training = plan->program[0];
    out->storage[DL_STORE_COPY] = 0;
    for (int i = 0; i < training->n_instructions; i++) {
        const dl_instruction *instruction = &training->instruction[i];
        if (instruction->type != DL_DO_OPERATION || instruction->micro > 0) {
            continue;
        }
        if (instruction->kind == DL_OP_LSTM_LAYER_FORWARD) {
            DL_RETURN_IF_ERROR(add_lstm(training, instruction, answers, out));
        } else if (instruction->kind == DL_OP_CONV2D_FORWARD) {
            add_filters(training, instruction, out);
        }
    }
    return DL_OK;
}

dl_status dl_device_check_memory(const dl_session *session, const dl_gpu_answers *answers,
                                 dl_device_memory *out) {
    const bool exchanges = dl_session_ranks(session) > 1;
    const size_t context = dl_gpu_answers_context(answers);
    *out = (dl_device_memory){.context =
                                  (context > 0 ? context : context_bytes) + (exchanges ? exchange_bytes : 0),
                              .context_estimated = context == 0 || exchanges};
    dl_plan_memory(session->plan, out->storage);
    DL_RETURN_IF_ERROR(add_workspace(session->plan, answers, out));
    DL_RETURN_IF_ERROR(add_copies(session->plan, answers, out));
    out->total = out->context;
    for (int s = 0; s < DL_N_STORAGES; s++) {
        out->total += out->storage[s];
    }
    return DL_OK;
}

/* --- the largest batch --- */

/* Bytes that a global batch takes. */
static dl_status probe(dl_setup *setup, int n_ranks, const dl_gpu_answers *answers, int64_t batch,
                       size_t *total) {
    const int64_t own = setup->config->train.batch_size;
    dl_session *session = NULL;
    setup->config->train.batch_size = batch;
    dl_device_memory memory = {0};
    dl_status status = dl_setup_session(setup, NULL, n_ranks, 1, true, true, &session);
    if (status == DL_OK) {
        status = dl_device_check_memory(session, answers, &memory);
    }
    *total = memory.total;
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
    DL_RETURN_IF_ERROR(probe(setup, n_ranks, check->answers, check->step, &at_high));
    while (at_high <= check->capacity && low < most) {
        low = high;
        at_low = at_high;
        high = 2 * high < most ? 2 * high : most;
        DL_RETURN_IF_ERROR(probe(setup, n_ranks, check->answers, high * check->step, &at_high));
    }
    for (int i = 0; low > 0 && high - low > 1 && i < MAX_PROBES; i++) {
        const int64_t middle =
            i % 3 == 2 ? low + (high - low) / 2 : between(low, at_low, high, at_high, check->capacity);
        size_t at_middle = 0;
        DL_RETURN_IF_ERROR(probe(setup, n_ranks, check->answers, middle * check->step, &at_middle));
        const bool fits = at_middle <= check->capacity;
        *(fits ? &low : &high) = middle;
        *(fits ? &at_low : &at_high) = at_middle;
    }
    check->largest_batch = low * check->step;
    return DL_OK;
}

dl_status dl_device_check_run(dl_setup *setup, int n_ranks, const dl_session *session, const dl_gpu_spec *gpu,
                              const dl_gpu_answers *answers, dl_device_check *out) {
    *out = (dl_device_check){.gpu = gpu,
                             .answers = answers,
                             .capacity = (size_t)(gpu->memory_mebibytes * 1024.0 * 1024.0),
                             .step =
                                 (int64_t)session->plan->options.n_ranks * session->plan->options.accumulate};
    DL_RETURN_IF_ERROR(dl_device_check_memory(session, answers, &out->memory));
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
                                              memory->estimated[s] ? " (estimated)" : ""));
        }
    }
    DL_RETURN_IF_ERROR(
        dl_text_append(out, " context %.1f%s; total %.1f: %s\n", (double)memory->context / mebi,
                       memory->context_estimated ? " (estimated)" : "", (double)memory->total / mebi,
                       memory->total <= check->capacity ? "fits" : "does not fit"));
    return dl_text_append(out, "largest batch that fits: %" PRId64 "\n", check->largest_batch);
}
