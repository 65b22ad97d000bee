/* The plugin for GPUs on a machine without one, for tests: its C files and kernels as they are, over an
 * imitation of the CUDA runtime whose device is this process. Kernels run on the host, thread by thread
 * (blocks.c); memory of the device cannot be touched outside of kernels and copies (runtime.c); what cuDNN
 * and cuBLASLt compute is computed by `ref` (host_kinds.c). Work is done when it is put into a stream; orders
 * between streams are tests/unit/program_streams.c's business. */
#ifndef DLTRAIN_TESTS_EMULATOR_EMULATOR_H
#define DLTRAIN_TESTS_EMULATOR_EMULATOR_H

#include <cuda_runtime_api.h>

/* Lets this process reach the device's memory, and takes that away again. They may be nested. */
void emulator_memory_open(void);
void emulator_memory_close(void);

int emulator_barrier(int predicate);
void emulator_run(struct dim3 blocks, unsigned threads, void (*function)(void *), void *context);

#endif
