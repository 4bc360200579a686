/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Small systems of equations with a symmetric positive matrix, by Cholesky's factor: least squares of few parameters.
 *
 * A matrix is n x n in rows of `row` >= n numbers, of which the lower half is read. Sums have a fixed order. Against
 * GSL's, which takes any pivot above zero, a matrix without full rank is told from a good one: what rounding leaves of
 * a pivot is at most `least` of what it was.
 */
#ifndef MRO_CORE_CHOLESKY_H
#define MRO_CORE_CHOLESKY_H

#include <stdbool.h>
#include <stddef.h>

/* a := L with L L' = a, in the lower half. False where a pivot is at most `least` of what it was, or no number: `a` is
 * spoiled then. */
bool mro_cholesky_factor(double *a, size_t n, size_t row, double least);

/* b := L^-1 b: its sum of squares is what a model takes out of a weighted sum of squares. */
void mro_cholesky_forward(const double *factor, size_t n, size_t row, double *b);

/* b := a^-1 b. */
void mro_cholesky_apply(const double *factor, size_t n, size_t row, double *b);

/* Factor and apply in one. */
bool mro_cholesky_solve(double *a, size_t n, size_t row, double *b, double least);

#endif
