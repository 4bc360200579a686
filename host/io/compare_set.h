/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers to compare: one row an image, one column a metric, taken from a folder of results or from a table. */
#ifndef MRO_IO_COMPARE_SET_H
#define MRO_IO_COMPARE_SET_H

#include "mroscope/compare.h"

/* An image. Texts are owned by the set. */
struct mro_set_row {
    const char *file, *state, *kind, *specimen; /* "" = not said */
    size_t state_index, specimen_index;         /* specimen: MRO_COMPARE_NONE = not said */
    size_t setting;                             /* index into the settings of its kind */
    double strain, value, thickness_nm;         /* NaN = not said */
    double x;                                   /* what the trend is over, of them or a column of a table */
    const char *unit;                           /* of values that say it themselves (hardness maps); "" = none */
};

/* A metric of the rows of one kind. Arrays have an entry for each row of the set; NaN where there is none. */
struct mro_set_metric {
    char *kind; /* "hrtem", or "" for a table */
    char *key;  /* dotted path in the result, or the header of the column */
    char *unit; /* "" = a share or a count */
    double *value, (*ci95)[2];
    size_t n_covariates;
    char *covariate_name[MRO_COMPARE_COVARIATES];
    double *covariate[MRO_COMPARE_COVARIATES];
    size_t n;     /* rows with a value */
    size_t found; /* rows whose result knows the key, with or without a value */
};

struct mro_compare_set {
    char *source; /* folder or file, as given */
    bool table;
    char *value_name, *value_unit; /* what `value` of the rows is; "" = not said */
    const char *strain_unit;       /* of a session "%"; of a table what its header says, "" = nothing */
    const char *over, *over_unit;  /* what x is */
    size_t over_metric;            /* of a table: the column that x is; MRO_COMPARE_NONE = none */
    struct mro_set_row *rows;
    size_t n_rows;
    char **states, **specimens; /* in the order in which they come */
    size_t n_states, n_specimens;
    char **settings; /* what tells images of one kind apart: options and voltage, as text; all kinds together */
    size_t n_settings;
    struct mro_set_metric *metrics;
    size_t n_metrics;
    char **known; /* every number that was met, for suggestions: paths without duplicates */
    size_t n_known;
    char **warnings;
    size_t n_warnings;
    char **texts; /* kept for the rows */
    size_t n_texts;
};

/* The results of a batch. `keys` are dotted paths (dark.count, elements.Fe.sd_true_at, shells.0.r_A; of lists also
 * .count, .mean.KEY and .median.KEY, and of shear bands .deepest.KEY); with n_keys 0 those that each kind is usually
 * compared by. Each result is read once and dropped. Rows without a specimen whose files are named alike but for words
 * that tell their settings apart (AQ_0_corr, AQ_0_talos) are taken as images of one specimen, with a warning: the same
 * place twice is not two images.
 * Rows without a result, and copies of a file under another name or in another folder, are left out, with a sentence
 * each (ten at most, then a count). Errors: those of
 * mro_session_open, and MRO_EDATA when no row has a result. Release with mro_compare_set_release. */
enum mro_code mro_compare_set_session(struct mro_compare_set *s, const char *folder, const char *const *keys,
                                      size_t n_keys, struct mro_error *e);

/* A table: a header with `state` and, if known, `strain`, `thickness_nm` (or with a unit in brackets), `specimen`,
 * `file`, `block` (also kv, cs, optics, settings, session: what images are told apart by); every other column of
 * numbers is a metric, with its unit in brackets. NAME_ci95_lo and NAME_ci95_hi are the interval of NAME, or of
 * NAME with its unit behind it (NAME_nm). Cells that are empty or say n/a are missing. Errors: MRO_EIO, MRO_EFORMAT (no
 * header, no number where there should be one, naming line and column), MRO_EDATA (no rows), MRO_EMEMORY. */
enum mro_code mro_compare_set_table(struct mro_compare_set *s, const char *path, const char *const *keys, size_t n_keys,
                                    struct mro_error *e);

/* What the trend is over: `over` is "strain", "value" or what the session calls it, or a column of a table; NULL: the
 * strain where a row has one, else the value. Until then it is the strain. MRO_EARG: there is no such column. */
enum mro_code mro_compare_set_over(struct mro_compare_set *s, const char *over, struct mro_error *e);
void mro_compare_set_release(struct mro_compare_set *s); /* {0} is fine */

/* The numbers of one metric as mro_compare takes them: rows with a value. `image` has room for s->n_rows, `row` (may be
 * NULL) gets the row of each. With `settings` false, images of all settings are taken as one block. */
void mro_compare_set_data(const struct mro_compare_set *s, size_t metric, bool settings,
                          struct mro_compare_image *image, size_t *row, struct mro_compare_data *d);

/* In which options the settings of the images of a metric differ ("cs, kv"), or "" when there is one. */
void mro_compare_set_differences(const struct mro_compare_set *s, size_t metric, char *text, size_t size);

#endif
