/* The contract of a layer kind: one file in layers/, one row in layers.def.
 *
 * build() looks at the shapes of its inputs, declares parameters and appends forward operations; it returns
 * the value that the next layer sees. It never asks for a device, a rank or a batch size. */
#ifndef DLTRAIN_MODEL_LAYER_H
#define DLTRAIN_MODEL_LAYER_H

#include "config/option.h"
#include "model/model.h"

/* Options every layer takes; the first member of every layer's option struct. */
typedef struct dl_layer_common {
    const char *name;
    const dl_node *from;
    bool trainable;
    double rate_factor;
} dl_layer_common;

#define DL_LAYER_COMMON_OPTIONS                                                                              \
    {.name = "name",                                                                                         \
     .type = DL_TYPE_TEXT,                                                                                   \
     .offset = offsetof(dl_layer_common, name),                                                              \
     .fallback = "",                                                                                         \
     .doc = "name of the layer; default: its kind, then kind_1, kind_2, ..."},                               \
        {.name = "from",                                                                                     \
         .type = DL_TYPE_NODE,                                                                               \
         .offset = offsetof(dl_layer_common, from),                                                          \
         .fallback = "",                                                                                     \
         .doc =                                                                                              \
             "name of the layer whose output this one takes, or a list of names; above: the layer above; "   \
             "block_input: what entered this pass of a repeat; default: the layer above"},                   \
        {.name = "trainable",                                                                                \
         .type = DL_TYPE_BOOL,                                                                               \
         .offset = offsetof(dl_layer_common, trainable),                                                     \
         .fallback = "true",                                                                                 \
         .doc = "false: parameters keep their values"},                                                      \
    {                                                                                                        \
        .name = "learning_rate_factor", .type = DL_TYPE_FLOAT,                                               \
        .offset = offsetof(dl_layer_common, rate_factor), .fallback = "1", .min = 1e-9, .max = 1e9,          \
        .doc = "the learning rate is multiplied by this for the layer's parameters"                          \
    }

/* A layer under construction. */
typedef struct dl_layer_build {
    dl_model *model;
    dl_diagnostics *diagnostics;
    const dl_model_data *data;
    uint64_t seed;
    const dl_variant *variant; /* kind and options */
    int layer;                 /* its number */
    bool failed;               /* a mistake was reported for it */
    bool any_length;           /* an input is of any length: so are the sequences it makes */
} dl_layer_build;

typedef struct dl_layer_kind {
    dl_variant_kind variant; /* name, doc, options, bytes of the option struct */
    int min_inputs, max_inputs;
    bool takes_tokens;     /* int32 tokens instead of numbers */
    bool takes_any_length; /* sequences [T, F] whose T a program decides */
    /* Appends the layer to the model and gives its output value. Mistakes are reported with
     * dl_layer_mistake() and leave *output at -1. */
    dl_status (*build)(dl_layer_build *build, const void *options, const int *inputs, int n_inputs,
                       int *output);
} dl_layer_kind;

/* Reports a mistake at the layer's place: "conv2d 'name': TEXT". */
DL_NODISCARD dl_status dl_layer_mistake(dl_layer_build *build, const char *format, ...) DL_PRINTF(2, 3);

/* Name of the value's maker, for messages: "'conv2d_1'" or "the input". */
const char *dl_layer_source_name(const dl_layer_build *build, int value);

/* Appends a value to the model; *number is its number. */
DL_NODISCARD dl_status dl_model_add_value(dl_model *model, const dl_value *value, int *number);

/* A new computed value of this per-sample shape; `suffix` NULL: named as the layer, else "LAYER.suffix". One
 * of shape [T, F] that is made from sequences of any length is one itself. A shape beyond dl_shape_check's
 * limit is a mistake that ends the building: DL_ERR_USAGE, already reported. So it is for parameters. */
DL_NODISCARD dl_status dl_layer_value(dl_layer_build *build, const char *suffix, dl_dtype dtype,
                                      const dl_shape *shape, int *value);

/* A new computed value without samples, or with one row for each `group` of samples (0: none). */
DL_NODISCARD dl_status dl_layer_statistic(dl_layer_build *build, const char *suffix, dl_dtype dtype,
                                          const dl_shape *shape, int64_t group, int *value);
/* A value carried from step to step (dl_value_kind); its `next` is set when that is known. */
DL_NODISCARD dl_status dl_layer_state(dl_layer_build *build, const char *suffix, const dl_shape *shape,
                                      int *value);

/* The bytes of `source` under another shape of as many elements. */
DL_NODISCARD dl_status dl_layer_view(dl_layer_build *build, int source, const dl_shape *shape, int *value);

/* A parameter "/LAYER/TENSOR" of this canonical shape, as a value. */
DL_NODISCARD dl_status dl_layer_parameter(dl_layer_build *build, const char *tensor, const dl_shape *shape,
                                          dl_init_kind init, double fan_in, double fan_out, int *value);

/* A moving average "/LAYER/TENSOR": saved with the weights, changed by commits only. */
DL_NODISCARD dl_status dl_layer_moving(dl_layer_build *build, const char *tensor, const dl_shape *shape,
                                       dl_init_kind init, int *value);

/* Appends an operation; slots are value numbers in the order of the kind's slots, -1 absent. The descriptor
 * pointer stays valid until the next call. */
DL_NODISCARD dl_status dl_layer_op(dl_layer_build *build, dl_op_kind kind, const dl_op_attr *attr,
                                   const int *slots, int n_slots, dl_model_op **out);

/* Appends the activation named by `function` (index into dl_layer_activations) on `input`; linear gives it
 * back. */
DL_NODISCARD dl_status dl_layer_activate(dl_layer_build *build, int function, int input, int *output);

/* "linear", "relu", "tanh", "sigmoid", "softmax", NULL. */
extern const char *const dl_layer_activations[];

/* All layer kinds, NULL-terminated, in the order of layers.def. */
const dl_layer_kind *const *dl_layer_kinds(void);

#endif
