/* 16-bit floats in the suite. */
#ifndef DLTRAIN_TESTS_CONFORMANCE_HALF_H
#define DLTRAIN_TESTS_CONFORMANCE_HALF_H

#include "conformance.h"

/* The 16-bit type that a desc has in some slot; DL_F32 when it has none. */
dl_dtype dlc_half_of_desc(const dl_op_desc *desc);

/* Puts `dtype` in place of float32 wherever the kind allows 16-bit floats. */
void dlc_narrow(dl_op_desc *desc, dl_dtype dtype);

/* 2^-8, 2^-11, 2^-24. */
double dlc_unit_roundoff(dl_dtype dtype);

/* K: products that are added for one element of the first result; 1 for kinds that count none. */
double dlc_sum_length(const dl_op_desc *desc);

void dlc_round_floats(dl_dtype dtype, int64_t n, const float *from, void *to);
void dlc_widen_halves(dl_dtype dtype, int64_t n, const void *from, float *to);

/* What ref computes in float32 from the problem's inputs, each result rounded to its slot's type, into
 * *expected (created for problem->desc). */
DL_NODISCARD dl_status dlc_half_expected(dl_device *ref, const dlc_problem *problem, dlc_values *expected);

#endif
