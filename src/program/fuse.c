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
enum { LOSS_P = 0, LOSS_LABELS = 1, LOSS_LOSS = 2, LOSS_BACK_DP = 2 };

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

/* Softmax, cross entropy and their gradients: one instruction that gives losses and the gradient of the
 * logits. The accuracy reads the logits: their largest is the largest probability. */
static void fuse_loss(dl_compile *c, dl_instruction *softmax) {
    dl_program *program = c->program;
    const int p = softmax->slot[SOFTMAX_Y], x = softmax->slot[SOFTMAX_X];
    dl_instruction *loss = dl_fuse_user(program, DL_OP_CROSS_ENTROPY_FORWARD, LOSS_P, p);
    dl_instruction *loss_back = dl_fuse_user(program, DL_OP_CROSS_ENTROPY_BACKWARD, LOSS_P, p);
    dl_instruction *accuracy = dl_fuse_user(program, DL_OP_ACCURACY, LOSS_P, p);
    dl_instruction *softmax_back =
        loss_back == NULL
            ? NULL
            : dl_fuse_user(program, DL_OP_SOFTMAX_BACKWARD, SOFTMAX_BACK_DY, loss_back->slot[LOSS_BACK_DP]);
    if (loss == NULL || (loss_back != NULL && softmax_back == NULL)) {
        return;
    }
    const int expected = 2 + (accuracy != NULL) + (loss_back != NULL ? 2 : 0);
    if (dl_fuse_count_uses(program, p) != expected) {
        return;
    }
    dl_instruction fused = *loss;
    fused.kind = DL_OP_SOFTMAX_CROSS_ENTROPY;
    fused.slot[0] = x;
    fused.slot[1] = loss->slot[LOSS_LABELS];
    fused.slot[2] = loss->slot[LOSS_LOSS];
    fused.slot[3] = softmax_back == NULL ? -1 : softmax_back->slot[SOFTMAX_BACK_DX];
    if (loss_back != NULL) {
        fused.attr = loss_back->attr;
    }
    if (!dl_fuse_device_takes(c, &fused)) {
        return;
    }
    *loss = fused;
    softmax->type = DL_DO_NOTHING;
    if (accuracy != NULL) {
        accuracy->slot[0] = x;
    }
    if (loss_back != NULL) {
        loss_back->type = softmax_back->type = DL_DO_NOTHING;
    }
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
        } else if (instruction->kind == DL_OP_SOFTMAX_FORWARD) {
            fuse_loss(c, instruction);
        } else if (instruction->kind == DL_OP_ACTIVATION_BACKWARD) {
            fuse_pooling_backward(c, instruction);
        }
    }
    return dl_drop_dead_instructions(c->program);
}
