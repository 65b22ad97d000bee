/* Algorithms of recurrent layers. What the forward pass saves is the algorithm's own, so the passes are
 * measured together and take the same one. */
#include "program/choose_parts.h"

#include "base/log.h"

#include <math.h>

/* A forward instruction and the backward one that reads what it saves. */
typedef struct passes {
    const dl_instruction *forward, *backward;
} passes;

/* The passes that end with this instruction; false when it ends none. */
static bool find_passes(const dl_program *program, const dl_instruction *instruction, passes *out) {
    if (instruction->type != DL_DO_OPERATION || instruction->kind != DL_OP_LSTM_LAYER_BACKWARD ||
        instruction->forward < 0) {
        return false;
    }
    *out = (passes){&program->instruction[instruction->forward], instruction};
    return true;
}

static int n_algorithms(const dl_compile *c, const dl_instruction *instruction) {
    const dl_op_desc desc = dl_candidate_desc(c, instruction, false);
    return dl_device_n_algorithms(c->plan->options.device, &desc);
}

/* --- measuring --- */

/* Both passes prepared; what is saved lies in the forward pass's slots. */
typedef struct trial {
    dl_device *device;
    dl_op *forward, *backward;
    void *forward_slots[DL_MEASURE_SLOTS], *backward_slots[DL_MEASURE_SLOTS];
} trial;

/* The forward slot that a backward one reads, -1: none. */
static int saved_slot(int i) {
    const dl_op_info *info = dl_op_info_of(DL_OP_LSTM_LAYER_BACKWARD);
    return i < info->n_slots && info->slots[i].saved && info->slots[i].role == DL_SLOT_IN
               ? dl_op_slot(dl_op_info_of(DL_OP_LSTM_LAYER_FORWARD), info->slots[i].name)
               : -1;
}

static dl_status prepare(const dl_compile *c, const passes *p, int algorithm, trial *t) {
    dl_op_desc forward = dl_candidate_desc(c, p->forward, false);
    dl_op_desc backward = dl_candidate_desc(c, p->backward, false);
    forward.algorithm = backward.algorithm = algorithm;
    DL_RETURN_IF_ERROR(dl_op_prepare(t->device, &forward, NULL, &t->forward));
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        if (backward.slot[i].present && saved_slot(i) >= 0) {
            backward.slot[i].layout = t->forward->layout[saved_slot(i)];
        }
    }
    return dl_op_prepare(t->device, &backward, t->forward, &t->backward);
}

static dl_status take_memory(trial *t) {
    DL_RETURN_IF_ERROR(dl_measure_take(t->device, t->forward, t->forward_slots));
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        if (t->backward->desc.slot[i].present && saved_slot(i) >= 0) {
            t->backward_slots[i] = t->forward_slots[saved_slot(i)];
        }
    }
    return dl_measure_take(t->device, t->backward, t->backward_slots);
}

static void end_trial(trial *t) {
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        t->backward_slots[i] = saved_slot(i) >= 0 ? NULL : t->backward_slots[i];
    }
    if (t->backward != NULL) {
        dl_measure_release(t->device, t->backward, t->backward_slots);
    }
    if (t->forward != NULL) {
        dl_measure_release(t->device, t->forward, t->forward_slots);
    }
    dl_op_destroy(&t->backward);
    dl_op_destroy(&t->forward);
}

static dl_status time_both(trial *t, double *seconds) {
    double there = 0.0, back = 0.0;
    DL_RETURN_IF_ERROR(take_memory(t));
    DL_RETURN_IF_ERROR(dl_measure_runs(t->forward, t->forward_slots, &there));
    DL_RETURN_IF_ERROR(dl_measure_runs(t->backward, t->backward_slots, &back));
    *seconds = there + back;
    return DL_OK;
}

static dl_status measure_passes(const dl_compile *c, const passes *p, int algorithm, double *seconds) {
    trial t = {.device = c->plan->options.device};
    dl_status status = prepare(c, p, algorithm, &t);
    status = status == DL_OK ? time_both(&t, seconds) : status;
    end_trial(&t);
    return status;
}

/* Seconds of the layer's passes with each of n algorithms; infinity: it fails. */
static dl_status measure_layer(const dl_compile *c, int layer, int n, double *seconds) {
    const dl_program *program = c->program;
    passes p;
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (instruction->layer != layer || instruction->micro > 0 || !find_passes(program, instruction, &p)) {
            continue;
        }
        dl_status status = DL_OK;
        int n_failed = 0;
        for (int a = 0; a < n; a++) {
            double taken = 0.0;
            const dl_status outcome = measure_passes(c, &p, a, &taken);
            status = outcome == DL_OK ? status : outcome;
            if (!dl_measure_goes_on(c->plan->options.device, outcome)) {
                return outcome;
            }
            n_failed += outcome != DL_OK;
            seconds[a] += outcome == DL_OK ? taken : INFINITY;
        }
        DL_RETURN_IF_ERROR(n_failed == n ? status : DL_OK);
    }
    return DL_OK;
}

/* As many as all of the layer's passes have; 0: it has none. */
static int algorithms_of(const dl_compile *c, int layer) {
    int n = 0;
    passes p;
    for (int i = 0; i < c->program->n_instructions; i++) {
        const dl_instruction *instruction = &c->program->instruction[i];
        if (instruction->layer == layer && instruction->micro <= 0 &&
            find_passes(c->program, instruction, &p)) {
            const int has = n_algorithms(c, p.forward);
            n = n == 0 || has < n ? has : n;
        }
    }
    return n;
}

dl_status dl_measure_recurrent(const dl_compile *c) {
    enum { MAX = 8 };
    for (int layer = 0; layer < c->plan->choices->n_layers; layer++) {
        double seconds[MAX] = {0.0};
        int n = algorithms_of(c, layer), best = 0;
        n = n < MAX ? n : MAX;
        if (n < 2) {
            continue;
        }
        DL_RETURN_IF_ERROR(measure_layer(c, layer, n, seconds));
        for (int a = 0; a < n; a++) {
            best = seconds[a] < seconds[best] ? a : best;
            DL_DEBUG("layer %s, algorithm %d: %.3f ms", c->model->layer[layer].name, a, 1e3 * seconds[a]);
        }
        c->plan->choices->layer[layer].recurrent = (int8_t)best;
    }
    return DL_OK;
}

/* --- applying --- */

static bool has_algorithm(const dl_compile *c, const dl_instruction *instruction, int algorithm) {
    const dl_op_desc desc = dl_candidate_desc(c, instruction, false);
    return dl_device_algorithm_name(c->plan->options.device, &desc, algorithm) != NULL;
}

/* Where there are fewer algorithms for another number of samples, the default does. */
void dl_apply_recurrent(dl_compile *c) {
    dl_program *program = c->program;
    passes p;
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *backward = &program->instruction[i];
        if (find_passes(program, backward, &p) && backward->layer >= 0) {
            const int chosen = c->plan->choices->layer[backward->layer].recurrent;
            const bool offered = chosen > 0 && has_algorithm(c, p.forward, chosen);
            backward->algorithm = offered ? chosen : 0;
            program->instruction[backward->forward].algorithm = backward->algorithm;
        }
    }
}
