/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report/canvas.h"

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/inside.h"
#include "io/write.h"
#include "report/png.h"

#define PAGE_DPI 300.0
/* fontconfig gives its metric twin or the default sans-serif face where Arial is not installed. */
#define FONT_FAMILY "Arial"
#define SVG_FAMILIES "Arial, 'Liberation Sans', Helvetica, 'DejaVu Sans', sans-serif"
#define SUPER_SIZE 0.7
#define SUPER_RISE 0.36

/* A stretch of text of one style. */
struct run {
    char text[256];
    bool bold, italic, super;
};

/* Takes the next run from *s; false at the end. Runs longer than the buffer are cut between characters. */
static bool next_run(const char **s, struct run *r)
{
    for (;; (*s)++) {
        if (**s == TEXT_BOLD[0])
            r->bold = !r->bold;
        else if (**s == TEXT_ITALIC[0])
            r->italic = !r->italic;
        else if (**s == TEXT_SUPER[0])
            r->super = !r->super;
        else
            break;
    }
    size_t n = 0;
    while (n + 1 < sizeof r->text && (unsigned char)(*s)[n] > TEXT_SUPER[0]) n++;
    if (n + 1 == sizeof r->text)
        while (n > 0 && ((unsigned char)(*s)[n] & 0xc0) == 0x80) n--;
    memcpy(r->text, *s, n);
    r->text[n] = 0;
    *s += n;
    return n > 0;
}

static double set_font(cairo_t *cr, double pt, const struct run *r)
{
    cairo_select_font_face(cr, FONT_FAMILY, r->italic ? CAIRO_FONT_SLANT_ITALIC : CAIRO_FONT_SLANT_NORMAL,
                           r->bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    const double size = pt * MM_PER_PT * (r->super ? SUPER_SIZE : 1);
    cairo_set_font_size(cr, size);
    return size;
}

double *mro_canvas_room(struct mro_canvas *c, size_t n)
{
    double *v = malloc(n * sizeof *v);
    c->failed |= v == NULL;
    return v;
}

double mro_canvas_text_width(struct mro_canvas *c, double pt, const char *text)
{
    struct run r = { 0 };
    double width = 0;
    while (next_run(&text, &r)) {
        cairo_text_extents_t x;
        set_font(c->cr, pt, &r);
        cairo_text_extents(c->cr, r.text, &x);
        width += x.x_advance;
    }
    return width;
}

static void put_escaped(struct mro_sink *s, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': mro_sink_text(s, "&amp;"); break;
        case '<': mro_sink_text(s, "&lt;"); break;
        case '>': mro_sink_text(s, "&gt;"); break;
        case '"': mro_sink_text(s, "&quot;"); break;
        default: mro_sink_put(s, text, 1);
        }
    }
}

static void svg_text(struct mro_sink *s, double x, double y, double pt, enum mro_align align, int turn, unsigned rgb,
                     const char *text)
{
    static const char *const anchor[] = { "start", "middle", "end" };
    mro_sink_text(s, "<text x=\"%.2f\" y=\"%.2f\" font-size=\"%g\"", x / MM_PER_PT, y / MM_PER_PT, pt);
    if (align != MRO_LEFT) mro_sink_text(s, " text-anchor=\"%s\"", anchor[align]);
    if (turn) mro_sink_text(s, " transform=\"rotate(%d %.2f %.2f)\"", -90 * turn, x / MM_PER_PT, y / MM_PER_PT);
    if (rgb) mro_sink_text(s, " fill=\"#%06x\"", rgb);
    mro_sink_text(s, ">");
    struct run r = { 0 };
    bool raised = false;
    while (next_run(&text, &r)) {
        const bool plain = !r.bold && !r.italic && !r.super && !raised;
        if (!plain) {
            mro_sink_text(s, "<tspan%s%s", r.bold ? " font-weight=\"bold\"" : "",
                          r.italic ? " font-style=\"italic\"" : "");
            if (r.super) mro_sink_text(s, " font-size=\"%g\"", pt * SUPER_SIZE);
            if (r.super != raised) mro_sink_text(s, " dy=\"%.2f\"", (r.super ? -1 : 1) * SUPER_RISE * pt);
            mro_sink_text(s, ">");
        }
        put_escaped(s, r.text);
        if (!plain) mro_sink_text(s, "</tspan>");
        raised = r.super;
    }
    mro_sink_text(s, "</text>\n");
}

