/* Copies for the host to keep: a snapshot for a checkpoint is larger than the caches, and is read much later,
 * by a thread that has time. Past the caches it takes two thirds of the time, and what the next step needs
 * stays in them. */
#include "kernels/cpu/cpu.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { LINE = 64, LARGE = 1 << 20, SHARE = 1 << 18 };

#ifdef __SSE2__
/* From the first whole line of the target on. Returns how many bytes there were lines for. */
static size_t stream_lines(char *to, const char *from, size_t n_bytes) {
    size_t at = 0;
    for (; at + LINE <= n_bytes; at += LINE) {
        const __m128i *source = (const __m128i *)(const void *)(from + at);
        __m128i *target = (__m128i *)(void *)(to + at);
        const __m128i first = _mm_loadu_si128(source), second = _mm_loadu_si128(source + 1),
                      third = _mm_loadu_si128(source + 2), fourth = _mm_loadu_si128(source + 3);
        _mm_stream_si128(target, first);
        _mm_stream_si128(target + 1, second);
        _mm_stream_si128(target + 2, third);
        _mm_stream_si128(target + 3, fourth);
    }
    _mm_sfence();
    return at;
}
#else
static size_t stream_lines(char *to, const char *from, size_t n_bytes) {
    memcpy(to, from, n_bytes);
    return n_bytes;
}
#endif

static void copy_past_caches(char *to, const char *from, size_t n_bytes) {
    const size_t over = (uintptr_t)to % LINE, head = over > 0 ? LINE - over : 0;
    memcpy(to, from, head);
    const size_t done = head + stream_lines(to + head, from + head, n_bytes - head);
    memcpy(to + done, from + done, n_bytes - done);
}

dl_status dl_cpu_download(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream) {
    (void)stream;
    if (n_bytes < LARGE) {
        memcpy(to, from, n_bytes);
        return DL_OK;
    }
    const int64_t n = (int64_t)n_bytes;
#pragma omp parallel for schedule(static) num_threads(device->n_threads) if (device->n_threads > 1)
    for (int64_t first = 0; first < n; first += SHARE) {
        const int64_t left = n - first;
        copy_past_caches((char *)to + first, (const char *)from + first,
                         (size_t)(left < SHARE ? left : SHARE));
    }
    return DL_OK;
}
