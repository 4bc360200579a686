/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What pdf reads: tables, and beside the inputs a mask, a standard, a state without strain and a reference. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pdf.h"
#include "core/notes.h"
#include "io/reader.h"
#include "io/table.h"

bool cli_pdf_is_table(const char *path)
{
    struct mro_bytes b;
    if (mro_bytes_map(&b, path, NULL) != MRO_OK) return false; /* told when it is read */
    const bool yes = b.size > 0 && mro_profile_probe(b.p, b.size);
    mro_bytes_unmap(&b);
    return yes;
}

static enum mro_code hash_of(const struct mro_bytes *b, const char *path, char hex[65], struct mro_error *e)
{
    struct mro_hash_job *job = NULL;
    MRO_TRY(mro_hash_start(&job, -1, b->p, b->size, 0, e));
    return mro_hash_finish(job, path, hex, e);
}

enum mro_code cli_pdf_read_table(struct cli_pdf *s, const char *path, struct mro_profile *p, char sha256[65],
                                 struct mro_error *e)
{
    struct mro_bytes b;
    MRO_TRY(mro_bytes_map(&b, path, e));
    enum mro_code rc = mro_profile_read(p, b.size ? (const void *)b.p : "", b.size, path, &s->table, e);
    if (rc == MRO_OK) {
        rc = hash_of(&b, path, sha256, e);
        if (rc) mro_profile_release(p);
    }
    mro_bytes_unmap(&b);
    return rc;
}

/* The first pattern of an image file, calibrated. */
static enum mro_code read_pattern(struct cli_pdf *s, const char *path, struct mro_image *im, char sha256[65],
                                  struct mro_error *e)
{
    struct mro_file *f = NULL;
    char sentence[256];
    MRO_TRY(mro_file_open(&f, path, s->run.common.memory, e));
    enum mro_code rc = MRO_OK;
    if (mro_file_images(f) == 0 || mro_file_info(f, 0)->axes < 2)
        rc = MRO_FAIL(e, MRO_EDATA, "'%s' holds no image", path);
    if (rc == MRO_OK) rc = mro_file_read(f, 0, 0, im, e);
    if (rc == MRO_OK) {
        cli_calibrate(&s->run.common, mro_file_info(f, 0), im->axis, sentence, sizeof sentence);
        rc = hash_of(&f->bytes, path, sha256, e);
        if (rc) mro_image_release(im);
    }
    mro_file_close(f);
    return rc;
}

enum mro_code cli_pdf_read_mask(struct cli_pdf *s, struct mro_error *e)
{
    char sha256[65];
    if (s->mask == NULL || s->mask_pixels) return MRO_OK;
    MRO_TRY(read_pattern(s, s->mask, &s->mask_image, sha256, e));
    const size_t n = s->mask_image.ny * s->mask_image.nx;
    s->mask_pixels = malloc(n ? n : 1);
    if (s->mask_pixels == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the mask '%s' does not fit in memory", s->mask);
    for (size_t i = 0; i < n; i++) s->mask_pixels[i] = s->mask_image.px[i] != 0;
    return MRO_OK;
}

enum mro_code cli_pdf_read_geometry(struct cli_pdf *s, struct mro_error *e)
{
    struct mro_device *d = s->run.places->device[CLI_CHOSEN];
    struct mro_image im = { 0 };
    struct mro_saed_options o = s->saed; /* of the conditions; their own centre and ellipse */
    struct mro_saed_geometry g;
    if (s->have_geometry) return MRO_OK;
    o.centre_how = o.ellipse_how = MRO_SAED_FIT;
    bool have = false;
    if (s->standard_file) {
        MRO_TRY(read_pattern(s, s->standard_file, &im, s->standard_sha256, e));
        const enum mro_code rc =
            mro_saed_calibrate(d, &im, s->standard_file, (enum mro_standard)s->standard, &o, &s->calibrated, e);
        s->standard_shape[0] = im.ny;
        s->standard_shape[1] = im.nx;
        mro_image_release(&im);
        if (rc) return rc;
        s->saed.step_inv_nm = o.step_inv_nm = s->calibrated.step_inv_nm;
        snprintf(s->step_text, sizeof s->step_text, "%.6g nm^-1 a pixel, of %zu rings of %s in '%.100s'",
                 s->calibrated.step_inv_nm, s->calibrated.rings, mro_standard_name((enum mro_standard)s->standard),
                 s->standard_file);
        g = s->calibrated.geometry;
        have = true;
    }
    if (s->ellipse_file) {
        struct mro_saed_result r;
        MRO_TRY(read_pattern(s, s->ellipse_file, &im, s->ellipse_sha256, e));
        const enum mro_code rc = mro_saed_measure(d, &im, s->ellipse_file, &o, &r, e);
        mro_image_release(&im);
        if (rc) return rc;
        g = r.geometry;
        have = true;
        mro_saed_result_release(&r);
    }
    if (have && s->ellipse.n == 0) {
        s->saed.ellipse_how = MRO_SAED_REFERENCE;
        s->saed.ellipse_ratio = g.ellipse_ratio;
        s->saed.ellipse_azimuth_deg = isfinite(g.ellipse_azimuth_deg) ? g.ellipse_azimuth_deg : 0;
        s->saed.ellipse_ratio_se = isfinite(g.ellipse_ratio_se) ? g.ellipse_ratio_se : 0;
    }
    s->have_geometry = true;
    return MRO_OK;
}

enum mro_code cli_pdf_measure_reference(struct cli_pdf *s, struct mro_error *e)
{
    struct cli_pdf_one r = { 0 };
    struct mro_image im = { 0 };
    enum mro_code rc;
    if (cli_pdf_is_table(s->reference)) {
        rc = cli_pdf_read_table(s, s->reference, &r.table, s->reference_sha256, e);
        if (rc == MRO_OK) rc = cli_pdf_from_profile(s, &r.table, NULL, s->reference, &s->o, &r, e);
    } else {
        rc = read_pattern(s, s->reference, &im, s->reference_sha256, e);
        if (rc == MRO_OK)
            rc = cli_pdf_measure_pattern(s, s->run.places->device[CLI_CHOSEN], &im, s->reference, true, false, &s->o,
                                         &r, e);
    }
    if (rc == MRO_OK && r.report.pdf == NULL)
        rc = MRO_FAIL(e, MRO_EDATA, "nothing can be compared with '%s': %s", s->reference,
                      r.n_warnings ? r.warnings[r.n_warnings - 1] : "it has no G(r)");
    if (rc == MRO_OK) {
        s->against = r.pdf;
        memset(&r.pdf, 0, sizeof r.pdf);
        s->o.fixed = s->against.windows;
        s->have_reference = true;
    }
    mro_image_release(&im);
    cli_pdf_release(&r);
    return rc;
}
