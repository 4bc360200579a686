/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of a map of indents. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/axes.h"
#include "report/figure.h"
#include "report/plot.h"

#define PLOT_HEIGHT 46.0
#define PLOT_HEIGHT_ALONE 34.0 /* of one that is as wide as the page */
#define MAP_HEIGHT 62.0
#define LEVELS 6
#define ALIKE 0.01

struct page {
    const struct mro_indent_result *r;
    struct mro_raster map;
    double lo, hi, map_w, map_h;
    char value[64], unit[28], *caption; /* "H (GPa)", "GPa" */
};

/* Contour lines through the centres of cells, straight inside of each square of four; squares with a hole have none. */
static void contours(struct mro_canvas *c, const struct page *p, struct mro_box b)
{
    const struct mro_indent_result *r = p->r;
    const double sx = b.w / (double)r->grid_nx, sy = b.h / (double)r->grid_ny;
    for (int level = 1; level < LEVELS; level++) {
        const double at = p->lo + (p->hi - p->lo) * level / LEVELS;
        for (size_t y = 0; y + 1 < r->grid_ny; y++)
            for (size_t x = 0; x + 1 < r->grid_nx; x++) {
                /* Around the square; a line joins the sides that it crosses. */
                const size_t i = y * r->grid_nx + x;
                const double v[5] = { r->grid[i], r->grid[i + 1], r->grid[i + r->grid_nx + 1], r->grid[i + r->grid_nx],
                                      r->grid[i] };
                static const double cx[5] = { 0, 1, 1, 0, 0 }, cy[5] = { 0, 0, 1, 1, 0 };
                double px[4], py[4];
                int n = 0;
                if (!isfinite(v[0] + v[1] + v[2] + v[3])) continue;
                for (int k = 0; k < 4; k++) {
                    if ((v[k] < at) == (v[k + 1] < at)) continue;
                    const double t = (at - v[k]) / (v[k + 1] - v[k]);
                    px[n] = b.x + sx * ((double)x + 0.5 + cx[k] + t * (cx[k + 1] - cx[k]));
                    py[n++] = b.y + sy * ((double)y + 0.5 + cy[k] + t * (cy[k + 1] - cy[k]));
                }
                for (int k = 0; k + 1 < n; k += 2) {
                    cairo_move_to(c->cr, px[k], py[k]);
                    cairo_line_to(c->cr, px[k + 1], py[k + 1]);
                }
            }
    }
    mro_plot_stroke(c, INK, 0.6, 0);
}

