/* libcuda.so.1 of a machine that has NVIDIA's driver and no GPU: what the CUDA runtime asks for is there, and
 * every answer is CUDA_ERROR_NO_DEVICE. */
#include <stdint.h>
#include <string.h>

enum { SUCCESS = 0, NO_DEVICE = 100, VERSION = 13000 };

int cuDriverGetVersion(int *version);
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, void *status);

int cuDriverGetVersion(int *version) {
    *version = VERSION;
    return SUCCESS;
}

static int no_device(void) {
    return NO_DEVICE;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, void *status) {
    (void)version;
    (void)flags;
    (void)status;
    int (*ask)(const char *, void **, int, uint64_t, void *) = cuGetProcAddress_v2;
    int (*tell)(int *) = cuDriverGetVersion;
    int (*refuse)(void) = no_device;
    if (strcmp(name, "cuGetProcAddress") == 0) {
        memcpy(function, &ask, sizeof *function);
    } else if (strcmp(name, "cuDriverGetVersion") == 0) {
        memcpy(function, &tell, sizeof *function);
    } else {
        memcpy(function, &refuse, sizeof *function);
    }
    return SUCCESS;
}
