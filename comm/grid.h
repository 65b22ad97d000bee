/* The grid of ranks: named axes, a communicator for each. */
#ifndef DLTRAIN_COMM_GRID_H
#define DLTRAIN_COMM_GRID_H

#include "comm/comm.h"

typedef enum dl_axis_name { DL_AXIS_DATA, DL_AXIS_TENSOR, DL_AXIS_PIPELINE, DL_N_AXES } dl_axis_name;

typedef struct dl_axis {
    const char *name;
    int size, index; /* number of ranks along it, and this rank's place */
    dl_comm *comm;   /* the ranks that differ in this axis only; world itself (borrowed) when it has as
                      * many ranks, a self communicator when size is 1 (on a device: one of world's kind) */
} dl_axis;

typedef struct dl_grid {
    dl_comm *world; /* borrowed */
    dl_axis axis[DL_N_AXES];
} dl_grid;

/* Fills in a data axis of size 0 (all remaining ranks). DL_ERR_USAGE when the product is not the number of
 * ranks, with the numbers that would fit. Not collective. */
DL_NODISCARD dl_status dl_grid_complete(int n_ranks, const int sizes[DL_N_AXES], int out[DL_N_AXES]);

/* Makes a grid of these sizes (data 0: all remaining ranks). DL_ERR_USAGE when the product is not the number
 * of ranks, with the numbers that would fit. Collective over world. */
DL_NODISCARD dl_status dl_grid_create(dl_comm *world, const int sizes[DL_N_AXES], dl_grid **out);
void dl_grid_destroy(dl_grid **grid);

#endif