/* Returns the lower end of its frame. */
static double draw_map(struct mro_canvas *c, const struct page *p, double x, double y)
{
    const struct mro_indent_result *r = p->r;
    const bool known = mro_indent_length_known(r);
    const bool lines = r->moran_p < ALIKE;
    mro_fig_heading(c, x, y, "a", r->grid ? (lines ? "Map, contour lines between indents" : "Map") : "Places");
    const double left = x + PLOT_LEFT;
    if (r->grid) {
        const double field[2] = { (double)r->grid_ny * r->pitch[0], (double)r->grid_nx * r->pitch[1] };
        const struct mro_box b = mro_fig_fit(left, y, p->map_w - PLOT_LEFT - 16, p->map_h, field);
        const double unit = known ? 1e-3 : 1;
        struct mro_plot axes = { .b = b };
        axes.x[0] = unit * (r->origin[1] - r->pitch[1] / 2) + (known ? 0 : 1);
        axes.x[1] = unit * (r->origin[1] + ((double)r->grid_nx - 0.5) * r->pitch[1]) + (known ? 0 : 1);
        axes.y[1] = unit * (r->origin[0] - r->pitch[0] / 2) + (known ? 0 : 1);
        axes.y[0] = unit * (r->origin[0] + ((double)r->grid_ny - 0.5) * r->pitch[0]) + (known ? 0 : 1);
        mro_fig_hatch(c->cr, b);
        mro_canvas_raster(c, &p->map, b.x, b.y, b.w, b.h);
        if (lines) contours(c, p, b);
        /* y grows downward; ticks are placed for an axis that does so too. */
        for (int v = 0; v < 2; v++) {
            const double *range = v ? axes.y : axes.x, lo = fmin(range[0], range[1]), hi = fmax(range[0], range[1]);
            const double step = fmax(mro_tick_step(hi - lo, 6), known ? 0 : 1);
            const int decimals = (int)fmax(0, ceil(-log10(step) - 1e-9));
            for (double k = ceil(lo / step - 1e-6); k * step <= hi + 1e-6 * step; k++) {
                char text[48];
                const double t = (k * step - lo) / (hi - lo);
                mro_text_number(text, sizeof text, k * step, decimals, "");
                if (v) {
                    cairo_move_to(c->cr, b.x, b.y + t * b.h);
                    cairo_line_to(c->cr, b.x - 0.8, b.y + t * b.h);
                    mro_canvas_text(c, b.x - 1.4, b.y + t * b.h + 0.9, PT, MRO_RIGHT, 0, INK, text);
                } else {
                    cairo_move_to(c->cr, b.x + t * b.w, b.y + b.h);
                    cairo_line_to(c->cr, b.x + t * b.w, b.y + b.h + 0.8);
                    mro_canvas_text(c, b.x + t * b.w, b.y + b.h + 3.6, PT, MRO_CENTRE, 0, INK, text);
                }
            }
        }
        mro_fig_rgb(c->cr, INK, 1);
        cairo_set_line_width(c->cr, 0.5 * MM_PER_PT);
        cairo_stroke(c->cr);
        mro_fig_frame(c->cr, b, 0.5);
        mro_canvas_text(c, b.x + b.w / 2, b.y + b.h + 7, PT, MRO_CENTRE, 0, INK,
                        known ? "x ("
                                "\xc2\xb5"
                                "m)"
                              : "Column");
        mro_canvas_text(c, b.x - PLOT_LEFT + 3.2, b.y + b.h / 2, PT, MRO_CENTRE, 1, INK,
                        known ? "y ("
                                "\xc2\xb5"
                                "m)"
                              : "Row");
        mro_fig_colour_bar(c, (struct mro_box){ b.x + b.w + 1.8, b.y, 2.4, b.h }, &mro_map_score, p->lo, p->hi, false,
                           NAN, p->value);
        return b.y + b.h;
    }
    const struct mro_box b = { left, y, p->map_w - PLOT_LEFT - 16, p->map_h };
    if (!isfinite(r->x[0])) {
        mro_fig_placeholder(c, b, "no positions");
        return b.y + b.h;
    }
    struct mro_plot plot = { .b = b, .x = { INFINITY, -INFINITY }, .y = { -INFINITY, INFINITY } };
    for (size_t i = 0; i < r->places; i++) {
        plot.x[0] = fmin(plot.x[0], r->x[i] / 1e3), plot.x[1] = fmax(plot.x[1], r->x[i] / 1e3);
        plot.y[1] = fmin(plot.y[1], r->y[i] / 1e3), plot.y[0] = fmax(plot.y[0], r->y[i] / 1e3);
    }
    const double more = 0.05 * fmax(plot.x[1] - plot.x[0], plot.y[0] - plot.y[1]) + 1e-9;
    plot.x[0] -= more, plot.x[1] += more, plot.y[1] -= more, plot.y[0] += more;
    mro_plot_begin(c, &plot);
    for (size_t i = 0; i < r->places; i++) {
        const struct mro_colour k =
            mro_colour_at(&mro_map_score, p->hi > p->lo ? (r->value[i] - p->lo) / (p->hi - p->lo) : 0.5);
        mro_plot_dot(c, &plot, r->x[i] / 1e3, r->y[i] / 1e3, 1.0, (unsigned)k.r << 16 | (unsigned)k.g << 8 | k.b);
    }
    mro_plot_end(c);
    mro_fig_frame(c->cr, b, 0.5);
    mro_fig_colour_bar(c, (struct mro_box){ b.x + b.w + 1.8, b.y, 2.4, b.h }, &mro_map_score, p->lo, p->hi, false, NAN,
                       p->value);
    return b.y + b.h;
}

