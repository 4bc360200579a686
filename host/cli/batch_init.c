/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A first manifest of a folder: the files that can be measured, their kinds, and states guessed from names. */
#define _GNU_SOURCE /* asprintf, nftw */
#include <ctype.h>
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/batch.h"
#include "cli/words.h"
#include "io/reader.h"
#include "io/table.h"
#include "io/write.h"
#include "mroscope/eds.h"
#include "mroscope/indent.h"

struct found {
    char *path; /* from the folder */
};

/* nftw knows no context. */
static struct {
    struct found *files;
    size_t n, room, base;
    bool failed;
} list;

static int take(const char *path, const struct stat *st, int flag, struct FTW *place)
{
    struct stat there;
    (void)st;
    (void)place;
    /* A link to a file counts as one; links to folders could lead in circles. */
    if (flag == FTW_SL && stat(path, &there) == 0 && S_ISREG(there.st_mode)) flag = FTW_F;
    /* Hidden files, and the results of a batch; what the folder itself is called is no matter. */
    const char *inside = strlen(path) >= list.base ? path + list.base - 1 : "";
    if (flag != FTW_F || strstr(inside, "/.") || strstr(inside, "/items/")) return 0;
    if (list.n == list.room) {
        struct found *grown = realloc(list.files, (2 * list.room + 256) * sizeof *grown);
        if (grown == NULL) {
            list.failed = true;
            return 1;
        }
        list.files = grown;
        list.room = 2 * list.room + 256;
    }
    if ((list.files[list.n].path = strdup(path + list.base)) == NULL) {
        list.failed = true;
        return 1;
    }
    list.n++;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path);
}

/* "eds_AQ_Fe.tif": a map of Fe, or with HAADF the image beside the maps, of the field "eds_AQ". The length of that name
 * (0: it is no map), and where the element begins and ends. */
static size_t map_of(const char *path, const char **element, size_t *letters)
{
    static const char *const words[] = { "eds", "edx", "eds-map", "edx-map", NULL };
    const char *base = cli_base_name(path), *dot = strrchr(base, '.');
    size_t end = dot ? (size_t)(dot - base) : strlen(base), begin = end;
    char symbol[8];
    while (begin > 0 && isalpha((unsigned char)base[begin - 1])) begin--;
    *letters = end - begin;
    if (begin < 2 || *letters == 0 || *letters >= sizeof symbol || !cli_any_word(base, words)) return 0;
    *element = base + begin;
    snprintf(symbol, sizeof symbol, "%.*s", (int)*letters, base + begin);
    if (strcasecmp(symbol, "HAADF") != 0 && !(mro_atomic_weight(symbol) > 0)) return 0;
    while (begin > 0 && strchr("_- .", base[begin - 1])) begin--;
    return begin ? (size_t)(base - path) + begin : 0;
}

/* An image beside maps is one where there are maps beside it. */
static bool has_maps(const char *path, size_t group)
{
    for (size_t i = 0; i < list.n; i++) {
        const char *other = list.files[i].path, *element;
        size_t letters;
        if (map_of(other, &element, &letters) == group && strncmp(other, path, group) == 0 &&
            strncasecmp(element, "HAADF", letters) != 0)
            return true;
    }
    return false;
}

static const char *image_kind(const char *path, const struct mro_image_info *info)
{
    static const char *const stem[] = { "haadf", "adf", "maadf", "laadf", "stem", "df", NULL };
    static const char *const pattern[] = { "saed", "sadp", "nbd", "nbed", "diff", "diffraction", NULL };
    static const char *const band[] = { "shearband", "shearbands", NULL };
    const char *element;
    size_t letters;
    if (info->kind == MRO_KIND_DIFFRACTION || cli_any_word(path, pattern)) return "diffraction";
    const size_t group = map_of(path, &element, &letters);
    if (group && has_maps(path, group)) return "eds-map";
    if (cli_any_word(path, band)) return "shearband";
    if (cli_is_stem(info) || cli_any_word(path, stem)) return "haadf";
    return "hrtem";
}

