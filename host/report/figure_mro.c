/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of medium-range order: where it is, how it looks in detail, and against a glass. */
#include "report/figure.h"

#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mroscope/math/elementary.h"
#include "report/axes.h"
#include "report/canvas.h"
#include "report/plot.h"
#include "report/raster.h"

#define TILES 6
#define SCORE_BAR 14.0 /* room for the colour bar of the scores */

static const char not_measured[] = "not measured";

static bool overlap(struct mro_box a, struct mro_box b)
{
    return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

/* ---- rasters ---- */

/* A map of cells, each a block of equal pixels so that no viewer blurs one cell into the next. */
static enum mro_code map_raster(struct mro_raster *out, const struct mro_order_map *m, double lo, double hi,
                                struct mro_error *e)
{
    enum mro_code rc;
    const size_t by = mro_block_factor(m->ny, RASTER), bx = mro_block_factor(m->nx, RASTER);
    const size_t my = (m->ny - 1) / by + 1, mx = (m->nx - 1) / bx + 1;
    const size_t ky = my < 400 ? 400 / my + 1 : 1, kx = mx < 400 ? 400 / mx + 1 : 1;
    float *v = malloc(my * mx * sizeof *v), *fine = malloc(my * ky * mx * kx * sizeof *fine);
    if (v == NULL || fine == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "a map of %zu x %zu cells does not fit in memory", m->nx, m->ny);
        goto done;
    }
    mro_area_average(m->v, m->nx, m->ny, m->nx, by, bx, v);
    mro_repeat(v, my, mx, ky, kx, fine);
    rc = mro_raster_make(out, fine, my * ky, mx * kx, lo, hi, &mro_map_score, e);
done:
    free(fine);
    free(v);
    return rc;
}

/* Spacing and azimuth of the strongest plane wave in a tile with 1/d inside the band (a little wider):
 * what the eye sees in it. False when the tile holds none. Source: direct Fourier sums. */
static bool tile_wave(const struct mro_order_tile *t, const double band[2], double *d_nm, double *azimuth_deg)
{
    const double lo = 0.95 * band[0], hi = fmin(1.05 * band[1], 0.5 / t->step_nm);
    double best = 0, best_q = 0, best_az = 0, dq = (hi - lo) / 16, daz = 5;
    if (!(hi > lo) || !(lo > 0)) return false;
    for (int pass = 0; pass < 3; pass++) {
        const int nq = pass ? 4 : 16, na = pass ? 4 : 36;
        const double q0 = pass ? best_q - 2 * dq : lo, a0 = pass ? best_az - 2 * daz : 0;
        for (int i = 0; i <= nq; i++) {
            for (int j = 0; j < na + (pass > 0); j++) {
                const double q = q0 + i * dq, az = (a0 + j * daz) * M_PI / 180;
                const double turns_x = q * cos(az) * t->step_nm, turns_y = q * sin(az) * t->step_nm;
                const int n = (int)t->n;
                double sum = 0;
                for (int y = 0; y < n; y++) {
                    const float *row = t->v + y * n;
                    const double start = turns_y * (y - n / 2);
#pragma omp simd reduction(+ : sum)
                    for (int x = 0; x < n; x++) {
                        const double wave = mro_cos_turns64(start + turns_x * (x - n / 2));
                        sum += isfinite(row[x]) ? (double)row[x] * wave : 0;
                    }
                }
                if (sum > best) {
                    best = sum;
                    best_q = q;
                    best_az = az * 180 / M_PI;
                }
            }
        }
        if (best <= 0) return false;
        dq /= 4;
        daz /= 4;
    }
    *d_nm = 1 / best_q;
    *azimuth_deg = fmod(best_az + 360, 180);
    return true;
}

/* ---- the figure ---- */

struct order_page {
    const struct mro_order_result *r;
    double pixel_nm[2], field_nm[2]; /* y, x */
    struct mro_raster micrograph, filtered, score, tile[TILES];
    size_t tiles;
    char tile_text[TILES][80];
    double score_top; /* end of the colour bar */
    bool score_over;  /* cells beyond it */
    double detail[4]; /* what panel b shows: x, y, width, height in nm; the whole field or a part */
    bool part;
    double acf_top; /* colour bar of the tiles runs from -acf_top to acf_top */
    char *caption;
    size_t images; /* side by side */
    double panel_w, panel_h;
};

static const struct {
    char grade;
    unsigned colour;
    double pt;
    double dash[2]; /* mm; 0 = solid */
} grades[] = {
    { 'A', 0x56b4e9, 0.9, { 0.9, 0.55 } },
    { 'B', 0xf0b400, 1.0, { 0, 0 } },
    { 'C', 0xff4f9a, 1.5, { 0, 0 } },
};
#define GRADES (sizeof grades / sizeof *grades)

