/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Strain of a crystal: reference, mean, maps, and the two sides of a step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cholesky.h"
#include "core/notes.h"
#include "mroscope/math/elementary.h"
#include "ops/crystal/crystal_internal.h"

#define LEAST_SIDE_NM2 1.2  /* of a side, beyond the gap */
#define MOST_KINKS 32       /* places along a direction at which a step is looked for; 28 are asked for */
#define STEP_CHI2 30.0      /* chi2 that a step gains at least: the largest of many tries on noise stays below 20 */
#define D_MATCH 0.08        /* relative: a spacing this near to the reference is of the same planes */
#define ANGLE_MATCH 3.0     /* degrees: the pair's angle is taken for one between like planes */
#define REFERENCE_SHARE 0.6 /* of a given reference area that must show the fringes */
#define DEGREES (180 / MRO_PI)

/* -- a step ---------------------------------------------------------------------------------------- */

/* Weighted sum of squares that a model takes out of the phase: what is left of b after the elimination, squared. */
static double taken_out(double *a, double *b, size_t n)
{
    double sum = 0;
    if (!mro_cholesky_factor(a, n, n, 1e-9)) return 0;
    mro_cholesky_forward(a, n, n, b);
    for (size_t i = 0; i < n; i++) sum += b[i] * b[i];
    return sum;
}

struct phase_point {
    double y, x, phase, weight;
};

/* Sums over points: of their weights, times y, x, and the phase. */
struct point_sums {
    double w, y, x, yy, yx, xx, phase, y_phase, x_phase;
};

static struct point_sums sum_points(const struct phase_point *p, size_t n)
{
    struct point_sums s = { 0 };
    for (size_t i = 0; i < n; i++) {
        const double w = p[i].weight, y = p[i].y, x = p[i].x, phase = p[i].phase;
        s.w += w;
        s.y += w * y;
        s.x += w * x;
        s.yy += w * y * y;
        s.yx += w * y * x;
        s.xx += w * x * x;
        s.phase += w * phase;
        s.y_phase += w * y * phase;
        s.x_phase += w * x * phase;
    }
    return s;
}

/* What a plane takes out. */
static double plane_explains(const struct point_sums *s)
{
    double a[9] = { s->w, 0, 0, s->y, s->yy, 0, s->x, s->yx, s->xx }, b[3] = { s->phase, s->y_phase, s->x_phase };
    return taken_out(a, b, 3);
}

/* What a surface of second order takes out. */
static double surface_explains(const struct phase_point *p, size_t n)
{
    enum { TERMS = 6 };
    double a[TERMS * TERMS] = { 0 }, b[TERMS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        const double f[TERMS] = { 1, p[i].y, p[i].x, p[i].y * p[i].y, p[i].y * p[i].x, p[i].x * p[i].x };
        for (size_t j = 0; j < TERMS; j++) {
            for (size_t k = 0; k <= j; k++) a[j * TERMS + k] += p[i].weight * f[j] * f[k];
            b[j] += p[i].weight * f[j] * p[i].phase;
        }
    }
    return taken_out(a, b, TERMS);
}

/* What a plane with a kink along the line at `t` along the normal takes out, for n_t places t[0] < t[1] < ..., evenly
 * spaced. The kink's term, the distance u - t beyond the line, is 0 before it: sums over the points beyond each line
 * are all that it takes. */