/* "cs_4pct", "e10", "strain4": a strain in %, or NaN. */
static double strain_of(const char *token, size_t n)
{
    static const char *const before[] = { "e", "eps", "strain", "" }, *const after[] = { "pct", "percent", "%", "" };
    char text[32];
    if (n == 0 || n >= sizeof text) return NAN;
    snprintf(text, sizeof text, "%.*s", (int)n, token);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 4; k++) {
            const size_t a = strlen(before[i]);
            if ((a == 0 && after[k][0] == '\0') || strncasecmp(text, before[i], a) != 0) continue;
            char *end;
            if (!isdigit((unsigned char)text[a])) continue;
            double v = strtod(text + a, &end);
            if (*end == 'p' && isdigit((unsigned char)end[1])) v += strtod(end + 1, &end) / 10; /* 2p5 */
            if (strcasecmp(end, after[k]) == 0) return v;
        }
    return NAN;
}

static double strain_in(const char *name, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t k = i;
        while (k < n && strchr("_- /.", name[k]) == NULL) k++;
        /* "4 %" and "4 pct" are one word */
        const size_t end = k < n && name[k] == ' ' && k > i && strspn(name + i, "0123456789.p") >= k - i
                               ? k + 1 + strcspn(name + k + 1, "_- /.")
                               : k;
        char word[32];
        size_t letters = 0;
        for (size_t c = i; c < end && c < n && letters + 1 < sizeof word; c++)
            if (name[c] != ' ') word[letters++] = name[c];
        double v = strain_of(word, letters);
        if (isnan(v)) v = strain_of(name + i, k - i);
        if (!isnan(v)) return v;
        i = k + 1;
    }
    return NAN;
}

/* The folder that a file lies in; of files beside the manifest, their names up to the first number. */
static void state_of(const char *path, char *out, size_t room, double *strain)
{
    const char *slash = strchr(path, '/'), *dot = strrchr(path, '.');
    size_t n = slash ? (size_t)(slash - path) : dot ? (size_t)(dot - path) : strlen(path), skip = 0;
    *strain = strain_in(path, dot ? (size_t)(dot - path) : strlen(path));
    for (size_t i = 0; !slash && i < n;) {
        size_t k = i, digits = 0;
        while (k < n && strchr("_- .", path[k]) == NULL) digits += isdigit((unsigned char)path[k++]) != 0;
        if (i > 0 && digits == k - i) n = i - 1;
        i = k + 1;
    }
    /* "haadf_aged" is a state "aged". */
    static const char *const kinds[] = { "haadf", "hrtem", "stem", "tem", "eds" };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t k = strlen(kinds[i]);
        if (skip + k + 1 < n && strncasecmp(path + skip, kinds[i], k) == 0 && strchr("_- .", path[skip + k]))
            skip += k + 1;
    }
    n -= skip;
    snprintf(out, room, "%.*s", (int)(n < room ? n : room - 1), path + skip);
}

static void put_row(FILE *out, const char *prefix, const char *file, const char *kind, const char *note)
{
    char state[256], number[40] = "", group[256] = "", symbol[8] = "";
    const char *element = "";
    double strain;
    size_t letters = 0;
    if (strcmp(kind, "eds-map") == 0)
        snprintf(group, sizeof group, "%.*s", (int)map_of(file, &element, &letters), file);
    snprintf(symbol, sizeof symbol, "%.*s", (int)letters, element);
    state_of(group[0] ? group : file, state, sizeof state, &strain);
    if (!isnan(strain)) snprintf(number, sizeof number, "%g", strain);
    char *path = NULL;
    /* A spreadsheet would compute a name that begins like a formula, and save what came of it. */
    const char *here = prefix[0] == '\0' && strchr("=+-@", file[0]) ? "./" : prefix;
    if (asprintf(&path, "%s%s", here, file) < 0) return;
    mro_csv_put(out, path, ",");
    free(path);
    mro_csv_put(out, state + strspn(state, "=@"), ",");
    fprintf(out, "%s,%s,,,,,", number, kind); /* pixel_nm, frames, specimen, thickness_nm */
    mro_csv_put(out, group, ",");
    fprintf(out, "%s,,", symbol); /* value */
    mro_csv_put(out, note, "\r\n");
}

