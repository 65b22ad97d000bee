/* How threads wait for each other when there are more of them than cores. */
#ifndef DLTRAIN_LAUNCHER_WAITING_H
#define DLTRAIN_LAUNCHER_WAITING_H

/* Where DLTRAIN_THREADS times the ranks of this node is more than its cores, threads that spin while they
 * wait take the cores from those they wait for: a step of 10 ms becomes seconds. The OpenMP library reads
 * OMP_WAIT_POLICY when it is loaded, so the program sets it and starts itself again, once. Does nothing
 * otherwise, or when the user has set it. */
void dl_waiting_policy_apply(char **argv);

#endif
