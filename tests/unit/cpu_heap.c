/* Executions do not go to the heap: oneDNN's small objects come from free lists. This program counts malloc.
 */
#include "cpu_kit.h"

#include "kernels/cpu/small_blocks.h"

#include <stdatomic.h>

static atomic_long n_mallocs;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
/* glibc's own entry below malloc. */
extern void *__libc_malloc(size_t n_bytes);
void *malloc(size_t n_bytes);

void *malloc(size_t n_bytes) {
    (void)atomic_fetch_add(&n_mallocs, 1);
    return __libc_malloc(n_bytes);
}
#endif

/* clang's OpenMP runtime allocates for itself when one thread forms a parallel region, as Winograd does. */
#ifdef __clang__
static const int winograd = 0;
#else
static const int winograd = 1;
#endif

static long mallocs_of_runs(const dl_op *op, int n_runs) {
    const int n_slots = dl_op_info_of(op->desc.kind)->n_slots;
    void *slots[DL_OP_MAX_SLOTS + 1] = {NULL};
    for (int i = 0; i <= n_slots; i++) {
        slots[i] = kit_pages((i < n_slots ? dl_op_slot_bytes(op, i) : op->workspace_bytes) + 1);
    }
    KIT_OK(op->functions->run(op, slots, NULL));
    const long before = atomic_load(&n_mallocs);
    for (int i = 0; i < n_runs; i++) {
        KIT_OK(op->functions->run(op, slots, NULL));
    }
    const long made = atomic_load(&n_mallocs) - before;
    for (int i = 0; i <= n_slots; i++) {
        dl_pages_free(slots[i], (i < n_slots ? dl_op_slot_bytes(op, i) : op->workspace_bytes) + 1);
    }
    return made;
}

static void executions_do_not_allocate(void **state) {
    (void)state;
    if (!dl_small_blocks_in_use()) {
        skip(); /* a sanitizer's operators count themselves */
    }
    const kit_conv odd = {.n = 4, .h = 9, .w = 9, .c = 30, .k = 50, .r = 3, .stride = 1, .groups = 1};
    const kit_conv even = {.n = 4, .h = 9, .w = 9, .c = 32, .k = 64, .r = 3, .stride = 1, .groups = 1};
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        dl_device *device = kit_open("cpu", n_threads);
        for (int i = 0; i < 12; i++) {
            dl_op_desc desc = i < 3   ? kit_conv_desc(&odd, i % 3)
                              : i < 6 ? kit_dense_desc(8, 33, 20, i % 3)
                                      : kit_conv_desc(&even, i % 3);
            kit_ask(device, &desc, i >= 6, i < 3 ? NULL : &dl_layout_any);
            desc.algorithm = i >= 9 && dl_device_n_algorithms(device, &desc) > 1 ? winograd : 0;
            dl_op *op = NULL;
            KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
            assert_int_equal(mallocs_of_runs(op, 20), 0);
            dl_op_destroy(&op);
        }
        dl_device_close(&device);
    }
}

/* Blocks of every class and beyond come back usable and aligned. */
static void blocks_are_sound(void **state) {
    (void)state;
    extern void *_Znwm(size_t n_bytes);
    extern void _ZdlPv(void *memory);
    if (!dl_small_blocks_in_use()) {
        skip();
    }
    for (int repeat = 0; repeat < 3; repeat++) {
        char *blocks[64];
        for (size_t i = 0; i < 64; i++) {
            blocks[i] = _Znwm(i * 40);
            assert_int_equal((uintptr_t)blocks[i] % 16, 0);
            memset(blocks[i], (int)i, i * 40);
        }
        for (size_t i = 0; i < 64; i++) {
            for (size_t k = 0; k < i * 40; k++) {
                assert_int_equal(blocks[i][k], (char)i);
            }
            _ZdlPv(blocks[i]);
        }
    }
    _ZdlPv(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(executions_do_not_allocate),
        cmocka_unit_test(blocks_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
