/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A comparison of states for people and for programs: sentences, JSON, tables. */
#ifndef MRO_REPORT_COMPARE_TEXT_H
#define MRO_REPORT_COMPARE_TEXT_H

#include <jansson.h>

#include "mroscope/compare.h"

/* One metric compared, and what it was compared from. Nothing is owned. */
struct mro_compare_report {
    const char *source;        /* folder of results, or table */
    const char *kind;          /* "hrtem"; "" = a table */
    const char *metric, *unit; /* unit "" = a share or a count */
    const struct mro_compare_data *data;
    const struct mro_compare_result *result;
    const char *const *file;     /* data->n: of each image */
    const char *const *specimen; /* data->n; "" = not said */
    const char *settings;        /* what the settings of blocks differ in; "" = one setting */
    bool paired;
};

/* "CTC30 / AQ = 1.52 [1.21, 1.90], p = 0.01, n = 6 + 6". Text of the state, its ratio to the reference. */
void mro_compare_sentence(const struct mro_compare_report *c, size_t state, char *text, size_t size);

/* What is to be said of the ratio of a state beside that: why it is not identifiable, at equal covariates; "" =
 * nothing. How small p can get, which may be the same for many states. Both, with a semicolon between them. */
void mro_compare_caveat(const struct mro_compare_report *c, size_t state, char *text, size_t size);
void mro_compare_reach(const struct mro_compare_report *c, size_t state, char *text, size_t size);
void mro_compare_remark(const struct mro_compare_report *c, size_t state, char *text, size_t size);

/* The trend, or "". */
void mro_compare_trend_sentence(const struct mro_compare_report *c, char *text, size_t size);

/* A mean and its interval: "6.4 % [4.1, 9.9]" of shares, else with its unit. */
void mro_compare_mean_text(const struct mro_compare_report *c, size_t state, char *text, size_t size);

/* Where 1 stands in figures: shares are drawn in percent. The factor of values, and the unit that goes with it. */
double mro_compare_scale(const struct mro_compare_report *c, const char **unit);

/* What the axis of a figure is called: in words for what kinds are usually compared by, else by the metric's key or the
 * header of a table; with its unit, as canvas.h sets it. */
void mro_compare_axis(const struct mro_compare_report *c, char *text, size_t size);

/* What numbers are called there: { "fraction": "Ordered area", ... }, where a * in a key is an element, whose symbol
 * follows the words. NULL when out of memory. */
json_t *mro_compare_names(void);

/* Tables of several metrics as RFC 4180 text; free() it. NULL when out of memory. States with what came out; and single
 * images. */
char *mro_csv_compare(const struct mro_compare_report *c, size_t n, struct mro_error *e);
char *mro_csv_compare_images(const struct mro_compare_report *c, size_t n, struct mro_error *e);

#endif
