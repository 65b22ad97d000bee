/* Initial values that are more than a number for each element. */
#ifndef DLTRAIN_MODEL_INIT_H
#define DLTRAIN_MODEL_INIT_H

#include "base/status.h"

#include <stdint.h>

/* out [rows, columns], rows >= columns: orthonormal columns, uniformly distributed (Haar). Q of the QR
 * decomposition of a matrix of normal numbers with R's diagonal positive (Mezzadri, arXiv:math-ph/0609050),
 * by Cholesky's factors of A^T A: tall normal matrices are well conditioned (4 to 1: about 3). A pure
 * function of (seed, number). */
DL_NODISCARD dl_status dl_init_orthogonal(uint64_t seed, uint64_t number, int64_t rows, int64_t columns,
                                          float *out);

#endif
