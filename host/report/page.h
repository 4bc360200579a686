/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The report of a session: one HTML file that holds all it shows.
 *
 * The page (report/page/) is part of the program. Data go in as JSON inside <script type="application/json">, with
 * every character that could end it escaped, and the page sets them as text only. Its policy allows no network and
 * no script but its own, by hash.
 */
#ifndef MRO_REPORT_PAGE_H
#define MRO_REPORT_PAGE_H

#include <jansson.h>

#include "io/session.h"
#include "mroscope/error.h"
#include "report/png.h"

/* Room for one report; figures get smaller and autocorrelations fewer where there are many images. */
#define MRO_PAGE_BYTES ((size_t)14500000)

struct mro_page_options {
    const char *title;     /* NULL = the name of the folder of results */
    size_t most_bytes;     /* of the file, which may still exceed it by what cannot be left out; 0 = MRO_PAGE_BYTES */
    int threads;           /* 0 = all */
    const json_t *compare; /* array of results of schema mroscope.compare/1, shown in this order; NULL = none */
};

/* What was made. */
struct mro_page_made {
    size_t results, failed, pending, bytes;
    char **problems; /* what could not be read and was left out, one sentence each */
    size_t n_problems;
};

/* Writes FOLDER/report.html from the results of a session; FOLDER exists. Results that cannot be read are left out and
 * named in `made` (and in the page). Errors: MRO_EIO (naming the file), MRO_EMEMORY; then no file is left behind.
 * Release `made` with mro_page_made_release in any case. Same results: same bytes at any number of threads. */
enum mro_code mro_page_write(const char *folder, const struct mro_session *s, const struct mro_page_options *o,
                             struct mro_page_made *made, struct mro_error *e);
void mro_page_made_release(struct mro_page_made *made); /* {0} is fine */

/* -- parts of it, for report/page*.c --------------------------------------------------------------- */

/* What one result adds to the page. */
struct mro_page_item {
    json_t *summary;      /* for the list that is read at once */
    struct mro_sink blob; /* JSON that is read when its page is opened; empty = none */
};

/* Packs the figure, maps and regions of a result, `result` being its JSON and `path` the file's full path, into about
 * `room` bytes. Takes `objects` out of `result`. What is left out for want of room or because it cannot be read is
 * said in left_out of the summary. MRO_EMEMORY only. */
enum mro_code mro_page_pack(struct mro_page_item *item, const char *path, json_t *result, size_t room,
                            struct mro_error *e);

/* Appends JSON as text that may stand inside a script element: < > & and U+2028, U+2029 as \u escapes. */
void mro_page_json(struct mro_sink *out, const json_t *v);

#endif
