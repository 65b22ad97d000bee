/* LSTM, embedding, and what knows lengths. */
#include "conformance.h"

static const struct lstm_row {
    const char *name;
    int64_t n, t, h;
    bool carried; /* h0 and c0 are given, hn and cn asked for */
    int flags;
} lstms[] = {
    {"8 samples, 5 positions, 16 units", 8, 5, 16, false, DLC_ROWS},
    {"carried state", 6, 4, 32, true, DLC_ROWS},
    {"primes", 7, 3, 13, true, DLC_ROWS},
    {"128 units", 3, 2, 128, false, DLC_ROWS},
    {"one position", 5, 1, 9, false, 0},
    {"one position, carried state", 5, 1, 9, true, 0},
    {"one sample", 1, 6, 20, true, 0},
    {"one unit", 4, 7, 1, false, 0},
    {"one of each", 1, 1, 1, true, 0},
    {"61 samples", 61, 3, 17, false, 0},
};

static void lstm(dlc_list *list, const struct lstm_row *g, int flags) {
    dlc_case *test = dlc_add(list, DL_OP_LSTM_FORWARD, g->name, flags, DLC_UNIFORM);
    const dl_shape gates = DL_SHAPE(g->n, g->t, 4 * g->h), positions = DL_SHAPE(g->n, g->t, g->h);
    dlc_slot(test, "z", DL_F32, gates);
    dlc_slot(test, "w_hh", DL_F32, DL_SHAPE(4 * g->h, g->h));
    static const char *const ends[] = {"h0", "c0", "hn", "cn"};
    for (int i = 0; i < 4 && g->carried; i++) {
        dlc_slot(test, ends[i], DL_F32, DL_SHAPE(g->n, g->h));
    }
    dlc_slot(test, "y", DL_F32, positions);
    if ((flags & DLC_FORWARD_ONLY) == 0) {
        dlc_slot(test, "gates", DL_F32, gates);
    }
    dlc_slot(test, "cells", DL_F32, positions);
}

static const struct lstm_layer_row {
    const char *name;
    int64_t n, t, inputs, h;
    bool carried;
    int flags;
} lstm_layers[] = {
    {"8 samples, 5 positions, 8 units", 8, 5, 6, 8, false, DLC_ROWS},
    {"carried state", 6, 4, 8, 8, true, DLC_ROWS},
    {"primes", 7, 3, 5, 13, true, DLC_ROWS},
    {"128 units: no slope, third derivatives are large", 3, 2, 64, 128, false, DLC_KINKS},
    {"one position, carried state", 5, 1, 9, 9, true, 0},
    {"one input", 4, 6, 1, 8, false, 0},
    {"one of each", 1, 1, 1, 1, true, 0},
    {"no samples", 0, 3, 4, 8, false, 0},
};

static void lstm_layer(dlc_list *list, const struct lstm_layer_row *g, int flags) {
    dlc_case *test = dlc_add(list, DL_OP_LSTM_LAYER_FORWARD, g->name, flags, DLC_UNIFORM);
    dlc_slot(test, "x", DL_F32, DL_SHAPE(g->n, g->t, g->inputs));
    dlc_slot(test, "w_ih", DL_F32, DL_SHAPE(4 * g->h, g->inputs));
    dlc_slot(test, "w_hh", DL_F32, DL_SHAPE(4 * g->h, g->h));
    dlc_slot(test, "b", DL_F32, DL_SHAPE(4 * g->h));
    static const char *const ends[] = {"h0", "c0", "hn", "cn"};
    for (int i = 0; i < 4 && g->carried; i++) {
        dlc_slot(test, ends[i], DL_F32, DL_SHAPE(g->n, g->h));
    }
    dlc_slot(test, "y", DL_F32, DL_SHAPE(g->n, g->t, g->h));
    if ((flags & DLC_FORWARD_ONLY) == 0) {
        dlc_slot(test, "reserve", DL_F32, DL_SHAPE(g->n, g->t, 5 * g->h));
    }
}

static void embedding(dlc_list *list, const char *name, int flags, dl_shape tokens, int64_t vocabulary,
                      int64_t width) {
    dlc_case *test = dlc_add(list, DL_OP_EMBEDDING_FORWARD, name, flags, DLC_UNIFORM);
    dl_shape rows = tokens;
    rows.dim[rows.n_dims++] = width;
    dlc_slot(test, "x", DL_I32, tokens);
    dlc_slot(test, "w", DL_F32, DL_SHAPE(vocabulary, width));
    dlc_slot(test, "y", DL_F32, rows);
}

