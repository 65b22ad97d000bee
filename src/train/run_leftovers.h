/* What a killed job leaves of files that it was replacing. */
#ifndef DLTRAIN_TRAIN_RUN_LEFTOVERS_H
#define DLTRAIN_TRAIN_RUN_LEFTOVERS_H

/* Removes NAME.tmpNUMBER of the files of a run (status.json, weights.h5, ...) from its directory: with the
 * run's lock nobody is writing them. Other files of such names stay. Best effort. Rank 0. */
void dl_run_leftovers_remove(const char *run_dir);

#endif
