/* Copies to the host: of any size, from and to any byte, by one thread and by more. */
#include "cpu_kit.h"

enum { LARGEST = (3 << 20) + 200, MARGIN = 64 };

static unsigned char byte_of(size_t i) {
    return (unsigned char)(i * 31 + i / 257);
}

static void check(dl_device *device, char *to, const char *from, size_t n) {
    memset(to - MARGIN, 0x5A, n + 2 * (size_t)MARGIN);
    KIT_OK(device->backend->download(device, to, from, n, NULL));
    assert_memory_equal(to, from, n);
    for (int i = 0; i < MARGIN; i++) {
        assert_int_equal(to[-1 - i], 0x5A);
        assert_int_equal(to[n + (size_t)i], 0x5A);
    }
}

static void any_place(void **state) {
    static char from[LARGEST + MARGIN], to[LARGEST + 3 * MARGIN];
    static const size_t sizes[] = {0, 1, 63, 64, 1000, (1 << 20) - 1, 1 << 20, (1 << 20) + 65, LARGEST};
    (void)state;
    for (size_t i = 0; i < sizeof from; i++) {
        from[i] = (char)byte_of(i);
    }
    for (int threads = 1; threads <= 2; threads++) {
        dl_device *device = kit_open("cpu", threads);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            for (size_t shift = 0; shift < MARGIN; shift += 21) {
                check(device, to + MARGIN + shift, from + (shift * 7) % MARGIN, sizes[i]);
            }
        }
        dl_device_close(&device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
