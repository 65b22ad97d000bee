/* Between graph_device.c, engines.c and plans.c: a device, and the engines found for it. */
#ifndef DLTRAIN_KERNELS_CUDA_ENGINES_H
#define DLTRAIN_KERNELS_CUDA_ENGINES_H

#include "base/mem.h"
#include "kernels/cuda/descriptors.h"

/* The heuristics give tens of configurations, the likely fastest first, many of one engine with other tiles.
 * So many of those that the rules let through are candidates for measurement. */
enum { DL_GRAPH_MAX_ENGINES = 8 };

typedef struct dl_graph_engine {
    dl_descriptor config;
    int number;         /* of the configuration, in the order of the heuristics */
    dl_graph_plan plan; /* its descriptor is NULL until it is asked for */
    char name[DL_GRAPH_NAME_BYTES];
} dl_graph_engine;

struct dl_graph_engines {
    dl_graph_engines *next;
    dl_graph_device *device;
    char *key; /* graph and rules as text */
    size_t workspace_limit;
    dl_graph_descriptors descriptors;
    int n;
    dl_graph_engine engine[DL_GRAPH_MAX_ENGINES];
};

struct dl_graph_device {
    cudnnHandle_t handle;      /* NULL: only described */
    dl_descriptor description; /* NULL: a real one */
    char *text;                /* what describes it; "": cuDNN does not say */
    dl_pool *pool;
    dl_graph_engines *known;
};

/* A plan of the engine, once: as an earlier run left it, else compiled. */
DL_NODISCARD dl_status dl_graph_compile(const dl_graph_engines *engines, dl_graph_engine *e);

void dl_graph_engine_release(dl_graph_engine *e);

#endif
