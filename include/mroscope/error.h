/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Errors of the mroscope library: a code for programs, a sentence for people.
 *
 * Every function that can fail returns an `enum mro_code` and, where the caller gave one, fills a
 * `struct mro_error`. The library never prints and never exits. On failure output arguments hold
 * nothing that needs releasing, unless a function says otherwise. Threads: an error struct belongs
 * to one thread at a time.
 *
 * What can be set is called in sentences, of errors and of warnings in results, by the name of the program's option,
 * between backquotes. Mostly that is the field or argument without its unit: `s_max` is s_max_inv_nm, `memory`
 * memory_bytes, `unit=GPa` unit with a value that it may have. So a caller can call it as his users do: --s-max and
 * --unit GPa on the command line. A measurement that is named as the next step is `mroscope lattice`, as the program's
 * verb and the function of its header are. Names of files stand between single quotes, and may hold backquotes of their
 * own.
 */
#ifndef MROSCOPE_ERROR_H
#define MROSCOPE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum mro_code {
    MRO_OK = 0,
    MRO_EARG,    /* an argument or option that cannot work; the caller must change it */
    MRO_EIO,     /* the operating system refused to open, read or write */
    MRO_EFORMAT, /* the file is not what it claims to be, or of a kind that is not read */
    MRO_ECALIB,  /* a calibration that the measurement needs is unknown */
    MRO_EMEMORY, /* the memory budget or the machine's memory does not suffice */
    MRO_EDEVICE, /* a compute device is missing or failed */
    MRO_EDATA,   /* the image is readable but cannot be measured (constant, empty, all masked) */
    MRO_EINTERNAL,
    MRO_ESTOPPED /* the caller asked it to stop */
};

/* What it takes to go on, where that is for the user to say. The message then names the fault alone, and each caller
 * asks in words of its own: the program for an option, a session for a column of its table, Python for an argument. */
enum mro_lack {
    MRO_LACKS_NOTHING = 0,        /* the message says all */
    MRO_LACKS_PIXEL_SIZE,         /* nm of a pixel of an image, */
    MRO_LACKS_PIXEL_SIZE_OR_TAGS, /* which resolution tags of its file say, if they can be trusted */
    MRO_LACKS_PATTERN_SCALE,      /* 1/nm of a pixel of a diffraction pattern */
    MRO_LACKS_VOLTAGE,            /* of the microscope, kV */
    MRO_LACKS_DETECTOR_PIXEL,     /* its size, um */
    MRO_LACKS_COMPOSITION,        /* of the specimen */
    MRO_LACKS_WAVELENGTH,         /* of a profile over angles */
    MRO_LACKS_ABSCISSA            /* what the first column of a table is */
};

struct mro_error {
    enum mro_code code;
    enum mro_lack lack;
    const char *func;  /* function that found the failure; static storage */
    char message[512]; /* one sentence: file, field, value, and what to do next where that is known and nothing lacks */
};

/* Fills `e` (may be NULL) and returns `code`, so that `return MRO_FAIL(...)` reads well.
 * The message is cut at the size of the field; control characters in it, and bytes that are no UTF-8, become '?'. */
enum mro_code mro_fail(struct mro_error *e, enum mro_code code, const char *func, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

/* The same for MRO_ECALIB where something lacks. */
enum mro_code mro_fail_lacking(struct mro_error *e, enum mro_lack lack, const char *func, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

/* Short name of a code ("bad argument", "i/o error"); static storage. */
const char *mro_code_name(enum mro_code code);

#define MRO_FAIL(e, code, ...) mro_fail((e), (code), __func__, __VA_ARGS__)
#define MRO_FAIL_LACKING(e, lack, ...) mro_fail_lacking((e), (lack), __func__, __VA_ARGS__)
#define MRO_TRY(call)                \
    do {                             \
        enum mro_code c_ = (call);   \
        if (c_ != MRO_OK) return c_; \
    } while (0)

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