static void draw_histogram(struct mro_canvas *c, const struct page *p, struct mro_box b)
{
    const struct mro_indent_result *r = p->r;
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, "b", "Distribution");
    if (r->n_kernel == 0) {
        mro_fig_placeholder(c, b, "too few values");
        return;
    }
    const double range = r->maximum - r->minimum;
    const size_t n =
        (size_t)fmin(60, fmax(5, ceil(range / fmax(1e-300, 3.5 * r->sd * pow((double)r->places, -1.0 / 3)))));
    const double step = range / (double)n;
    double *count = mro_canvas_room(c, n), top = 0;
    if (count == NULL) return;
    memset(count, 0, n * sizeof *count);
    for (size_t i = 0; i < r->places; i++)
        count[(size_t)fmin((double)n - 1, (r->value[i] - r->minimum) / step)] += 1 / ((double)r->places * step);
    for (size_t i = 0; i < n; i++) top = fmax(top, count[i]);
    for (size_t i = 0; i < r->n_kernel; i++) top = fmax(top, r->kernel[i]);
    struct mro_plot plot = { .b = b };
    plot.x[0] = r->kernel_lo + r->bandwidth;
    plot.x[1] = r->kernel_lo + (double)(r->n_kernel - 1) * r->kernel_step - r->bandwidth;
    plot.y[1] = 1.45 * top;
    mro_plot_begin(c, &plot);
    for (size_t i = 0; i < n; i++) {
        const double x0 = mro_plot_x(&plot, r->minimum + (double)i * step),
                     x1 = mro_plot_x(&plot, r->minimum + (double)(i + 1) * step), y = mro_plot_y(&plot, count[i]);
        cairo_rectangle(c->cr, x0, y, x1 - x0, mro_plot_y(&plot, 0) - y);
    }
    mro_fig_rgb(c->cr, 0xd0d0d0, 1);
    cairo_fill_preserve(c->cr);
    mro_plot_stroke(c, GREY, 0.4, 0);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < r->n_kernel; i++) {
            const double x = r->kernel_lo + (double)i * r->kernel_step, t = (x - r->mean) / r->sd;
            const double v = k ? r->kernel[i] : exp(-0.5 * t * t) / (r->sd * sqrt(2 * M_PI));
            if (i)
                cairo_line_to(c->cr, mro_plot_x(&plot, x), mro_plot_y(&plot, v));
            else
                cairo_move_to(c->cr, mro_plot_x(&plot, x), mro_plot_y(&plot, v));
        }
        mro_plot_stroke(c, k ? ORANGE : BLUE, 1.2, k ? 0 : 1.0);
    }
    mro_plot_end(c);
    char density[56];
    snprintf(density, sizeof density, "Probability density (1/%s)", p->unit);
    mro_plot_axes(c, &plot, p->value, p->r->unit[0] ? density : "Probability density");
    mro_plot_legend(c, b.x + 1.6, b.y + 3.6, BLUE, 1.2, 1.0, "Gaussian");
    mro_plot_legend(c, b.x + 1.6, b.y + 6.9, ORANGE, 1.2, 0, "kernel estimate");
    free(count);
}

