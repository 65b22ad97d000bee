/* A program: one straight list of instructions for one kind of step, on one rank and one backend. The
 * compiler makes it (plan.h), the executor runs it (run.h) and does nothing that is not in it. */
#ifndef DLTRAIN_PROGRAM_PROGRAM_H
#define DLTRAIN_PROGRAM_PROGRAM_H

#include "base/mem.h"
#include "base/text.h"
#include "comm/grid.h"
#include "kernels/backend.h"

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

/* Checks a compiled program without the compiler's knowledge: every byte read was written by the value that
 * is meant to be read, no live value is overwritten, slots are as large as the prepared operations want,
 * lanes are ordered by their waits, what ranks sum is exchanged before it is used. DL_ERR_INTERNAL names
 * instruction and slot. Takes some milliseconds for ten thousand instructions; dl_plan_seal calls it. */
DL_NODISCARD dl_status dl_program_verify(const dl_program *program);

/* What it runs, of one in pieces the first; NULL: no operation, or not prepared. */
const dl_op *dl_instruction_op(const dl_instruction *instruction);

/* "conv2d_forward+relu" into out; returns out. */
const char *dl_instruction_name(const dl_instruction *instruction, char out[64]);

/* Appends what an operation is asked, whichever layer asks: "conv2d_forward+relu x[8,28,28,1] w[...] ...
 * stride 1,1 padding 0,0,0,0 groups 1", types that are not float32 behind the shapes. Of the attributes only
 * those that choices and memory depend on, beside how the device was opened. */
DL_NODISCARD dl_status dl_instruction_work(const dl_program *program, const dl_instruction *instruction,
                                           dl_text *out);

#endif
