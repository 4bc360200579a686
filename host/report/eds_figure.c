/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/axes.h"
#include "report/canvas.h"
#include "report/figure.h"
#include "report/raster.h"

#define PAGE_WIDTH 180.0
#define MARGIN 1.5
#define PT 7.0
#define LEADING 3.25
#define INK 0x000000
#define SOFT 0x505050
#define DATA 0x0072b2
#define WAVE 0xd55e00
#define NOISE 0x808080

#define ROWS 6
#define ROW 23.0 /* height of an element's panels */
#define ROW_GAP 6.2
#define PROFILE_X 11.0
#define PROFILE_W 95.0
#define SPECTRUM_X 121.0
#define SPECTRUM_W 57.0
#define PANEL 41.0 /* maps */
#define SHOWN 3

struct box {
    double x, y, w, h;
};

static void rgb(cairo_t *cr, unsigned colour, double alpha)
{
    cairo_set_source_rgba(cr, (colour >> 16 & 255) / 255.0, (colour >> 8 & 255) / 255.0, (colour & 255) / 255.0, alpha);
}

static void stroke(cairo_t *cr, unsigned colour, double pt)
{
    rgb(cr, colour, 1);
    cairo_set_line_width(cr, pt * MM_PER_PT);
    cairo_stroke(cr);
}

static void frame(cairo_t *cr, struct box b)
{
    cairo_rectangle(cr, b.x, b.y, b.w, b.h);
    stroke(cr, INK, 0.5);
}

static void heading(struct mro_canvas *c, double x, double y, char letter, const char *title)
{
    char text[16];
    snprintf(text, sizeof text, TEXT_BOLD "%c", letter);
    mro_canvas_text(c, x, y, PT + 1, MRO_LEFT, 0, INK, text);
    mro_canvas_text(c, x + 3.4, y, PT, MRO_LEFT, 0, INK, title);
}

struct scale {
    double lo, hi;
};

static double map_x(struct box b, struct scale s, double v) { return b.x + b.w * (v - s.lo) / (s.hi - s.lo); }
static double map_y(struct box b, struct scale s, double v) { return b.y + b.h * (1 - (v - s.lo) / (s.hi - s.lo)); }

static void ticks(struct mro_canvas *c, struct box b, struct scale s, bool vertical, int most, bool labels)
{
    const double step = mro_tick_step(s.hi - s.lo, most);
    const int decimals = step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3;
    for (double t = ceil(s.lo / step - 1e-9) * step; t <= s.hi + 1e-9 * step; t += step) {
        char text[40];
        const double v = fabs(t) < 1e-9 * step ? 0 : t;
        mro_text_number(text, sizeof text, v,
                        fabs(step - 2.5) < 1e-9 || fabs(step - 0.25) < 1e-9 ? decimals + 1 : decimals, NULL);
        if (vertical) {
            const double y = map_y(b, s, v);
            cairo_move_to(c->cr, b.x, y);
            cairo_line_to(c->cr, b.x + 1, y);
            if (labels) mro_canvas_text(c, b.x - 1, y + 0.9, PT, MRO_RIGHT, 0, INK, text);
        } else {
            const double x = map_x(b, s, v);
            cairo_move_to(c->cr, x, b.y + b.h);
            cairo_line_to(c->cr, x, b.y + b.h - 1);
            if (labels) mro_canvas_text(c, x, b.y + b.h + 3.2, PT, MRO_CENTRE, 0, INK, text);
        }
    }
    stroke(c->cr, INK, 0.5);
}

static void curve(cairo_t *cr, struct box b, struct scale sx, struct scale sy, const double *x, const double *y,
                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double v = fmin(sy.hi, fmax(sy.lo, y[i]));
        if (i)
            cairo_line_to(cr, map_x(b, sx, x[i]), map_y(b, sy, v));
        else
            cairo_move_to(cr, map_x(b, sx, x[i]), map_y(b, sy, v));
    }
}

static void clip(cairo_t *cr, struct box b)
{
    cairo_save(cr);
    cairo_rectangle(cr, b.x, b.y, b.w, b.h);
    cairo_clip(cr);
}

struct page {
    const struct mro_eds_report *r;
    const struct mro_eds_field *maps;
    struct mro_raster raster[SHOWN + 1]; /* maps, then HAADF */
    size_t shown[SHOWN], n_shown, rows;
    struct scale map_range[SHOWN];
    double panel_h;
    double f_top; /* end of all spectra */
    char *caption;
};

