/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What pdf measures: a pattern, the frames of a stack by what they share, a profile. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pdf.h"
#include "core/notes.h"

#define SHIFT_PX 0.2   /* of the centre, for the systematic part of errors */
#define MEAN_FRAMES 8  /* of a stack, spread over it, whose mean gives the geometry of all */
#define LEAST_DRAWS 50 /* where no errors are wanted */
#define DRIFT_PX 0.5   /* frames that lie farther from it are fitted by themselves */

void cli_pdf_release(void *result)
{
    struct cli_pdf_one *r = result;
    mro_saed_result_release(&r->saed);
    mro_profile_release(&r->table);
    mro_pdf_result_release(&r->pdf);
    mro_pdf_difference_release(&r->difference);
    mro_notes_release(&r->warnings, &r->n_warnings);
}

static void take_notes(struct cli_pdf_one *r, char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) mro_note(&r->warnings, &r->n_warnings, "%s", list[i]);
}

void cli_pdf_forget_stack(struct cli_pdf *s)
{
    for (int i = 0; i < CLI_PLACES; i++) {
        mro_saed_plan_free(s->plan[i]);
        s->plan[i] = NULL;
    }
    mro_saed_result_release(&s->stack);
    memset(&s->stack_windows, 0, sizeof s->stack_windows);
    s->have_stack = false;
    free(s->stack_why);
    s->stack_why = NULL;
}

enum mro_code cli_pdf_from_profile(struct cli_pdf *s, const struct mro_profile *p, const struct mro_profile *shifted,
                                   const char *name, const struct mro_pdf_options *o, struct cli_pdf_one *r,
                                   struct mro_error *e)
{
    struct mro_error why;
    r->report.profile = p;
    if (r->report.pattern) {
        r->report.ellipse_file = s->ellipse_file;
        r->report.ellipse_sha256 = s->ellipse_sha256;
        if (s->standard_file) {
            r->report.standard = &s->calibrated;
            r->report.standard_name = mro_standard_name((enum mro_standard)s->standard);
            r->report.standard_file = s->standard_file;
            r->report.standard_sha256 = s->standard_sha256;
            r->report.step_text = s->step_text;
        }
    }
    r->report.composition = &s->o.composition;
    take_notes(r, p->warnings, p->n_warnings);
    const enum mro_code rc = mro_pdf_measure(p, shifted, name, o, &r->pdf, &why);
    if (rc == MRO_OK) {
        r->report.pdf = &r->pdf;
        take_notes(r, r->pdf.warnings, r->pdf.n_warnings);
        if (s->have_reference && strcmp(name, s->reference) != 0) {
            const enum mro_code compared = mro_pdf_compare(&r->pdf, &s->against, &r->difference, &why);
            if (compared == MRO_EMEMORY) return MRO_FAIL(e, compared, "%s", why.message);
            if (compared == MRO_OK) {
                r->report.difference = &r->difference;
                r->report.reference = &s->against;
                r->report.reference_file = s->reference;
                r->report.reference_sha256 = s->reference_sha256;
            } else {
                mro_note(&r->warnings, &r->n_warnings, "no difference to '%s': %s", s->reference, why.message);
            }
        }
        return MRO_OK;
    }
    if (r->report.pattern && (rc == MRO_ECALIB || rc == MRO_EDATA)) {
        cli_next_step(&why);
        mro_note(&r->warnings, &r->n_warnings, "%s", why.message);
        return MRO_OK;
    }
    if (e) *e = why;
    return rc;
}

/* The options for a pattern, with the mask that was given. */
static enum mro_code options_for(const struct cli_pdf *s, const struct mro_image *im, const char *name,
                                 struct mro_saed_options *o, struct mro_error *e)
{
    *o = s->saed;
    if (s->standard_shape[0] && (s->standard_shape[0] != im->ny || s->standard_shape[1] != im->nx))
        return MRO_FAIL(e, MRO_EARG,
                        "the standard '%s' has %zu x %zu pixels and '%s' %zu x %zu; its scale holds for patterns of "
                        "the same binning only",
                        s->standard_file, s->standard_shape[1], s->standard_shape[0], name, im->nx, im->ny);
    if (s->mask_pixels == NULL) return MRO_OK;
    if (s->mask_image.ny != im->ny || s->mask_image.nx != im->nx)
        return MRO_FAIL(e, MRO_EARG, "the mask '%s' has %zu x %zu pixels and '%s' %zu x %zu", s->mask, s->mask_image.nx,
                        s->mask_image.ny, name, im->nx, im->ny);
    o->mask = s->mask_pixels;
    return MRO_OK;
}

enum mro_code cli_pdf_measure_pattern(struct cli_pdf *s, struct mro_device *d, const struct mro_image *im,
                                      const char *name, bool shift, bool planned, const struct mro_pdf_options *numbers,
                                      struct cli_pdf_one *r, struct mro_error *e)
{
    struct mro_saed_options o;
    struct mro_saed_result moved = { 0 };
    MRO_TRY(options_for(s, im, name, &o, e));
    if (!planned) MRO_TRY(mro_saed_measure(d, im, name, &o, &r->saed, e));
    r->report.pattern = &r->saed;
    take_notes(r, r->saed.warnings, r->saed.n_warnings);
    if (shift && s->o.composition.n) {
        const struct mro_saed_geometry *g = &r->saed.geometry;
        struct mro_error why;
        o.centre_how = o.ellipse_how = MRO_SAED_GIVEN;
        o.centre_px[0] = g->centre_px[0] + SHIFT_PX;
        o.centre_px[1] = g->centre_px[1];
        o.ellipse_ratio = g->ellipse_ratio;
        o.ellipse_azimuth_deg = isfinite(g->ellipse_azimuth_deg) ? g->ellipse_azimuth_deg : 0;
        const enum mro_code code = mro_saed_measure(d, im, name, &o, &moved, &why);
        if (code == MRO_EMEMORY) { /* no finding: the error without this part would be too small */
            if (e) *e = why;
            return code;
        }
        shift = code == MRO_OK;
    }
    const enum mro_code rc = cli_pdf_from_profile(s, &r->saed.profile, shift && moved.profile.n ? &moved.profile : NULL,
                                                  name, numbers, r, e);
    mro_saed_result_release(&moved);
    return rc;
}

