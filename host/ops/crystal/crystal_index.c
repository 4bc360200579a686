/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which planes of which phase the fringes of a crystal are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/crystal/crystal_internal.h"

#define MOST_INDEX 4
#define LEAST_A_NM 0.1 /* lattice parameters of these structures */
#define MOST_A_NM 2.0
#define SPACING_TOLERANCE 0.03 /* magnification, camera distortion and strain, beside the error of the fit */
#define ANGLE_TOLERANCE 3.0    /* degrees */

static const char *const structures[] = { "bcc", "fcc", "hcp", "sc", "diamond" };

const char *mro_structure_name(enum mro_structure s) { return structures[s]; }

enum mro_code mro_phase_parse(const char *text, struct mro_phase *p, struct mro_error *e)
{
    memset(p, 0, sizeof *p);
    const char *colon = strchr(text, ':');
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof p->name)
        return MRO_FAIL(e, MRO_EARG,
                        "a phase is NAME:A:STRUCTURE such as gamma-Fe:0.3591:fcc with a name of at most %zu "
                        "letters, not '%s'",
                        sizeof p->name - 1, text);
    memcpy(p->name, text, (size_t)(colon - text));
    char *end;
    p->a_nm = strtod(colon + 1, &end);
    if (end != colon + 1 && *end == '\0')
        return MRO_FAIL(e, MRO_EARG, "phase '%s' lacks its structure: write %s:fcc, or bcc, hcp, sc or diamond", text,
                        text);
    if (end == colon + 1 || *end != ':' || !(p->a_nm >= LEAST_A_NM && p->a_nm <= MOST_A_NM)) {
        char angstrom[64] = "";
        if (*end == ':' && p->a_nm / 10 >= LEAST_A_NM && p->a_nm / 10 <= MOST_A_NM)
            snprintf(angstrom, sizeof angstrom, ": %g A are %g nm", p->a_nm, p->a_nm / 10);
        return MRO_FAIL(e, MRO_EARG,
                        "the lattice parameter of phase '%s' is a length in nm between %g and %g, not '%s'%s", p->name,
                        LEAST_A_NM, MOST_A_NM, colon + 1, angstrom);
    }
    const char *word = end + 1;
    const size_t length = strcspn(word, ":");
    for (size_t i = 0; i < sizeof structures / sizeof *structures; i++) {
        if (strlen(structures[i]) != length || strncmp(word, structures[i], length) != 0) continue;
        p->structure = (enum mro_structure)i;
        p->c_nm = p->a_nm;
        if (p->structure == MRO_HCP) p->c_nm = sqrt(8.0 / 3.0) * p->a_nm;
        if (word[length] == '\0') return MRO_OK;
        if (p->structure == MRO_HCP) {
            p->c_nm = strtod(word + length + 1, &end);
            if (end != word + length + 1 && *end == '\0' && p->c_nm >= LEAST_A_NM && p->c_nm <= MOST_A_NM)
                return MRO_OK;
        }
        return MRO_FAIL(e, MRO_EARG, "the structure of phase '%s' is followed by '%s', which is no lattice parameter c",
                        p->name, word + length);
    }
    return MRO_FAIL(e, MRO_EARG, "the structure of phase '%s' is bcc, fcc, hcp, sc or diamond, not '%s'", p->name,
                    word);
}

enum mro_code mro_fringes_parse(const char *text, double g_inv_nm[2], struct mro_error *e)
{
    char *end;
    const double first = strtod(text, &end);
    const char between = *end;
    if (end != text && (between == ',' || between == '@')) {
        const char *rest = end + 1;
        const double second = strtod(rest, &end);
        const double q = between == '@' ? 1 / first : hypot(first, second);
        if (end != rest && *end == '\0' && isfinite(second) && q >= 0.1 && q <= 100) {
            g_inv_nm[0] = between == '@' ? q * sin(second * MRO_PI / 180) : second;
            g_inv_nm[1] = between == '@' ? q * cos(second * MRO_PI / 180) : first;
            return MRO_OK;
        }
    }
    return MRO_FAIL(e, MRO_EARG,
                    "a set of fringes is GX,GY in 1/nm such as 4.3,2.3 or SPACING@AZIMUTH in nm and degrees such as "
                    "0.2027@30, not '%s'",
                    text);
}

static bool allowed(const struct mro_phase *p, const int h[3])
{
    const int odd = (h[0] & 1) + (h[1] & 1) + (h[2] & 1), sum = h[0] + h[1] + h[2];
    if (h[0] == 0 && h[1] == 0 && h[2] == 0) return false;
    switch (p->structure) {
    case MRO_BCC: return sum % 2 == 0;
    case MRO_FCC: return odd == 0 || odd == 3;
    case MRO_DIAMOND: return odd == 3 || (odd == 0 && sum % 4 == 0);
    case MRO_HCP: return !(h[2] % 2 != 0 && (h[0] + 2 * h[1]) % 3 == 0);
    case MRO_SC: return true;
    }
    return false;
}

