#include "base/pieces.h"

dl_range dl_range_part(int64_t total, int64_t n, int64_t i) {
    return (dl_range){i * total / n, (i + 1) * total / n};
}

dl_range dl_share_pieces(int n_ranks, int rank, int n_micro, int micro) {
    const dl_range mine = dl_range_part(DL_PIECES, n_ranks, rank);
    const dl_range part = dl_range_part(mine.end - mine.begin, n_micro, micro);
    return (dl_range){mine.begin + part.begin, mine.begin + part.end};
}

dl_range dl_piece_samples(int64_t batch, int64_t piece) {
    return dl_range_part(batch, DL_PIECES, piece);
}

dl_range dl_share_samples(int64_t batch, int n_ranks, int rank, int n_micro, int micro, int with_pieces) {
    if (with_pieces) {
        const dl_range pieces = dl_share_pieces(n_ranks, rank, n_micro, micro);
        return (dl_range){pieces.begin * batch / DL_PIECES, pieces.end * batch / DL_PIECES};
    }
    const dl_range mine = dl_range_part(batch, n_ranks, rank);
    const dl_range part = dl_range_part(mine.end - mine.begin, n_micro, micro);
    return (dl_range){mine.begin + part.begin, mine.begin + part.end};
}

int dl_aligned_blocks(dl_range pieces, dl_range out[DL_MAX_BLOCKS]) {
    int n = 0;
    for (int64_t at = pieces.begin; at < pieces.end && n < DL_MAX_BLOCKS;) {
        int64_t length = 1;
        while (at % (2 * length) == 0 && at + 2 * length <= pieces.end) {
            length *= 2;
        }
        out[n++] = (dl_range){at, at + length};
        at += length;
    }
    return n;
}

int dl_pieces_fit(int n_ranks, int n_micro) {
    for (int rank = 0; rank < n_ranks; rank++) {
        const dl_range mine = dl_range_part(DL_PIECES, n_ranks, rank);
        if (mine.end - mine.begin < n_micro) {
            return 0;
        }
    }
    return 1;
}
