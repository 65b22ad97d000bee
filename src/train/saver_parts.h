/* What saver.c and saver_work.c share. */
#ifndef DLTRAIN_TRAIN_SAVER_PARTS_H
#define DLTRAIN_TRAIN_SAVER_PARTS_H

#include "base/worker.h"
#include "train/saver.h"
#include "train/snapshot.h"

/* The word of a rank: the largest of all decides. MORE, of rank 0: the commit is done, and older checkpoints
 * may go once the parts were read again. */
enum { DL_SAVER_IDLE, DL_SAVER_DONE, DL_SAVER_MORE, DL_SAVER_WORKING, DL_SAVER_FAILED, DL_SAVER_N_WORDS };

/* What is under way, the same on all ranks. All write and read their parts; rank 0 commits and prunes. The
 * last two only when there is something to delete. */
typedef enum dl_saver_phase {
    DL_SAVER_NONE,
    DL_SAVER_PARTS,
    DL_SAVER_COMMIT,
    DL_SAVER_READ_AGAIN,
    DL_SAVER_PRUNE
} dl_saver_phase;

struct dl_saver {
    dl_saver_options options;
    char checkpoints[4096], config_digest[64];
    int rank, n_ranks;
    dl_comm *world;
    dl_snapshot *snapshot;
    dl_checkpoint_layout *layout; /* of the snapshot's slices */
    dl_saver_phase phase;
    dl_checkpoint_about about;
    json_t *trainer; /* the position's, owned */
    json_t *versions;
    dl_text part; /* this rank's description */
    char **parts; /* rank 0: everybody's, for the commit */
    int *words;   /* of all ranks, while they wait for each other */
    char *gathered;
    int64_t committed;
    bool gave_up;   /* by options.stop */
    bool full_disk; /* the save under way is to find the disk full (inject.h) */
    bool best;      /* the save under way is of the best epoch so far */
    int64_t pinned; /* rank 0: step of the best epoch's checkpoint, 0: none */
    double began;
    double cost;       /* seconds that the last one took without its threads' rests, 0: there was none */
    dl_worker *worker; /* of the phases; hurried while the main thread waits for it, or another save does */
    atomic_int word;
    atomic_bool stop; /* the worker is to give up: another rank has failed, or options.stop */
    dl_error error;
};

/* The work of a phase, in the thread; ends with another word. Errors are left in saver->error. */
void dl_saver_work(void *saver);

#endif