/* Outlines of all objects of a grade as one path; `ticks` instead: short lines along the fringes. */
static void object_path(cairo_t *cr, const struct order_page *p, struct mro_box b, double scale, char grade, bool ticks)
{
    for (size_t i = 0; i < p->r->n_objects; i++) {
        const struct mro_order_object *o = &p->r->objects[i];
        if (o->grade != grade || !isfinite(o->x_nm) || !isfinite(o->y_nm)) continue;
        const double x = b.x + o->x_nm * scale, y = b.y + o->y_nm * scale;
        const double r = fmax(0.4, isfinite(o->diameter_nm) ? o->diameter_nm * scale / 2 : 0);
        if (!ticks) {
            cairo_new_sub_path(cr);
            cairo_arc(cr, x, y, r, 0, 2 * M_PI);
        } else if (isfinite(o->azimuth_deg)) {
            /* Fringes run across the reciprocal vector. */
            const double a = o->azimuth_deg * M_PI / 180, l = 0.42 * r;
            cairo_move_to(cr, x + l * sin(a), y - l * cos(a));
            cairo_line_to(cr, x - l * sin(a), y + l * cos(a));
        }
    }
}

static void draw_objects(cairo_t *cr, const struct order_page *p, struct mro_box b, double scale)
{
    /* Thinner lines where the circles are small. */
    double size = p->r->diameter_median_nm;
    if (!(size > 0)) size = p->r->n_objects ? p->r->objects[0].diameter_nm : 0;
    const double thin = fmin(1, fmax(0.45, size * scale / 4));
    cairo_save(cr);
    cairo_rectangle(cr, b.x, b.y, b.w, b.h);
    cairo_clip(cr);
    for (size_t g = 0; g < GRADES; g++) {
        const double w = grades[g].pt * thin * MM_PER_PT;
        for (int over = 0; over < 2; over++) {
            /* A dark casing keeps the colour readable on white speckle. */
            mro_fig_rgb(cr, over ? grades[g].colour : 0x000000, over ? 1 : 0.55);
            cairo_set_line_width(cr, over ? w : w + 0.7 * thin * MM_PER_PT);
            if (over && grades[g].dash[0] > 0) cairo_set_dash(cr, grades[g].dash, 2, 0);
            object_path(cr, p, b, scale, grades[g].grade, false);
            cairo_stroke(cr);
            cairo_set_dash(cr, NULL, 0, 0);
            object_path(cr, p, b, scale, grades[g].grade, true);
            cairo_stroke(cr);
        }
    }
    cairo_restore(cr);
}

/* Where panel b was taken from. */
static void draw_detail(struct mro_canvas *c, const struct order_page *p, struct mro_box a, double scale)
{
    static const double dash[2] = { 1.4, 0.9 };
    const struct mro_box b = { a.x + p->detail[0] * scale, a.y + p->detail[1] * scale, p->detail[2] * scale,
                               p->detail[3] * scale };
    for (int over = 0; over < 2; over++) {
        mro_fig_rgb(c->cr, over ? 0xffffff : 0x000000, over ? 1 : 0.6);
        cairo_set_line_width(c->cr, (over ? 0.8 : 1.6) * MM_PER_PT);
        if (over) cairo_set_dash(c->cr, dash, 2, 0);
        cairo_rectangle(c->cr, b.x, b.y, b.w, b.h);
        cairo_stroke(c->cr);
    }
    cairo_set_dash(c->cr, NULL, 0, 0);
    if (b.w < 4 || b.h < 4) return;
    mro_fig_rgb(c->cr, 0xffffff, 0.85);
    cairo_rectangle(c->cr, b.x + b.w - 2.5, b.y + 0.4, 2.1, 2.9);
    cairo_fill(c->cr);
    mro_canvas_text(c, b.x + b.w - 1.45, b.y + 2.7, PT, MRO_CENTRE, 0, INK, TEXT_BOLD "b");
}

