#include "launcher/device_check.h"

#include "kernels/ops/sizes.h"
#include "launcher/gpu_answers.h"

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

/* Fills *answer where the driver was asked; it was for devices opened without flags. */
static dl_status ask(const dl_gpu_answers *answers, const dl_plan *plan, const dl_program *program,
                     const dl_instruction *instruction, dl_gpu_answer *answer, bool *asked) {
    const dl_device *device = plan->options.device;
    dl_text work = {0};
    *asked = false;
    if (answers == NULL || instruction->type != DL_DO_OPERATION || device->deterministic || device->tf32) {
        return DL_OK;
    }
    const dl_status status = dl_instruction_work(program, instruction, &work);
    *asked = status == DL_OK && dl_gpu_answers_find(answers, work.data, answer);
    dl_text_free(&work);
    return status;
}

/* The largest workspace of a program: instructions follow one another. */
static dl_status add_workspace(const dl_plan *plan, const dl_program *program, const dl_gpu_answers *answers,
                               dl_device_memory *out) {
    size_t *largest = &out->storage[DL_STORE_WORKSPACE];
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        dl_gpu_answer answer = {.workspace = workspace_of(program, instruction)};
        bool asked = false;
        DL_RETURN_IF_ERROR(ask(answers, plan, program, instruction, &answer, &asked));
        out->estimated[DL_STORE_WORKSPACE] |= !asked && answer.workspace > 0;
        *largest = answer.workspace > *largest ? answer.workspace : *largest;
    }
    return DL_OK;
}

/* Bytes of the slot of this name; 0 where it is absent. */
static size_t slot_bytes(const dl_program *program, const dl_instruction *instruction, const char *name) {
    const int slot = instruction->slot[dl_op_slot(dl_op_info_of(instruction->kind), name)];
    return slot >= 0 ? program->slot[slot].n_bytes : 0;
}

/* What an LSTM layer keeps on the GPU beyond what ref keeps: weight spaces, padding. */
static dl_status add_lstm(const dl_plan *plan, const dl_instruction *instruction,
                          const dl_gpu_answers *answers, dl_device_memory *out) {
    const dl_program *program = plan->program[0];
    const size_t kept = slot_bytes(program, instruction, "reserve");
    dl_gpu_answer answer = {0};
    bool asked = false;
    DL_RETURN_IF_ERROR(ask(answers, plan, program, instruction, &answer, &asked));
    if (!asked) {
        answer.reserve =
            kept + 2 * (slot_bytes(program, instruction, "w_ih") + slot_bytes(program, instruction, "w_hh") +
                        slot_bytes(program, instruction, "b"));
    }
    out->estimated[DL_STORE_COPY] |= !asked;
    out->storage[DL_STORE_COPY] += answer.reserve > kept ? answer.reserve - kept : 0;
    return DL_OK;
}

/* Filters lie on the GPU as [K, R, S, C]: copies, where that is another order. */
static void add_filters(const dl_program *program, const dl_instruction *instruction, dl_device_memory *out) {
    const int w = instruction->slot[dl_op_slot(dl_op_info_of(instruction->kind), "w")];
    if (dl_filters_reorder(&program->slot[w].tensor.shape)) {
        out->storage[DL_STORE_COPY] += program->slot[w].n_bytes;
    }
}

static dl_status add_copies(const dl_plan *plan, const dl_gpu_answers *answers, dl_device_memory *out) {
    const dl_program *training = plan->program[0];
    for (int i = 0; i < training->n_instructions; i++) {
        const dl_instruction *instruction = &training->instruction[i];
        if (instruction->type != DL_DO_OPERATION || instruction->micro > 0) {
            continue;
        }
        if (instruction->kind == DL_OP_LSTM_LAYER_FORWARD) {
            DL_RETURN_IF_ERROR(add_lstm(plan, instruction, answers, out));
        } else if (instruction->kind == DL_OP_CONV2D_FORWARD) {
            add_filters(training, instruction, out);
        }
    }
    return DL_OK;
}

/* Memory of the session's plan on a GPU with these answers (or NULL). */
static dl_status memory_of(const dl_session *session, const dl_gpu_answers *answers, dl_device_memory *out) {
    const dl_plan *plan = session->plan;
    const bool exchanges = dl_session_ranks(session) > 1;
    const size_t context = dl_gpu_answers_context(answers);
    *out = (dl_device_memory){.context =
                                  (context > 0 ? context : context_bytes) + (exchanges ? exchange_bytes : 0),
                              .context_estimated = context == 0 || exchanges};
    dl_plan_memory(plan, out->storage);
    out->storage[DL_STORE_WORKSPACE] = out->storage[DL_STORE_COPY] = 0;
    for (int p = 0; p < plan->n_programs; p++) {
        DL_RETURN_IF_ERROR(add_workspace(plan, plan->program[p], answers, out));
    }
    DL_RETURN_IF_ERROR(add_copies(plan, answers, out));
    out->total = out->context;
    for (int s = 0; s < DL_N_STORAGES; s++) {
        out->total += out->storage[s];
    }
    return DL_OK;
}

/* --- the largest batch --- */

/* What sessions of other batches are opened from. */
typedef struct search {
    dl_setup *setup;
    int n_ranks;
    const dl_gpu_answers *answers;
} search;

/* Bytes that a global batch takes. */
static dl_status probe(const search *s, int64_t batch, size_t *total) {
    int64_t *configured = &s->setup->config->train.batch_size;
    const int64_t own = *configured;
    dl_session *session = NULL;
    dl_device_memory memory = {0};
    *configured = batch;
    const dl_session_options dry = {
        .n_ranks = s->n_ranks, .n_threads = 1, .training = true, .as_gpu = true, .synthetic = true};
    dl_status status = dl_setup_session(s->setup, &dry, &session);
    status = status == DL_OK ? memory_of(session, s->answers, &memory) : status;
    *total = memory.total;
    dl_session_close(&session);
    *configured = own;
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
static dl_status find_largest(const search *s, dl_device_check *check) {
    const int64_t most = most_samples / check->step;
    int64_t low = 0, high = 1;
    size_t at_low = 0, at_high = 0;
    DL_RETURN_IF_ERROR(probe(s, check->step, &at_high));
    while (at_high <= check->capacity && low < most) {
        low = high;
        at_low = at_high;
        high = 2 * high < most ? 2 * high : most;
        DL_RETURN_IF_ERROR(probe(s, high * check->step, &at_high));
    }
    for (int i = 0; low > 0 && high - low > 1 && i < MAX_PROBES; i++) {
        const int64_t middle =
            i % 3 == 2 ? low + (high - low) / 2 : between(low, at_low, high, at_high, check->capacity);
        size_t at_middle = 0;
        DL_RETURN_IF_ERROR(probe(s, middle * check->step, &at_middle));
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
    dl_gpu_answers *answers = NULL;
    DL_RETURN_IF_ERROR(dl_gpu_answers_open(gpu->name, &answers));
    const search s = {.setup = setup, .n_ranks = n_ranks, .answers = answers};
    dl_status status = memory_of(session, answers, &out->memory);
    status = status == DL_OK ? find_largest(&s, out) : status;
    dl_gpu_answers_close(&answers);
    return status;
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
