/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/figure_parts.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/notes.h"
#include "report/axes.h"

void mro_fig_rgb(cairo_t *cr, unsigned colour, double alpha)
{
    cairo_set_source_rgba(cr, (colour >> 16 & 255) / 255.0, (colour >> 8 & 255) / 255.0, (colour & 255) / 255.0, alpha);
}

void mro_fig_frame(cairo_t *cr, struct mro_box b, double pt)
{
    cairo_rectangle(cr, b.x, b.y, b.w, b.h);
    cairo_set_line_width(cr, pt * MM_PER_PT);
    mro_fig_rgb(cr, INK, 1);
    cairo_stroke(cr);
}

/* Sets a heading in as many lines as it takes, or only counts them. */
static size_t heading_lines(struct mro_canvas *c, double y, const struct mro_heading *h, bool draw)
{
    char letter[16];
    snprintf(letter, sizeof letter, TEXT_BOLD "%s", h->letter);
    if (draw) mro_canvas_text(c, h->x, y - 1.4, PT + 1, MRO_LEFT, 0, INK, letter);
    const double wide = mro_canvas_text_width(c, PT + 1, letter) + 1.0; /* of an m */
    const double left = fmax(3.4, wide);
    return mro_canvas_paragraph(c, h->x + left, y - 1.4, h->room - left, LEADING, PT, h->title, draw);
}

double mro_fig_under_headings(struct mro_canvas *c, double y, const struct mro_heading *h, size_t n)
{
    size_t most = 1;
    for (size_t i = 0; i < n; i++) {
        const size_t lines = heading_lines(c, y, &h[i], false);
        most = lines > most ? lines : most;
    }
    return y + ((double)most - 1) * LEADING;
}

void mro_fig_set_heading(struct mro_canvas *c, double y, const struct mro_heading *h) { heading_lines(c, y, h, true); }

void mro_fig_heading(struct mro_canvas *c, double x, double y, const char *letter, const char *title)
{
    mro_fig_set_heading(c, y, &(struct mro_heading){ x, c->width_mm - x, letter, title });
}

size_t mro_fig_columns(double page_mm, size_t most, double least)
{
    size_t n = most;
    while (n > 1 && mro_fig_column_width(page_mm, n) < least) n--;
    return n;
}

double mro_fig_column_width(double page_mm, size_t columns)
{
    return (page_mm - 2 * MARGIN - ((double)columns - 1) * GAP) / (double)columns;
}

double mro_fig_on_page(struct mro_canvas *c, double middle, const char *text)
{
    const double half = mro_canvas_text_width(c, PT, text) / 2;
    return fmax(0.5 + half, fmin(middle, c->width_mm - 0.5 - half));
}

/* Grey with diagonal lines: nothing was measured here. Any image goes on top. */
void mro_fig_hatch(cairo_t *cr, struct mro_box b)
{
    cairo_save(cr);
    cairo_rectangle(cr, b.x, b.y, b.w, b.h);
    cairo_clip_preserve(cr);
    mro_fig_rgb(cr, 0xe4e4e4, 1);
    cairo_fill(cr);
    for (double t = 1.1; t < b.w + b.h; t += 1.6) {
        cairo_move_to(cr, b.x + t, b.y);
        cairo_line_to(cr, b.x + t - b.h, b.y + b.h);
    }
    cairo_set_line_width(cr, 0.5 * MM_PER_PT);
    mro_fig_rgb(cr, 0xa8a8a8, 1);
    cairo_stroke(cr);
    cairo_restore(cr);
}

void mro_fig_placeholder(struct mro_canvas *c, struct mro_box b, const char *text)
{
    mro_fig_rgb(c->cr, 0xf0f0f0, 1);
    cairo_rectangle(c->cr, b.x, b.y, b.w, b.h);
    cairo_fill(c->cr);
    mro_fig_frame(c->cr, b, 0.5);
    mro_canvas_text(c, b.x + b.w / 2, b.y + b.h / 2 + 0.9, PT, MRO_CENTRE, 0, SOFT, text);
}

