/* Errors: codes, messages, the trace, carrying them between threads. */
#include "base/status.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static dl_status innermost(int value) {
    DL_RETURN_ERROR_IF(value < 0, DL_ERR_DATA, "value %d is negative; use 0 or more", value);
    return DL_OK;
}

static dl_status middle(int value) {
    DL_RETURN_IF_ERROR_DOING(innermost(value), "checking thing '%s'", "x");
    return DL_OK;
}

static dl_status outermost(int value) {
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, middle(value), fail);
    return DL_OK;
fail:
    return status;
}

static void a_failure_keeps_its_code_message_and_path(void **state) {
    (void)state;
    assert_int_equal(outermost(1), DL_OK);
    assert_int_equal(outermost(-3), DL_ERR_DATA);
    const dl_error *error = dl_error_last();
    assert_int_equal(error->code, DL_ERR_DATA);
    assert_string_equal(error->message, "value -3 is negative; use 0 or more");
    assert_int_equal(error->n_frames, 3);
    assert_string_equal(error->frame[0].function, "innermost");
    assert_string_equal(error->frame[1].function, "middle");
    assert_string_equal(error->frame[1].doing, "checking thing 'x'");
    assert_string_equal(error->frame[2].function, "outermost");
    assert_true(error->frame[0].line > 0);
    char trace[1024];
    dl_error_format_trace(error, trace, sizeof trace);
    assert_non_null(strstr(trace, "base_status.c"));
    assert_non_null(strstr(trace, "checking thing 'x'"));
}

static void a_message_may_quote_the_message_it_replaces(void **state) {
    (void)state;
    assert_int_equal(outermost(-3), DL_ERR_DATA);
    (void)dl_error_raise(DL_ERR_IO, "f.c", 1, "f", "again: %s", dl_error_last()->message);
    assert_string_equal(dl_error_last()->message, "again: value -3 is negative; use 0 or more");
    assert_int_equal(dl_error_last()->n_frames, 1);
}

static void deep_paths_and_long_messages_are_cut(void **state) {
    (void)state;
    char longer[2 * DL_ERROR_MESSAGE_BYTES];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    (void)dl_error_raise(DL_ERR_INTERNAL, "f.c", 1, "f", "%s", longer);
    assert_int_equal(strlen(dl_error_last()->message), DL_ERROR_MESSAGE_BYTES - 1);
    for (int i = 0; i < 3 * DL_ERROR_FRAMES; i++) {
        (void)dl_error_add_frame(DL_ERR_INTERNAL, "f.c", i, "f", "%d", i);
    }
    assert_int_equal(dl_error_last()->n_frames, DL_ERROR_FRAMES);
    char small[20];
    dl_error_format_trace(dl_error_last(), small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

static void *fail_in_thread(void *out) {
    (void)outermost(-7);
    dl_error_take(out);
    return NULL;
}

static void errors_are_per_thread_and_can_be_handed_over(void **state) {
    (void)state;
    (void)dl_error_raise(DL_ERR_IO, "f.c", 1, "f", "mine");
    dl_error theirs;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fail_in_thread, &theirs), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(dl_error_last()->message, "mine");
    assert_int_equal(dl_error_restore(&theirs), DL_ERR_DATA);
    assert_string_equal(dl_error_last()->message, "value -7 is negative; use 0 or more");
}

static void codes_are_the_exit_codes(void **state) {
    (void)state;
    assert_int_equal(DL_ERR_USAGE, 2);
    assert_int_equal(DL_ERR_DATA, 65);
    assert_int_equal(DL_ERR_INTERNAL, 70);
    assert_int_equal(DL_ERR_MEMORY, 71);
    assert_int_equal(DL_ERR_IO, 74);
    assert_int_equal(DL_ERR_PEER, 75);
    assert_int_equal(DL_ERR_HANG, 76);
    assert_int_equal(DL_ERR_DIVERGED, 77);
    assert_int_equal(DL_ERR_CORRUPT, 78);
    assert_int_equal(DL_STOPPED, 85);
    assert_string_equal(dl_code_text(DL_ERR_PEER), "a peer process died");
    assert_string_equal(dl_code_text((dl_code)99), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_keeps_its_code_message_and_path),
        cmocka_unit_test(a_message_may_quote_the_message_it_replaces),
        cmocka_unit_test(deep_paths_and_long_messages_are_cut),
        cmocka_unit_test(errors_are_per_thread_and_can_be_handed_over),
        cmocka_unit_test(codes_are_the_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
