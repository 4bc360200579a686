/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/text.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double mro_parse_number(const char *text, size_t n)
{
    char copy[80];
    const char *point = localeconv()->decimal_point;
    const size_t point_n = strlen(point);
    size_t used = 0;
    for (size_t i = 0; i < n && text[i] && used + point_n + 1 < sizeof copy; i++) {
        if (text[i] == '.') {
            memcpy(copy + used, point, point_n);
            used += point_n;
        } else {
            copy[used++] = text[i];
        }
    }
    copy[used] = '\0';
    char *end;
    const double x = strtod(copy, &end);
    return end != copy && isfinite(x) ? x : NAN;
}

/* Appends a character as UTF-8; false when it does not fit. */
static bool put_utf8(unsigned long code, char *out, size_t room, size_t *used)
{
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) code = '?';
    const size_t need = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (*used + need + 1 > room) return false;
    for (size_t k = need; k-- > 1; code >>= 6) out[*used + k] = (char)(0x80 | (code & 0x3f));
    out[*used] = (char)(lead[need == 1 ? 0 : need] | code);
    *used += need;
    return true;
}

static void trim(const char **text, size_t *n)
{
    while (*n && isspace((unsigned char)**text)) ++*text, --*n;
    while (*n && (isspace((unsigned char)(*text)[*n - 1]) || (*text)[*n - 1] == '\0')) --*n;
}

void mro_text_copy(const char *text, size_t n, char *out, size_t room)
{
    size_t used = 0;
    trim(&text, &n);
    for (size_t i = 0; i < n;) {
        unsigned long code = (unsigned char)text[i];
        size_t taken = 1;
        char digits[8] = "", *end;
        if (n - i >= 6 && text[i] == '\\' && (text[i + 1] == 'u' || text[i + 1] == 'U')) {
            memcpy(digits, text + i + 2, 4);
            const unsigned long v = strtoul(digits, &end, 16);
            if (end == digits + 4) code = v, taken = 6;
        } else if (n - i >= 4 && text[i] == '&' && text[i + 1] == '#') {
            const bool hex = text[i + 2] == 'x' || text[i + 2] == 'X';
            const size_t start = i + 2 + hex;
            size_t k = 0;
            while (k < 6 && start + k < n && isxdigit((unsigned char)text[start + k])) digits[k] = text[start + k], k++;
            if (k && start + k < n && text[start + k] == ';') {
                code = strtoul(digits, NULL, hex ? 16 : 10);
                taken = start + k + 1 - i;
            }
        } else if (code >= 0xc2 && code < 0xe0 && n - i >= 2 && (text[i + 1] & 0xc0) == 0x80) {
            code = (code & 0x1f) << 6 | (text[i + 1] & 0x3f);
            taken = 2;
        } else if (code >= 0xe0 && code < 0xf0 && n - i >= 3 && (text[i + 1] & 0xc0) == 0x80 &&
                   (text[i + 2] & 0xc0) == 0x80) {
            code = (code & 0x0f) << 12 | (unsigned long)(text[i + 1] & 0x3f) << 6 | (text[i + 2] & 0x3f);
            taken = 3;
        }
        i += taken;
        if (!put_utf8(code, out, room, &used)) break;
    }
    out[used] = '\0';
}

void mro_text_copy_utf16(const unsigned char *p, size_t bytes, bool big_endian, char *out, size_t room)
{
    size_t used = 0;
    const size_t high = big_endian ? 0 : 1, low = 1 - high;
    for (size_t i = 0; i + 2 <= bytes; i += 2) {
        unsigned long c = (unsigned long)p[i + high] << 8 | p[i + low];
        if (c == 0) break;
        if (c >= 0xd800 && c < 0xdc00 && i + 4 <= bytes) {
            const unsigned long second = (unsigned long)p[i + 2 + high] << 8 | p[i + 2 + low];
            if (second >= 0xdc00 && second < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (second - 0xdc00);
                i += 2;
            }
        }
        if (c < 0x20 || c == 0x7f) c = ' ';
        if (!put_utf8(c, out, room, &used)) break;
    }
    while (used && out[used - 1] == ' ') used--;
    out[used] = '\0';
}

const char *mro_text_ini(const char *text, size_t n, const char *section, const char *key, size_t *value_n)
{
    const size_t section_n = section ? strlen(section) : 0, key_n = strlen(key);
    bool inside = section == NULL;
    const char *end = text + n;
    for (const char *line = text; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        const char *s = line;
        size_t length = (size_t)((next ? next : end) - line);
        line = next ? next + 1 : end;
        trim(&s, &length);
        if (length && *s == '[') {
            inside = section == NULL ||
                     (length > section_n + 1 && memcmp(s + 1, section, section_n) == 0 && s[section_n + 1] == ']');
            continue;
        }
        const char *equals = inside && length ? memchr(s, '=', length) : NULL;
        if (equals == NULL) continue;
        const char *name = s, *value = equals + 1;
        size_t name_n = (size_t)(equals - s);
        *value_n = length - name_n - 1;
        trim(&name, &name_n);
        if (name_n != key_n || memcmp(name, key, key_n) != 0) continue;
        trim(&value, value_n);
        return *value_n ? value : NULL;
    }
    return NULL;
}

/* A number above 12 decides which one is the day; otherwise a clock with AM and PM means the month comes first,
 * and a date with points the day. */
bool mro_text_date(const char *date, const char *clock, char *out, size_t room)
{
    int a, b, c, hour, minute, second = 0, used = 0;
    char s1, s2, half[3] = "";
    if (sscanf(date, "%4d%c%2d%c%4d%n", &a, &s1, &b, &s2, &c, &used) != 5 || date[used] != '\0') return false;
    if (s1 != s2 || (s1 != '/' && s1 != '.' && s1 != '-')) return false;
    const int fields = sscanf(clock, "%2d:%2d:%2d %2s", &hour, &minute, &second, half);
    const bool pm = half[0] == 'P' || half[0] == 'p', am = half[0] == 'A' || half[0] == 'a';
    int year = c, month, day;
    if (a > 31) {
        year = a;
        month = b;
        day = c;
    } else if (s1 == '.' || (a > 12 && b <= 12)) {
        day = a;
        month = b;
    } else if (b > 12 || a == b || am || pm) {
        month = a;
        day = b;
    } else {
        return false;
    }
    if (year < 1980 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31) return false;
    if (fields < 2 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
        snprintf(out, room, "%04d-%02d-%02d", year, month, day);
        return true;
    }
    if (pm && hour < 12) hour += 12;
    if (am && hour == 12) hour = 0;
    snprintf(out, room, "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day, hour, minute, second);
    return true;
}
