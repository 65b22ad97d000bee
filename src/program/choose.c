#define _GNU_SOURCE
#include "program/choose.h"

#include "base/log.h"
#include "program/choice_cache.h"
#include "program/choose_parts.h"

#include <limits.h>

void dl_choices_destroy(dl_choices **choices) {
    if (*choices != NULL) {
        dl_free(&(*choices)->layer);
        dl_free(choices);
    }
}

/* Takes the choices of the run that goes on, or of an earlier one, or measures and keeps them. */
static dl_status find_choices(const dl_compile *c) {
    char key[DL_DIGEST_TEXT_BYTES], path[PATH_MAX];
    dl_choices *choices = c->plan->choices;
    DL_RETURN_IF_ERROR(dl_choice_key(c->plan, c->program, key));
    dl_choice_cache_path(key, path, sizeof path);
    if (dl_choice_parse(c->plan->options.choices, key, choices)) {
        DL_DEBUG("layouts and algorithms as in the checkpoint");
    } else if (dl_choice_cache_read(path, choices)) {
        DL_DEBUG("layouts and algorithms as measured before: %s", path);
    } else {
        DL_RETURN_IF_ERROR(dl_measure_program(c));
        DL_RETURN_IF_ERROR(dl_measure_recurrent(c));
        dl_choice_cache_write(path, choices);
    }
    return dl_choice_print(c->plan->pool, key, choices);
}

const char *dl_plan_choices(const dl_plan *plan) {
    return plan->choices == NULL ? NULL : plan->choices->text;
}

/* What measurement mostly finds: the device's layout, and its last algorithm (the one with the larger
 * workspace). */
static void guess(dl_choices *choices) {
    for (int layer = 0; layer < choices->n_layers; layer++) {
        choices->layer[layer].blocked = 1;
        for (int pass = 1; pass < DL_N_CHOICE_KINDS; pass++) { /* the forward pass mostly stays direct */
            choices->layer[layer].algorithm[1][pass] = 1;
        }
    }
}

/* Rank 0 finds them, all follow. A dry plan takes what an earlier run measured, else it guesses. */
static dl_status make_choices(const dl_compile *c) {
    dl_plan *plan = c->plan;
    const size_t n_layers = (size_t)c->model->n_layers;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *plan->choices, &plan->choices));
    DL_RETURN_IF_ERROR(dl_alloc(n_layers, sizeof *plan->choices->layer, &plan->choices->layer));
    plan->choices->n_layers = c->model->n_layers;
    plan->choices->made = plan->options.measure;
    if (!plan->options.measure) {
        return DL_OK;
    }
    if (plan->options.grid == NULL) {
        char key[DL_DIGEST_TEXT_BYTES], path[PATH_MAX];
        DL_RETURN_IF_ERROR(dl_choice_key(plan, c->program, key));
        dl_choice_cache_path(key, path, sizeof path);
        if (!dl_choice_cache_read(path, plan->choices)) {
            guess(plan->choices);
        }
        return DL_OK;
    }
    dl_comm *comm = plan->options.grid->world;
    const dl_status status = comm->rank == 0 ? find_choices(c) : DL_OK;
    DL_RETURN_IF_ERROR(dl_comm_agree(comm, status, NULL));
    return comm->functions->broadcast(comm, plan->choices->layer, n_layers * sizeof *plan->choices->layer, 0);
}

dl_status dl_choose_layouts(dl_compile *c) {
    if (c->program->kind != DL_PROGRAM_TRAIN) {
        return DL_OK;
    }
    if (c->plan->choices == NULL) {
        DL_RETURN_IF_ERROR(make_choices(c));
    }
    if (!c->plan->choices->made) {
        return DL_OK;
    }
    dl_apply_recurrent(c);
    return dl_apply_layouts(c);
}