static void kink_explains(const struct phase_point *p, size_t n, const struct point_sums *all, const double normal[2],
                          const double *t, size_t n_t, double *out)
{
    struct beyond {
        double w, u, uu, y, uy, x, ux, phase, u_phase;
    } sums[MOST_KINKS + 1] = { { 0 } }; /* [k]: of points with k lines before them */
    const double step = n_t > 1 ? t[1] - t[0] : 1;
    for (size_t i = 0; i < n; i++) {
        const double w = p[i].weight, y = p[i].y, x = p[i].x, phase = p[i].phase, u = y * normal[0] + x * normal[1];
        struct beyond *s = sums + (size_t)fmax(0, fmin((double)n_t, ceil((u - t[0]) / step)));
        s->w += w;
        s->u += w * u;
        s->uu += w * u * u;
        s->y += w * y;
        s->uy += w * u * y;
        s->x += w * x;
        s->ux += w * u * x;
        s->phase += w * phase;
        s->u_phase += w * u * phase;
    }
    struct beyond s = { 0 };
    for (size_t k = n_t; k-- > 0;) {
        const struct beyond *more = sums + k + 1;
        s.w += more->w;
        s.u += more->u;
        s.uu += more->uu;
        s.y += more->y;
        s.uy += more->uy;
        s.x += more->x;
        s.ux += more->ux;
        s.phase += more->phase;
        s.u_phase += more->u_phase;
        double a[16] = { all->w, 0, 0, 0, all->y, all->yy, 0, 0, all->x, all->yx, all->xx, 0 };
        double b[4] = { all->phase, all->y_phase, all->x_phase, s.u_phase - t[k] * s.phase };
        a[12] = s.u - t[k] * s.w;
        a[13] = s.uy - t[k] * s.y;
        a[14] = s.ux - t[k] * s.x;
        a[15] = s.uu - 2 * t[k] * s.u + t[k] * t[k] * s.w;
        out[k] = taken_out(a, b, 4);
    }
}

enum mro_code mro_fringe_find_step(const struct crystal_work *w, struct fringe_set *s, struct mro_error *e)
{
    const struct fringe_field *f = &s->f;
    const double *step = w->step;
    const size_t m = f->h * f->w;
    struct fringe_step *out = &s->step;
    if (out->searched) return MRO_OK;
    *out = (struct fringe_step){ .searched = true };
    if (mro_fringe_vortices(s, step, NULL, 0) > 0) return MRO_OK;
    struct phase_point *p = malloc(m * sizeof *p);
    if (p == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    const double oy = s->y_nm - (double)f->y0 * step[0], ox = s->x_nm - (double)f->x0 * step[1];
    const double dy = s->g[0] - f->carrier[0], dx = s->g[1] - f->carrier[1];
    double re = 0, im = 0;
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < m; i++) {
            const size_t row = i / f->w, column = i % f->w;
            if (!f->inside[i] || row % 2 || column % 2) continue; /* neighbours say the same */
            const double y = (double)row * step[0] - oy, x = (double)column * step[1] - ox;
            const double t = dy * y + dx * x, c = mro_cos_turns64(t), si = mro_cos_turns64(t - 0.25);
            const double r = f->v[i].re * c + f->v[i].im * si, j = f->v[i].im * c - f->v[i].re * si;
            if (pass == 0) {
                re += r;
                im += j;
            } else {
                p[n++] = (struct phase_point){ y, x, atan2(j * re - r * im, r * re + j * im), r * r + j * j };
            }
        }
    /* Weighted squares over this are chi2: white noise of that power a nm^-2 across the signal. */
    const double unit = 0.5 * s->noise * s->noise / (MRO_PI * s->mask * s->mask) / (4 * step[0] * step[1]);
    const struct point_sums all = sum_points(p, n);
    const double smooth = surface_explains(p, n), plane = plane_explains(&all);
    const double radius = 0.5 * s->diameter_nm, q = hypot(s->g[0], s->g[1]);
    double best = 0, at[MOST_KINKS], explained[MOST_KINKS];
    const double apart = fmax(0.2, 0.05 * radius);
    size_t places = 0;
    for (double t = -0.7 * radius; t <= 0.7 * radius && places < MOST_KINKS; t += apart) at[places++] = t;
    for (int k = -1; k < 12; k++) { /* along the fringe normal, and every 15 degrees */
        const double t = k * MRO_PI / 12;
        /* Azimuths in [0, 180) for both, so that "plus" means the same whatever the sign of g. */
        const double sign = s->g[0] < 0 || (s->g[0] == 0 && s->g[1] < 0) ? -1 : 1;
        const double normal[2] = { k < 0 ? sign * s->g[0] / q : sin(t), k < 0 ? sign * s->g[1] / q : cos(t) };
        kink_explains(p, n, &all, normal, at, places, explained);
        for (size_t i = 0; i < places; i++) {
            /* The fringe normal is what is expected: another direction must be clearly better. */
            const double v = explained[i] - (k < 0 ? 0 : 6 * unit);
            if (v <= best) continue;
            best = v;
            memcpy(out->normal, normal, sizeof normal);
            out->offset_nm = at[i];
        }
    }
    free(p);
    out->gain = (best - plane) / unit;
    out->size_nm = sqrt(fmax(0, best - plane) / all.w) / (2 * MRO_PI * q);
    out->found = out->gain > STEP_CHI2 && best > smooth;
    return MRO_OK;
}

