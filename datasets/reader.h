/* What the reader's files share: reader.c opens, reader_read.c reads, reader_digest.c digests. */
#ifndef DLTRAIN_DATASETS_READER_H
#define DLTRAIN_DATASETS_READER_H

#include "datasets/shard.h"

struct dl_dataset {
    dl_dataset_info info;
    int n_shards; /* opened so far */
    dl_shard *shard;
};

/* Fills info.digest. */
DL_NODISCARD dl_status dl_dataset_make_digest(dl_dataset *dataset);

#endif
