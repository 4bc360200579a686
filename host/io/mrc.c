/* SPDX-License-Identifier: GPL-3.0-or-later */
/* MRC and CCP4 maps.
 *
 * A file is a header of 1024 bytes, an extended header of NSYMBT bytes and the values, columns fastest. Read after
 * MRC2014 (Cheng et al., J. Struct. Biol. 192 (2015) 146), the notes of IMOD on its own use of the spare words
 * (mrc_format.txt) and FEI's description of the blocks FEI1 and FEI2 that its programs put into the extended header.
 * Files older than MRC2014 have no "MAP " and often no machine stamp: they are known by a header that makes sense.
 *
 * Rows. By the definition the first row is at the bottom when x and y form a right-handed system, but cameras and
 * Velox write the top row first, and no reader of this field turns the picture over: rows are handed out as they lie.
 */
#include "io/reader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEADER = 1024, FEI1_BYTES = 768, FEI2_BYTES = 888, OLD_FEI_BYTES = 128, OLD_FEI_BLOCKS = 1024 };

#define IMOD_STAMP 1146047817 /* "IMOD" */
enum { IMOD_SIGNED_BYTES = 1, IMOD_PACKED_NIBBLES = 16 };

enum layout {
    PLAIN,
    SHORT_PAIRS, /* complex numbers of two int16 */
    NIBBLES      /* two pixels in a byte, the first in its low half; rows begin on a byte */
};

static const struct mode {
    int number;
    enum mro_dtype dtype;
    enum layout layout;
    unsigned char sample_bytes, samples;
} modes[] = {
    { 0, MRO_I8, PLAIN, 1, 1 },        { 1, MRO_I16, PLAIN, 2, 1 },   { 2, MRO_F32, PLAIN, 4, 1 },
    { 3, MRO_C64, SHORT_PAIRS, 2, 2 }, { 4, MRO_C64, PLAIN, 4, 2 },   { 6, MRO_U16, PLAIN, 2, 1 },
    { 12, MRO_F16, PLAIN, 2, 1 },      { 16, MRO_RGB8, PLAIN, 1, 3 }, { 101, MRO_U8, NIBBLES, 1, 1 },
};

static const struct mode *find_mode(int32_t number)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (modes[i].number == number) return &modes[i];
    return NULL;
}

struct mrc_state {
    const unsigned char *data;
    size_t nx, ny, row_bytes, frame_bytes;
    enum layout layout;
    unsigned sample_bytes;
    bool big;
};

/* The words of the header that are used, in host order. */
struct header {
    int32_t nx, ny, nz, mode;
    int32_t grid[3];   /* mx, my, mz: samples along the cell's own x, y, z */
    double cell[3];    /* Angstrom */
    int32_t map[3];    /* which of x, y, z (1, 2, 3) the columns, rows and sections are */
    double min, max;   /* max < min: not worked out */
    int32_t group;     /* ISPG: 0 images, 1 to 230 volume, 401 and up stack of volumes */
    int32_t extension; /* NSYMBT */
    char type[5];      /* EXTTYP */
    int16_t nint, nreal;
    int32_t imod_stamp, imod_flags;
    int32_t labels;
};

static int32_t get_i32(const unsigned char *p, bool big) { return (int32_t)mro_get_u32(p, big); }

/* `p` has at least HEADER bytes. */
static struct header read_header(const unsigned char *p, bool big)
{
    struct header h = { .nx = get_i32(p, big),
                        .ny = get_i32(p + 4, big),
                        .nz = get_i32(p + 8, big),
                        .mode = get_i32(p + 12, big),
                        .min = mro_get_f32(p + 76, big),
                        .max = mro_get_f32(p + 80, big),
                        .group = get_i32(p + 88, big),
                        .extension = get_i32(p + 92, big),
                        .nint = (int16_t)mro_get_u16(p + 128, big),
                        .nreal = (int16_t)mro_get_u16(p + 130, big),
                        .imod_stamp = get_i32(p + 152, big),
                        .imod_flags = get_i32(p + 156, big),
                        .labels = get_i32(p + 220, big) };
    for (size_t i = 0; i < 3; i++) {
        h.grid[i] = get_i32(p + 28 + 4 * i, big);
        h.cell[i] = mro_get_f32(p + 40 + 4 * i, big);
        h.map[i] = get_i32(p + 64 + 4 * i, big);
    }
    memcpy(h.type, p + 104, 4);
    return h;
}

