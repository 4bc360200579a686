/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/pdf.h"

struct reading {
    const char *text, *at;
    struct mro_composition *c;
    struct mro_error *e;
};

/* The element whose symbol these letters are in another case ("FE", "fe"), or NULL. */
static const char *other_case(const char *letters)
{
    for (size_t i = 0; i < mro_scatterers(); i++) {
        const char *s = mro_scatterer(i);
        const size_t n = strlen(s);
        bool same = true;
        for (size_t k = 0; k < n && same; k++)
            same = tolower((unsigned char)letters[k]) == tolower((unsigned char)s[k]);
        if (same && !isalpha((unsigned char)letters[n])) return s;
    }
    return NULL;
}

static enum mro_code unknown(const struct reading *w, const char *letters, int n)
{
    const char *meant = other_case(letters);
    if (meant)
        return MRO_FAIL(w->e, MRO_EARG, "'%.*s' in the composition '%.60s' is no element; '%s' is", n, letters, w->text,
                        meant);
    return MRO_FAIL(w->e, MRO_EARG,
                    "'%.*s' in the composition '%.60s' is no element with known scattering factors; write it as in "
                    "Fe82B18",
                    n, letters, w->text);
}

static void skip(struct reading *w)
{
    while (*w->at && strchr(" ,;_*", *w->at)) w->at++;
}

/* A number, or 1 when there is none. */
static enum mro_code number(struct reading *w, double *v)
{
    char *end;
    *v = 1;
    while (*w->at == ' ') w->at++;
    if (*w->at == '=' || *w->at == ':') {
        w->at++;
        if (!isdigit((unsigned char)*w->at) && *w->at != '.')
            return MRO_FAIL(w->e, MRO_EARG, "the composition '%.60s' lacks a number at '%.12s'", w->text, w->at);
    }
    if (!isdigit((unsigned char)*w->at) && *w->at != '.') {
        if (*w->at == '-' || *w->at == '+')
            return MRO_FAIL(w->e, MRO_EARG, "the composition '%.60s' has a sign at '%.12s'; write it as in Fe82B18",
                            w->text, w->at);
        return MRO_OK;
    }
    /* By hand: strtod would take the E of an element for an exponent. */
    char digits[32];
    size_t n = strspn(w->at, "0123456789.");
    if (n >= sizeof digits)
        return MRO_FAIL(w->e, MRO_EARG, "the composition '%.60s' has a number of %zu digits", w->text, n);
    memcpy(digits, w->at, n);
    digits[n] = '\0';
    *v = strtod(digits, &end);
    if (*end || !(*v > 0) || !(*v <= 1e4))
        return MRO_FAIL(w->e, MRO_EARG, "'%s' in the composition '%.60s' is no share; write it as in Fe82B18", digits,
                        w->text);
    w->at += n;
    if (*w->at == '%') w->at++;
    return MRO_OK;
}

static enum mro_code add(struct reading *w, const char *symbol, double share)
{
    struct mro_composition *c = w->c;
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->symbol[i], symbol) == 0)
            return MRO_FAIL(w->e, MRO_EARG, "the composition '%.60s' has %s twice", w->text, symbol);
    if (c->n == MRO_COMPOSITION_MAX)
        return MRO_FAIL(w->e, MRO_EARG, "the composition '%.60s' has more than %d elements", w->text,
                        MRO_COMPOSITION_MAX);
    memcpy(c->symbol[c->n], symbol, strlen(symbol) + 1);
    c->fraction[c->n++] = share;
    return MRO_OK;
}

static enum mro_code element(struct reading *w, double *share)
{
    const char *letters = w->at;
    char symbol[4] = { *w->at++ };
    if (islower((unsigned char)*w->at)) symbol[1] = *w->at++;
    if (islower((unsigned char)*w->at)) {
        while (islower((unsigned char)*w->at)) w->at++;
        return unknown(w, letters, (int)(w->at - letters));
    }
    if (mro_atomic_number(symbol) == 0) {
        /* "FE": the first letter was taken for an element of its own. */
        if (letters > w->text && isupper((unsigned char)letters[-1]) && other_case(letters - 1)) {
            letters--;
            w->c->n = 0;
        }
        while (isalpha((unsigned char)*w->at)) w->at++;
        return unknown(w, letters, (int)(w->at - letters));
    }
    MRO_TRY(number(w, share));
    return add(w, symbol, *share);
}

