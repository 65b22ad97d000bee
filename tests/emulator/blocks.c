/* Blocks of threads on the host: every thread is a context with a stack of its own; it runs until it ends or
 * comes to a barrier. Between barriers threads run forwards, backwards and in a mixed order, in turns: what
 * needs one of them shows. A barrier that some threads of a block never come to ends the program: on a GPU
 * that is undefined. */
#define _GNU_SOURCE
#include "emulator.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { MAX_THREADS = 1024, STACK_BYTES = 64 << 10, N_ANSWERS = 3, MAX_CONTEXT_BYTES = 4096 /* as CUDA */ };

uint3 emulator_thread, emulator_block;
struct dim3 emulator_block_size, emulator_grid_size;

static struct {
    jmp_buf scheduler, thread[MAX_THREADS]; /* jumps, unlike contexts, do not ask the system */
    bool begun[MAX_THREADS];                /* ever: a thread's stack and its place there stay */
    char *stack[MAX_THREADS];
    bool ended[MAX_THREADS];
    int barriers[MAX_THREADS]; /* come to by each thread */
    int answer[N_ANSWERS];     /* of the barriers, in turns: see emulator_barrier */
    void (*function)(void *);
    void *context;
    unsigned n_rounds; /* of all blocks so far */
} emulator;

/* One kernel after the other. */
static void run_thread(void) {
    const unsigned t = emulator_thread.x;
    for (;;) {
        emulator.function(emulator.context);
        emulator.ended[t] = true;
        if (_setjmp(emulator.thread[t]) == 0) {
            _longjmp(emulator.scheduler, 1);
        }
    }
}

/* The answer of barrier b is cleared while the barrier before it is on: nobody can be at b then, and
 * everybody has read the one that had its place three barriers ago. */
int emulator_barrier(int predicate) {
    const unsigned t = emulator_thread.x;
    const int b = emulator.barriers[t]++;
    emulator.answer[(b + 1) % N_ANSWERS] = 0;
    emulator.answer[b % N_ANSWERS] |= predicate != 0;
    if (_setjmp(emulator.thread[t]) == 0) {
        _longjmp(emulator.scheduler, 1);
    }
    return emulator.answer[b % N_ANSWERS];
}

static void begin_thread(unsigned t) {
    if (emulator.stack[t] == NULL) {
        emulator.stack[t] = malloc(STACK_BYTES);
    }
    if (emulator.stack[t] == NULL) {
        abort();
    }
    emulator.ended[t] = false;
    emulator.barriers[t] = 0;
}

/* Goes on with a thread until it comes back. */
static void switch_to(unsigned t) {
    if (_setjmp(emulator.scheduler) != 0) {
        return;
    }
    if (emulator.begun[t]) {
        _longjmp(emulator.thread[t], 1);
    }
    ucontext_t beginning;
    emulator.begun[t] = true;
    if (getcontext(&beginning) != 0) {
        abort();
    }
    beginning.uc_stack.ss_sp = emulator.stack[t];
    beginning.uc_stack.ss_size = STACK_BYTES;
    beginning.uc_link = NULL;
    makecontext(&beginning, run_thread, 0);
    (void)setcontext(&beginning);
}

/* The i-th thread to run in a round: forwards, backwards, by steps of a number that has no factor in common
 * with n. */
static unsigned nth(unsigned i, unsigned n) {
    switch (emulator.n_rounds % 3) {
    case 0:
        return i;
    case 1:
        return n - 1 - i;
    default:
        return (unsigned)((uint64_t)i * 7919 % n); /* a prime larger than n */
    }
}

/* From one barrier to the next; returns how many threads have ended. */
static unsigned run_round(unsigned n) {
    unsigned n_ended = 0;
    for (unsigned i = 0; i < n; i++) {
        const unsigned t = nth(i, n);
        emulator_thread = (uint3){t, 0, 0};
        switch_to(t);
        n_ended += emulator.ended[t];
    }
    emulator.n_rounds++;
    return n_ended;
}

static void run_block(unsigned n) {
    for (int i = 0; i < N_ANSWERS; i++) {
        emulator.answer[i] = 0;
    }
    for (unsigned t = 0; t < n; t++) {
        begin_thread(t);
    }
    unsigned n_ended = 0;
    while (n_ended == 0) {
        n_ended = run_round(n);
    }
    if (n_ended != n) {
        (void)fprintf(stderr, "emulator: %u of %u threads ended while others wait at a barrier\n", n_ended,
                      n);
        abort();
    }
}

typedef struct launch {
    struct dim3 blocks;
    unsigned threads;
    void (*function)(void *);
    _Alignas(16) char context[MAX_CONTEXT_BYTES];
} launch;

static void run_launch(void *argument) {
    launch *l = argument;
    emulator.function = l->function;
    emulator.context = l->context;
    emulator_grid_size = l->blocks;
    emulator_block_size = (struct dim3){l->threads, 1, 1};
    emulator_memory_open();
    for (unsigned y = 0; y < l->blocks.y; y++) {
        for (unsigned x = 0; x < l->blocks.x; x++) {
            emulator_block = (uint3){x, y, 0};
            run_block(l->threads);
        }
    }
    emulator_memory_close();
}

void emulator_launch(struct dim3 blocks, unsigned threads, cudaStream_t stream, void (*function)(void *),
                     const void *context, size_t n_bytes) {
    if (threads == 0 || threads > MAX_THREADS || blocks.x == 0 || blocks.y == 0 || blocks.y > 65535 ||
        n_bytes > MAX_CONTEXT_BYTES) {
        (void)fprintf(stderr,
                      "emulator: no GPU launches %u x %u blocks of %u threads with %zu bytes of arguments\n",
                      blocks.x, blocks.y, threads, n_bytes);
        abort();
    }
    launch l = {.blocks = blocks, .threads = threads, .function = function};
    memcpy(l.context, context, n_bytes);
    emulator_submit(stream, run_launch, &l, sizeof l);
}