/* ---- is it MRC, and in which byte order ---- */

static bool is_permutation(const int32_t map[3])
{
    unsigned seen = 0;
    for (size_t i = 0; i < 3; i++)
        if (map[i] >= 1 && map[i] <= 3) seen |= 1u << map[i];
    return seen == 0xe;
}

static bool row_size(const struct mode *m, size_t nx, size_t *bytes)
{
    if (m->layout == NIBBLES) {
        *bytes = nx / 2 + nx % 2;
        return true;
    }
    return !__builtin_mul_overflow(nx, (size_t)m->sample_bytes * m->samples, bytes);
}

/* Sizes are positive, the mode is one that exists and the extended header ends inside the file. */
static bool makes_sense(const struct header *h, size_t size)
{
    return h->nx > 0 && h->ny > 0 && h->nz > 0 && find_mode(h->mode) != NULL && h->extension >= 0 &&
           (size_t)h->extension <= size - HEADER;
}

static bool first_frame_fits(const struct header *h, size_t size)
{
    size_t row, frame;
    return makes_sense(h, size) && row_size(find_mode(h->mode), (size_t)h->nx, &row) &&
           !__builtin_mul_overflow(row, (size_t)h->ny, &frame) && frame <= size - HEADER - (size_t)h->extension;
}

static bool has_magic(struct mro_bytes b) { return b.size >= 212 && memcmp(b.p + 208, "MAP", 3) == 0; }

enum stamp { STAMP_NONE, STAMP_LITTLE, STAMP_BIG };

/* The machine stamp. Little-endian is 0x44 0x44 by the definition and 0x44 0x41 in many files. */
static enum stamp read_stamp(const unsigned char *p)
{
    if (p[212] == 0x44 && (p[213] == 0x44 || p[213] == 0x41)) return STAMP_LITTLE;
    if (p[212] == 0x11 && p[213] == 0x11) return STAMP_BIG;
    return STAMP_NONE;
}

static bool mrc_probe(struct mro_bytes b)
{
    if (has_magic(b)) return true;
    if (b.size < HEADER) return false;
    const bool stamped = read_stamp(b.p) != STAMP_NONE && b.p[214] == 0 && b.p[215] == 0;
    for (int big = 0; big < 2; big++) {
        const struct header h = read_header(b.p, big);
        if (is_permutation(h.map) && (stamped || first_frame_fits(&h, b.size))) return true;
    }
    return false;
}

/* The stamp decides unless what it says makes no sense and the other order does: programs that copy a header from
 * elsewhere write a wrong stamp, but hardly ever a size that is right the wrong way round. */
static bool find_byte_order(struct mro_file *f)
{
    const struct header little = read_header(f->bytes.p, false), big = read_header(f->bytes.p, true);
    const bool little_ok = makes_sense(&little, f->bytes.size), big_ok = makes_sense(&big, f->bytes.size);
    const enum stamp stamp = read_stamp(f->bytes.p);
    if (stamp == STAMP_BIG && !big_ok && little_ok) {
        mro_file_warn(f,
                      "'%s': the machine stamp says big-endian, but the header makes sense in little-endian order, "
                      "in which it is read",
                      f->name);
        return false;
    }
    if (stamp == STAMP_LITTLE && !little_ok && big_ok) {
        mro_file_warn(f,
                      "'%s': the machine stamp says little-endian, but the header makes sense in big-endian order, "
                      "in which it is read",
                      f->name);
        return true;
    }
    if (stamp != STAMP_NONE) return stamp == STAMP_BIG;
    if (little_ok && big_ok) return !first_frame_fits(&little, f->bytes.size) && first_frame_fits(&big, f->bytes.size);
    return big_ok;
}

/* ---- what the extended header adds ---- */