/* Numbers of the tiles beside their cells, where they hide neither the scale bar nor each other. */
static void draw_tile_numbers(struct mro_canvas *c, const struct order_page *p, struct mro_box b, double scale,
                              struct mro_box bar)
{
    struct mro_box taken[TILES + 1] = { bar };
    const double w = 2.1, h = 2.7;
    for (size_t i = 0; i < p->tiles; i++) {
        const struct mro_order_tile *t = &p->r->tiles[i];
        const double x = b.x + t->x_nm * scale, y = b.y + t->y_nm * scale;
        struct mro_box at = { 0 };
        double r = 1 * scale, nearest = 0.8;
        for (size_t o = 0; o < p->r->n_objects; o++) {
            const struct mro_order_object *q = &p->r->objects[o];
            const double far = hypot(q->x_nm - t->x_nm, q->y_nm - t->y_nm);
            if (!(far < nearest)) continue;
            nearest = far;
            r = q->diameter_nm / 2 * scale;
        }
        const double rings[] = { r + 1.6, r + 3, 0.7 * r, 2.2 };
        for (int k = 0; k < 32; k++) {
            const double a = -M_PI / 4 + M_PI / 4 * k, far = rings[k / 8];
            at = (struct mro_box){ x + far * cos(a) - w / 2, y + far * sin(a) - h / 2, w, h };
            bool free_place =
                at.x > b.x + 0.3 && at.y > b.y + 0.3 && at.x + w < b.x + b.w - 0.3 && at.y + h < b.y + b.h - 0.3;
            for (size_t j = 0; j <= i && free_place; j++) free_place = !overlap(at, taken[j]);
            if (free_place) break;
            at.w = 0;
        }
        taken[i + 1] = at;
        if (!(at.w > 0)) continue; /* no room: the tile's caption still has its position in the CSV */
        char text[32];
        snprintf(text, sizeof text, TEXT_BOLD "%zu", i + 1);
        mro_fig_rgb(c->cr, 0xffffff, 0.8);
        cairo_rectangle(c->cr, at.x, at.y, at.w, at.h);
        cairo_fill(c->cr);
        mro_canvas_text(c, at.x + w / 2, at.y + h - 0.5, PT, MRO_CENTRE, 0, INK, text);
    }
}

/* What outlines and hatching mean, in a row from the baseline y down or, with `room`, below each other in lines of that
 * width. Returns the next baseline. */
static double draw_legend(struct mro_canvas *c, const struct order_page *p, double x, double y, double room)
{
    char text[GRADES][96];
    size_t count[GRADES] = { 0 };
    for (size_t i = 0; i < p->r->n_objects; i++)
        for (size_t g = 0; g < GRADES; g++) count[g] += p->r->objects[i].grade == grades[g].grade;
    if (p->r->n_objects == 0) {
        const char *none = p->r->cells ? "no ordered region found" : "regions: not measured";
        return y +
               LEADING * (double)mro_canvas_paragraph(c, x, y, room > 0 ? room : c->width_mm, LEADING, PT, none, true);
    }
    snprintf(text[0], sizeof text[0], "A, ordered (%zu)", count[0]);
    char d[48];
    mro_text_number(d, sizeof d, p->r->d_nm, 3, "nm");
    snprintf(text[1], sizeof text[1], "B, with " TEXT_ITALIC "d" TEXT_ITALIC " near %s (%zu)", d, count[1]);
    snprintf(text[2], sizeof text[2], "C, and a second reflection (%zu)", count[2]);
    for (size_t g = 0; g < GRADES; g++) {
        /* On a dark chip, as on the micrograph. */
        mro_fig_rgb(c->cr, 0x606060, 1);
        cairo_rectangle(c->cr, x, y - 2.5, 3.4, 3.4);
        cairo_fill(c->cr);
        mro_fig_rgb(c->cr, grades[g].colour, 1);
        cairo_set_line_width(c->cr, grades[g].pt * MM_PER_PT);
        if (grades[g].dash[0] > 0) cairo_set_dash(c->cr, grades[g].dash, 2, 0);
        cairo_arc(c->cr, x + 1.7, y - 0.8, 1.2, 0, 2 * M_PI);
        cairo_stroke(c->cr);
        cairo_set_dash(c->cr, NULL, 0, 0);
        cairo_move_to(c->cr, x + 1.7 - 0.35, y - 0.8 + 0.35);
        cairo_line_to(c->cr, x + 1.7 + 0.35, y - 0.8 - 0.35);
        cairo_stroke(c->cr);
        if (room > 0) {
            y += LEADING * (double)mro_canvas_paragraph(c, x + 4.3, y, room - 4.3, LEADING, PT, text[g], true) + 0.8;
        } else {
            mro_canvas_text(c, x + 4.3, y, PT, MRO_LEFT, 0, INK, text[g]);
            x += 4.3 + mro_canvas_text_width(c, PT, text[g]) + 3;
        }
    }
    return y;
}

