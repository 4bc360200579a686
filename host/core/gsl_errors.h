/* SPDX-License-Identifier: GPL-3.0-or-later */
/* GSL's error handler is one for the whole process, and its own ends the program. Between these two calls, of any
 * number of threads, it is off, so that a function without a value gives a number that is not known; after the last one
 * the caller's is back. */
#ifndef MRO_CORE_GSL_ERRORS_H
#define MRO_CORE_GSL_ERRORS_H

void mro_gsl_errors_hold(void);
void mro_gsl_errors_give_back(void);

#endif
