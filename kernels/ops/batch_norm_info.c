/* Batch normalization in steps, so that the sums can be exchanged between ranks or added piece by piece
 * before they are used:
 *
 *   sums -> statistics -> forward          training
 *   moving -> forward                      evaluation, frozen layers
 *   backward_sums -> backward_data, backward_weights
 *   sums -> moments -> commit              once a step: the moving averages
 *
 * x is [N, ..., C]. G is the number of groups of samples with statistics of their own (attr.u.norm.group; one
 * without groups). Tensors between the steps:
 *   sums [G, 2C + 1] float64: sum of x and of x^2 for each channel, number of values of a channel
 *   stat [G, 5, C] float32: mean, 1 / sqrt(variance + epsilon), and what forward and backward_data multiply
 *     by and add: scale, shift, 1 / number of values (0 when the statistics are constants)
 *   dstat [G, 2, C] float64: sum of dy, and of dy (x - mean) / sqrt(variance + epsilon)
 *   moments [2C + 1] float64: sums over groups of values x mean, values x variance, values
 * The variance is the mean square from the mean (divided by the number of values). */
#include "kernels/ops/info.h"
#include "kernels/ops/sizes.h"

#include <string.h>

static const dl_slot_info sums_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("sums", OUT, 0, -1),
};

static const dl_slot_info statistics_slots[] = {
    DL_SLOT_ROW("sums", IN, 0, -1),
    DL_SLOT_ROW("gamma", IN, 0, -1),
    DL_SLOT_ROW("beta", IN, 0, -1),
    DL_SLOT_ROW("stat", OUT, 0, -1),
};

static const dl_slot_info moving_slots[] = {
    DL_SLOT_ROW("moving_mean", IN, 0, -1), DL_SLOT_ROW("moving_variance", IN, 0, -1),
    DL_SLOT_ROW("gamma", IN, 0, -1),       DL_SLOT_ROW("beta", IN, 0, -1),
    DL_SLOT_ROW("stat", OUT, 0, -1),
};

static const dl_slot_info forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("stat", IN, 0, -1),
    DL_SLOT_ROW("residual", IN, DL_SLOT_IMAGE | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_IMAGE, 0),
};

static const dl_slot_info backward_sums_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("stat", IN, 0, -1),
    DL_SLOT_ROW("dstat", OUT, 0, -1),
};

static const dl_slot_info backward_data_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_IMAGE, -1), DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("stat", IN, 0, -1),           DL_SLOT_ROW("dstat", IN, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_IMAGE, 0),
};

static const dl_slot_info backward_weights_slots[] = {
    DL_SLOT_ROW("dstat", IN, 0, -1),
    DL_SLOT_ROW("dgamma", OUT, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dbeta", OUT, DL_SLOT_OPTIONAL, -1),
};

static const dl_slot_info moments_slots[] = {
    DL_SLOT_ROW("sums", IN, 0, -1),
    DL_SLOT_ROW("moments", INOUT, 0, -1),
};

static const dl_slot_info commit_slots[] = {
    DL_SLOT_ROW("moments", IN, 0, -1),
    DL_SLOT_ROW("moving_mean", INOUT, 0, -1),
    DL_SLOT_ROW("moving_variance", INOUT, 0, -1),
    DL_SLOT_ROW("control", IN, 0, -1),
};

/* Slots by name have their dtypes and shapes; channels and groups come from what the kind has. */
static dl_status check(const dl_op_desc *desc) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(desc);
    static const char *const vectors[] = {"gamma", "beta",        "dgamma",
                                          "dbeta", "moving_mean", "moving_variance"};
    static const char *const images[] = {"x", "residual", "y", "dy", "dx"};
    DL_RETURN_ERROR_IF(z.channels < 1 || z.groups < 0 || desc->attr.u.norm.group < 0, DL_ERR_INTERNAL,
                       "%s: no channels, or a negative group", dl_op_info_of(desc->kind)->name);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, vectors[i], DL_F32));
        DL_RETURN_IF_ERROR(dl_info_check_shape(desc, vectors[i], DL_SHAPE(z.channels)));
    }
    const char *first = dl_op_info_of(desc->kind)->slots[0].name;
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, images[i], DL_F32));
        if (z.cells > 0) {
            DL_RETURN_IF_ERROR(dl_info_check_same(desc, first, images[i]));
        }
    }
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "sums", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "sums", DL_SHAPE(z.groups, 2 * z.channels + 1)));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "stat", DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "stat", DL_SHAPE(z.groups, 5, z.channels)));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "dstat", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "dstat", DL_SHAPE(z.groups, 2, z.channels)));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "moments", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "moments", DL_SHAPE(2 * z.channels + 1)));
    return dl_info_check_blocks(desc);
}

static dl_status check_relu(const dl_op_desc *desc) {
    const dl_activation activation = desc->attr.activation;
    DL_RETURN_ERROR_IF(activation != DL_ACT_NONE && activation != DL_ACT_RELU, DL_ERR_INTERNAL,
                       "%s: only relu can be fused", dl_op_info_of(desc->kind)->name);
    return check(desc);
}

