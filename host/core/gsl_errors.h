/* SPDX-License-Identifier: GPL-3.0-or-later */
/* GSL's error handler is one for the whole process, and its own ends the program. While any thread is in a function
 * that begins with MRO_HOLD_GSL_ERRORS() it is off, so that a function without a value gives a number that is not
 * known; after the last one the caller's is back. All public functions that reach GSL begin so. */
#ifndef MRO_CORE_GSL_ERRORS_H
#define MRO_CORE_GSL_ERRORS_H

#define MRO_HOLD_GSL_ERRORS() \
    const int gsl_errors_held __attribute__((cleanup(mro_gsl_errors_give_back), unused)) = mro_gsl_errors_hold()

int mro_gsl_errors_hold(void); /* 0 */
void mro_gsl_errors_give_back(const int *held);

#endif