/* ---- profiles and spectra ---- */

static void draw_profile(struct mro_canvas *c, const struct page *p, size_t j, struct box b, bool last)
{
    const struct mro_eds_result *r = p->r->along;
    const struct mro_eds_element *el = &r->element[j];
    const struct scale sx = { r->x_nm[0], r->x_nm[r->points - 1] };
    const double sd = isfinite(el->sd_counting_at) ? fmax(el->sd_at, el->sd_counting_at) : el->sd_at;
    double lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < r->points; i++) lo = fmin(lo, el->at[i]), hi = fmax(hi, el->at[i]);
    const double room = fmax(0.06 * (hi - lo), fmax(0.3 * sd, 1e-3));
    /* Head-room for the line of numbers. */
    const struct scale sy = { fmax(lo - room, lo >= 0 ? fmin(0, lo) : lo - room),
                              hi + fmax(0.3 * (hi - lo), 2 * room) };
    char text[200], a[48], d[48];
    clip(c->cr, b);
    if (el->se && !r->smoothed) {
        for (size_t i = 0; i < r->points; i++)
            cairo_line_to(c->cr, map_x(b, sx, r->x_nm[i]), map_y(b, sy, el->mean_at + el->se[i]));
        for (size_t i = r->points; i-- > 0;)
            cairo_line_to(c->cr, map_x(b, sx, r->x_nm[i]), map_y(b, sy, el->mean_at - el->se[i]));
        cairo_close_path(c->cr);
        rgb(c->cr, 0xf0b400, 0.35);
        cairo_fill(c->cr);
    }
    cairo_move_to(c->cr, b.x, map_y(b, sy, el->mean_at));
    cairo_line_to(c->cr, b.x + b.w, map_y(b, sy, el->mean_at));
    stroke(c->cr, NOISE, 0.5);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    curve(c->cr, b, sx, sy, r->x_nm, el->at, r->points);
    stroke(c->cr, DATA, r->points > 400 ? 0.45 : 0.7);
    cairo_restore(c->cr);
    ticks(c, b, sy, true, 4, true);
    ticks(c, b, sx, false, 8, last);
    frame(c->cr, b);
    mro_text_number(a, sizeof a, el->sd_at, 2, NULL);
    if (isnan(el->sd_true_at))
        snprintf(d, sizeof d, "not measured");
    else
        snprintf(d, sizeof d, "%.2f (%.2f to %.2f) at.%%", el->sd_true_at, el->sd_true_ci95[0], el->sd_true_ci95[1]);
    if (isfinite(el->sd_counting_at))
        snprintf(text, sizeof text, TEXT_BOLD "%s" TEXT_BOLD "  scatter %s, counting %.2f, true part %s", el->symbol, a,
                 el->sd_counting_at, d);
    else
        snprintf(text, sizeof text,
                 TEXT_BOLD "%s" TEXT_BOLD "  scatter %s at.%%, an upper bound; true part not measured", el->symbol, a);
    mro_canvas_text(c, b.x + 1.6, b.y + 3.2, PT, MRO_LEFT, 0, INK, text);
}