void mro_canvas_text(struct mro_canvas *c, double x, double y, double pt, enum mro_align align, int turn, unsigned rgb,
                     const char *text)
{
    if (c->text != NULL) {
        svg_text(c->text, x, y, pt, align, turn, rgb, text);
        return;
    }
    const double width = align == MRO_LEFT ? 0 : mro_canvas_text_width(c, pt, text);
    double at = align == MRO_LEFT ? 0 : align == MRO_CENTRE ? -width / 2 : -width;
    cairo_save(c->cr);
    cairo_translate(c->cr, x, y);
    cairo_rotate(c->cr, -M_PI / 2 * turn);
    cairo_set_source_rgb(c->cr, (rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0);
    struct run r = { 0 };
    while (next_run(&text, &r)) {
        cairo_text_extents_t e;
        const double size = set_font(c->cr, pt, &r);
        cairo_text_extents(c->cr, r.text, &e);
        cairo_move_to(c->cr, at, r.super ? -SUPER_RISE / SUPER_SIZE * size : 0);
        cairo_show_text(c->cr, r.text);
        at += e.x_advance;
    }
    cairo_restore(c->cr);
}

/* Bytes of the longest piece of `text` that fits into `width`, cut between characters; at least one. */
static size_t fitting_bytes(struct mro_canvas *c, double width, double pt, const char *text, size_t n, char *line)
{
    size_t fits = 0;
    while (fits < n) {
        size_t next = fits + 1;
        while (next < n && ((unsigned char)text[next] & 0xc0) == 0x80) next++;
        memcpy(line, text, next);
        line[next] = 0;
        if (fits > 0 && mro_canvas_text_width(c, pt, line) > width) break;
        fits = next;
    }
    return fits;
}

static bool is_toggle(char c) { return c > 0 && c <= TEXT_SUPER[0]; }

/* Whether the word [from, to) is a sign that belongs to what stands on either side of it. */
static bool is_sign(const char *from, const char *to)
{
    static const char *const signs[] = { "=",        "<",        ">",       "/", "+", "\xe2\x89\xa4", "\xe2\x89\xa5",
                                         "\xc2\xb1", TEXT_MINUS, TEXT_TIMES };
    while (from < to && is_toggle(*from)) from++;
    while (to > from && is_toggle(to[-1])) to--;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if ((size_t)(to - from) == strlen(signs[i]) && memcmp(from, signs[i], strlen(signs[i])) == 0) return true;
    return false;
}

static bool begins_with_unit(const char *text)
{
    static const char *const units[] = { "%",       "nm",       "1/nm",       "pm",  "um",       "\xc2\xb5m", "mm",
                                         "px",      "\xc3\x85", "1/\xc3\x85", "GPa", "MPa",      "at.%",      "kV",
                                         "degrees", "K",        "mrad",       "eV",  "Angstrom", "1/Angstrom" };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const size_t n = strlen(units[i]);
        if (strncmp(text, units[i], n) == 0 && !isalnum((unsigned char)text[n])) return true;
    }
    return false;
}

/* Whether a line must not end at text[space]: beside a sign ("d = 0.2"), and between a number and its unit. */
static bool holds_together(const char *text, size_t space)
{
    size_t left = space, right = space;
    while (left > 0 && text[left - 1] != ' ') left--;
    while (text[right] == ' ') right++;
    if (text[right] == 0) return false;
    if (is_sign(text + left, text + space) || is_sign(text + right, text + right + strcspn(text + right, " ")))
        return true;
    if (text[left] == '[' && text[space - 1] == ',') return true; /* an interval, */
    size_t last = space;
    while (last > left && is_toggle(text[last - 1])) last--;
    if (last == left || !isdigit((unsigned char)text[last - 1])) return false;
    return text[right] == '[' || begins_with_unit(text + right); /* behind its number */
}

