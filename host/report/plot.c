/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "report/axes.h"

static double part(const double range[2], bool log_axis, double v)
{
    return log_axis ? log(v / range[0]) / log(range[1] / range[0]) : (v - range[0]) / (range[1] - range[0]);
}

double mro_plot_x(const struct mro_plot *p, double x) { return p->b.x + part(p->x, p->log_x, x) * p->b.w; }
double mro_plot_y(const struct mro_plot *p, double y) { return p->b.y + (1 - part(p->y, p->log_y, y)) * p->b.h; }

/* Returns how wide its number is. */
static double tick(struct mro_canvas *c, const struct mro_plot *p, bool vertical, double v, double length,
                   const char *text)
{
    const struct mro_box b = p->b;
    const double at = vertical ? mro_plot_y(p, v) : mro_plot_x(p, v);
    if (vertical) {
        cairo_move_to(c->cr, b.x, at);
        cairo_line_to(c->cr, b.x + length, at);
        if (text) mro_canvas_text(c, b.x - 1.0, at + 0.9, PT, MRO_RIGHT, 0, INK, text);
    } else {
        cairo_move_to(c->cr, at, b.y + b.h);
        cairo_line_to(c->cr, at, b.y + b.h - length);
        if (text) mro_canvas_text(c, mro_fig_on_page(c, at, text), b.y + b.h + 3.3, PT, MRO_CENTRE, 0, INK, text);
    }
    return text ? mro_canvas_text_width(c, PT, text) : 0;
}

static double linear_ticks(struct mro_canvas *c, const struct mro_plot *p, bool vertical, int most, bool labels)
{
    const double *range = vertical ? p->y : p->x, step = mro_tick_step(range[1] - range[0], most);
    const int decimals = (int)fmax(0, ceil(-log10(step) - 1e-9));
    double widest = 0;
    for (double k = ceil(range[0] / step - 1e-6); k * step <= range[1] + 1e-6 * step; k++) {
        char text[48];
        mro_text_number(text, sizeof text, k * step, decimals, "");
        widest = fmax(widest, tick(c, p, vertical, k * step, 1.1, labels ? text : NULL));
    }
    return widest;
}

/* Decades with numbers, and lines between. Few decades: as decimals, also at 2 and 5; less than one: at 3 and 7, too.
 */
static double log_ticks(struct mro_canvas *c, const struct mro_plot *p, bool vertical, bool labels)
{
    const double *range = vertical ? p->y : p->x;
    const int from = (int)floor(log10(range[0])), to = (int)ceil(log10(range[1])), every = to - from > 6 ? 2 : 1;
    const double decades = log10(range[1] / range[0]);
    const bool decimals = decades < 2.5 && range[0] > 1e-4 && range[1] < 1e5, dense = decades < 1;
    double widest = 0;
    for (int k = from; k <= to; k++)
        for (int m = 1; m < 10; m++) {
            const double v = m * pow(10, k);
            char text[48] = "";
            if (v < range[0] * 0.999 || v > range[1] * 1.001) continue;
            if (decimals && (m == 1 || m == 2 || m == 5 || (dense && (m == 3 || m == 7))))
                mro_text_number(text, sizeof text, v, k < 0 ? -k : 0, "");
            else if (!decimals && m == 1 && k % every == 0)
                snprintf(text, sizeof text, k ? "10" TEXT_SUPER "%s%d" TEXT_SUPER : "1", k < 0 ? TEXT_MINUS : "",
                         abs(k));
            widest = fmax(widest, tick(c, p, vertical, v, m == 1 ? 1.1 : 0.6, labels && text[0] ? text : NULL));
        }
    return widest;
}

double mro_plot_ticks(struct mro_canvas *c, const struct mro_plot *p, bool vertical, int most, bool labels)
{
    const double widest = (vertical ? p->log_y : p->log_x) ? log_ticks(c, p, vertical, labels)
                                                           : linear_ticks(c, p, vertical, most, labels);
    mro_plot_stroke(c, INK, 0.5, 0);
    return widest;
}

void mro_plot_x_label(struct mro_canvas *c, const struct mro_plot *p, const char *label)
{
    const double middle = mro_fig_on_page(c, p->b.x + p->b.w / 2, label);
    mro_canvas_text(c, middle, p->b.y + p->b.h + 6.8, PT, MRO_CENTRE, 0, INK, label);
}

void mro_plot_axes(struct mro_canvas *c, const struct mro_plot *p, const char *x, const char *y)
{
    const struct mro_box b = p->b;
    mro_plot_ticks(c, p, false, 6, true);
    const double numbers = 1.0 + mro_plot_ticks(c, p, true, 5, true);
    mro_fig_frame(c->cr, b, 0.6);
    if (x) mro_plot_x_label(c, p, x);
    const double label = fmin(b.x - PLOT_LEFT + 3.2, b.x - numbers - 0.6); /* clear of long numbers */
    if (y) mro_canvas_text(c, label, b.y + b.h / 2, PT, MRO_CENTRE, 1, INK, y);
}

