/* A plugin of another version of dltrain: what a user has who installed only half of an update. */
#include <stdint.h>

static const struct { uint64_t abi; } plugin = {1};

const void *dltrain_plugin(void);

const void *dltrain_plugin(void) {
    return &plugin;
}
