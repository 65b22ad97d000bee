/* What call_fail.so offers to a program that it is preloaded into (by dlsym). */
#ifndef DLTRAIN_TESTS_CALL_FAIL_H
#define DLTRAIN_TESTS_CALL_FAIL_H

typedef enum call_fail_how {
    CALL_FAIL_NOT, /* only counts */
    CALL_FAIL_ONCE,
    CALL_FAIL_ALWAYS, /* this call and all after it */
    CALL_FAIL_SHORT,  /* a write does half of its work */
    CALL_FAIL_KILL,   /* before the call */
    CALL_FAIL_CUT     /* a write does half of its work and the process is killed */
} call_fail_how;

/* Kinds of calls: open, creat, write, pwrite, ftruncate, fsync, fdatasync, close, rename, unlink, rmdir,
 * mkdir and their relatives; malloc, calloc, realloc; the same called by libhdf5 or the C library. */
enum { CALL_FAIL_FILES = 1, CALL_FAIL_MEMORY = 2, CALL_FAIL_LIBRARY_MEMORY = 4 };

/* From now on the call number `at` (from 1) of these kinds does so, with this errno. */
void call_fail_arm(call_fail_how how, unsigned kinds, long at, int error);
/* Ends it; returns the number of calls since it was armed. */
long call_fail_disarm(void);
/* Every change of a file is written to this descriptor, -1: no more. */
void call_fail_trace(int fd);
/* A line of the program's own in the trace. */
void call_fail_mark(const char *text);

#endif