static void draw_not_measured(struct mro_canvas *c, double x, double y)
{
    const struct mro_box chip = { x, y - 2.5, 3.4, 3.4 };
    mro_fig_hatch(c->cr, chip);
    mro_fig_frame(c->cr, chip, 0.4);
    mro_canvas_text(c, x + 4.6, y, PT, MRO_LEFT, 0, INK, not_measured);
}

static bool is_flagged(const void *map, size_t j, size_t i)
{
    const struct mro_order_map *m = map;
    return m->v[j * m->nx + i] >= 0.5f;
}

static bool is_over_threshold(const void *map, size_t j, size_t i)
{
    const struct mro_order_map *m = map;
    return m->v[j * m->nx + i] >= 1.0f;
}

/* Border between flagged cells and others, along the edges of cells. */
static void draw_flagged(cairo_t *cr, const struct order_page *p, struct mro_box b, double scale)
{
    const bool mask = p->r->mask.v != NULL;
    const struct mro_order_map *m = mask ? &p->r->mask : &p->r->score;
    const double sx = m->step_x_nm * scale, sy = m->step_y_nm * scale;
    const struct mro_box field = { b.x + (m->x0_nm - m->step_x_nm / 2) * scale,
                                   b.y + (m->y0_nm - m->step_y_nm / 2) * scale, (double)m->nx * sx,
                                   (double)m->ny * sy };
    if (sx < 0.15 || sy < 0.15) return; /* finer than a line */
    mro_fig_outline(cr, mask ? is_flagged : is_over_threshold, m, m->ny, m->nx, field, 0xffffff,
                    fmin(0.75 * MM_PER_PT, 0.3 * sx));
}

/* Returns their height, at most `h`. */
static double draw_tiles(struct mro_canvas *c, const struct order_page *p, double x, double y, double w, double h)
{
    mro_fig_heading(c, x, y, "d", "Autocorrelation of the strongest cells");
    if (p->tiles == 0) {
        mro_fig_placeholder(c, (struct mro_box){ x, y, w, h }, not_measured);
        return h;
    }
    const double cols = p->tiles > 4 ? 3 : p->tiles > 1 ? 2 : 1, rows = p->tiles > 2 ? 2 : 1, across = 3, below = 4.6;
    const double size = fmin((w - (cols - 1) * across) / cols, (h - (rows - 1) * below) / rows);
    double widest = 0;
    for (size_t i = 0; i < p->tiles; i++) widest = fmax(widest, mro_canvas_text_width(c, PT, p->tile_text[i]));
    const double pt = widest + 0.8 > size + across ? PT - 1 : PT;
    for (size_t i = 0; i < p->tiles; i++) {
        const struct mro_order_tile *t = &p->r->tiles[i];
        const double column = fmod((double)i, cols), row = floor((double)i / cols);
        const struct mro_box b = { x + column * (size + across), y + row * (size + below), size, size };
        char number[32];
        mro_fig_hatch(c->cr, b);
        mro_canvas_raster(c, &p->tile[i], b.x, b.y, b.w, b.h);
        mro_fig_scale_bar(c, b, size / ((double)t->n * t->step_nm), 0.3);
        mro_fig_rgb(c->cr, 0xffffff, 0.85);
        cairo_rectangle(c->cr, b.x, b.y, 2.6, 3.2);
        cairo_fill(c->cr);
        mro_fig_frame(c->cr, b, 0.5);
        snprintf(number, sizeof number, TEXT_BOLD "%zu", i + 1);
        mro_canvas_text(c, b.x + 1.3, b.y + 2.5, PT, MRO_CENTRE, 0, INK, number);
        mro_canvas_text(c, b.x + size / 2, b.y + size + 3, pt, MRO_CENTRE, 0, INK, p->tile_text[i]);
    }
    const struct mro_box bar = { x + cols * (size + across) - across + 1.8, y, 2.4, rows * (size + below) - below };
    mro_fig_colour_bar(c, bar, &mro_map_diverging, -p->acf_top, p->acf_top, false, NAN, "Autocorrelation");
    return rows * (size + below);
}