static void draw_spectrum(struct mro_canvas *c, const struct page *p, size_t j, struct box b, bool last)
{
    const struct mro_eds_element *el = &p->r->along->element[j];
    const struct mro_eds_spectrum *s = &el->spectrum;
    if (s->n < 3) {
        rgb(c->cr, 0xf0f0f0, 1);
        cairo_rectangle(c->cr, b.x, b.y, b.w, b.h);
        cairo_fill(c->cr);
        frame(c->cr, b);
        mro_canvas_text(c, b.x + b.w / 2, b.y + b.h / 2 + 0.9, PT, MRO_CENTRE, 0, SOFT, "not measured");
        return;
    }
    size_t n = s->n;
    while (n > 12 && s->f_inv_nm[n - 1] > p->f_top) n--;
    const struct scale sx = { 0, p->f_top };
    double top = 0;
    for (size_t k = 0; k < n; k++) top = fmax(top, fmax(s->power[k], s->wave[k]));
    const struct scale sy = { 0, top * 1.4 };
    double *level = malloc(n * sizeof *level);
    clip(c->cr, b);
    if (isfinite(el->wavelength_nm)) {
        const double x = map_x(b, sx, 1 / el->wavelength_nm);
        static const double dash[2] = { 1.2, 0.8 };
        cairo_set_dash(c->cr, dash, 2, 0);
        cairo_move_to(c->cr, x, b.y + 4.2);
        cairo_line_to(c->cr, x, b.y + b.h);
        stroke(c->cr, NOISE, 0.6);
        cairo_set_dash(c->cr, NULL, 0, 0);
    }
    for (size_t k = 0; k < n; k++) {
        const double x = map_x(b, sx, s->f_inv_nm[k]);
        cairo_move_to(c->cr, x, b.y + b.h);
        cairo_line_to(c->cr, x, map_y(b, sy, s->power[k]));
    }
    rgb(c->cr, DATA, 0.75);
    cairo_set_line_width(c->cr, fmax(0.3, 0.65 * b.w / (double)n));
    cairo_stroke(c->cr);
    curve(c->cr, b, sx, sy, s->f_inv_nm, s->red, n);
    stroke(c->cr, NOISE, 1.1);
    if (level) {
        static const double dot[2] = { 0.4, 0.6 };
        for (size_t k = 0; k < n; k++) level[k] = s->red[k] * s->level95;
        /* Not through the numbers. */
        clip(c->cr, (struct box){ b.x, b.y + 4.4, b.w, b.h - 4.4 });
        cairo_set_dash(c->cr, dot, 2, 0);
        curve(c->cr, b, sx, sy, s->f_inv_nm, level, n);
        stroke(c->cr, NOISE, 0.9);
        cairo_set_dash(c->cr, NULL, 0, 0);
        cairo_restore(c->cr);
    }
    if (isfinite(el->wavelength_nm)) {
        curve(c->cr, b, sx, sy, s->f_inv_nm, s->wave, n);
        stroke(c->cr, WAVE, 1.2);
    }
    cairo_restore(c->cr);
    free(level);
    ticks(c, b, sy, true, 3, true);
    ticks(c, b, sx, false, 5, last);
    frame(c->cr, b);
    char text[120], pp[64];
    mro_text_p(pp, sizeof pp, el->p_periodic);
    if (isfinite(el->wavelength_nm))
        snprintf(text, sizeof text, "%.2f" TEXT_NBSP "nm, %s", el->wavelength_nm, pp);
    else
        snprintf(text, sizeof text, "no wave, %s", pp);
    mro_canvas_text(c, b.x + b.w - 1.6, b.y + 3.2, PT, MRO_RIGHT, 0, INK, text);
}

/* ---- maps and groups ---- */

static void draw_line(cairo_t *cr, const struct mro_eds_line *l, struct box b, double scale)
{
    const double length = hypot(l->x1 - l->x0, l->y1 - l->y0), ux = (l->x1 - l->x0) / length,
                 uy = (l->y1 - l->y0) / length;
    const double h = fmax(l->width_nm / 2, 0.4 / scale);
    for (int over = 0; over < 2; over++) {
        cairo_move_to(cr, b.x + (l->x0 - uy * h) * scale, b.y + (l->y0 + ux * h) * scale);
        cairo_line_to(cr, b.x + (l->x1 - uy * h) * scale, b.y + (l->y1 + ux * h) * scale);
        cairo_move_to(cr, b.x + (l->x0 + uy * h) * scale, b.y + (l->y0 - ux * h) * scale);
        cairo_line_to(cr, b.x + (l->x1 + uy * h) * scale, b.y + (l->y1 - ux * h) * scale);
        rgb(cr, over ? 0xffffff : 0x000000, over ? 1 : 0.7);
        cairo_set_line_width(cr, (over ? 0.6 : 1.3) * MM_PER_PT);
        cairo_stroke(cr);
    }
}

