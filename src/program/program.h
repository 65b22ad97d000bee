/* A program: one straight list of instructions for one kind of step, on one rank and one backend.
 *
 * A plan holds the programs of a run (full training batch, short last batch, evaluation batches) and the
 * memory they share. Everything is decided before the first step: algorithms, layouts, workspaces, addresses.
 * A step allocates nothing and asks nothing; the executor runs the list and does nothing that is not in it.
 */
#ifndef DLTRAIN_PROGRAM_PROGRAM_H
#define DLTRAIN_PROGRAM_PROGRAM_H

#include "base/text.h"
#include "comm/grid.h"
#include "kernels/backend.h"
#include "kernels/common/blocks.h"
#include "program/partition.h"

/* Where a slot lives and for how long. ENTRY(enumerator, name) */
#define DL_STORAGE_LIST(ENTRY)                                                                               \
    ENTRY(DL_STORE_PARAMETER, "parameters")  /* trainable arena */                                           \
    ENTRY(DL_STORE_FROZEN, "frozen")         /* read-only arena */                                           \
    ENTRY(DL_STORE_GRADIENT, "gradients")    /* arenas in the communicator's memory */                       \
    ENTRY(DL_STORE_OPTIMIZER, "optimizer")   /* arenas of moments */                                         \
    ENTRY(DL_STORE_STATE, "state")           /* written by commit instructions only */                       \
    ENTRY(DL_STORE_STATISTICS, "statistics") /* moving averages: state that is saved with the weights */     \
    ENTRY(DL_STORE_EXCHANGE, "exchange")     /* sums over ranks amid a step, in the communicator's memory */ \
    ENTRY(DL_STORE_COPY, "copies")           /* parameters as kernels want them, filled by pack */           \
    ENTRY(DL_STORE_INPUT, "input")           /* loaded from the host for each step */                        \
    ENTRY(DL_STORE_CONTROL, "control")       /* step block, totals, control word */                          \
    ENTRY(DL_STORE_RESULT, "results")        /* scores that the host reads after an evaluation */            \
    ENTRY(DL_STORE_ACTIVATION, "activations") /* placed by liveness */                                       \
    ENTRY(DL_STORE_WORKSPACE, "workspace")    /* placed by liveness; lives for one instruction */

typedef enum dl_storage {
#define DL_STORAGE_ENUM(name, text) name,
    DL_STORAGE_LIST(DL_STORAGE_ENUM)
#undef DL_STORAGE_ENUM
        DL_N_STORAGES
} dl_storage;

const char *dl_storage_name(dl_storage storage);

/* One value of one micro-batch. */
typedef struct dl_slot {
    const char *name;
    int layer, micro; /* -1: none */
    dl_storage storage;
    dl_tensor_desc tensor; /* with its layout */
    size_t n_bytes;
    int view_of;        /* shares the memory of this slot, -1: its own */
    size_t view_offset; /* bytes into it */
    int parameter;      /* row of the parameter table (parameters, gradients, copies), -1 */
    int exchange;       /* number in the plan of the exchange it is a block of, -1 */
    bool partial;       /* made as this rank's part of a sum over the tensor axis */
    int first, last;    /* instructions of its life (of views too), -1: unused */
    size_t offset;      /* bytes into the memory of its storage */
} dl_slot;

typedef enum dl_lane { DL_LANE_COMPUTE, DL_LANE_COMM, DL_LANE_COPY, DL_N_LANES } dl_lane;
typedef enum dl_phase {
    DL_PHASE_LOAD,
    DL_PHASE_FORWARD,
    DL_PHASE_BACKWARD,
    DL_PHASE_REDUCE,
    DL_PHASE_UPDATE,
    DL_PHASE_PACK,
    DL_N_PHASES
} dl_phase;

const char *dl_phase_name(dl_phase phase);
const char *dl_lane_name(dl_lane lane);

