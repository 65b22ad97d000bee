/* Operation kinds: what a step is made of, described once for all backends.
 *
 * A kind is one row of kernels/ops.def and one dl_op_info (kernels/ops/FAMILY.c). It lists its slots by name
 * and role, says whether it works sample by sample or sums over samples, checks shapes, counts FLOPs, and
 * names the kinds that compute its gradients. Gradients go by slot names: in a gradient kind, slot "dNAME" is
 * the gradient of the forward kind's slot NAME, and slot NAME is that slot itself; a gradient slot that is
 * read where NAME is an input is the gradient that another kind of the same operation made before. The
 * compiler needs nothing else.
 *
 * Meaning of tensors: images [N, H, W, C]; vectors [N, F]; sequences [N, T, F]; tokens [N, T]; convolution
 * weights [K, C/groups, R, S]; dense weights [out, in]. Dimension 0 of a `batched` slot counts samples.
 * Losses and metrics go row by row: scores [N, ..., K] are rows of K values, any number of them for each
 * sample, labels [N, ...] one number a row; a label below 0 is none: no loss, no gradient, nothing counted.
 */
#ifndef DLTRAIN_KERNELS_OP_H
#define DLTRAIN_KERNELS_OP_H

#include "base/tensor.h"

enum { DL_OP_MAX_SLOTS = 12, DL_OP_MAX_GRADIENTS = 3, DL_OP_MAX_GRADIENT_OF = 6 };
enum { DL_MAX_CHANNEL_VALUES = 16, DL_MAX_CONCATENATED = 6 };

typedef enum dl_op_kind {
#define DL_OP_KIND(NAME, name) DL_OP_##NAME,
#include "kernels/ops.def"
#undef DL_OP_KIND
    DL_N_OP_KINDS
} dl_op_kind;

typedef enum dl_slot_role {
    DL_SLOT_IN,
    DL_SLOT_OUT,   /* written whole, never read */
    DL_SLOT_INOUT, /* read and written: accumulators, parameters in an update */
} dl_slot_role;

typedef struct dl_slot_info {
    const char *name;
    dl_slot_role role;
    bool batched;  /* dimension 0 counts samples */
    bool optional; /* may be absent (dl_tensor_desc.present false) */
    bool saved;    /* its layout is the backend's own: made by the forward kind, read by its gradient kind */
    bool layout_free; /* takes any layout a neighbour likes; others are plain */
    bool half;        /* may hold bfloat16 or float16 in place of float32 */
    int in_place_of;  /* number of the IN slot whose memory this OUT slot may take, -1: none */
} dl_slot_info;

typedef enum dl_op_batch {
    DL_BATCH_PER_SAMPLE,   /* output row n depends on input rows n only */
    DL_BATCH_SUMS_SAMPLES, /* adds over samples: runs in pieces in reproducible mode */
    DL_BATCH_NONE,         /* has no samples: parameter updates, packing */
} dl_op_batch;

typedef enum dl_activation {
    DL_ACT_NONE,
    DL_ACT_RELU,
    DL_ACT_TANH,
    DL_ACT_SIGMOID,
    DL_N_ACTIVATIONS
} dl_activation;

/* A memory layout that is not plain row-major. Interned by the device that made it: equal layouts are one
 * pointer. NULL stands for plain. */
typedef struct dl_layout {
    const char *name; /* "nChw16c", "winograd": for people */
    size_t n_bytes;   /* of the whole tensor, padding included */
    const void *impl; /* the backend's own description */
} dl_layout;

/* Asks prepare() to choose: read the answer in dl_op.layout. */
extern const dl_layout dl_layout_any;

typedef struct dl_tensor_desc {
    bool present;
    dl_dtype dtype;
    dl_shape shape;
    const dl_layout *layout; /* NULL plain, &dl_layout_any, or one a backend made */
} dl_tensor_desc;

typedef struct dl_conv_attr {
    int64_t stride[2];  /* rows, columns */
    int64_t padding[4]; /* top, bottom, left, right */
    int64_t groups;
} dl_conv_attr;

typedef struct dl_pool_attr {
    int64_t window[2], stride[2], padding[4];
} dl_pool_attr;

typedef struct dl_padding_attr {
    int64_t cells[4];    /* top, bottom, left, right */
    int64_t channels[2]; /* before and behind those of each cell */
} dl_padding_attr;

typedef struct dl_concatenate_attr {
    int64_t width[DL_MAX_CONCATENATED]; /* last dimension of each part; 0: there is none */
} dl_concatenate_attr;