/* Where the line that goes on at text[end] may end next; with `bound` not within what holds together. */
static size_t next_end(const char *text, size_t end, bool bound)
{
    do {
        while (text[end] == ' ') end++;
        while (text[end] && text[end] != ' ') end++;
    } while (bound && text[end] && holds_together(text, end));
    return end;
}

/* Where the character ends that begins here. */
static size_t after(const char *text, size_t k)
{
    do k++;
    while (((unsigned char)text[k] & 0xc0) == 0x80);
    return k;
}

void mro_canvas_shorten(struct mro_canvas *c, double pt, char *text, double width)
{
    static const char ellipsis[] = "\xe2\x80\xa6";
    const size_t gap = sizeof ellipsis - 1;
    /* text[0, head) and text[tail, end) are kept: a character of the longer part goes at a time. */
    if (mro_canvas_text_width(c, pt, text) <= width || strlen(text) < 2 * gap) return;
    size_t head = strlen(text) / 2, n = strlen(text);
    while (((unsigned char)text[head] & 0xc0) == 0x80) head--;
    size_t tail = head;
    char line[512];
    do {
        if (head >= n - tail) {
            do head--;
            while (head > 0 && ((unsigned char)text[head] & 0xc0) == 0x80);
        } else {
            tail = after(text, tail);
        }
        snprintf(line, sizeof line, "%.*s%s%s", (int)head, text, ellipsis, text + tail);
    } while (head > 1 && mro_canvas_text_width(c, pt, line) > width);
    if (strlen(line) <= n) memcpy(text, line, strlen(line) + 1);
}

size_t mro_canvas_paragraph(struct mro_canvas *c, double x, double y, double width, double leading, double pt,
                            const char *text, bool draw)
{
    /* A line starts with the toggles that are on, so that every line stands for itself. */
    char line[1024], styles[8] = "", line_styles[8] = "";
    size_t lines = 0;
    while (*text == ' ') text++;
    while (*text) {
        const size_t head = strlen(line_styles);
        memcpy(line, line_styles, head + 1);
        size_t used = 0, end = 0; /* bytes of text on the line; where it may end next */
        for (int bound = 1; bound >= 0 && used == 0; bound--)
            for (end = 0; text[end];) {
                end = next_end(text, end, bound);
                if (head + end + 1 > sizeof line) break;
                memcpy(line + head, text, end);
                line[head + end] = 0;
                if (mro_canvas_text_width(c, pt, line) > width) break;
                used = end;
            }
        if (used == 0) {
            const size_t n = end < sizeof line - head - 1 ? end : sizeof line - head - 1;
            used = fitting_bytes(c, width, pt, text, n, line + head);
        }
        memcpy(line + head, text, used);
        line[head + used] = 0;
        if (draw) mro_canvas_text(c, x, y + (double)lines * leading, pt, MRO_LEFT, 0, 0, line);
        lines++;
        for (size_t i = 0; i < used; i++) {
            if (!is_toggle(text[i])) continue;
            char *on = strchr(styles, text[i]);
            if (on)
                memmove(on, on + 1, strlen(on));
            else
                snprintf(styles + strlen(styles), 2, "%c", text[i]);
        }
        memcpy(line_styles, styles, sizeof styles);
        text += used;
        while (*text == ' ') text++;
    }
    return lines;
}