/* -- reference ------------------------------------------------------------------------------------- */

/* Points of a set inside a rectangle (x0, y0, x1, y1 from sample (0, 0)); how many of its points that is, and how many
 * of them are in the region. */
static void rectangle(const struct fringe_set *s, const double step[2], const double r[4], unsigned char *mask,
                      size_t *in, size_t *all)
{
    const struct fringe_field *f = &s->f;
    *in = 0;
    *all = (size_t)fmax(1, (r[2] - r[0]) / step[1] * (r[3] - r[1]) / step[0]);
    for (size_t i = 0; i < f->h * f->w; i++) {
        const double y = (double)(f->y0 + i / f->w) * step[0], x = (double)(f->x0 + i % f->w) * step[1];
        mask[i] = x >= r[0] && x <= r[2] && y >= r[1] && y <= r[3];
        *in += mask[i] && f->inside[i] == 2;
    }
}

/* The calmest square inside the region: where the spacing changes least. `sums` holds 3 * (h + 1) * (w + 1) numbers:
 * sums over all points above and to the left. False: none fits. */
static bool calmest(const struct fringe_set *s, const double step[2], double side, double *sums, double r[4])
{
    const struct fringe_field *f = &s->f;
    const ptrdiff_t hy = (ptrdiff_t)fmax(1, lround(0.5 * side / step[0])),
                    hx = (ptrdiff_t)fmax(1, lround(0.5 * side / step[1]));
    const double q = hypot(s->g[0], s->g[1]), ny = s->g[0] / q, nx = s->g[1] / q;
    const double middle = (s->g[0] - f->carrier[0]) * ny + (s->g[1] - f->carrier[1]) * nx;
    const size_t pitch = f->w + 1;
    double least = INFINITY;
    memset(sums, 0, 3 * pitch * (f->h + 1) * sizeof *sums);
    for (size_t y = 0; y < f->h; y++)
        for (size_t x = 0; x < f->w; x++) {
            const size_t i = y * f->w + x;
            const bool good = f->inside[i] == 2;
            const double v = good ? f->slope[0][i] * ny + f->slope[1][i] * nx - middle : 0;
            const double add[3] = { good, v, v * v };
            double *at = sums + 3 * ((y + 1) * pitch + x + 1);
            for (size_t k = 0; k < 3; k++)
                at[k] = add[k] + at[(ptrdiff_t)k - 3] + *(at + k - 3 * pitch) - *(at + k - 3 * pitch - 3);
        }
    for (ptrdiff_t cy = hy; cy + hy < (ptrdiff_t)f->h; cy++)
        for (ptrdiff_t cx = hx; cx + hx < (ptrdiff_t)f->w; cx++) {
            double total[3];
            for (size_t k = 0; k < 3; k++) {
                const double *up = sums + 3 * (size_t)(cy - hy) * pitch + k,
                             *down = sums + 3 * (size_t)(cy + hy + 1) * pitch + k;
                total[k] = down[3 * (cx + hx + 1)] - down[3 * (cx - hx)] - up[3 * (cx + hx + 1)] + up[3 * (cx - hx)];
            }
            const double n = total[0], all = (double)((2 * hy + 1) * (2 * hx + 1));
            const double scatter = total[2] / n - total[1] * total[1] / (n * n);
            if (n < 0.98 * all || !(scatter < least)) continue;
            least = scatter;
            r[0] = (double)((ptrdiff_t)f->x0 + cx - hx) * step[1];
            r[1] = (double)((ptrdiff_t)f->y0 + cy - hy) * step[0];
            r[2] = (double)((ptrdiff_t)f->x0 + cx + hx) * step[1];
            r[3] = (double)((ptrdiff_t)f->y0 + cy + hy) * step[0];
        }
    return isfinite(least);
}

