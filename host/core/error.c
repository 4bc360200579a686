/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/error.h"

#include <stdarg.h>
#include <stdio.h>

enum mro_code mro_fail(struct mro_error *e, enum mro_code code, const char *func, const char *format, ...)
{
    if (e == NULL) return code;
    e->code = code;
    e->func = func;
    va_list args;
    va_start(args, format);
    vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    /* Messages quote file contents: keep them on one line of a terminal. */
    for (char *c = e->message; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    return code;
}

const char *mro_code_name(enum mro_code code)
{
    switch (code) {
    case MRO_OK: return "ok";
    case MRO_EARG: return "bad argument";
    case MRO_EIO: return "i/o error";
    case MRO_EFORMAT: return "bad file";
    case MRO_ECALIB: return "no calibration";
    case MRO_EMEMORY: return "out of memory";
    case MRO_EDEVICE: return "device error";
    case MRO_EDATA: return "nothing to measure";
    case MRO_EINTERNAL: return "internal error";
    case MRO_ESTOPPED: return "stopped";
    }
    return "unknown error";
}
