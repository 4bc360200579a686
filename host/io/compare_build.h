/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the two sources of a set of numbers to compare, results (compare_results.c) and tables (compare_table.c), build
 * it with. All functions that take memory say false, NULL or SIZE_MAX when there is none. */
#ifndef MRO_IO_COMPARE_BUILD_H
#define MRO_IO_COMPARE_BUILD_H

#include <stdbool.h>
#include <string.h>

#include "io/compare_set.h"

#define MRO_SET_NO_MEMORY "'%s': the numbers to compare do not fit in memory"

static inline bool mro_set_same(const char *a, const char *b) { return strcmp(a, b) == 0; }
bool mro_set_ends_with(const char *text, const char *end);

/* Index of a text in a list, which takes a copy of one that is new. */
size_t mro_set_intern(char ***list, size_t *n, const char *text);
void mro_set_release_texts(char ***list, size_t *n);

/* A text as long as the set lives. */
const char *mro_set_keep(struct mro_compare_set *s, const char *text);

/* The unit that a key tells by its end ("_nm"); "" = none. */
const char *mro_set_unit_of(const char *key);

/* How long a key is without that end. */
size_t mro_set_bare(const char *key);

/* The column of a key for a kind, made when it is new; `room`: rows that the set may come to. */
struct mro_set_metric *mro_set_metric_of(struct mro_compare_set *s, const char *kind, const char *key, const char *unit,
                                         size_t room);
bool mro_set_add_covariate(struct mro_set_metric *m, size_t row, const char *name, double v, size_t room);

/* Gives the row its texts, state and specimen. */
bool mro_set_place_row(struct mro_compare_set *s, struct mro_set_row *r, const char *file, const char *state,
                       const char *kind, const char *specimen, const char *unit);

/* Takes the strain as what the trend is over. */
void mro_set_take_strain(struct mro_compare_set *s);

#endif