/* Largest frame of a field's shape (y, x) inside a panel, at its upper left. */
struct mro_box mro_fig_fit(double x, double y, double w, double h, const double field[2])
{
    const double high = w * field[0] / field[1];
    return high > h ? (struct mro_box){ x, y, h * field[1] / field[0], h } : (struct mro_box){ x, y, w, high };
}

/* Scale bar in the lower left of `b`, `mm_per_nm` there, or to the right of a `b` that is narrower than its text; text
 * and bar on a backing that reads on any image. Returns the backing's box. */
struct mro_box mro_fig_scale_bar(struct mro_canvas *c, struct mro_box b, double mm_per_nm, double share)
{
    const double nm = mm_per_nm > 0 ? mro_nice_below(share * b.w / mm_per_nm) : 0;
    char text[48];
    if (nm > 0)
        mro_text_length(text, sizeof text, nm);
    else
        snprintf(text, sizeof text, "scale unknown");
    const double bar = nm * mm_per_nm, tw = mro_canvas_text_width(c, PT, text);
    const double pad = 0.8, w = fmax(bar, tw) + 2 * pad, h = nm > 0 ? 4.5 : 3.4;
    const double inset = b.w > 3 * w / 2 && b.h > 3 * h ? 1.2 : 0.4;
    const struct mro_box back = { w > b.w ? b.x + b.w + 0.8 : b.x + inset, b.y + b.h - inset - h, w, h };
    mro_fig_rgb(c->cr, 0xffffff, 0.85);
    cairo_rectangle(c->cr, back.x, back.y, back.w, back.h);
    cairo_fill(c->cr);
    mro_fig_rgb(c->cr, INK, 1);
    cairo_rectangle(c->cr, back.x + (w - bar) / 2, back.y + h - pad - 0.7, bar, 0.7);
    cairo_fill(c->cr);
    mro_canvas_text(c, back.x + w / 2, back.y + 2.6, PT, MRO_CENTRE, 0, INK, text);
    return back;
}

/* Part of an image around (or near, at its rim) a centre: first column and row, columns, rows. `size_nm`
 * and `centre_nm` are y, x; steps of 0 count pixels. */
void mro_fig_window_of(const struct mro_image *im, const double step[2], const double centre_nm[2],
                       const double size_nm[2], size_t window[4])
{
    for (int i = 0; i < 2; i++) {
        const size_t n = i ? im->nx : im->ny;
        const double s = step[i] > 0 ? step[i] : 1;
        const double want = fmin((double)n, fmax(1, round(size_nm[i] / s)));
        const double first = fmin((double)n - want, fmax(0, round(centre_nm[i] / s - want / 2)));
        window[i ? 0 : 1] = (size_t)first;
        window[i ? 2 : 3] = (size_t)want;
    }
}

/* A window (first column and row, columns, rows) of an image in grey, stretched between its 0.5 and 99.5 % quantiles,
 * brought to at most RASTER samples by area averages; small ones get more pixels: `smooth` (band-limited) by
 * interpolation, else by repeating. */
