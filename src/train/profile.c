#include "train/profile.h"

#include <stdio.h>
#include <stdlib.h>

struct dl_step_profile {
    int n_programs;
    dl_profile by_program[DL_MAX_PROGRAMS];
};

void dl_step_profile_destroy(dl_step_profile **profile) {
    if (*profile == NULL) {
        return;
    }
    for (int i = 0; i < (*profile)->n_programs; i++) {
        dl_free(&(*profile)->by_program[i].seconds);
    }
    dl_free(profile);
}

dl_status dl_step_profile_create(bool on, const dl_plan *plan, dl_step_profile **out) {
    *out = NULL;
    if (!on) {
        return DL_OK;
    }
    dl_step_profile *profile = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *profile, &profile));
    dl_status status = DL_OK;
    for (int i = 0; i < plan->n_programs && status == DL_OK; i++) {
        status = dl_alloc((size_t)plan->program[i]->n_instructions, sizeof(double),
                          &profile->by_program[i].seconds);
        profile->n_programs = i + 1;
    }
    if (status != DL_OK) {
        dl_step_profile_destroy(&profile);
        return status;
    }
    *out = profile;
    return DL_OK;
}

dl_status dl_step_profile_run(dl_step_profile *profile, dl_plan *plan, int program,
                              const dl_host_batch *batch) {
    if (profile == NULL) {
        return dl_execute(plan, program, batch);
    }
    return dl_execute_profiled(plan, program, batch, &profile->by_program[program]);
}

typedef struct row {
    double seconds;
    int instruction;
} row;

static int slower_first(const void *left, const void *right) {
    const row *a = left, *b = right;
    return a->seconds > b->seconds ? -1 : a->seconds < b->seconds;
}

/* "all_reduce bucket 0": which of them the ranks waited for. */
static const char *row_name(const dl_program *program, const dl_instruction *instruction, char out[128]) {
    char kind[64];
    const char *what = dl_instruction_name(instruction, kind);
    if (instruction->type == DL_DO_ALL_REDUCE && instruction->slot[0] >= 0) {
        (void)snprintf(out, 128, "%s %.60s", what, program->slot[instruction->slot[0]].name);
    } else {
        (void)snprintf(out, 128, "%s", what);
    }
    return out;
}

static void show_row(const dl_plan *plan, const dl_program *program, const row *r, double share, double runs,
                     dl_console *console) {
    const dl_instruction *instruction = &program->instruction[r->instruction];
    const dl_op *op = dl_instruction_op(instruction);
    char name[128];
    dl_console_note(console, "%8.3f ms %5.1f %%  %-34s %-18s %s", 1e3 * r->seconds / runs, 100.0 * share,
                    row_name(program, instruction, name),
                    instruction->layer >= 0 ? plan->options.model->layer[instruction->layer].name : "-",
                    op != NULL ? op->implementation : "");
}

/* What the ranks' exchanges cost this rank, whatever the share of each. */
static void show_waits(const dl_profile *profile, const dl_program *program, double total,
                       dl_console *console) {
    double waited = 0.0;
    int n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        if (program->instruction[i].type == DL_DO_ALL_REDUCE) {
            waited += profile->seconds[i];
            n++;
        }
    }
    dl_console_note(console, "%8.3f ms %5.1f %%  in %d all-reduces together, waiting and adding",
                    1e3 * waited / (double)profile->n_runs, 100.0 * waited / total, n);
}

static dl_status show_program(const dl_profile *profile, const dl_plan *plan, const dl_program *program,
                              dl_console *console) {
    row *rows = NULL;
    double total = 0.0;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_instructions, sizeof *rows, &rows));
    for (int i = 0; i < program->n_instructions; i++) {
        rows[i] = (row){profile->seconds[i], i};
        total += profile->seconds[i];
    }
    qsort(rows, (size_t)program->n_instructions, sizeof *rows, slower_first);
    dl_console_note(console, "profile of a step of %lld samples: %.3f ms in %lld runs",
                    (long long)program->global_samples, 1e3 * total / (double)profile->n_runs,
                    (long long)profile->n_runs);
    for (int i = 0; i < program->n_instructions && rows[i].seconds > 0.001 * total; i++) {
        show_row(plan, program, &rows[i], rows[i].seconds / total, (double)profile->n_runs, console);
    }
    show_waits(profile, program, total, console);
    dl_free(&rows);
    return DL_OK;
}

dl_status dl_step_profile_show(const dl_step_profile *profile, const dl_plan *plan, dl_console *console) {
    for (int i = 0; profile != NULL && i < profile->n_programs; i++) {
        if (profile->by_program[i].n_runs > 0) {
            DL_RETURN_IF_ERROR(show_program(&profile->by_program[i], plan, plan->program[i], console));
        }
    }
    return DL_OK;
}
