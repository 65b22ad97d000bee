/* Programs on a device with streams whose ranks are joined by `staged`, at any number of ranks: whatever
 * order lanes and copies run in, as far as events leave one, the parameters are, bit for bit, those of `ref`
 * with `mpi`. The device is that of tests/unit/program_streams.c. */
#include "tests/unit/stream_kit.h"

#include "comm/device.h"

enum { BATCH = 12, STEPS = 3, N_ORDERS = 12 };

static dl_comm *world;

static const char *const cnn = "  - conv2d: {filters: 4, kernel_size: 3, activation: relu}\n"
                               "  - batch_normalization: {statistics: global}\n"
                               "  - flatten: {}\n"
                               "  - dense: {units: 40, activation: relu}\n"
                               "  - dense: {units: 5, activation: softmax}\n";

/* --- the simulated device as a communicator sees it --- */

static dl_status memory_create(void *context, size_t n_bytes, void **out) {
    return sim_memory_create(context, n_bytes, out);
}

static void memory_destroy(void *context, void *memory, size_t n_bytes) {
    sim_memory_destroy(context, memory, n_bytes);
}

static dl_status pin(void *context, void *memory, size_t n_bytes) {
    (void)context, (void)memory, (void)n_bytes;
    return DL_OK;
}

static void unpin(void *context, void *memory, size_t n_bytes) {
    (void)context, (void)memory, (void)n_bytes;
}

static dl_status stream_create(void *context, void **out) {
    dl_stream *stream = NULL;
    DL_RETURN_IF_ERROR(sim_stream_create(context, false, &stream));
    *out = stream;
    return DL_OK;
}

static void stream_destroy(void *context, void *stream) {
    sim_stream_destroy(context, stream);
}

static dl_status event_create(void *context, void **out) {
    dl_event *event = NULL;
    DL_RETURN_IF_ERROR(sim_event_create(context, &event));
    *out = event;
    return DL_OK;
}

static void event_destroy(void *context, void *event) {
    sim_event_destroy(context, event);
}

static dl_status record(void *context, void *event, void *stream) {
    return sim_event_record(context, event, stream);
}

static dl_status stream_wait(void *context, void *stream, void *event) {
    return sim_event_wait(context, event, stream);
}

static dl_status synchronize(void *context, void *event) {
    return sim_event_synchronize(context, event);
}

static dl_status query(void *context, void *event, bool *happened) {
    *happened = true;
    return sim_event_synchronize(context, event);
}

/* Bytes are taken when the stream comes to the copy, both ways. */
static dl_status copy(void *context, void *to, const void *from, size_t n_bytes, void *stream) {
    return sim_download(context, to, from, n_bytes, stream);
}

static dl_status join_staged(dl_device *device, dl_comm **out) {
    const dl_comm_device table = {
        .name = "simulated",
        .context = device,
        .memory_create = memory_create,
        .memory_destroy = memory_destroy,
        .pin = pin,
        .unpin = unpin,
        .stream_create = stream_create,
        .stream_destroy = stream_destroy,
        .event_create = event_create,
        .event_destroy = event_destroy,
        .record = record,
        .stream_wait = stream_wait,
        .synchronize = synchronize,
        .query = query,
        .copy_out = copy,
        .copy_in = copy,
    };
    return dl_comm_staged_create(world, &table, out);
}

static dl_status join_mpi(dl_device *device, dl_comm **out) {
    (void)device;
    return world->functions->split(world, 0, out);
}

/* --- training --- */

static int make(kit *k, const kit_options *options, const dl_backend *backend) {
    kit_open(k);
    kit_model(k, DL_SHAPE(8, 8, 1), cnn);
    kit_options o = *options;
    o.batch_size = BATCH;
    o.runnable = true;
    o.device_of = backend;
    o.n_ranks = world->size;
    o.rank = world->rank;
    o.join = backend == NULL ? join_mpi : join_staged;
    kit_plan(k, &o);
    const int program = kit_add(k, DL_PROGRAM_TRAIN, BATCH);
    KIT_OK(dl_plan_finish(k->plan));
    return program;
}

