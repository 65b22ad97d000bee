/* Finds cuDNN's engines for every distinct convolution of a configuration's training step, on a GPU that is
 * only described. Run by tests/gpu/plans.py:
 *
 *   convolution_plans DEVICE.json DTYPE RULES WORKSPACE_MIB FORM CONFIG [KEY=VALUE ...]
 *
 * DTYPE: float32, bfloat16, float16; RULES: any of "deterministic", "exact", "no-transform" joined by "+", or
 * "none"; FORM: fused or bare. Prints an object a line: kind, shape, engines, workspace of the first, or why
 * there is none; then how many convolutions the step has. Exit status 1 when nothing could be asked. */
#include "base/log.h"
#include "kernels/cuda/conv2d_graph.h"
#include "launcher/setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DISTINCT = 512, MAX_DEVICE_BYTES = 1 << 16 };

typedef struct question {
    dl_graph_device *device;
    dl_graph_rules rules;
    dl_conv2d_form form;
    dl_dtype dtype;
    int n_distinct, n_convolutions[3]; /* by kind, from conv2d_forward on */
    dl_text asked[MAX_DISTINCT];       /* the graphs' texts */
} question;

static bool is_convolution(const dl_instruction *instruction) {
    return instruction->type == DL_DO_OPERATION && instruction->kind <= DL_OP_CONV2D_BACKWARD_WEIGHTS;
}

/* Images and weights in the type asked for; bias, and the gradients of both, stay float32. */
static dl_op_desc in_dtype(const dl_op_desc *desc, dl_dtype dtype) {
    static const char *const names[] = {"x", "w", "y", "dx", "dy"};
    dl_op_desc typed = *desc;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const int slot = dl_op_slot(dl_op_info_of(desc->kind), names[i]);
        if (slot >= 0) {
            typed.slot[slot].dtype = dtype;
        }
    }
    return typed;
}

/* Has the graph not been asked for before? It has now. */
static dl_status note(question *q, const dl_graph *graph, bool *is_new) {
    DL_RETURN_ERROR_IF(q->n_distinct == MAX_DISTINCT, DL_ERR_INTERNAL, "too many convolutions");
    dl_text *text = &q->asked[q->n_distinct];
    DL_RETURN_IF_ERROR(dl_graph_text(graph, text));
    for (int i = 0; i < q->n_distinct; i++) {
        if (strcmp(q->asked[i].data, text->data) == 0) {
            dl_text_free(text);
            return DL_OK;
        }
    }
    q->n_distinct++;
    *is_new = true;
    return DL_OK;
}

/* cuDNN's reasons may hold quotes. */
static void print_text(const char *text) {
    for (; *text != '\0'; text++) {
        (void)putchar(*text == '"' || *text == '\\' || (unsigned char)*text < ' ' ? ' ' : *text);
    }
}

static void print_answer(const question *q, const dl_op_desc *desc, const dl_graph *graph) {
    dl_graph_engines *engines = NULL;
    const dl_graph_plan *plan = NULL;
    char shape[2][DL_SHAPE_TEXT_BYTES];
    const dl_op_info *info = dl_op_info_of(desc->kind);
    (void)printf("{\"kind\": \"%s\", \"first\": \"%s\", \"second\": \"%s\", \"nodes\": %d, ", info->name,
                 dl_shape_text(&desc->slot[0].shape, shape[0]), dl_shape_text(&desc->slot[1].shape, shape[1]),
                 graph->n_nodes);
    if (dl_graph_find(q->device, graph, &q->rules, &engines) != DL_OK ||
        dl_graph_plan_of(engines, 0, &plan) != DL_OK) {
        (void)printf("\"engines\": 0, \"reason\": \"");
        print_text(dl_error_last()->message);
        (void)printf("\"}\n");
        return;
    }
    (void)printf("\"engines\": %d, \"workspace\": %zu, \"names\": [", dl_graph_n_engines(engines),
                 plan->workspace_bytes);
    for (int i = 0; i < dl_graph_n_engines(engines); i++) {
        (void)printf("%s\"%s\"", i > 0 ? ", " : "", dl_graph_engine_name(engines, i));
    }
    (void)printf("]}\n");
}

static dl_status ask(question *q, const dl_program *program) {
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (!is_convolution(instruction) || instruction->micro > 0) {
            continue;
        }
        q->n_convolutions[instruction->kind - DL_OP_CONV2D_FORWARD]++;
        const dl_op_desc desc = in_dtype(&instruction->op->desc, q->dtype);
        dl_conv2d_graph made;
        bool is_new = false;
        dl_conv2d_graph_of(&desc, q->form, &made);
        DL_RETURN_IF_ERROR(note(q, &made.graph, &is_new));
        if (is_new) {
            print_answer(q, &desc, &made.graph);
        }
    }
    return DL_OK;
}

static dl_status read_question(char **words, question *q) {
    dl_text json = {0};
    q->rules = (dl_graph_rules){.deterministic = strstr(words[3], "deterministic") != NULL,
                                .exact = strstr(words[3], "exact") != NULL,
                                .no_transform = strstr(words[3], "no-transform") != NULL};
    q->rules.workspace_limit = (size_t)strtoul(words[4], NULL, 10) << 20;
    q->form = strcmp(words[5], "fused") == 0 ? DL_CONV2D_FUSED : DL_CONV2D_BARE;
    for (q->dtype = 0; q->dtype < DL_N_DTYPES && strcmp(dl_dtype_name(q->dtype), words[2]) != 0; q->dtype++) {
    }
    DL_RETURN_ERROR_IF(q->dtype == DL_N_DTYPES, DL_ERR_USAGE, "no type '%s'", words[2]);
    DL_RETURN_IF_ERROR(dl_file_read(words[1], MAX_DEVICE_BYTES, &json));
    const dl_status status = dl_graph_device_of_text(json.data, &q->device);
    dl_text_free(&json);
    return status;
}

static dl_status run(int n, char **words) {
    dl_setup setup = {0};
    dl_session *session = NULL;
    question q = {.device = NULL};
    dl_status status = read_question(words, &q);
    if (status == DL_OK) {
        status = dl_setup_load(words[6], (const char *const *)&words[7], n - 7, NULL, &setup);
    }
    if (status == DL_OK) {
        const dl_session_options dry = {.n_ranks = 1, .n_threads = 1, .training = true};
        status = dl_setup_session(&setup, &dry, &session);
    }
    if (status == DL_OK) {
        status = ask(&q, session->plan->program[session->train_full]);
    }
    (void)printf("{\"distinct\": %d, \"forward\": %d, \"backward_data\": %d, \"backward_weights\": %d}\n",
                 q.n_distinct, q.n_convolutions[0], q.n_convolutions[1], q.n_convolutions[2]);
    for (int i = 0; i < q.n_distinct; i++) {
        dl_text_free(&q.asked[i]);
    }
    dl_graph_device_destroy(&q.device);
    dl_session_close(&session);
    dl_setup_release(&setup);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 7) {
        (void)fprintf(stderr, "usage: %s DEVICE.json DTYPE RULES WORKSPACE_MIB FORM CONFIG [KEY=VALUE ...]\n",
                      argv[0]);
        return EXIT_FAILURE;
    }
    if (run(argc, argv) != DL_OK) {
        (void)fprintf(stderr, "%s\n", dl_error_last()->message);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
