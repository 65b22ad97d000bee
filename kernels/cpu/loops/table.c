#include "kernels/cpu/loops/isa.h"

const dl_cpu_loops DL_ISA(loops) = {
    .isa = DL_ISA_TEXT(DL_CPU_ISA),
    .part =
        {
#define DL_CPU_ENTRY(kind, function) [kind] = DL_ISA(function),
            DL_CPU_LOOP_LIST(DL_CPU_ENTRY)
#undef DL_CPU_ENTRY
        },
    .lstm_forward = DL_ISA(lstm_forward),
    .lstm_backward = DL_ISA(lstm_backward),
    .matrix_product = DL_ISA_MATRIX_PRODUCT,
    .sum_rows = DL_ISA(sum_rows),
};
