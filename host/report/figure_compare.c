/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of a comparison of states. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/axes.h"
#include "report/figure.h"
#include "report/plot.h"

#define LABEL_MOST 34.0 /* mm for the names of states */
#define RATIO_TO 17.0   /* mm of a heading before the name of one */
#define P_WIDTH 15.0    /* and for p beside the ratios */
#define TREND_HEIGHT 42.0
#define ROWS_BELOW 11.0
#define KEY_ROOM 40.0 /* for the names of states beside a trend */
#define KEY_LINE 6.0  /* before each of them */

struct compare_page {
    const struct mro_compare_report *c;
    const char *unit;
    double scale, label, row, rows_h;
    size_t rows;
    char axis[160], *caption;
};

static const unsigned colours[] = { BLUE, ORANGE, GREEN, 0xcc79a7, 0x56b4e9, 0xe69f00 };
enum { n_colours = sizeof colours / sizeof *colours };

static bool is_drawn(const struct compare_page *p, size_t k) { return p->c->result->state[k].n > 0; }

/* The row of a state, from the top. */
static double row_of(const struct compare_page *p, size_t k)
{
    size_t row = 0;
    for (size_t i = 0; i < k; i++) row += is_drawn(p, i);
    return (double)row;
}

static void widen(double range[2], double v)
{
    if (!isfinite(v)) return;
    range[0] = fmin(range[0], v);
    range[1] = fmax(range[1], v);
}

/* Values as they are drawn: those measured with other settings are brought to common ones. */
static double value_of(const struct compare_page *p, size_t i) { return p->scale * p->c->data->image[i].value; }

static void value_range(const struct compare_page *p, double range[2])
{
    range[0] = INFINITY;
    range[1] = -INFINITY;
    for (size_t i = 0; i < p->c->data->n; i++) widen(range, value_of(p, i));
    const double spread = range[1] - range[0], reach[2] = { range[0] - spread, range[1] + spread };
    for (size_t k = 0; k < p->c->result->n_states; k++) /* intervals of two images may be endless */
        for (int j = 0; j < 2 && is_drawn(p, k); j++) {
            const double v = p->scale * p->c->result->state[k].mean_ci95[j];
            if (!isnan(v)) widen(range, fmin(reach[1], fmax(reach[0], v)));
        }
    const bool from_zero = range[0] >= 0 && range[0] < 0.5 * range[1];
    const double pad = range[1] > range[0] ? 0.06 * (range[1] - range[0]) : fabs(range[1]) > 0 ? fabs(range[1]) / 2 : 1;
    range[0] = from_zero ? 0 : range[0] - pad;
    range[1] += pad;
    if (from_zero) range[0] = -0.02 * range[1];
}

static void bar(struct mro_canvas *c, const struct mro_plot *p, double lo, double hi, double y, unsigned colour)
{
    const double a = mro_plot_x(p, fmax(lo, p->x[0])), b = mro_plot_x(p, fmin(hi, p->x[1]));
    cairo_move_to(c->cr, a, mro_plot_y(p, y));
    cairo_line_to(c->cr, b, mro_plot_y(p, y));
    mro_plot_stroke(c, colour, 1.1, 0);
}

static void x_axis(struct mro_canvas *c, const struct mro_plot *p, int most, const char *label)
{
    mro_plot_ticks(c, p, false, most, true);
    mro_fig_frame(c->cr, p->b, 0.6);
    mro_plot_x_label(c, p, label);
}

/* The states left of their rows, with how many there are of each where `counts`. */
static void name_rows(struct mro_canvas *c, const struct compare_page *page, const struct mro_plot *p, bool counts)
{
    for (size_t k = 0; k < page->c->data->n_states; k++) {
        char name[96], n[160];
        if (!is_drawn(page, k)) continue;
        mro_text_clean(name, sizeof name, page->c->data->state[k]);
        mro_canvas_shorten(c, PT, name, page->label - 1.5);
        const double x = p->b.x - 1.4, y = mro_plot_y(p, row_of(page, k));
        mro_canvas_text(c, x, y + (counts ? 0.2 : 0.9), PT, MRO_RIGHT, 0, INK, name);
        if (!counts) continue;
        snprintf(n, sizeof n, TEXT_ITALIC "n" TEXT_ITALIC TEXT_NBSP "=" TEXT_NBSP "%zu", page->c->result->state[k].n);
        mro_canvas_text(c, x, y + 3.0, PT, MRO_RIGHT, 0, SOFT, n);
    }
}

static void ring(struct mro_canvas *c, const struct mro_plot *p, double x, double y, double radius, unsigned colour)
{
    cairo_new_sub_path(c->cr);
    cairo_arc(c->cr, mro_plot_x(p, x), mro_plot_y(p, y), radius, 0, 2 * M_PI);
    mro_plot_stroke(c, colour, 0.7, 0);
}

