/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is said of crystals: warnings and the verdict. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/decimals.h"
#include "core/notes.h"
#include "ops/crystal/crystal_internal.h"

#define CLEAR_RIM 4.8 /* amplitude over the noise below which the rim of a crystal is lost in it */

void mro_crystal_verdict(const struct mro_crystal_options *o, struct mro_crystal_result *r)
{
    const size_t n = r->n_crystals;
    if (n == 0 && o->n_g) {
        snprintf(r->verdict, sizeof r->verdict, "no crystal: the given fringes do not stand out of the speckle");
        return;
    }
    if (n == 0) {
        snprintf(r->verdict, sizeof r->verdict,
                 "no crystal: no fringes stand out of the speckle between %.3g and %.3g nm", 1 / r->band_inv_nm[1],
                 1 / r->band_inv_nm[0]);
        return;
    }
    const struct mro_crystal *c = &r->crystals[0];
    int vortices = 0;
    for (size_t i = 0; i < n; i++) vortices += r->crystals[i].vortices > 0 ? r->crystals[i].vortices : 0;
    char spacing[48];
    mro_write_with_error(spacing, sizeof spacing, c->fringes[0].d_nm, c->fringes[0].d_se_nm, 4, " +- ");
    snprintf(r->verdict, sizeof r->verdict, "%zu crystal%s, the largest %.1f nm with d = %s nm", n, n == 1 ? "" : "s",
             c->diameter_nm, spacing);
    if (r->n_sides && isfinite(r->sides[0].strain))
        mro_text_add(r->verdict, sizeof r->verdict, "; a step of strain along the fringe normal from %.2f to %.2f %%",
                     100 * r->sides[0].strain, 100 * r->sides[1].strain);
    if (vortices)
        mro_text_add(r->verdict, sizeof r->verdict, "; %d phase vort%s", vortices, vortices == 1 ? "ex" : "ices");
}

/* Numbers of crystals for a sentence: "1, 2, 5". Long lists end with "...". */
struct numbers {
    char text[96];
    size_t n;
};

static void add_number(struct numbers *l, size_t k)
{
    const size_t used = strlen(l->text);
    if (used + 8 < sizeof l->text - 8)
        snprintf(l->text + used, sizeof l->text - used, "%s%zu", l->n ? ", " : "", k + 1);
    else if (strcmp(l->text + used - 3, "...") != 0)
        snprintf(l->text + used, sizeof l->text - used, ", ...");
    l->n++;
}

void mro_crystal_warn_all(const struct crystal_work *w)
{
    struct mro_crystal_result *r = w->r;
    const struct mro_crystal_options *o = w->o;
    struct numbers cut = { 0 }, single = { 0 }, faint = { 0 }, collinear = { 0 }, unreferred = { 0 };
    const bool searched = !isfinite(o->reference_d_nm) && !(o->reference_nm[2] > o->reference_nm[0]);
    double over_noise[2] = { INFINITY, -INFINITY };
    for (size_t k = 0; k < r->n_crystals; k++) {
        const struct mro_crystal *c = &r->crystals[k];
        const double clear = c->fringes[0].amplitude_over_noise;
        if (c->at_border) add_number(&cut, k);
        if (searched && !isfinite(c->reference_nm[0])) add_number(&unreferred, k);
        if (clear < CLEAR_RIM) {
            add_number(&faint, k);
            over_noise[0] = fmin(over_noise[0], clear);
            over_noise[1] = fmax(over_noise[1], clear);
        }
        if (c->pair[1] >= 0) {
            const double known[2][2] = { { c->fringes[c->pair[0]].g_inv_nm[0], c->fringes[c->pair[0]].g_inv_nm[1] },
                                         { c->fringes[c->pair[1]].g_inv_nm[0], c->fringes[c->pair[1]].g_inv_nm[1] } };
            size_t others = 0;
            for (size_t i = 0; i < c->n_fringes; i++)
                others += !mro_crystal_on_lattice(known, 2, c->fringes[i].g_inv_nm);
            if (others)
                mro_warn(r,
                         "crystal %zu: %zu of its %zu sets of fringes do not fit the lattice of the others: two "
                         "crystals may lie over each other",
                         k + 1, others, c->n_fringes);
            continue;
        }
        add_number(c->n_fringes == 1 ? &single : &collinear, k);
    }
    if (unreferred.n)
        mro_warn(r, "crystal%s %s: too small or too weak for a reference area: no strain was measured",
                 unreferred.n > 1 ? "s" : "", unreferred.text);
    if (faint.n == 1)
        mro_warn(r,
                 "crystal %s: its fringes are %.1f times as high as the noise only, and its rim is lost in "
                 "that: its size is of the part that stands out",
                 faint.text, over_noise[0]);
    if (faint.n > 1)
        mro_warn(r,
                 "crystals %s: their fringes are %.1f to %.1f times as high as the noise only, and their rims "
                 "are lost in that: sizes are of the parts that stand out",
                 faint.text, over_noise[0], over_noise[1]);
    if (collinear.n)
        mro_warn(r,
                 "crystal%s %s: the sets of fringes are collinear: strain is along their normal only, exx, "
                 "eyy, exy and rotation are unknown",
                 collinear.n > 1 ? "s" : "", collinear.text);
    if (cut.n)
        mro_warn(r, "crystal%s %s: cut by the border of the image: position and size are of the part that is seen",
                 cut.n > 1 ? "s" : "", cut.text);
    if (single.n)
        mro_warn(r,
                 "crystal%s %s: a single set of fringes is shown: strain is along its normal only, exx, eyy, exy "
                 "and rotation are unknown",
                 single.n > 1 ? "s" : "", single.text);
    if (o->reference_nm[2] > o->reference_nm[0]) {
        size_t holds = 0;
        for (size_t k = 0; k < r->n_crystals; k++) holds += isfinite(r->crystals[k].reference_nm[0]);
        if (holds == 0)
            mro_warn(r, "the reference area %g,%g,%g,%g nm lies outside every crystal: no strain was measured",
                     o->reference_nm[0], o->reference_nm[1], o->reference_nm[2], o->reference_nm[3]);
        else if (holds < r->n_crystals)
            mro_warn(r, "the reference area lies in %zu of %zu crystals: the strain of the others was not measured",
                     holds, r->n_crystals);
    }
}
