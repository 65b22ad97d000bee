/* How a global batch is divided: over ranks, over micro-batches, and into the S pieces of reproducible mode.
 *
 * The global batch of a step is a row of samples 0..B-1. Without pieces, rank r of P takes the samples
 * floor(rB/P) .. floor((r+1)B/P) and splits them likewise over its micro-batches. With pieces, piece i is the
 * samples floor(iB/S) .. floor((i+1)B/S); ranks take whole pieces, micro-batches of a rank take whole pieces,
 * and sums over samples are added in one binary tree over the pieces, whatever the number of ranks. */
#ifndef DLTRAIN_BASE_PIECES_H
#define DLTRAIN_BASE_PIECES_H

#include <stdint.h>

enum { DL_PIECES = 8, DL_MAX_BLOCKS = 8 };

/* Half-open range of samples, pieces or elements. */
typedef struct dl_range {
    int64_t begin, end;
} dl_range;

/* Part i of n of the range 0..total: floor(i total / n) .. floor((i+1) total / n). */
dl_range dl_range_part(int64_t total, int64_t n, int64_t i);

/* The samples of the global batch of `batch` samples that rank `rank` of `n_ranks` computes in micro-batch
 * `micro` of `n_micro`; with_pieces: in whole pieces. */
dl_range dl_share_samples(int64_t batch, int n_ranks, int rank, int n_micro, int micro, int with_pieces);

/* The pieces of that share (with pieces only). */
dl_range dl_share_pieces(int n_ranks, int rank, int n_micro, int micro);

/* The samples of piece `piece` of a global batch. */
dl_range dl_piece_samples(int64_t batch, int64_t piece);

/* Cuts a range of pieces into the fewest aligned blocks (length a power of two, start a multiple of it): the
 * nodes of the binary tree whose sums can be made locally. Returns their number, at most DL_MAX_BLOCKS. */
int dl_aligned_blocks(dl_range pieces, dl_range out[DL_MAX_BLOCKS]);

/* Whether P ranks with A micro-batches each can take whole pieces, at least one per micro-batch. */
int dl_pieces_fit(int n_ranks, int n_micro);

#endif
