/* Threads and cores per rank, for machines that are not at hand. */
#include "launcher/binding.h"
#include "launcher/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dl_core_set cores(int first, int n) {
    dl_core_set set = {{0}};
    for (int i = first; i < first + n; i++) {
        set.word[i / 64] |= (uint64_t)1 << (i % 64);
    }
    return set;
}

static void unbound_ranks_share(void **state) {
    (void)state;
    dl_core_set allowed[4];
    for (int i = 0; i < 4; i++) {
        allowed[i] = cores(60, 10);
    }
    int n = 0;
    dl_core_set taken = {{0}};
    for (int rank = 0; rank < 4; rank++) {
        const dl_binding binding = dl_binding_decide(allowed, 4, rank, 0);
        assert_int_equal(binding.n_threads, 2);
        assert_true(binding.bind && !binding.oversubscribed);
        n += dl_core_set_count(&binding.cores);
        for (int w = 0; w < 4; w++) {
            assert_true((taken.word[w] & binding.cores.word[w]) == 0);
            taken.word[w] |= binding.cores.word[w];
        }
    }
    assert_int_equal(n, 10);
    assert_int_equal(dl_core_set_count(&taken), 10);
}

static void one_rank_takes_all(void **state) {
    (void)state;
    const dl_core_set all = cores(0, 16);
    const dl_binding binding = dl_binding_decide(&all, 1, 0, 0);
    assert_int_equal(binding.n_threads, 16);
    assert_false(binding.bind || binding.oversubscribed);
}

static void bound_ranks_keep_their_cores(void **state) {
    (void)state;
    const dl_core_set allowed[2] = {cores(0, 8), cores(8, 8)};
    const dl_binding binding = dl_binding_decide(allowed, 2, 1, 0);
    assert_int_equal(binding.n_threads, 8);
    assert_int_equal(binding.n_usable, 16);
    assert_false(binding.bind || binding.oversubscribed);
}

static void more_ranks_than_cores(void **state) {
    (void)state;
    dl_core_set allowed[8];
    for (int i = 0; i < 8; i++) {
        allowed[i] = cores(0, 2);
    }
    const dl_binding binding = dl_binding_decide(allowed, 8, 3, 0);
    assert_int_equal(binding.n_threads, 1);
    assert_true(binding.oversubscribed && !binding.bind);
}

static void the_user_decides(void **state) {
    (void)state;
    const dl_core_set allowed[2] = {cores(0, 8), cores(0, 8)};
    dl_binding binding = dl_binding_decide(allowed, 2, 0, 3);
    assert_int_equal(binding.n_threads, 3);
    assert_true(binding.bind && !binding.oversubscribed);
    assert_int_equal(dl_core_set_count(&binding.cores), 4);
    binding = dl_binding_decide(allowed, 2, 0, 5);
    assert_int_equal(binding.n_threads, 5);
    assert_true(binding.oversubscribed && !binding.bind);
}

static void hosts_are_named_once(void **state) {
    (void)state;
    char text[512];
    const dl_rank_place by_host[] = {{"h1", 2}, {"h2", 1}, {"h2", 1}};
    dl_hosts_print(by_host, 3, text, sizeof text);
    assert_string_equal(text, "h1 (1 rank), h2 (2 ranks)");
    const dl_rank_place in_turn[] = {{"b", 1}, {"a", 1}, {"b", 1}, {"a", 1}};
    dl_hosts_print(in_turn, 4, text, sizeof text);
    assert_string_equal(text, "b (2 ranks), a (2 ranks)");
}

static void names_that_do_not_fit_are_counted(void **state) {
    (void)state;
    enum { HOSTS = 300 };
    static dl_rank_place place[HOSTS];
    for (int i = 0; i < HOSTS; i++) {
        (void)snprintf(place[i].host, sizeof place[i].host, "node%03d", i);
    }
    for (size_t size = 64; size <= 512; size++) {
        char text[512], last[32];
        memset(text, 'x', sizeof text);
        dl_hosts_print(place, HOSTS, text, size);
        assert_true(strlen(text) < size);
        int named = 0;
        for (const char *at = strstr(text, "node"); at != NULL; at = strstr(at + 1, "node")) {
            named++;
        }
        assert_true(named > 0);
        (void)snprintf(last, sizeof last, " and %d more", HOSTS - named);
        assert_string_equal(strstr(text, " and"), last);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unbound_ranks_share),
        cmocka_unit_test(one_rank_takes_all),
        cmocka_unit_test(bound_ranks_keep_their_cores),
        cmocka_unit_test(more_ranks_than_cores),
        cmocka_unit_test(the_user_decides),
        cmocka_unit_test(hosts_are_named_once),
        cmocka_unit_test(names_that_do_not_fit_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
