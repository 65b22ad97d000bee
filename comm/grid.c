#include "comm/grid.h"

#include "base/mem.h"

#include <stdlib.h>

static const char *const axis_names[DL_N_AXES] = {"data", "tensor", "pipeline"};

dl_status dl_grid_complete(int n_ranks, const int sizes[DL_N_AXES], int out[DL_N_AXES]) {
    int64_t others = 1;
    for (int axis = 0; axis < DL_N_AXES; axis++) {
        DL_RETURN_ERROR_IF(sizes[axis] < (axis == DL_AXIS_DATA ? 0 : 1), DL_ERR_USAGE,
                           "parallel.%s is %d; it must be at least 1", axis_names[axis], sizes[axis]);
        out[axis] = sizes[axis];
        others *= axis == DL_AXIS_DATA ? 1 : sizes[axis];
        DL_RETURN_ERROR_IF(others > n_ranks, DL_ERR_USAGE,
                           "parallel.tensor %d x parallel.pipeline %d needs %lld ranks or more; there are %d",
                           sizes[DL_AXIS_TENSOR], sizes[DL_AXIS_PIPELINE], (long long)others, n_ranks);
    }
    if (out[DL_AXIS_DATA] == 0) {
        out[DL_AXIS_DATA] = (int)(n_ranks / others);
        DL_RETURN_ERROR_IF(n_ranks % others != 0, DL_ERR_USAGE,
                           "%d ranks cannot be divided by tensor %d x pipeline %d: start %lld or %lld ranks",
                           n_ranks, out[DL_AXIS_TENSOR], out[DL_AXIS_PIPELINE],
                           (long long)(n_ranks / others * others),
                           (long long)((n_ranks / others + 1) * others));
    }
    const int64_t product = others * out[DL_AXIS_DATA];
    DL_RETURN_ERROR_IF(
        product != n_ranks, DL_ERR_USAGE,
        "parallel: data %d x tensor %d x pipeline %d is %lld ranks, but there are %d: start %lld, or set "
        "parallel.data to auto",
        out[DL_AXIS_DATA], out[DL_AXIS_TENSOR], out[DL_AXIS_PIPELINE], (long long)product, n_ranks,
        (long long)product);
    return DL_OK;
}

/* The communicator of one axis: the ranks whose other coordinates are mine. World itself is borrowed when it
 * is the same set of ranks. */
static dl_status create_axis(dl_grid *grid, int axis, int stride) {
    dl_axis *one = &grid->axis[axis];
    if (one->size == grid->world->size) {
        one->comm = grid->world;
        return DL_OK;
    }
    if (one->size == 1 && !grid->world->functions->on_device) {
        return dl_comm_self_create(&one->comm);
    }
    const int color = grid->world->rank - one->index * stride;
    return grid->world->functions->split(grid->world, color, &one->comm);
}

dl_status dl_grid_create(dl_comm *world, const int sizes[DL_N_AXES], dl_grid **out) {
    int size[DL_N_AXES];
    DL_RETURN_IF_ERROR(dl_grid_complete(world->size, sizes, size));
    dl_grid *grid = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *grid, &grid));
    grid->world = world;
    /* Tensor neighbours talk most, so their ranks are next to each other; then data, then pipeline. */
    static const int innermost_first[DL_N_AXES] = {DL_AXIS_TENSOR, DL_AXIS_DATA, DL_AXIS_PIPELINE};
    int stride = 1;
    dl_status status = DL_OK;
    for (int i = 0; i < DL_N_AXES; i++) {
        const int axis = innermost_first[i];
        grid->axis[axis] = (dl_axis){
            .name = axis_names[axis], .size = size[axis], .index = world->rank / stride % size[axis]};
        DL_GOTO_IF_ERROR(status, create_axis(grid, axis, stride), fail);
        stride *= size[axis];
    }
    *out = grid;
    return DL_OK;
fail:
    dl_grid_destroy(&grid);
    return status;
}

void dl_grid_destroy(dl_grid **grid) {
    if (*grid == NULL) {
        return;
    }
    for (int axis = 0; axis < DL_N_AXES; axis++) {
        if ((*grid)->axis[axis].comm != (*grid)->world) {
            dl_comm_destroy(&(*grid)->axis[axis].comm);
        }
    }
    dl_free(grid);
}
