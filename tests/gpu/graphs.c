/* cuDNN graphs on a GPU that is only described: what makes graphs different, what is kept, what is refused,
 * and which graph an operation becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/cuda/conv2d_graph.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DEVICE_BYTES = 1 << 16 };

static const char *device_path;
static const dl_graph_rules any_engine = {.workspace_limit = (size_t)1 << 30};

static int open_device(void **state) {
    dl_text json = {0};
    dl_graph_device *device = NULL;
    const bool made = dl_file_read(device_path, MAX_DEVICE_BYTES, &json) == DL_OK &&
                      dl_graph_device_of_text(json.data, &device) == DL_OK;
    dl_text_free(&json);
    *state = device;
    return made ? 0 : -1;
}

static int close_device(void **state) {
    dl_graph_device *device = *state;
    dl_graph_device_destroy(&device);
    return 0;
}

/* --- operations --- */

static const dl_conv_attr plain_attr = {.stride = {1, 1}, .padding = {1, 1, 1, 1}, .groups = 1};

static void set(dl_op_desc *desc, const char *name, dl_dtype dtype, dl_shape shape) {
    const int slot = dl_op_slot(dl_op_info_of(desc->kind), name);
    if (slot >= 0) {
        desc->slot[slot] = (dl_tensor_desc){.present = true, .dtype = dtype, .shape = shape};
    }
}

/* A convolution of n images of 9 x 7 cells, c -> k channels, window 3 x 3; bias and gradients in float32. */
static dl_op_desc convolution(dl_op_kind kind, dl_dtype dtype, int64_t n, int64_t c, int64_t k,
                              dl_conv_attr attr) {
    dl_op_desc desc = {.kind = kind, .attr.u.conv = attr};
    const int64_t p = (9 + attr.padding[0] + attr.padding[1] - 3) / attr.stride[0] + 1;
    const int64_t q = (7 + attr.padding[2] + attr.padding[3] - 3) / attr.stride[1] + 1;
    const dl_shape x = DL_SHAPE(n, 9, 7, c), w = DL_SHAPE(k, c / attr.groups, 3, 3), y = DL_SHAPE(n, p, q, k);
    set(&desc, "x", dtype, x);
    set(&desc, "dx", dtype, x);
    set(&desc, "w", dtype, w);
    set(&desc, "dw", DL_F32, w);
    set(&desc, "y", dtype, y);
    set(&desc, "dy", dtype, y);
    return desc;
}

static const dl_graph_tensor *tensor_of(const dl_conv2d_graph *made, int slot) {
    for (int i = 0; i < made->graph.n_tensors; i++) {
        if (made->slot[i] == slot) {
            return &made->graph.tensor[i];
        }
    }
    return NULL;
}

/* --- tests --- */

static void differ(const dl_graph *a, const dl_graph *b, const char *in) {
    dl_text text_a = {0}, text_b = {0};
    assert_int_equal(dl_graph_text(a, &text_a), DL_OK);
    assert_int_equal(dl_graph_text(b, &text_b), DL_OK);
    if (strcmp(text_a.data, text_b.data) == 0) {
        fail_msg("graphs that differ in %s have one text: %s", in, text_a.data);
    }
    dl_text_free(&text_a);
    dl_text_free(&text_b);
}

/* Plans are kept by text: what the text leaves out would be mixed up. */
static void every_field_is_in_the_text(void **state) {
    (void)state;
    dl_conv2d_graph made;
    const dl_op_desc desc = convolution(DL_OP_CONV2D_FORWARD, DL_F32, 4, 8, 16, plain_attr);
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    const dl_graph graph = made.graph;
#define CHANGED(field)                                                                                       \
    do {                                                                                                     \
        dl_graph other = graph;                                                                              \
        other.field++;                                                                                       \
        differ(&graph, &other, #field);                                                                      \
    } while (0)
    for (int d = 0; d < DL_GRAPH_DIMS; d++) {
        CHANGED(tensor[1].dim[d]);
        CHANGED(tensor[2].stride[d]);
    }
    for (int d = 0; d < 2; d++) {
        CHANGED(node[0].stride[d]);
        CHANGED(node[0].before[d]);
        CHANGED(node[0].after[d]);
    }
    CHANGED(tensor[0].dtype);
    CHANGED(tensor[0].alignment);
    CHANGED(node[0].kind);
    CHANGED(node[0].x);
    CHANGED(node[0].w);
    CHANGED(node[0].y);
    CHANGED(n_tensors);
    CHANGED(n_nodes);
#undef CHANGED
    dl_graph other = graph;
    other.tensor[0].is_virtual = true;
    differ(&graph, &other, "is_virtual");
}

static void engines_are_found_once(void **state) {
    dl_graph_device *device = *state;
    dl_conv2d_graph made;
    dl_graph_engines *first = NULL, *second = NULL, *other = NULL;
    const dl_graph_plan *plan = NULL, *again = NULL;
    const dl_op_desc desc = convolution(DL_OP_CONV2D_FORWARD, DL_F32, 4, 8, 16, plain_attr);
    dl_graph_rules exact = any_engine;
    exact.exact = true;
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    assert_int_equal(dl_graph_find(device, &made.graph, &any_engine, &first), DL_OK);
    assert_int_equal(dl_graph_find(device, &made.graph, &any_engine, &second), DL_OK);
    assert_int_equal(dl_graph_find(device, &made.graph, &exact, &other), DL_OK);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, other);
    const int last = dl_graph_n_engines(first) - 1;
    assert_int_equal(dl_graph_plan_of(first, 0, &plan), DL_OK);
    assert_int_equal(dl_graph_plan_of(first, 0, &again), DL_OK);
    assert_ptr_equal(plan, again);
    assert_non_null(plan->descriptor);
    assert_int_equal(dl_graph_plan_of(first, last + 1, &plan), DL_ERR_INTERNAL);
    assert_int_equal(dl_graph_plan_of(first, -1, &plan), DL_ERR_INTERNAL);
}

