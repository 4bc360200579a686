/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of a crystal measurement. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimals.h"
#include "report/axes.h"
#include "report/figure.h"
#include "report/plot.h"

#define SKY 0x56b4e9
#define GOLD 0xf0a000
#define MAPS 4
#define BAR_ROOM 12.5  /* for a colour bar with its numbers and label */
#define MOST_LABELS 40 /* crystals with numbers beside them */
#define MOST_SPOTS 3   /* crystals whose spots are marked */

static const unsigned colours[MOST_SPOTS] = { GOLD, SKY, 0xcc79a7 };

struct lattice_page {
    const struct mro_crystal_result *r;
    const struct mro_crystal_options *o;
    double pixel_nm[2], field_nm[2];
    struct mro_raster raw, power, filtered, map[MAPS];
    bool pair;               /* the maps are exx, eyy, exy, rotation; else the first is strain along the normal */
    double range[MAPS];      /* of the maps: -range to range, percent or degrees */
    double part_nm[4];       /* x0, y0, width, height of the maps */
    double panel, map_panel; /* side lengths */
    size_t images;           /* side by side */
    char *caption;
};

struct owned {
    const struct mro_image *owner;
    float k;
};

static bool is_owned(const void *map, size_t j, size_t i)
{
    const struct owned *o = map;
    return o->owner->px[j * o->owner->nx + i] == o->k;
}

/* Labels of a panel, which keep clear of each other. */
struct labels {
    struct mro_box box[MOST_LABELS];
    size_t n;
};

/* Writes a label of at most 48 bytes on a backing that reads on any image, where its box is at (x[i], y[i]) within
 * `inside`: the first of `places` that is free, or nowhere. */
static void label_at(struct mro_canvas *c, struct labels *l, struct mro_box inside, const double *x, const double *y,
                     size_t places, unsigned colour, const char *text)
{
    struct mro_box b = { .w = mro_canvas_text_width(c, PT, text) + 1.0, .h = 3.0 };
    for (size_t i = 0; i < places && l->n < MOST_LABELS; i++) {
        bool free_there = true;
        b.x = fmax(inside.x, fmin(inside.x + inside.w - b.w, x[i]));
        b.y = fmax(inside.y, fmin(inside.y + inside.h - b.h, y[i]));
        for (size_t k = 0; k < l->n && free_there; k++) {
            const struct mro_box *o = &l->box[k];
            free_there = b.x >= o->x + o->w || o->x >= b.x + b.w || b.y >= o->y + o->h || o->y >= b.y + b.h;
        }
        if (!free_there) continue;
        l->box[l->n++] = b;
        mro_fig_rgb(c->cr, INK, 0.6);
        cairo_rectangle(c->cr, b.x, b.y, b.w, b.h);
        cairo_fill(c->cr);
        mro_canvas_text(c, b.x + b.w / 2, b.y + 2.35, PT, MRO_CENTRE, 0, colour, text);
        return;
    }
}

/* The sign of an edge dislocation: the foot across the Burgers vector where that is known, else level. */
static void mark_dislocation(struct mro_canvas *c, const struct mro_dislocation *d, double x, double y, unsigned colour)
{
    const bool known = isfinite(d->burgers_nm[0]);
    const double turn = known ? atan2(d->burgers_nm[1], d->burgers_nm[0]) : 0, size = 1.5;
    const double co = size * cos(turn), si = size * sin(turn);
    cairo_new_path(c->cr);
    cairo_move_to(c->cr, x - co, y - si);
    cairo_line_to(c->cr, x + co, y + si);
    cairo_move_to(c->cr, x, y);
    cairo_line_to(c->cr, x + si, y - co);
    mro_plot_stroke(c, colour, 1.0, 0);
}