enum mro_code mro_fig_grey_raster(struct mro_raster *out, const struct mro_image *im, const size_t window[4],
                                  bool smooth, struct mro_error *e)
{
    static const double q[2] = { 0.005, 0.995 };
    double range[2];
    enum mro_code rc;
    const size_t nx = window[2], ny = window[3];
    const size_t ky = mro_block_factor(ny, RASTER), kx = mro_block_factor(nx, RASTER);
    size_t my = (ny - 1) / ky + 1, mx = (nx - 1) / kx + 1;
    float *v = malloc(my * mx * sizeof *v), *fine = NULL;
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "a panel of %zu x %zu pixels does not fit in memory", mx, my);
    mro_area_average(im->px + window[1] * im->nx + window[0], im->nx, ny, nx, ky, kx, v);
    rc = mro_quantiles(v, my * mx, q, 2, range, e);
    if (rc) goto done;
    const size_t longest = mx > my ? mx : my, finer = RASTER * 3 / 4 / longest;
    const size_t k = longest >= RASTER / 2 ? 1 : finer > 2 ? finer : 2;
    if (k > 1) {
        fine = malloc(my * k * mx * k * sizeof *fine);
        if (fine == NULL) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "a panel of %zu x %zu pixels does not fit in memory", mx * k, my * k);
            goto done;
        }
        if (smooth)
            rc = mro_upsample(v, my, mx, k, fine, e);
        else
            mro_repeat(v, my, mx, k, k, fine);
        if (rc) goto done;
        my *= k;
        mx *= k;
    }
    /* Nothing finite: all transparent, whatever the range. */
    rc = mro_raster_make(out, fine ? fine : v, my, mx, range[0], range[1], &mro_map_grey, e);
done:
    free(fine);
    free(v);
    return rc;
}

/* Vertical colour bar from lo (bottom) to hi with ticks; `over`: values above hi exist; `mark`: a value
 * to be marked across the bar, NaN = none. */
void mro_fig_colour_bar(struct mro_canvas *c, struct mro_box b, const struct mro_colour_map *map, double lo, double hi,
                        bool over, double mark, const char *label)
{
    cairo_pattern_t *g = cairo_pattern_create_linear(0, b.y + b.h, 0, b.y);
    for (size_t i = 0; i < map->n; i++) {
        const struct mro_colour k = map->point[i];
        cairo_pattern_add_color_stop_rgb(g, (double)i / (double)(map->n - 1), k.r / 255.0, k.g / 255.0, k.b / 255.0);
    }
    cairo_set_source(c->cr, g);
    cairo_rectangle(c->cr, b.x, b.y, b.w, b.h);
    cairo_fill(c->cr);
    cairo_pattern_destroy(g);
    if (over) {
        const struct mro_colour k = mro_colour_at(map, 1);
        cairo_move_to(c->cr, b.x, b.y);
        cairo_line_to(c->cr, b.x + b.w / 2, b.y - 1.8);
        cairo_line_to(c->cr, b.x + b.w, b.y);
        mro_fig_rgb(c->cr, (unsigned)k.r << 16 | (unsigned)k.g << 8 | k.b, 1);
        cairo_fill_preserve(c->cr);
        mro_fig_rgb(c->cr, INK, 1);
        cairo_set_line_width(c->cr, 0.5 * MM_PER_PT);
        cairo_stroke(c->cr);
    }
    mro_fig_frame(c->cr, b, 0.5);
    const double step = mro_tick_step(hi - lo, b.h > 30 ? 6 : 3);
    double widest = 0;
    const int decimals = (int)fmax(0, ceil(-log10(step) - 1e-9));
    for (double k = ceil(lo / step - 1e-6); k * step <= hi + 1e-6 * step; k++) {
        char text[48];
        const double y = b.y + b.h * (1 - (k * step - lo) / (hi - lo));
        mro_text_number(text, sizeof text, k * step, decimals, "");
        cairo_move_to(c->cr, b.x + b.w, y);
        cairo_line_to(c->cr, b.x + b.w + 0.8, y);
        mro_canvas_text(c, b.x + b.w + 1.2, y + 0.9, PT, MRO_LEFT, 0, INK, text);
        widest = fmax(widest, mro_canvas_text_width(c, PT, text));
    }
    mro_fig_rgb(c->cr, INK, 1);
    cairo_set_line_width(c->cr, 0.5 * MM_PER_PT);
    cairo_stroke(c->cr);
    if (isfinite(mark) && mark > lo && mark < hi) {
        const double y = b.y + b.h * (1 - (mark - lo) / (hi - lo));
        mro_fig_rgb(c->cr, 0xffffff, 1);
        cairo_set_line_width(c->cr, 1.2 * MM_PER_PT);
        cairo_move_to(c->cr, b.x, y);
        cairo_line_to(c->cr, b.x + b.w, y);
        cairo_stroke(c->cr);
        mro_fig_rgb(c->cr, INK, 1);
        cairo_move_to(c->cr, b.x - 0.1, y);
        cairo_line_to(c->cr, b.x - 1.3, y - 0.7);
        cairo_line_to(c->cr, b.x - 1.3, y + 0.7);
        cairo_fill(c->cr);
    }
    mro_canvas_text(c, b.x + b.w + 1.2 + widest + 3.1, b.y + b.h / 2, PT, MRO_CENTRE, 1, INK, label);
}