static const struct token_row {
    const char *name;
    dl_shape tokens;
    int64_t vocabulary, inputs, outputs;
    bool biased;
    int flags;
} token_layers[] = {
    {"tokens of sequences", {2, {9, 5}}, 11, 33, 40, true, DLC_ROWS},
    {"one token a sample", {1, {13}}, 7, 32, 32, false, DLC_ROWS},
    {"wide", {2, {31, 7}}, 150, 64, 512, true, 0},
    {"many distinct tokens", {2, {61, 11}}, 3000, 48, 65, true, 0},
    {"more words than tokens", {2, {2, 3}}, 1000, 37, 129, true, 0},
    {"a vocabulary of whole words of bits", {2, {50, 4}}, 128, 32, 64, true, 0},
    {"gaps in the vocabulary", {2, {8, 30}}, 200, 35, 70, true, DLC_FEW_TOKENS},
    {"one word", {2, {7, 9}}, 1, 40, 33, true, 0},
    {"one token", {2, {1, 1}}, 9, 32, 33, true, 0},
    {"one of each", {2, {1, 1}}, 1, 1, 1, true, 0},
    {"narrow", {2, {6, 4}}, 10, 3, 5, true, DLC_ROWS},
    {"strangers", {2, {9, 5}}, 20, 34, 36, true, DLC_STRANGERS | DLC_KINKS},
    {"strangers, no bias", {1, {24}}, 3, 34, 36, false, DLC_STRANGERS | DLC_KINKS},
};

static void token_layer(dlc_list *list, const struct token_row *g) {
    dlc_case *test = dlc_add(list, DL_OP_EMBEDDING_DENSE_FORWARD, g->name, g->flags, DLC_UNIFORM);
    dl_shape rows = g->tokens;
    rows.dim[rows.n_dims++] = g->outputs;
    dlc_slot(test, "x", DL_I32, g->tokens);
    dlc_slot(test, "table", DL_F32, DL_SHAPE(g->vocabulary, g->inputs));
    dlc_slot(test, "w", DL_F32, DL_SHAPE(g->outputs, g->inputs));
    dlc_slot(test, "y", DL_F32, rows);
    if (g->biased) {
        dlc_slot(test, "b", DL_F32, DL_SHAPE(g->outputs));
    }
}

static void by_length(dlc_list *list, const char *name, int flags, dl_shape x, bool lengths) {
    for (int last = 0; last < 2; last++) {
        dlc_case *test =
            dlc_add(list, last ? DL_OP_TAKE_LAST : DL_OP_REVERSE_BY_LENGTH, name, flags, DLC_UNIFORM);
        dl_shape y = x;
        if (last) {
            y = x.n_dims == 2 ? DL_SHAPE(x.dim[0]) : DL_SHAPE(x.dim[0], x.dim[2]);
        }
        dlc_slot(test, "x", DL_F32, x);
        dlc_slot(test, "y", DL_F32, y);
        if (lengths) {
            dlc_slot(test, "lengths", DL_I32, DL_SHAPE(x.dim[0]));
        }
    }
}

void dlc_cases_sequence(dlc_list *list) {
    for (size_t i = 0; i < sizeof lstms / sizeof lstms[0]; i++) {
        lstm(list, &lstms[i], lstms[i].flags);
        lstm(list, &lstms[i], DLC_FORWARD_ONLY);
    }
    for (size_t i = 0; i < sizeof lstm_layers / sizeof lstm_layers[0]; i++) {
        lstm_layer(list, &lstm_layers[i], lstm_layers[i].flags);
        lstm_layer(list, &lstm_layers[i], DLC_FORWARD_ONLY);
    }
    embedding(list, "tokens of sequences", DLC_ROWS, DL_SHAPE(9, 5), 11, 16);
    embedding(list, "one token a sample", DLC_ROWS, DL_SHAPE(13), 7, 33);
    embedding(list, "one token, one word", 0, DL_SHAPE(1, 1), 1, 1);
    embedding(list, "more words than tokens", 0, DL_SHAPE(2, 3), 1000, 31);
    embedding(list, "strangers", DLC_STRANGERS | DLC_KINKS, DL_SHAPE(9, 5), 20, 16);
    for (size_t i = 0; i < sizeof token_layers / sizeof token_layers[0]; i++) {
        token_layer(list, &token_layers[i]);
    }
    by_length(list, "lengths", DLC_ROWS, DL_SHAPE(9, 7, 5), true);
    by_length(list, "no lengths", DLC_ROWS, DL_SHAPE(5, 6, 17), false);
    by_length(list, "one position", 0, DL_SHAPE(3, 1, 4), true);
    by_length(list, "one value a position", 0, DL_SHAPE(8, 13), true);
}