static bool is_profile(const char *path)
{
    const size_t n = strlen(path);
    const struct mro_eds_table_options o = { MRO_EDS_UNIT_HEADER, true, NULL };
    struct mro_bytes b;
    struct mro_eds_profile p = { 0 };
    if (n < 4 || (strcasecmp(path + n - 4, ".csv") != 0 && strcasecmp(path + n - 4, ".txt") != 0)) return false;
    if (mro_bytes_map(&b, path, NULL) != MRO_OK) return false;
    const bool is = b.size && mro_eds_table(&p, b.p, b.size, path, &o, NULL) == MRO_OK;
    mro_eds_profile_release(&p);
    mro_bytes_unmap(&b);
    return is;
}

static bool has_ending(const char *name, const char *const *endings)
{
    const char *dot = strrchr(name, '.');
    for (; dot && *endings; endings++)
        if (strcasecmp(dot + 1, *endings) == 0) return true;
    return false;
}

/* A table of hardness or modulus, by what it or its column is called: a table of anything could be one. */
static bool is_hardness(const char *path)
{
    static const char *const tables[] = { "csv", "txt", "tsv", NULL };
    static const char *const words[] = { "hardness",    "modulus",         "indent", "indents",
                                         "indentation", "nanoindentation", NULL };
    const struct mro_indent_table_options o = { 0 };
    struct mro_bytes b;
    struct mro_indent_table t = { 0 };
    if (!has_ending(path, tables) || mro_bytes_map(&b, path, NULL) != MRO_OK) return false;
    const bool is = b.size && mro_indent_table(&t, b.p, b.size, path, &o, NULL) == MRO_OK &&
                    (cli_any_word(cli_base_name(path), words) || cli_any_word(t.quantity, words));
    mro_indent_table_release(&t);
    mro_bytes_unmap(&b);
    return is;
}

/* An EMI file holds what its "<stem>_N.ser" show, which are measured in its place. */
static bool is_shown_by_others(const char *name)
{
    static const char *const emi[] = { "emi", NULL };
    const size_t n = strlen(name);
    if (!has_ending(name, emi)) return false;
    for (size_t i = 0; i < list.n; i++) {
        const char *other = list.files[i].path;
        if (strncmp(other, name, n - 4) != 0 || other[n - 4] != '_') continue;
        const char *end = other + n - 3 + strspn(other + n - 3, "0123456789");
        if (end > other + n - 3 && strcasecmp(end, ".ser") == 0) return true;
    }
    return false;
}

/* True when the file has something to measure. */
static bool do_file(FILE *out, const char *folder, const char *prefix, const char *name, bool quiet)
{
    static const char *const images[] = { "tif", "tiff", "dm3", "dm4", "mrc", "ser", "emi", "emd", NULL };
    char *path = NULL, note[256], calibration[96];
    struct mro_file *f = NULL;
    struct mro_error e;
    bool used = false;
    if (is_shown_by_others(name) || asprintf(&path, "%s/%s", folder, name) < 0) return false;
    if (is_profile(path)) {
        put_row(out, prefix, name, "eds-line", "");
        used = true;
    } else if (is_hardness(path)) {
        put_row(out, prefix, name, "indent", "");
        used = true;
    } else if (mro_file_open(&f, path, 0, &e) != MRO_OK) {
        cli_in_options(e.message);
        if (!quiet && has_ending(name, images)) cli_put(stderr, "mroscope: warning: left out: %s\n", e.message);
    } else {
        for (size_t i = 0; i < mro_file_images(f) && !used; i++) {
            const struct mro_image_info *info = mro_file_info(f, i);
            if ((info->kind != MRO_KIND_IMAGE && info->kind != MRO_KIND_DIFFRACTION) || info->axes < 2) continue;
            const struct mro_axis *x = &info->axis[info->axes - 1];
            const char *kind = image_kind(name, info);
            mro_calibration_text(&x[-1], x, calibration, sizeof calibration);
            if (x->step > 0)
                snprintf(note, sizeof note, "the file says %.6g %s a pixel (%s)", x->step, mro_unit_name(x->unit),
                         calibration);
            else
                snprintf(note, sizeof note, "the file has no calibration: fill in pixel_nm");
            put_row(out, prefix, name, kind, note);
            used = true;
        }
    }
    mro_file_close(f);
    free(path);
    return used;
}

/* What to put before a name in `root` to find it from the folder of the manifest `path`: "", "images/" or a whole path.
 * free() it. */
