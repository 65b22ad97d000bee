/* lstm: long short-term memory over the positions of a sequence, with Keras's options. A bidirectional one is
 * two, the second over the reversed sequence, with their outputs side by side. */
#include "model/layer.h"

typedef struct lstm_options {
    dl_layer_common common;
    int64_t units;
    bool return_sequences, stateful, go_backwards, bidirectional;
} lstm_options;

static const dl_option options[] = {
    {.name = "units",
     .type = DL_TYPE_INT,
     .offset = offsetof(lstm_options, units),
     .min = 1,
     .max = 1 << 20,
     .doc = "number of outputs; of each direction"},
    {.name = "return_sequences",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(lstm_options, return_sequences),
     .fallback = "false",
     .doc = "an output at every position instead of the last one alone"},
    {.name = "stateful",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(lstm_options, stateful),
     .fallback = "false",
     .doc = "each row of a batch goes on where the same row of the batch before ended"},
    {.name = "go_backwards",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(lstm_options, go_backwards),
     .fallback = "false",
     .doc = "from the last position to the first; the outputs come in that order, too"},
    {.name = "bidirectional",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(lstm_options, bidirectional),
     .fallback = "false",
     .doc =
         "a second lstm goes backwards; its outputs, in the order of the sequence, stand behind the first's"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

/* One direction: names of its parameters and values, and what it reads. */
typedef struct direction {
    const char *weight_ih, *weight_hh, *bias, *sums, *gates, *cells, *positions, *last;
} direction;

static const direction forwards = {"weight_ih", "weight_hh", "bias",      "sums",
                                   "gates",     "cells",     "positions", "last"};
static const direction backwards = {"weight_ih_reverse", "weight_hh_reverse", "bias_reverse",
                                    "sums_reverse",      "gates_reverse",     "cells_reverse",
                                    "positions_reverse", "last_reverse"};

/* All positions' inputs to the gates, x W_ih^T + b. Keras draws W_ih as one matrix [inputs, 4 units]. */
static dl_status emit_sums(dl_layer_build *build, const lstm_options *o, const direction *d, int x,
                           int *sums) {
    const dl_shape shape = build->model->value[x].shape;
    const int64_t in = shape.dim[1], gates = 4 * o->units;
    int weight = -1, bias = -1;
    DL_RETURN_IF_ERROR(dl_layer_parameter(build, d->weight_ih, &DL_SHAPE(gates, in), DL_INIT_GLOROT_UNIFORM,
                                          (double)in, (double)gates, &weight));
    DL_RETURN_IF_ERROR(
        dl_layer_parameter(build, d->bias, &DL_SHAPE(gates), DL_INIT_FORGET_BIAS, 0, 0, &bias));
    DL_RETURN_IF_ERROR(dl_layer_value(build, d->sums, DL_F32, &DL_SHAPE(shape.dim[0], gates), sums));
    const int slots[] = {x, weight, bias, *sums};
    return dl_layer_op(build, DL_OP_DENSE_FORWARD, &(dl_op_attr){0}, slots, 4, NULL);
}

/* The carried state and what it becomes: slots h0, c0, hn, cn. */
static dl_status emit_state(dl_layer_build *build, const lstm_options *o, int slots[4]) {
    static const char *const names[] = {"h", "c", "h_next", "c_next"};
    for (int i = 0; i < 2; i++) {
        DL_RETURN_IF_ERROR(dl_layer_state(build, names[i], &DL_SHAPE(o->units), &slots[i]));
        DL_RETURN_IF_ERROR(dl_layer_value(build, names[2 + i], DL_F32, &DL_SHAPE(o->units), &slots[2 + i]));
        build->model->value[slots[i]].next = slots[2 + i];
    }
    return DL_OK;
}

static dl_status emit_reverse(dl_layer_build *build, const char *suffix, int x, int *y) {
    const dl_shape shape = build->model->value[x].shape;
    DL_RETURN_IF_ERROR(dl_layer_value(build, suffix, DL_F32, &shape, y));
    const int slots[] = {x, build->model->lengths, *y};
    return dl_layer_op(build, DL_OP_REVERSE_BY_LENGTH, &(dl_op_attr){0}, slots, 3, NULL);
}

static dl_status emit_last(dl_layer_build *build, const direction *d, int x, int *y) {
    const dl_shape shape = DL_SHAPE(build->model->value[x].shape.dim[1]);
    DL_RETURN_IF_ERROR(dl_layer_value(build, d->last, DL_F32, &shape, y));
    const int slots[] = {x, build->model->lengths, *y};
    return dl_layer_op(build, DL_OP_TAKE_LAST, &(dl_op_attr){0}, slots, 3, NULL);
}

/* The outputs at all positions of x, as they come. */
static dl_status emit_recurrence(dl_layer_build *build, const lstm_options *o, const direction *d, int x,
                                 int *y) {
    const int64_t length = build->model->value[x].shape.dim[0], h = o->units;
    int sums = -1, weight = -1, gates = -1, cells = -1, state[4] = {-1, -1, -1, -1};
    DL_RETURN_IF_ERROR(emit_sums(build, o, d, x, &sums));
    DL_RETURN_IF_ERROR(
        dl_layer_parameter(build, d->weight_hh, &DL_SHAPE(4 * h, h), DL_INIT_ORTHOGONAL, 0, 0, &weight));
    if (o->stateful) {
        DL_RETURN_IF_ERROR(emit_state(build, o, state));
    }
    DL_RETURN_IF_ERROR(dl_layer_value(build, d->positions, DL_F32, &DL_SHAPE(length, h), y));
    DL_RETURN_IF_ERROR(dl_layer_value(build, d->gates, DL_F32, &DL_SHAPE(length, 4 * h), &gates));
    DL_RETURN_IF_ERROR(dl_layer_value(build, d->cells, DL_F32, &DL_SHAPE(length, h), &cells));
    const int slots[] = {sums, weight, state[0], state[1], *y, state[2], state[3], gates, cells};
    return dl_layer_op(build, DL_OP_LSTM_FORWARD, &(dl_op_attr){0}, slots, 9, NULL);
}

/* One direction with its output: of all positions or the last one. */
static dl_status emit_direction(dl_layer_build *build, const lstm_options *o, const direction *d,
                                bool reversed, int x, int *y) {
    int in = x;
    if (reversed) {
        DL_RETURN_IF_ERROR(emit_reverse(build, "reversed", x, &in));
    }
    DL_RETURN_IF_ERROR(emit_recurrence(build, o, d, in, y));
    return o->return_sequences ? DL_OK : emit_last(build, d, *y, y);
}

static dl_status emit_both(dl_layer_build *build, const lstm_options *o, int x, int *output) {
    int parts[2] = {-1, -1};
    DL_RETURN_IF_ERROR(emit_direction(build, o, &forwards, false, x, &parts[0]));
    DL_RETURN_IF_ERROR(emit_direction(build, o, &backwards, true, x, &parts[1]));
    if (o->return_sequences) {
        DL_RETURN_IF_ERROR(emit_reverse(build, "restored", parts[1], &parts[1]));
    }
    dl_shape shape = build->model->value[parts[0]].shape;
    shape.dim[shape.n_dims - 1] = 2 * o->units;
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &shape, output));
    const dl_op_attr attr = {.u.concatenate.width = {o->units, o->units}};
    const int slots[] = {parts[0], parts[1], -1, -1, -1, -1, *output};
    return dl_layer_op(build, DL_OP_CONCATENATE_FORWARD, &attr, slots, 7, NULL);
}

