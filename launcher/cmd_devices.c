#define _GNU_SOURCE
#include "launcher/binding.h"
#include "launcher/command.h"
#include "launcher/gpu_choice.h"

#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* What there is to compute on. */
typedef struct devices {
    int n_gpus;
    dl_gpu gpu[DL_MAX_GPUS];
    char why_none[DL_ERROR_MESSAGE_BYTES]; /* no GPU: the reason */
    char libraries[128];                   /* of the plugin, "" without */
    char processor[96];
    int n_cores; /* that this process may use */
} devices;

static void find_gpus(devices *d) {
    const dl_plugin *plugin = NULL;
    dl_status status = dl_plugin_open("cuda", &plugin);
    if (status == DL_OK) {
        plugin->libraries(d->libraries, sizeof d->libraries);
        status = plugin->gpus(d->gpu, &d->n_gpus);
    }
    if (status != DL_OK) {
        d->n_gpus = 0;
        (void)snprintf(d->why_none, sizeof d->why_none, "%s", dl_error_last()->message);
    }
}

/* "model name : AMD EPYC ...", as Linux on x86 writes it; "" elsewhere. */
static void find_processor(char *out, size_t n_bytes) {
    static const char key[] = "model name";
    char line[256];
    out[0] = '\0';
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && out[0] == '\0' && fgets(line, (int)sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) == 0 && colon != NULL) {
            line[strcspn(line, "\n")] = '\0';
            (void)snprintf(out, n_bytes, "%s", colon + 1 + strspn(colon + 1, " \t"));
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

static double gibibytes(int64_t n_bytes) {
    return (double)n_bytes / (1024.0 * 1024.0 * 1024.0);
}

static int print_text(const devices *d) {
    int printed = 0;
    for (int i = 0; i < d->n_gpus && printed >= 0; i++) {
        const dl_gpu *gpu = &d->gpu[i];
        printed = printf("gpu %-3d %s  %.1f GiB  compute capability %d.%d  at %s\n", i, gpu->name,
                         gibibytes(gpu->memory_bytes), gpu->capability[0], gpu->capability[1], gpu->pci);
    }
    if (d->n_gpus == 0) {
        printed = printf("gpu     none: %s\n", d->why_none);
    }
    if (printed >= 0 && d->libraries[0] != '\0') {
        printed = printf("with    %s\n", d->libraries);
    }
    return printed < 0 ? printed
                       : printf("cpu     %s%s%d core%s for this process\n", d->processor,
                                d->processor[0] != '\0' ? "  " : "", d->n_cores, d->n_cores == 1 ? "" : "s");
}

static json_t *gpu_json(const devices *d) {
    json_t *list = json_array();
    for (int i = 0; i < d->n_gpus; i++) {
        char capability[32];
        const dl_gpu *gpu = &d->gpu[i];
        (void)snprintf(capability, sizeof capability, "%d.%d", gpu->capability[0], gpu->capability[1]);
        (void)json_array_append_new(list, json_pack("{s:i, s:s, s:I, s:s, s:s, s:i}", "index", i, "name",
                                                    gpu->name, "memory_bytes", (json_int_t)gpu->memory_bytes,
                                                    "compute_capability", capability, "pci", gpu->pci,
                                                    "numa_node", dl_gpu_numa_node(gpu->pci)));
    }
    return list;
}

static int print_json(const devices *d) {
    json_t *all = json_pack("{s:o, s:s?, s:s?, s:s?, s:{s:s, s:i}}", "gpus", gpu_json(d), "no_gpu",
                            d->n_gpus == 0 ? d->why_none : NULL, "plugin",
                            dl_plugin_path()[0] != '\0' ? dl_plugin_path() : NULL, "libraries",
                            d->libraries[0] != '\0' ? d->libraries : NULL, "cpu", "name", d->processor,
                            "cores", d->n_cores);
    char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    const int printed = text == NULL ? -1 : printf("%s\n", text);
    free(text);
    json_decref(all);
    return printed;
}

static dl_status run(const dl_arguments *arguments) {
    devices d = {.n_gpus = 0};
    find_gpus(&d);
    find_processor(d.processor, sizeof d.processor);
    DL_RETURN_IF_ERROR(dl_binding_count_cores(&d.n_cores));
    const bool json = dl_arguments_flag(arguments, "json") != NULL;
    DL_RETURN_ERROR_IF((json ? print_json(&d) : print_text(&d)) < 0 || fflush(stdout) != 0, DL_ERR_IO,
                       "cannot write to stdout");
    return DL_OK;
}

const dl_command dl_command_devices = {
    .name = "devices",
    .usage = "[--json]",
    .doc = "what this machine has to compute on: GPUs and cores",
    .help =
        "GPUs as CUDA_VISIBLE_DEVICES shows them to this process, with the libraries that use them, or the reason\n"
        "why none can be used: no plugin dltrain_cuda.so (beside the program, in its libdir, or in the folder that\n"
        "DLTRAIN_PLUGIN_DIR names), no driver, no device, a plugin of another version. It takes no GPU. With --json:\n"
        "{\"gpus\": [{\"index\", \"name\", \"memory_bytes\", \"compute_capability\", \"pci\", \"numa_node\"}],\n"
        "\"no_gpu\", \"plugin\", \"libraries\", \"cpu\": {\"name\", \"cores\"}}.",
    .flags =
        (const dl_flag[]){
            {"json", NULL, "one JSON object instead of text"},
            {NULL, NULL, NULL},
        },
    .run = run,
};
