/* Fusion over the list of instructions: each rule looks at one instruction and its neighbours by use,
 * rewrites one of them into the fused form, and takes the others out. A rule applies only where the device
 * takes the fused kind. */
#include "program/compile.h"

/* The instruction of a kind that has `slot` in its slot number `at`, or NULL. */
dl_instruction *dl_fuse_user(dl_program *program, dl_op_kind kind, int at, int slot) {
    for (int i = 0; i < program->n_instructions && slot >= 0; i++) {
        dl_instruction *instruction = &program->instruction[i];
        if (instruction->type == DL_DO_OPERATION && instruction->kind == kind &&
            instruction->slot[at] == slot) {
            return instruction;
        }
    }
    return NULL;
}

/* How many live instructions name the slot or a view of it. */
int dl_fuse_count_uses(const dl_program *program, int slot) {
    int n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        for (int s = 0; s < DL_OP_MAX_SLOTS && instruction->type != DL_DO_NOTHING; s++) {
            if (instruction->slot[s] >= 0 && dl_root_slot(program, instruction->slot[s]) == slot) {
                n++;
            }
        }
    }
    return n;
}

void dl_fuse_set_slots(dl_instruction *instruction, dl_op_kind kind, const int *slots, int n_slots) {
    instruction->kind = kind;
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        instruction->slot[i] = i < n_slots ? slots[i] : -1;
    }
}

bool dl_fuse_device_itself_takes(const dl_compile *c, const dl_instruction *instruction) {
    const dl_device *device = c->plan->options.device;
    const dl_op_desc desc = dl_instruction_desc(c->program, instruction);
    return dl_op_check(&desc) == DL_OK && device->backend->takes(device, &desc);
}

bool dl_fuse_device_takes(const dl_compile *c, const dl_instruction *instruction) {
    const dl_op_desc desc = dl_instruction_desc(c->program, instruction);
    if (dl_op_check(&desc) != DL_OK) {
        return false;
    }
    for (const dl_device *device = c->plan->options.device; device != NULL; device = device->fallback) {
        if (device->backend->takes(device, &desc)) {
            return true;
        }
    }
    return false;
}

/* Slots of the kinds that rules name: numbers from kernels/ops. */
enum { ACT_X = 0, ACT_Y = 1, ACT_BACK_Y = 0, ACT_BACK_DY = 1, ACT_BACK_DX = 2 };
enum { WEIGHTED_Y = 3 }; /* y of conv2d_forward, dense_forward and batch_norm_forward */
enum { POOL_X = 0, POOL_Y = 1, POOL_BACK_Y = 2, POOL_BACK_DX = 3 };
enum { SOFTMAX_X = 0, SOFTMAX_Y = 1, SOFTMAX_BACK_DY = 1, SOFTMAX_BACK_DX = 2 };
enum { LOSS_P = 0, LOSS_OUT = 2, LOSS_BACK_DP = 2, LOSS_BACK_SCALE = 3 };
enum { FUSED_DX = 3, FUSED_SCALE = 5 };

/* convolution or dense (+ bias) or batch normalization, then an activation of its output alone: one
 * instruction. */
static void fuse_activation(dl_compile *c, dl_instruction *weighted) {
    dl_program *program = c->program;
    dl_instruction *activation =
        dl_fuse_user(program, DL_OP_ACTIVATION_FORWARD, ACT_X, weighted->slot[WEIGHTED_Y]);
    if (!dl_op_info_of(weighted->kind)->fuses_activation || activation == NULL ||
        weighted->attr.activation != DL_ACT_NONE ||
        dl_fuse_count_uses(program, weighted->slot[WEIGHTED_Y]) != 2) {
        return;
    }
    dl_instruction fused = *weighted;
    fused.attr.activation = activation->attr.activation;
    fused.slot[WEIGHTED_Y] = activation->slot[ACT_Y];
    if (dl_fuse_device_takes(c, &fused)) {
        *weighted = fused;
        activation->type = DL_DO_NOTHING;
    }
}

/* The one live instruction of a kind that has `slot` in its slot number `at`; NULL when there is none or
 * more. */
static dl_instruction *only_user(dl_program *program, dl_op_kind kind, int at, int slot) {
    dl_instruction *first = dl_fuse_user(program, kind, at, slot);
    for (int i = 0; i < program->n_instructions && first != NULL; i++) {
        const dl_instruction *other = &program->instruction[i];
        if (other != first && other->type == DL_DO_OPERATION && other->kind == kind &&
            other->slot[at] == slot) {
            return NULL;
        }
    }
    return first;
}

/* Losses and metrics that look at probabilities and could as well look at what softmax made them from. */
static bool reads_either(const dl_instruction *instruction, int p) {
    return instruction->type == DL_DO_OPERATION && instruction->slot[LOSS_P] == p &&
           (instruction->kind == DL_OP_CROSS_ENTROPY_FORWARD || instruction->kind == DL_OP_ACCURACY);
}

/* The instruction before softmax's gradient, and that gradient: both go when the loss gives the gradient
 * itself. */
typedef struct loss_gradient {
    dl_instruction *loss, *loss_back, *softmax_back;
} loss_gradient;

