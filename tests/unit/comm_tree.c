/* Sums in a fixed order: the same bits for every way of cutting pieces into ranks and elements into ranges.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "comm/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 3001 };

static float piece[DL_PIECES][N];

static void fill(void) {
    for (int p = 0; p < DL_PIECES; p++) {
        for (int i = 0; i < N; i++) {
            piece[p][i] = (float)dl_rng_normal(1, DL_RNG_TEST, (uint64_t)p, (uint64_t)i);
        }
    }
}

/* The tree, written down once more. */
static float node_sum(int begin, int end, int i) {
    if (end - begin == 1) {
        return piece[begin][i];
    }
    const int middle = (begin + end) / 2;
    return node_sum(begin, middle, i) + node_sum(middle, end, i);
}

/* Cuts the pieces into ranks as dl_share_pieces does, makes each rank's blocks, and adds all of them. */
static void sum_over_ranks(int n_ranks, dl_range elements, float *out) {
    static float block[DL_PIECES][N];
    dl_range pieces[DL_PIECES];
    const void *leaf[DL_PIECES];
    int n = 0;
    for (int rank = 0; rank < n_ranks; rank++) {
        dl_range mine[DL_MAX_BLOCKS];
        const int n_mine = dl_aligned_blocks(dl_share_pieces(n_ranks, rank, 1, 0), mine);
        for (int b = 0; b < n_mine; b++) {
            for (int i = 0; i < N; i++) {
                block[n][i] = node_sum((int)mine[b].begin, (int)mine[b].end, i);
            }
            pieces[n] = mine[b];
            leaf[n] = block[n];
            n++;
        }
    }
    dl_sum_plan plan;
    assert_int_equal(dl_sum_plan_tree(pieces, n, &plan), DL_OK);
    void *to = out;
    dl_sum_run(&plan, DL_REDUCE_SUM, DL_F32, leaf, elements, &to, 1);
    dl_sum_plan_free(&plan);
}

static void same_bits_for_every_cut(void **state) {
    (void)state;
    static float expected[N], got[N];
    fill();
    for (int i = 0; i < N; i++) {
        expected[i] = node_sum(0, DL_PIECES, i);
    }
    static const int ranks[] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t r = 0; r < sizeof ranks / sizeof ranks[0]; r++) {
        memset(got, 0, sizeof got);
        sum_over_ranks(ranks[r], (dl_range){0, N}, got);
        assert_memory_equal(got, expected, sizeof expected);
        memset(got, 0, sizeof got);
        for (int part = 0; part < 7; part++) {
            sum_over_ranks(ranks[r], dl_range_part(N, 7, part), got);
        }
        assert_memory_equal(got, expected, sizeof expected);
    }
}

static void result_may_be_a_leaf_and_go_to_several(void **state) {
    (void)state;
    static float other[N], third[N];
    static float copy[DL_PIECES][N];
    fill();
    memcpy(copy, piece, sizeof copy);
    dl_range pieces[DL_PIECES];
    const void *leaf[DL_PIECES];
    for (int p = 0; p < DL_PIECES; p++) {
        pieces[p] = (dl_range){p, p + 1};
        leaf[p] = copy[p];
    }
    dl_sum_plan plan;
    assert_int_equal(dl_sum_plan_tree(pieces, DL_PIECES, &plan), DL_OK);
    void *out[3] = {other, copy[0], third};
    dl_sum_run(&plan, DL_REDUCE_SUM, DL_F32, leaf, (dl_range){0, N}, out, 3);
    dl_sum_plan_free(&plan);
    for (int i = 0; i < N; i++) {
        const float expected = node_sum(0, DL_PIECES, i);
        assert_true(copy[0][i] == expected && other[i] == expected && third[i] == expected);
    }
    assert_memory_equal(copy[1], piece[1], sizeof piece[1]);
}

static void line_adds_from_the_left(void **state) {
    (void)state;
    static const double a[] = {1e16, 3}, b[] = {1, 4}, c[] = {-1e16, 5}, d[] = {1, 6};
    const void *leaf[] = {a, b, c, d};
    double out[2] = {0};
    void *to = out;
    dl_sum_plan plan;
    assert_int_equal(dl_sum_plan_line(4, &plan), DL_OK);
    dl_sum_run(&plan, DL_REDUCE_SUM, DL_F64, leaf, (dl_range){0, 2}, &to, 1);
    dl_sum_plan_free(&plan);
    assert_true(out[0] == ((1e16 + 1) - 1e16) + 1 && out[1] == 18);
}

static void maximum(void **state) {
    (void)state;
    static const int32_t a[] = {-5, 2, INT32_MIN}, b[] = {-7, 3, INT32_MIN}, c[] = {-6, 1, INT32_MAX};
    const void *leaf[] = {a, b, c};
    int32_t out[3] = {0};
    void *to = out;
    dl_sum_plan plan;
    assert_int_equal(dl_sum_plan_line(3, &plan), DL_OK);
    dl_sum_run(&plan, DL_REDUCE_MAX, DL_I32, leaf, (dl_range){0, 3}, &to, 1);
    dl_sum_plan_free(&plan);
    assert_true(out[0] == -5 && out[1] == 3 && out[2] == INT32_MAX);
}

static void bad_blocks_are_refused(void **state) {
    (void)state;
    static const dl_range missing[] = {{0, 4}, {4, 6}, {7, 8}};
    static const dl_range doubled[] = {{0, 4}, {4, 8}, {4, 8}};
    static const dl_range unaligned[] = {{0, 3}, {3, 8}};
    dl_sum_plan plan;
    assert_int_equal(dl_sum_plan_tree(missing, 3, &plan), DL_ERR_INTERNAL);
    assert_int_equal(dl_sum_plan_tree(doubled, 3, &plan), DL_ERR_INTERNAL);
    assert_int_equal(dl_sum_plan_tree(unaligned, 2, &plan), DL_ERR_INTERNAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_for_every_cut), cmocka_unit_test(result_may_be_a_leaf_and_go_to_several),
        cmocka_unit_test(line_adds_from_the_left), cmocka_unit_test(maximum),
        cmocka_unit_test(bad_blocks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
