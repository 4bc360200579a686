/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A plot: a rectangle of the page with two axes, linear or logarithmic, and the lines in it. Lengths are mm, line
 * widths points, colours 0xRRGGBB. */
#ifndef MRO_REPORT_PLOT_H
#define MRO_REPORT_PLOT_H

#include "mroscope/onset.h"
#include "report/figure_parts.h"

/* Colours that people with any colour vision tell apart (Okabe and Ito, Color Universal Design, 2008). */
#define ORANGE 0xd55e00
#define BLUE 0x0072b2
#define GREEN 0x009e73
#define GREY 0x808080

#define PLOT_LEFT 11.5 /* room for numbers and label of the y axis */
#define PLOT_BELOW 7.4 /* and of the x axis */

struct mro_plot {
    struct mro_box b;
    double x[2], y[2]; /* ends of the axes, left and right, bottom and top; above 0 where logarithmic */
    bool log_x, log_y;
};

double mro_plot_x(const struct mro_plot *p, double x);
double mro_plot_y(const struct mro_plot *p, double y);

/* Ticks of one axis; `labels`: with numbers, and their greatest width is returned; `most`: intervals of a linear axis
 * at most. Drawn at once. */
double mro_plot_ticks(struct mro_canvas *c, const struct mro_plot *p, bool vertical, int most, bool labels);

/* The label below, or as near to there as it stays on the page. */
void mro_plot_x_label(struct mro_canvas *c, const struct mro_plot *p, const char *label);

/* Both axes with ticks, frame, and labels below and PLOT_LEFT left of it (NULL: no label). Draw it after the curves. */
void mro_plot_axes(struct mro_canvas *c, const struct mro_plot *p, const char *x, const char *y);

/* What follows is drawn inside the rectangle only, until mro_plot_end. */
void mro_plot_begin(struct mro_canvas *c, const struct mro_plot *p);
void mro_plot_end(struct mro_canvas *c);

/* Strokes the path that is there; `dash` is the length of dashes in mm, 0 = none. */
void mro_plot_stroke(struct mro_canvas *c, unsigned colour, double pt, double dash);

/* Adds a line through n points to the path: not across points that are not finite; values beyond the axes run along
 * the border. */
void mro_plot_curve(struct mro_canvas *c, const struct mro_plot *p, const double *x, const double *y, size_t n);

/* The area between two curves over one x. */
void mro_plot_band(struct mro_canvas *c, const struct mro_plot *p, const double *x, const double *lo, const double *hi,
                   size_t n, unsigned colour, double alpha);

/* A dot of `radius` mm. */
void mro_plot_dot(struct mro_canvas *c, const struct mro_plot *p, double x, double y, double radius, unsigned colour);

/* Lines across the whole plot, at one x or one y; none where that lies outside. */
void mro_plot_vertical(struct mro_canvas *c, const struct mro_plot *p, double x, unsigned colour, double pt,
                       double dash);
void mro_plot_horizontal(struct mro_canvas *c, const struct mro_plot *p, double y, unsigned colour, double pt,
                         double dash);

/* Where a series bends: a bar over its interval with the place on it, near the lower end of a plot; of several, `row`
 * above each other. Nothing where there is no bend. */
void mro_plot_onset(struct mro_canvas *c, const struct mro_plot *p, const struct mro_onset *o, size_t row,
                    unsigned colour);

/* A row of a legend, its baseline at (x, y): a line of the colour, and words. */
void mro_plot_legend(struct mro_canvas *c, double x, double y, unsigned colour, double pt, double dash,
                     const char *text);

#endif
