/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Large fields with hundreds of clusters, of which some look larger than they are by chance: no crystal is made of
 * them. */
#define N 1280
#define MOST 300
#include "spheres.h"

static void many_weak_clusters_are_no_crystals(void **state)
{
    enum { FIELDS = 6, CLUSTERS = 300 };
    struct tally t = { 0 };
    size_t named = 0;
    (void)state;
    for (uint64_t i = 0; i < FIELDS; i++) {
        struct mro_image im = { 0 };
        struct disc discs[MOST];
        struct mro_order_result r;
        const size_t n = make_mixed(&im, 800 + i, CLUSTERS, CLUSTERS, (const double[]){ 1.8, 2.4 }, 0.8, discs);
        assert_int_equal(n, CLUSTERS);
        ok(mro_order_measure(plan, &im, "many", &r, &e), &e);
        double area = 0; /* they lie apart */
        for (size_t k = 0; k < n; k++) area += MRO_PI / 4 * discs[k].diameter * discs[k].diameter;
        count(&t, &r, area / (FIELD * FIELD));
        named += strstr(r.verdict, "crystal") != NULL;
        mro_order_result_release(&r);
        mro_image_release(&im);
    }
    print_tally(&t, "many clusters");
    print_message("%zu verdicts name crystals\n", named);
    assert_true(named <= 1);
    assert_true(t.covered + 1 >= FIELDS);
    near(t.measured / t.truth, 1, 0.15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_weak_clusters_are_no_crystals),
    };
    return cmocka_run_group_tests(tests, make_plan, free_plan);
}
