/* For the files of this folder: declarations of all descriptions, and what their checks have in common. */
#ifndef DLTRAIN_KERNELS_OPS_INFO_H
#define DLTRAIN_KERNELS_OPS_INFO_H

#include "kernels/op.h"

#define DL_OP_KIND(NAME, name) extern const dl_op_info dl_op_info_##name;
#include "kernels/ops.def"
#undef DL_OP_KIND

/* Flags of one row of a slot table. */
enum {
    DL_SLOT_BATCHED = 1,
    DL_SLOT_OPTIONAL = 2,
    DL_SLOT_SAVED = 4,
    DL_SLOT_FREE = 8,                                              /* layout_free */
    DL_SLOT_HALF = 16,                                             /* may hold 16-bit floats */
    DL_SLOT_IMAGE = DL_SLOT_BATCHED | DL_SLOT_FREE | DL_SLOT_HALF, /* an activation in any layout */
    DL_SLOT_ROWS = DL_SLOT_BATCHED | DL_SLOT_HALF,                 /* a plain one */
};

/* One row of a slot table: name, role (IN, OUT, INOUT), flags, in_place_of. */
#define DL_SLOT_ROW(slot_name, slot_role, flags, source)                                                     \
    {                                                                                                        \
        .name = (slot_name), .role = DL_SLOT_##slot_role, .batched = ((flags)&DL_SLOT_BATCHED) != 0,         \
        .optional = ((flags)&DL_SLOT_OPTIONAL) != 0, .saved = ((flags)&DL_SLOT_SAVED) != 0,                  \
        .layout_free = ((flags)&DL_SLOT_FREE) != 0, .half = ((flags)&DL_SLOT_HALF) != 0,                     \
        .in_place_of = (source)                                                                              \
    }

#define DL_N_SLOTS(slots) ((int)(sizeof(slots) / sizeof((slots)[0])))

/* Slot `name` has this dtype, when it is present. */
DL_NODISCARD dl_status dl_info_check_dtype(const dl_op_desc *desc, const char *name, dl_dtype dtype);

/* The same for a list of names that ends with NULL. */
DL_NODISCARD dl_status dl_info_check_dtypes(const dl_op_desc *desc, const char *const *names, dl_dtype dtype);

/* Slot `name` has this shape, when it is present. */
DL_NODISCARD dl_status dl_info_check_shape(const dl_op_desc *desc, const char *name, dl_shape shape);

/* Slot `name` has this many dimensions. */
DL_NODISCARD dl_status dl_info_check_dims(const dl_op_desc *desc, const char *name, int n_dims);

/* The slots of a list of names that ends with NULL hold floats in this shape, those that are present. */
DL_NODISCARD dl_status dl_info_check_floats(const dl_op_desc *desc, const char *const *names, dl_shape shape);

/* Slots a and b have one shape, when both are present. */
DL_NODISCARD dl_status dl_info_check_same(const dl_op_desc *desc, const char *a, const char *b);

/* The step block, the totals, the norm, the loss scale, the control word: whichever of them the kind has. */
DL_NODISCARD dl_status dl_info_check_blocks(const dl_op_desc *desc);

/* Some roundings for each element, no sum: judged by the result. */
extern const dl_op_rounding dl_rounding_pointwise;

/* Judged by the result, a sum along the rows of slot 0: for each row K is its length. */
extern const dl_op_rounding dl_rounding_of_rows;

/* A product, or two numbers added, for each element. */
extern const dl_op_rounding dl_rounding_of_two;

#endif