/* Outlines of the pixels of one group. */
static void draw_outline(cairo_t *cr, const struct mro_eds_groups *g, int which, struct box b, unsigned colour)
{
    const double sx = b.w / (double)g->nx, sy = b.h / (double)g->ny;
    for (size_t y = 0; y < g->ny; y++) {
        for (size_t x = 0; x < g->nx; x++) {
            if (g->group[y * g->nx + x] != which) continue;
            const double px = b.x + (double)x * sx, py = b.y + (double)y * sy;
            if (x == 0 || g->group[y * g->nx + x - 1] != which) {
                cairo_move_to(cr, px, py);
                cairo_line_to(cr, px, py + sy);
            }
            if (x + 1 == g->nx || g->group[y * g->nx + x + 1] != which) {
                cairo_move_to(cr, px + sx, py);
                cairo_line_to(cr, px + sx, py + sy);
            }
            if (y == 0 || g->group[(y - 1) * g->nx + x] != which) {
                cairo_move_to(cr, px, py);
                cairo_line_to(cr, px + sx, py);
            }
            if (y + 1 == g->ny || g->group[(y + 1) * g->nx + x] != which) {
                cairo_move_to(cr, px, py + sy);
                cairo_line_to(cr, px + sx, py + sy);
            }
        }
    }
    stroke(cr, colour, 0.7);
}

static void scale_bar(struct mro_canvas *c, struct box b, double mm_per_nm)
{
    const double nm = mro_nice_below(0.3 * b.w / mm_per_nm), bar = nm * mm_per_nm;
    char text[48];
    mro_text_length(text, sizeof text, nm);
    const double w = fmax(bar, mro_canvas_text_width(c, PT, text)) + 1.6, h = 4.5;
    const struct box back = { b.x + 1.2, b.y + b.h - 1.2 - h, w, h };
    rgb(c->cr, 0xffffff, 0.85);
    cairo_rectangle(c->cr, back.x, back.y, back.w, back.h);
    cairo_fill(c->cr);
    rgb(c->cr, INK, 1);
    cairo_rectangle(c->cr, back.x + (w - bar) / 2, back.y + h - 1.5, bar, 0.7);
    cairo_fill(c->cr);
    mro_canvas_text(c, back.x + w / 2, back.y + 2.6, PT, MRO_CENTRE, 0, INK, text);
}

/* Bright less dark, at.%, with counting errors. */
static void draw_groups(struct mro_canvas *c, const struct mro_eds_groups *g, struct box b)
{
    const size_t n = g->elements < ROWS ? g->elements : ROWS;
    double top = 0;
    for (size_t j = 0; j < n; j++) {
        const double se = isfinite(g->bright.se_at[j]) ? hypot(g->bright.se_at[j], g->dark.se_at[j]) : 0;
        top = fmax(top, fabs(g->bright.mean_at[j] - g->dark.mean_at[j]) + 1.96 * se);
    }
    if (!(top > 0)) top = 1;
    const struct scale s = { -1.15 * top, 1.15 * top };
    const double row = b.h / (double)n;
    for (size_t j = 0; j < n; j++) {
        const double se = hypot(g->bright.se_at[j], g->dark.se_at[j]), v = g->bright.mean_at[j] - g->dark.mean_at[j];
        const double y = b.y + ((double)j + 0.5) * row, x = map_x(b, s, v);
        char pp[64], text[80];
        rgb(c->cr, DATA, 0.35);
        cairo_rectangle(c->cr, fmin(x, map_x(b, s, 0)), y - 0.14 * row, fabs(x - map_x(b, s, 0)), 0.28 * row);
        cairo_fill(c->cr);
        if (isfinite(se)) {
            cairo_move_to(c->cr, map_x(b, s, v - 1.96 * se), y);
            cairo_line_to(c->cr, map_x(b, s, v + 1.96 * se), y);
            stroke(c->cr, DATA, 1.1);
        }
        cairo_arc(c->cr, x, y, 0.55, 0, 2 * M_PI);
        rgb(c->cr, DATA, 1);
        cairo_fill(c->cr);
        mro_text_p(pp, sizeof pp, g->p_element[j]);
        snprintf(text, sizeof text, TEXT_BOLD "%s", g->symbol[j]);
        mro_canvas_text(c, b.x - 1, y + 0.9, PT, MRO_RIGHT, 0, INK, text);
        mro_canvas_text(c, b.x + b.w - 1, y - 0.2 * row - 0.5, PT, MRO_RIGHT, 0, SOFT, pp);
    }
    cairo_move_to(c->cr, map_x(b, s, 0), b.y);
    cairo_line_to(c->cr, map_x(b, s, 0), b.y + b.h);
    stroke(c->cr, NOISE, 0.6);
    ticks(c, b, s, false, 4, true);
    frame(c->cr, b);
    mro_canvas_text(c, b.x + b.w / 2, b.y + b.h + 6.6, PT, MRO_CENTRE, 0, INK, "Bright less dark (at.%)");
}

