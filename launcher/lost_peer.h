/* Notices when another rank of this host has died while this one is inside MPI, which would wait for ever.
 *
 * Open MPI's mpirun sends SIGCONT to the others when a rank has died, SIGTERM a second later, SIGKILL after
 * another one. The first is taken as the occasion to look. What waits in shared memory sees the loss itself
 * and ends in order; what is still there a moment later is inside MPI, and ends here: one message, exit code
 * of DL_ERR_PEER.
 *
 * When no rank of this host is missing then, mpirun has another reason, which it tells itself, and the ranks
 * that are missing later are those that it killed first. */
#ifndef DLTRAIN_LAUNCHER_LOST_PEER_H
#define DLTRAIN_LAUNCHER_LOST_PEER_H

#include "launcher/bootstrap.h"

/* Begins to look, for a runtime of several ranks. */
DL_NODISCARD dl_status dl_lost_peer_watch(const dl_runtime *runtime);

/* Has mpirun begun, some seconds ago at most, to end the job for a reason that is not on this host? Then the
 * death of another rank is its doing, not to be told. */
bool dl_lost_peer_was_ended(void);

/* Ends it: an orderly end has begun, or this rank has another error to tell. */
void dl_lost_peer_ignore(void);

#endif