typedef enum dl_instruction_type {
    DL_DO_OPERATION,  /* a prepared operation, or one per piece */
    DL_DO_LOAD,       /* host batch -> input slot */
    DL_DO_ALL_REDUCE, /* starts a prepared collective; its event is when it is done */
    DL_DO_NOTHING,    /* taken out by a pass; gone before lowering */
} dl_instruction_type;

/* What LOAD brings: a field of the batch by number, or one of these. */
enum { DL_LOAD_IDS = -1, DL_LOAD_STEP = -2 };

enum { DL_MAX_WAITS = 8 };

/* Part of an instruction that sums over samples in pieces. */
typedef struct dl_part {
    dl_range samples; /* of the micro-batch */
    dl_op *op;        /* NULL: no samples */
} dl_part;

typedef struct dl_instruction {
    dl_instruction_type type;
    dl_op_kind kind;
    dl_op_attr attr;
    int algorithm;
    int slot[DL_OP_MAX_SLOTS + 1]; /* slot numbers, -1 absent; the last entry is the workspace */
    dl_op *op;
    int n_parts; /* 0: whole; else the operation runs once per part, outputs that sum side by side */
    dl_part *part;
    dl_axis_name axis;     /* ALL_REDUCE: over which ranks; DL_N_AXES: all of them */
    int collective;        /* number in the plan, -1: given when the plan is finished (tensor axis) */
    int load;              /* field number or DL_LOAD_... */
    dl_range load_samples; /* of the rank's batch */
    dl_lane lane;
    dl_phase phase;
    int micro, layer; /* -1: none */
    int forward;      /* the forward instruction this is a gradient of, -1 */
    int n_waits;
    int waits[DL_MAX_WAITS]; /* events of other lanes that must have happened */
    int records;             /* event made by this instruction, -1 */
} dl_instruction;

typedef enum dl_program_kind { DL_PROGRAM_TRAIN, DL_PROGRAM_EVALUATE, DL_PROGRAM_REFRESH } dl_program_kind;
const char *dl_program_kind_name(dl_program_kind kind); /* "training" */

typedef struct dl_program {
    dl_program_kind kind;
    int64_t global_samples; /* of the step over all ranks */
    int64_t length;         /* of the sequences, where the model leaves it open; 0: as the model says */
    int64_t local_samples;  /* of this rank */
    int64_t local_begin;    /* first of them in the global batch */
    int n_slots, n_instructions, n_events;
    dl_slot *slot;
    dl_instruction *instruction;
    int64_t capacity_slots, capacity_instructions;
    size_t placed_bytes[DL_N_STORAGES]; /* peak of what was placed by liveness */
    int totals, control, step;          /* slots */
    int moments;    /* slot behind the totals, summed with them: what moving averages are made of; -1 */
    int result;     /* slot for the host: scores of the samples, -1: not kept */
    int norm;       /* slot for the host: the gradient's norm, -1: not computed */
    int loss_scale; /* slot of the state, -1: losses are not scaled */
    dl_pool *pool;  /* names, parts */
    void **pointer; /* addresses, (DL_OP_MAX_SLOTS + 1) for each instruction; set by bind */
    /* On backends with streams. */
    int64_t n_runs;
    dl_capture *capture; /* the list as one piece behind its loads, NULL: not made */
} dl_program;

/* The optimizer as the compiler sees it: an operation over arena ranges. */
enum { DL_MAX_STATES = 3 };

typedef struct dl_update_rule {
    dl_op_kind kind; /* slots w, g, INOUT slots of the states, step, totals, control, norm (optional) */
    dl_op_attr attr;
    int n_states;                     /* f32 per parameter element */
    const char *state[DL_MAX_STATES]; /* the kind's slots for them, in the order of their arenas */
} dl_update_rule;

/* A batch on the host, as LOAD sees it: this rank's samples of one step. */
typedef struct dl_host_batch {
    const void *const *field; /* by field number: [n_samples, ...] */
    const int64_t *ids;
    const dl_step_block *step;
} dl_host_batch;

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