/* A raster's pixels for cairo (native words, premultiplied) and, for SVG, as PNG. */
enum mro_code mro_raster_make(struct mro_raster *r, const float *v, size_t ny, size_t nx, double lo, double hi,
                              const struct mro_colour_map *map, struct mro_error *e)
{
    memset(r, 0, sizeof *r);
    if (nx == 0 || ny == 0 || nx > 32767 || ny > 32767)
        return MRO_FAIL(e, MRO_EARG, "a figure cannot hold a raster of %zu x %zu pixels", nx, ny);
    enum mro_code rc = MRO_OK;
    const size_t n = nx * ny;
    struct mro_sink png = { 0 };
    unsigned char *rgba = malloc(n * 4);
    if (rgba == NULL) goto memory;
    mro_paint(v, n, lo, hi, map, rgba);
    bool opaque = true, grey = true;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = rgba + 4 * i;
        opaque &= p[3] == 255;
        grey &= p[0] == p[1] && p[1] == p[2];
    }
    r->surface = cairo_image_surface_create(opaque ? CAIRO_FORMAT_RGB24 : CAIRO_FORMAT_ARGB32, (int)nx, (int)ny);
    if (cairo_surface_status(r->surface) != CAIRO_STATUS_SUCCESS) goto memory;
    unsigned char *data = cairo_image_surface_get_data(r->surface);
    const size_t stride = (size_t)cairo_image_surface_get_stride(r->surface);
    cairo_surface_flush(r->surface);
    for (size_t y = 0; y < ny; y++) {
        for (size_t x = 0; x < nx; x++) {
            const unsigned char *p = rgba + 4 * (y * nx + x);
            /* Alpha is 0 or 255 and colours are 0 where it is 0: premultiplied as they stand. */
            const uint32_t word = (uint32_t)p[3] << 24 | (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
            memcpy(data + y * stride + 4 * x, &word, 4);
        }
    }
    cairo_surface_mark_dirty(r->surface);
    const int channels = !opaque ? 4 : grey ? 1 : 3;
    for (size_t i = 0; channels < 4 && i < n; i++) memmove(rgba + (size_t)channels * i, rgba + 4 * i, (size_t)channels);
    mro_png_encode(&png, rgba, ny, nx, channels, 6, 0);
    if (png.failed) goto memory;
    if (cairo_surface_set_mime_data(r->surface, CAIRO_MIME_TYPE_PNG, (unsigned char *)png.p, png.n, free, png.p) !=
        CAIRO_STATUS_SUCCESS)
        goto memory;
    png.p = NULL;
    r->nx = nx;
    r->ny = ny;
    goto done;
memory:
    rc = MRO_FAIL(e, MRO_EMEMORY, "a raster of %zu x %zu pixels for the figure does not fit in memory", nx, ny);
    mro_raster_release(r);
done:
    free(png.p);
    free(rgba);
    return rc;
}

void mro_raster_release(struct mro_raster *r)
{
    if (r->surface != NULL) cairo_surface_destroy(r->surface);
    memset(r, 0, sizeof *r);
}

void mro_canvas_raster(struct mro_canvas *c, const struct mro_raster *r, double x, double y, double w, double h)
{
    if (r->surface == NULL) return;
    cairo_save(c->cr);
    cairo_rectangle(c->cr, x, y, w, h);
    cairo_clip(c->cr);
    cairo_translate(c->cr, x, y);
    cairo_scale(c->cr, w / (double)r->nx, h / (double)r->ny);
    cairo_set_source_surface(c->cr, r->surface, 0, 0);
    if (c->pixels) {
        /* Keeps the rim from fading into the page, and averages properly when shrinking. */
        cairo_pattern_set_extend(cairo_get_source(c->cr), CAIRO_EXTEND_PAD);
        double dots = 1, none = 0;
        cairo_user_to_device_distance(c->cr, &dots, &none);
        cairo_pattern_set_filter(cairo_get_source(c->cr), dots < 1 ? CAIRO_FILTER_BEST : CAIRO_FILTER_GOOD);
    }
    cairo_paint(c->cr);
    cairo_restore(c->cr);
}

