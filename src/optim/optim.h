/* Optimizers and learning-rate schedules.
 *
 * An optimizer is one row of optimizers.def and one file: its options, how many values it keeps per
 * parameter, and how it describes its update of a run of parameters as an operation (kernels/op.h). The
 * arithmetic is the backend's. A schedule is one row of schedules.def and one file: a pure function of the
 * samples seen, so that resuming and other numbers of ranks need no state.
 *
 * Updates are PyTorch's formulas (torch.optim.SGD, Adam, RMSprop). With g the gradient summed over the
 * samples of the global batch, already scaled by 1/capacity, W the batch's true weight (samples or unmasked
 * tokens), r the learning rate, t the number of this optimizer step from 1:
 *
 *   g' = g * capacity / W + weight_decay * w          (coupled weight decay)
 *   sgd:      v = momentum * v + g'
 *             w -= r * v                              (momentum 0: w -= r * g')
 *   nesterov: v = momentum * v + g'
 *             w -= r * (g' + momentum * v)
 *   adam:     m = beta_1 m + (1 - beta_1) g'
 *             v = beta_2 v + (1 - beta_2) g'^2        (Kingma and Ba, 2015)
 *             w -= r * (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)
 *   rmsprop:  s = rho s + (1 - rho) g'^2              (Tieleman and Hinton, 2012)
 *             m = rho m + (1 - rho) g'                (centered; Graves, 2013. Otherwise m = 0)
 *             v = momentum v + g' / (sqrt(s - m^2) + epsilon)
 *             w -= r * v
 *
 * With train.clip_norm g' without the weight decay is first multiplied by min(1, clip_norm / (norm + 1e-6)),
 * its norm taken over all parameters. r is the schedule's rate times the layer's learning_rate_factor.
 *
 * All slots start at zero. */
#ifndef DLTRAIN_OPTIM_OPTIM_H
#define DLTRAIN_OPTIM_OPTIM_H

#include "config/option.h"
#include "kernels/op.h"

enum { DL_OPTIMIZER_MAX_SLOTS = 3 };

/* A value kept for every trainable parameter: one f32 arena of the parameter arena's size, at first zero. */
typedef struct dl_optimizer_slot {
    const char *name;    /* in checkpoints and messages: "momentum", "m", "v" */
    const char *op_slot; /* the update operation's slot that it is bound to */
} dl_optimizer_slot;

/* An optimizer kind; `values` is the struct that its options fill (dl_variant.values). */
typedef struct dl_optimizer {
    const dl_variant_kind kind;
    dl_op_kind update; /* its slots: w (inout), g, those of slot[], step, totals, control, norm */
    dl_optimizer_slot slot[DL_OPTIMIZER_MAX_SLOTS];
    bool (*needs_slot)(const void *values, int i); /* whether these options need slot[i], i in 0..MAX-1 */
    double (*learning_rate)(const void *values);
    void (*attributes)(const void *values, double capacity, dl_op_attr *out);
    /* A mistake that the option table cannot see, as a sentence; NULL when there is none. May be NULL. */
    const char *(*mistake)(const void *values);
} dl_optimizer;

/* What the option table of the configuration needs: all kinds, NULL-terminated, in the order of the .def
 * file. */
const dl_variant_kind *const *dl_optimizer_kinds(void);
const dl_variant_kind *const *dl_schedule_kinds(void);

/* The optimizer of this name, or NULL. */
const dl_optimizer *dl_optimizer_find(const char *name);

/* The optimizer that a checked configuration chose; never NULL for a variant out of dl_optimizer_kinds(). */
const dl_optimizer *dl_optimizer_of(const dl_variant *chosen);

/* Reports option values that do not go together (nesterov without momentum) at the place of the optimizer. */
DL_NODISCARD dl_status dl_optimizer_check(const dl_variant *chosen, dl_diagnostics *diagnostics);

/* Number of f32 slots per parameter: 0 to DL_OPTIMIZER_MAX_SLOTS. */
int dl_optimizer_slots(const dl_variant *chosen);

/* The i-th of the slots that the options need, 0 <= i < dl_optimizer_slots(). */
const dl_optimizer_slot *dl_optimizer_slot_at(const dl_variant *chosen, int i);

/* The learning rate before the schedule. */
double dl_optimizer_base_rate(const dl_variant *chosen);

/* Describes the update of a range of n_elements parameters. capacity: samples (tokens) of a full global
 * batch, what the loss gradient was scaled by. Block slots are plain bytes and numbers: step uint8
 * [sizeof(dl_step_block)], totals float64 [DL_N_TOTALS], control int32 [DL_N_CONTROLS]. DL_ERR_INTERNAL when
 * the kernel lacks a slot. */
DL_NODISCARD dl_status dl_optimizer_describe(const dl_variant *chosen, double capacity, int64_t n_elements,
                                             dl_op_desc *out);

/* Where training is when a step starts. */
typedef struct dl_progress {
    int64_t samples_seen;  /* by all ranks, before this step */
    int64_t batch_size;    /* of a full global batch */
    int64_t total_samples; /* of the whole training as configured; 0 when unknown (counts as never reached) */
    int64_t epoch_samples; /* of one pass over the training samples */
} dl_progress;

/* The learning rate of the step that starts at this point. With s samples seen, batch size B, base rate r:
 *
 *   warm-up:  r' = r * min(1, (s + B) / (warmup_steps * B))
 *             for every schedule; linear (Goyal et al., 2017): the first step has r / warmup_steps, and
 *             step number warmup_steps is the first one with r
 *   constant: r'
 *   cosine:   after the warm-up r * (final + (1 - final) * (1 + cos(pi p)) / 2)
 *             with p = (s - s0) / (total - s0) in 0..1 and s0 = warmup_steps * B
 *             (Loshchilov and Hutter, 2017, without restarts)
 *   polynomial: after the warm-up r * (final + (1 - final) * (1 - p)^power)
 *
 * and with e = s / (samples of an epoch), the epochs passed since training began:
 *
 *   step:     r' * factor^(number of entries of `epochs` that are <= e), or r' * factor^floor(e / every)
 *   exponential: r' * factor^((e - start) / every) where e > start; the exponent rounded down with
 * `staircase` */
double dl_schedule_rate(const dl_variant *schedule, double base_rate, const dl_progress *progress);

/* Where a step stands, as schedules see it. */
typedef struct dl_schedule_point {
    double share;  /* of the samples after the warm-up, 0..1 */
    double epochs; /* passed since training began */
} dl_schedule_point;

/* A schedule kind: its options, the steps of warm-up, and its factor of the base rate after them. */
typedef struct dl_schedule {
    const dl_variant_kind kind;
    int64_t (*warmup_steps)(const void *values);
    double (*factor)(const void *values, const dl_schedule_point *point);
    /* A mistake that the option table cannot see, as a sentence; NULL when there is none. May be NULL. */
    const char *(*mistake)(const void *values);
} dl_schedule;

/* Reports option values that do not go together at the place of the schedule. */
DL_NODISCARD dl_status dl_schedule_check(const dl_variant *chosen, dl_diagnostics *diagnostics);

#endif
