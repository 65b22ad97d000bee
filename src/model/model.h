/* A model: layers with shapes and named parameters, lowered to a graph of forward operations over values.
 *
 * It knows no device, no rank and no batch size: shapes of batched values are those of one sample. Gradients
 * are not in it: the compiler derives them from the operation kinds (kernels/op.h). */
#ifndef DLTRAIN_MODEL_MODEL_H
#define DLTRAIN_MODEL_MODEL_H

#include "config/node.h"
#include "kernels/common/blocks.h"
#include "kernels/op.h"
#include "model/parameter.h"

typedef enum dl_value_kind {
    DL_VALUE_FIELD, /* a field of the data set: "x", "y" */
    DL_VALUE_IDS,   /* sample numbers, int64 */
    DL_VALUE_STEP,  /* the step block (kernels/common/blocks.h) */
    DL_VALUE_PARAMETER,
    DL_VALUE_COMPUTED, /* written by one operation */
    DL_VALUE_VIEW,     /* the bytes of another value under another shape (flatten) */
    DL_VALUE_STATE, /* carried from step to step, one of `shape` for each row of the batch; zeros at first */
} dl_value_kind;

/* A tensor of the graph. */
typedef struct dl_value {
    dl_value_kind kind;
    const char *name; /* "conv2d", "conv2d.index", "/conv2d/weight", "x" */
    int layer;        /* that makes it, -1: none */
    dl_dtype dtype;
    bool batched; /* one of `shape` for each sample */
    bool figure;  /* what is summed for people to read: float64 in evaluation */
    dl_shape shape;
    int64_t group; /* not batched: dimension 0 counts groups of this many samples of the micro-batch; 0: no */
    int source;    /* VIEW: the value viewed; PARAMETER: its row in model->table */
    bool trainable; /* PARAMETER */
    /* Dimension 0 of `shape` counts the positions of sequences of any length; it is the longest there is, and
     * a program may be for less (dl_plan_add_length). */
    bool any_length;
    int next; /* STATE: the value that replaces it when a step has been made */
} dl_value;

/* In which programs an operation runs. */
typedef enum dl_when { DL_WHEN_ALWAYS, DL_WHEN_TRAINING, DL_WHEN_EVALUATION } dl_when;

/* A forward operation: slots are value numbers, -1 absent. */
typedef struct dl_model_op {
    dl_op_kind kind;
    dl_when when;
    dl_op_attr attr;
    int layer;
    int slot[DL_OP_MAX_SLOTS];
    int identity_of; /* in evaluation the op is left out and its last slot is this value; -1: never */
} dl_model_op;

/* One layer, as a person knows it. */
typedef struct dl_layer {
    const char *kind, *name;
    dl_place place; /* in the config */
    dl_shape output_shape;
    int output; /* value */
    int n_inputs;
    const int *input; /* values */
    bool trainable;
    double rate_factor; /* of the learning rate for its parameters */
    int64_t n_parameters;
    double forward_flops; /* of one sample */
} dl_layer;

enum { DL_MAX_FIGURES = DL_N_TOTALS - DL_TOTAL_METRIC };

/* An output with its loss: today one. Loss and metrics are values with one number for each row (scoring.h).
 */
typedef struct dl_output {
    int value;    /* what the last layer gives */
    int scores;   /* what loss and metrics look at: the probabilities of classes, or the same */
    int labels;   /* value of the field compared with: class numbers, or as many numbers as outputs */
    bool classes; /* which of the two */
    int loss;
    int64_t rows; /* of a sample: 1, or one for each position */
    int n_metrics;
    int metric[DL_MAX_FIGURES];
    const char *metric_name[DL_MAX_FIGURES];       /* "accuracy" */
    double (*finish[DL_MAX_FIGURES])(double mean); /* the figure of a mean; NULL: the mean itself */
} dl_output;

typedef struct dl_model {
    dl_pool *pool; /* owns everything below */
    int n_layers, n_values, n_ops, n_parameters;
    dl_layer *layer;
    dl_value *value;
    dl_model_op *op;          /* in order of execution */
    dl_parameter *parameter;  /* as declared, while building; afterwards read `table` */
    dl_parameter_table table; /* in arena order */
    dl_output output;
    int ids, step; /* values */
    int lengths;   /* value: positions of each sample that are not padding, int32; -1: all of them are not */
    bool stateful; /* there are STATE values */
    int64_t capacity_layers, capacity_values, capacity_ops, capacity_parameters;
} dl_model;

/* What the data set says about the samples; decides `units: auto` and checks the input. */
typedef struct dl_model_data {
    dl_shape sample_shape; /* of field x; n_dims 0: unknown */
    dl_dtype dtype;        /* of field x in the files */
    int64_t n_classes;     /* of a text: its vocabulary; 0: unknown */
    int n_normalize;       /* data.mean and data.std */
    const double *mean, *std;
    bool has_target; /* of field y, where it is known */
    dl_dtype target_dtype;
    dl_shape target_shape; /* of steps that have classes: without their number */
    bool target_steps;     /* y has a class for each step of a sequence of any length */
} dl_model_data;

typedef struct dl_model_options {
    dl_shape input_shape;
    bool tokens;     /* the input is tokens (int32, not normalised) */
    bool any_length; /* samples are sequences of different lengths; dimension 0 of input_shape is the longest
                      */
    const dl_node *layers;  /* the config's list */
    const dl_node *augment; /* random changes of training images; may be NULL */
    const dl_node *freeze;  /* names of layers that are not trainable, with * and ?; may be NULL */
    dl_place place;         /* of the model in the config, for messages */
    dl_place input_place;   /* of the input's shape */
    const dl_model_data *data;
    uint64_t seed;
    int64_t bucket_bytes;            /* 0: 25 MB */
    const struct dl_loss_kind *loss; /* NULL: softmax_cross_entropy */
    dl_place loss_place;
    double label_smoothing;
    int n_metrics;
    const char *const *metrics; /* "accuracy" */
} dl_model_options;

/* Builds a model. Mistakes (unknown layers and options, shapes that do not fit) go to `diagnostics` with
 * their place; then the status is DL_ERR_USAGE, already reported. */
DL_NODISCARD dl_status dl_model_build(const dl_model_options *options, dl_diagnostics *diagnostics,
                                      dl_model **out);
void dl_model_destroy(dl_model **model);

/* What the output at a position of a sequence depends on, in evaluation. */
typedef enum dl_context {
    DL_CONTEXT_WINDOW, /* any position of the sample; or there is one output for all of them */
    DL_CONTEXT_BEFORE, /* the positions up to it: what stands behind it changes nothing */
    /* The same, and all that counts of the positions before is carried in the model's state: positions may
     * come one at a time. */
    DL_CONTEXT_CARRIED
} dl_context;
dl_context dl_model_context(const dl_model *model);

/* FLOPs of one training sample: forward, and backward as far as it is needed. */
double dl_model_training_flops(const dl_model *model);

/* The layer kinds as a table for the reference, NULL-terminated. */
const struct dl_variant_kind *const *dl_layer_variants(void);

#endif