/* This rank's samples of a batch that differs from step to step. */
static void train(kit *k, int program, float *parameters) {
    kit_batch b;
    kit_batch_create(&b, k->model, BATCH, 0.1);
    kit_init_parameters(k);
    if (k->plan->bytes[DL_STORE_OPTIMIZER] > 0) {
        memset(k->plan->memory[DL_STORE_OPTIMIZER], 0, k->plan->bytes[DL_STORE_OPTIMIZER]);
    }
    const int64_t size = dl_shape_elements(&k->model->value[0].shape);
    const int64_t begin = k->plan->program[program]->local_begin;
    const void *field[3] = {(float *)b.x + begin * size, b.y + begin, b.lengths + begin};
    b.host.field = field;
    b.host.ids = b.ids + begin;
    for (int step = 0; step < STEPS; step++) {
        for (int64_t i = 0; i < BATCH * size; i++) {
            ((float *)b.x)[i] = (float)kit_random(40 + (uint64_t)step, (uint64_t)i);
        }
        b.step = (dl_step_block){.step = step + 1, .t = step + 1, .weight = BATCH, .learning_rate = 0.1};
        kit_run(k, program, &b);
    }
    KIT_OK(dl_device_synchronize(k->device));
    memcpy(parameters, k->plan->memory[DL_STORE_PARAMETER], k->plan->bytes[DL_STORE_PARAMETER]);
    kit_batch_free(&b);
}

/* Ranks need not have the same order: they never do. */
static void shuffle_order(int number) {
    for (int i = 0; i < sim_state.n_streams; i++) {
        const int j = (int)dl_rng_below(6, DL_RNG_TEST, (uint64_t)(100 * world->rank + number), (uint64_t)i,
                                        (uint64_t)i + 1);
        sim_state.order[i] = sim_state.order[j];
        sim_state.order[j] = i;
    }
}

static const kit_options variants[] = {
    {.clip_norm = 1},
    {.accumulate = 2, .sgd = true},
    {.reproducible = true},
};

static void every_order_gives_the_numbers_of_the_host(void **state) {
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        kit host, device;
        const int expecting = make(&host, &variants[v], NULL);
        const size_t n_bytes = host.plan->bytes[DL_STORE_PARAMETER];
        float *expected = NULL, *got = NULL;
        KIT_OK(dl_alloc(n_bytes, 1, &expected));
        KIT_OK(dl_alloc(n_bytes, 1, &got));
        train(&host, expecting, expected);
        const int program = make(&device, &variants[v], &sim_backend);
        assert_int_equal(sim_state.n_streams, DL_N_LANES + (world->size > 1 ? 2 : 0)); /* and staged's */
        for (int i = 0; i < N_ORDERS; i++) {
            shuffle_order(i);
            train(&device, program, got);
            (void)snprintf(kit_context, sizeof kit_context, "rank %d, variant %zu, order %d", world->rank, v,
                           i);
            assert_memory_equal(got, expected, n_bytes);
        }
        kit_close(&device);
        kit_close(&host);
        dl_free(&expected);
        dl_free(&got);
    }
}

/* Each instruction by itself: --profile. */
static void profiled(void **state) {
    (void)state;
    kit k;
    const int program = make(&k, &variants[0], &sim_backend);
    kit_batch b;
    kit_batch_create(&b, k.model, BATCH, 0.1);
    kit_init_parameters(&k);
    dl_profile profile = {.n_runs = 0};
    KIT_OK(dl_alloc((size_t)k.plan->program[program]->n_instructions, sizeof(double), &profile.seconds));
    b.host.step = &b.step;
    KIT_OK(dl_execute_profiled(k.plan, program, &b.host, &profile));
    KIT_OK(dl_execute_profiled(k.plan, program, &b.host, &profile));
    assert_int_equal(profile.n_runs, 2);
    assert_true(isfinite(kit_loss(&k, program)));
    dl_free(&profile.seconds);
    kit_batch_free(&b);
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_gives_the_numbers_of_the_host),
        cmocka_unit_test(profiled),
    };
    if (dl_comm_mpi_create(&world) != DL_OK) {
        return 1;
    }
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (n_failed > 0) {
        world->functions->abort_job(world, 1); /* the others may be waiting */
    }
    dl_comm_destroy(&world);
    dl_comm_mpi_finish();
    return n_failed;
}