/* The limit is one of each plan, not a wish. */
static void workspace_is_limited(void **state) {
    dl_conv2d_graph made;
    dl_graph_engines *engines = NULL;
    const dl_op_desc desc = convolution(DL_OP_CONV2D_BACKWARD_WEIGHTS, DL_BF16, 64, 64, 64, plain_attr);
    const dl_graph_rules none = {.workspace_limit = 0};
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    assert_int_equal(dl_graph_find(*state, &made.graph, &none, &engines), DL_OK);
    for (int i = 0; i < dl_graph_n_engines(engines); i++) {
        const dl_graph_plan *plan = NULL;
        const dl_status status = dl_graph_plan_of(engines, i, &plan);
        assert_true(status == DL_OK ? plan->workspace_bytes == 0 : i > 0);
    }
}

static void what_cannot_be_is_refused(void **state) {
    dl_graph_device *nothing = NULL;
    dl_conv2d_graph made;
    dl_graph_engines *engines = NULL;
    assert_int_equal(dl_graph_device_of_text("{\"deviceVer\": 900", &nothing), DL_ERR_USAGE);
    assert_null(nothing);
    assert_non_null(strstr(dl_error_last()->message, "no description of a GPU"));
    /* 8 channels of x, 9 of w */
    const dl_op_desc desc = convolution(DL_OP_CONV2D_FORWARD, DL_F32, 4, 8, 16, plain_attr);
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    made.graph.tensor[2].dim[1] = 9;
    for (int i = 0; i < 2; i++) { /* the second time from what is kept */
        assert_int_not_equal(dl_graph_find(*state, &made.graph, &any_engine, &engines), DL_OK);
        assert_non_null(strstr(dl_error_last()->message, i == 0 ? "CUDNN_STATUS" : "no engine"));
    }
}

/* Images are channels last; weights [k, c, r, s] or, where they are copies, [k, r, s, c]. */
static void strides_say_what_lies_where(void **state) {
    (void)state;
    static const dl_layout copies = {.name = "krsc"};
    dl_op_desc desc = convolution(DL_OP_CONV2D_FORWARD, DL_BF16, 4, 5, 6, plain_attr);
    dl_conv2d_graph made;
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    const dl_graph_tensor *x = tensor_of(&made, 0), *w = tensor_of(&made, 1);
    const int64_t image[] = {9 * 7 * 5, 1, 7 * 5, 5}, plain[] = {45, 9, 3, 1}, copy[] = {45, 1, 15, 5};
    assert_memory_equal(x->stride, image, sizeof image);
    assert_memory_equal(w->stride, plain, sizeof plain);
    assert_int_equal(x->dtype, CUDNN_DATA_BFLOAT16);
    desc.slot[1].layout = &copies;
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    assert_memory_equal(tensor_of(&made, 1)->stride, copy, sizeof copy);
}

/* A piece begins behind any number of samples: 9 x 7 x 5 values of 2 bytes are no multiple of 16. */
static void alignment_is_that_of_a_sample(void **state) {
    (void)state;
    dl_conv2d_graph made;
    dl_op_desc desc = convolution(DL_OP_CONV2D_FORWARD, DL_BF16, 4, 5, 8, plain_attr);
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    assert_int_equal(tensor_of(&made, 0)->alignment, 2);
    assert_int_equal(tensor_of(&made, 3)->alignment, 16);
}

