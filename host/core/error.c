/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/notes.h"

static void fill(struct mro_error *e, enum mro_code code, enum mro_lack lack, const char *func, const char *format,
                 va_list args)
{
    if (e == NULL) return;
    e->code = code;
    e->lack = lack;
    e->func = func;
    vsnprintf(e->message, sizeof e->message, format, args);
    mro_clean_text(e->message); /* it quotes names and contents of files */
}

enum mro_code mro_fail(struct mro_error *e, enum mro_code code, const char *func, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(e, code, MRO_LACKS_NOTHING, func, format, args);
    va_end(args);
    return code;
}

enum mro_code mro_fail_lacking(struct mro_error *e, enum mro_lack lack, const char *func, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(e, MRO_ECALIB, lack, func, format, args);
    va_end(args);
    return MRO_ECALIB;
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
