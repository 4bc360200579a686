/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON that may stand inside a script element of a page. */
#include <stdlib.h>
#include <string.h>

#include "report/page.h"

struct escaper {
    struct mro_sink *out;
    unsigned char held[2]; /* of U+2028 and U+2029, E2 80 A8 and A9, which may be cut between two pieces */
    size_t n_held;
};

static int escape(const char *p, size_t n, void *data)
{
    struct escaper *s = data;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)p[i];
        if (s->n_held == 2 && (c == 0xa8 || c == 0xa9)) {
            mro_sink_text(s->out, "\\u202%d", c - 0xa0);
            s->n_held = 0;
            continue;
        }
        if ((s->n_held == 0 && c == 0xe2) || (s->n_held == 1 && c == 0x80)) {
            s->held[s->n_held++] = c;
            continue;
        }
        mro_sink_put(s->out, s->held, s->n_held);
        s->n_held = 0;
        if (c == '<' || c == '>' || c == '&')
            mro_sink_text(s->out, "\\u%04x", c);
        else if (c == 0xe2)
            s->held[s->n_held++] = c;
        else
            mro_sink_put(s->out, &c, 1);
    }
    return s->out->failed ? -1 : 0;
}

void mro_page_json(struct mro_sink *out, const json_t *v)
{
    struct escaper s = { .out = out };
    char *plain = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (plain == NULL || escape(plain, strlen(plain), &s)) out->failed = true;
    mro_sink_put(out, s.held, s.n_held);
    free(plain);
}
