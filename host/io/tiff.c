/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TIFF through libtiff, with three things of our own: pixels that lie in the file as they are come
 * straight from the mapping, LZW and deflate are decoded in one go (and by libtiff when that fails, for it
 * knows what else there is, and says what is wrong), and every size that a header claims is held against the bytes that
 * are there before memory is asked for. Pages of one shape and type that follow each other are the frames of one image.
 * A page is read in tiff_page.c and decoded in tiff_decode.c, and what the tags say of calibration and microscope is
 * read in tiff_meta.c. Sources: TIFF 6.0 (1992), BigTIFF (Aware Systems), ImageJ's TiffDecoder for its stacks of one
 * directory. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/tiff_page.h"

struct mro_tiff_page {
    uint64_t ifd;  /* offset of its directory */
    uint64_t data; /* offset of its pixels when they lie there as they are; 0 = they must be decoded */
    size_t number; /* in the file, from 1: pages may have been passed over before it */
};

struct mro_tiff_series {
    struct mro_tiff_layout l;
    size_t first, pages;
    size_t stack; /* > 1: ImageJ wrote one directory for so many images that follow each other */
};

static const struct mro_tiff_page *frame_page(const struct mro_tiff *t, size_t image, size_t frame, uint64_t *data)
{
    const struct mro_tiff_series *s = &t->series[image];
    const size_t each = mro_dtype_size(s->l.dtype) * s->l.nx * s->l.ny;
    const struct mro_tiff_page *page = &t->pages[s->first + (s->stack > 1 ? 0 : frame / s->l.channels)];
    *data = page->data && s->stack > 1 ? page->data + frame * each : page->data;
    return page;
}

static bool tiff_view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    const struct mro_tiff *t = f->state;
    const struct mro_tiff_layout *l = &t->series[image].l;
    uint64_t data;
    frame_page(t, image, frame, &data);
    if (data == 0 || mro_tiff_pixel_bytes(l) != mro_dtype_size(l->dtype)) return false;
    *p = f->bytes.p + data;
    *big_endian = t->big_endian;
    return true;
}

static enum mro_code tiff_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    struct mro_tiff *t = f->state;
    const struct mro_tiff_layout *l = &t->series[image].l;
    const size_t pixels = (size_t)l->nx * l->ny, sample = l->bits / 8, plane_bytes = pixels * mro_tiff_pixel_bytes(l);
    const size_t channel = l->channels > 1 ? frame % l->channels : 0;
    enum mro_code rc = MRO_OK;
    unsigned char *plane = NULL;
    uint64_t data;
    const struct mro_tiff_page *page = frame_page(t, image, frame, &data);
    const size_t number = page->number;
    const unsigned char *p;
    bool big_endian;
    if (tiff_view(f, image, frame, &p, &big_endian)) {
        const bool pairs = l->dtype == MRO_C64 || l->dtype == MRO_C128;
        mro_copy_samples(out, p, plane_bytes / sample * (pairs ? 2 : 1), pairs ? sample / 2 : sample, big_endian);
        return MRO_OK;
    }
    t->main.sentence[0] = '\0';
    if (TIFFCurrentDirOffset(t->tif) != page->ifd && !TIFFSetSubDirectory(t->tif, page->ifd))
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': page %zu cannot be read: %s", f->name, number,
                        mro_tiff_sentence(&t->main));
    if (mro_tiff_planes(l) > 1 && l->channels > 1) return mro_tiff_read_plane(t, number, l, channel, out, e);
    if (mro_tiff_planes(l) == 1 && mro_tiff_pixel_bytes(l) == mro_dtype_size(l->dtype))
        return mro_tiff_read_plane(t, number, l, 0, out, e);

    /* Channels change places: planes of colour are put together, one channel of many is picked out. */
    if (f->memory_bytes < plane_bytes || (plane = malloc(plane_bytes)) == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory for the channels of '%s' (%.0f MiB)", f->name,
                      (double)plane_bytes / 1048576);
        goto done;
    }
    const bool pick = mro_tiff_planes(l) == 1;
    const size_t from = pick ? mro_tiff_pixel_bytes(l) : sample, to = mro_dtype_size(l->dtype);
    for (size_t c = 0; c < (pick ? 1 : l->channels == 1 ? to / sample : 1); c++) {
        rc = mro_tiff_read_plane(t, number, l, c, plane, e);
        if (rc) goto done;
        const unsigned char *q = plane + (pick ? channel * sample : 0);
        unsigned char *o = (unsigned char *)out + c * sample;
        for (size_t i = 0; i < pixels; i++) memcpy(o + i * to, q + i * from, sample);
    }
