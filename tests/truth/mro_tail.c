/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The chance that speckle exceeds its threshold by so much, against drawn images of speckle. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mroscope/math/philox.h"
#include "ops/mro/mro_internal.h"

enum { IMAGES = 20000 };

/* Share of drawn images whose patches exceed the threshold by `excess` or more. */
static double drawn(double excess, double rate, uint64_t stream)
{
    size_t reached = 0;
    for (size_t b = 0; b < IMAGES; b++) {
        double total = 0, left = rate; /* a Poisson process of unit rate, run for `rate` */
        for (uint64_t i = 0; total < excess; i++) {
            const mro_philox_block u = mro_philox(7, (stream << 32) + b, i);
            left += log((double)mro_uniform_open(u.v[0]));
            if (left < 0) break;
            total -= log((double)mro_uniform_open(u.v[1]));
        }
        reached += total >= excess;
    }
    return (double)reached / IMAGES;
}

static void as_drawn(void **state)
{
    static const double rates[] = { 0.05, 1.1, 7, 31 };
    (void)state;
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++)
        for (int k = -1; k <= 3; k++) { /* standard deviations of the sum */
            const double rate = rates[r], excess = fmax(rate + k * sqrt(2 * rate), 0.3);
            const double p = mro_speckle_tail(excess, rate), seen = drawn(excess, rate, 100 * r + (uint64_t)(k + 1));
            assert_true(fabs(p - seen) < 4 * sqrt(p * (1 - p) / IMAGES) + 1e-4);
        }
}

static void ends(void **state)
{
    (void)state;
    assert_true(mro_speckle_tail(0, 3) == 1 && mro_speckle_tail(-2, 3) == 1);
    assert_true(fabs(mro_speckle_tail(1e-9, 3) - (1 - exp(-3))) < 1e-8); /* any patch at all */
    /* One patch or none: the exponential itself. */
    assert_true(fabs(mro_speckle_tail(5, 1e-6) / (1e-6 * exp(-5)) - 1) < 1e-5);
    /* Chernoff's bound holds, also of micrometres. */
    for (double rate = 0.1; rate < 2e4; rate *= 3) {
        const double excess = rate + 8 * sqrt(2 * rate) + 10, apart = sqrt(excess) - sqrt(rate);
        const double p = mro_speckle_tail(excess, rate);
        assert_true(p > 0 && p <= exp(-apart * apart));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_drawn), cmocka_unit_test(ends) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