/* Reciprocal vector of hkl along orthogonal axes, nm^-1. */
static void reciprocal(const struct mro_phase *p, const int h[3], double g[3])
{
    if (p->structure == MRO_HCP) {
        g[0] = (double)h[0] / p->a_nm;
        g[1] = (h[0] + 2.0 * h[1]) / (sqrt(3.0) * p->a_nm);
        g[2] = (double)h[2] / p->c_nm;
        return;
    }
    for (int i = 0; i < 3; i++) g[i] = h[i] / p->a_nm;
}

static double dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

double mro_phase_spacing(const struct mro_phase *p, const int hkl[3])
{
    double g[3];
    reciprocal(p, hkl, g);
    return 1 / sqrt(dot(g, g));
}

double mro_phase_angle(const struct mro_phase *p, const int a[3], const int b[3])
{
    double u[3], v[3];
    reciprocal(p, a, u);
    reciprocal(p, b, v);
    return acos(fmax(-1, fmin(1, dot(u, v) / sqrt(dot(u, u) * dot(v, v))))) * 180 / MRO_PI;
}

/* One way to index a crystal. */
struct indexing {
    int hkl[MRO_CRYSTAL_FRINGES][3];
    double residual[MRO_CRYSTAL_FRINGES];
    size_t n;           /* sets with indices */
    double spacing_rms; /* of the residuals */
    double angle;       /* residual of the pair, degrees; NaN */
    double cost;
};

static double spacing_cost(const struct mro_fringes *f, double residual)
{
    const double se = hypot(f->d_se_nm / f->d_nm, SPACING_TOLERANCE / 2);
    return residual * residual / (se * se);
}

static bool fits(const struct mro_phase *p, const struct mro_fringes *f, const int h[3], double *residual)
{
    *residual = f->d_nm / mro_phase_spacing(p, h) - 1;
    return fabs(*residual) < SPACING_TOLERANCE + 3 * f->d_se_nm / f->d_nm;
}

/* Whole-number combination of a and b that set k is, or none. */
static bool combine(const struct mro_phase *p, const struct mro_crystal *c, int i, int j, size_t k, const int a[3],
                    const int b[3], int out[3], double *residual)
{
    const double *u = c->fringes[i].g_inv_nm, *v = c->fringes[j].g_inv_nm, *g = c->fringes[k].g_inv_nm;
    const double det = u[0] * v[1] - u[1] * v[0];
    const double s = (g[0] * v[1] - g[1] * v[0]) / det, t = (u[0] * g[1] - u[1] * g[0]) / det;
    for (int n = 0; n < 3; n++) {
        const double x = s * a[n] + t * b[n];
        out[n] = (int)lround(x);
        if (fabs(x - out[n]) > 0.12) return false;
    }
    return allowed(p, out) && fits(p, &c->fringes[k], out, residual);
}

static void finish(struct indexing *t, const struct mro_crystal *c, double angle)
{
    double sum = 0;
    t->n = 0;
    t->cost = 0;
    for (size_t k = 0; k < c->n_fringes; k++) {
        if (t->hkl[k][0] == 0 && t->hkl[k][1] == 0 && t->hkl[k][2] == 0) {
            t->cost += 9; /* a set left out is as bad as one three standard deviations off */
            continue;
        }
        t->n++;
        sum += t->residual[k] * t->residual[k];
        t->cost += spacing_cost(&c->fringes[k], t->residual[k]);
        const int *h = t->hkl[k];
        t->cost += 0.02 * (h[0] * h[0] + h[1] * h[1] + h[2] * h[2]); /* of equals, the lower indices */
    }
    t->spacing_rms = sqrt(sum / (double)t->n);
    t->angle = angle;
    if (isfinite(angle)) t->cost += angle * angle / (0.5 * ANGLE_TOLERANCE * 0.5 * ANGLE_TOLERANCE);
}

static void consider(struct indexing *best, const struct indexing *t, int *phase, int this)
{
    if (*phase >= 0 && t->cost >= best->cost) return;
    *best = *t;
    *phase = this;
}