static char *prefix_of(const char *path, const char *root)
{
    const char *slash = strrchr(path, '/');
    char *from = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup("."), *prefix = NULL;
    char *here = from ? realpath(from, NULL) : NULL, *there = realpath(root, NULL);
    if (here && there) {
        const size_t n = strlen(here);
        const bool inside = strncmp(here, there, n) == 0 && (there[n] == '\0' || there[n] == '/');
        const char *rest = !inside ? there : there[n] ? there + n + 1 : "";
        if (asprintf(&prefix, "%s%s", rest, *rest ? "/" : "") < 0) prefix = NULL;
    }
    free(from);
    free(here);
    free(there);
    return prefix;
}

char *batch_shell_word(const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+:,@%";
    if (path[strspn(path, plain)] == '\0') return strdup(path);
    char *out = malloc(4 * strlen(path) + 3), *to = out;
    if (out == NULL) return NULL;
    *to++ = '\'';
    for (; *path; path++)
        if (*path == '\'')
            to = stpcpy(to, "'\\''");
        else
            *to++ = *path;
    strcpy(to, "'");
    return out;
}

int batch_init(const struct batch_options *o, const char *folder)
{
    struct mro_error e;
    struct mro_write w;
    struct stat st;
    char *path = NULL;
    size_t used = 0, left = 0;
    int rc = 1;
    list.base = strlen(folder);
    while (list.base > 1 && folder[list.base - 1] == '/') list.base--;
    char *root = strndup(folder, list.base);
    list.base++;
    if (root == NULL ||
        (o->common.out ? asprintf(&path, "%s", o->common.out) : asprintf(&path, "%s/session.csv", root)) < 0) {
        path = NULL;
        fputs("mroscope: no memory left to begin\n", stderr);
        goto done;
    }
    if (stat(root, &st) != 0 || !S_ISDIR(st.st_mode)) {
        cli_put(stderr, "mroscope: '%s' is no folder; --init wants the folder with the images\n", root);
        goto done;
    }
    if (stat(path, &st) == 0) {
        cli_put(stderr, "mroscope: '%s' is there already and is not replaced; give another name with -o FILE\n", path);
        rc = 2;
        goto done;
    }
    if (nftw(root, take, 16, FTW_PHYS) != 0 || list.failed) {
        cli_put(stderr, "mroscope: cannot walk through '%s': %s\n", root, strerror(errno));
        goto done;
    }
    qsort(list.files, list.n, sizeof *list.files, by_path);
    if (mro_write_begin(&w, path, &e) != MRO_OK) {
        cli_complain(&e);
        goto done;
    }
    char *prefix = prefix_of(path, root);
    if (prefix == NULL) {
        fputs("mroscope: no memory left for the names of the files\n", stderr);
        mro_write_abort(&w);
        goto done;
    }
    /* A spreadsheet takes a table without this mark for one of its own country, and spoils every accent. */
    bool plain = true;
    for (size_t i = 0; i < list.n; i++)
        for (const char *p = list.files[i].path; *p; p++) plain &= (unsigned char)*p < 0x80;
    for (const char *p = prefix; *p; p++) plain &= (unsigned char)*p < 0x80;
    if (!plain) fputs("\xef\xbb\xbf", w.out);
    fputs("file,state,strain,kind,pixel_nm,frames,specimen,thickness_nm,group,element,value,note\r\n", w.out);
    for (size_t i = 0; i < list.n; i++) {
        if (do_file(w.out, root, prefix, list.files[i].path, o->common.quiet))
            used++;
        else
            left++;
    }
    free(prefix);
    if (used == 0) {
        cli_put(stderr, "mroscope: '%s' holds no file that can be measured\n", root);
        mro_write_abort(&w);
    } else if (mro_write_commit(&w, &e) != MRO_OK) {
        cli_complain(&e);
    } else {
        rc = 0;
        cli_put(stdout, "%s: %zu row%s", path, used, used == 1 ? "" : "s");
        if (left) printf("; %zu other file%s left out", left, left == 1 ? " is" : "s are");
        char *word = batch_shell_word(path);
        printf(".\n");
        cli_put(stdout,
                "Correct state, strain, kind and pixel_nm in a spreadsheet, then: mroscope batch %s --kv KV --cs MM -o "
                "RESULTS\n",
                word ? word : "SESSION.csv");
        free(word);
    }
done:
    for (size_t i = 0; i < list.n; i++) free(list.files[i].path);
    free(list.files);
    free(root);
    free(path);
    return rc;
}
