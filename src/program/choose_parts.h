/* Between choose.c, which decides, and what measures (choose_measure.c, choose_recurrent.c) and rewrites the
 * list (choose_layouts.c). */
#ifndef DLTRAIN_PROGRAM_CHOOSE_PARTS_H
#define DLTRAIN_PROGRAM_CHOOSE_PARTS_H

#include "program/choose.h"
#include "program/compile.h"

/* What an instruction is to layouts: 0..2 are the passes of convolutions, 3 poolings, 4 what works element by
 * element, -1: plain slots only. */
enum { DL_PASS_POOLING = DL_N_CHOICE_KINDS, DL_PASS_ELEMENTWISE, DL_PASS_PLAIN = -1 };
int dl_choice_pass(const dl_instruction *instruction);

/* Is this slot an image whose layout the instruction leaves free? */
bool dl_is_free_image(const dl_program *program, const dl_instruction *instruction, int s);

/* The device's own layout for a slot's shape; NULL when it offers none. */
const dl_layout *dl_own_layout(dl_device *device, const dl_slot *slot);

/* The desc to measure: images plain or in the device's own layout, weights and what is saved as it likes. */
dl_op_desc dl_candidate_desc(const dl_compile *c, const dl_instruction *instruction, bool blocked);

/* Measures the passes of convolutions, and whether they run in the device's own layout: into the plan's
 * choices. Rank 0. */
DL_NODISCARD dl_status dl_measure_program(const dl_compile *c);

/* The same for recurrent layers, whose passes share what the forward one saves and so take one algorithm: the
 * one with which both together are fastest. */
DL_NODISCARD dl_status dl_measure_recurrent(const dl_compile *c);

/* Puts choices into the list. Reorders come in, so instructions are renumbered by the first. */
DL_NODISCARD dl_status dl_apply_layouts(dl_compile *c);
void dl_apply_recurrent(dl_compile *c);

#endif