static void draw_maps(struct mro_canvas *c, const struct page *p, double y, char letter)
{
    const struct mro_eds_report *r = p->r;
    const double field[2] = { (double)p->maps->ny * p->maps->pixel_nm[0], (double)p->maps->nx * p->maps->pixel_nm[1] };
    const double scale = fmin(PANEL / field[1], p->panel_h / field[0]);
    double x = MARGIN;
    for (size_t i = 0; i <= p->n_shown; i++) {
        const bool image = i == p->n_shown;
        const struct box b = { x, y, field[1] * scale, field[0] * scale };
        char text[96];
        if (p->raster[i].surface == NULL) continue;
        if (image)
            snprintf(text, sizeof text, "HAADF: bright, dark");
        else
            snprintf(text, sizeof text, "%s, %.3g to %.3g %s", p->maps->symbol[p->shown[i]], p->map_range[i].lo,
                     p->map_range[i].hi, p->maps->at_percent ? "at.%" : "counts/px");
        heading(c, x, y - 1.4, letter++, text);
        mro_canvas_raster(c, &p->raster[i], b.x, b.y, b.w, b.h);
        clip(c->cr, b);
        if (image && r->groups) {
            draw_outline(c->cr, r->groups, 1, b, 0xf0b400);
            draw_outline(c->cr, r->groups, -1, b, 0x56b4e9);
        } else {
            if (r->across) draw_line(c->cr, r->across_line, b, scale);
            if (r->line) draw_line(c->cr, r->line, b, scale);
        }
        cairo_restore(c->cr);
        frame(c->cr, b);
        scale_bar(c, b, scale);
        x += b.w + 3;
    }
    if (r->groups && r->groups->elements) {
        const struct box b = { x + 4, y, PAGE_WIDTH - MARGIN - 1 - (x + 4), fmin(p->panel_h, field[0] * scale) };
        if (b.w > 20) {
            heading(c, x, y - 1.4, letter, "Composition");
            draw_groups(c, r->groups, b);
        }
    }
}

static void draw_page(struct mro_canvas *c, void *data)
{
    const struct page *p = data;
    double y = MARGIN + 3.8;
    if (p->rows) {
        heading(c, MARGIN, y - 1.4, 'a',
                p->r->along->counts && !p->r->along->smoothed
                    ? "Composition along the line; band: what counting alone scatters (1 sd)"
                    : "Composition along the line");
        heading(c, SPECTRUM_X - 9, y - 1.4, 'b', "Spectrum, red noise (grey), best wave (orange)");
    }
    for (size_t j = 0; j < p->rows; j++) {
        const bool last = j + 1 == p->rows;
        draw_profile(c, p, j, (struct box){ PROFILE_X, y, PROFILE_W, ROW }, last);
        draw_spectrum(c, p, j, (struct box){ SPECTRUM_X, y, SPECTRUM_W, ROW }, last);
        y += ROW + (last ? 0 : 1.6);
    }
    if (p->rows) {
        const double middle = (MARGIN + 3.8 + y) / 2;
        mro_canvas_text(c, PROFILE_X + PROFILE_W / 2, y + 6.6, PT, MRO_CENTRE, 0, INK, "Distance (nm)");
        mro_canvas_text(c, SPECTRUM_X + SPECTRUM_W / 2, y + 6.6, PT, MRO_CENTRE, 0, INK,
                        "Frequency (nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ")");
        mro_canvas_text(c, 3.6, middle, PT, MRO_CENTRE, 1, INK, "Content (at.%)");
        mro_canvas_text(c, SPECTRUM_X - 7.4, middle, PT, MRO_CENTRE, 1, INK,
                        isfinite(p->r->along->element[0].sd_counting_at) ? "Power / counting noise" : "Power / mean");
        y += 7.6 + (p->maps ? ROW_GAP : 0);
    }
    if (p->maps) {
        draw_maps(c, p, y, p->rows ? 'c' : 'a');
        y += p->panel_h + (p->r->groups && p->r->groups->elements ? 8 : 1.2);
    }
    mro_canvas_paragraph(c, MARGIN, y + 3.4, PAGE_WIDTH - 2 * MARGIN, LEADING, PT, p->caption, true);
}

