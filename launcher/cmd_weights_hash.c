#include "base/text.h"
#include "launcher/command.h"
#include "train/weights.h"

#include <stdio.h>

static dl_status run(const dl_arguments *arguments) {
    const char *path = arguments->positional[0];
    char hash[DL_DIGEST_TEXT_BYTES];
    DL_RETURN_ERROR_IF(!dl_file_exists(path), DL_ERR_USAGE, "there is no file %s", path);
    DL_RETURN_IF_ERROR(dl_weights_hash_file(path, hash));
    DL_RETURN_ERROR_IF(printf("%s\n", hash) < 0 || fflush(stdout) != 0, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

const dl_command dl_command_weights_hash = {
    .name = "weights hash",
    .usage = "FILE",
    .doc = "print the hash of a weights.h5",
    .help =
        "XXH3-128 over the bytes of all tensors in bytewise order of their paths: the number that a\n"
        "finished run prints last and that metrics.jsonl ends with. Equal hashes are equal weights, bit for\n"
        "bit.",
    .flags = (const dl_flag[]){{NULL, NULL, NULL}},
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