static enum mro_code group(struct reading *w, double *share)
{
    const size_t first = w->c->n;
    double inside = 0, v;
    w->at++;
    for (skip(w); *w->at != ')'; skip(w)) {
        if (!isupper((unsigned char)*w->at))
            return MRO_FAIL(w->e, MRO_EARG, "the composition '%.60s' has a bracket that does not close over elements",
                            w->text);
        MRO_TRY(element(w, &v));
        inside += v;
    }
    w->at++;
    MRO_TRY(number(w, share));
    if (w->c->n == first) return MRO_FAIL(w->e, MRO_EARG, "the composition '%.60s' has an empty bracket", w->text);
    for (size_t i = first; i < w->c->n; i++) w->c->fraction[i] *= *share / inside;
    return MRO_OK;
}

/* Digits set as subscripts, as in a text that is copied from a paper, to plain ones. */
static void plain_digits(char *text)
{
    char *to = text;
    for (const char *p = text; *p; to++) {
        const unsigned char *b = (const unsigned char *)p;
        const bool subscript = b[0] == 0xe2 && b[1] == 0x82 && b[2] >= 0x80 && b[2] <= 0x89;
        *to = subscript ? (char)('0' + b[2] - 0x80) : *p;
        p += subscript ? 3 : 1;
    }
    *to = '\0';
}

/* Bytes of the character that begins here. */
static int character(const char *text)
{
    int n = 1;
    while (((unsigned char)text[n] & 0xc0) == 0x80) n++;
    return n;
}

enum mro_code mro_composition_parse(struct mro_composition *c, const char *written, struct mro_error *e)
{
    memset(c, 0, sizeof *c);
    char *text = strdup(written);
    if (text == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory left for the composition '%.60s'", written);
    plain_digits(text);
    struct reading w = { text, text, c, e };
    enum mro_code rc = MRO_OK;
    for (skip(&w); *w.at && rc == MRO_OK; skip(&w)) {
        double share = 0;
        if (*w.at == '(' || *w.at == '[') {
            if (*w.at == '[')
                rc = MRO_FAIL(e, MRO_EARG, "the composition '%.60s' has a square bracket; use ( and )", text);
            else
                rc = group(&w, &share);
        } else if (isupper((unsigned char)*w.at)) {
            rc = element(&w, &share);
        } else if (isalpha((unsigned char)*w.at)) {
            rc = unknown(&w, w.at, (int)strcspn(w.at, "0123456789.=, "));
        } else {
            rc = MRO_FAIL(e, MRO_EARG, "the composition '%.60s' has '%.*s' where an element is expected, as in Fe82B18",
                          text, character(w.at), w.at);
        }
        c->sum += share;
    }
    if (rc == MRO_OK && c->n == 0)
        rc = MRO_FAIL(e, MRO_EARG, "the composition '%.60s' names no element; write it as in Fe82B18", text);
    free(text);
    if (rc) {
        memset(c, 0, sizeof *c);
        return rc;
    }
    for (size_t i = 0; i < c->n; i++) c->fraction[i] /= c->sum;
    return MRO_OK;
}

void mro_composition_text(const struct mro_composition *c, char *text, size_t size)
{
    size_t n = 0;
    if (size) text[0] = '\0';
    for (size_t i = 0; i < c->n && n < size; i++) {
        const int k = snprintf(text + n, size - n, "%s%.4g", c->symbol[i], 100 * c->fraction[i]);
        if (k < 0) return;
        n += (size_t)k;
    }
}

double mro_density_estimate(const struct mro_composition *c)
{
    double volume = 0;
    for (size_t i = 0; i < c->n; i++) volume += c->fraction[i] * mro_atomic_volume_A3(c->symbol[i]);
    return volume > 0 ? 1000 / volume : NAN;
}
