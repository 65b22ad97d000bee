#define _GNU_SOURCE
#include "launcher/binding.h"

#include "base/log.h"
#include "base/mem.h"

#include <hwloc.h>
#include <string.h>
#include <unistd.h>

static bool core_set_has(const dl_core_set *set, int core) {
    return (set->word[core / 64] >> (core % 64) & 1) != 0;
}

static void core_set_add(dl_core_set *set, int core) {
    set->word[core / 64] |= (uint64_t)1 << (core % 64);
}

int dl_core_set_count(const dl_core_set *set) {
    int n = 0;
    for (int i = 0; i < DL_MAX_CORES / 64; i++) {
        n += __builtin_popcountll(set->word[i]);
    }
    return n;
}

static bool core_sets_meet(const dl_core_set *a, const dl_core_set *b) {
    for (int i = 0; i < DL_MAX_CORES / 64; i++) {
        if ((a->word[i] & b->word[i]) != 0) {
            return true;
        }
    }
    return false;
}

/* The rank-th of n equal shares of the cores in `from`. */
static dl_core_set share_of(const dl_core_set *from, int n, int rank) {
    dl_core_set share = {{0}};
    const dl_range mine = dl_range_part(dl_core_set_count(from), n, rank);
    int64_t at = 0;
    for (int core = 0; core < DL_MAX_CORES; core++) {
        if (core_set_has(from, core)) {
            if (at >= mine.begin && at < mine.end) {
                core_set_add(&share, core);
            }
            at++;
        }
    }
    return share;
}

dl_binding dl_binding_decide(const dl_core_set *allowed, int n_ranks, int rank, int wanted_threads) {
    dl_core_set usable = {{0}};
    int n_sharing = 0;
    bool all_equal = true;
    for (int i = 0; i < n_ranks; i++) {
        n_sharing += i == rank || core_sets_meet(&allowed[i], &allowed[rank]);
        all_equal = all_equal && memcmp(&allowed[i], &allowed[0], sizeof usable) == 0;
        for (int w = 0; w < DL_MAX_CORES / 64; w++) {
            usable.word[w] |= allowed[i].word[w];
        }
    }
    const int n_own = dl_core_set_count(&allowed[rank]);
    dl_binding binding = {.n_usable = dl_core_set_count(&usable)};
    binding.n_threads = n_own / n_sharing > 1 ? n_own / n_sharing : 1;
    if (wanted_threads > 0) {
        binding.n_threads = wanted_threads;
    }
    binding.oversubscribed = (int64_t)n_ranks * binding.n_threads > binding.n_usable;
    binding.bind = n_ranks > 1 && all_equal && !binding.oversubscribed;
    if (binding.bind) {
        binding.cores = share_of(&usable, n_ranks, rank);
    }
    return binding;
}

/* The machine as hwloc sees it. Without core objects (some virtual machines) processing units stand in. */
typedef struct machine {
    hwloc_topology_t topology;
    hwloc_obj_type_t type;
    int n_cores;
} machine;