done:
    free(plane);
    return rc;
}

/* ---------------------------------------------------------------- open */

static bool tiff_probe(struct mro_bytes b)
{
    if (b.size < 4) return false;
    return memcmp(b.p, "II*\0", 4) == 0 || memcmp(b.p, "MM\0*", 4) == 0 || memcmp(b.p, "II+\0", 4) == 0 ||
           memcmp(b.p, "MM\0+", 4) == 0;
}

static void tiff_close(struct mro_file *f)
{
    struct mro_tiff *t = f->state;
    if (t->tif) TIFFClose(t->tif);
    for (int i = 0; i < MRO_TIFF_HELPERS && t->helper[i]; i++) {
        if (t->helper[i]->tif) TIFFClose(t->helper[i]->tif);
        free(t->helper[i]);
    }
    free(t->pages);
    free(t->series);
    free(t->description);
    free(t);
    f->state = NULL;
}

/* Makes room for one more element when n is 0 or a power of two. */
static bool grow(void *array, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0) return true;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    if (n > SIZE_MAX / 2 / size || (grown = realloc(old, (n ? 2 * n : 1) * size)) == NULL) return false;
    memcpy(array, &grown, sizeof grown);
    return true;
}

static enum mro_code open_libtiff(struct mro_tiff *t, struct mro_error *e)
{
    struct mro_file *f = t->f;
    t->main.f = f;
    MRO_TRY(mro_tiff_open(&t->main, e));
    t->tif = t->main.tif;
    t->big_endian = TIFFIsBigEndian(t->tif);
    t->big_tiff = f->bytes.p[2] == 43 || f->bytes.p[3] == 43;
    const char *text = NULL;
    if (TIFFGetField(t->tif, TIFFTAG_IMAGEDESCRIPTION, &text) && text && (t->description = strdup(text)) == NULL)
        return mro_tiff_no_memory(f, e);
    return MRO_OK;
}

static bool same_layout(const struct mro_tiff_layout *a, const struct mro_tiff_layout *b)
{
    return a->nx == b->nx && a->ny == b->ny && a->bits == b->bits && a->samples == b->samples &&
           a->format == b->format && a->photometric == b->photometric && a->planar == b->planar &&
           a->dtype == b->dtype && a->channels == b->channels;
}

/* Adds the current page, if it is one that can be read, to the images. `number` counts from 1. */
static enum mro_code add_page(struct mro_tiff *t, size_t number, struct mro_error *first_refusal, struct mro_error *e)
{
    struct mro_tiff_layout l;
    struct mro_error why;
    uint32_t subfile = 0;
    TIFFGetField(t->tif, TIFFTAG_SUBFILETYPE, &subfile);
    if (number > 1 && (subfile & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK))) {
        mro_file_warn(t->f, "'%s': pages that are thumbnails or masks are passed over", t->f->name);
        return MRO_OK;
    }
    if (mro_tiff_read_layout(t, number, &l, &why) != MRO_OK) {
        if (first_refusal->code == MRO_OK) *first_refusal = why;
        return MRO_OK;
    }
    if (!grow(&t->pages, t->n_pages, sizeof *t->pages)) return mro_tiff_no_memory(t->f, e);
    struct mro_tiff_page *page = &t->pages[t->n_pages];
    *page = (struct mro_tiff_page){ TIFFCurrentDirOffset(t->tif), 0, number };
    MRO_TRY(mro_tiff_check_extent(t, number, &l, &page->data, e));
    t->n_pages++;
    struct mro_tiff_series *last = t->n_series ? &t->series[t->n_series - 1] : NULL;
    if (last && same_layout(&last->l, &l)) {
        last->pages++;
        return MRO_OK;
    }
    if (!grow(&t->series, t->n_series, sizeof *t->series)) return mro_tiff_no_memory(t->f, e);
    t->series[t->n_series++] = (struct mro_tiff_series){ l, t->n_pages - 1, 1, 1 };
    return MRO_OK;
}