static void outline_all(struct mro_canvas *c, const struct lattice_page *p, struct mro_box b, bool numbers)
{
    const struct mro_crystal_result *r = p->r;
    if (r->owner.px == NULL) return;
    const double line = fmin(0.8 * MM_PER_PT, fmax(0.12, b.w / (double)r->owner.nx));
    const double scale = b.w / p->field_nm[1];
    for (size_t k = 0; k < r->n_crystals; k++) {
        const struct owned of = { &r->owner, (float)k };
        mro_fig_outline(c->cr, is_owned, &of, r->owner.ny, r->owner.nx, b, k < MOST_SPOTS ? colours[k] : 0xffffff,
                        line);
    }
    /* Beside one of a few, so that its fringes are seen; upon those of many, which could not be told apart. */
    enum { PLACES = 5 };
    static const double places[PLACES][2] = { { 0, 0 }, { 0.4, -0.5 }, { -0.4, -0.5 }, { 0.4, 0.5 }, { -0.4, 0.5 } };
    const size_t first = r->n_crystals > MOST_SPOTS ? 0 : 1;
    struct labels l = { .n = 0 };
    for (size_t k = 0; k < r->n_crystals && k < MOST_LABELS && numbers; k++) {
        const struct mro_crystal *x = &r->crystals[k];
        char number[24];
        snprintf(number, sizeof number, "%zu", k + 1);
        double at_x[PLACES], at_y[PLACES];
        for (size_t i = 0; i < PLACES; i++) {
            at_x[i] = b.x + (x->x_nm + places[i][0] * x->diameter_nm) * scale - 1;
            at_y[i] = b.y + (x->y_nm + places[i][1] * x->diameter_nm) * scale - 1.5;
        }
        label_at(c, &l, b, at_x + first, at_y + first, PLACES - first, k < MOST_SPOTS ? colours[k] : 0xffffff, number);
        for (size_t i = 0; i < x->n_dislocations; i++) {
            const struct mro_dislocation *d = &x->dislocations[i];
            mark_dislocation(c, d, b.x + d->x_nm * scale, b.y + d->y_nm * scale,
                             k < MOST_SPOTS ? colours[k] : 0xffffff);
        }
    }
}

static void hkl_text(char *out, size_t size, const struct mro_fringes *f)
{
    if (f->hkl[0] || f->hkl[1] || f->hkl[2]) {
        size_t at = 0;
        for (int i = 0; i < 3 && at < size; i++)
            at += (size_t)snprintf(out + at, size - at, "%s%d", f->hkl[i] < 0 ? TEXT_MINUS : "", abs(f->hkl[i]));
    } else {
        snprintf(out, size, "%.3f" TEXT_NBSP "nm", f->d_nm);
    }
}