/* Dots of images; those of every second setting are open. */
static void dot(struct mro_canvas *c, const struct mro_plot *p, const struct mro_compare_image *m, double x, double y,
                unsigned colour)
{
    if (m->block % 2)
        ring(c, p, x, y, 0.62, colour);
    else
        mro_plot_dot(c, p, x, y, 0.62, colour);
}

static void draw_states(struct mro_canvas *c, const struct compare_page *page, struct mro_box b)
{
    const struct mro_compare_data *d = page->c->data;
    struct mro_plot p = { .b = b, .y = { (double)page->rows - 0.5, -0.5 } };
    value_range(page, p.x);
    mro_fig_heading(c, MARGIN, b.y, "a",
                    page->c->result->by_specimen ? "States: means of specimens, 95" TEXT_NBSP "%, single images"
                                                 : "States: means, 95" TEXT_NBSP "%, single images");
    mro_plot_begin(c, &p);
    for (size_t k = 0; k < d->n_states; k++) {
        const struct mro_compare_state *t = &page->c->result->state[k];
        const unsigned colour = colours[k % n_colours];
        const double y = row_of(page, k);
        size_t at = 0, n = 0;
        if (!is_drawn(page, k)) continue;
        for (size_t i = 0; i < d->n; i++) n += d->image[i].state == k;
        for (size_t i = 0; i < d->n; i++) {
            if (d->image[i].state != k) continue;
            const double spread = n > 1 ? 0.24 * (double)at / (double)(n - 1) : 0.12;
            dot(c, &p, &d->image[i], value_of(page, i), y - 0.30 + spread, colour);
            at++;
        }
        if (isfinite(t->mean_ci95[0]))
            bar(c, &p, page->scale * t->mean_ci95[0], page->scale * t->mean_ci95[1], y + 0.2, INK);
        cairo_rectangle(c->cr, mro_plot_x(&p, page->scale * t->mean) - 0.7, mro_plot_y(&p, y + 0.2) - 0.7, 1.4, 1.4);
        mro_fig_rgb(c->cr, colour, 1);
        cairo_fill(c->cr);
    }
    mro_plot_end(c);
    x_axis(c, &p, 5, page->axis);
    name_rows(c, page, &p, true);
}

/* `named`: with the states beside it. */
static void draw_ratios(struct mro_canvas *c, const struct compare_page *page, struct mro_box b, bool named)
{
    const struct mro_compare_result *r = page->c->result;
    struct mro_plot p = { .b = b, .y = { (double)page->rows - 0.5, -0.5 }, .log_x = true };
    const double x0 = named ? MARGIN : b.x;
    double range[2] = { 1, 1 };
    char title[200], name[96];
    mro_text_clean(name, sizeof name, page->c->data->state[r->reference]);
    mro_canvas_shorten(c, PT, name, c->width_mm - MARGIN - x0 - RATIO_TO);
    snprintf(title, sizeof title, "Ratio to %s", name);
    mro_fig_heading(c, x0, b.y, "b", title);
    for (size_t k = 0; k < r->n_states; k++)
        if (is_drawn(page, k)) widen(range, r->state[k].ratio);
    p.log_x = range[0] > 0.02;
    const double reach[2] = { p.log_x ? range[0] / 3 : range[0] - (range[1] - range[0]), range[1] * 3 };
    for (size_t k = 0; k < r->n_states; k++)
        for (int j = 0; j < 2 && is_drawn(page, k); j++) {
            const double v = r->state[k].ratio_ci95[j];
            if (!isnan(v)) widen(range, fmin(reach[1], fmax(reach[0], v)));
            p.log_x &= !(v <= 0);
        }
    p.x[0] = p.log_x ? fmax(range[0], reach[0]) / 1.15 : range[0] - 0.05 * (range[1] - range[0]);
    p.x[1] = p.log_x ? range[1] * 1.15 : range[1] + 0.05 * (range[1] - range[0]);
    if (!(p.x[1] > p.x[0])) p.x[0] = 0.5, p.x[1] = 2;
    p.log_x &= p.x[1] > 2.5 * p.x[0]; /* less has no two round numbers */
    mro_plot_begin(c, &p);
    mro_plot_vertical(c, &p, 1, GREY, 0.8, 1.0);
    for (size_t k = 0; k < r->n_states; k++) {
        const struct mro_compare_state *t = &r->state[k];
        if (!is_drawn(page, k) || k == r->reference || !isfinite(t->ratio)) continue;
        const double y = row_of(page, k);
        if (isfinite(t->ratio_ci95[0]) && !isnan(t->ratio_ci95[1]))
            bar(c, &p, t->ratio_ci95[0], t->ratio_ci95[1], y, t->identifiable ? INK : GREY);
        if (t->identifiable)
            mro_plot_dot(c, &p, t->ratio, y, 0.9, colours[k % n_colours]);
        else
            ring(c, &p, t->ratio, y, 0.9, colours[k % n_colours]);
    }
    mro_plot_end(c);
    x_axis(c, &p, 4, "Ratio of means");
    if (named) name_rows(c, page, &p, false);
    for (size_t k = 0; k < r->n_states; k++) {
        char text[96];
        if (!is_drawn(page, k)) continue;
        const double y = mro_plot_y(&p, row_of(page, k)) + 0.9;
        if (k == r->reference)
            snprintf(text, sizeof text, "reference");
        else if (!r->state[k].identifiable)
            snprintf(text, sizeof text, "confounded");
        else if (isfinite(r->state[k].test.p))
            mro_text_p(text, sizeof text, r->state[k].test.p);
        else
            snprintf(text, sizeof text, "no test");
        mro_canvas_text(c, b.x + b.w + 1.4, y, PT, MRO_LEFT, 0, k == r->reference ? SOFT : INK, text);
    }
}