/* The mean of frames spread over those that are measured, calibrated as this one. The file is opened again: its frames
 * are being read ahead. */
static enum mro_code mean_of_frames(const struct cli_pdf *s, const struct cli_item *item, struct mro_image *mean,
                                    struct mro_error *e)
{
    const struct cli_frames *f = &s->run.common.frames;
    size_t wanted = 0, seen = 0, taken = 0;
    struct mro_file *file = NULL;
    struct mro_image im = { 0 };
    for (size_t k = 0; k < item->info->frames; k++) wanted += cli_frames_has(f, k);
    MRO_TRY(mro_file_open(&file, item->path, s->run.common.memory, e));
    const size_t of = wanted < MEAN_FRAMES ? wanted : MEAN_FRAMES;
    enum mro_code rc = mro_image_alloc(mean, item->pixels.ny, item->pixels.nx, e);
    for (size_t k = 0; rc == MRO_OK && k < item->info->frames && taken < of; k++) {
        if (!cli_frames_has(f, k)) continue;
        if (seen++ != taken * wanted / of) continue;
        rc = mro_file_read_into(file, item->image, k, &im, e);
        for (size_t i = 0; rc == MRO_OK && i < mean->ny * mean->nx; i++)
            mean->px[i] = (taken ? mean->px[i] : 0) + im.px[i] / (float)of;
        taken++;
    }
    if (rc == MRO_OK) {
        memcpy(mean->axis, item->pixels.axis, sizeof mean->axis);
        mean->beam_kv = item->pixels.beam_kv;
        mean->kind = item->pixels.kind;
    } else {
        mro_image_release(mean);
    }
    mro_image_release(&im);
    mro_file_close(file);
    return rc;
}

/* What the frames of a stack share, before the first of them: geometry, and windows of S(Q) and G(r). When their mean
 * cannot be measured they are fitted one by one, which is said. */
static enum mro_code open_stack(struct cli_pdf *s, struct mro_device *d, const struct cli_item *item,
                                struct mro_error *e)
{
    struct mro_image mean = { 0 };
    struct mro_saed_options o;
    struct mro_error why;
    cli_pdf_forget_stack(s);
    MRO_TRY(options_for(s, &item->pixels, item->name, &o, e));
    MRO_TRY(mean_of_frames(s, item, &mean, e));
    const enum mro_code rc = mro_saed_measure(d, &mean, item->path, &o, &s->stack, &why);
    mro_image_release(&mean);
    s->have_stack = rc == MRO_OK;
    if (rc == MRO_EMEMORY || rc == MRO_ECALIB || rc == MRO_EARG) {
        if (e) *e = why;
        return rc;
    }
    if (rc) s->stack_why = strdup(why.message);
    if (rc || s->o.composition.n == 0 || s->o.fixed.s_inv_nm[1] > 0) return MRO_OK;
    struct mro_pdf_options numbers = s->o;
    struct mro_pdf_result r;
    numbers.draws = LEAST_DRAWS;
    numbers.connection_R_A = -1;
    if (mro_pdf_measure(&s->stack.profile, NULL, item->path, &numbers, &r, &why) == MRO_OK)
        s->stack_windows = r.windows;
    mro_pdf_result_release(&r);
    return MRO_OK;
}

enum mro_code cli_pdf_measure_frame(struct cli_pdf *s, enum cli_place place, const struct cli_item *item,
                                    struct cli_pdf_one *r, bool *planned, struct mro_error *e)
{
    struct mro_device *d = s->run.places->device[place];
    struct mro_saed_options o;
    double drift;
    *planned = false;
    if (item->first && (place == CLI_CHOSEN || !s->have_stack)) MRO_TRY(open_stack(s, d, item, e));
    if (!s->have_stack) {
        if (s->stack_why)
            mro_note(&r->warnings, &r->n_warnings, "the frames were fitted one by one, as their mean cannot be: %s",
                     s->stack_why);
        return MRO_OK;
    }
    MRO_TRY(options_for(s, &item->pixels, item->name, &o, e));
    if (s->plan[place] == NULL) MRO_TRY(mro_saed_plan_new(&s->plan[place], d, &s->stack, &o, 1, e));
    if (item->first) take_notes(r, s->stack.warnings, s->stack.n_warnings);
    MRO_TRY(mro_saed_plan_measure(s->plan[place], item->pixels.px, item->name, &r->saed, &drift, e));
    *planned = !(drift > DRIFT_PX);
    if (!*planned) {
        mro_note(&r->warnings, &r->n_warnings,
                 "the pattern lies %.1f px from where the mean of the stack has it, so it was fitted by itself", drift);
        mro_saed_result_release(&r->saed);
    }
    return MRO_OK;
}