static void draw_spectrum(struct mro_canvas *c, const struct lattice_page *p, struct mro_box b)
{
    const struct mro_crystal_result *r = p->r;
    const struct mro_image *im = &r->power;
    if (p->power.surface == NULL) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    mro_canvas_raster(c, &p->power, b.x, b.y, b.w, b.h);
    mro_fig_frame(c->cr, b, 0.5);
    const double sx = b.w / ((double)im->nx * im->axis[1].step), sy = b.h / ((double)im->ny * im->axis[0].step);
    const double cx = b.x + b.w / 2, cy = b.y + b.h / 2;
    for (size_t k = 0; k < r->n_crystals && k < MOST_SPOTS; k++)
        for (size_t i = 0; i < r->crystals[k].n_fringes; i++) {
            const struct mro_fringes *f = &r->crystals[k].fringes[i];
            for (int sign = -1; sign <= 1; sign += 2) {
                const double x = cx + sign * f->g_inv_nm[1] * sx, y = cy + sign * f->g_inv_nm[0] * sy;
                cairo_new_sub_path(c->cr);
                cairo_arc(c->cr, x, y, 1.1, 0, 2 * M_PI);
            }
            mro_plot_stroke(c, colours[k], 0.8, 0);
        }
    struct labels l = { .n = 0 };
    for (size_t k = 0; k < r->n_crystals && k < MOST_SPOTS; k++)
        for (size_t i = 0; i < r->crystals[k].n_fringes; i++) {
            const struct mro_fringes *f = &r->crystals[k].fringes[i];
            char text[48];
            hkl_text(text, sizeof text, f);
            /* One of the two spots carries the label: that on the right. */
            const double sign = f->g_inv_nm[1] < 0 ? -1 : 1;
            const double x = cx + sign * f->g_inv_nm[1] * sx, y = cy + sign * f->g_inv_nm[0] * sy;
            const double w = mro_canvas_text_width(c, PT, text) + 1.0;
            const bool left = x + 1.2 + w > b.x + b.w;
            const double side = left ? x - 1.2 - w : x + 1.2;
            label_at(c, &l, b, (const double[]){ side, side, side }, (const double[]){ y - 1.5, y + 1.6, y - 4.6 }, 3,
                     colours[k], text);
        }
    const double nice = mro_nice_below(0.3 * b.w / sx);
    char text[48];
    snprintf(text, sizeof text, "%g" TEXT_NBSP "nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER, nice);
    const double w = fmax(nice * sx, mro_canvas_text_width(c, PT, text)) + 1.6;
    mro_fig_rgb(c->cr, 0xffffff, 0.85);
    cairo_rectangle(c->cr, b.x + 1.2, b.y + b.h - 5.7, w, 4.5);
    cairo_fill(c->cr);
    mro_fig_rgb(c->cr, INK, 1);
    cairo_rectangle(c->cr, b.x + 1.2 + (w - nice * sx) / 2, b.y + b.h - 2.7, nice * sx, 0.7);
    cairo_fill(c->cr);
    mro_canvas_text(c, b.x + 1.2 + w / 2, b.y + b.h - 3.1, PT, MRO_CENTRE, 0, INK, text);
}

static double draw_lattice(struct mro_canvas *c, const void *data)
{
    static const char *const names[MAPS] = { "Strain xx", "Strain yy", "Strain xy", "Rotation" };
    static const char *const letters[MAPS] = { "d", "e", "f", "g" };
    const struct lattice_page *p = data;
    const struct mro_heading headings[] = {
        { MARGIN, p->panel, "a", "Image, crystals outlined" },
        { MARGIN + p->panel + GAP, p->panel, "b", "Spectrum, spots of the crystals" },
        { p->images == 3 ? MARGIN + p->panel + GAP + p->panel + GAP : MARGIN, p->panel, "c", "Spots alone" },
    };
    const double top = MARGIN + HEAD - 0.6, y0 = mro_fig_under_headings(c, top, headings, p->images);
    const struct mro_box a = mro_fig_fit(headings[0].x, y0, p->panel, p->panel, p->field_nm);
    const double scale = p->pixel_nm[1] > 0 ? a.w / p->field_nm[1] : 0;
    mro_fig_set_heading(c, top, &headings[0]);
    mro_fig_hatch(c->cr, a);
    mro_canvas_raster(c, &p->raw, a.x, a.y, a.w, a.h);
    mro_fig_frame(c->cr, a, 0.5);
    outline_all(c, p, a, true);
    mro_fig_scale_bar(c, a, scale, 0.25);
    const double square[2] = { p->power.surface ? (double)p->r->power.ny * p->r->power.axis[0].step : 1,
                               p->power.surface ? (double)p->r->power.nx * p->r->power.axis[1].step : 1 };
    mro_fig_set_heading(c, top, &headings[1]);
    draw_spectrum(c, p, mro_fig_fit(headings[1].x, y0, p->panel, p->panel, square));
    double y = p->images == 3 ? y0 : y0 + p->panel + 2.4 + HEAD;
    mro_fig_set_heading(c, p->images == 3 ? top : y, &headings[2]);
    const struct mro_box f = { headings[2].x, y, a.w, a.h };
    if (p->filtered.surface) {
        mro_canvas_raster(c, &p->filtered, f.x, f.y, f.w, f.h);
        mro_fig_frame(c->cr, f, 0.5);
        outline_all(c, p, f, false);
        mro_fig_scale_bar(c, f, scale, 0.25);
    } else {
        mro_fig_placeholder(c, f, "no crystal");
    }
    y += p->panel + 2.4 + HEAD;
    const size_t across = p->images == 3 ? MAPS : MAPS / 2;
    const double w = mro_fig_column_width(c->width_mm, across);
    for (size_t i = 0; i < MAPS; i++) {
        const double side[2] = { p->part_nm[3], p->part_nm[2] }, x = MARGIN + (double)(i % across) * (w + GAP);
        if (i && i % across == 0) y += p->map_panel + 2.4 + HEAD;
        const struct mro_box b = mro_fig_fit(x, y, p->map_panel, p->map_panel, side);
        mro_fig_heading(c, x, y, letters[i],
                        i == 0 && !p->pair && p->map[0].surface ? "Strain, fringe normal" : names[i]);
        if (p->map[i].surface == NULL) {
            mro_fig_placeholder(c, b, p->r->n_crystals == 0 ? "no crystal" : "not measured");
            continue;
        }
        mro_fig_hatch(c->cr, b);
        mro_canvas_raster(c, &p->map[i], b.x, b.y, b.w, b.h);
        mro_fig_frame(c->cr, b, 0.5);
        mro_fig_scale_bar(c, b, b.w / p->part_nm[2], 0.3);
        const struct mro_box bar = { b.x + b.w + 1.2, b.y, 1.8, b.h };
        mro_fig_colour_bar(c, bar, &mro_map_diverging, -p->range[i], p->range[i], false, NAN,
                           i == 3 ? "Rotation (" TEXT_DEGREE ")" : "Strain (%)");
    }
    return y + p->map_panel + 5.5;
}

/* The next of 0.2, 0.5, 1, 2, 5, ... */
static double round_range(double most)
{
    static const double steps[] = { 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100 };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (most <= 1.1 * steps[i]) return steps[i];
    return 180;
}

/* A map's part around the largest crystal, in percent or degrees. */
static enum mro_code map_raster(struct lattice_page *p, int i, const struct mro_image *map, double unit,
                                struct mro_error *e)
{
    const double step[2] = { map->axis[0].step, map->axis[1].step };
    const double centre[2] = { p->part_nm[1] + p->part_nm[3] / 2, p->part_nm[0] + p->part_nm[2] / 2 };
    const double size[2] = { p->part_nm[3], p->part_nm[2] };
    static const double ends[2] = { 0.02, 0.98 };
    size_t w[4];
    double q[2];
    mro_fig_window_of(map, step, centre, size, w);
    const size_t k = w[2] < 300 ? 300 / w[2] + 1 : 1;
    float *v = malloc(w[2] * w[3] * sizeof *v), *fine = malloc(w[2] * w[3] * k * k * sizeof *fine);
    enum mro_code rc = MRO_OK;
    if (v == NULL || fine == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "a map of %zu x %zu points does not fit in memory", w[2], w[3]);
        goto done;
    }
    size_t finite = 0;
    for (size_t y = 0; y < w[3]; y++)
        for (size_t x = 0; x < w[2]; x++) {
            v[y * w[2] + x] = (float)unit * map->px[(w[1] + y) * map->nx + w[0] + x];
            finite += isfinite(v[y * w[2] + x]);
        }
    if (finite == 0) goto done;
    if ((rc = mro_quantiles(v, w[2] * w[3], ends, 2, q, e))) goto done;
    p->range[i] = round_range(fmax(fabs(q[0]), fabs(q[1])));
    mro_repeat(v, w[3], w[2], k, k, fine);
    rc = mro_raster_make(&p->map[i], fine, w[3] * k, w[2] * k, -p->range[i], p->range[i], &mro_map_diverging, e);
done:
    free(v);
    free(fine);
    return rc;
}

