/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers that figures choose and print: scale bars, ticks, values with their unit. Pure functions. */
#ifndef MRO_REPORT_AXES_H
#define MRO_REPORT_AXES_H

#include <stdbool.h>
#include <stddef.h>

/* Largest of 1, 2, 5 times a power of ten that is at most `longest` (> 0, finite; else 0). */
double mro_nice_below(double longest);

/* Distance of linear ticks: the smallest of 1, 2, 5 times a power of ten that gives at most `ticks`
 * intervals over `range` (> 0). */
double mro_tick_step(double range, int ticks);

/* Texts for people. Numbers and units are joined by a no-break space; minus is U+2212; what is NaN or
 * infinite reads "not measured". Superscripts use the markup of report/canvas.h. `size` bytes at most. */
void mro_text_length(char *out, size_t size, double nm);     /* "0.5 nm" */
void mro_text_percent(char *out, size_t size, double share); /* 0.1882 -> "18.8 %" */
/* The same with the decimals of its interval, as mro_text_interval has them. */
void mro_text_percent_within(char *out, size_t size, double share, const double ci95[2]);
void mro_text_interval(char *out, size_t size, const double share[2]);   /* "14.2 to 23.5 %" */
void mro_text_p(char *out, size_t size, double p);                       /* "p = 0.012", "p = 2 x 10^-5", "p < 10^-6" */
void mro_text_p_least(char *out, size_t size, double p, double least);   /* "p < 0.05" where it is `least` or less */
void mro_text_p_at_most(char *out, size_t size, double p, bool at_most); /* "p <= 0.001" where it is that or less */
void mro_text_number(char *out, size_t size, double v, int decimals, const char *unit); /* "1.84 nm" */

void mro_text_named(char *out, size_t size, const char *name, const char *unit); /* "strain (%)", "strain" */
/* The same for an axis, from texts of files: clean, and with a capital. */
void mro_text_axis(char *out, size_t size, const char *name, const char *unit);

/* Copies `in` (NULL = "") as clean UTF-8: bytes that are none become '?', control characters blanks. */
void mro_text_clean(char *out, size_t size, const char *in);

#endif
