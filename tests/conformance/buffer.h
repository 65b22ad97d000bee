/* Device memory with guards on both sides, and a copy of it on the host. */
#ifndef DLTRAIN_TESTS_BUFFER_H
#define DLTRAIN_TESTS_BUFFER_H

#include "kernels/backend.h"

typedef struct dlc_buffer {
    dl_device *device;
    size_t n_bytes;       /* of the data */
    size_t total;         /* with guards */
    unsigned char *base;  /* device memory */
    unsigned char *host;  /* `total` bytes */
    void *data;           /* device address of the data, on a page's start */
    unsigned char *bytes; /* host address of the data */
} dlc_buffer;

DL_NODISCARD dl_status dlc_buffer_create(dl_device *device, size_t n_bytes, dlc_buffer *out);
void dlc_buffer_destroy(dlc_buffer *buffer);

/* Data to the device, guards renewed: `bytes` (n_bytes) or, when NULL, the poison of ref:strict. */
DL_NODISCARD dl_status dlc_buffer_put(dlc_buffer *buffer, const void *bytes);

/* Fetches the memory into buffer->bytes; *intact tells whether the guards still stand. */
DL_NODISCARD dl_status dlc_buffer_get(dlc_buffer *buffer, bool *intact);

/* A change of layout by the device's own operations. */
typedef struct dlc_conversion {
    const dl_tensor_desc *tensor;
    bool batched; /* by reorder; otherwise by pack or unpack */
    bool add;     /* unpack with accumulate */
    const dl_layout *from, *to;
} dlc_conversion;

DL_NODISCARD dl_status dlc_convert(const dlc_conversion *conversion, dlc_buffer *from, dlc_buffer *to);

#endif
