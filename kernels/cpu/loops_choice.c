#include "kernels/cpu/loops/loops.h"

#include <string.h>

#ifdef DL_CPU_HAS_X86_VARIANTS

static bool machine_has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd");
}

static bool machine_has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

const dl_cpu_loops *dl_cpu_loops_named(const char *isa) {
    __builtin_cpu_init();
    if (strcmp(isa, "avx512") == 0) {
        return machine_has_avx512() ? &dl_cpu_loops_avx512 : NULL;
    }
    if (strcmp(isa, "avx2") == 0) {
        return machine_has_avx2() ? &dl_cpu_loops_avx2 : NULL;
    }
    return strcmp(isa, "base") == 0 ? &dl_cpu_loops_base : NULL;
}

#else

const dl_cpu_loops *dl_cpu_loops_named(const char *isa) {
    return strcmp(isa, "base") == 0 ? &dl_cpu_loops_base : NULL;
}

#endif

const dl_cpu_loops *dl_cpu_loops_best(void) {
    static const char *const by_width[] = {"avx512", "avx2", "base"};
    const dl_cpu_loops *found = NULL;
    for (size_t i = 0; found == NULL; i++) {
        found = dl_cpu_loops_named(by_width[i]);
    }
    return found;
}