static dl_status machine_open(machine *out) {
    DL_RETURN_ERROR_IF(hwloc_topology_init(&out->topology) != 0, DL_ERR_INTERNAL, "hwloc cannot start");
    if (hwloc_topology_load(out->topology) != 0) {
        hwloc_topology_destroy(out->topology);
        DL_RETURN_ERROR(DL_ERR_INTERNAL, "hwloc cannot read this machine's processors");
    }
    out->type = hwloc_get_nbobjs_by_type(out->topology, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    out->n_cores = hwloc_get_nbobjs_by_type(out->topology, out->type);
    out->n_cores = out->n_cores < DL_MAX_CORES ? out->n_cores : DL_MAX_CORES;
    return DL_OK;
}

/* The cores process `pid` may run on (0: this thread); all when that cannot be known. */
static dl_core_set allowed_cores(const machine *from, pid_t pid) {
    dl_core_set cores = {{0}};
    hwloc_bitmap_t units = hwloc_bitmap_alloc();
    int failed = units == NULL;
    if (!failed && pid == 0) {
        failed = hwloc_get_cpubind(from->topology, units, HWLOC_CPUBIND_THREAD) != 0;
    } else if (!failed) {
        failed = hwloc_get_proc_cpubind(from->topology, pid, units, 0) != 0;
    }
    for (int i = 0; i < from->n_cores; i++) {
        const hwloc_obj_t core = hwloc_get_obj_by_type(from->topology, from->type, (unsigned)i);
        if (failed || hwloc_bitmap_intersects(core->cpuset, units)) {
            core_set_add(&cores, i);
        }
    }
    hwloc_bitmap_free(units);
    return cores;
}

/* Threads made from now on inherit it. A refusal costs speed only. */
static void bind_to(const machine *on, const dl_core_set *cores) {
    hwloc_bitmap_t units = hwloc_bitmap_alloc();
    if (units == NULL) {
        return;
    }
    for (int i = 0; i < on->n_cores; i++) {
        if (core_set_has(cores, i)) {
            hwloc_bitmap_or(units, units, hwloc_get_obj_by_type(on->topology, on->type, (unsigned)i)->cpuset);
        }
    }
    if (hwloc_set_cpubind(on->topology, units, HWLOC_CPUBIND_THREAD) != 0) {
        DL_WARN("ranks cannot be bound to cores here");
    }
    hwloc_bitmap_free(units);
}

/* One line, when cores stay idle because the launcher bound the ranks, or when there are too few. Compared
 * with the launcher's own cores: what it may not use itself is not its doing. */
static void say(const dl_runtime *runtime, const dl_binding *binding, const dl_core_set *launcher,
                int wanted_threads) {
    const int n_ranks = runtime->world->node_size;
    const int n_all = dl_core_set_count(launcher);
    const bool content = wanted_threads > 0 && !binding->oversubscribed;
    if (dl_comm_mpi_launched() && binding->n_usable < n_all && !content) {
        DL_WARN("mpirun bound %s to %d of %d cores; to use them all: mpirun --bind-to none",
                n_ranks == 1 ? "this rank" : "the ranks", binding->n_usable, n_all);
    } else if (binding->oversubscribed) {
        DL_WARN("%d rank%s with %d thread%s each on %d core%s: this works, slowly", n_ranks,
                n_ranks == 1 ? "" : "s", binding->n_threads, binding->n_threads == 1 ? "" : "s",
                binding->n_usable, binding->n_usable == 1 ? "" : "s");
    }
}

typedef struct rank_cores {
    char host[64];
    dl_core_set cores;
} rank_cores;

/* Copies the core sets of this host's ranks into allowed[]; false when names do not tell the hosts apart. */
static bool pick_node(const dl_runtime *runtime, const rank_cores *all, dl_core_set *allowed) {
    int n = 0;
    for (int rank = 0; rank < runtime->world->size; rank++) {
        if (strcmp(all[rank].host, runtime->host) == 0) {
            if (n == runtime->world->node_size ||
                (rank == runtime->world->rank && n != runtime->world->node_rank)) {
                return false;
            }
            allowed[n++] = all[rank].cores;
        }
    }
    return n == runtime->world->node_size;
}

static dl_status gather_cores(const dl_runtime *runtime, const dl_core_set *own, dl_core_set *allowed) {
    dl_comm *world = runtime->world;
    rank_cores mine = {.cores = *own};
    memcpy(mine.host, runtime->host, sizeof mine.host);
    rank_cores *all = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)world->size, sizeof *all, &all));
    const dl_status status = world->functions->all_gather(world, &mine, sizeof mine, all);
    if (status == DL_OK && !pick_node(runtime, all, allowed)) {
        for (int i = 0; i < world->node_size; i++) {
            allowed[i] = *own;
        }
    }
    dl_free(&all);
    return status;
}

dl_status dl_binding_count_cores(int *n) {
    machine here;
    DL_RETURN_IF_ERROR(machine_open(&here));
    const dl_core_set own = allowed_cores(&here, 0);
    *n = dl_core_set_count(&own);
    hwloc_topology_destroy(here.topology);
    return DL_OK;
}

dl_status dl_binding_apply(dl_runtime *runtime, int wanted_threads) {
    machine here;
    DL_RETURN_IF_ERROR(machine_open(&here));
    const dl_core_set own = allowed_cores(&here, 0);
    dl_core_set *allowed = NULL;
    dl_status status = dl_alloc((size_t)runtime->world->node_size, sizeof *allowed, &allowed);
    if (status == DL_OK) {
        status = gather_cores(runtime, &own, allowed);
    }
    if (status == DL_OK) {
        const dl_binding binding =
            dl_binding_decide(allowed, runtime->world->node_size, runtime->world->node_rank, wanted_threads);
        const dl_core_set launcher = allowed_cores(&here, getppid());
        say(runtime, &binding, &launcher, wanted_threads);
        if (binding.bind) {
            bind_to(&here, &binding.cores);
        }
        runtime->n_threads = binding.n_threads;
        runtime->oversubscribed = binding.oversubscribed;
    }
    dl_free(&allowed);
    hwloc_topology_destroy(here.topology);
    return status;
}
