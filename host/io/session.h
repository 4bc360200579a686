/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The folder of results that a batch leaves behind: index.json (schema "mroscope.batch/1") lists the rows of the
 * manifest and, for each, the files that its measurement wrote. Names in the index are relative to the folder; one
 * that leads out of it, by its words or by a link, is refused. */
#ifndef MRO_IO_SESSION_H
#define MRO_IO_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "mroscope/error.h"

enum mro_row_status { MRO_ROW_DONE, MRO_ROW_FAILED, MRO_ROW_PENDING };

/* One row of the manifest. Texts belong to the session; what the manifest leaves empty is "". */
struct mro_session_row {
    size_t row; /* its number in the manifest */
    const char *file, *state, *kind, *specimen, *group, *element, *value;
    double strain, thickness_nm; /* as written in the manifest; NaN = not given */
    enum mro_row_status status;
    const char *error;          /* why it failed; "" = it did not */
    const char *key;            /* of content and options; "" = none */
    const char *verb;           /* "mro", "haadf", ... */
    const char *item;           /* folder of its files, relative to the folder of results; "" = none */
    const char *const *results; /* result files, relative likewise: for a stack one a frame, and one of all together */
    size_t n_results;
    size_t first_of_item; /* index of the first row with this item: maps of a group share one. Its own index, when none
                             came before */
};

struct mro_session {
    char *folder;
    const char *manifest;                /* "" = not said */
    const char *value_name, *value_unit; /* what the column `value` holds; "" = not said */
    struct mro_session_row *rows;
    size_t n_rows;
    char **warnings; /* rows of the index that are none, one sentence each */
    size_t n_warnings;
    json_t *index; /* holds the texts */
    const char **names;
};

/* Reads FOLDER/index.json. Errors: MRO_EIO (no folder, no index), MRO_EFORMAT (no JSON, another schema, no rows),
 * MRO_EMEMORY. Release with mro_session_release. Threads: read-only calls on an opened session may run side by side. */
enum mro_code mro_session_open(struct mro_session *s, const char *folder, struct mro_error *e);
void mro_session_release(struct mro_session *s); /* {0} is fine */

/* Full path of a name of the index, free() it. MRO_EFORMAT when it is absolute, climbs with "..", or leads out of the
 * folder by a link; MRO_EIO when there is no such file. */
enum mro_code mro_session_path(const struct mro_session *s, const char *name, char **path, struct mro_error *e);

/* Result file `i` of a row. Errors as below. */
enum mro_code mro_session_load(const struct mro_session *s, size_t row, size_t i, json_t **result, struct mro_error *e);

/* The one result that stands for a row: that of all frames together ("frame": null) of a stack, else that of its frame.
 * `name` (may be NULL) is the result file, as in the index. The caller drops *result with json_decref.
 * Errors, after which the row has to be left out: MRO_EDATA (the row failed or is not measured yet, or its file holds
 * several images or frames and no result of all together), MRO_EIO, MRO_EFORMAT (a file is missing, damaged, or of
 * another verb), MRO_EMEMORY. */
enum mro_code mro_session_result(const struct mro_session *s, size_t row, json_t **result, const char **name,
                                 struct mro_error *e);

/* Of a list of shear bands the one with the largest contrast, darker or brighter, that has both edges in the field: of
 * the others there is no width. NULL when the list has none. Belongs to the list. */
const json_t *mro_session_deepest(const json_t *bands);

#endif