/* From --reference-d: lengths, and the angle between planes of the phase or of a cubic crystal. */
static bool reference_by_spacing(const struct crystal_work *w, const struct mro_crystal *c, struct fringe_set **sets,
                                 struct strain_reference *ref)
{
    static const double usual[] = { 60, 90, 120, 45, 135, 70.5288, 109.4712, 54.7356, 125.2644, 35.2644, 144.7356 };
    const double d = w->o->reference_d_nm;
    const int i = c->pair[0], j = c->pair[1];
    ref->oriented = false;
    ref->g[0][0] = 0;
    ref->g[0][1] = 1 / d;
    ref->g[1][0] = ref->g[1][1] = NAN;
    if (fabs(c->fringes[i].d_nm / d - 1) > D_MATCH) return false;
    if (j < 0) return true;
    const double *u = sets[i]->g, *v = sets[j]->g;
    const double seen = atan2(u[1] * v[0] - u[0] * v[1], u[0] * v[0] + u[1] * v[1]); /* from the first to the second */
    double d2 = NAN, angle = NAN;
    const int *a = c->fringes[i].hkl, *b = c->fringes[j].hkl;
    if (c->phase >= 0 && (a[0] || a[1] || a[2]) && (b[0] || b[1] || b[2])) {
        const struct mro_phase *p = &w->o->phases[c->phase];
        d2 = d * mro_phase_spacing(p, b) / mro_phase_spacing(p, a);
        angle = mro_phase_angle(p, a, b);
    } else if (fabs(c->fringes[j].d_nm / d - 1) < D_MATCH) {
        d2 = d;
        for (size_t k = 0; k < sizeof usual / sizeof *usual; k++)
            if (fabs(fabs(seen) * DEGREES - usual[k]) < ANGLE_MATCH && !isfinite(angle)) angle = usual[k];
    }
    if (!isfinite(d2) || !isfinite(angle)) return true;
    angle *= (seen < 0 ? -1 : 1) / DEGREES;
    ref->g[1][0] = sin(angle) / d2;
    ref->g[1][1] = cos(angle) / d2;
    return true;
}

/* -- strain ---------------------------------------------------------------------------------------- */

struct strain {
    double exx, eyy, exy, rotation; /* rotation in radians */
};

/* Stretch and rotation between two pairs of wave vectors (y, x): with rows of wave vectors G, the deformation is
 * F = inverse(G) G_ref, split into V R; strain is V - 1. */
static bool deform(const double g1[2], const double g2[2], const struct strain_reference *ref, struct strain *out)
{
    const double det = g1[1] * g2[0] - g1[0] * g2[1];
    if (!(fabs(det) > 0.05 * hypot(g1[0], g1[1]) * hypot(g2[0], g2[1]))) return false;
    /* inverse of [g1x g1y; g2x g2y] */
    const double a = g2[0] / det, b = -g1[0] / det, c = -g2[1] / det, d = g1[1] / det;
    const double(*r)[2] = ref->g;
    const double f00 = a * r[0][1] + b * r[1][1], f01 = a * r[0][0] + b * r[1][0], f10 = c * r[0][1] + d * r[1][1],
                 f11 = c * r[0][0] + d * r[1][0];
    const double t = atan2(f10 - f01, f00 + f11), co = cos(t), si = sin(t);
    out->exx = f00 * co - f01 * si - 1; /* V = F R^T */
    out->exy = 0.5 * (f00 * si + f01 * co + f10 * co - f11 * si);
    out->eyy = f10 * si + f11 * co - 1;
    out->rotation = t;
    return true;
}

