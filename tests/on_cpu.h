/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For programs whose tests share one device, the CPU on two threads: include it once, and give open_device and
 * close_device to cmocka_run_group_tests. */
#ifndef TESTS_ON_CPU_H
#define TESTS_ON_CPU_H

#include "fields.h"

static struct mro_device *d;
static struct mro_error e;

static int open_device(void **state)
{
    (void)state;
    return mro_device_open(&d, "cpu", 2, (size_t)1 << 30, &e) != MRO_OK;
}

static int close_device(void **state)
{
    (void)state;
    mro_device_close(d);
    return 0;
}

#endif
