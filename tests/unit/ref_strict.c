/* The fences of ref:strict: what was not opened crashes. */
#define _DEFAULT_SOURCE
#include "base/mem.h"
#include "kernels/ref/strict.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static volatile float *floats(void *memory) {
    return memory;
}

static void read_it(void *memory) {
    if (floats(memory)[0] > 1.0f) {
        _exit(3);
    }
}

static void write_it(void *memory) {
    floats(memory)[0] = 1.0f;
}

/* The signal that ends a process that does this to the memory; 0 when it ends well. */
static int signal_of(void (*act)(void *), void *memory) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit instead */
        act(memory);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void forbidden_access_crashes(void **state) {
    (void)state;
    void *memory = NULL;
    assert_int_equal(dl_pages_alloc(3 * DL_PAGE_BYTES, &memory), DL_OK);
    char *bytes = memory;
    const dl_strict_range ranges[] = {{memory, 3 * DL_PAGE_BYTES, DL_STRICT_NONE},
                                      {bytes + DL_PAGE_BYTES, 10, DL_STRICT_READ},
                                      {bytes + 2 * DL_PAGE_BYTES, DL_PAGE_BYTES, DL_STRICT_WRITE}};
    assert_int_equal(dl_strict_protect(ranges, 3), DL_OK);
    assert_int_equal(signal_of(read_it, bytes), SIGSEGV);
    assert_int_equal(signal_of(write_it, bytes), SIGSEGV);
    assert_int_equal(signal_of(read_it, bytes + DL_PAGE_BYTES), 0);
    assert_int_equal(signal_of(write_it, bytes + DL_PAGE_BYTES), SIGSEGV);
    assert_int_equal(signal_of(write_it, bytes + 2 * DL_PAGE_BYTES), 0);
    const dl_strict_range open = {memory, 3 * DL_PAGE_BYTES, DL_STRICT_WRITE};
    assert_int_equal(dl_strict_protect(&open, 1), DL_OK);
    assert_int_equal(signal_of(write_it, bytes), 0);
    dl_pages_free(memory, 3 * DL_PAGE_BYTES);
}

static void wrong_ranges_are_errors(void **state) {
    (void)state;
    void *memory = NULL;
    assert_int_equal(dl_pages_alloc(DL_PAGE_BYTES, &memory), DL_OK);
    const dl_strict_range inside = {(char *)memory + 8, 8, DL_STRICT_NONE},
                          empty = {(char *)memory + 8, 0, DL_STRICT_NONE};
    assert_int_equal(dl_strict_protect(&inside, 1), DL_ERR_INTERNAL);
    assert_int_equal(dl_strict_protect(&empty, 1), DL_OK);
    dl_pages_free(memory, DL_PAGE_BYTES);
}

static void poison_is_nan(void **state) {
    (void)state;
    union {
        float f[6];
        double d[3];
        unsigned char bytes[24];
    } memory = {.bytes = {0}};
    dl_strict_poison(memory.bytes, 22);
    assert_true(isnan(memory.f[0]) && isnan(memory.f[4]) && memory.d[1] > 1e300);
    assert_int_equal(memory.bytes[21], 0xa5);
    assert_int_equal(memory.bytes[22], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forbidden_access_crashes),
        cmocka_unit_test(wrong_ranges_are_errors),
        cmocka_unit_test(poison_is_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
