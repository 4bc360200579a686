/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/axes.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/canvas.h"

static const char not_measured[] = "not measured";

double mro_nice_below(double longest)
{
    if (!(longest > 0) || !isfinite(longest)) return 0;
    const double power = pow(10, floor(log10(longest)));
    /* The rounding of log10 and of a product such as 3 * 0.1 must not cost a step. */
    const double m = longest / power * (1 + 1e-12);
    if (m >= 10) return 10 * power;
    return (m >= 5 ? 5 : m >= 2 ? 2 : m >= 1 ? 1 : 0.5) * power;
}

double mro_tick_step(double range, int ticks)
{
    if (!(range > 0) || !isfinite(range) || ticks < 1) return 1;
    const double least = range / ticks, step = mro_nice_below(least);
    if (step >= least * (1 - 1e-9)) return step;
    /* One step up in the series: 1 -> 2 -> 5 -> 10. */
    const double m = step / pow(10, floor(log10(step) + 1e-9));
    return step * (m > 1.5 && m < 3 ? 2.5 : 2);
}

void mro_text_length(char *out, size_t size, double nm)
{
    if (!isfinite(nm))
        snprintf(out, size, "%s", not_measured);
    else
        snprintf(out, size, "%.10g" TEXT_NBSP "nm", nm);
}

/* Decimals of a percentage: three figures or one decimal. */
static int percent_decimals(double percent)
{
    const double a = fabs(percent);
    return a >= 9.95 || a == 0 ? 1 : a >= 0.1 ? 2 : 3;
}

static void put_number(char *out, size_t size, double v, int decimals)
{
    char digits[64];
    snprintf(digits, sizeof digits, "%.*f", decimals, fabs(v));
    const int zero = strspn(digits, "0.") == strlen(digits);
    snprintf(out, size, "%s%s", v < 0 && !zero ? TEXT_MINUS : "", digits);
}

void mro_text_number(char *out, size_t size, double v, int decimals, const char *unit)
{
    char number[72];
    if (!isfinite(v)) {
        snprintf(out, size, "%s", not_measured);
        return;
    }
    put_number(number, sizeof number, v, decimals);
    snprintf(out, size, "%s%s%s", number, unit && unit[0] ? TEXT_NBSP : "", unit ? unit : "");
}

void mro_text_named(char *out, size_t size, const char *name, const char *unit)
{
    snprintf(out, size, "%s%s%s%s", name, unit[0] ? " (" : "", unit, unit[0] ? ")" : "");
}

void mro_text_axis(char *out, size_t size, const char *name, const char *unit)
{
    char clean_name[96], clean_unit[64];
    mro_text_clean(clean_name, sizeof clean_name, name);
    mro_text_clean(clean_unit, sizeof clean_unit, unit);
    mro_text_named(out, size, clean_name, clean_unit);
    out[0] = (char)toupper((unsigned char)out[0]);
}

void mro_text_percent(char *out, size_t size, double share)
{
    /* A round number, such as a nominal rate, needs no decimals. */
    const double percent = 100 * share, whole = round(percent);
    mro_text_number(out, size, percent, fabs(percent - whole) < 1e-9 ? 0 : percent_decimals(percent), "%");
}

void mro_text_percent_within(char *out, size_t size, double share, const double ci95[2])
{
    if (isfinite(ci95[1]))
        mro_text_number(out, size, 100 * share, percent_decimals(100 * ci95[1]), "%");
    else
        mro_text_percent(out, size, share);
}

void mro_text_interval(char *out, size_t size, const double share[2])
{
    char lo[72], hi[72];
    if (!isfinite(share[0]) || !isfinite(share[1])) {
        snprintf(out, size, "%s", not_measured);
        return;
    }
    const int decimals = percent_decimals(100 * share[1]);
    put_number(lo, sizeof lo, 100 * share[0], decimals);
    put_number(hi, sizeof hi, 100 * share[1], decimals);
    snprintf(out, size, "%s to %s" TEXT_NBSP "%%", lo, hi);
}

static void text_p(char *out, size_t size, double p, double least, const char *bound)
{
    const char *relation = p > least ? "=" : bound;
    const double shown = fmax(p, least);
    if (!isfinite(p)) {
        snprintf(out, size, TEXT_ITALIC "p" TEXT_ITALIC " %s", not_measured);
    } else if (shown < 1e-4) {
        int power = (int)floor(log10(shown) + 1e-9);
        double m = shown / pow(10, power);
        char times[32] = "";
        if (m >= 9.95) {
            m /= 10;
            power++;
        }
        if (p > least || m >= 1.05)
            snprintf(times, sizeof times, "%.*f" TEXT_NBSP TEXT_TIMES TEXT_NBSP, p > least ? 1 : 0, m);
        snprintf(out, size,
                 TEXT_ITALIC "p" TEXT_ITALIC TEXT_NBSP "%s" TEXT_NBSP "%s10" TEXT_SUPER TEXT_MINUS "%d" TEXT_SUPER,
                 relation, times, -power);
    } else {
        snprintf(out, size, TEXT_ITALIC "p" TEXT_ITALIC TEXT_NBSP "%s" TEXT_NBSP "%.2g", relation, shown);
    }
}

void mro_text_p_least(char *out, size_t size, double p, double least) { text_p(out, size, p, least, "<"); }

void mro_text_p_at_most(char *out, size_t size, double p, bool at_most)
{
    if (at_most)
        text_p(out, size, p, p, "\xe2\x89\xa4");
    else
        mro_text_p(out, size, p);
}

/* No distribution is known so far out that a smaller chance would say more. */
void mro_text_p(char *out, size_t size, double p) { mro_text_p_least(out, size, p, 1e-6); }

/* Bytes of the UTF-8 character at s, 0 when there is none (overlong, surrogate, cut short, too large). */
static size_t utf8_length(const unsigned char *s)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const size_t n = s[0] < 0x80             ? 1
                     : (s[0] & 0xe0) == 0xc0 ? 2
                     : (s[0] & 0xf0) == 0xe0 ? 3
                     : (s[0] & 0xf8) == 0xf0 ? 4
                                             : 0;
    if (n < 2) return n;
    unsigned c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0; /* also the end of the string */
        c = c << 6 | (s[i] & 0x3f);
    }
    /* U+FFFE and U+FFFF are no characters of XML. */
    return c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff || c == 0xfffe || c == 0xffff ? 0 : n;
}

void mro_text_clean(char *out, size_t size, const char *in)
{
    const unsigned char *s = (const unsigned char *)(in ? in : "");
    size_t used = 0;
    while (*s) {
        const size_t n = utf8_length(s);
        const size_t put = n ? n : 1;
        if (used + put >= size) break;
        if (n == 0)
            out[used] = '?';
        else if (n == 1)
            out[used] = *s < 0x20 || *s == 0x7f ? ' ' : (char)*s;
        else
            memcpy(out + used, s, n);
        used += put;
        s += put;
    }
    if (size > 0) out[used] = 0;
}