static void draw_neighbours(struct mro_canvas *c, const struct page *p, struct mro_box b)
{
    const struct mro_indent_result *r = p->r;
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, "c", "Each value and the mean of its neighbours");
    if (!isfinite(r->moran_i)) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    struct mro_plot plot = { .b = b, .x = { r->minimum, r->maximum }, .y = { r->minimum, r->maximum } };
    const double more = 0.05 * (r->maximum - r->minimum);
    plot.x[0] -= more, plot.x[1] += more, plot.y[0] -= more, plot.y[1] += 3 * more;
    mro_plot_begin(c, &plot);
    mro_plot_vertical(c, &plot, r->mean, GREY, 0.5, 0);
    mro_plot_horizontal(c, &plot, r->mean, GREY, 0.5, 0);
    for (size_t i = 0; i < r->places; i++)
        if (isfinite(r->beside[i]))
            mro_plot_dot(c, &plot, r->value[i], r->beside[i], r->places > 400 ? 0.35 : 0.55, BLUE);
    for (int k = 0; k < 2; k++) {
        const double x = plot.x[k], y = r->mean + r->moran_i * (x - r->mean);
        if (k)
            cairo_line_to(c->cr, mro_plot_x(&plot, x), mro_plot_y(&plot, y));
        else
            cairo_move_to(c->cr, mro_plot_x(&plot, x), mro_plot_y(&plot, y));
    }
    mro_plot_stroke(c, ORANGE, 1.3, 0);
    mro_plot_end(c);
    mro_plot_axes(c, &plot, p->value, "Mean of neighbours");
    char text[512], p_text[48];
    mro_text_p(p_text, sizeof p_text, r->moran_p);
    snprintf(text, sizeof text, "Moran's I %.2f, %s", r->moran_i, p_text);
    mro_plot_legend(c, b.x + 1.6, b.y + 3.6, ORANGE, 1.3, 0, text);
}

static void draw_bins(struct mro_canvas *c, const struct page *p, struct mro_box b, bool width)
{
    static const char *const from[] = { "", "left", "upper", "right", "lower" };
    const struct mro_indent_result *r = p->r;
    const bool known = mro_indent_length_known(r);
    const double unit = known ? 1e-3 : 1;
    const struct mro_indent_trend *t = width ? &r->fwhm_trend : &r->mean_trend;
    struct mro_plot plot = { .b = b, .x = { INFINITY, -INFINITY }, .y = { INFINITY, -INFINITY } };
    double weight = 0, mx = 0, my = 0;
    char label[96], fwhm[40], text[64];
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, width ? "e" : "d",
                    width ? "Width against distance" : "Mean against distance");
    for (size_t i = 0; i < r->n_bins; i++) {
        const struct mro_indent_bin *q = &r->bin[i];
        const double v = width ? q->fwhm : q->mean, *ci = width ? q->fwhm_ci95 : q->mean_ci95;
        plot.x[0] = fmin(plot.x[0], unit * q->distance), plot.x[1] = fmax(plot.x[1], unit * q->distance);
        if (!isfinite(v)) continue;
        plot.y[0] = fmin(plot.y[0], isfinite(ci[0]) && q->n > 3 ? ci[0] : v);
        plot.y[1] = fmax(plot.y[1], isfinite(ci[1]) && q->n > 3 ? ci[1] : v);
        if (width && q->n < 3) continue;
        weight += (double)q->n;
        mx += (double)q->n * q->distance;
        my += (double)q->n * v;
    }
    if (!(plot.y[1] >= plot.y[0]) || !(plot.x[1] > plot.x[0])) {
        mro_fig_placeholder(c, b, "too few bins");
        return;
    }
    const double more = 0.05 * (plot.x[1] - plot.x[0]), tall = 0.1 * (plot.y[1] - plot.y[0]) + 1e-9;
    plot.x[0] -= more, plot.x[1] += more, plot.y[0] -= tall, plot.y[1] += 2.5 * tall;
    mro_plot_begin(c, &plot);
    for (size_t i = 0; i < r->n_bins; i++) {
        const struct mro_indent_bin *q = &r->bin[i];
        const double v = width ? q->fwhm : q->mean, *ci = width ? q->fwhm_ci95 : q->mean_ci95;
        const double x = mro_plot_x(&plot, unit * q->distance);
        if (!isfinite(v)) continue;
        if (isfinite(ci[0])) {
            cairo_move_to(c->cr, x, mro_plot_y(&plot, ci[0]));
            cairo_line_to(c->cr, x, mro_plot_y(&plot, ci[1]));
            mro_plot_stroke(c, GREY, 0.8, 0);
        }
        mro_plot_dot(c, &plot, unit * q->distance, v, 0.7, BLUE);
    }
    if (isfinite(t->slope) && weight > 0) {
        for (int k = 0; k < 2; k++) {
            const double x = plot.x[k], y = my / weight + t->slope * (x / unit - mx / weight);
            if (k)
                cairo_line_to(c->cr, mro_plot_x(&plot, x), mro_plot_y(&plot, y));
            else
                cairo_move_to(c->cr, mro_plot_x(&plot, x), mro_plot_y(&plot, y));
        }
        mro_plot_stroke(c, ORANGE, 1.2, 0);
    }
    mro_plot_end(c);
    snprintf(fwhm, sizeof fwhm, "FWHM (%s)", p->unit);
    snprintf(label, sizeof label, "Distance from the %s edge (%s)", from[r->edge],
             known         ? "\xc2\xb5"
                             "m"
             : r->edge % 2 ? "columns"
                           : "rows");
    mro_plot_axes(c, &plot, label, width ? fwhm : p->value);
    mro_text_p(text, sizeof text, t->p);
    if (isfinite(t->slope)) mro_plot_legend(c, b.x + 1.6, b.y + 3.6, ORANGE, 1.2, 0, text);
}