/* The gradient of stat is dstat: two sums, of which backward_data and backward_weights make all others. */
static dl_tensor_desc gradient_tensor(const dl_op_desc *desc, int slot) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(desc);
    dl_tensor_desc tensor = {.present = true, .dtype = DL_F32, .shape = desc->slot[slot].shape};
    if (slot == dl_op_slot(dl_op_info_of(desc->kind), "stat")) {
        tensor.dtype = DL_F64;
        tensor.shape = DL_SHAPE(z.groups, 2, z.channels);
    }
    return tensor;
}

/* Values of a channel in a group. */
static int64_t sums_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(desc);
    return z.group * z.cells;
}

static int64_t groups(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_batch_norm_sizes_of(desc).groups;
}

static int64_t three(const dl_op_desc *desc, int slot) {
    (void)desc;
    (void)slot;
    return 3;
}

/* The mean is subtracted from x; the sums from dy, where the kind reads them. */
static void negate_subtracted(const dl_op_desc *desc, int slot, void *values) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(desc);
    const char *name = dl_op_info_of(desc->kind)->slots[slot].name;
    for (int64_t g = 0; strcmp(name, "stat") == 0 && g < z.groups; g++) {
        for (int64_t c = 0; c < z.channels; c++) {
            float *mean = (float *)values + g * 5 * z.channels + c;
            *mean = -*mean;
        }
    }
    for (int64_t i = 0; strcmp(name, "dstat") == 0 && i < z.groups * 2 * z.channels; i++) {
        double *sum = (double *)values + i;
        *sum = -*sum;
    }
}

static const dl_op_rounding sums_rounding = {.terms = sums_terms, .of_terms = true};
static const dl_op_rounding forward_rounding = {.terms = three, .of_terms = true};
static const dl_op_rounding backward_sums_rounding = {
    .terms = sums_terms, .of_terms = true, .negate = negate_subtracted};
static const dl_op_rounding backward_data_rounding = {
    .terms = three, .of_terms = true, .negate = negate_subtracted};
static const dl_op_rounding over_groups_rounding = {.terms = groups, .of_terms = true};

const dl_op_info dl_op_info_batch_norm_sums = {
    .name = "batch_norm_sums",
    .doc = "sums = for each group and channel sum of x, sum of x^2; number of values of a channel",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(sums_slots),
    .slots = sums_slots,
    .check = check,
    .rounding = &sums_rounding,
};

const dl_op_info dl_op_info_batch_norm_statistics = {
    .name = "batch_norm_statistics",
    .doc =
        "stat = mean, r = 1 / sqrt(variance + epsilon), gamma r, beta - gamma r mean, 1 / values, from sums",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(statistics_slots),
    .slots = statistics_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_BATCH_NORM_BACKWARD_WEIGHTS, {"gamma", "beta"}}},
    .check = check,
    .rounding = &dl_rounding_pointwise,
    .gradient_tensor = gradient_tensor,
};

const dl_op_info dl_op_info_batch_norm_moving = {
    .name = "batch_norm_moving",
    .doc = "stat as batch_norm_statistics, from the moving mean and variance, which are constants",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(moving_slots),
    .slots = moving_slots,
    .check = check,
    .rounding = &dl_rounding_pointwise,
};

const dl_op_info dl_op_info_batch_norm_forward = {
    .name = "batch_norm_forward",
    .doc = "y = activation(x scale + shift + residual)",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(forward_slots),
    .slots = forward_slots,
    .n_gradients = 2,
    .gradients = {{DL_OP_BATCH_NORM_BACKWARD_DATA, {"x"}}, {DL_OP_BATCH_NORM_BACKWARD_SUMS, {"stat"}}},
    .fuses_activation = true,
    .check = check_relu,
    .rounding = &forward_rounding,
    .gradient_tensor = gradient_tensor,
};

const dl_op_info dl_op_info_batch_norm_backward_sums = {
    .name = "batch_norm_backward_sums",
    .doc = "dstat = sum of dy, sum of dy (x - mean) r; with relu dy counts only where x scale + shift > 0",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(backward_sums_slots),
    .slots = backward_sums_slots,
    .fuses_activation = true,
    .check = check_relu,
    .rounding = &backward_sums_rounding,
};

const dl_op_info dl_op_info_batch_norm_backward_data = {
    .name = "batch_norm_backward_data",
    .doc =
        "dx = scale (dy - (dstat[0] + (x - mean) r dstat[1]) / values), relu as in batch_norm_backward_sums",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(backward_data_slots),
    .slots = backward_data_slots,
    .fuses_activation = true,
    .check = check_relu,
    .rounding = &backward_data_rounding,
};

const dl_op_info dl_op_info_batch_norm_backward_weights = {
    .name = "batch_norm_backward_weights",
    .doc = "dgamma = sum over groups of dstat[1], dbeta of dstat[0]",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(backward_weights_slots),
    .slots = backward_weights_slots,
    .check = check,
    .rounding = &over_groups_rounding,
};

const dl_op_info dl_op_info_batch_norm_moments = {
    .name = "batch_norm_moments",
    .doc = "moments += sum over groups of values mean, values variance, values",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(moments_slots),
    .slots = moments_slots,
    .check = check,
    .rounding = &dl_rounding_pointwise,
};

const dl_op_info dl_op_info_batch_norm_commit = {
    .name = "batch_norm_commit",
    .doc =
        "moving = momentum moving + (1 - momentum) moments / values, unless the control word forbids the step",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(commit_slots),
    .slots = commit_slots,
    .check = check,
    .rounding = &dl_rounding_pointwise,
};