static void draw_trend(struct mro_canvas *c, const struct compare_page *page, struct mro_box b)
{
    const struct mro_compare_data *d = page->c->data;
    const struct mro_compare_trend *t = &page->c->result->trend;
    enum { N = 81 };
    double x[N], y[N], lo[N], hi[N];
    struct mro_plot p = { .b = b };
    const double span = t->x[1] - t->x[0];
    const bool bends = isfinite(t->onset.x);
    value_range(page, p.y);
    p.x[0] = t->x[0] - 0.05 * span;
    p.x[1] = t->x[1] + 0.05 * span;
    char over[96], heading[128], axis[180];
    mro_text_clean(over, sizeof over, d->over);
    snprintf(heading, sizeof heading, "Trend with %s", over);
    mro_text_axis(axis, sizeof axis, d->over, d->over_unit);
    mro_fig_heading(c, MARGIN, b.y, page->rows > 1 ? "c" : "b", heading);
    for (int i = 0; i < N; i++) {
        x[i] = t->x[0] + span * i / (N - 1);
        const double dx = x[i] - t->centre[0], line = t->centre[1] + t->slope * dx,
                     half = hypot(t->centre_ci95[1] - t->centre[1], (t->slope_ci95[1] - t->slope) * dx);
        const struct mro_onset *o = &t->onset;
        const double m = bends ? o->level + o->slope[x[i] > o->x] * (x[i] - o->x) : line;
        y[i] = page->scale * (t->logarithmic ? exp(m) : m);
        lo[i] = page->scale * (t->logarithmic ? exp(line - half) : line - half);
        hi[i] = page->scale * (t->logarithmic ? exp(line + half) : line + half);
    }
    mro_plot_begin(c, &p);
    if (isfinite(t->slope_ci95[0]) && !bends) mro_plot_band(c, &p, x, lo, hi, N, 0xd0d0d0, 0.7);
    mro_plot_curve(c, &p, x, y, N);
    mro_plot_stroke(c, INK, 1.1, 0);
    mro_plot_onset(c, &p, &t->onset, 0, INK);
    for (size_t i = 0; i < d->n; i++)
        if (isfinite(d->image[i].x) && page->c->result->state[d->image[i].state].in_trend)
            dot(c, &p, &d->image[i], d->image[i].x, value_of(page, i), colours[d->image[i].state % n_colours]);
    mro_plot_end(c);
    mro_plot_axes(c, &p, axis, page->axis);
}

/* Which colour is which state: beside the trend `b` where there is room, else below it. Returns where it ends. */
static double draw_key(struct mro_canvas *c, const struct compare_page *p, struct mro_box b)
{
    const bool beside = c->width_mm - MARGIN - (b.x + b.w) > KEY_ROOM;
    const double room = c->width_mm - MARGIN - (beside ? b.x + b.w + 4 : b.x) - KEY_LINE,
                 below = b.y + b.h + PLOT_BELOW;
    double y = beside ? b.y + 3 : below + 3.4;
    for (size_t k = 0; k < p->c->data->n_states; k++) {
        char name[96];
        if (!p->c->result->state[k].in_trend || (beside && y > b.y + b.h)) continue;
        mro_text_clean(name, sizeof name, p->c->data->state[k]);
        mro_canvas_shorten(c, PT, name, room);
        mro_plot_legend(c, beside ? b.x + b.w + 4 : b.x, y, colours[k % n_colours], 2.2, 0, name);
        y += 3.6;
    }
    return beside ? below : y - 3.0;
}

