/* What the output at a position depends on: told from the graph. */
#include "program_kit.h"

static void expect(const char *layers, dl_context context) {
    kit k;
    kit_open(&k);
    k.tokens = true;
    kit_model(&k, DL_SHAPE(6), layers);
    (void)snprintf(kit_context, sizeof kit_context, "%s", layers);
    if (dl_model_context(k.model) != context) {
        fail_msg("context is %d, not %d: %s", (int)dl_model_context(k.model), (int)context, layers);
    }
    kit_close(&k);
}

#define EMBEDDING "- embedding: {input_dim: 5, output_dim: 4}\n"
#define STATEFUL "- lstm: {units: 4, return_sequences: true, stateful: true}\n"
#define STATELESS "- lstm: {units: 4, return_sequences: true}\n"
#define NORM "- batch_normalization\n"
#define DENSE "- dense: {units: 5, activation: softmax}\n"

static void states_carry_the_past(void **state) {
    (void)state;
    expect(EMBEDDING STATEFUL DENSE, DL_CONTEXT_CARRIED);
    expect(EMBEDDING DENSE, DL_CONTEXT_CARRIED); /* the last token alone counts */
    expect(EMBEDDING STATEFUL "- dropout: {rate: 0.5}\n"
                              "- dense: {units: 4, activation: tanh, name: d}\n" STATEFUL
                              "- add: {from: [d, above]}\n" DENSE,
           DL_CONTEXT_CARRIED);
}

/* The statistics of the batch, which look at all positions, are those of training. */
static void moving_averages_look_at_no_position(void **state) {
    (void)state;
    expect(EMBEDDING STATEFUL NORM DENSE, DL_CONTEXT_CARRIED);
    expect(EMBEDDING STATELESS NORM DENSE, DL_CONTEXT_BEFORE);
    expect(EMBEDDING "- batch_normalization: {trainable: false, activation: relu}\n" STATEFUL DENSE,
           DL_CONTEXT_CARRIED);
    expect(EMBEDDING STATEFUL "- batch_normalization: {statistics: 2}\n" DENSE, DL_CONTEXT_CARRIED);
    expect(EMBEDDING "- lstm: {units: 4}\n" NORM DENSE, DL_CONTEXT_WINDOW);
}

static void without_them_it_is_read_again(void **state) {
    (void)state;
    expect(EMBEDDING STATELESS DENSE, DL_CONTEXT_BEFORE);
    expect(EMBEDDING STATELESS STATEFUL DENSE, DL_CONTEXT_BEFORE);
    expect(EMBEDDING STATEFUL STATELESS DENSE, DL_CONTEXT_BEFORE);
}

static void what_looks_ahead_needs_the_window(void **state) {
    (void)state;
    expect(EMBEDDING "- lstm: {units: 4}\n" DENSE, DL_CONTEXT_WINDOW);
    expect(EMBEDDING "- flatten\n" DENSE, DL_CONTEXT_WINDOW);
    expect(EMBEDDING "- lstm: {units: 4, return_sequences: true, bidirectional: true}\n" DENSE,
           DL_CONTEXT_WINDOW);
    expect(EMBEDDING "- lstm: {units: 4, return_sequences: true, go_backwards: true}\n" DENSE,
           DL_CONTEXT_WINDOW);
    expect(EMBEDDING "- flatten\n- dense: {units: 30}\n- reshape: {shape: [6, 5]}\n" STATEFUL DENSE,
           DL_CONTEXT_WINDOW);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_carry_the_past),
        cmocka_unit_test(moving_averages_look_at_no_position),
        cmocka_unit_test(without_them_it_is_read_again),
        cmocka_unit_test(what_looks_ahead_needs_the_window),
    };
    return cmocka_run_group_tests_name("model_context", tests, NULL, NULL);
}
