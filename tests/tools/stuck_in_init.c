/* Preloaded (LD_PRELOAD) into the program: MPI_Init_thread never returns, as when the launcher dies in the
 * middle of it (PMIx 4.2.2 then waits for an answer for ever). */
#include <unistd.h>

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided);

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
    (void)argc;
    (void)argv;
    (void)required;
    (void)provided;
    for (;;) {
        (void)pause();
    }
}