void mro_fig_text_band(char *out, size_t size, const double band[2])
{
    if (isfinite(band[0]) && isfinite(band[1]) && band[1] > 0)
        snprintf(out, size, "%.2f" TEXT_DASH "%.2f" TEXT_NBSP "nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER, band[0],
                 band[1]);
    else
        snprintf(out, size, "not measured");
}

void mro_fig_say(struct mro_words *w, const char *text)
{
    const size_t n = strlen(text);
    char *p = w->failed ? NULL : realloc(w->p, w->n + n + 1);
    if (p == NULL) {
        w->failed = true;
        return;
    }
    memcpy(p + w->n, text, n + 1);
    w->p = p;
    w->n += n;
}

/* A sentence of plain characters as it is set in print: signs in place of "+-", "<=" and "-", p of a test in
 * italics, no line break between a number and its unit, 5e-05 as a power of ten. */
static void say_in_type(struct mro_words *w, const char *text)
{
    const char *s = text;
    while (*s) {
        int power = 0, used = 0;
        char out[64] = { *s, 0 };
        const bool after_digit = s > text && isdigit((unsigned char)s[-1]);
        if (strncmp(s, "+- ", 3) == 0) {
            snprintf(out, sizeof out, "\xc2\xb1 ");
            used = 3;
        } else if (strncmp(s, "<= ", 3) == 0) {
            snprintf(out, sizeof out, "\xe2\x89\xa4 ");
            used = 3;
        } else if (*s == '-' && s > text && strchr(" ([", s[-1]) && isdigit((unsigned char)s[1])) {
            snprintf(out, sizeof out, TEXT_MINUS);
            used = 1;
        } else if (s > text && strchr(" (", s[-1]) && strncmp(s, "p ", 2) == 0 && strchr("<=", s[2])) {
            snprintf(out, sizeof out, TEXT_ITALIC "p" TEXT_ITALIC TEXT_NBSP);
            used = 2;
        } else if (after_digit && (strncmp(s, " %", 2) == 0 || strncmp(s, " nm", 3) == 0)) {
            snprintf(out, sizeof out, TEXT_NBSP);
            used = 1;
        } else if (after_digit && sscanf(s, "e-%2d%n", &power, &used) == 1 && strchr(" ),;", s[used])) {
            snprintf(out, sizeof out, TEXT_NBSP TEXT_TIMES TEXT_NBSP "10" TEXT_SUPER TEXT_MINUS "%d" TEXT_SUPER, power);
        } else {
            used = 1;
        }
        mro_fig_say(w, out);
        s += used;
    }
}

/* A sentence of others, with a full stop. */
void mro_fig_say_sentence(struct mro_words *w, const char *before, const char *text)
{
    char clean[512];
    mro_text_clean(clean, sizeof clean, text);
    mro_spell_names(clean, false);
    size_t n = strlen(clean);
    while (n > 0 && (clean[n - 1] == ' ' || clean[n - 1] == '.')) clean[--n] = 0;
    if (n == 0) return;
    mro_fig_say(w, before);
    say_in_type(w, clean);
    mro_fig_say(w, ".");
}

void mro_fig_say_title(struct mro_words *w, const char *title)
{
    char name[256];
    mro_text_clean(name, sizeof name, title);
    mro_fig_say(w, "");
    if (name[0] == 0) return;
    mro_fig_say(w, TEXT_BOLD);
    mro_fig_say(w, name);
    mro_fig_say(w, "." TEXT_BOLD " ");
}

