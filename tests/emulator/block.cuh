/* Included before every .cu file that is compiled for the host: what CUDA C has and C++ has not, for blocks
 * that run one after the other, their threads in turns (blocks.c). */
#ifndef DLTRAIN_TESTS_EMULATOR_BLOCK_CUH
#define DLTRAIN_TESTS_EMULATOR_BLOCK_CUH

#include <cuda_runtime_api.h>

#include <math.h>
#include <stdint.h>

extern "C" {
extern uint3 emulator_thread, emulator_block;
extern dim3 emulator_block_size, emulator_grid_size;
/* Puts into a stream: function(copy of context) once for every thread of every block. */
void emulator_launch(dim3 blocks, unsigned threads, cudaStream_t stream, void (*function)(void *),
                     const void *context, size_t n_bytes);
/* All threads of the block come here before any goes on; returns whether any of them brought true. */
int emulator_barrier(int predicate);
}

#define threadIdx emulator_thread
#define blockIdx emulator_block
#define blockDim emulator_block_size
#define gridDim emulator_grid_size
#define __syncthreads() ((void)emulator_barrier(0))
#define __syncthreads_or(predicate) emulator_barrier(predicate)
#undef __shared__
#define __shared__ static /* one block runs at a time */

template <typename Body> static void emulator_call(void *body) {
    (*(Body *)body)();
}

/* Arguments are evaluated here, as by a launch, and not when the kernel runs. */
template <typename Kernel, typename... Arguments>
static void emulator_launch_kernel(Kernel kernel, dim3 blocks, unsigned threads, cudaStream_t stream,
                                   Arguments... arguments) {
    auto body = [=] { kernel(arguments...); };
    static_assert(__is_trivially_copyable(decltype(body)), "a launch takes its arguments as bytes");
    emulator_launch(blocks, threads, stream, emulator_call<decltype(body)>, &body, sizeof body);
}

#define DL_LAUNCH(kernel, blocks, threads, stream, ...)                                                      \
    emulator_launch_kernel(kernel, dim3(blocks), (threads), (stream), __VA_ARGS__)

#endif
