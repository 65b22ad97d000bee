/* embedding: a row of a table for each token. */
#include "model/layer.h"

typedef struct embedding_options {
    dl_layer_common common;
    int64_t input_dim, output_dim;
} embedding_options;

static const char *const dim_words[] = {"auto", NULL};

static const dl_option options[] = {
    {.name = "input_dim",
     .type = DL_TYPE_INT,
     .offset = offsetof(embedding_options, input_dim),
     .fallback = "auto",
     .min = 1,
     .max = 1 << 28,
     .words = dim_words,
     .doc = "number of different tokens; auto: the vocabulary of the data set"},
    {.name = "output_dim",
     .type = DL_TYPE_INT,
     .offset = offsetof(embedding_options, output_dim),
     .min = 1,
     .max = 1 << 24,
     .doc = "values for each token"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status find_vocabulary(dl_layer_build *build, const embedding_options *o, int64_t *vocabulary) {
    const int64_t n = build->data->n_classes;
    *vocabulary = o->input_dim;
    if (o->input_dim == DL_WORD(0)) {
        *vocabulary = n;
        if (n <= 0) {
            return dl_layer_mistake(
                build, "input_dim: auto needs a data set with a vocabulary; give the number instead");
        }
    } else if (n > o->input_dim) {
        return dl_layer_mistake(build,
                                "has input_dim %lld, but the data set has %lld tokens; use input_dim: auto",
                                (long long)o->input_dim, (long long)n);
    }
    return DL_OK;
}

static dl_status build_embedding(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                                 int *output) {
    (void)n_inputs;
    const embedding_options *o = values;
    int64_t vocabulary = 0;
    DL_RETURN_IF_ERROR(find_vocabulary(build, o, &vocabulary));
    if (build->failed) {
        return DL_OK;
    }
    dl_shape shape = build->model->value[inputs[0]].shape;
    shape.dim[shape.n_dims++] = o->output_dim;
    int weight = -1;
    DL_RETURN_IF_ERROR(dl_layer_parameter(build, "weight", &DL_SHAPE(vocabulary, o->output_dim),
                                          DL_INIT_SMALL_UNIFORM, 0, 0, &weight));
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &shape, output));
    const int slots[] = {inputs[0], weight, *output};
    return dl_layer_op(build, DL_OP_EMBEDDING_FORWARD, &(dl_op_attr){0}, slots, 3, NULL);
}

const dl_layer_kind dl_layer_embedding = {
    .variant = {.name = "embedding",
                .doc = "a trained vector for each token",
                .options = options,
                .n_bytes = sizeof(embedding_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_tokens = true,
    .takes_any_length = true,
    .build = build_embedding,
};
