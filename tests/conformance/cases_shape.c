#include "conformance.h"

static void padding(dlc_list *list, const char *name, int flags, dl_shape x, const int64_t cells[4]) {
    dlc_case *test = dlc_add(list, DL_OP_ZERO_PADDING2D_FORWARD, name, flags, DLC_UNIFORM);
    dl_shape y = x;
    y.dim[1] += cells[0] + cells[1];
    y.dim[2] += cells[2] + cells[3];
    for (int i = 0; i < 4; i++) {
        test->desc.attr.u.padding.cells[i] = cells[i];
    }
    dlc_slot(test, "x", DL_F32, x);
    dlc_slot(test, "y", DL_F32, y);
}

/* Parts of these widths behind the same leading dimensions; widths end with 0. */
static void concatenate(dlc_list *list, const char *name, int flags, dl_shape lead, const int64_t *widths) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    dlc_case *test = dlc_add(list, DL_OP_CONCATENATE_FORWARD, name, flags, DLC_UNIFORM);
    const int last = lead.n_dims++;
    int64_t sum = 0;
    for (int i = 0; widths[i] > 0; i++) {
        lead.dim[last] = widths[i];
        sum += widths[i];
        test->desc.attr.u.concatenate.width[i] = widths[i];
        dlc_slot(test, names[i], DL_F32, lead);
    }
    lead.dim[last] = sum;
    dlc_slot(test, "y", DL_F32, lead);
}

void dlc_cases_shape(dlc_list *list) {
    padding(list, "one cell all round", DLC_ROWS, DL_SHAPE(3, 4, 5, 7), (const int64_t[]){1, 1, 1, 1});
    padding(list, "four different borders", 0, DL_SHAPE(2, 3, 3, 1), (const int64_t[]){0, 1, 2, 3});
    padding(list, "no border", 0, DL_SHAPE(1, 2, 2, 16), (const int64_t[]){0, 0, 0, 0});
    concatenate(list, "two images", DLC_ROWS, DL_SHAPE(3, 4, 5), (const int64_t[]){16, 7, 0});
    concatenate(list, "six vectors", 0, DL_SHAPE(5), (const int64_t[]){1, 2, 3, 4, 5, 6, 0});
    concatenate(list, "three sequences", 0, DL_SHAPE(2, 9), (const int64_t[]){8, 1, 8, 0});
}