/* Number of point (y, x) of the map in a set's window, or SIZE_MAX. */
static size_t in_window(const struct fringe_field *f, size_t y, size_t x)
{
    if (y < f->y0 || x < f->x0 || y >= f->y0 + f->h || x >= f->x0 + f->w) return SIZE_MAX;
    return (y - f->y0) * f->w + x - f->x0;
}

static void local_g(const struct fringe_field *f, size_t i, double g[2])
{
    g[0] = f->carrier[0] + f->slope[0][i];
    g[1] = f->carrier[1] + f->slope[1][i];
}

void mro_crystal_draw(struct crystal_work *w, size_t k, struct fringe_set **sets, const struct strain_reference *ref)
{
    struct mro_crystal_result *r = w->r;
    const int *pair = r->crystals[k].pair;
    const struct fringe_set *one = sets[pair[0]], *two = ref->known[1] ? sets[pair[1]] : NULL;
    const struct fringe_field *f = &one->f;
    const double q = hypot(ref->g[0][0], ref->g[0][1]);
    for (size_t i = 0; i < f->h * f->w; i++) {
        const size_t y = f->y0 + i / f->w, x = f->x0 + i % f->w, at = y * w->map.nx + x;
        if (f->inside[i] != 2 || r->owner.px[at] >= 0) continue;
        double g1[2], g2[2];
        r->owner.px[at] = (float)k;
        if (!ref->known[0]) continue;
        local_g(f, i, g1);
        r->enn.px[at] = (float)(q / hypot(g1[0], g1[1]) - 1);
        if (two == NULL) continue;
        const size_t j = in_window(&two->f, y, x);
        struct strain e;
        if (j == SIZE_MAX || two->f.inside[j] != 2) continue;
        local_g(&two->f, j, g2);
        if (!deform(g1, g2, ref, &e)) continue;
        r->exx.px[at] = (float)e.exx;
        r->eyy.px[at] = (float)e.eyy;
        r->exy.px[at] = (float)e.exy;
        r->rotation.px[at] = (float)(remainder(e.rotation - ref->turned, 2 * MRO_PI) * DEGREES);
    }
}

/* -- sides ----------------------------------------------------------------------------------------- */