/* Of one block of FEI1 or FEI2. Zero or NaN: not given. */
struct extra {
    double pixel_m[2]; /* y, x: metres, or 1/m in diffraction */
    bool diffraction;  /* TEM with the projector in diffraction */
};

/* Text of at most `size` bytes in the file, to `out`, without the spaces around it and with single ones inside. */
static void copy_text(char *out, size_t room, const unsigned char *p, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size && p[i] != 0 && n + 1 < room; i++)
        if (p[i] != ' ' || (n > 0 && out[n - 1] != ' ')) out[n++] = (char)p[i];
    while (n > 0 && out[n - 1] == ' ') n--;
    out[n] = '\0';
}

/* Days since 30 December 1899 (the clock of Windows automation), local time of the microscope. */
static void date_of_days(double days, char *out, size_t room)
{
    struct tm tm;
    if (!(days > 20000 && days < 100000)) return; /* 1954 to 2173 */
    const time_t t = (time_t)llround((days - 25569) * 86400);
    if (gmtime_r(&t, &tm) != NULL) strftime(out, room, "%Y-%m-%dT%H:%M:%S", &tm);
}

/* Tilt angles when all sections share them: a tilt series has none that is its own. */
static void read_tilt(const unsigned char *p, size_t blocks, size_t block_bytes, bool big, struct mro_image_info *info)
{
    for (unsigned k = 0; k < 2; k++) { /* alpha is field 7 and beta field 8 of the first bit mask */
        if (!(mro_get_u32(p + 8, false) >> (7 + k) & 1)) continue;
        const double first = mro_get_f64(p + 100 + 8 * k, big);
        bool same = isfinite(first) && fabs(first) <= 360;
        for (size_t i = 1; i < blocks && same; i++)
            same = fabs(mro_get_f64(p + i * block_bytes + 100 + 8 * k, big) - first) < 0.01;
        if (same) info->stage_tilt_deg[k] = first;
    }
}

/* FEI1 and FEI2: the same fields at the same places, FEI2 has more behind. */
static void read_fei(const unsigned char *p, size_t bytes, size_t frames, bool big, struct mro_image_info *info,
                     struct extra *x)
{
    const size_t block = (size_t)mro_get_u32(p, big);
    if (block < FEI1_BYTES || block > bytes) return;
    char type[17], number[17];
    const int32_t instrument = get_i32(p + 244, big),
                  projection = get_i32(p + 248, big); /* 2 = STEM; 1 = diffraction */
    const bool stem = instrument == 2;
    x->pixel_m[1] = mro_positive(mro_get_f64(p + 156, big));
    x->pixel_m[0] = mro_positive(mro_get_f64(p + 164, big));
    x->diffraction = instrument == 1 && projection == 1;
    info->beam_kv = mro_positive(mro_get_f64(p + 84, big)) / 1000;
    info->magnification = mro_positive(mro_get_f64(p + 289, big));
    info->camera_length_mm = mro_positive(mro_get_f64(p + 301, big)) * 1000;
    date_of_days(mro_get_f64(p + 12, big), info->date, sizeof info->date);
    copy_text(type, sizeof type, p + 20, 16);
    copy_text(number, sizeof number, p + 36, 16);
    snprintf(info->instrument, sizeof info->instrument, "%s%s%s", type, type[0] && number[0] ? " " : "", number);
    if (stem) {
        copy_text(info->detector, sizeof info->detector, p + 519, 16);
    } else {
        if (block >= FEI2_BYTES) copy_text(info->detector, sizeof info->detector, p + 804, 16);
        if (info->detector[0] == '\0') copy_text(info->detector, sizeof info->detector, p + 435, 16);
        const int32_t binning[2] = { get_i32(p + 431, big), get_i32(p + 427, big) };
        for (size_t i = 0; i < 2; i++)
            if (binning[i] > 0 && binning[i] <= 1024) info->binning[i] = binning[i];
    }
    const size_t blocks = bytes / block;
    read_tilt(p, blocks < frames ? blocks : frames, block, big, info);
}