static void draw_survival(struct mro_canvas *c, const struct order_page *p, double x, struct mro_box b)
{
    const struct mro_order_result *r = p->r;
    mro_fig_heading(c, x, b.y, "e", "Cells above a threshold: observed against null");
    double least = 1;
    for (size_t i = 0; i < r->n_cdf && r->cdf_p; i++)
        if (r->cdf_p[i] > 0) least = fmin(least, r->cdf_p[i]);
    const bool any = r->n_cdf > 1 && r->cdf_p && (r->cdf_null || r->cdf_observed) && least < 1;
    if (!any) {
        mro_fig_placeholder(c, b, not_measured);
        return;
    }
    const int decades = (int)fmin(8, fmax(2, ceil(-log10(least) - 1e-6)));
    const double lo = pow(10, -decades);

    const struct mro_plot plot = { .b = b, .x = { lo, 1 }, .y = { lo, 1 }, .log_x = true, .log_y = true };
    const double alpha = r->false_positive_rate, ends[2] = { lo, 1 };
    mro_plot_begin(c, &plot);
    mro_plot_vertical(c, &plot, alpha, GREY, 0.6, 1.2);
    mro_plot_curve(c, &plot, ends, ends, 2);
    mro_plot_stroke(c, GREY, 0.6, 0.4);
    if (r->cdf_null) {
        mro_plot_curve(c, &plot, r->cdf_p, r->cdf_null, r->n_cdf);
        mro_plot_stroke(c, BLUE, 1.1, 0);
    }
    if (r->cdf_observed) {
        mro_plot_curve(c, &plot, r->cdf_p, r->cdf_observed, r->n_cdf);
        mro_plot_stroke(c, ORANGE, 1.4, 0);
    }
    mro_plot_end(c);
    mro_plot_axes(c, &plot, "Nominal false-positive rate", "Share of cells");

    /* The corner below the diagonal is free, but where the observed curve ends early: then that above it is. */
    static const char *const names[] = { "observed", "null (speckle images)", "as nominal" };
    static const unsigned colours[] = { ORANGE, BLUE, GREY };
    static const double widths[] = { 1.4, 1.1, 0.6 };
    double text_w = 0;
    for (int i = 0; i < 3; i++) text_w = fmax(text_w, mro_canvas_text_width(c, PT, names[i]));
    double x_legend = b.x + b.w - 7.4 - text_w, y = b.y + b.h - 3.2;
    bool taken = false;
    for (size_t i = 0; i < r->n_cdf && r->cdf_observed; i++)
        taken |=
            mro_plot_x(&plot, r->cdf_p[i]) > x_legend - 2 && mro_plot_y(&plot, fmax(r->cdf_observed[i], lo)) > y - 12;
    if (taken) {
        x_legend = b.x + 2;
        y = b.y + 15;
    }
    for (int i = 2; i >= 0; i--, y -= 3.4) {
        if ((i == 0 && !r->cdf_observed) || (i == 1 && !r->cdf_null)) continue;
        mro_plot_legend(c, x_legend, y, colours[i], widths[i], i == 2 ? 0.4 : 0, names[i]);
    }
    if (alpha > lo && alpha < 1) {
        /* At the upper end: the observed curve has left it for all but fully ordered images. */
        char text[96], rate[72];
        mro_text_percent(rate, sizeof rate, alpha);
        snprintf(text, sizeof text, "nominal %s", rate);
        const double ax = mro_plot_x(&plot, alpha);
        const bool left = ax - b.x > mro_canvas_text_width(c, PT, text) + 3;
        mro_canvas_text(c, ax + (left ? -1 : 1), b.y + 3.4, PT, left ? MRO_RIGHT : MRO_LEFT, 0, 0x606060, text);
    }
}

