/* Threads beside the computation. */
#ifndef DLTRAIN_BASE_THREAD_H
#define DLTRAIN_BASE_THREAD_H

/* The calling thread from now on leaves the cores to others: where none is to spare it gets some hundredths
 * of one, in turns of a tenth of a millisecond (Linux 6.12 and later; before, in those of the system). Best
 * effort; a thread cannot take it back. */
void dl_thread_give_way(void);

#endif
