#include "train/diverged.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 256 };

/* One rank's finding: its first bad instruction, and what that is. */
typedef struct finding {
    int32_t instruction; /* -1: none */
    char text[TEXT_BYTES];
} finding;

static void describe(const dl_session *session, const dl_program *program, int at, finding *out) {
    const dl_instruction *instruction = &program->instruction[at];
    char name[64];
    out->instruction = at;
    const char *layer =
        instruction->layer >= 0 ? session->model->layer[instruction->layer].name : "the input";
    (void)snprintf(out->text, sizeof out->text,
                   "the first bad value came from %s in the %s pass of layer '%s'",
                   dl_instruction_name(instruction, name), dl_phase_name(instruction->phase), layer);
    if (instruction->kind == DL_OP_SOFTMAX_CROSS_ENTROPY ||
        instruction->kind == DL_OP_CROSS_ENTROPY_FORWARD || instruction->kind == DL_OP_ERROR_FORWARD) {
        (void)snprintf(out->text, sizeof out->text, "the first bad value is the loss");
    }
}

dl_status dl_diverged_find(dl_session *session, int program, const dl_host_batch *batch,
                           char where[DL_DIVERGED_BYTES]) {
    finding mine = {.instruction = -1};
    int at = -1;
    DL_RETURN_IF_ERROR(dl_execute_until_bad(session->plan, program, batch, &at));
    if (at >= 0) {
        describe(session, session->plan->program[program], at, &mine);
    }
    finding *all = NULL;
    const int n = session->world->size;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *all, &all));
    const dl_status status = session->world->functions->all_gather(session->world, &mine, sizeof mine, all);
    int first = -1;
    for (int r = 0; r < n; r++) {
        if (all[r].instruction >= 0 && (first < 0 || all[r].instruction < all[first].instruction)) {
            first = r;
        }
    }
    (void)snprintf(where, DL_DIVERGED_BYTES, "the sum over the ranks overflowed");
    if (first >= 0) {
        (void)snprintf(where, DL_DIVERGED_BYTES, "%s, on rank %d", all[first].text, first);
    }
    dl_free(&all);
    return status;
}

dl_status dl_diverged_stop(const dl_session *session, int64_t step, int64_t skipped, const char *where) {
    char before[96] = "";
    if (skipped > 0) {
        (void)snprintf(before, sizeof before, ", after %lld skipped in a row (train.max_skips)",
                       (long long)skipped);
    }
    const dl_status status = dl_error_raise(
        DL_ERR_DIVERGED, __FILE__, __LINE__, __func__,
        "training diverged at step %lld%s: a gradient is NaN or infinite; %s. The weights of "
        "step %lld are unchanged. Try a lower train.optimizer learning_rate or a longer warm-up",
        (long long)step, before, where, (long long)(step - skipped - 1));
    return dl_comm_agree(session->world, status, NULL);
}
