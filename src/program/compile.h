/* The compiler's passes, in the order compile.c calls them. Internal to src/program. */
#ifndef DLTRAIN_PROGRAM_COMPILE_H
#define DLTRAIN_PROGRAM_COMPILE_H

#include "program/plan.h"

/* A state and what replaces it at the end of the step: slots. */
typedef struct dl_carry {
    int state, next;
} dl_carry;

/* State of one compilation. */
typedef struct dl_compile {
    dl_plan *plan;
    dl_program *program;
    const dl_model *model;
    int micro;             /* being emitted */
    int64_t micro_samples; /* of it */
    dl_range micro_range;  /* in the rank's batch */
    int *slot_of;          /* [n_values] slot of a value in this micro-batch, -1 */
    int *gradient_of;      /* [n_values] slot of its gradient so far, -1 */
    bool *needs_gradient;  /* [n_values] */
    int *gradient_written; /* [n_parameters * n_blocks] contributions so far */
    int n_carries;
    dl_carry *carry; /* of all micro-batches */
    int64_t capacity_carries;
    int update_totals; /* slot: the totals as updates read them */
} dl_compile;

/* --- building blocks (build.c) --- */

DL_NODISCARD dl_status dl_program_create(dl_program_kind kind, dl_program **out);
void dl_program_destroy(dl_program **program);

/* Appends a slot; its bytes are those of the plain layout. Returns its number in *slot. */
DL_NODISCARD dl_status dl_add_slot(dl_program *program, const char *name, int layer, int micro,
                                   dl_storage storage, dl_dtype dtype, const dl_shape *shape, int *slot);
/* Appends a view of another slot. */
DL_NODISCARD dl_status dl_add_view(dl_program *program, const char *name, int of, size_t offset,
                                   dl_dtype dtype, const dl_shape *shape, int *slot);
/* Appends an operation; slots in the kind's order, -1 absent. The pointer is valid until the next append. */
DL_NODISCARD dl_status dl_add_operation(dl_program *program, dl_op_kind kind, const dl_op_attr *attr,
                                        dl_phase phase, int layer, int micro, const int *slots, int n_slots,
                                        dl_instruction **out);
/* Appends any instruction. */
DL_NODISCARD dl_status dl_add_instruction(dl_program *program, const dl_instruction *instruction);

/* The slot that owns the memory of a slot. */
int dl_root_slot(const dl_program *program, int slot);

/* The desc of an instruction from its slots as they are now. */
dl_op_desc dl_instruction_desc(const dl_program *program, const dl_instruction *instruction);

/* Drops instructions whose type was set to DL_DO_NOTHING by a pass, and renumbers `forward`. */
DL_NODISCARD dl_status dl_drop_dead_instructions(dl_program *program);

/* --- passes --- */

/* Loads, forward operations, sums of losses for the current micro-batch (emit.c). */
DL_NODISCARD dl_status dl_emit_forward(dl_compile *c);
/* Backward operations from the kinds' gradient rules (gradient.c). */
DL_NODISCARD dl_status dl_emit_backward(dl_compile *c);
/* Fusion over the list: softmax + loss, convolution or dense + activation, pooling + relu backward (fuse.c),
 * batch normalization + sum + relu (fuse_norm.c), embedding + dense (fuse_tokens.c), the parts of an LSTM
 * (fuse_lstm.c). */
DL_NODISCARD dl_status dl_fuse(dl_compile *c);
/* One instruction of each fusion, where it applies. */
void dl_fuse_norm(dl_compile *c, dl_instruction *instruction);
void dl_fuse_tokens(dl_compile *c, dl_instruction *dense);
DL_NODISCARD dl_status dl_fuse_lstm(dl_compile *c, dl_instruction *lstm);
/* For rules: the instruction of a kind that has `slot` in its slot number `at`, or NULL; how many live
 * instructions name a slot or a view of it; whether the device, or one it falls back to, takes an instruction
 * as it is; whether it does itself, where a fallback would be slower than what the device does unfused; other
 * slots for an instruction, those behind them absent. */
dl_instruction *dl_fuse_user(dl_program *program, dl_op_kind kind, int at, int slot);
int dl_fuse_count_uses(const dl_program *program, int slot);
bool dl_fuse_device_takes(const dl_compile *c, const dl_instruction *instruction);
bool dl_fuse_device_itself_takes(const dl_compile *c, const dl_instruction *instruction);
void dl_fuse_set_slots(dl_instruction *instruction, dl_op_kind kind, const int *slots, int n_slots);
/* Values become 16-bit floats where kinds allow it; inserts casts (precision.c). */
DL_NODISCARD dl_status dl_choose_precision(dl_compile *c);
/* The desc of an instruction with its weights in the type that their copies will have. */
dl_op_desc dl_precise_desc(const dl_compile *c, const dl_instruction *instruction);
/* Is it a parameter, or its average, where it lies? */
bool dl_is_parameter(const dl_slot *slot);
/* Chooses layouts and algorithms of chains; inserts reorders (choose.c). */
DL_NODISCARD dl_status dl_choose_layouts(dl_compile *c);
/* Prepares every operation; whole or in parts; adds copies, unpacks, tree sums; gives workspaces (lower.c).
 */