static void say_strain(struct mro_words *w, const char *name, double v)
{
    char number[48], line[96];
    mro_text_number(number, sizeof number, 100 * v, 2, "");
    snprintf(line, sizeof line, ", %s %s", name, number);
    if (isfinite(v)) mro_fig_say(w, line);
}

static enum mro_code make_caption(struct lattice_page *p, const char *title, struct mro_error *e)
{
    const struct mro_crystal_result *r = p->r;
    struct mro_words w = { 0 };
    char line[512];
    mro_fig_say_title(&w, title);
    for (size_t k = 0; k < r->n_crystals && k < 4; k++) {
        const struct mro_crystal *c = &r->crystals[k];
        const struct mro_fringes *f = &c->fringes[0];
        char hkl[48], name[64];
        hkl_text(hkl, sizeof hkl, f);
        char spacing[48];
        mro_write_with_error(spacing, sizeof spacing, f->d_nm, f->d_se_nm, 4, TEXT_PLUS_MINUS);
        snprintf(line, sizeof line,
                 TEXT_BOLD "Crystal %zu:" TEXT_BOLD " %.1f" TEXT_NBSP "nm, " TEXT_ITALIC "d" TEXT_ITALIC
                           " = %s" TEXT_NBSP "nm",
                 k + 1, c->diameter_nm, spacing);
        mro_fig_say(&w, line);
        if (c->phase >= 0) {
            mro_text_clean(name, sizeof name, p->o->phases[c->phase].name);
            snprintf(line, sizeof line, " (%s%s %s)", c->n_fringes == 1 ? "the spacing of " : "", name, hkl);
            mro_fig_say(&w, line);
        }
        if (isfinite(c->exx)) {
            say_strain(&w, "mean strain xx", c->exx);
            say_strain(&w, "yy", c->eyy);
            say_strain(&w, "xy", c->exy);
        } else {
            say_strain(&w, "mean strain along the fringe normal", c->enn);
        }
        if (isfinite(c->e_se) && (isfinite(c->exx) || isfinite(c->enn))) {
            snprintf(line, sizeof line, " \xc2\xb1 %.2f" TEXT_NBSP "%%", 100 * c->e_se);
            mro_fig_say(&w, line);
        } else if (isfinite(c->exx) || isfinite(c->enn)) {
            mro_fig_say(&w, TEXT_NBSP "%");
        }
        if (c->vortices > 0) {
            snprintf(line, sizeof line, ", %d phase vort%s (noise alone: %.2g)", c->vortices,
                     c->vortices == 1 ? "ex" : "ices", c->vortices_null);
            mro_fig_say(&w, line);
        }
        mro_fig_say(&w, ". ");
    }
    if (r->n_crystals) {
        char given[64] = "a reference area in each crystal";
        if (isfinite(r->reference_d_nm))
            snprintf(given, sizeof given, "the spacing given, %.4g" TEXT_NBSP "nm", r->reference_d_nm);
        snprintf(line, sizeof line,
                 "Errors are standard errors, that of the magnification apart. Strain is relative to %s; resolution of "
                 "the maps %.2g" TEXT_NBSP "nm. ",
                 given, r->resolution_nm);
        mro_fig_say(&w, line);
        snprintf(line, sizeof line,
                 "(c): mask of radius %.2g" TEXT_NBSP "nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER
                 " around each spot; it makes fringes of about %.1f" TEXT_NBSP "nm out of noise as well. ",
                 r->filter_radius_inv_nm, 0.6 / r->filter_radius_inv_nm);
        mro_fig_say(&w, line);
    }
    mro_fig_say_sentence(&w, "Verdict: ", r->verdict);
    if (r->power.px == NULL && r->n_warnings > 0) mro_fig_say_sentence(&w, " Reason: ", r->warnings[r->n_warnings - 1]);
    if (w.failed) {
        free(w.p);
        return MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
    }
    p->caption = w.p;
    return MRO_OK;
}

