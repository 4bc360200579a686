/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Texts inside files: numbers, units, names and dates as programs and vendors write them. Every text has a
 * length and need not end with a zero. Nothing here fails: what cannot be read is NAN, "" or NULL. */
#ifndef MRO_IO_TEXT_H
#define MRO_IO_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The number that a text begins with, always with a decimal point, whatever the locale of the program.
 * NAN when there is none or it is not finite. */
double mro_parse_number(const char *text, size_t n);

/* Copies a name or unit to UTF-8 without the white space around it: files hold it as UTF-8, as Latin-1
 * (the same byte in Mac Roman for the micro sign), with Java's \uXXXX or with XML's character references.
 * Cut between characters at `room`, which is more than 4. */
void mro_text_copy(const char *text, size_t n, char *out, size_t room);

/* Likewise from UTF-16 of `bytes` bytes, up to the first zero. */
void mro_text_copy_utf16(const unsigned char *p, size_t bytes, bool big_endian, char *out, size_t room);

/* Value of "key=" under "[section]" of an INI text, without white space around; NULL when it is missing or
 * empty. Section NULL: anywhere. */
const char *mro_text_ini(const char *text, size_t n, const char *section, const char *key, size_t *value_n);

/* ISO 8601 from a date of three numbers ("12/31/2019", "31.12.2019", "2019-12-31") and a clock ("3:32:41 PM",
 * "15:32:41", "" = none). Day and month of "a/b/year" cannot be told apart in general; false when a guess
 * would be needed, and `out` is not touched. */
bool mro_text_date(const char *date, const char *clock, char *out, size_t room);

#endif