DL_NODISCARD dl_status dl_lower(dl_compile *c);
/* Inserts exchanges: gradients, statistics and totals go from partial to replicated over the data axis
 * (partition.c). */
DL_NODISCARD dl_status dl_partition_data(dl_compile *c);
/* The exchange of a slot that holds this rank's part of a sum over the tensor axis, right behind what wrote
 * it (partition.c). */
DL_NODISCARD dl_status dl_partition_tensor(dl_compile *c, int slot, int layer, dl_phase phase);
/* How a value lies over the tensor axis. */
dl_spread dl_spread_of(const dl_compile *c, int value);
/* The exchange of the control word, behind everything that may set it (partition.c). */
DL_NODISCARD dl_status dl_partition_control(dl_compile *c);
/* Loss scaling (loss_scale.c), each of them nothing where losses are not scaled: the slot of the state; the
 * totals as updates read them, with the weight scaled; the commit of the next scale; the first one, once
 * there is memory. */
DL_NODISCARD dl_status dl_loss_scale_slot(dl_compile *c);
DL_NODISCARD dl_status dl_scale_totals(dl_compile *c, int *totals);
DL_NODISCARD dl_status dl_commit_loss_scale(dl_compile *c);
DL_NODISCARD dl_status dl_start_loss_scale(dl_plan *plan);
/* Finite checks, optimizer updates, commits, packs (update.c). */
DL_NODISCARD dl_status dl_emit_update(dl_compile *c);
/* Prepares those of the instructions that are not prepared yet. */
DL_NODISCARD dl_status dl_prepare_rest(dl_compile *c);
/* Events and waits between lanes, by the bytes that instructions touch: behind dl_place_slots (lanes.c). */
DL_NODISCARD dl_status dl_order_lanes(dl_program *program);
/* In-place rewriting, lifetimes, offsets (place.c). `strict`: nothing shares memory, every slot on its own
 * pages. */
DL_NODISCARD dl_status dl_place_slots(dl_program *program, bool strict);

/* The rest of a program once all of a plan's copies are known: packs, remaining operations, places, lanes. */
DL_NODISCARD dl_status dl_compile_finish(dl_plan *plan, dl_program *program);

/* --- collectives (collectives.c) --- */

/* Prepares them in the order of their numbers, behind everything that gives addresses. Collective over all
 * ranks. */
DL_NODISCARD dl_status dl_prepare_collectives(dl_plan *plan);
void dl_release_collectives(dl_plan *plan);
/* Has the plan a program for training? */
bool dl_plan_trains(const dl_plan *plan);

/* --- statistics over ranks and steps (statistics.c) --- */

/* Are statistics of this operation over the samples of all ranks? */
bool dl_is_global_statistic(const dl_plan *plan, dl_op_kind kind, const dl_op_attr *attr);
/* Does a training step exchange sums amid the step, so that ranks without samples must take part? */
bool dl_model_exchanges(const dl_plan *plan);
/* The slots of an exchange's blocks, one for each tree block of this rank. */
DL_NODISCARD dl_status dl_exchange_slots(dl_compile *c, const dl_instruction *instruction,
                                         const dl_shape *shape, int slots[DL_MAX_BLOCKS]);
/* Bytes from one block of an exchange to the next. */
size_t dl_exchange_block_bytes(const dl_plan *plan, const dl_exchange *exchange);
/* float64 numbers behind the totals. */
int64_t dl_n_moments(const dl_model *model);
/* Adds the moments of a layer's sums in slot `sums` for the commit at the step's end. */
DL_NODISCARD dl_status dl_emit_moments(dl_compile *c, const dl_model_op *op, int sums);
/* The commits of moving averages. */
DL_NODISCARD dl_status dl_emit_moving_commits(dl_compile *c);
/* The slot of state value `v` with the rows of this micro-batch; DL_ERR_INTERNAL for a batch that is not full
 * (state.c). */
DL_NODISCARD dl_status dl_state_slot(dl_compile *c, int v, const dl_shape *shape, int *slot);
/* Remembers the states that this micro-batch read, and commits them in the update phase (state.c). */
DL_NODISCARD dl_status dl_note_carries(dl_compile *c);
DL_NODISCARD dl_status dl_emit_carries(dl_compile *c);
/* Bytes of the state storage, 0 when no layer carries anything; where the layers' states begin in it. */
size_t dl_state_bytes(const dl_plan *plan);
size_t dl_state_begin(const dl_plan *plan);

/* A slot in the gradient arena: parameter `row`, tree block `block`. */
DL_NODISCARD dl_status dl_gradient_slot(dl_compile *c, int row, int block, int *slot);
/* The slot of a copy of parameter `row`, or of its average, in this type and layout (added to the plan when
 * new). */
DL_NODISCARD dl_status dl_copy_slot(dl_compile *c, int row, bool averaged, dl_dtype dtype,
                                    const dl_layout *layout, int *slot);
/* A slot of parameter `row` where it lies: as trained, or its average. */
DL_NODISCARD dl_status dl_parameter_slot(dl_compile *c, int row, bool averaged, int *slot);

#endif
