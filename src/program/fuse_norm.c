/* Fusions of batch normalization: with the sum of a residual connection and relu behind it; of its backward
 * passes with relu's. */
#include "program/compile.h"

enum { NORM_RESIDUAL = 2, NORM_Y = 3 };
enum { ADD_A = 0, ADD_B = 1, ADD_Y = 2 };
enum { ACT_BACK_Y = 0, ACT_BACK_DY = 1, ACT_BACK_DX = 2 };
enum { NORM_BACK_DY = 0 };

/* The batch normalization whose output is `slot`, and of nobody's use but the instruction asking. */
static dl_instruction *normalization_of(dl_program *program, int slot) {
    dl_instruction *norm = dl_fuse_user(program, DL_OP_BATCH_NORM_FORWARD, NORM_Y, slot);
    const bool open = norm != NULL && norm->slot[NORM_RESIDUAL] < 0 && norm->attr.activation == DL_ACT_NONE &&
                      dl_fuse_count_uses(program, slot) == 2;
    return open ? norm : NULL;
}

/* y = a + b, one of which is a batch normalization: it adds the other. It runs where the sum did, for the
 * other may be made later than its own input. */
static void fuse_residual(dl_compile *c, dl_instruction *sum) {
    for (int own = ADD_A; own <= ADD_B; own++) {
        dl_instruction *norm = normalization_of(c->program, sum->slot[own]);
        if (norm == NULL || sum->slot[ADD_A] == sum->slot[ADD_B] || sum->phase != DL_PHASE_FORWARD) {
            continue;
        }
        dl_instruction fused = *norm;
        fused.slot[NORM_RESIDUAL] = sum->slot[ADD_A + ADD_B - own];
        fused.slot[NORM_Y] = sum->slot[ADD_Y];
        if (dl_fuse_device_takes(c, &fused)) {
            norm->type = DL_DO_NOTHING;
            *sum = fused;
            return;
        }
    }
}

/* The relu of a plain batch normalization is found again from its input: the backward kinds need no mask. */
static void fuse_relu_backward(dl_compile *c, dl_instruction *relu) {
    dl_program *program = c->program;
    const dl_instruction *norm =
        dl_fuse_user(program, DL_OP_BATCH_NORM_FORWARD, NORM_Y, relu->slot[ACT_BACK_Y]);
    const int dx = relu->slot[ACT_BACK_DX];
    dl_instruction *sums = dl_fuse_user(program, DL_OP_BATCH_NORM_BACKWARD_SUMS, NORM_BACK_DY, dx);
    dl_instruction *data = dl_fuse_user(program, DL_OP_BATCH_NORM_BACKWARD_DATA, NORM_BACK_DY, dx);
    if (relu->attr.activation != DL_ACT_RELU || norm == NULL || norm->attr.activation != DL_ACT_RELU ||
        norm->slot[NORM_RESIDUAL] >= 0 || (sums == NULL && data == NULL) ||
        dl_fuse_count_uses(program, dx) != 1 + (sums != NULL) + (data != NULL)) {
        return;
    }
    dl_instruction *const both[] = {sums, data};
    for (int i = 0; i < 2; i++) {
        if (both[i] != NULL) {
            both[i]->attr.activation = DL_ACT_RELU;
            both[i]->slot[NORM_BACK_DY] = relu->slot[ACT_BACK_DY];
        }
    }
    relu->type = DL_DO_NOTHING;
}

void dl_fuse_norm(dl_compile *c, dl_instruction *instruction) {
    if (instruction->kind == DL_OP_ADD) {
        fuse_residual(c, instruction);
    } else if (instruction->kind == DL_OP_ACTIVATION_BACKWARD) {
        fuse_relu_backward(c, instruction);
    }
}