static double draw_order(struct mro_canvas *c, const void *data)
{
    const struct order_page *p = data;
    const struct mro_order_result *r = p->r;
    const bool wide = p->images == 3;
    const double x0 = MARGIN, x1 = x0 + p->panel_w + GAP, x2 = wide ? x0 + 2 * (p->panel_w + GAP) : x0;
    char text[256], band[96];

    mro_fig_text_band(band, sizeof band, r->band_inv_nm);
    snprintf(text, sizeof text, p->part ? "Pass band %s, detail" : "Pass band %s", band);
    const struct mro_heading headings[] = { { x0, p->panel_w, "a", "Micrograph, ordered regions outlined" },
                                            { x1, p->panel_w, "b", text },
                                            { x2, p->panel_w + SCORE_BAR, "c",
                                              "Order score, flagged cells outlined" } };
    const double top = MARGIN + HEAD - 0.6, y0 = mro_fig_under_headings(c, top, headings, p->images);
    const struct mro_box a = mro_fig_fit(x0, y0, p->panel_w, p->panel_h, p->field_nm);
    const double scale = a.w / p->field_nm[1]; /* mm per nm; without calibration mm per pixel */
    const double bar_scale = p->pixel_nm[1] > 0 ? scale : 0;
    mro_fig_set_heading(c, top, &headings[0]);
    mro_fig_hatch(c->cr, a);
    mro_canvas_raster(c, &p->micrograph, a.x, a.y, a.w, a.h);
    draw_objects(c->cr, p, a, scale);
    if (p->part && p->filtered.surface) draw_detail(c, p, a, scale);
    mro_fig_frame(c->cr, a, 0.5);
    const struct mro_box bar = mro_fig_scale_bar(c, a, bar_scale, 0.3);
    draw_tile_numbers(c, p, a, scale, bar);

    const struct mro_box b = { x1, a.y, a.w, a.h };
    mro_fig_set_heading(c, top, &headings[1]);
    if (p->filtered.surface) {
        mro_fig_hatch(c->cr, b);
        mro_canvas_raster(c, &p->filtered, b.x, b.y, b.w, b.h);
        mro_fig_frame(c->cr, b, 0.5);
        mro_fig_scale_bar(c, b, p->pixel_nm[1] > 0 ? b.w / p->detail[2] : 0, 0.3);
    } else {
        mro_fig_placeholder(c, b, not_measured);
    }

    const double top2 = wide ? top : y0 + p->panel_h + HEAD + 1.2,
                 y2 = wide ? y0 : mro_fig_under_headings(c, top2, &headings[2], 1);
    const struct mro_box s = { x2, y2, a.w, a.h };
    mro_fig_set_heading(c, top2, &headings[2]);
    if (p->score.surface) {
        const struct mro_order_map *m = &r->score;
        mro_fig_hatch(c->cr, s);
        cairo_save(c->cr);
        cairo_rectangle(c->cr, s.x, s.y, s.w, s.h);
        cairo_clip(c->cr);
        mro_canvas_raster(c, &p->score, s.x + (m->x0_nm - m->step_x_nm / 2) * scale,
                          s.y + (m->y0_nm - m->step_y_nm / 2) * scale, (double)m->nx * m->step_x_nm * scale,
                          (double)m->ny * m->step_y_nm * scale);
        draw_flagged(c->cr, p, s, scale);
        cairo_restore(c->cr);
        mro_fig_frame(c->cr, s, 0.5);
        mro_fig_scale_bar(c, s, bar_scale, 0.3);
        const double tip = p->score_over ? 1.8 : 0;
        const struct mro_box scores = { s.x + s.w + 1.8, y2 + tip, 2.4, fmax(s.h, p->panel_h) - tip };
        mro_fig_colour_bar(c, scores, &mro_map_score, 0, p->score_top, p->score_over, 1, "Score / threshold");
    } else {
        mro_fig_placeholder(c, s, not_measured);
    }

    double ly = y2 + p->panel_h + 3.9; /* below: the legend, or nothing where it stands beside (c) */
    if (wide) {
        draw_legend(c, p, x0, ly, 0);
        if (p->score.surface)
            draw_not_measured(c, x2 + p->panel_w - mro_canvas_text_width(c, PT, not_measured) - 4.6, ly);
    } else {
        const double lx = s.x + p->panel_w + SCORE_BAR + 1;
        const double end = draw_legend(c, p, lx, y2 + 2.5, c->width_mm - MARGIN - lx);
        if (p->score.surface) draw_not_measured(c, lx, end);
        ly = fmax(ly - 3.4, end);
    }

    const double y3 = ly + 2.6 + HEAD + 0.6, high = 55.6;
    if (wide) {
        const double wider = (c->width_mm - MRO_FIGURE_WIDTH) * 2 / 3; /* as what is above both */
        draw_tiles(c, p, x0, y3, 82.5 + wider, high);
        draw_survival(c, p, x0 + 100.5 + wider, (struct mro_box){ x2, y3, c->width_mm - MARGIN - 1 - x2, high });
        return y3 + high + 11.6;
    }
    const double y4 = y3 + draw_tiles(c, p, x0, y3, c->width_mm - 2 * MARGIN - 15.5, p->tiles ? high : 24) + 1.4 + HEAD;
    const double left = x0 + PLOT_LEFT;
    draw_survival(c, p, x0, (struct mro_box){ left, y4, c->width_mm - MARGIN - 1 - left, 46 });
    return y4 + 46 + 11.6;
}