static double draw_compare(struct mro_canvas *c, const void *data)
{
    const struct compare_page *p = data;
    const bool beside = mro_fig_columns(c->width_mm, 2, COLUMN) == 2;
    const double y0 = MARGIN + HEAD, x0 = MARGIN + p->label, below = p->rows_h + ROWS_BELOW;
    double y = y0 + below; /* under what was drawn */
    if (beside) {
        const double all = c->width_mm - MARGIN - x0 - GAP - P_WIDTH - 2.0;
        draw_states(c, p, (struct mro_box){ x0, y0, 0.56 * all, p->rows_h });
        if (p->rows > 1) /* else there is nothing to divide */
            draw_ratios(c, p, (struct mro_box){ x0 + 0.56 * all + GAP, y0, 0.44 * all, p->rows_h }, false);
    } else {
        draw_states(c, p, (struct mro_box){ x0, y0, c->width_mm - MARGIN - 1 - x0, p->rows_h });
        if (p->rows > 1) {
            draw_ratios(c, p, (struct mro_box){ x0, y + HEAD, c->width_mm - MARGIN - P_WIDTH - x0, p->rows_h }, true);
            y += HEAD + below;
        }
    }
    if (!p->c->result->trend.measured) return y + 1.6;
    const double left = MARGIN + PLOT_LEFT;
    const struct mro_box b = { left, y + HEAD, fmin(80, c->width_mm - MARGIN - 1 - left), TREND_HEIGHT };
    draw_trend(c, p, b);
    return draw_key(c, p, b) + 4.0;
}

static enum mro_code make_caption(struct compare_page *p, const char *title, struct mro_error *e)
{
    const struct mro_compare_report *c = p->c;
    struct mro_words w = { 0 };
    char text[700], reach[120], said[120] = "";
    bool first = true;
    mro_fig_say_title(&w, title);
    for (size_t k = 0; k < c->result->n_states; k++) {
        if (!is_drawn(p, k) || k == c->result->reference) continue;
        mro_compare_sentence(c, k, text, sizeof text);
        mro_fig_say_sentence(&w, first ? "" : " ", text);
        first = false;
    }
    for (size_t k = 0; k < c->result->n_states; k++) { /* once for states in turn with as many images */
        if (!is_drawn(p, k) || k == c->result->reference) continue;
        mro_compare_reach(c, k, reach, sizeof reach);
        if (strcmp(reach, said) != 0) mro_fig_say_sentence(&w, " ", reach);
        memcpy(said, reach, sizeof said);
    }
    mro_compare_trend_sentence(c, text, sizeof text);
    mro_fig_say_sentence(&w, " ", text);
    mro_fig_say(&w, c->result->by_specimen
                        ? " The unit is the specimen; " TEXT_ITALIC "p" TEXT_ITALIC " by exchanging specimens."
                        : " The unit is the image: intervals hold what differs between images; " TEXT_ITALIC
                          "p" TEXT_ITALIC " by exchanging images.");
    if (c->result->trend.measured)
        mro_fig_say(&w, isfinite(c->result->trend.onset.x) ? " Dot on a bar: where it bends, and the 95" TEXT_NBSP
                                                             "% interval of that place."
                                                           : " Grey: 95" TEXT_NBSP "% band of the line.");
    if (c->result->blocks > 1 && c->settings[0]) mro_fig_say(&w, " Open dots: every second setting.");
    for (size_t i = 0; i < c->result->n_warnings && i < 4; i++)
        mro_fig_say_sentence(&w, i ? " " : " Note: ", c->result->warnings[i]);
    if (w.failed) {
        free(w.p);
        return MRO_FAIL(e, MRO_EMEMORY, "no memory left for the caption of a figure");
    }
    p->caption = w.p;
    return MRO_OK;
}

enum mro_code mro_figure_compare(const char *path_stem, double width_mm, const char *title,
                                 const struct mro_compare_report *c, struct mro_error *e)
{
    struct compare_page p = { .c = c };
    struct mro_canvas measure = { 0 };
    char name[96];
    p.scale = mro_compare_scale(c, &p.unit);
    mro_compare_axis(c, p.axis, sizeof p.axis);
    MRO_TRY(mro_canvas_measure_begin(&measure, width_mm, e));
    for (size_t k = 0; k < c->result->n_states; k++) {
        if (!is_drawn(&p, k)) continue;
        mro_text_clean(name, sizeof name, c->data->state[k]);
        p.label = fmax(p.label, mro_canvas_text_width(&measure, PT, name) + 2);
        p.rows++;
    }
    MRO_TRY(mro_canvas_measure_end(&measure, e));
    p.label = fmin(LABEL_MOST, fmax(10, p.label));
    p.row = p.rows <= 8 ? 8 : 6.5;
    p.rows_h = fmax(2, (double)p.rows) * p.row;
    MRO_TRY(make_caption(&p, title, e));
    const enum mro_code rc = mro_fig_write(path_stem, title, width_mm, p.caption, draw_compare, &p, e);
    free(p.caption);
    return rc;
}