static void draw_plot(struct mro_canvas *c, const struct page *p, int which, struct mro_box b)
{
    if (which == 0)
        draw_histogram(c, p, b);
    else if (which == 1)
        draw_neighbours(c, p, b);
    else
        draw_bins(c, p, b, which == 3);
}

static double draw(struct mro_canvas *c, const void *data)
{
    const struct page *p = data;
    const size_t across = mro_fig_columns(c->width_mm, 3, COLUMN);
    const int plots = p->r->edge == MRO_INDENT_NONE ? 2 : 4;
    const double y0 = MARGIN + HEAD - 0.6, right = MARGIN + p->map_w + GAP, width = c->width_mm - MARGIN - right,
                 column = mro_fig_column_width(c->width_mm, across),
                 high = across == 1 ? PLOT_HEIGHT_ALONE : PLOT_HEIGHT;
    const double low = draw_map(c, p, MARGIN, y0);
    if (across == 3)
        draw_plot(c, p, 0, (struct mro_box){ right + PLOT_LEFT, y0, width - PLOT_LEFT - 0.5, MAP_HEIGHT - 2 });
    double y = (across == 3 ? y0 + MAP_HEIGHT : low) + 9 + HEAD;
    for (int k = across == 3, at = 0; k < plots; k++, at++) {
        const double x = MARGIN + (double)((size_t)at % across) * (column + GAP);
        if (at > 0 && (size_t)at % across == 0) y += high + 9 + HEAD;
        draw_plot(c, p, k, (struct mro_box){ x + PLOT_LEFT, y, column - PLOT_LEFT - 0.5, high });
    }
    return y + high + 11.6;
}

