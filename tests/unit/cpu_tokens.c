/* Distinct tokens, and dense layers of embedded tokens on the cpu backend: bits. */
#include "cpu_kit.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/distinct.h"

enum { SAMPLES = 41, POSITIONS = 13, VOCABULARY = 700, INPUTS = 70, OUTPUTS = 333 };

static dl_op_desc forward_desc(void) {
    return (dl_op_desc){.kind = DL_OP_EMBEDDING_DENSE_FORWARD,
                        .slot = {kit_tensor(DL_I32, DL_SHAPE(SAMPLES, POSITIONS)),
                                 kit_tensor(DL_F32, DL_SHAPE(VOCABULARY, INPUTS)),
                                 kit_tensor(DL_F32, DL_SHAPE(OUTPUTS, INPUTS)),
                                 kit_tensor(DL_F32, DL_SHAPE(OUTPUTS)),
                                 kit_tensor(DL_F32, DL_SHAPE(SAMPLES, POSITIONS, OUTPUTS))}};
}

static dl_op_desc backward_desc(void) {
    const dl_op_desc f = forward_desc();
    return (dl_op_desc){
        .kind = DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS,
        .slot = {f.slot[0], f.slot[1], f.slot[2], f.slot[4], f.slot[1], f.slot[2], f.slot[3]}};
}

/* Some tokens twice or more, some never. */
static void fill_tokens(void *x) {
    for (int64_t i = 0; i < SAMPLES * POSITIONS; i++) {
        ((int32_t *)x)[i] = (int32_t)(i * 37 % 389);
    }
}

static kit_tensors run_on(const char *backend, int n_threads, const dl_op_desc *desc) {
    dl_device *device = kit_open(backend, n_threads);
    kit_tensors tensors = kit_tensors_create(desc, 3);
    fill_tokens(tensors.slot[0]);
    kit_run(device, desc, &tensors);
    dl_device_close(&device);
    return tensors;
}

static bool has_products(void) {
    return dl_cpu_loops_best()->matrix_product != NULL;
}

static void assert_same_bits(const dl_op_desc *desc, const kit_tensors *a, const kit_tensors *b) {
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        assert_memory_equal(a->slot[i], b->slot[i], dl_tensor_plain_bytes(&desc->slot[i]));
    }
}

static void threads_change_no_bit(void **state) {
    (void)state;
    const dl_op_desc descs[] = {forward_desc(), backward_desc()};
    for (int d = 0; d < 2 && has_products(); d++) {
        kit_tensors one = run_on("cpu", 1, &descs[d]);
        for (int n_threads = 2; n_threads <= 5; n_threads += 3) {
            kit_tensors more = run_on("cpu", n_threads, &descs[d]);
            assert_same_bits(&descs[d], &one, &more);
            kit_tensors_free(&descs[d], &more);
        }
        kit_tensors_free(&descs[d], &one);
    }
}

/* Rows have the bits of an embedding and a dense layer apart: a text goes on the same way token by token. */
static void forward_has_the_bits_of_both_layers(void **state) {
    (void)state;
    const dl_op_desc fused = forward_desc();
    const dl_tensor_desc rows = kit_tensor(DL_F32, DL_SHAPE(SAMPLES, POSITIONS, INPUTS));
    const dl_op_desc embedding = {.kind = DL_OP_EMBEDDING_FORWARD,
                                  .slot = {fused.slot[0], fused.slot[1], rows}};
    const dl_op_desc dense = {.kind = DL_OP_DENSE_FORWARD,
                              .slot = {rows, fused.slot[2], fused.slot[3], fused.slot[4]}};
    if (!has_products()) {
        return;
    }
    kit_tensors together = run_on("cpu", 1, &fused), embedded = kit_tensors_create(&embedding, 3);
    dl_device *device = kit_open("cpu", 1);
    memcpy(embedded.slot[0], together.slot[0], dl_tensor_plain_bytes(&fused.slot[0]));
    memcpy(embedded.slot[1], together.slot[1], dl_tensor_plain_bytes(&fused.slot[1]));
    kit_run(device, &embedding, &embedded);
    kit_tensors apart = kit_tensors_create(&dense, 3);
    memcpy(apart.slot[0], embedded.slot[2], dl_tensor_plain_bytes(&rows));
    memcpy(apart.slot[1], together.slot[2], dl_tensor_plain_bytes(&fused.slot[2]));
    memcpy(apart.slot[2], together.slot[3], dl_tensor_plain_bytes(&fused.slot[3]));
    kit_run(device, &dense, &apart);
    assert_memory_equal(together.slot[4], apart.slot[3], dl_tensor_plain_bytes(&fused.slot[4]));
    dl_device_close(&device);
    kit_tensors_free(&dense, &apart);
    kit_tensors_free(&embedding, &embedded);
    kit_tensors_free(&fused, &together);
}

static void distinct_tokens_are_in_order(void **state) {
    (void)state;
    enum { N = 9, TOKENS = 130 }; /* strangers at 2 and 6; 63, 64 and 129 are at the ends of words of bits */
    static const int32_t x[N] = {129, 63, -1, 64, 63, 0, TOKENS, 129, 63};
    static const int32_t token[] = {0, 63, 64, 129, -1}, first[] = {0, 1, 4, 5, 7, 9};
    static const int32_t place[N] = {5, 1, 4, 8, 3, 0, 7, 2, 6};
    const size_t n_bytes = dl_distinct_bytes(N, TOKENS);
    unsigned char *workspace = kit_pages(n_bytes);
    memset(workspace, 0xA5, n_bytes);
    const dl_distinct d = dl_distinct_find(x, N, TOKENS, workspace);
    assert_int_equal((int)d.n, 5);
    assert_int_equal((int)d.n_known, 4);
    assert_memory_equal(d.token, token, sizeof token);
    assert_memory_equal(d.first, first, sizeof first);
    assert_memory_equal(d.place, place, sizeof place);
    assert_true((unsigned char *)(d.place + N) <= workspace + n_bytes);
    dl_pages_free(workspace, n_bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(forward_has_the_bits_of_both_layers),
        cmocka_unit_test(distinct_tokens_are_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