static void bias_and_activation_are_fused(void **state) {
    (void)state;
    dl_conv2d_graph made;
    dl_op_desc desc = convolution(DL_OP_CONV2D_FORWARD, DL_F32, 4, 8, 16, plain_attr);
    assert_false(dl_conv2d_has_forms(&desc));
    desc.attr.activation = DL_ACT_TANH;
    set(&desc, "b", DL_F32, DL_SHAPE(16));
    assert_true(dl_conv2d_has_forms(&desc));
    assert_false(dl_conv2d_fuses(&desc));
    dl_conv2d_graph_of(&desc, DL_CONV2D_FUSED, &made);
    const dl_graph *graph = &made.graph;
    assert_int_equal(graph->n_nodes, 3);
    assert_int_equal(graph->node[1].kind, DL_GRAPH_ADD);
    assert_int_equal(graph->node[2].kind, DL_GRAPH_TANH);
    assert_int_equal(made.slot[graph->node[1].w], 2);
    assert_int_equal(made.slot[graph->node[2].y], 3);
    for (int i = 0; i < 2; i++) { /* each reads what the one before made */
        assert_int_equal(graph->node[i].y, graph->node[i + 1].x);
        assert_true(graph->tensor[graph->node[i].y].is_virtual);
        assert_int_equal(made.slot[graph->node[i].y], DL_CONV2D_NOWHERE);
    }
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    assert_int_equal(made.graph.n_nodes, 1);
    assert_int_equal(made.slot[made.graph.node[0].y], 3);
}

/* cuDNN makes weight gradients in the images' type: that is not the arena's for 16 bits. */
static void weight_gradients_are_staged_for_16_bits(void **state) {
    (void)state;
    dl_conv2d_graph made;
    dl_op_desc desc = convolution(DL_OP_CONV2D_BACKWARD_WEIGHTS, DL_F32, 4, 8, 16, plain_attr);
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    assert_int_equal(made.slot[made.graph.node[0].w], 2);
    desc = convolution(DL_OP_CONV2D_BACKWARD_WEIGHTS, DL_F16, 4, 8, 16, plain_attr);
    dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
    assert_int_equal(made.slot[made.graph.node[0].w], DL_CONV2D_STAGED);
    assert_int_equal(made.graph.tensor[made.graph.node[0].w].dtype, CUDNN_DATA_HALF);
}

/* What models of this project ask for beside ResNet and VGG: odd channels, uneven padding, strides, groups,
 * one sample. */
static void unusual_convolutions_have_engines(void **state) {
    static const dl_conv_attr attrs[] = {
        {.stride = {1, 1}, .padding = {1, 1, 1, 1}, .groups = 1},
        {.stride = {2, 2}, .padding = {0, 1, 0, 1}, .groups = 1},
        {.stride = {2, 1}, .padding = {0, 0, 2, 1}, .groups = 1},
        {.stride = {1, 1}, .padding = {1, 1, 1, 1}, .groups = 4},
    };
    static const int64_t channels[][2] = {{1, 3}, {5, 7}, {8, 12}, {64, 64}};
    static const dl_dtype dtypes[] = {DL_F32, DL_BF16, DL_F16};
    static const dl_graph_rules strict = {
        .deterministic = true, .no_transform = true, .workspace_limit = (size_t)1 << 30};
    for (int kind = DL_OP_CONV2D_FORWARD; kind <= DL_OP_CONV2D_BACKWARD_WEIGHTS; kind++) {
        for (int i = 0; i < 4 * 4 * 3 * 2; i++) {
            const dl_conv_attr attr = attrs[i % 4];
            const int64_t *c = channels[i / 4 % 4], n = i / 48 == 0 ? 1 : 6;
            if (c[0] % attr.groups != 0) {
                continue;
            }
            const dl_op_desc desc = convolution((dl_op_kind)kind, dtypes[i / 16 % 3], n, c[0], c[1], attr);
            assert_int_equal(dl_op_check(&desc) == DL_OK || desc.slot[0].dtype != DL_F32, true);
            dl_conv2d_graph made;
            dl_graph_engines *engines = NULL;
            dl_conv2d_graph_of(&desc, DL_CONV2D_BARE, &made);
            if (dl_graph_find(*state, &made.graph, &strict, &engines) != DL_OK) {
                fail_msg("%s", dl_error_last()->message);
            }
        }
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_in_the_text),
        cmocka_unit_test(engines_are_found_once),
        cmocka_unit_test(workspace_is_limited),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(strides_say_what_lies_where),
        cmocka_unit_test(alignment_is_that_of_a_sample),
        cmocka_unit_test(bias_and_activation_are_fused),
        cmocka_unit_test(weight_gradients_are_staged_for_16_bits),
        cmocka_unit_test(unusual_convolutions_have_engines),
    };
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s DEVICE.json\n", argv[0]);
        return 1;
    }
    device_path = argv[1];
    return cmocka_run_group_tests(tests, open_device, close_device);
}