/* The extended header of FEI's programs before MRC2014: 1024 blocks of 32 floats, whatever the number of sections. */
static void read_old_fei(const unsigned char *p, bool big, struct mro_image_info *info, struct extra *x)
{
    const double pixel = mro_get_f32(p + 44, big), volts = mro_get_f32(p + 52, big);
    if (!(pixel > 1e-13 && pixel < 1e-3)) return; /* some programs wrote other units here */
    x->pixel_m[0] = x->pixel_m[1] = pixel;
    info->magnification = mro_positive(mro_get_f32(p + 48, big));
    if (volts >= 1e4 && volts <= 1e7) info->beam_kv = volts / 1000;
}

/* ---- calibration ---- */

/* Below a hundredth of a picometre and above a millimetre no microscope has a pixel: such cells are left-overs. */
static bool is_length(double nm) { return isfinite(nm) && nm >= 1e-5 && nm <= 1e6; }

/* The cell is in Angstrom along the axes of the specimen; MAPC, MAPR and MAPS say which of them columns, rows and
 * sections are. Readers that leave the permutation out give such maps (EMD-3001) the pixel size of other axes. */
static double cell_step(const struct header *h, int32_t axis) /* Angstrom; 0 = unknown */
{
    const int32_t n = h->grid[axis - 1];
    const double step = n > 0 ? h->cell[axis - 1] / n : 0;
    return is_length(step / 10) ? step : 0;
}

static void set_pixel(struct mro_file *f, const struct header *h, const struct extra *x, struct mro_image_info *info)
{
    struct mro_axis *a = &info->axis[info->axes - 2];                            /* y, x */
    const double cell[2] = { cell_step(h, h->map[1]), cell_step(h, h->map[0]) }; /* Angstrom */
    /* In diffraction FEI writes 1/m into the same field: no pixel is larger than a metre, no step of a pattern is
     * smaller than 1000 per metre. */
    const bool reciprocal = x->pixel_m[0] > 1e3 && x->pixel_m[1] > 1e3;
    if (reciprocal || x->diffraction) info->kind = MRO_KIND_DIFFRACTION;
    if (info->kind == MRO_KIND_DIFFRACTION) {
        for (size_t i = 0; i < 2 && reciprocal; i++) mro_axis_set(&a[i], x->pixel_m[i], 0, "1/m", MRO_SOURCE_VENDOR);
        if (!reciprocal && cell[0] > 0)
            mro_file_warn(f,
                          "'%s': the extended header says diffraction but the pixel size is a length (%.4g nm); the "
                          "calibration is left out",
                          f->name, cell[1] / 10);
        return;
    }
    /* Many programs write 1 Angstrom where they know nothing. */
    const bool placeholder = cell[0] == 1 && cell[1] == 1;
    for (size_t i = 0; i < 2; i++) {
        const double extra = is_length(x->pixel_m[i] * 1e9) ? x->pixel_m[i] * 1e10 : 0;
        /* The cell wins: programs that bin or crop a stack renew it and copy the extended header as it is. */
        if (cell[i] > 0 && !(placeholder && extra > 0)) {
            mro_axis_set(&a[i], cell[i], 0, "A", MRO_SOURCE_VENDOR);
            if (extra > 0 && fabs(extra / cell[i] - 1) > 0.01)
                mro_file_warn(f,
                              "'%s': the cell gives a pixel of %.6g nm, the extended header one of %.6g nm along %s; "
                              "the cell is used",
                              f->name, cell[i] / 10, extra / 10, i ? "x" : "y");
        } else if (extra > 0) {
            mro_axis_set(&a[i], x->pixel_m[i], 0, "m", MRO_SOURCE_VENDOR);
        }
    }
    if (placeholder && !(x->pixel_m[0] > 0))
        mro_file_warn(f,
                      "'%s': the pixel size is exactly 1 Angstrom, which many programs write when they do not know "
                      "it; check it",
                      f->name);
}

/* ---- opening ---- */

/* Sign of mode 0. IMOD's own stamp says it; MRC2014 defines signed; unsigned files from before 2014 can still be told
 * by a range in the header that int8 cannot have. */