/* Runs a program once. Collective over all ranks when it has collectives. Everything is done on return on
 * backends that run operations at once. On those with streams it has been handed over: the batch may be used
 * again, and a download without stream waits for the results, as dl_plan_outcome does. */
DL_NODISCARD dl_status dl_execute(dl_plan *plan, int program, const dl_host_batch *batch);

/* What run number `run` has left, waiting for it; dl_plan.n_runs counts them. The last are kept: one more
 * than the backend has steps in flight. */
DL_NODISCARD dl_status dl_plan_outcome(const dl_plan *plan, int64_t run, dl_outcome *out);

/* The host waits until the runs handed over are done, looking meanwhile whether another rank has failed
 * (DL_ERR_PEER). On backends that run operations at once there is nothing to wait for. */
DL_NODISCARD dl_status dl_plan_wait(const dl_plan *plan);

/* The same without collectives, stopping after the first instruction whose output holds a NaN or Inf: its
 * number, or -1. For finding where training went wrong; the update is not run. */
DL_NODISCARD dl_status dl_execute_until_bad(dl_plan *plan, int program, const dl_host_batch *batch,
                                            int *instruction);

/* Seconds each instruction of a program takes, summed over the runs made while profiling was on. An
 * all-reduce takes the time in which this rank waits for it and adds, also where that is within another
 * instruction's. */
typedef struct dl_profile {
    int64_t n_runs;
    double *seconds; /* by instruction */
} dl_profile;
DL_NODISCARD dl_status dl_execute_profiled(dl_plan *plan, int program, const dl_host_batch *batch,
                                           dl_profile *profile);

/* Called around each instruction of a run: `before` when what it waits for has happened, `after` when it is
 * done (an exchange: begun). A failure ends the run. */
typedef struct dl_observer {
    void *context;
    dl_status (*before)(void *context, int instruction);
    dl_status (*after)(void *context, int instruction);
} dl_observer;
DL_NODISCARD dl_status dl_execute_observed(dl_plan *plan, int program, const dl_host_batch *batch,
                                           const dl_observer *observer);

/* Layouts and algorithms as a line of text, to be kept with a checkpoint: near a tie measuring again may give
 * other ones, and so other last bits. NULL where nothing was measured, and on ranks other than 0. */
const char *dl_plan_choices(const dl_plan *plan);

/* Address of a slot after dl_plan_finish. */
void *dl_slot_address(const dl_plan *plan, const dl_program *program, int slot);

/* Checks a compiled program without the compiler's knowledge: every byte read was written by the value that
 * is meant to be read, no live value is overwritten, slots are as large as the prepared operations want,
 * lanes are ordered by their waits, what ranks sum is exchanged before it is used. DL_ERR_INTERNAL names
 * instruction and slot. Takes some milliseconds for ten thousand instructions; dl_plan_seal calls it. */
DL_NODISCARD dl_status dl_program_verify(const dl_program *program);

/* The exchanges of all programs over the ranks of an axis (DL_N_AXES: over all), in the order in which this
 * rank takes part in them: a line for each, for dl_comm_compare. Ranks whose orders differ would meet in the
 * wrong exchange, or wait for ever. After dl_plan_seal. */
DL_NODISCARD dl_status dl_plan_exchanges(const dl_plan *plan, dl_axis_name axis, dl_text *out);

/* The list for a person: number, lane, phase, operation, layer, slots with layouts, implementation. */
DL_NODISCARD dl_status dl_program_print(const dl_plan *plan, const dl_program *program, dl_text *out);

/* "conv2d_forward+relu" into out; returns out. */
const char *dl_instruction_name(const dl_instruction *instruction, char out[64]);

/* Appends what an operation is asked, whichever layer asks: "conv2d_forward+relu x[8,28,28,1] w[...] ...
 * stride 1,1 padding 0,0,0,0 groups 1", types that are not float32 behind the shapes. One device does the
 * same for the same text, in the same memory and time. */
DL_NODISCARD dl_status dl_instruction_work(const dl_program *program, const dl_instruction *instruction,
                                           dl_text *out);

#endif
