/* Values on their way between the two devices: plain, through the host. */
#include "program/crosscheck_parts.h"

#include "base/mem.h"

#include <string.h>

static const dl_slot_info *info_of(const dl_pair *pair, int i) {
    return &dl_op_info_of(pair->op->desc.kind)->slots[i];
}

bool dl_pair_reads(const dl_pair *pair, int i) {
    const dl_slot_info *info = info_of(pair, i);
    return pair->op->desc.slot[i].present &&
           ((info->role == DL_SLOT_IN && !info->saved) || info->role == DL_SLOT_INOUT ||
            (info->role == DL_SLOT_OUT && pair->op->desc.attr.accumulate));
}

bool dl_pair_writes(const dl_pair *pair, int i) {
    const dl_slot_info *info = info_of(pair, i);
    return pair->op->desc.slot[i].present && info->role != DL_SLOT_IN && !info->saved;
}

/* --- from the first device --- */

/* Where a parameter lies that the slot holds a copy of; NULL: it holds none. */
static const char *original_of(const dl_plan *plan, const dl_slot *slot) {
    if (slot->storage != DL_STORE_COPY) {
        return NULL;
    }
    bool averaged = false;
    for (int c = 0; c < plan->n_copies; c++) {
        averaged = averaged || (plan->copy[c].offset == slot->offset && plan->copy[c].averaged);
    }
    const dl_parameter *parameter = &plan->options.model->table.parameter[slot->parameter];
    const size_t offset = (size_t)parameter->offset * sizeof(float);
    if (averaged && parameter->trainable) {
        return (const char *)plan->memory[DL_STORE_STATE] + DL_EMA_OFFSET + offset;
    }
    return (const char *)plan->memory[parameter->trainable ? DL_STORE_PARAMETER : DL_STORE_FROZEN] + offset;
}

/* Runs an operation of two slots on `device`, in memory of the same. */
static dl_status convert(dl_device *device, const dl_op_desc *desc, void *from, void *to) {
    dl_op *op = NULL;
    void *workspace = NULL;
    DL_RETURN_IF_ERROR(dl_op_prepare(device, desc, NULL, &op));
    dl_status status = DL_OK;
    const size_t n_bytes = op->workspace_bytes;
    if (n_bytes > 0) {
        DL_GOTO_IF_ERROR(status, device->backend->memory_create(device, n_bytes, &workspace), done);
    }
    DL_GOTO_IF_ERROR(status, op->functions->run(op, (void *[]){from, to, workspace}, NULL), done);
done:
    if (workspace != NULL) {
        device->backend->memory_destroy(device, workspace, n_bytes);
    }
    dl_op_destroy(&op);
    return status;
}

static dl_status make_plain(dl_device *device, const dl_pair *pair, int i, void *to) {
    dl_op_desc desc = {.kind = info_of(pair, i)->batched ? DL_OP_REORDER : DL_OP_UNPACK};
    desc.slot[0] = desc.slot[1] = pair->op->desc.slot[i];
    desc.slot[0].layout = pair->op->layout[i];
    desc.slot[1].layout = NULL;
    return convert(device, &desc, pair->address[i], to);
}

static dl_status fetch_from(dl_device *device, const dl_pair *pair, int i, void *out) {
    const dl_tensor_desc *tensor = &pair->op->desc.slot[i];
    const size_t n_bytes = dl_tensor_plain_bytes(tensor);
    void *plain = pair->address[i];
    dl_status status = DL_OK;
    if (n_bytes == 0) {
        return DL_OK;
    }
    if (pair->op->layout[i] != NULL) {
        DL_RETURN_IF_ERROR(device->backend->memory_create(device, n_bytes, &plain));
        DL_GOTO_IF_ERROR(status, make_plain(device, pair, i, plain), done);
    }
    DL_GOTO_IF_ERROR(status, device->backend->download(device, out, plain, n_bytes, NULL), done);
done:
    if (plain != pair->address[i]) {
        device->backend->memory_destroy(device, plain, n_bytes);
    }
    return status;
}