static enum mro_code make_caption(struct order_page *p, const char *title, struct mro_error *e)
{
    const struct mro_order_result *r = p->r;
    struct mro_words w = { 0 };
    char a[96], b[96], line[512];
    mro_fig_say_title(&w, title);
    mro_text_percent_within(a, sizeof a, r->fraction, r->fraction_ci95);
    mro_text_interval(b, sizeof b, r->fraction_ci95);
    snprintf(line, sizeof line, TEXT_BOLD "MRO area fraction %s" TEXT_BOLD " (95" TEXT_NBSP "%% interval %s). ", a, b);
    mro_fig_say(&w, line);
    mro_text_percent(a, sizeof a, r->fraction_raw);
    mro_text_percent(b, sizeof b, r->null_fraction);
    snprintf(line, sizeof line, "Flagged cells: %s, null (speckle images of the same spectrum) %s", a, b);
    mro_fig_say(&w, line);
    if (r->false_positive_rate > 0) {
        mro_text_percent(a, sizeof a, r->false_positive_rate);
        snprintf(line, sizeof line, " at nominal %s", a);
        mro_fig_say(&w, line);
    }
    mro_text_p_least(a, sizeof a, r->p_image, r->p_image_at_most ? r->p_image : 0);
    snprintf(line, sizeof line, ". Against a glass: %s", a);
    mro_fig_say(&w, line);
    if (isfinite(r->p_image)) mro_fig_say(&w, r->distinguishable ? ", distinguishable" : ", not distinguishable");
    mro_fig_say(&w, ". ");
    if (r->cells == 0) {
        mro_fig_say(&w, "Ordered regions: not measured");
    } else {
        snprintf(line, sizeof line, "Ordered regions: %zu", r->n_objects);
        mro_fig_say(&w, line);
    }
    mro_text_number(a, sizeof a, r->diameter_median_nm, 2, "nm");
    mro_text_number(b, sizeof b, r->size_limit_nm, 2, "nm");
    snprintf(line, sizeof line, ", median diameter %s; smallest cluster found with 50" TEXT_NBSP "%% probability: %s. ",
             a, b);
    mro_fig_say(&w, line);
    mro_text_number(a, sizeof a, r->ctf.known ? r->ctf.delocalisation_nm : NAN, 2, "nm");
    mro_text_percent(b, sizeof b, r->coverage);
    snprintf(line, sizeof line, "Delocalisation " TEXT_ITALIC "R" TEXT_ITALIC ": %s. Usable part of the image: %s.", a,
             b);
    mro_fig_say(&w, line);
    mro_fig_say_sentence(&w, " Verdict: ", r->verdict);
    if (!isfinite(r->fraction) && r->n_warnings > 0) mro_fig_say_sentence(&w, " Reason: ", r->warnings[0]);
    if (w.failed) {
        free(w.p);
        return MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
    }
    p->caption = w.p;
    return MRO_OK;
}

static enum mro_code make_tiles(struct order_page *p, struct mro_error *e)
{
    const struct mro_order_result *r = p->r;
    static const double q[2] = { 0.01, 0.99 };
    p->tiles = r->tiles ? (r->n_tiles < TILES ? r->n_tiles : TILES) : 0;
    for (size_t i = 0; i < p->tiles; i++) {
        /* The zero-lag peak is 1 by definition; the scale is for the fringes around it. */
        const struct mro_order_tile *t = &r->tiles[i];
        double ends[2];
        if (t->v == NULL || t->n == 0 || t->n > 4096 || !(t->step_nm > 0)) {
            p->tiles = i;
            break;
        }
        MRO_TRY(mro_quantiles(t->v, t->n * t->n, q, 2, ends, e));
        if (isfinite(ends[0])) p->acf_top = fmax(p->acf_top, fmax(-ends[0], ends[1]));
    }
    p->acf_top = fmin(1, fmax(0.1, ceil(p->acf_top * 10 - 1e-6) / 10));
    for (size_t i = 0; i < p->tiles; i++) {
        const struct mro_order_tile *t = &r->tiles[i];
        const size_t k = t->n < 150 ? 150 / t->n + 1 : 1;
        float *fine = malloc(t->n * k * t->n * k * sizeof *fine);
        if (fine == NULL)
            return MRO_FAIL(e, MRO_EMEMORY, "a tile of %zu x %zu lags does not fit in memory", t->n, t->n);
        enum mro_code rc = mro_upsample(t->v, t->n, t->n, k, fine, e);
        if (rc == MRO_OK)
            rc = mro_raster_make(&p->tile[i], fine, t->n * k, t->n * k, -p->acf_top, p->acf_top, &mro_map_diverging, e);
        free(fine);
        if (rc) return rc;

        /* The object of this cell says what the fringes are; without one, the tile itself. */
        double d = NAN, azimuth = NAN, nearest = 0.8;
        for (size_t o = 0; o < r->n_objects; o++) {
            const double far = hypot(r->objects[o].x_nm - t->x_nm, r->objects[o].y_nm - t->y_nm);
            if (!(far < nearest)) continue;
            nearest = far;
            d = r->objects[o].d_nm;
            azimuth = r->objects[o].azimuth_deg;
        }
        if (!isfinite(d) || !isfinite(azimuth)) {
            if (!tile_wave(t, r->band_inv_nm, &d, &azimuth)) {
                snprintf(p->tile_text[i], sizeof p->tile_text[i], "fringes not measured");
                continue;
            }
        }
        snprintf(p->tile_text[i], sizeof p->tile_text[i],
                 TEXT_ITALIC "d" TEXT_ITALIC TEXT_NBSP "%.3f" TEXT_NBSP "nm, %.0f" TEXT_DEGREE, d,
                 azimuth >= 179.5 ? 0 : azimuth);
    }
    return MRO_OK;
}