static enum mro_dtype byte_type(const struct header *h)
{
    if (h->imod_stamp == IMOD_STAMP) return h->imod_flags & IMOD_SIGNED_BYTES ? MRO_I8 : MRO_U8;
    return h->min >= 0 && h->max > 127 && h->max <= 255 ? MRO_U8 : MRO_I8;
}

static enum mro_code check_header(const struct mro_file *f, const struct header *h, struct mro_error *e)
{
    const size_t size = f->bytes.size;
    if (find_mode(h->mode) == NULL)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': MRC mode %d is not read (0, 1, 2, 3, 4, 6, 12, 16 and 101 are)", f->name,
                        h->mode);
    if (h->nx <= 0 || h->ny <= 0 || h->nz <= 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': the MRC header gives a size of %d x %d x %d", f->name, h->nx, h->ny,
                        h->nz);
    if (h->extension < 0)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': the MRC header gives the extended header %d bytes (NSYMBT)", f->name,
                        h->extension);
    if ((size_t)h->extension > size - HEADER)
        return MRO_FAIL(e, MRO_EFORMAT,
                        "'%s': the extended header (NSYMBT) has %d bytes, but only %zu follow the MRC header", f->name,
                        h->extension, size - HEADER);
    return MRO_OK;
}

/* Axes before y and x. `frames` are those in the file. */
static void set_stack_axes(const struct header *h, size_t frames, struct mro_image_info *info)
{
    /* ISPG alone says what sections are: MZ equals NZ in many stacks of pictures, tilt series among them, whose cell
     * then has a z that means nothing. */
    const bool volume = h->group >= 1;
    const bool volumes =
        h->group >= 401 && h->grid[2] > 0 && frames == (size_t)h->nz && h->nz % h->grid[2] == 0 && h->nz > h->grid[2];
    info->axes = 2;
    if (frames == 1) return;
    info->axes = volumes ? 4 : 3;
    if (volumes) info->axis[0].size = frames / (size_t)h->grid[2];
    struct mro_axis *z = &info->axis[info->axes - 3];
    z->size = volumes ? (size_t)h->grid[2] : frames;
    if (volume) mro_axis_set(z, cell_step(h, h->map[2]), 0, "A", MRO_SOURCE_VENDOR);
}

static enum mro_code mrc_open(struct mro_file *f, struct mro_error *e)
{
    const unsigned char *p = f->bytes.p;
    const size_t size = f->bytes.size;
    if (size < HEADER)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': cut inside the MRC header: %zu of %d bytes", f->name, size, HEADER);
    const bool big = find_byte_order(f);
    struct header h = read_header(p, big);
    MRO_TRY(check_header(f, &h, e));
    if (!is_permutation(h.map)) {
        if (h.map[0] != 0 || h.map[1] != 0 || h.map[2] != 0)
            mro_file_warn(f, "'%s': the order of axes %d, %d, %d (MAPC, MAPR, MAPS) is none; x, y, z is taken", f->name,
                          h.map[0], h.map[1], h.map[2]);
        for (int i = 0; i < 3; i++) h.map[i] = i + 1;
    }
    const struct mode *mode = find_mode(h.mode);
    struct mode packed;
    size_t nx = (size_t)h.nx;
    if (h.mode == 0 && h.imod_stamp == IMOD_STAMP && (h.imod_flags & IMOD_PACKED_NIBBLES)) {
        /* SerialEM: mode 101 under the name of bytes, with half the width. */
        packed = *find_mode(101);
        mode = &packed;
        nx *= 2;
        if (h.grid[0] == h.nx && h.grid[0] <= INT32_MAX / 2) {
            h.grid[0] *= 2;
            h.cell[0] *= 2;
        }
    }

