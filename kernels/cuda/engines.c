/* Engines: cuDNN's heuristics are asked once for each graph, what they answer is kept. */
#include "kernels/cuda/engines.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CONFIGS = 64, MAX_REASON_BYTES = 256 };

/* --- what the heuristics offer --- */

/* What decides whether an engine is taken, and what it is called. */
typedef struct notes {
    int64_t number; /* cuDNN's, of the engine */
    bool tensor_core, down_converts, fourier, winograd, nondeterministic;
} notes;

static dl_status read_notes(dl_descriptor config, dl_descriptor found, notes *out) {
    cudnnBackendNumericalNote_t numerical[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &found)));
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnBackendGetAttribute(found, CUDNN_ATTR_ENGINE_GLOBAL_INDEX,
                                                         CUDNN_TYPE_INT64, 1, &n, &out->number)));
    DL_RETURN_IF_ERROR(
        DL_CUDNN(cudnnBackendGetAttribute(found, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                          CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, numerical)));
    for (int64_t i = 0; i < n; i++) {
        out->tensor_core |= numerical[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
        out->down_converts |= numerical[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
        out->fourier |= numerical[i] == CUDNN_NUMERICAL_NOTE_FFT;
        out->winograd |= numerical[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD;
        out->nondeterministic |= numerical[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
    }
    return DL_OK;
}

static dl_status notes_of(dl_descriptor config, notes *out) {
    dl_descriptor found = NULL;
    *out = (notes){.number = -1};
    DL_DESCRIPTOR_CREATE(ENGINE, &found);
    const dl_status status = read_notes(config, found, out);
    dl_descriptor_destroy(&found);
    return status;
}

/* Tensor cores have no float32: where tensors are float32, they round what they multiply to tf32. */
static bool rules_allow(const dl_graph_rules *rules, const notes *n) {
    return !(rules->deterministic && n->nondeterministic) &&
           !(rules->exact && (n->tensor_core || n->down_converts)) &&
           !(rules->no_transform && (n->winograd || n->fourier));
}

static dl_status ask(const dl_graph_engines *engines, cudnnBackendHeurMode_t mode, dl_descriptor *heuristics,
                     dl_descriptor config[MAX_CONFIGS], int64_t *n) {
    DL_DESCRIPTOR_CREATE(ENGINEHEUR, heuristics);
    DL_DESCRIPTOR_SET(*heuristics, ENGINEHEUR_OPERATION_GRAPH, BACKEND_DESCRIPTOR, 1,
                      &engines->descriptors.graph);
    DL_DESCRIPTOR_SET(*heuristics, ENGINEHEUR_MODE, HEUR_MODE, 1, &mode);
    if (engines->device->description != NULL) {
        DL_DESCRIPTOR_SET(*heuristics, ENGINEHEUR_DEVICEPROP, BACKEND_DESCRIPTOR, 1,
                          &engines->device->description);
    }
    DL_DESCRIPTOR_FINALIZE(*heuristics);
    for (int i = 0; i < MAX_CONFIGS; i++) {
        DL_DESCRIPTOR_CREATE(ENGINECFG, &config[i]);
    }
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnBackendGetAttribute(
        *heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, MAX_CONFIGS, n, config)));
    *n = *n > MAX_CONFIGS ? MAX_CONFIGS : *n;
    return DL_OK;
}

/* Takes the configurations that the rules allow over into `engines`, as many as there is room for. */
static dl_status take(dl_graph_engines *engines, const dl_graph_rules *rules,
                      dl_descriptor config[MAX_CONFIGS], int64_t n) {
    for (int64_t i = 0; i < n && engines->n < DL_GRAPH_MAX_ENGINES; i++) {
        notes found;
        DL_RETURN_IF_ERROR(notes_of(config[i], &found));
        if (!rules_allow(rules, &found)) {
            continue;
        }
        dl_graph_engine *e = &engines->engine[engines->n++];
        e->config = config[i];
        e->number = (int)i;
        config[i] = NULL;
        (void)snprintf(e->name, sizeof e->name, "%s%sengine %" PRId64,
                       found.winograd  ? "winograd:"
                       : found.fourier ? "fourier:"
                                       : "",
                       found.nondeterministic ? "nondeterministic:" : "", found.number);
    }
    return DL_OK;
}

static dl_status collect(dl_graph_engines *engines, const dl_graph_rules *rules,
                         cudnnBackendHeurMode_t mode) {
    dl_descriptor heuristics = NULL, config[MAX_CONFIGS] = {NULL};
    int64_t n = 0;
    dl_status status = ask(engines, mode, &heuristics, config, &n);
    if (status == DL_OK) {
        status = take(engines, rules, config, n);
    }
    for (int i = 0; i < MAX_CONFIGS; i++) {
        dl_descriptor_destroy(&config[i]);
    }
    dl_descriptor_destroy(&heuristics);
    return status;
}

/* Drops engines from the front until one compiles. *reason: why the last one did not. */
static void drop_failing(dl_graph_engines *engines, char reason[MAX_REASON_BYTES]) {
    int first = 0;
    while (first < engines->n && dl_graph_compile(engines, &engines->engine[first]) != DL_OK) {
        (void)snprintf(reason, MAX_REASON_BYTES, "%s: %.200s", engines->engine[first].name,
                       dl_error_last()->message);
        dl_graph_engine_release(&engines->engine[first++]);
    }
    engines->n -= first;
    memmove(engines->engine, &engines->engine[first], (size_t)engines->n * sizeof engines->engine[0]);
}

/* Mode A knows what is fast; FALLBACK what works always. */
static dl_status fill(dl_graph_engines *engines, const dl_graph *graph, const dl_graph_rules *rules) {
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    char reason[MAX_REASON_BYTES] = "the heuristics offer none";
    DL_RETURN_IF_ERROR(dl_graph_describe(graph, engines->device->handle, &engines->descriptors));
    for (size_t i = 0; i < sizeof modes / sizeof modes[0] && engines->n == 0; i++) {
        if (collect(engines, rules, modes[i]) != DL_OK) { /* the other mode may have some all the same */
            (void)snprintf(reason, sizeof reason, "%.200s", dl_error_last()->message);
        }
        drop_failing(engines, reason);
    }
    DL_RETURN_ERROR_IF(engines->n == 0, DL_ERR_INTERNAL, "cuDNN has no engine for %s%s: %s", engines->key,
                       rules->deterministic ? " that is deterministic" : "", reason);
    return DL_OK;
}

static dl_status key_of(const dl_graph *graph, const dl_graph_rules *rules, dl_text *out) {
    DL_RETURN_IF_ERROR(dl_graph_text(graph, out));
    return dl_text_append(out, " %s%s%s%zu", rules->deterministic ? "deterministic " : "",
                          rules->exact ? "exact " : "", rules->no_transform ? "no-transform " : "",
                          rules->workspace_limit);
}

/* The first of equal keys; NULL: not asked for yet. One that has no engines stays known too: n is 0. */
static dl_graph_engines *known_engines(const dl_graph_device *device, const char *key) {
    dl_graph_engines *known = device->known;
    while (known != NULL && strcmp(known->key, key) != 0) {
        known = known->next;
    }
    return known;
}

static dl_status add_engines(dl_graph_device *device, const dl_graph *graph, const dl_graph_rules *rules,
                             const char *key, dl_graph_engines **out) {
    DL_RETURN_IF_ERROR(dl_pool_alloc(device->pool, 1, sizeof **out, out));
    DL_RETURN_IF_ERROR(dl_pool_strdup(device->pool, key, &(*out)->key));
    (*out)->device = device;
    (*out)->workspace_limit = rules->workspace_limit;
    (*out)->next = device->known;
    device->known = *out;
    return fill(*out, graph, rules);
}

dl_status dl_graph_find(dl_graph_device *device, const dl_graph *graph, const dl_graph_rules *rules,
                        dl_graph_engines **out) {
    dl_text key = {0};
    dl_graph_engines *engines = NULL;
    dl_status status = key_of(graph, rules, &key);
    if (status == DL_OK) {
        engines = known_engines(device, key.data);
        status = engines == NULL ? add_engines(device, graph, rules, key.data, &engines) : DL_OK;
    }
    dl_text_free(&key);
    DL_RETURN_IF_ERROR(status);
    DL_RETURN_ERROR_IF(engines->n == 0, DL_ERR_INTERNAL, "cuDNN has no engine for %s", engines->key);
    *out = engines;
    return DL_OK;
}

int dl_graph_n_engines(const dl_graph_engines *engines) {
    return engines->n;
}

const char *dl_graph_engine_name(const dl_graph_engines *engines, int i) {
    return engines->engine[i].name;
}

dl_status dl_graph_plan_of(dl_graph_engines *engines, int i, const dl_graph_plan **out) {
    DL_RETURN_ERROR_IF(i < 0 || i >= engines->n, DL_ERR_INTERNAL, "engine %d of %d for %s", i, engines->n,
                       engines->key);
    dl_graph_engine *e = &engines->engine[i];
    DL_RETURN_IF_ERROR_DOING(dl_graph_compile(engines, e), "compiling %s for %s", e->name, engines->key);
    *out = &e->plan;
    return DL_OK;
}