static cairo_status_t to_sink(void *sink, const unsigned char *data, unsigned length)
{
    struct mro_sink *s = sink;
    mro_sink_put(s, data, length);
    return s->failed ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

/* Opens a canvas on a surface (which it takes over) of `unit` surface units per mm. */
static bool open_canvas(struct mro_canvas *c, cairo_surface_t *surface, double width_mm, double unit)
{
    *c = (struct mro_canvas){ .width_mm = width_mm };
    c->cr = cairo_create(surface);
    cairo_surface_destroy(surface);
    cairo_scale(c->cr, unit, unit);
    /* The same widths on every page: no rounding of glyphs to a pixel grid. */
    cairo_font_options_t *o = cairo_font_options_create();
    cairo_font_options_set_hint_style(o, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(o, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_antialias(o, CAIRO_ANTIALIAS_GRAY);
    cairo_set_font_options(c->cr, o);
    cairo_font_options_destroy(o);
    return cairo_status(c->cr) == CAIRO_STATUS_SUCCESS;
}

static void close_canvas(struct mro_canvas *c)
{
    if (c->cr != NULL) cairo_destroy(c->cr);
    c->cr = NULL;
}

static enum mro_code no_page(struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EMEMORY, "the page of a figure does not fit in memory");
}

enum mro_code mro_canvas_measure_begin(struct mro_canvas *c, double width_mm, struct mro_error *e)
{
    if (open_canvas(c, cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1), width_mm, PAGE_DPI / 25.4)) return MRO_OK;
    close_canvas(c);
    return no_page(e);
}

enum mro_code mro_canvas_measure_end(struct mro_canvas *c, struct mro_error *e)
{
    const bool ok = !c->failed && cairo_status(c->cr) == CAIRO_STATUS_SUCCESS; /* else widths were 0 */
    close_canvas(c);
    return ok ? MRO_OK : no_page(e);
}

enum page { PAGE_PNG, PAGE_SVG, PAGE_PDF, PAGES };
static const char *const suffixes[PAGES] = { ".png", ".svg", ".pdf" };

static void encode_page(struct mro_sink *out, cairo_surface_t *surface)
{
    const size_t nx = (size_t)cairo_image_surface_get_width(surface),
                 ny = (size_t)cairo_image_surface_get_height(surface);
    const size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    const unsigned char *data = cairo_image_surface_get_data(surface);
    unsigned char *rgb = malloc(nx * ny * 3);
    if (rgb == NULL) {
        out->failed = true;
        return;
    }
    for (size_t y = 0; y < ny; y++) {
        for (size_t x = 0; x < nx; x++) {
            uint32_t word;
            memcpy(&word, data + y * stride + 4 * x, 4);
            unsigned char *p = rgb + 3 * (y * nx + x);
            p[0] = (unsigned char)(word >> 16);
            p[1] = (unsigned char)(word >> 8);
            p[2] = (unsigned char)word;
        }
    }
    mro_png_encode(out, rgb, ny, nx, 3, 2, PAGE_DPI);
    free(rgb);
}

/* Copies a drawing with its surfaces numbered from 0: cairo counts them through the life of the process, and
 * the same figure should be the same bytes. Pages have few; any beyond the table keep their number. */
static void put_renumbered(struct mro_sink *out, const char *p, size_t n)
{
    unsigned long seen[64];
    size_t known = 0, copied = 0;
    for (size_t i = 0; i + 8 < n; i++) {
        if (p[i] != '"') continue;
        const size_t at = i + 1 + (p[i + 1] == '#');
        if (n - at < 10) continue;
        const size_t word = memcmp(p + at, "image", 5) == 0 ? 5 : memcmp(p + at, "surface", 7) == 0 ? 7 : 0;
        size_t end = at + word;
        unsigned long id = 0;
        while (word > 0 && end < n && end < at + 20 && p[end] >= '0' && p[end] <= '9')
            id = id * 10 + (unsigned long)(p[end++] - '0');
        if (end == at + word || end == n || p[end] != '"') continue;
        size_t k = 0;
        while (k < known && seen[k] != id) k++;
        if (k == sizeof seen / sizeof *seen) continue;
        if (k == known) seen[known++] = id;
        mro_sink_put(out, p + copied, at + word - copied);
        mro_sink_text(out, "%zu", k);
        copied = end;
        i = end;
    }
    mro_sink_put(out, p + copied, n - copied);
}

/* Puts the texts on top of the drawing and the title where viewers look for it. */
static void finish_svg(struct mro_sink *out, const struct mro_sink *drawing, const struct mro_sink *text,
                       const char *title)
{
    static const char end[] = "</svg>";
    size_t close = drawing->n, open = 0;
    while (close > 0 && (drawing->n - close < sizeof end - 1 || memcmp(drawing->p + close, end, sizeof end - 1) != 0))
        close--;
    const char *svg = drawing->n ? memchr(drawing->p, '>', drawing->n) : NULL; /* end of <?xml ...> */
    if (svg) svg = memchr(svg + 1, '>', drawing->n - (size_t)(svg + 1 - drawing->p));
    if (svg) open = (size_t)(svg + 1 - drawing->p);
    if (close == 0 || open == 0 || open > close || text->failed) {
        out->failed = true;
        return;
    }
    mro_sink_put(out, drawing->p, open);
    if (title[0]) {
        mro_sink_text(out, "\n<title>");
        put_escaped(out, title);
        mro_sink_text(out, "</title>");
    }
    put_renumbered(out, drawing->p + open, close - open);
    mro_sink_text(out, "<g font-family=\"" SVG_FAMILIES "\" xml:space=\"preserve\">\n");
    mro_sink_put(out, text->p, text->n);
    mro_sink_text(out, "</g>\n");
    mro_sink_put(out, drawing->p + close, drawing->n - close);
}

bool mro_canvas_pdf_whole(const char *p, size_t n)
{
    /* <objects> "xref\n0 COUNT\n" <COUNT entries of 20 bytes> "trailer ... startxref\nPLACE\n%%EOF\n" */
    static const char end[] = "\n%%EOF\n", keyword[] = "startxref\n", table[] = "xref\n0 ";
    enum { ENTRY = 20 };
    const size_t head = sizeof table - 1;
    if (n < sizeof end - 1 || memcmp(p + n - (sizeof end - 1), end, sizeof end - 1) != 0) return false;
    size_t at = n - (sizeof end - 1);
    while (at > 0 && p[at - 1] >= '0' && p[at - 1] <= '9') at--;
    if (at < sizeof keyword - 1 || memcmp(p + at - (sizeof keyword - 1), keyword, sizeof keyword - 1) != 0)
        return false;
    const size_t place = strtoul(p + at, NULL, 10); /* a line ends behind each of these numbers */
    if (place >= n || n - place < head) return false;
    if (memcmp(p + place, table, head) != 0) return p[place] >= '1' && p[place] <= '9'; /* packed: not looked into */
    char *entry;
    const size_t count = strtoul(p + place + head, &entry, 10);
    if (count < 2 || (size_t)(p + n - ++entry) / ENTRY < count) return false;
    for (size_t i = 1; i < count; i++) {
        char name[32];
        const int length = snprintf(name, sizeof name, "%zu 0 obj\n", i);
        const size_t object = strtoul(entry + i * ENTRY, NULL, 10);
        if (object >= n || n - object < (size_t)length || memcmp(p + object, name, (size_t)length) != 0) return false;
    }
    return true;
}

/* Draws one page into `out`, or the pixels of the PNG page into *pixels (caller destroys), which are encoded
 * apart. False: memory ran out or the drawing put cairo into error. */
static bool draw_page(enum page page, const char *title, double width, double height,
                      void (*draw)(struct mro_canvas *c, void *data), void *data, struct mro_sink *out,
                      cairo_surface_t **pixels)
{
    struct mro_canvas c = { 0 };
    struct mro_sink drawing = { 0 }, text = { 0 };
    cairo_surface_t *s;
    const double w = width / MM_PER_PT, h = height / MM_PER_PT, dots = PAGE_DPI / 25.4;
    bool ok;
    if (page == PAGE_PNG) {
        s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)lround(width * dots), (int)lround(height * dots));
    } else if (page == PAGE_SVG) {
        s = cairo_svg_surface_create_for_stream(to_sink, &drawing, w, h);
    } else {
        s = cairo_pdf_surface_create_for_stream(to_sink, out, w, h);
        cairo_pdf_surface_set_metadata(s, CAIRO_PDF_METADATA_CREATOR, "mroscope");
        if (title[0]) cairo_pdf_surface_set_metadata(s, CAIRO_PDF_METADATA_TITLE, title);
        /* Same input, same bytes: no clock in the file. */
        cairo_pdf_surface_set_metadata(s, CAIRO_PDF_METADATA_CREATE_DATE, NULL);
    }
    ok = open_canvas(&c, cairo_surface_reference(s), width, page == PAGE_PNG ? dots : 1 / MM_PER_PT);
    c.pixels = page == PAGE_PNG;
    c.text = page == PAGE_SVG ? &text : NULL;
    if (!ok) goto done;
    if (c.pixels) { /* cairo's own paint may fail for want of memory without a word */
        memset(cairo_image_surface_get_data(s), 255,
               (size_t)cairo_image_surface_get_stride(s) * (size_t)cairo_image_surface_get_height(s));
        cairo_surface_mark_dirty(s);
    } else {
        cairo_set_source_rgb(c.cr, 1, 1, 1);
        cairo_paint(c.cr);
    }
    cairo_set_source_rgb(c.cr, 0, 0, 0);
    draw(&c, data);
    ok = !c.failed && cairo_status(c.cr) == CAIRO_STATUS_SUCCESS;
    close_canvas(&c);
    cairo_surface_flush(s);
    if (page == PAGE_PNG)
        *pixels = cairo_surface_reference(s);
    else
        cairo_surface_finish(s);
    ok = ok && cairo_surface_status(s) == CAIRO_STATUS_SUCCESS;
    if (ok && page == PAGE_SVG) finish_svg(out, &drawing, &text, title);
    if (ok && page == PAGE_PDF) ok = out->failed || mro_canvas_pdf_whole(out->p, out->n);