    struct mrc_state *s = calloc(1, sizeof *s);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    f->state = s;
    s->data = p + HEADER + h.extension;
    s->nx = nx;
    s->ny = (size_t)h.ny;
    s->layout = mode->layout;
    s->sample_bytes = mode->sample_bytes;
    s->big = big;
    const size_t present = size - HEADER - (size_t)h.extension;
    const bool too_large =
        !row_size(mode, nx, &s->row_bytes) || __builtin_mul_overflow(s->row_bytes, s->ny, &s->frame_bytes);
    size_t frames = too_large ? 0 : present / s->frame_bytes;
    if (frames == 0) {
        /* Not one frame: what there is of the first, in whole rows. */
        const size_t rows = too_large ? 0 : present / s->row_bytes;
        if (rows == 0)
            return MRO_FAIL(e, MRO_EFORMAT,
                            "'%s': the MRC header says %zu x %d x %d pixels (mode %d), but the file holds %zu bytes of "
                            "data, not one row",
                            f->name, nx, h.ny, h.nz, h.mode, present);
        mro_file_warn(f, "'%s': the file is cut: %zu of %d rows of the first frame are there and are read", f->name,
                      rows, h.ny);
        s->ny = rows;
        s->frame_bytes = rows * s->row_bytes;
        frames = 1;
    } else if (frames < (size_t)h.nz) {
        mro_file_warn(f, "'%s': the header says %d frames, but the file ends after %zu, which are read", f->name, h.nz,
                      frames);
    } else {
        if (frames > (size_t)h.nz)
            mro_file_warn(f, "'%s': the header says %d frames, but there is room for %zu; the others are left out",
                          f->name, h.nz, frames);
        frames = (size_t)h.nz;
    }

    struct mro_image_info *info = mro_file_add_image(f);
    if (info == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory to open '%s'", f->name);
    set_stack_axes(&h, frames, info);
    info->axis[info->axes - 2].size = s->ny;
    info->axis[info->axes - 1].size = s->nx;
    info->kind = MRO_KIND_IMAGE;
    info->dtype = mode->number == 0 ? byte_type(&h) : mode->dtype;
    struct extra x = { .diffraction = false };
    const unsigned char *extension = p + HEADER;
    if (memcmp(h.type, "FEI", 3) == 0 && h.extension >= FEI1_BYTES)
        read_fei(extension, (size_t)h.extension, frames, big, info, &x);
    else if (h.extension == OLD_FEI_BYTES * OLD_FEI_BLOCKS && h.nreal == 32 && (h.nint == 0 || h.nint == OLD_FEI_BYTES))
        read_old_fei(extension, big, info, &x);
    set_pixel(f, &h, &x, info);
    if (h.labels < 0 || h.labels > 10)
        mro_file_warn(f, "'%s': the header says it has %d labels, where there is room for 10", f->name, h.labels);
    if (h.labels > 0) copy_text(info->title, sizeof info->title, p + 224, 80);
    return mro_file_seal_image(f, info, e);
}

/* ---- pixels ---- */

static enum mro_code mrc_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    (void)image, (void)e;
    const struct mrc_state *s = f->state;
    const unsigned char *p = s->data + frame * s->frame_bytes;
    switch (s->layout) {
    case PLAIN: mro_copy_samples(out, p, s->frame_bytes / s->sample_bytes, s->sample_bytes, s->big); break;
    case SHORT_PAIRS: {
        float *to = out;
        for (size_t i = 0; i < s->frame_bytes / 2; i++) to[i] = (float)(int16_t)mro_get_u16(p + 2 * i, s->big);
        break;
    }
    case NIBBLES: {
        unsigned char *to = out;
        for (size_t y = 0; y < s->ny; y++, p += s->row_bytes)
            for (size_t x = 0; x < s->nx; x++) *to++ = x % 2 ? p[x / 2] >> 4 : p[x / 2] & 15;
        break;
    }
    }
    return MRO_OK;
}

static bool mrc_view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    (void)image;
    const struct mrc_state *s = f->state;
    if (s->layout != PLAIN) return false;
    *p = s->data + frame * s->frame_bytes;
    *big_endian = s->big;
    return true;
}

static void mrc_close(struct mro_file *f)
{
    free(f->state);
    f->state = NULL;
}

const struct mro_reader mro_reader_mrc = {
    .name = "MRC", .probe = mrc_probe, .open = mrc_open, .read = mrc_read, .view = mrc_view, .close = mrc_close
};
