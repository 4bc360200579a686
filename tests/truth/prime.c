/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Transforms by coprime parts against direct sums. */
#include <complex.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/butterflies.h"
#include "cpu/prime.h"
#include "mroscope/math/philox.h"

/* Powers of one prime and products of two and three, below and above what is transformed in one go; other factors. */
static const size_t lengths[] = { 1,   2,   3,   4,   5,   6,   8,   9,   10,  15,  16,  25,   27, 30, 32, 64,  75, 120,
                                  125, 128, 200, 216, 225, 243, 256, 360, 400, 625, 800, 1152, 7,  14, 97, 202, 330 };
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static int open_lines(void **state)
{
    (void)state;
    mro_lines_open();
    return 0;
}

static int close_lines(void **state)
{
    (void)state;
    mro_lines_close();
    return 0;
}

static void is_permutation(const size_t *map, size_t n)
{
    unsigned char *seen = calloc(n, 1);
    assert_non_null(seen);
    for (size_t i = 0; i < n; i++) {
        assert_true(map[i] < n && !seen[map[i]]);
        seen[map[i]] = 1;
    }
    free(seen);
}

static void maps_are_permutations(void **state)
{
    (void)state;
    for (size_t l = 0; l < LENGTHS; l++) {
        struct mro_prime p;
        assert_true(mro_prime_new(&p, lengths[l]));
        is_permutation(p.from, p.n);
        is_permutation(p.order, p.n);
        for (size_t i = 0; i < p.n; i++) assert_int_equal(p.place[p.from[i]], i);
        mro_prime_release(&p);
    }
}

/* The last level, as those do it who leave it out of mro_prime_run. */
static void last_level(const struct mro_prime *p, struct mro_wide *z)
{
    const int radix = (int)p->level[p->levels - 1].radix;
    for (size_t k = 0; k < p->n; k += (size_t)radix) {
        struct mro_wide v[MOST_RADIX];
        for (int i = 0; i < radix; i++) v[i] = (struct mro_wide){ z[k + (size_t)i].im, z[k + (size_t)i].re };
        few(v, radix);
        for (int i = 0; i < radix; i++) z[k + (size_t)i] = (struct mro_wide){ v[i].im, v[i].re };
    }
}

/* Number order[i] of the sums comes out at i, whether numbers are gathered or lie at their places before, and whether
 * the last level is among it or done apart. */
static void lines_match_direct_sums(void **state)
{
    (void)state;
    for (size_t l = 0; l < LENGTHS; l++) {
        const size_t n = lengths[l], lane = l % MRO_LANES;
        struct mro_prime p;
        assert_true(mro_prime_new(&p, n));
        struct mro_wide *in = mro_lines_room(n), *scratch = mro_lines_room(mro_prime_scratch(&p)), *out[3];
        double complex *sum = malloc(n * sizeof *sum), *turn = malloc(n * sizeof *turn);
        for (int k = 0; k < 3; k++) out[k] = mro_lines_room(n);
        assert_true(in && scratch && out[0] && out[1] && out[2] && sum && turn);
        for (size_t i = 0; i < 2 * n * MRO_LANES; i++)
            ((float *)in)[i] = mro_uniform_open(mro_philox(3, 0, i).v[0]) - 0.5f;
        for (size_t k = 0; k < n; k++) turn[k] = cexp(2 * MRO_PI * I * (double)k / (double)n);
        double all = 0;
        for (size_t k = 0; k < n; k++) {
            sum[k] = 0;
            for (size_t j = 0, at = 0; j < n; j++, at = (at + k) % n)
                sum[k] += ((double)in[j].re[lane] + I * (double)in[j].im[lane]) * turn[at];
            all += pow(cabs(sum[k]), 2);
        }
        mro_prime_run(&p, p.levels, in, out[0], scratch);
        for (size_t j = 0; j < n; j++) out[1][p.place[j]] = in[j];
        mro_prime_run(&p, p.levels, NULL, out[1], scratch);
        mro_prime_run(&p, p.levels - 1, in, out[2], scratch);
        last_level(&p, out[2]);
        for (int k = 0; k < 3; k++) {
            double off = 0;
            for (size_t i = 0; i < n; i++)
                off += pow(cabs(sum[p.order[i]] - out[k][i].re[lane] - I * (double)out[k][i].im[lane]), 2);
            assert_true(sqrt(off / all) < 3e-7);
        }
        for (int k = 0; k < 3; k++) free(out[k]);
        free(in);
        free(scratch);
        free(sum);
        free(turn);
        mro_prime_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_are_permutations),
        cmocka_unit_test(lines_match_direct_sums),
    };
    return cmocka_run_group_tests(tests, open_lines, close_lines);
}