done:
    close_canvas(&c);
    cairo_surface_destroy(s);
    free(drawing.p);
    free(text.p);
    return ok && !out->failed;
}

/* Writes the three files, all or none: the disk has taken all bytes before the first gets its name. */
static enum mro_code write_files(const char *path_stem, const struct mro_sink out[PAGES], struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    struct mro_write files[PAGES] = { { 0 } };
    const size_t length = strlen(path_stem) + 8;
    char *paths = malloc(PAGES * length);
    int named = 0;
    if (paths == NULL) return MRO_FAIL(e, MRO_EMEMORY, "the figure '%s' does not fit in memory", path_stem);
    for (int i = 0; i < PAGES; i++) {
        char *path = paths + (size_t)i * length;
        snprintf(path, length, "%s%s", path_stem, suffixes[i]);
        rc = mro_write_begin(&files[i], path, e);
        if (rc) goto done;
        if (fwrite(out[i].p, 1, out[i].n, files[i].out) != out[i].n || fflush(files[i].out) != 0) {
            rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", path, strerror(errno));
            goto done;
        }
    }
    for (; named < PAGES; named++) {
        rc = mro_write_commit(&files[named], e);
        if (rc) goto done;
    }
done:
    for (int i = 0; i < PAGES && rc; i++) {
        if (i < named)
            unlink(paths + (size_t)i * length);
        else
            mro_write_abort(&files[i]);
    }
    free(paths);
    return rc;
}