dl_status dl_fetch_slot(const dl_crosscheck *crosscheck, const dl_pair *pair, int i, void *out) {
    return fetch_from(crosscheck->plan->options.device, pair, i, out);
}

/* --- parameters, and the planted fault --- */

/* Multiplies what of the perturbed parameter is among n values that begin at element `begin` of its arena. */
static void perturb(const dl_crosscheck *crosscheck, int64_t begin, int64_t n, float *values) {
    const dl_perturbation *fault = &crosscheck->perturbation;
    const dl_parameter *parameter = &crosscheck->plan->options.model->table.parameter[fault->parameter];
    for (int64_t e = 0; e < parameter->n_elements; e++) {
        const int64_t at = parameter->offset + e - begin;
        if (at >= 0 && at < n) {
            values[at] *= (float)(1 + fault->by);
        }
    }
}

/* The other device packs parameters in its own way: plain, in the type that the operation reads. */
static dl_status pack(dl_device *device, const dl_tensor_desc *tensor, float *values, void *out) {
    dl_op_desc desc = {.kind = DL_OP_PACK};
    desc.slot[0] = desc.slot[1] = *tensor;
    desc.slot[0].dtype = DL_F32;
    desc.slot[0].layout = desc.slot[1].layout = NULL;
    const size_t n_bytes[2] = {dl_tensor_plain_bytes(&desc.slot[0]), dl_tensor_plain_bytes(&desc.slot[1])};
    void *memory[2] = {NULL, NULL};
    dl_status status = DL_OK;
    for (int i = 0; i < 2; i++) {
        DL_GOTO_IF_ERROR(status, device->backend->memory_create(device, n_bytes[i], &memory[i]), done);
    }
    DL_GOTO_IF_ERROR(status, device->backend->upload(device, memory[0], values, n_bytes[0], NULL), done);
    DL_GOTO_IF_ERROR(status, convert(device, &desc, memory[0], memory[1]), done);
    DL_GOTO_IF_ERROR(status, device->backend->download(device, out, memory[1], n_bytes[1], NULL), done);
done:
    for (int i = 0; i < 2; i++) {
        if (memory[i] != NULL) {
            device->backend->memory_destroy(device, memory[i], n_bytes[i]);
        }
    }
    return status;
}

/* What slot i holds a copy of, from where it lies. */
static dl_status fetch_original(const dl_crosscheck *crosscheck, const dl_slot *slot, const char *original,
                                const dl_tensor_desc *tensor, void *out) {
    dl_device *device = crosscheck->plan->options.device;
    const int64_t n = dl_shape_elements(&tensor->shape);
    const size_t n_bytes = (size_t)n * sizeof(float);
    float *values = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *values, &values));
    dl_status status = device->backend->download(device, values, original, n_bytes, NULL);
    if (crosscheck->perturbation.parameter == slot->parameter) {
        perturb(crosscheck, crosscheck->plan->options.model->table.parameter[slot->parameter].offset, n,
                values);
    }
    if (status == DL_OK && tensor->dtype != DL_F32) {
        status = pack(crosscheck->other, tensor, values, out);
    } else if (status == DL_OK) {
        memcpy(out, values, n_bytes);
    }
    dl_free(&values);
    return status;
}

dl_status dl_fetch_input(const dl_crosscheck *crosscheck, const dl_instruction *instruction,
                         const dl_pair *pair, int i, void *out) {
    const dl_plan *plan = crosscheck->plan;
    const dl_program *program = plan->program[crosscheck->number];
    const dl_slot *slot = &program->slot[instruction->slot[i]];
    const dl_tensor_desc *tensor = &pair->op->desc.slot[i];
    const char *original = original_of(plan, slot);
    if (original != NULL) {
        return fetch_original(crosscheck, slot, original, tensor, out);
    }
    DL_RETURN_IF_ERROR(dl_fetch_slot(crosscheck, pair, i, out));
    const int row = crosscheck->perturbation.parameter;
    const bool trainable = row >= 0 && plan->options.model->table.parameter[row].trainable;
    if (row >= 0 && slot->storage == (trainable ? DL_STORE_PARAMETER : DL_STORE_FROZEN)) {
        const char *begin = plan->memory[slot->storage], *address = pair->address[i];
        perturb(crosscheck, (address - begin) / (int64_t)sizeof(float), dl_shape_elements(&tensor->shape),
                out);
    }
    return DL_OK;
}