/* Batch normalization (Ioffe and Szegedy, arXiv:1502.03167). */
typedef struct dl_norm_attr {
    int64_t group;   /* statistics are over this many samples after each other (the last group may be
                        smaller); 0: over all */
    bool global;     /* statistics are over the samples of all ranks */
    double epsilon;  /* added to the variance */
    double momentum; /* moving = momentum * moving + (1 - momentum) * batch */
} dl_norm_attr;

typedef struct dl_dropout_attr {
    double rate; /* share of elements set to zero; the others are scaled by 1 / (1 - rate) */
    uint64_t seed;
    uint32_t purpose; /* DL_RNG_DROPOUT + the layer's number */
    /* Where the rows here are elements `row_begin` and on of rows of `whole_row` (a tensor that ranks share);
     * 0: they are whole. */
    int64_t row_begin, whole_row;
} dl_dropout_attr;

/* A random change of images: number 0..3 of counter (step, sample) of the key (seed, purpose). */
typedef struct dl_augment_attr {
    int64_t cells[2]; /* random_crop: moves by up to so many rows, columns */
    bool columns;     /* random_flip: left and right change places, else top and bottom */
    uint64_t seed;
    uint32_t purpose; /* DL_RNG_AUGMENT + the place in the list of augmentations */
} dl_augment_attr;

typedef struct dl_loss_attr {
    double scale; /* gradients are multiplied by this: 1 / capacity of the global batch */
    double
        smoothing; /* cross entropy: the share of the target that is spread evenly over all classes, 0..1 */
    bool absolute; /* regression: the absolute error instead of the squared one */
} dl_loss_attr;

typedef struct dl_accuracy_attr {
    int64_t k; /* the label must be among the k largest, >= 1 */
} dl_accuracy_attr;

typedef struct dl_normalize_attr {
    double scale; /* applied first: 1/255 for uint8 pixels */
    int n_values; /* channels, or 1 for all */
    double mean[DL_MAX_CHANNEL_VALUES], std[DL_MAX_CHANNEL_VALUES];
} dl_normalize_attr;

/* Updates multiply the summed gradient by capacity / (true weight of the global batch). */
typedef struct dl_sgd_attr {
    double capacity, momentum, weight_decay;
    bool nesterov;
} dl_sgd_attr;

typedef struct dl_adam_attr {
    double capacity, beta_1, beta_2, epsilon, weight_decay;
} dl_adam_attr;

/* torch.optim.RMSprop's names, but rho for its alpha. */
typedef struct dl_rmsprop_attr {
    double capacity, rho, epsilon, momentum, weight_decay;
    bool centered;
} dl_rmsprop_attr;

typedef struct dl_clip_attr {
    double capacity, limit; /* largest norm of the mean gradient; 0: none */
} dl_clip_attr;

typedef struct dl_commit_attr {
    double decay; /* above 0: a moving mean, which keeps this share of the state */
} dl_commit_attr;

typedef struct dl_sum_attr {
    bool on_grid; /* sum_samples: values are rounded to multiples of DL_SUM_GRID first (common/reduction.h) */
} dl_sum_attr;

typedef struct dl_op_attr {
    dl_activation activation; /* activation kinds; fused into convolution and dense kinds */
    bool accumulate;          /* OUT slot is added to instead of written (unpack, sum) */
    bool training;            /* forward kinds that differ: dropout */
    double rate_factor;       /* updates: of the learning rate for these parameters; 0 stands for 1 */
    union {
        dl_conv_attr conv;
        dl_pool_attr pool;
        dl_padding_attr padding;
        dl_concatenate_attr concatenate;
        dl_norm_attr norm;
        dl_dropout_attr dropout;
        dl_augment_attr augment;
        dl_loss_attr loss;
        dl_accuracy_attr accuracy;
        dl_normalize_attr normalize;
        dl_sgd_attr sgd;
        dl_adam_attr adam;
        dl_rmsprop_attr rmsprop;
        dl_clip_attr clip;
        dl_commit_attr commit;
        dl_sum_attr sum;
    } u;
} dl_op_attr;

/* Workspaces, and what lies in those of devices, begin at multiples of so many bytes: cublasLtMatmul's
 * documentation wants it. */
enum { DL_WORKSPACE_ALIGN = 256 };

