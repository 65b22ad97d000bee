/* A plan: the programs of a run (full training batch, short last batch, evaluation batches) and the memory
 * they share. Everything is decided before the first step: algorithms, layouts, workspaces, addresses. A step
 * allocates nothing and asks nothing. */
#ifndef DLTRAIN_PROGRAM_PLAN_H
#define DLTRAIN_PROGRAM_PLAN_H

#include "kernels/common/blocks.h"
#include "program/partition.h"
#include "program/program.h"

/* The optimizer as the compiler sees it: an operation over arena ranges. */
enum { DL_MAX_STATES = 3 };

typedef struct dl_update_rule {
    dl_op_kind kind; /* slots w, g, INOUT slots of the states, step, totals, control, norm (optional) */
    dl_op_attr attr;
    int n_states;                     /* f32 per parameter element */
    const char *state[DL_MAX_STATES]; /* the kind's slots for them, in the order of their arenas */
} dl_update_rule;

typedef struct dl_plan_options {
    const dl_model *model;         /* of the partition, where there is one */
    const dl_partition *partition; /* NULL: no rank shares layers with another */
    dl_device *device;
    const dl_grid *grid; /* NULL: nothing will be run (check) */
    int n_ranks, rank;   /* of the data axis */
    int64_t batch_size;  /* global */
    int accumulate;      /* micro-batches a step */
    bool reproducible;
    bool measure;        /* choose layouts and algorithms by measurement; otherwise by rule */
    const char *choices; /* those of the run that goes on (dl_plan_choices), NULL: none; rank 0's count */
    bool fuse;           /* the fusion pass (tests switch it off) */
    bool as_gpu;         /* on ref: only fusions that backend cuda makes, too (check --device) */
    bool capture;        /* hand over whole runs in one piece where the backend can keep one (CUDA graphs) */
    dl_dtype half; /* DL_BF16 or DL_F16: of activations and of weights as kernels read them; others: none */
    bool predict;  /* evaluation programs keep the scores of their samples for the host */
    /* They compute nothing else: no loss, no metric, nothing that needs labels or other ranks. With `predict`
     * alone, for one rank. */
    bool forward_only;
    dl_update_rule update;
    double ema_decay;  /* of the averaged parameters that evaluation programs read; 0: they read the trained
                          ones */
    double loss_scale; /* the loss scale that training begins with; 0: losses are not scaled */
    double clip_norm;  /* largest norm of the mean gradient; 0: no limit, and no norm is computed */
    int n_fields;      /* names of the batch's fields, in order: "x", "y" */
    const char *const *fields;
} dl_plan_options;

/* A parameter as some kernels want it. */
typedef struct dl_copy {
    int parameter;
    dl_dtype dtype;
    const dl_layout *layout; /* NULL: plain */
    size_t offset;           /* in DL_STORE_COPY */
    bool averaged;           /* of the parameter's moving average */
    bool in_training, in_evaluation;
} dl_copy;

/* Sums that ranks exchange amid a step: those of one layer and kind, in every program. */
typedef struct dl_exchange {
    int layer;
    dl_op_kind kind;
    int64_t n_elements; /* float64, of each block */
    size_t offset;      /* of the first block in DL_STORE_EXCHANGE; the others follow */
} dl_exchange;

/* A prepared collective, and the communicator it is of (borrowed). */
typedef struct dl_plan_collective {
    dl_comm *comm;
    dl_collective *collective;
} dl_plan_collective;

/* What a run leaves for the host to read. */
typedef struct dl_outcome {
    double totals[DL_N_TOTALS];
    int32_t control[DL_N_CONTROLS];
    double norm[DL_N_NORMS];   /* of the mean gradient; training with train.clip_norm only, else 0 */
    double scale[DL_N_SCALES]; /* the loss scale behind the run; where losses are scaled, else 0 */
} dl_outcome;

/* DL_STORE_STATE: the samples seen, and from here on the averaged parameters, in the order of their arena;
 * then the loss scale (dl_loss_scale_offset), then what layers carry. */
#define DL_EMA_OFFSET ((size_t)DL_PAGE_BYTES)

/* DL_STORE_CONTROL: on pages of their own, for the fences of ref:strict; but the moments come right behind
 * the totals, so that one exchange sums both. */
enum {
    DL_STEP_OFFSET = 0,
    DL_CONTROL_OFFSET = DL_PAGE_BYTES,
    DL_NORM_OFFSET = 2 * DL_PAGE_BYTES,
    DL_TOTALS_OFFSET = 3 * DL_PAGE_BYTES,
    DL_MOMENTS_OFFSET = DL_TOTALS_OFFSET + DL_N_TOTALS * sizeof(double)
};

enum { DL_MAX_PROGRAMS = 64 };

typedef struct dl_choices dl_choices; /* layouts and algorithms taken (choose.h) */