/* `reference_q`: of the reference, NaN: none is known; `inside`: it is a part of the crystal. */
static enum mro_code add_sides(struct crystal_work *w, size_t k, const struct fringe_set *s, double reference_q,
                               bool inside, struct mro_error *e)
{
    const struct fringe_step *step = &s->step;
    struct mro_crystal_result *r = w->r;
    const struct fringe_field *f = &s->f;
    const size_t m = f->h * f->w;
    const double cell = w->step[0] * w->step[1];
    unsigned char *mask = malloc(m);
    struct mro_crystal_side *grown = realloc(r->sides, (r->n_sides + 2) * sizeof *grown);
    if (grown) r->sides = grown;
    if (mask == NULL || grown == NULL) {
        free(mask);
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    }
    struct mro_crystal_side both[2];
    double scatter[2];
    bool good = true;
    enum mro_code rc = MRO_OK;
    for (int side = 0; side < 2; side++) {
        const double sign = side ? 1 : -1;
        size_t n = 0;
        for (size_t i = 0; i < m; i++) {
            const double y = (double)(f->y0 + i / f->w) * w->step[0] - s->y_nm,
                         x = (double)(f->x0 + i % f->w) * w->step[1] - s->x_nm;
            const double beyond = sign * (y * step->normal[0] + x * step->normal[1] - step->offset_nm);
            mask[i] = beyond > SIDE_GAP_NM;
            n += mask[i] && f->inside[i];
        }
        double g[2], cov[3], chi2, azimuth = atan2(step->normal[0], step->normal[1]) * DEGREES;
        good = (double)n * cell >= LEAST_SIDE_NM2;
        if (good) rc = mro_fringe_fit(w, s, mask, g, cov, NULL, &good, e);
        if (rc || !good) break;
        struct fringe_set own; /* the mask on the fringes of this side */
        if ((rc = mro_fringe_centred(w, s, g, &own, e))) break;
        rc = mro_fringe_fit(w, &own, mask, g, cov, &chi2, &good, e);
        mro_fringe_release(&own);
        if (rc || !good) break;
        const double q = hypot(g[0], g[1]), fringe = fmod(atan2(g[0], g[1]) * DEGREES + 360, 180);
        const double tilt = CRYSTAL_TILT_DOUBT * s->tilt / q; /* both sides share it */
        scatter[side] = mro_spacing_scatter(g, cov, chi2);
        both[side] = (struct mro_crystal_side){ .crystal = k,
                                                .plus = side,
                                                .normal_azimuth_deg = fmod(azimuth + 360, 360),
                                                .azimuth_deg = fringe,
                                                .strain = reference_q / q - 1,
                                                .d_nm = 1 / q,
                                                .d_se_nm = hypot(scatter[side], tilt) / q,
                                                .strain_se = inside ? scatter[side] : hypot(scatter[side], tilt),
                                                .area_nm2 = (double)n * cell };
        both[side].border_nm[0] = s->x_nm + step->offset_nm * step->normal[1] + 0.5 * w->pixel_nm[1];
        both[side].border_nm[1] = s->y_nm + step->offset_nm * step->normal[0] + 0.5 * w->pixel_nm[0];
    }
    free(mask);
    /* Sides that do not differ beyond their errors are no step. */
    if (rc == MRO_OK && good && fabs(both[0].strain - both[1].strain) > 3 * hypot(scatter[0], scatter[1])) {
        r->sides[r->n_sides++] = both[0];
        r->sides[r->n_sides++] = both[1];
    }
    return rc;
}

/* -- dislocations ---------------------------------------------------------------------------------- */

/* A dislocation shows in one set or in both: vortices of the two that lie within a loop of each other are one. */
static void count_dislocations(const struct crystal_work *w, struct mro_crystal *c, const struct fringe_set *one,
                               const struct fringe_set *two)
{
    double at[2 * MRO_DISLOCATIONS][2];
    size_t n = mro_fringe_vortices(one, w->step, at, MRO_DISLOCATIONS), more = 0;
    size_t kept = n < MRO_DISLOCATIONS ? n : MRO_DISLOCATIONS;
    if (two) more = mro_fringe_vortices(two, w->step, at + kept, MRO_DISLOCATIONS);
    const size_t first = kept;
    for (size_t i = first; i < first + more && i < first + MRO_DISLOCATIONS; i++) {
        bool known = false;
        for (size_t k = 0; k < first; k++)
            known |= hypot(at[i][0] - at[k][0], at[i][1] - at[k][1]) < mro_fringe_loop(one);
        if (known) continue;
        memcpy(at[kept++], at[i], sizeof at[i]);
    }
    /* Where there are more than are kept, the larger number of the two sets. */
    c->vortices = (int)(kept > n && kept > more ? kept : n > more ? n : more);
    c->n_dislocations = kept < MRO_DISLOCATIONS ? kept : MRO_DISLOCATIONS;
    for (size_t i = 0; i < c->n_dislocations; i++) {
        struct mro_dislocation *d = &c->dislocations[i];
        d->y_nm = at[i][0] + 0.5 * w->pixel_nm[0];
        d->x_nm = at[i][1] + 0.5 * w->pixel_nm[1];
        d->burgers_nm[0] = d->burgers_nm[1] = d->turns[1] = NAN;
        const struct fringe_set *const pair[2] = { one, two };
        for (int k = 0; k < 2 && pair[k]; k++) {
            const double *g = c->fringes[c->pair[k]].g_inv_nm, *own = pair[k]->g;
            const double sign = g[0] * own[0] + g[1] * own[1] < 0 ? -1 : 1; /* that of the list */
            d->turns[k] = sign * mro_fringe_turns(pair[k], w->step, at[i][0], at[i][1]);
        }
        if (two == NULL) continue;
        /* The phase is 2 pi g (r - u): g b = -turns for both. */
        const double *u = c->fringes[c->pair[0]].g_inv_nm, *v = c->fringes[c->pair[1]].g_inv_nm;
        const double det = u[1] * v[0] - u[0] * v[1];
        d->burgers_nm[0] = -(d->turns[0] * v[0] - d->turns[1] * u[0]) / det;
        d->burgers_nm[1] = -(d->turns[1] * u[1] - d->turns[0] * v[1]) / det;
    }
}

