/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How the JSON of results is put together. Short names, since every line of the writers has them: for
 * host/report/json*.c only. */
#ifndef MRO_REPORT_JSON_BUILD_H
#define MRO_REPORT_JSON_BUILD_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/json.h"

/* An object under construction; one failed insertion spoils it, so that no key is ever silently missing. */
struct builder {
    json_t *root;
    bool failed;
};

static inline struct builder object(void)
{
    json_t *root = json_object();
    return (struct builder){ root, root == NULL };
}

static inline void put(struct builder *b, const char *key, json_t *v)
{
    if (b->root == NULL) json_decref(v);
    if (b->root == NULL || json_object_set_new(b->root, key, v)) b->failed = true;
}

/* The finished object, or NULL. */
static inline json_t *take(struct builder *b)
{
    if (!b->failed) return b->root;
    json_decref(b->root);
    return NULL;
}

static inline json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }
static inline json_t *known(double v) { return v > 0 ? number(v) : json_null(); } /* 0 = not known */
static inline json_t *count(size_t v) { return json_integer((json_int_t)v); }

/* File names and titles may hold bytes that are no UTF-8; those become U+FFFD. */
static inline json_t *text(const char *s)
{
    if (s == NULL) return json_null();
    json_t *v = json_string(s);
    if (v) return v;
    const size_t n = strlen(s);
    char *clean = malloc(3 * n + 1), *out = clean;
    if (clean == NULL) return NULL;
    for (size_t i = 0; i < n;) {
        size_t length = 0;
        for (size_t k = 1; k <= 4 && i + k <= n && length == 0; k++) {
            json_t *one = json_stringn(s + i, k);
            if (one) length = k;
            json_decref(one);
        }
        memcpy(out, length ? s + i : "\xef\xbf\xbd", length ? length : 3);
        out += length ? length : 3;
        i += length ? length : 1;
    }
    *out = '\0';
    v = json_string(clean);
    free(clean);
    return v;
}

static inline json_t *numbers(const double *v, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++) {
        if (json_array_append_new(a, number(v[i]))) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

/* An interval that was not measured is null, not a list of nulls. */
static inline json_t *interval(const double v[2])
{
    return isfinite(v[0]) && isfinite(v[1]) ? numbers(v, 2) : json_null();
}

static inline json_t *texts(const char *const *s, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++) {
        if (json_array_append_new(a, text(s[i]))) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

/* An array of what `make(items, i)` makes. */
static inline json_t *list(size_t n, json_t *(*make)(const void *items, size_t i), const void *items)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++) {
        if (json_array_append_new(a, make(items, i))) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

/* Begins an object with what every result begins with, and ends it with its warnings and provenance. NULL, with
 * MRO_EMEMORY in `e`, when any part of it did not fit in memory. */
struct builder mro_json_begin(const struct mro_result_head *h);
json_t *mro_json_end(struct builder *b, const struct mro_result_head *h, struct mro_error *e);

/* Files that a result was made from; `r` NULL: an empty array. */
json_t *mro_json_inputs(const struct mro_result_inputs *r);

/* Where a series bends; what is not known is null. */
json_t *mro_json_onset(const struct mro_onset *o);

#endif
