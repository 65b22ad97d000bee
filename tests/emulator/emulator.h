/* The plugin for GPUs on a machine without one, for tests: its C files and kernels as they are, over an
 * imitation of the CUDA runtime whose device is this process. Kernels run on the host, thread by thread
 * (blocks.c); memory of the device cannot be touched outside of kernels and copies (runtime.c); what cuDNN
 * and cuBLASLt compute is imitated one element at a time (graphs.c, rnn.c, cublas.c), and what has no kernel
 * is computed by `ref` (host_kinds.c). Work is done when it is put into a stream, or kept for a graph
 * (streams.c); orders between streams are tests/unit/program_streams.c's business. */
#ifndef DLTRAIN_TESTS_EMULATOR_EMULATOR_H
#define DLTRAIN_TESTS_EMULATOR_EMULATOR_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

/* Calls function with a copy of context: now, or at every launch of the graph for which the stream is being
 * captured. */
void emulator_submit(cudaStream_t stream, void (*function)(void *), const void *context, size_t n_bytes);
bool emulator_is_capturing(void);

/* Lets this process reach the device's memory, and takes that away again. They may be nested. */
void emulator_memory_open(void);
void emulator_memory_close(void);

/* For kernels (block.cuh). */
int emulator_barrier(int predicate);
void emulator_launch(struct dim3 blocks, unsigned threads, cudaStream_t stream, void (*function)(void *),
                     const void *context, size_t n_bytes);

#endif
