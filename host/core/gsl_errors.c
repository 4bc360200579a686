/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/gsl_errors.h"

#include <gsl/gsl_errno.h>
#include <pthread.h>
#include <stddef.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static gsl_error_handler_t *callers;
static size_t users;

int mro_gsl_errors_hold(void)
{
    pthread_mutex_lock(&lock);
    if (users++ == 0) callers = gsl_set_error_handler_off();
    pthread_mutex_unlock(&lock);
    return 0;
}

void mro_gsl_errors_give_back(const int *held)
{
    (void)held;
    pthread_mutex_lock(&lock);
    if (--users == 0) gsl_set_error_handler(callers);
    pthread_mutex_unlock(&lock);
}