/* ---- preparation ---- */

static enum mro_code map_raster(struct mro_raster *out, const float *v, size_t ny, size_t nx, size_t coarse, bool grey,
                                struct scale *range, struct mro_error *e)
{
    static const double q[2] = { 0.005, 0.995 };
    double ends[2];
    const size_t ky = mro_block_factor(ny, coarse), kx = mro_block_factor(nx, coarse);
    const size_t my = (ny - 1) / ky + 1, mx = (nx - 1) / kx + 1, fy = 480 / my + 1, fx = 480 / mx + 1;
    float *small = malloc(my * mx * sizeof *small), *fine = malloc(my * fy * mx * fx * sizeof *fine);
    enum mro_code rc = MRO_OK;
    if (small == NULL || fine == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "a panel of %zu x %zu pixels does not fit in memory", nx, ny);
        goto done;
    }
    mro_area_average(v, nx, ny, nx, ky, kx, small);
    rc = mro_quantiles(small, my * mx, q, 2, ends, e);
    if (rc) goto done;
    mro_repeat(small, my, mx, fy, fx, fine);
    rc = mro_raster_make(out, fine, my * fy, mx * fx, ends[0], ends[1], grey ? &mro_map_grey : &mro_map_score, e);
    if (range) *range = (struct scale){ ends[0], ends[1] };
done:
    free(fine);
    free(small);
    return rc;
}

/* Where spectra end: waves live at low frequencies, the rest is noise. */
static double spectrum_end(const struct mro_eds_result *r)
{
    double end = 0, shortest = INFINITY;
    for (size_t j = 0; j < r->elements; j++) {
        const struct mro_eds_spectrum *s = &r->element[j].spectrum;
        if (s->n) end = fmax(end, s->f_inv_nm[s->n - 1]);
        if (isfinite(r->element[j].wavelength_nm)) shortest = fmin(shortest, r->element[j].wavelength_nm);
    }
    return isfinite(shortest) ? fmin(end, 3.5 / shortest) : end;
}

/* The elements that vary most beyond counting, or the first ones. */
static void choose_maps(struct page *p)
{
    bool taken[MRO_EDS_MAX_ELEMENTS] = { false };
    const size_t n = p->maps->elements;
    while (p->n_shown < (p->r->groups ? SHOWN - 1 : SHOWN) && p->n_shown < n) {
        size_t best = n;
        double most = -1;
        for (size_t j = 0; j < n; j++) {
            const struct mro_eds_element *el = p->r->along ? &p->r->along->element[j] : NULL;
            const double v = el && isfinite(el->sd_true_at) ? el->sd_true_at : 0;
            if (!taken[j] && v > most) most = v, best = j;
        }
        taken[best] = true;
        p->shown[p->n_shown++] = best;
    }
}