static dl_status build_lstm(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                            int *output) {
    (void)n_inputs;
    const lstm_options *o = values;
    const dl_shape *in = &build->model->value[inputs[0]].shape;
    if (in->n_dims != 2) {
        char text[DL_SHAPE_TEXT_BYTES];
        return dl_layer_mistake(
            build,
            "needs a sequence [positions, features], but gets %s from '%s'; an lstm above "
            "it gives one with return_sequences: true",
            dl_shape_text(in, text), dl_layer_source_name(build, inputs[0]));
    }
    if (o->bidirectional && o->go_backwards) {
        return dl_layer_mistake(build, "is bidirectional: it goes backwards already; leave go_backwards out");
    }
    if (o->stateful && (o->bidirectional || o->go_backwards || build->any_length)) {
        return dl_layer_mistake(
            build, "cannot be stateful: what it carries on is the state at the last position, %s",
            build->any_length ? "but here samples differ in length"
                              : "but it begins there when it goes backwards");
    }
    if (o->bidirectional) {
        return emit_both(build, o, inputs[0], output);
    }
    return emit_direction(build, o, &forwards, o->go_backwards, inputs[0], output);
}

const dl_layer_kind dl_layer_lstm = {
    .variant = {.name = "lstm",
                .doc = "long short-term memory over the positions of a sequence",
                .options = options,
                .n_bytes = sizeof(lstm_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_any_length = true,
    .build = build_lstm,
};