/* Pixel size along y and x in nm; 0, 0 when the image's and the result's are both unknown. */
void mro_fig_pixel_size(const struct mro_image *im, const double *also, double pixel_nm[2])
{
    if (also && also[0] > 0 && also[1] > 0) {
        pixel_nm[0] = also[0];
        pixel_nm[1] = also[1];
    } else if (mro_image_pixel_nm(im, "", pixel_nm, NULL) != MRO_OK) {
        pixel_nm[0] = pixel_nm[1] = 0;
    }
}

/* Height of a panel of width `w` for a field; bounded, so that strips and columns still make a page. */
double mro_fig_finest_field(double panel_mm, const double band_inv_nm[2])
{
    const double mean = (band_inv_nm[0] + band_inv_nm[1]) / 2;
    return mean > 0 ? panel_mm / 25.4 * 300 / 4 / mean : INFINITY;
}

double mro_fig_panel_height(double w, const double field[2])
{
    return fmin(1.25 * w, fmax(20, w * field[0] / field[1]));
}

void mro_fig_outline(cairo_t *cr, bool (*inside)(const void *map, size_t j, size_t i), const void *map, size_t ny,
                     size_t nx, struct mro_box b, unsigned colour, double width_mm)
{
    const double size[2] = { b.w / (double)nx, b.h / (double)ny };
    /* Edges between rows, then between columns; neighbours in line make one stroke. */
    for (int turn = 0; turn < 2; turn++) {
        const size_t lines = turn ? nx : ny, along = turn ? ny : nx;
        for (size_t l = 0; l <= lines; l++)
            for (size_t k = 0; k < along; k++) {
                const size_t from = k;
                for (; k < along; k++) {
                    const bool after = l < lines && (turn ? inside(map, k, l) : inside(map, l, k));
                    const bool before = l > 0 && (turn ? inside(map, k, l - 1) : inside(map, l - 1, k));
                    if (after == before) break;
                }
                if (k == from) continue;
                const double at = (double)l * size[!turn], a = (double)from * size[turn], z = (double)k * size[turn];
                cairo_move_to(cr, b.x + (turn ? at : a), b.y + (turn ? a : at));
                cairo_line_to(cr, b.x + (turn ? at : z), b.y + (turn ? z : at));
            }
    }
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_SQUARE);
    mro_fig_rgb(cr, colour, 1);
    cairo_set_line_width(cr, width_mm);
    cairo_stroke(cr);
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_BUTT);
}

struct captioned {
    double (*draw)(struct mro_canvas *c, const void *page);
    const void *page;
    const char *caption;
};

/* Where the next line of the caption would stand. */
static double set_captioned(struct mro_canvas *c, const struct captioned *p)
{
    const double top = p->draw(c, p->page);
    const size_t lines = mro_canvas_paragraph(c, MARGIN, top, c->width_mm - 2 * MARGIN, LEADING, PT, p->caption, true);
    return top + ((double)lines - 1) * LEADING;
}

static void draw_captioned(struct mro_canvas *c, void *data) { set_captioned(c, data); }

enum mro_code mro_fig_write(const char *path_stem, const char *title, double width_mm, const char *caption,
                            double (*draw)(struct mro_canvas *c, const void *page), const void *page,
                            struct mro_error *e)
{
    struct captioned p = { draw, page, caption };
    struct mro_canvas measure = { 0 };
    char name[256];
    MRO_TRY(mro_canvas_measure_begin(&measure, width_mm, e));
    const double last = set_captioned(&measure, &p);
    MRO_TRY(mro_canvas_measure_end(&measure, e));
    mro_text_clean(name, sizeof name, title);
    return mro_canvas_write(path_stem, name, width_mm, last + 1.2 + MARGIN, draw_captioned, &p, e);
}