/* ImageJ writes stacks as one directory and the images behind each other, also past 4 GB. The last images of a
 * stack that was cut, in copying or by a full disk, are missing and the others whole. */
static void find_stack(struct mro_tiff *t)
{
    struct mro_tiff_series *s = &t->series[0];
    const uint64_t images = mro_tiff_imagej_count(t->description, "images"), data = t->pages[0].data;
    const uint64_t each = (uint64_t)s->l.nx * s->l.ny * mro_dtype_size(s->l.dtype);
    if (images == 1 || images == t->n_pages) return;
    if (t->n_pages > 1 || data == 0 || mro_tiff_pixel_bytes(&s->l) != mro_dtype_size(s->l.dtype)) {
        mro_file_warn(t->f, "'%s': the ImageJ description speaks of %" PRIu64 " images, the file has %zu", t->f->name,
                      images, t->n_pages * s->l.channels);
        return;
    }
    /* ImageJ puts its directory before the pixels; behind them, it ends them. */
    const uint64_t ifd = t->pages[0].ifd, end = ifd > data + each ? ifd : t->f->bytes.size, there = (end - data) / each;
    if (there < images)
        mro_file_warn(t->f,
                      "'%s' is cut: its ImageJ description speaks of %" PRIu64 " images, there are bytes for %" PRIu64
                      ", which are read",
                      t->f->name, images, there);
    s->stack = (size_t)(there < images ? there : images);
}

/* Whether image `a` is `b` made ready for show: 8 bits, of the same width or proportions, beside more bits. Programs
 * of microscopes write such a page, often with a scale bar drawn into it, for viewers that know no other. */
static bool is_copy(const struct mro_tiff_series *a, const struct mro_tiff_series *b)
{
    const struct mro_tiff_layout *s = &a->l, *d = &b->l;
    if (a->pages != 1 || b->pages != 1 || s->bits != 8 || s->format != SAMPLEFORMAT_UINT || d->bits < 16 ||
        d->samples != 1)
        return false;
    const uint64_t more = s->ny > d->ny ? s->ny - d->ny : d->ny - s->ny, cross = (uint64_t)s->nx * d->ny,
                   other = (uint64_t)d->nx * s->ny;
    if (s->nx == d->nx) return more <= d->ny / 4; /* a bar of text below the image */
    return d->nx > s->nx / 2 && (cross > other ? cross - other : other - cross) <= cross / 100;
}

/* Leaves out images that are copies of others for show. */
static void drop_copies(struct mro_tiff *t)
{
    enum { MOST = 16 }; /* a file of so many different images is no picture with its copy */
    size_t kept = 0;
    bool drop[MOST] = { false };
    if (t->n_series < 2 || t->n_series > MOST) return;
    for (size_t i = 0; i < t->n_series; i++) {
        for (size_t k = 0; k < t->n_series && !drop[i]; k++) {
            const struct mro_tiff_series *s = &t->series[i], *d = &t->series[k];
            if (k == i || !is_copy(s, d)) continue;
            drop[i] = true;
            mro_file_warn(t->f,
                          "'%s': page %zu (%s, %" PRIu32 " x %" PRIu32
                          ") is taken for a copy for display of page %zu (%s, %" PRIu32 " x %" PRIu32
                          ") and is passed over",
                          t->f->name, t->pages[s->first].number, mro_dtype_name(s->l.dtype), s->l.nx, s->l.ny,
                          t->pages[d->first].number, mro_dtype_name(d->l.dtype), d->l.nx, d->l.ny);
        }
    }
    for (size_t i = 0; i < t->n_series; i++)
        if (!drop[i]) t->series[kept++] = t->series[i];
    t->n_series = kept;
}

