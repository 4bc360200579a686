/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: any bytes, read as a table of text. A first byte below 8 says by which reader and the second with which
 * options, and the table follows; anything else is read by all of them as it is, so that any table is a seed. */
#define _GNU_SOURCE /* memfd_create */
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/compare_set.h"
#include "mroscope/eds.h"
#include "mroscope/indent.h"
#include "mroscope/profile.h"
#include "session/manifest.h"

#define FUZZ_NAME "fuzz_tables"
#include "replay.h"

static void check_error(enum mro_code c, const struct mro_error *e, const char *name)
{
    check(c == e->code && e->message[0] != '\0', "an error without a sentence");
    check(strstr(e->message, name) != NULL, "an error that does not name the file");
    check(strchr(e->message, '\n') == NULL, "an error of more than one line");
}

static void all_finite(const double *v, size_t n, const char *what)
{
    for (size_t i = 0; v && i < n; i++) check(isfinite(v[i]), what);
}

static void rising(const double *v, size_t n, const char *what)
{
    all_finite(v, n, what);
    for (size_t i = 1; v && i < n; i++) check(v[i] > v[i - 1], what);
}

static void read_eds(const uint8_t *data, size_t size, unsigned how)
{
    const struct mro_eds_table_options o = { (enum mro_eds_unit)(how & 3), how & 4, how & 8 ? "Fe,Si" : NULL };
    struct mro_eds_profile p;
    struct mro_error e = { .code = MRO_OK };
    const enum mro_code c = mro_eds_table(&p, data, size, "fuzz", &o, &e);
    if (c) {
        check_error(c, &e, "fuzz");
        return;
    }
    check(p.n >= 2 && p.elements >= 1 && p.elements <= MRO_EDS_MAX_ELEMENTS, "a profile without points");
    rising(p.x_nm, p.n, "a distance that does not rise");
    for (size_t i = 0; i < p.elements; i++) {
        const struct mro_eds_column *k = &p.column[i];
        check(mro_atomic_weight(k->symbol) > 0, "a column of no element");
        check(k->at || k->counts, "a column without values");
        all_finite(k->at, p.n, "at.% that is no number");
        all_finite(k->counts, p.n, "a count that is no number");
        for (size_t j = 0; k->counts && !k->variance && j < p.n; j++) check(k->counts[j] >= 0, "a count below 0");
    }
    mro_eds_profile_release(&p);
}

static void read_indent(const uint8_t *data, size_t size, unsigned how)
{
    const struct mro_indent_table_options o = { .column = how & 1 ? "H" : NULL,
                                                .unit = how & 2 ? "GPa" : NULL,
                                                .pitch_nm = { how & 4 ? 1e4 : 0, how & 4 ? 2e4 : 0 },
                                                .negative = how & 8 };
    struct mro_indent_table t;
    struct mro_error e = { .code = MRO_OK };
    const enum mro_code c = mro_indent_table(&t, data, size, "fuzz", &o, &e);
    if (c) {
        check_error(c, &e, "fuzz");
        return;
    }
    check(t.n >= 1 && t.n <= MRO_INDENT_MOST, "a table without values");
    check(!t.x == !t.y, "places on one axis");
    all_finite(t.value, t.n, "a value that is no number");
    all_finite(t.x, t.n, "a place that is no number");
    all_finite(t.y, t.n, "a place that is no number");
    for (size_t i = 0; !o.negative && i < t.n; i++) check(t.value[i] > 0, "a value that is not above 0");
    check(strlen(t.unit) < sizeof t.unit && strlen(t.quantity) < sizeof t.quantity, "a text without its end");
    mro_indent_table_release(&t);
}