void mro_plot_begin(struct mro_canvas *c, const struct mro_plot *p)
{
    cairo_save(c->cr);
    cairo_rectangle(c->cr, p->b.x, p->b.y, p->b.w, p->b.h);
    cairo_clip(c->cr);
}

void mro_plot_end(struct mro_canvas *c) { cairo_restore(c->cr); }

void mro_plot_stroke(struct mro_canvas *c, unsigned colour, double pt, double dash)
{
    const double dashes[2] = { dash, 0.7 * dash };
    mro_fig_rgb(c->cr, colour, 1);
    cairo_set_line_width(c->cr, pt * MM_PER_PT);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    if (dash > 0) cairo_set_dash(c->cr, dashes, 2, 0);
    cairo_stroke(c->cr);
    cairo_set_dash(c->cr, NULL, 0, 0);
}

/* Height of a value, at most a line's width beyond the border, where it is not seen. */
static double height_of(const struct mro_plot *p, double y)
{
    if (p->log_y && !(y > 0)) return p->b.y + p->b.h + 1;
    return fmin(p->b.y + p->b.h + 1, fmax(p->b.y - 1, mro_plot_y(p, y)));
}

void mro_plot_curve(struct mro_canvas *c, const struct mro_plot *p, const double *x, const double *y, size_t n)
{
    bool on = false;
    for (size_t i = 0; i < n; i++) {
        const bool known = isfinite(x[i]) && isfinite(y[i]);
        if (known && on)
            cairo_line_to(c->cr, mro_plot_x(p, x[i]), height_of(p, y[i]));
        else if (known)
            cairo_move_to(c->cr, mro_plot_x(p, x[i]), height_of(p, y[i]));
        on = known;
    }
}

void mro_plot_band(struct mro_canvas *c, const struct mro_plot *p, const double *x, const double *lo, const double *hi,
                   size_t n, unsigned colour, double alpha)
{
    for (size_t from = 0, to; from < n; from = to + 1) {
        for (to = from; to < n && isfinite(x[to]) && isfinite(lo[to]) && isfinite(hi[to]); to++)
            cairo_line_to(c->cr, mro_plot_x(p, x[to]), height_of(p, hi[to]));
        for (size_t i = to; i-- > from;) cairo_line_to(c->cr, mro_plot_x(p, x[i]), height_of(p, lo[i]));
        if (to > from) cairo_close_path(c->cr);
    }
    mro_fig_rgb(c->cr, colour, alpha);
    cairo_fill(c->cr);
}

void mro_plot_dot(struct mro_canvas *c, const struct mro_plot *p, double x, double y, double radius, unsigned colour)
{
    cairo_new_sub_path(c->cr);
    cairo_arc(c->cr, mro_plot_x(p, x), height_of(p, y), radius, 0, 2 * M_PI);
    mro_fig_rgb(c->cr, colour, 1);
    cairo_fill(c->cr);
}

void mro_plot_vertical(struct mro_canvas *c, const struct mro_plot *p, double x, unsigned colour, double pt,
                       double dash)
{
    if (!(x >= p->x[0] && x <= p->x[1])) return;
    cairo_move_to(c->cr, mro_plot_x(p, x), p->b.y);
    cairo_line_to(c->cr, mro_plot_x(p, x), p->b.y + p->b.h);
    mro_plot_stroke(c, colour, pt, dash);
}

void mro_plot_horizontal(struct mro_canvas *c, const struct mro_plot *p, double y, unsigned colour, double pt,
                         double dash)
{
    if (!(y >= p->y[0] && y <= p->y[1])) return;
    cairo_move_to(c->cr, p->b.x, mro_plot_y(p, y));
    cairo_line_to(c->cr, p->b.x + p->b.w, mro_plot_y(p, y));
    mro_plot_stroke(c, colour, pt, dash);
}

void mro_plot_onset(struct mro_canvas *c, const struct mro_plot *p, const struct mro_onset *o, size_t row,
                    unsigned colour)
{
    const double y = p->b.y + p->b.h - 2.2 - 2.2 * (double)row;
    if (!isfinite(o->x)) return;
    cairo_move_to(c->cr, mro_plot_x(p, o->ci95[0]), y);
    cairo_line_to(c->cr, mro_plot_x(p, o->ci95[1]), y);
    mro_plot_stroke(c, colour, 1.1, 0);
    mro_fig_rgb(c->cr, colour, 1);
    cairo_arc(c->cr, mro_plot_x(p, o->x), y, 0.7, 0, 2 * M_PI);
    cairo_fill(c->cr);
}

void mro_plot_legend(struct mro_canvas *c, double x, double y, unsigned colour, double pt, double dash,
                     const char *text)
{
    mro_fig_rgb(c->cr, 0xffffff, 0.8); /* lines of the plot that run there */
    cairo_rectangle(c->cr, x - 0.4, y - 2.6, 5.2 + mro_canvas_text_width(c, PT, text) + 0.8, 3.4);
    cairo_fill(c->cr);
    cairo_move_to(c->cr, x, y - 0.85);
    cairo_line_to(c->cr, x + 4.2, y - 0.85);
    mro_plot_stroke(c, colour, pt, dash);
    mro_canvas_text(c, x + 5.2, y, PT, MRO_LEFT, 0, INK, text);
}