#define EACH_INDEX(h)                                            \
    for (int h##0 = MOST_INDEX; h##0 >= -MOST_INDEX; --h##0)     \
        for (int h##1 = MOST_INDEX; h##1 >= -MOST_INDEX; --h##1) \
            for (int h##2 = MOST_INDEX; h##2 >= -MOST_INDEX; --h##2)

/* One member of each family is enough for the first set: indices that do not fall. */
static bool representative(const struct mro_phase *p, const int h[3])
{
    if (p->structure == MRO_HCP) return h[0] >= h[1] && h[1] >= 0 && h[2] >= 0;
    return h[0] >= h[1] && h[1] >= h[2] && h[2] >= 0;
}

static void try_phase(const struct mro_phase *p, int number, const struct mro_crystal *c, struct indexing *best,
                      int *phase)
{
    const int i = c->pair[0], j = c->pair[1];
    const struct mro_fringes *f = &c->fringes[i];
    EACH_INDEX(a)
    {
        const int a[3] = { a0, a1, a2 };
        double residual;
        if (!representative(p, a) || !allowed(p, a) || !fits(p, f, a, &residual)) continue;
        if (j < 0) {
            struct indexing t = { 0 };
            memcpy(t.hkl[i], a, sizeof a);
            t.residual[i] = residual;
            for (size_t k = 0; k < c->n_fringes; k++) { /* collinear sets are orders of the first */
                const double m = f->d_nm / c->fringes[k].d_nm;
                if ((int)k == i || fabs(m - lround(m)) > 0.05) continue;
                for (int n = 0; n < 3; n++) t.hkl[k][n] = a[n] * (int)lround(m);
                if (!fits(p, &c->fringes[k], t.hkl[k], &t.residual[k])) memset(t.hkl[k], 0, sizeof t.hkl[k]);
            }
            finish(&t, c, NAN);
            consider(best, &t, phase, number);
            continue;
        }
        const double *u = f->g_inv_nm, *v = c->fringes[j].g_inv_nm;
        const double seen = acos((u[0] * v[0] + u[1] * v[1]) / (hypot(u[0], u[1]) * hypot(v[0], v[1]))) * 180 / MRO_PI;
        EACH_INDEX(b)
        {
            const int b[3] = { b0, b1, b2 };
            struct indexing t = { 0 };
            if (!allowed(p, b) || !fits(p, &c->fringes[j], b, &t.residual[j])) continue;
            const double angle = seen - mro_phase_angle(p, a, b);
            if (fabs(angle) > ANGLE_TOLERANCE) continue;
            t.residual[i] = residual;
            memcpy(t.hkl[i], a, sizeof a);
            memcpy(t.hkl[j], b, sizeof b);
            for (size_t k = 0; k < c->n_fringes; k++)
                if ((int)k != i && (int)k != j && !combine(p, c, i, j, k, a, b, t.hkl[k], &t.residual[k]))
                    memset(t.hkl[k], 0, sizeof t.hkl[k]);
            finish(&t, c, angle);
            consider(best, &t, phase, number);
        }
    }
}

void mro_crystal_index(const struct mro_crystal_options *o, struct mro_crystal *c)
{
    struct indexing best = { 0 };
    c->phase = -1;
    c->phase_residual = c->angle_residual_deg = NAN;
    memset(c->zone, 0, sizeof c->zone);
    for (size_t k = 0; k < c->n_fringes; k++) {
        memset(c->fringes[k].hkl, 0, sizeof c->fringes[k].hkl);
        c->fringes[k].residual = NAN;
    }
    for (size_t i = 0; i < o->n_phases; i++) try_phase(&o->phases[i], (int)i, c, &best, &c->phase);
    if (c->phase < 0) return;
    c->phase_residual = best.spacing_rms;
    c->angle_residual_deg = best.angle;
    for (size_t k = 0; k < c->n_fringes; k++) {
        memcpy(c->fringes[k].hkl, best.hkl[k], sizeof best.hkl[k]);
        const int *h = best.hkl[k];
        if (h[0] || h[1] || h[2]) c->fringes[k].residual = best.residual[k];
    }
    if (c->pair[1] < 0) return;
    const int *a = best.hkl[c->pair[0]], *b = best.hkl[c->pair[1]];
    int zone[3] = { a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0] };
    int divisor = 0;
    for (int n = 0; n < 3; n++)
        for (int x = abs(zone[n]), y = divisor;;) { /* greatest common divisor so far */
            if (y == 0) {
                divisor = x;
                break;
            }
            const int rest = x % y;
            x = y;
            y = rest;
        }
    /* A zone axis and its opposite are the same; the first index that is not 0 is given as positive. */
    const int sign = zone[0] ? zone[0] : zone[1] ? zone[1] : zone[2];
    for (int n = 0; n < 3; n++) c->zone[n] = divisor ? zone[n] / divisor * (sign < 0 ? -1 : 1) : 0;
}