enum mro_code mro_figure_lattice(const char *path_stem, double width_mm, const struct mro_image *im, const char *title,
                                 const struct mro_crystal_result *r, const struct mro_crystal_options *o,
                                 struct mro_error *e)
{
    struct lattice_page p = { .r = r, .o = o };
    enum mro_code rc;
    mro_fig_pixel_size(im, r->pixel_nm, p.pixel_nm);
    for (int i = 0; i < 2; i++) p.field_nm[i] = (double)(i ? im->nx : im->ny) * (p.pixel_nm[i] > 0 ? p.pixel_nm[i] : 1);
    p.images = mro_fig_columns(width_mm, 3, COLUMN) == 3 ? 3 : 2;
    p.panel = mro_fig_column_width(width_mm, p.images);
    p.map_panel = mro_fig_column_width(width_mm, p.images == 3 ? MAPS : MAPS / 2) - BAR_ROOM;
    const size_t whole[4] = { 0, 0, im->nx, im->ny };
    rc = mro_fig_grey_raster(&p.raw, im, whole, false, e);
    if (rc) goto done;
    if (r->power.px) {
        const size_t all[4] = { 0, 0, r->power.nx, r->power.ny };
        rc = mro_fig_grey_raster(&p.power, &r->power, all, false, e);
        if (rc) goto done;
    }
    if (r->filtered.px) {
        const size_t all[4] = { 0, 0, r->filtered.nx, r->filtered.ny };
        rc = mro_fig_grey_raster(&p.filtered, &r->filtered, all, true, e);
        if (rc) goto done;
    }
    p.part_nm[2] = p.part_nm[3] = 1;
    if (r->n_crystals) {
        const struct mro_crystal *c = &r->crystals[0];
        const double side = fmin(1.25 * c->diameter_nm + 1, fmin(p.field_nm[0], p.field_nm[1]));
        p.part_nm[0] = fmax(0, fmin(p.field_nm[1] - side, c->x_nm - side / 2));
        p.part_nm[1] = fmax(0, fmin(p.field_nm[0] - side, c->y_nm - side / 2));
        p.part_nm[2] = p.part_nm[3] = side;
        p.pair = isfinite(c->exx);
        const struct mro_image *const maps[MAPS] = { p.pair ? &r->exx : &r->enn, &r->eyy, &r->exy, &r->rotation };
        for (int i = 0; i < (p.pair ? MAPS : 1); i++)
            if ((rc = map_raster(&p, i, maps[i], i == 3 ? 1 : 100, e))) goto done;
    }
    rc = make_caption(&p, title, e);
    if (rc) goto done;
    rc = mro_fig_write(path_stem, title, width_mm, p.caption, draw_lattice, &p, e);
done:
    free(p.caption);
    mro_raster_release(&p.raw);
    mro_raster_release(&p.power);
    mro_raster_release(&p.filtered);
    for (int i = 0; i < MAPS; i++) mro_raster_release(&p.map[i]);
    return rc;
}