enum mro_code mro_canvas_write(const char *path_stem, const char *title, double width_mm, double height_mm,
                               void (*draw)(struct mro_canvas *c, void *data), void *data, struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    struct mro_sink out[PAGES] = { { 0 } };
    cairo_surface_t *pixels = NULL;
    bool drawn[PAGES] = { false };
    MRO_TRY(mro_stopped(e));
    /* Packing the pixels takes as long as drawing the two vector pages: side by side, where two threads may be used. */
    if (title == NULL) title = "";
    drawn[PAGE_PNG] = draw_page(PAGE_PNG, title, width_mm, height_mm, draw, data, &out[PAGE_PNG], &pixels);
    if (drawn[PAGE_PNG]) {
        const locale_t locale = uselocale((locale_t)0);
#pragma omp parallel sections num_threads(2) if (omp_get_max_threads() > 1)
        {
#pragma omp section
            encode_page(&out[PAGE_PNG], pixels);
#pragma omp section
            {
                const locale_t before = uselocale(locale);
                for (int i = PAGE_SVG; i < PAGES; i++)
                    drawn[i] = draw_page((enum page)i, title, width_mm, height_mm, draw, data, &out[i], NULL);
                uselocale(before);
            }
        }
    }
    for (int i = 0; i < PAGES && rc == MRO_OK; i++)
        if (!drawn[i] || out[i].failed)
            rc = MRO_FAIL(e, MRO_EMEMORY, "the figure '%s%s' could not be drawn; memory may be short", path_stem,
                          suffixes[i]);
    if (rc == MRO_OK) rc = write_files(path_stem, out, e);
    for (int i = 0; i < PAGES; i++) free(out[i].p);
    if (pixels != NULL) cairo_surface_destroy(pixels);
    return rc;
}