static enum mro_code make_caption(struct page *p, const char *title, struct mro_error *e)
{
    const struct mro_indent_result *r = p->r;
    struct mro_words w = { 0 };
    char line[512];
    const char *unit = p->unit;
    mro_fig_say_title(&w, title);
    snprintf(line, sizeof line, TEXT_BOLD "%zu indent%s, mean %.4g" TEXT_NBSP "%s" TEXT_BOLD, r->n,
             r->n == 1 ? "" : "s", r->mean, unit);
    mro_fig_say(&w, line);
    if (isfinite(r->mean_ci95[0])) {
        snprintf(line, sizeof line, " (95" TEXT_NBSP "%% interval %.4g to %.4g)", r->mean_ci95[0], r->mean_ci95[1]);
        mro_fig_say(&w, line);
    }
    if (isfinite(r->fwhm)) {
        snprintf(line, sizeof line,
                 ", standard deviation %.3g" TEXT_NBSP "%s, FWHM %.3g" TEXT_NBSP
                 "%s (%.3g to %.3g), by kernel estimate %.3g" TEXT_NBSP "%s",
                 r->sd, unit, r->fwhm, unit, r->fwhm_ci95[0], r->fwhm_ci95[1], r->fwhm_kernel, unit);
        mro_fig_say(&w, line);
    }
    if (isfinite(r->fwhm_true)) {
        snprintf(line, sizeof line, "; with noise of %.3g" TEXT_NBSP "%s taken out %.3g" TEXT_NBSP "%s", r->noise_sd,
                 unit, r->fwhm_true, unit);
        mro_fig_say(&w, line);
    }
    mro_fig_say(&w, ". ");
    if (r->holes) {
        snprintf(line, sizeof line, "Empty cells: %zu (hatched). ", r->holes);
        mro_fig_say(&w, line);
    }
    if (r->grid && !(r->moran_p < ALIKE))
        mro_fig_say(&w, "No contour lines, since neighbours are not shown to be alike. ");
    if (r->edge != MRO_INDENT_NONE) mro_fig_say(&w, "Bars: 95" TEXT_NBSP "% intervals. ");
    mro_fig_say_sentence(&w, "Verdict: ", r->verdict);
    if (w.failed) {
        free(w.p);
        return MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
    }
    p->caption = w.p;
    return MRO_OK;
}

/* The grid as whole cells, so that nothing is drawn between indents that was not measured. */
static enum mro_code make_map(struct page *p, struct mro_error *e)
{
    const struct mro_indent_result *r = p->r;
    const size_t k = fmax((double)r->grid_nx, (double)r->grid_ny) < RASTER / 2 ? 8 : 1, ny = r->grid_ny * k,
                 nx = r->grid_nx * k;
    if (nx > 32767 || ny > 32767)
        return MRO_FAIL(e, MRO_EARG, "a grid of %zu x %zu indents is too large for a figure", r->grid_nx, r->grid_ny);
    float *v = malloc((size_t)(r->grid_ny * r->grid_nx) * sizeof *v), *fine = malloc(ny * nx * sizeof *fine);
    if (v == NULL || fine == NULL) {
        free(v);
        free(fine);
        return MRO_FAIL(e, MRO_EMEMORY, "a map of %zu x %zu indents does not fit in memory", r->grid_nx, r->grid_ny);
    }
    for (size_t i = 0; i < r->grid_ny * r->grid_nx; i++) v[i] = (float)r->grid[i];
    mro_repeat(v, r->grid_ny, r->grid_nx, k, k, fine);
    const enum mro_code rc = mro_raster_make(&p->map, fine, ny, nx, p->lo, p->hi, &mro_map_score, e);
    free(v);
    free(fine);
    return rc;
}

enum mro_code mro_figure_indent(const char *path_stem, double width_mm, const char *title,
                                const struct mro_indent_result *r, struct mro_error *e)
{
    struct page p = { .r = r, .lo = r->minimum, .hi = r->maximum };
    char quantity[32];
    enum mro_code rc = MRO_OK;
    if (!(p.hi > p.lo)) p.lo -= 0.5, p.hi += 0.5;
    mro_text_clean(quantity, sizeof quantity, r->quantity);
    mro_text_clean(p.unit, sizeof p.unit, r->unit[0] ? r->unit : "unit unknown");
    if (r->unit[0] && strstr(quantity, p.unit))
        snprintf(p.value, sizeof p.value, "%s", quantity);
    else
        snprintf(p.value, sizeof p.value, "%s (%s)", quantity[0] ? quantity : "Value", p.unit);
    p.map_w = width_mm - 2 * MARGIN;
    if (mro_fig_columns(width_mm, 3, COLUMN) == 3) p.map_w = (width_mm - 2 * MARGIN - GAP) * 0.56;
    p.map_h = MAP_HEIGHT;
    if (r->grid && (rc = make_map(&p, e))) goto done;
    if ((rc = make_caption(&p, title, e))) goto done;
    rc = mro_fig_write(path_stem, title, width_mm, p.caption, draw, &p, e);
done:
    free(p.caption);
    mro_raster_release(&p.map);
    return rc;
}
