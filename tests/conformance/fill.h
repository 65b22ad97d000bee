/* Inputs of a case: a pure function of its shapes, slot names and fill. */
#ifndef DLTRAIN_TESTS_FILL_H
#define DLTRAIN_TESTS_FILL_H

#include "conformance.h"

/* The optimizer step that filled step blocks are at. */
enum { DLC_STEP = 3 };

/* Fills the plain values of slot i. */
void dlc_fill_slot(const dl_op_desc *desc, int i, dlc_fill fill, int flags, void *values);

#endif