/* False when somebody else uses the probabilities p too. */
static bool find_loss(dl_program *program, int p, loss_gradient *out) {
    int n_users = 1; /* softmax */
    for (int i = 0; i < program->n_instructions; i++) {
        n_users += reads_either(&program->instruction[i], p) ? 1 : 0;
    }
    out->loss_back = only_user(program, DL_OP_CROSS_ENTROPY_BACKWARD, LOSS_P, p);
    out->softmax_back = out->loss_back == NULL ? NULL
                                               : only_user(program, DL_OP_SOFTMAX_BACKWARD, SOFTMAX_BACK_DY,
                                                           out->loss_back->slot[LOSS_BACK_DP]);
    if (out->softmax_back == NULL || out->loss_back->forward < 0) {
        return false;
    }
    out->loss = &program->instruction[out->loss_back->forward];
    return dl_fuse_count_uses(program, p) == n_users + 2;
}

/* Moves an instruction behind a later one, if none up to there reads its slot `out`. */
static void move_behind(dl_program *program, int from, int behind, int out) {
    for (int i = from + 1; i <= behind; i++) {
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            behind = program->instruction[i].slot[s] == out ? from : behind;
        }
    }
    const dl_instruction moved = program->instruction[from];
    for (int i = from; i < behind; i++) {
        program->instruction[i] = program->instruction[i + 1];
    }
    program->instruction[behind] = moved;
    for (int i = 0; i < program->n_instructions; i++) {
        int *forward = &program->instruction[i].forward;
        if (*forward == from) {
            *forward = behind;
        } else if (*forward > from && *forward <= behind) {
            --*forward;
        }
    }
}

/* Softmax, cross entropy and their gradients: one instruction that gives losses and the gradient of the
 * logits. Metrics read the logits too, whose order is that of the probabilities: before it, so that the
 * gradient may take the logits' memory. */
static void fuse_loss(dl_compile *c, dl_instruction *softmax) {
    dl_program *program = c->program;
    const int p = softmax->slot[SOFTMAX_Y], x = softmax->slot[SOFTMAX_X];
    loss_gradient found;
    if (!find_loss(program, p, &found)) {
        return;
    }
    dl_instruction fused = *found.loss;
    fused.kind = DL_OP_SOFTMAX_CROSS_ENTROPY;
    fused.slot[0] = x;
    fused.slot[FUSED_DX] = found.softmax_back->slot[SOFTMAX_BACK_DX];
    fused.slot[FUSED_SCALE] = found.loss_back->slot[LOSS_BACK_SCALE];
    fused.attr = found.loss_back->attr;
    if (!dl_fuse_device_takes(c, &fused)) {
        return;
    }
    *found.loss = fused;
    softmax->type = found.loss_back->type = found.softmax_back->type = DL_DO_NOTHING;
    const int loss = (int)(found.loss - program->instruction);
    int last = loss;
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *other = &program->instruction[i];
        if (reads_either(other, p)) {
            other->kind = other->kind == DL_OP_ACCURACY ? DL_OP_ACCURACY : DL_OP_SOFTMAX_CROSS_ENTROPY;
            other->slot[LOSS_P] = x;
            last = i > last ? i : last;
        }
    }
    move_behind(program, loss, last, fused.slot[LOSS_OUT]);
}

/* relu, then max pooling: in the backward pass the mask is applied to the pooled gradient, a quarter of the
 * cells, since the largest of relu's outputs is positive exactly where its gradient passes. */
static void fuse_pooling_backward(dl_compile *c, dl_instruction *activation_back) {
    dl_program *program = c->program;
    dl_instruction *pool_back =
        dl_fuse_user(program, DL_OP_MAX_POOLING2D_BACKWARD, POOL_BACK_DX, activation_back->slot[ACT_BACK_DY]);
    dl_instruction *pool =
        dl_fuse_user(program, DL_OP_MAX_POOLING2D_FORWARD, POOL_X, activation_back->slot[ACT_BACK_Y]);
    if (activation_back->attr.activation != DL_ACT_RELU || pool_back == NULL || pool == NULL ||
        dl_fuse_count_uses(program, activation_back->slot[ACT_BACK_DY]) != 2) {
        return;
    }
    dl_instruction fused = *pool_back;
    fused.attr.activation = DL_ACT_RELU;
    fused.slot[POOL_BACK_Y] = pool->slot[POOL_Y];
    fused.slot[POOL_BACK_DX] = activation_back->slot[ACT_BACK_DX];
    if (dl_fuse_device_takes(c, &fused)) {
        *pool_back = fused;
        activation_back->type = DL_DO_NOTHING;
    }
}

dl_status dl_fuse(dl_compile *c) {
    for (int i = 0; i < c->program->n_instructions; i++) {
        dl_instruction *instruction = &c->program->instruction[i];
        if (instruction->type != DL_DO_OPERATION) {
            continue;
        }
        dl_fuse_norm(c, instruction);
        if (instruction->type != DL_DO_OPERATION) {
            continue;
        }
        if (instruction->kind == DL_OP_CONV2D_FORWARD || instruction->kind == DL_OP_DENSE_FORWARD ||
            instruction->kind == DL_OP_BATCH_NORM_FORWARD) {
            fuse_activation(c, instruction);
            dl_fuse_tokens(c, instruction);
        } else if (instruction->kind == DL_OP_SOFTMAX_FORWARD) {
            fuse_loss(c, instruction);
        } else if (instruction->kind == DL_OP_LSTM_FORWARD) {
            DL_RETURN_IF_ERROR(dl_fuse_lstm(c, instruction));
        } else if (instruction->kind == DL_OP_ACTIVATION_BACKWARD) {
            fuse_pooling_backward(c, instruction);
        }
    }
    return dl_drop_dead_instructions(c->program);
}