static void read_profile(const uint8_t *data, size_t size, unsigned how)
{
    static const char *const names[] = { "fuzz.csv", "fuzz.gr", "fuzz.sq", "fuzz.chi" };
    const char *name = names[how & 3];
    struct mro_profile_options o;
    struct mro_profile p;
    struct mro_error e = { .code = MRO_OK };
    mro_profile_options_default(&o);
    o.abscissa = (enum mro_abscissa)((how >> 2 & 7) % (MRO_ABSCISSA_R_A + 1));
    if (how & 32) o.wavelength_A = 0.1;
    if (how & 64) o.radiation = MRO_RADIATION_ELECTRONS, o.beam_kv = 200;
    if (how & 128) o.column = 3, o.error_column = 2;
    mro_profile_probe(data, size);
    const enum mro_code c = mro_profile_read(&p, data, size, name, &o, &e);
    if (c) {
        check_error(c, &e, name);
        return;
    }
    check(p.n >= 8 && (p.quantity == MRO_QUANTITY_G ? p.r_A : p.s_inv_nm) != NULL, "a profile without points");
    rising(p.s_inv_nm, p.n, "a frequency that does not rise");
    rising(p.r_A, p.n, "a radius that does not rise");
    all_finite(p.intensity, p.n, "an intensity that is no number");
    for (size_t i = 0; i < p.n; i++) check(isnan(p.se[i]) || p.se[i] >= 0, "an error below 0");
    check(isfinite(p.step_inv_nm) && p.wavelength_A >= 0 && p.beam_kv >= 0, "a setting that is no number");
    mro_profile_release(&p);
}

static void read_manifest(const char *path)
{
    struct mro_manifest m;
    struct mro_error e = { .code = MRO_OK };
    const enum mro_code c = mro_manifest_read(&m, path, &e);
    if (c) check_error(c, &e, path);
    check(c || m.n > 0, "a manifest without rows");
    for (size_t i = 0; i < m.n; i++) {
        const struct mro_manifest_row *r = &m.rows[i];
        const char *const texts[] = {
            r->file, r->state, r->kind, r->frames, r->specimen, r->group, r->element, r->value
        };
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) check(texts[k] != NULL, "a cell without a text");
        check(r->path == NULL || r->path[0] != '-', "a path that looks like an option");
        check(!isinf(r->strain) && !isinf(r->cs_mm), "an infinite number");
        check(isnan(r->thickness_nm) || (r->thickness_nm > 0 && isfinite(r->thickness_nm)), "a thickness");
        check(isnan(r->kv) || (r->kv > 0 && isfinite(r->kv)), "a voltage");
        for (int k = 0; k < 2; k++) check(r->pixel_nm[k] >= 0 && r->pixel_nm[k] <= 1e6, "a size of a pixel");
    }
    mro_manifest_release(&m);
}

static void read_set(const char *path, unsigned how)
{
    static const char *const keys[] = { "fraction", "elements.Fe.mean_at" };
    struct mro_compare_set s;
    struct mro_error e = { .code = MRO_OK };
    const enum mro_code c = mro_compare_set_table(&s, path, keys, how & 3 ? how & 1 ? 1 : 2 : 0, &e);
    if (c) {
        check_error(c, &e, path);
        return;
    }
    check(s.n_rows > 0 && s.n_states > 0, "a set without rows");
    for (size_t i = 0; i < s.n_rows; i++) {
        const struct mro_set_row *r = &s.rows[i];
        check(r->file && r->state && r->kind && r->specimen && r->unit, "a cell without a text");
        check(r->state_index < s.n_states, "a state that is not listed");
        check(r->specimen_index == MRO_COMPARE_NONE || r->specimen_index < s.n_specimens, "a specimen not listed");
        check(!isinf(r->strain) && !isinf(r->thickness_nm), "an infinite number");
    }
    for (size_t k = 0; k < s.n_metrics; k++)
        for (size_t i = 0; i < s.n_rows; i++) check(!isinf(s.metrics[k].value[i]), "an infinite value");
    mro_compare_set_release(&s);
}

/* Readers that want a path get a file that is only in memory. */
static void read_file(const uint8_t *data, size_t size, bool manifest, unsigned how)
{
    char path[64];
    const int fd = memfd_create("fuzz", 0);
    if (fd < 0) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (size == 0 || write(fd, data, size) == (ssize_t)size) {
        if (manifest)
            read_manifest(path);
        else
            read_set(path, how);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bool one = size >= 2 && data[0] < 8;
    const unsigned how = one ? data[1] : 0, reader = one ? data[0] % 5 : 0;
    if (one) data += 2, size -= 2;
    if (!one || reader == 0) read_eds(data, size, how);
    if (!one || reader == 1) read_indent(data, size, how);
    if (!one || reader == 2) read_profile(data, size, how);
    if (!one || reader == 3) read_file(data, size, true, how);
    if (!one || reader == 4) read_file(data, size, false, how);
    return 0;
}