/* Error of the strain of set k of the pair. A reference inside the crystal has the error of its tilt as well. */
static double error_of(const struct mro_fringes *f, const struct fringe_set *s, const struct strain_reference *ref,
                       int k)
{
    return ref->oriented ? hypot(mro_spacing_scatter(s->g, s->cov, s->chi2), ref->se[k]) : f->d_se_nm / f->d_nm;
}

/* -- one crystal ----------------------------------------------------------------------------------- */

/* The reference from a region of the crystal: the one that is given, or the calmest. *known: it could be measured. */
static enum mro_code reference_by_region(struct crystal_work *w, struct mro_crystal *c, const struct fringe_set *one,
                                         const struct fringe_set *two, struct strain_reference *ref, bool *known,
                                         struct mro_error *e)
{
    const struct mro_crystal_options *o = w->o;
    const double corner[2] = { 0.5 * w->pixel_nm[0], 0.5 * w->pixel_nm[1] };
    enum mro_code rc = MRO_OK;
    unsigned char *mask = NULL;
    *known = false;
    double box[4] = { 0 };
    const bool given = o->reference_nm[2] > o->reference_nm[0];
    bool fits = false;
    if (given) {
        fits = true;
        for (int i = 0; i < 4; i++) box[i] = o->reference_nm[i] - corner[i % 2 == 0];
    } else {
        double *sums = malloc(3 * (one->f.h + 1) * (one->f.w + 1) * sizeof *sums);
        if (sums == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
        for (double share = 0.35; !fits && share > 0.1; share *= 0.75)
            fits = calmest(one, w->step, fmax(0.5, share * one->diameter_nm), sums, box);
        free(sums);
    }
    const struct fringe_set *const pair[2] = { one, two };
    for (int i = 0; i < 2 && fits && pair[i]; i++) {
        const struct fringe_field *f = &pair[i]->f;
        size_t in, all;
        double cov[3], chi2;
        unsigned char *grown = realloc(mask, f->h * f->w);
        if (grown == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
            goto done;
        }
        mask = grown;
        rectangle(pair[i], w->step, box, mask, &in, &all);
        bool good = (double)in >= REFERENCE_SHARE * (double)all;
        if (good && (rc = mro_fringe_fit(w, pair[i], mask, ref->g[i], cov, &chi2, &good, e))) goto done;
        if (i == 0) *known = good;
        if (!good) {
            ref->g[i][0] = ref->g[i][1] = NAN;
            break;
        }
        ref->se[i] = mro_spacing_scatter(ref->g[i], cov, chi2);
    }
    if (*known)
        for (int i = 0; i < 4; i++) c->reference_nm[i] = box[i] + corner[i % 2 == 0];
done:
    free(mask);
    return rc;
}

enum mro_code mro_crystal_strain(struct crystal_work *w, size_t k, struct fringe_set **sets,
                                 struct strain_reference *ref, struct mro_error *e)
{
    struct mro_crystal_result *r = w->r;
    struct mro_crystal *c = &r->crystals[k];
    const struct mro_crystal_options *o = w->o;
    struct fringe_set *one = sets[c->pair[0]], *two = c->pair[1] >= 0 ? sets[c->pair[1]] : NULL;
    bool known = false;
    for (int i = 0; i < 4; i++) c->reference_nm[i] = NAN;
    *ref = (struct strain_reference){ .g = { { NAN, NAN }, { NAN, NAN } }, .oriented = true };
    if (isfinite(o->reference_d_nm)) {
        known = reference_by_spacing(w, c, sets, ref);
        if (!known)
            mro_warn(r,
                     "crystal %zu: its spacing of %.4f nm is not that of `reference_d` %g nm; its strain was not "
                     "measured",
                     k + 1, c->fringes[0].d_nm, o->reference_d_nm);
    } else {
        MRO_TRY(reference_by_region(w, c, one, two, ref, &known, e));
    }
    const bool both = known && two && isfinite(ref->g[1][0]);
    ref->known[0] = known;
    ref->known[1] = both;
    if (known) {
        const double q = hypot(ref->g[0][0], ref->g[0][1]);
        c->enn = q * c->fringes[c->pair[0]].d_nm - 1;
        c->e_se = error_of(&c->fringes[c->pair[0]], one, ref, 0);
        for (size_t i = 0; i < c->n_fringes; i++) {
            const double d = isfinite(o->reference_d_nm) ? o->reference_d_nm : i == (size_t)c->pair[0] ? 1 / q : NAN;
            if (fabs(c->fringes[i].d_nm / d - 1) < D_MATCH) c->fringes[i].strain = c->fringes[i].d_nm / d - 1;
        }
        if (both && c->pair[1] >= 0 && !isfinite(c->fringes[c->pair[1]].strain))
            c->fringes[c->pair[1]].strain = hypot(ref->g[1][0], ref->g[1][1]) * c->fringes[c->pair[1]].d_nm - 1;
        struct strain mean;
        if (both && deform(one->g, two->g, ref, &mean)) {
            c->exx = mean.exx;
            c->eyy = mean.eyy;
            c->exy = mean.exy;
            ref->turned = ref->oriented ? 0 : mean.rotation;
            c->rotation_deg = ref->oriented ? remainder(mean.rotation, 2 * MRO_PI) * DEGREES : NAN;
            c->e_se = hypot(c->e_se, error_of(&c->fringes[c->pair[1]], two, ref, 1)) / sqrt(2);
        }
    }
    count_dislocations(w, c, one, two);
    MRO_TRY(mro_fringe_vortices_null(w, one, &c->vortices_null, e));
    if (two) {
        double more;
        MRO_TRY(mro_fringe_vortices_null(w, two, &more, e));
        c->vortices_null += more;
    }
    if (c->vortices > 0 && c->vortices_null > 0.05 * c->vortices)
        mro_warn(r, "crystal %zu: %d phase vortices, and noise alone gives %.2f: they prove no dislocation", k + 1,
                 c->vortices, c->vortices_null);

    const struct fringe_set *of = NULL;
    for (size_t i = 0; i < c->n_fringes; i++) {
        if ((int)i != c->pair[0] && (int)i != c->pair[1]) continue;
        MRO_TRY(mro_fringe_find_step(w, sets[i], e));
        if (sets[i]->step.found && (of == NULL || sets[i]->step.size_nm > of->step.size_nm)) of = sets[i];
    }
    if (of == NULL) return MRO_OK;
    double q = NAN;
    if (known && of == one) q = hypot(ref->g[0][0], ref->g[0][1]);
    if (both && of == two) q = hypot(ref->g[1][0], ref->g[1][1]);
    return add_sides(w, k, of, q, ref->oriented, e);
}
