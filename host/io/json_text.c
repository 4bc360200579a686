/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON as text. Own writer for trees of jansson, which prints 17 digits of every number. */
#include "io/json_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/text_stream.h"

void mro_number_text(double v, char text[32])
{
    /* "%.15g" drops trailing zeros, so it is the shortest form whenever 15 digits suffice. */
    char shortest[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(shortest, sizeof shortest, "%.*g", digits, v);
        if (strtod(shortest, NULL) == v) break;
    }
    memcpy(text, shortest, strlen(shortest) + 1);
}

static bool is_container(const json_t *v) { return json_is_array(v) || json_is_object(v); }

/* Written on one line: holds plain values, or (an object) lists of plain values. */
static bool is_flat(const json_t *v)
{
    const char *key;
    const json_t *child;
    size_t i;
    if (json_is_array(v)) {
        json_array_foreach(v, i, child) if (is_container(child)) return false;
    } else {
        json_object_foreach((json_t *)v, key,
                            child) if (is_container(child) && !(json_is_array(child) && is_flat(child))) return false;
    }
    return true;
}

static void put_string(FILE *out, const char *s)
{
    putc('"', out);
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c == '\n')
            fputs("\\n", out);
        else if (c == '\t')
            fputs("\\t", out);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

/* Starts a line of the pretty form, or the gap after a comma. */
static void gap(FILE *out, bool first, bool pretty, bool flat, int depth)
{
    if (!first) putc(',', out);
    if (pretty && !flat)
        fprintf(out, "\n%*s", 2 * depth, "");
    else if (!first)
        putc(' ', out);
}

static void put_value(FILE *out, const json_t *v, bool pretty, int depth)
{
    char text[32];
    const char *key;
    json_t *child;
    size_t i;
    bool first = true;
    switch (json_typeof(v)) {
    case JSON_NULL: fputs("null", out); break;
    case JSON_TRUE: fputs("true", out); break;
    case JSON_FALSE: fputs("false", out); break;
    case JSON_STRING: put_string(out, json_string_value(v)); break;
    case JSON_INTEGER: fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL:
        mro_number_text(json_real_value(v), text);
        fputs(text, out);
        break;
    case JSON_ARRAY: {
        const bool flat = is_flat(v);
        putc('[', out);
        json_array_foreach(v, i, child)
        {
            gap(out, first, pretty, flat, depth + 1);
            put_value(out, child, pretty, depth + 1);
            first = false;
        }
        if (pretty && !flat) fprintf(out, "\n%*s", 2 * depth, "");
        putc(']', out);
        break;
    }
    case JSON_OBJECT: {
        const bool flat = depth > 0 && is_flat(v);
        putc('{', out);
        json_object_foreach((json_t *)v, key, child)
        {
            gap(out, first, pretty, flat, depth + 1);
            put_string(out, key);
            fputs(": ", out);
            put_value(out, child, pretty, depth + 1);
            first = false;
        }
        if (pretty && !flat) fprintf(out, "\n%*s", 2 * depth, "");
        putc('}', out);
        break;
    }
    }
}

char *mro_json_text(const json_t *v, bool pretty, struct mro_error *e)
{
    char *text = NULL;
    size_t size;
    FILE *out = mro_text_begin(&text, &size, e);
    if (out == NULL) return NULL;
    put_value(out, v, pretty, 0);
    putc('\n', out);
    return mro_text_end(out, &text, e);
}

json_t *mro_json_plain(const char *s)
{
    json_t *v = json_string(s);
    if (v) return v;
    char *plain = strdup(s);
    for (char *p = plain; p && *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    v = plain ? json_string(plain) : NULL;
    free(plain);
    return v;
}