/* One operation to prepare: kind, attributes, tensors slot by slot, the algorithm wished for. */
typedef struct dl_op_desc {
    dl_op_kind kind;
    dl_op_attr attr;
    dl_tensor_desc slot[DL_OP_MAX_SLOTS];
    int algorithm; /* 0: the backend's default; others: see dl_backend.n_algorithms */
} dl_op_desc;

/* A kind that computes gradients of another: which, by its slot names. */
typedef struct dl_op_gradient {
    dl_op_kind kind;
    const char *of[DL_OP_MAX_GRADIENT_OF]; /* forward slots whose gradients it writes: "x", or "w", "b" */
} dl_op_gradient;

/* What rounding may do to the results of a kind: how far those of two right implementations may be apart
 * (program/crosscheck.h judges by it). An element of slot i may be off by 8 u sqrt(K) times its scale. u is
 * the unit roundoff of the least precise type among the tensors, K how many numbers are added up for the
 * element: errors of a sum grow as sqrt(K) where roundings are independent (Higham and Mary, SIAM J. Sci.
 * Comput. 41, 2019); 8 is for those that are not, and for the roundings of the terms. */
typedef struct dl_op_rounding {
    /* K; where sums feed sums, of the longest chain. */
    int64_t (*terms)(const dl_op_desc *desc, int slot);
    /* The results are sums of products of the inputs, and the scale of an element is the sum of the products'
     * absolute values, so that cancellation is no error: the kind itself gives it, run on the absolute values
     * of its floats. false: the scale is the result's own magnitude, or the root mean square of its slot
     * where that is larger. */
    bool of_terms;
    /* of_terms, may be NULL: negates what the formula subtracts among the absolute values of a slot. */
    void (*negate)(const dl_op_desc *desc, int slot, void *values);
    /* May be NULL: the scale is at least this, the magnitude of what cancels within the formula. */
    double (*least)(const dl_op_desc *desc, int slot);
} dl_op_rounding;

typedef struct dl_op_info {
    const char *name; /* "conv2d_backward_data" */
    const char *doc;  /* one line: the formula */
    dl_op_batch batch;
    int n_slots;
    const dl_slot_info *slots;
    int n_gradients;
    dl_op_gradient gradients[DL_OP_MAX_GRADIENTS];
    bool fuses_activation; /* attr.activation other than none may be asked for */
    bool passes_gradient;  /* the gradient of the output is that of every input: no operation is needed */
    /* Shapes, dtypes and attributes agree; DL_ERR_INTERNAL names the slot otherwise (layers give the user's
     * message before this is asked). */
    dl_status (*check)(const dl_op_desc *desc);
    double (*flops)(const dl_op_desc *desc); /* multiply and add count as two; NULL: not counted */
    const dl_op_rounding *rounding;          /* NULL: values are moved, nothing is rounded */
    /* Dtype and shape of the gradient of a slot; NULL: float32 in the slot's shape. */
    dl_tensor_desc (*gradient_tensor)(const dl_op_desc *desc, int slot);
} dl_op_info;

/* The description of a kind; never NULL for kinds below DL_N_OP_KINDS. */
const dl_op_info *dl_op_info_of(dl_op_kind kind);

/* Slot number of a name in a kind, or -1. */
int dl_op_slot(const dl_op_info *info, const char *name);

/* Is it one of the three kinds of a convolution? */
bool dl_op_is_convolution(dl_op_kind kind);

/* Generic checks (presence, roles) and then the kind's own. */
DL_NODISCARD dl_status dl_op_check(const dl_op_desc *desc);

/* What the gradient of slot i of a desc looks like, plain. */
dl_tensor_desc dl_op_gradient_tensor(const dl_op_desc *desc, int i);

/* Does a slot hold 16-bit floats? Every kind is meant for float32 and takes 16-bit floats in slots that allow
 * them, with the arithmetic of float32: inputs are exact in it, outputs are rounded once, at the end. */
bool dl_op_has_half(const dl_op_desc *desc);

/* The same desc with float32 in place of 16-bit floats, where the kind allows them. */
dl_op_desc dl_op_widened(const dl_op_desc *desc);

/* Elements times element size: the bytes of the plain layout. */
size_t dl_tensor_plain_bytes(const dl_tensor_desc *tensor);

/* Samples in the batched slots of a desc; -1 when it has none. */
int64_t dl_op_samples(const dl_op_desc *desc);

/* The same desc for another number of samples (dimension 0 of every batched slot). */
dl_op_desc dl_op_with_samples(const dl_op_desc *desc, int64_t n_samples);

#endif