typedef struct dl_plan {
    dl_plan_options options;
    dl_pool *pool;
    dl_device *single; /* the same device with one thread, for parts run side by side; NULL when not needed */
    int n_programs;
    dl_program *program[DL_MAX_PROGRAMS];
    int n_blocks; /* gradient arenas of this rank: 1, or one for each tree block */
    dl_range block_pieces[DL_MAX_BLOCKS];
    int n_copies;
    dl_copy *copy;
    int64_t capacity_copies;
    int n_exchanges;
    dl_exchange *exchange;
    int64_t capacity_exchanges;
    dl_choices *choices;
    size_t bytes[DL_N_STORAGES];
    void *zeros;                 /* on the host: what a state begins with */
    void *memory[DL_N_STORAGES]; /* after finish; the gradient arenas are in the communicator's memory */
    int n_collectives;
    /* On backends with streams (streams.h); NULL on others. */
    dl_stream *stream[DL_N_LANES];
    int n_events;        /* of the program that has the most: programs run one after the other */
    dl_event **event;    /* [n_events] by the numbers of the list */
    dl_event **end;      /* ends of the last runs, in turns */
    dl_outcome *outcome; /* what they leave, on the host, where the device puts it by itself */
    dl_event **lane_end; /* [DL_N_LANES] */
    dl_event **landed;   /* [1] behind the last copy out of where loads land */
    size_t landing;      /* offset in DL_STORE_INPUT of where loads land (streams.h), 0: in their slots */
    int64_t n_runs;
    dl_plan_collective *collective; /* buckets, then totals, control, exchanges, those of the tensor axis */
    bool sealed;
} dl_plan;

/* Starts a plan. Copies *options; what they point to must outlive the plan. Not collective. */
DL_NODISCARD dl_status dl_plan_create(const dl_plan_options *options, dl_plan **out);

/* Compiles a program for a step over `global_samples` samples (or finds the one made before) and returns its
 * number in *index. The full training program must be added first: it makes the choices the others follow.
 * Collective over all ranks when options.measure is set (rank 0 measures and broadcasts). */
DL_NODISCARD dl_status dl_plan_add(dl_plan *plan, dl_program_kind kind, int64_t global_samples, int *index);

/* The same for sequences of `length` positions, in a model that leaves the length open (a bucket of ragged
 * samples); 0: as the model says. */
DL_NODISCARD dl_status dl_plan_add_length(dl_plan *plan, dl_program_kind kind, int64_t global_samples,
                                          int64_t length, int *index);

/* Completes the programs: packs, places, sizes; checks each one. No memory is taken. Nothing can be added
 * afterwards. */
DL_NODISCARD dl_status dl_plan_seal(dl_plan *plan);

/* Seals, takes all memory, prepares collectives, gives every slot its address. Collective over all ranks. */
DL_NODISCARD dl_status dl_plan_finish(dl_plan *plan);

/* Bytes of each storage, known once the plan is sealed. */
void dl_plan_memory(const dl_plan *plan, size_t bytes[DL_N_STORAGES]);

/* Are losses scaled? Then where DL_N_SCALES float64 of the loss scale are in DL_STORE_STATE. */
bool dl_plan_scales(const dl_plan *plan);
size_t dl_loss_scale_offset(const dl_plan *plan);

/* What layers carry from step to step begins anew, with zeros, for this kind of program (training and
 * evaluation carry their own). For the first batch of a pass. Not collective. */
DL_NODISCARD dl_status dl_plan_clear_state(dl_plan *plan, dl_program_kind kind);

/* What training carries in a STATE value of the model: [rows of the global batch, ...]; this rank has `rows`
 * of them, one after another from `device` on. */
typedef struct dl_carried {
    dl_shape shape;
    dl_range rows;
    char *device;
} dl_carried;

/* Fills *out for value `v` and returns true, or false when it is no STATE value. After dl_plan_finish. */
bool dl_plan_carried(const dl_plan *plan, int v, dl_carried *out);

void dl_plan_destroy(dl_plan **plan);

/* Layouts and algorithms as a line of text, to be kept with a checkpoint: near a tie measuring again may give
 * other ones, and so other last bits. NULL where nothing was measured, and on ranks other than 0. */
const char *dl_plan_choices(const dl_plan *plan);

/* Address of a slot after dl_plan_finish. */
void *dl_slot_address(const dl_plan *plan, const dl_program *program, int slot);

/* The exchanges of all programs over the ranks of an axis (DL_N_AXES: over all), in the order in which this
 * rank takes part in them: a line for each, for dl_comm_compare. Ranks whose orders differ would meet in the
 * wrong exchange, or wait for ever. After dl_plan_seal. */
DL_NODISCARD dl_status dl_plan_exchanges(const dl_plan *plan, dl_axis_name axis, dl_text *out);

/* The list for a person: number, lane, phase, operation, layer, slots with layouts, implementation. */
DL_NODISCARD dl_status dl_program_print(const dl_plan *plan, const dl_program *program, dl_text *out);

#endif