static char *make_caption(const struct page *p, const char *title)
{
    char name[256], *text = malloc(8192);
    const struct mro_eds_result *r = p->r->along;
    if (text == NULL) return NULL;
    size_t n = 0;
    mro_text_clean(name, sizeof name, title);
    n += (size_t)snprintf(text + n, 8192 - n, TEXT_BOLD "%s. " TEXT_BOLD, name);
    if (r) {
        n += (size_t)snprintf(text + n, 8192 - n, "%zu points of %.3g" TEXT_NBSP "nm. ", r->points, r->step_nm);
        for (size_t i = 0; i < r->n_pairs && n < 6000; i++) {
            const struct mro_eds_pair *q = &r->pair[i];
            char pp[64];
            if (!(q->p < 0.05)) continue;
            char rr[48], by[48];
            mro_text_p(pp, sizeof pp, q->p);
            mro_text_number(rr, sizeof rr, q->r, 2, NULL);
            mro_text_number(by, sizeof by, q->r_counting, 2, NULL);
            n += (size_t)snprintf(text + n, 8192 - n,
                                  "%s" TEXT_DASH "%s: " TEXT_ITALIC "r" TEXT_ITALIC TEXT_NBSP "=" TEXT_NBSP
                                  "%s, by closure %s, %s. ",
                                  r->element[q->a].symbol, r->element[q->b].symbol, rr, by, pp);
        }
        if (r->n_pairs)
            n += (size_t)snprintf(text + n, 8192 - n,
                                  "Dotted: what 95" TEXT_NBSP "%% of lines of red noise stay below. ");
        if (r->elements > ROWS)
            n += (size_t)snprintf(text + n, 8192 - n, "Of %zu elements the first %d are drawn. ", r->elements, ROWS);
        if (r->smoothed)
            n += (size_t)snprintf(text + n, 8192 - n,
                                  "The counts scatter less than counts can (interpolated or smoothed): no true part. ");
        else if (!r->counts && r->replicates == 0)
            n += (size_t)snprintf(text + n, 8192 - n, "No counts: the scatter is an upper bound. ");
    }
    if (p->r->groups) {
        const struct mro_eds_groups *g = p->r->groups;
        char pp[64];
        mro_text_p(pp, sizeof pp, g->p);
        n += (size_t)snprintf(text + n, 8192 - n,
                              "Bright regions (yellow outlines) %.1f" TEXT_NBSP "%%, dark (blue) %.1f" TEXT_NBSP
                              "%% of the field",
                              100 * g->bright.area_fraction, 100 * g->dark.area_fraction);
        if (g->elements)
            n += (size_t)snprintf(text + n, 8192 - n,
                                  "; equal composition: %s (permuted blocks); bars: 95" TEXT_NBSP "%% by counting", pp);
        n += (size_t)snprintf(text + n, 8192 - n, ". ");
        if (g->has_mro) {
            mro_text_p(pp, sizeof pp, g->mro_p);
            snprintf(text + n, 8192 - n,
                     "%.1f" TEXT_NBSP "%% of the MRO lies in bright regions, by chance %.1f" TEXT_NBSP "%%, %s.",
                     100 * g->mro_bright, 100 * g->bright.area_fraction, pp);
        }
    }
    return text;
}

enum mro_code mro_figure_eds(const char *path_stem, const char *title, const struct mro_eds_report *r,
                             const struct mro_eds_field *maps, const struct mro_image *haadf, struct mro_error *e)
{
    struct page p = { .r = r, .maps = maps };
    struct mro_canvas measure = { 0 };
    char name[256];
    enum mro_code rc = MRO_OK;
    (void)haadf;
    p.rows = r->along ? (r->along->elements < ROWS ? r->along->elements : ROWS) : 0;
    p.f_top = r->along ? spectrum_end(r->along) : 0;
    if (maps) {
        p.panel_h = fmin(1.25 * PANEL, fmax(15, PANEL * (double)maps->ny * maps->pixel_nm[0] /
                                                    ((double)maps->nx * maps->pixel_nm[1])));
        choose_maps(&p);
        for (size_t i = 0; i < p.n_shown && rc == MRO_OK; i++)
            rc = map_raster(&p.raster[i], maps->counts[p.shown[i]], maps->ny, maps->nx, 80, false, &p.map_range[i], e);
        if (rc == MRO_OK && r->groups)
            rc = map_raster(&p.raster[p.n_shown], r->groups->flat, r->groups->ny, r->groups->nx, 480, true, NULL, e);
        if (rc) goto done;
    }
    p.caption = make_caption(&p, title);
    if (p.caption == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
        goto done;
    }
    rc = mro_canvas_measure(&measure, e);
    if (rc) goto done;
    const size_t lines = mro_canvas_paragraph(&measure, 0, 0, PAGE_WIDTH - 2 * MARGIN, LEADING, PT, p.caption, false);
    double height =
        MARGIN + 3.8 + (double)p.rows * (ROW + 1.6) - (p.rows ? 1.6 : 0) + (p.rows ? 7.6 + (maps ? ROW_GAP : 0) : 0);
    if (maps) height += p.panel_h + (r->groups && r->groups->elements ? 8 : 1.2);
    height += 3.4 + ((double)lines - 1) * LEADING + 1.2 + MARGIN;
    mro_text_clean(name, sizeof name, title);
    rc = mro_canvas_write(path_stem, name, PAGE_WIDTH, height, draw_page, &p, e);
done:
    mro_canvas_close(&measure);
    free(p.caption);
    for (size_t i = 0; i <= SHOWN; i++) mro_raster_release(&p.raster[i]);
    return rc;
}