static enum mro_code make_score(struct order_page *p, struct mro_error *e)
{
    const struct mro_order_map *m = &p->r->score;
    static const double q[2] = { 0.995, 1 };
    double top[2];
    if (m->v == NULL || m->nx == 0 || m->ny == 0 || !(m->step_x_nm > 0) || !(m->step_y_nm > 0)) return MRO_OK;
    MRO_TRY(mro_quantiles(m->v, m->nx * m->ny, q, 2, top, e));
    if (!isfinite(top[0])) top[0] = top[1] = 1;
    /* A few extreme cells must not take the colours from all others. */
    const double step = top[0] < 4 ? 0.5 : mro_tick_step(top[0], 6);
    p->score_top = fmax(1.5, step * ceil(top[0] / step - 1e-6));
    p->score_over = top[1] > p->score_top * 1.0001;
    return map_raster(&p->score, m, 0, p->score_top, e);
}

enum mro_code mro_figure_order(const char *path_stem, double width_mm, const struct mro_image *im, const char *title,
                               const struct mro_order_result *r, struct mro_error *e)
{
    struct order_page p = { .r = r };
    enum mro_code rc;
    mro_fig_pixel_size(im, r->pixel_nm, p.pixel_nm);
    for (int i = 0; i < 2; i++) p.field_nm[i] = (double)(i ? im->nx : im->ny) * (p.pixel_nm[i] > 0 ? p.pixel_nm[i] : 1);
    p.images = mro_fig_columns(width_mm, 3, COLUMN) == 3 ? 3 : 2;
    p.panel_w = p.images == 3 ? (width_mm - 2 * MARGIN - 2 * GAP - SCORE_BAR) / 3 : mro_fig_column_width(width_mm, 2);
    p.panel_h = mro_fig_panel_height(p.panel_w, p.field_nm);

    const size_t whole[4] = { 0, 0, im->nx, im->ny };
    rc = mro_fig_grey_raster(&p.micrograph, im, whole, false, e);
    if (rc) goto done;
    if (r->filtered.px && r->filtered.nx && r->filtered.ny) {
        const struct mro_image *f = &r->filtered;
        const double step[2] = { p.field_nm[0] / (double)f->ny, p.field_nm[1] / (double)f->nx };
        double centre[2] = { p.field_nm[0] / 2, p.field_nm[1] / 2 }, size[2] = { p.field_nm[0], p.field_nm[1] };
        const double finest = mro_fig_finest_field(p.panel_w, r->band_inv_nm);
        p.part = p.pixel_nm[1] > 0 && fmax(size[0] * p.panel_w / p.panel_h, size[1]) > finest;
        if (p.part) {
            const double share = 0.8 * finest / fmax(size[0] * p.panel_w / p.panel_h, size[1]);
            for (int i = 0; i < 2; i++) size[i] *= share;
            if (r->tiles && r->n_tiles) {
                centre[0] = r->tiles[0].y_nm;
                centre[1] = r->tiles[0].x_nm;
            }
        }
        size_t window[4];
        mro_fig_window_of(f, step, centre, size, window);
        for (int i = 0; i < 4; i++) p.detail[i] = (double)window[i] * step[i % 2 == 0];
        rc = mro_fig_grey_raster(&p.filtered, f, window, true, e);
        if (rc) goto done;
    }
    rc = make_score(&p, e);
    if (rc) goto done;
    rc = make_tiles(&p, e);
    if (rc) goto done;
    rc = make_caption(&p, title, e);
    if (rc) goto done;
    rc = mro_fig_write(path_stem, title, width_mm, p.caption, draw_order, &p, e);
done:
    free(p.caption);
    for (size_t i = 0; i < TILES; i++) mro_raster_release(&p.tile[i]);
    mro_raster_release(&p.score);
    mro_raster_release(&p.filtered);
    mro_raster_release(&p.micrograph);
    return rc;
}