/* The directory that describes an image: its own or, where that holds no tags of the microscope, that of a page of
 * the same width that does. */
static struct mro_tiff_dir describing(const struct mro_tiff *t, const struct mro_tiff_series *s)
{
    enum { MOST = 64 }; /* pages looked at */
    const struct mro_tiff_dir own = mro_tiff_directory(t, t->pages[s->first].ifd);
    if (mro_tiff_has_vendor(&own)) return own;
    for (size_t i = 0; i < t->n_pages && i < MOST; i++) {
        const struct mro_tiff_dir d = mro_tiff_directory(t, t->pages[i].ifd);
        struct mro_tiff_value v;
        if (mro_tiff_has_vendor(&d) && mro_tiff_find(&d, TIFFTAG_IMAGEWIDTH, &v) && mro_tiff_number(&v, 0) == s->l.nx)
            return d;
    }
    return own;
}

static enum mro_code add_image(struct mro_tiff *t, const struct mro_tiff_series *s, size_t *budget, struct mro_error *e)
{
    struct mro_image_info *info = mro_file_add_image(t->f);
    if (info == NULL) return mro_tiff_no_memory(t->f, e);
    const size_t frames = s->stack > 1 ? s->stack : s->pages;
    const struct mro_tiff_dir d = describing(t, s);
    info->dtype = s->l.dtype;
    if (frames > 1) info->axis[info->axes++].size = frames;
    if (s->l.channels > 1) info->axis[info->axes++].size = s->l.channels;
    info->axis[info->axes++].size = s->l.ny;
    info->axis[info->axes++].size = s->l.nx;
    mro_tiff_describe(t->f, &d, t->description, budget, info);
    return mro_file_seal_image(t->f, info, e);
}

static enum mro_code tiff_open(struct mro_file *f, struct mro_error *e)
{
    struct mro_tiff *t = calloc(1, sizeof *t);
    if (t == NULL) return mro_tiff_no_memory(f, e);
    f->state = t;
    t->f = f;
    MRO_TRY(open_libtiff(t, e));

    struct mro_error refusal = { .code = MRO_OK };
    size_t number = 1;
    do {
        MRO_TRY(add_page(t, number++, &refusal, e));
        t->main.sentence[0] = '\0';
        if (number % 256 == 0) mro_file_drop_pages(f);
    } while (!TIFFLastDirectory(t->tif) && TIFFReadDirectory(t->tif));
    if (t->n_pages == 0) return MRO_FAIL(e, refusal.code, "%s", refusal.message);
    if (refusal.code) mro_file_warn(f, "a page is passed over: %s", refusal.message);
    if (t->main.sentence[0])
        mro_file_warn(f, "'%s': page %zu and what follows cannot be read: %s", f->name, number, t->main.sentence);

    size_t budget = (size_t)64 << 20; /* bytes of metadata: real files have some 100 KiB */
    if (mro_tiff_is_imagej(t->description))
        find_stack(t);
    else
        drop_copies(t);
    for (size_t i = 0; i < t->n_series; i++) MRO_TRY(add_image(t, &t->series[i], &budget, e));
    return MRO_OK;
}

const struct mro_reader mro_reader_tiff = {
    .name = "TIFF",
    .probe = tiff_probe,
    .open = tiff_open,
    .read = tiff_read,
    .close = tiff_close,
    .view = tiff_view,
};