/* --- on the other device --- */

/* Where the forward instruction's pair keeps what slot i of this kind reads. */
static dl_status saved_by_forward(const dl_crosscheck *crosscheck, const dl_instruction *instruction,
                                  int part, int i, void **out) {
    const dl_program *program = crosscheck->plan->program[crosscheck->number];
    const char *name = dl_op_info_of(instruction->kind)->slots[i].name;
    const int at = instruction->forward;
    const dl_twin *twin = at >= 0 ? crosscheck->twin[at] : NULL;
    DL_RETURN_ERROR_IF(twin == NULL || part >= twin->n, DL_ERR_USAGE,
                       "%s reads what %s has saved in other parts: verify it with reproducible=false",
                       dl_op_info_of(instruction->kind)->name,
                       at >= 0 ? dl_op_info_of(program->instruction[at].kind)->name : "nobody");
    *out = twin->pair[part].saved[dl_op_slot(dl_op_info_of(program->instruction[at].kind), name)];
    return DL_OK;
}

/* Memory for slot i, or where it is kept; filled with the input. */
static dl_status make_slot(dl_crosscheck *crosscheck, const dl_instruction *instruction, int part,
                           const dl_op *op, int i, const void *in, void **out) {
    dl_device *device = crosscheck->other;
    const dl_slot_info *info = &dl_op_info_of(op->desc.kind)->slots[i];
    const size_t n_bytes = dl_op_slot_bytes(op, i);
    dl_pair *pair =
        &crosscheck->twin[instruction - crosscheck->plan->program[crosscheck->number]->instruction]
             ->pair[part];
    if (info->saved && info->role == DL_SLOT_IN) {
        return saved_by_forward(crosscheck, instruction, part, i, out);
    }
    if (info->saved && pair->saved[i] == NULL) {
        DL_RETURN_IF_ERROR(device->backend->memory_create(device, n_bytes, &pair->saved[i]));
    }
    if (info->saved) {
        *out = pair->saved[i];
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(device->backend->memory_create(device, n_bytes, out));
    return in == NULL ? DL_OK : device->backend->upload(device, *out, in, n_bytes, NULL);
}

static dl_status run_and_read(dl_device *device, const dl_op *op, void **slots, void *const *out) {
    const int n = dl_op_info_of(op->desc.kind)->n_slots;
    if (op->workspace_bytes > 0) {
        DL_RETURN_IF_ERROR(device->backend->memory_create(device, op->workspace_bytes, &slots[n]));
    }
    DL_RETURN_IF_ERROR(op->functions->run(op, slots, NULL));
    for (int i = 0; i < n; i++) {
        if (out[i] != NULL && slots[i] != NULL) {
            DL_RETURN_IF_ERROR(
                device->backend->download(device, out[i], slots[i], dl_op_slot_bytes(op, i), NULL));
        }
    }
    return DL_OK;
}

dl_status dl_run_other(dl_crosscheck *crosscheck, const dl_instruction *instruction, int part,
                       const dl_op *op, void *const *in, void *const *out) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    dl_device *device = crosscheck->other;
    void *slots[DL_OP_MAX_SLOTS + 1] = {0};
    dl_status status = DL_OK;
    for (int i = 0; i < info->n_slots && status == DL_OK; i++) {
        if (dl_op_slot_bytes(op, i) > 0) {
            status = make_slot(crosscheck, instruction, part, op, i, in[i], &slots[i]);
        }
    }
    if (status == DL_OK) {
        status = run_and_read(device, op, slots, out);
    }
    for (int i = 0; i <= info->n_slots; i++) {
        const bool own = i == info->n_slots || !info->slots[i].saved;
        if (own && slots[i] != NULL) {
            const size_t n_bytes = i == info->n_slots ? op->workspace_bytes : dl_op_slot_bytes(op, i);
            device->backend->memory_destroy(device, slots[i], n_bytes);
        }
    }
    return status;
}
