/* A device without a GPU, for communicators: its memory cannot be reached through the addresses it hands out
 * (they belong to pages without access rights), copies reach only pinned memory of the host, and a thread
 * does what was put into its streams at some later time, streams taking turns by chance, in an order that
 * events alone decide. */
#ifndef DLTRAIN_TESTS_MPI_TEST_DEVICE_H
#define DLTRAIN_TESTS_MPI_TEST_DEVICE_H

#include "comm/device.h"

/* Opens it. `seed` decides who takes turns with whom. Close with test_device_close. */
DL_NODISCARD dl_status test_device_open(uint64_t seed, dl_comm_device *out);

/* Waits for its work. DL_ERR_INTERNAL when something was left behind: memory, pinned pages, streams, events.
 */
DL_NODISCARD dl_status test_device_close(dl_comm_device *device);

#endif
