/* Writes a checkpoint of known content (tests/unit/checkpoint_support.h), as so many ranks would.
 *
 *     checkpoint_make FOLDER STEP RANKS [MIB]       MIB: a tensor /large of so many MiB besides, on rank 0
 *
 * The exit status is that of the failure, whose message goes to stderr. */
#include "../unit/checkpoint_support.h"

#include <stdint.h>

/* The second half of the tensor comes first: slices are written in the order of their places in the file. */
static dl_status write_large(const char *folder, int64_t step, int64_t n_bytes, dl_text *part) {
    unsigned char *bytes = NULL;
    dl_checkpoint_slice slice[SAMPLE_TENSORS + 1];
    char *memory = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n_bytes, 1, &bytes));
    for (int64_t i = 0; i < n_bytes; i++) {
        bytes[i] = (unsigned char)(i * 31 + step + i / 4093);
    }
    const int n = sample_slices(step, 0, 1, slice, &memory);
    slice[n] = (dl_checkpoint_slice){.name = "/large",
                                     .dtype = DL_U8,
                                     .whole = DL_SHAPE(n_bytes),
                                     .shape = DL_SHAPE(n_bytes),
                                     .bytes = bytes};
    const dl_status status =
        memory != NULL ? write_slices(folder, step, 0, slice, n + 1, NULL, part) : DL_ERR_MEMORY;
    free(memory);
    dl_free(&bytes);
    return status;
}

static dl_status save_large(const char *folder, int64_t step, int64_t n_bytes) {
    dl_text part = {0};
    dl_status status = write_large(folder, step, n_bytes, &part);
    if (status == DL_OK) {
        status = sample_commit(folder, step, 1, &(const char *){part.data});
    }
    if (status != DL_OK) {
        dl_checkpoint_abandon(folder, step, 0);
    }
    dl_text_free(&part);
    return status;
}

int main(int argc, char **argv) {
    int64_t step = 0, ranks = 0, mib = 0;
    if ((argc != 4 && argc != 5) || !dl_parse_int64(argv[2], &step) || !dl_parse_int64(argv[3], &ranks) ||
        ranks < 1 || ranks > 16 ||
        (argc == 5 && (!dl_parse_int64(argv[4], &mib) || mib < 1 || mib > 4096 || ranks != 1))) {
        fprintf(stderr, "usage: checkpoint_make FOLDER STEP RANKS [MIB]\n");
        return 2;
    }
    const dl_status status =
        mib > 0 ? save_large(argv[1], step, mib << 20) : sample_save(argv[1], step, (int)ranks);
    if (status != DL_OK) {
        fprintf(stderr, "checkpoint_make: error: %s\n", dl_error_last()->message);
    }
    return (int)status;
}
