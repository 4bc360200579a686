/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mroscope/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "core/inside.h"
#include "core/provenance.h"
#include "core/vectors.h"
#include "mroscope/file.h"

struct mro_run {
    struct mro_inside inside;
    char **arguments;
    size_t n_arguments;
    bool started;
    struct mro_error error;
};

struct mro_run *mro_run_new(void) { return calloc(1, sizeof(struct mro_run)); }

void mro_run_free(struct mro_run *r)
{
    if (r == NULL) return;
    mro_inside_release(&r->inside);
    for (size_t i = 0; i < r->n_arguments; i++) free(r->arguments[i]);
    free(r->arguments);
    free(r);
}

/* -- what the caller's process shares with us --------------------------------------------------------- */

struct entered {
    struct mro_inside *before;
    locale_t plain, locale;
};

/* Makes `r` the run of this thread. Numbers are read and written with a point, whatever the caller's language. */
static enum mro_code enter(struct mro_run *r, struct entered *in)
{
    MRO_TRY(mro_vectors_check(&r->error));
    *in = (struct entered){ mro_inside, newlocale(LC_ALL_MASK, "C", (locale_t)0), (locale_t)0 };
    if (in->plain == (locale_t)0) return MRO_FAIL(&r->error, MRO_EMEMORY, "no memory left to begin");
    in->locale = uselocale(in->plain);
    mro_inside = &r->inside;
    return MRO_OK;
}

static void leave(const struct entered *in)
{
    mro_inside = in->before;
    uselocale(in->locale);
    freelocale(in->plain);
}

static enum mro_code missing(struct mro_run *r, const char *what)
{
    return MRO_FAIL(&r->error, MRO_EARG, "%s is missing (NULL)", what);
}

/* -- what goes in ---------------------------------------------------------------------------------- */

int mro_run_argument(struct mro_run *r, const char *argument)
{
    if (argument == NULL) return missing(r, "the argument");
    char *copy = strdup(argument), **grown = realloc(r->arguments, (r->n_arguments + 1) * sizeof *grown);
    if (grown) r->arguments = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        return MRO_FAIL(&r->error, MRO_EMEMORY, "no memory left for the arguments");
    }
    r->arguments[r->n_arguments++] = copy;
    return MRO_OK;
}

static enum mro_code lend(struct mro_run *r, const char *name, const void *bytes, size_t size, struct mro_lent **lent)
{
    struct mro_inside *in = &r->inside;
    if (bytes == NULL && size) return MRO_FAIL(&r->error, MRO_EARG, "'%s' is lent without its bytes (NULL)", name);
    for (size_t i = 0; i < in->n_lent; i++)
        if (strcmp(in->lent[i].name, name) == 0)
            return MRO_FAIL(&r->error, MRO_EARG, "'%s' is lent twice; give each file a name of its own", name);
    char *copy = strdup(name);
    struct mro_lent *grown = realloc(in->lent, (in->n_lent + 1) * sizeof *grown);
    if (grown) in->lent = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        return MRO_FAIL(&r->error, MRO_EMEMORY, "no memory left to lend '%s'", name);
    }
    *lent = &in->lent[in->n_lent++];
    **lent = (struct mro_lent){ .name = copy, .bytes = bytes, .size = size };
    return MRO_OK;
}

int mro_run_bytes(struct mro_run *r, const char *name, const void *bytes, size_t size)
{
    struct mro_lent *lent;
    if (name == NULL) return missing(r, "the name of a lent file");
    return lend(r, name, bytes, size, &lent);
}

int mro_run_array(struct mro_run *r, const char *name, const void *pixels, const char *dtype, size_t axes,
                  const size_t *size)
{
    struct mro_lent *lent;
    enum mro_dtype type = MRO_U8;
    MRO_TRY(mro_vectors_check(&r->error));
    if (name == NULL || dtype == NULL || size == NULL) return missing(r, "the name, type or shape of a lent array");
    while (type <= MRO_F64 && strcmp(mro_dtype_name(type), dtype) != 0) type++;
    if (type > MRO_F64)
        return MRO_FAIL(&r->error, MRO_EARG, "'%s' has pixels of type %s, which cannot be measured", name, dtype);
    if (axes < 2 || axes > MRO_MAX_AXES)
        return MRO_FAIL(&r->error, MRO_EARG, "'%s' has %zu axes; an image has 2 (y, x), a stack 3 (frame, y, x)", name,
                        axes);
    size_t bytes = mro_dtype_size(type);
    for (size_t i = 0; i < axes; i++)
        if (size[i] == 0 || __builtin_mul_overflow(bytes, size[i], &bytes))
            return MRO_FAIL(&r->error, MRO_EARG, "'%s' has %zu samples along axis %zu", name, size[i], i);
    MRO_TRY(lend(r, name, pixels, bytes, &lent));
    lent->array = true;
    lent->dtype = type;
    lent->axes = axes;
    for (size_t i = 0; i < axes; i++) lent->axis[i].size = size[i];
    return MRO_OK;
}

/* NULL after a sentence when no array was lent. */
static struct mro_lent *last_array(struct mro_run *r)
{
    struct mro_lent *lent = r->inside.n_lent ? &r->inside.lent[r->inside.n_lent - 1] : NULL;
    if (lent && lent->array) return lent;
    MRO_FAIL(&r->error, MRO_EARG, "no array was lent that could be described");
    return NULL;
}

int mro_run_axis(struct mro_run *r, size_t axis, double step, double offset, const char *unit)
{
    struct mro_lent *lent = last_array(r);
    if (lent == NULL) return MRO_EARG;
    if (unit == NULL) return missing(r, "the unit of an axis");
    if (axis >= lent->axes) return MRO_FAIL(&r->error, MRO_EARG, "'%s' has no axis %zu", lent->name, axis);
    struct mro_axis *a = &lent->axis[axis];
    const size_t size = a->size;
    mro_axis_set(a, step, offset, unit, MRO_SOURCE_CALLER);
    a->size = size;
    if (axis + 2 >= lent->axes && a->unit == MRO_UNIT_INV_NM) lent->kind = MRO_KIND_DIFFRACTION;
    return MRO_OK;
}

int mro_run_beam(struct mro_run *r, double kv)
{
    struct mro_lent *lent = last_array(r);
    if (lent == NULL) return MRO_EARG;
    lent->beam_kv = isfinite(kv) && kv > 0 ? kv : 0;
    return MRO_OK;
}

void mro_run_keep(struct mro_run *r, bool keep, bool of_stacks)
{
    r->inside.keep = keep;
    r->inside.of_stacks = of_stacks;
}

/* -- running --------------------------------------------------------------------------------------- */

int mro_run_start(struct mro_run *r, const char *verb)
{
    struct entered in;
    if (verb == NULL) return missing(r, "the verb");
    if (r->started) return MRO_FAIL(&r->error, MRO_EARG, "a run starts once");
    r->started = true;
    char **argv = calloc(r->n_arguments + 5, sizeof *argv);
    if (argv == NULL) return MRO_FAIL(&r->error, MRO_EMEMORY, "no memory left for the arguments");
    int argc = 0;
    argv[argc++] = (char *)verb;
    argv[argc++] = "--json";
    if (strcmp(verb, "devices") != 0) argv[argc++] = "--quiet";
    if (r->inside.keep) argv[argc++] = "--output=.";
    for (size_t i = 0; i < r->n_arguments; i++) argv[argc++] = r->arguments[i];
    const enum mro_code entered = enter(r, &in);
    int rc = entered;
    if (entered == MRO_OK) {
        rc = cli_command(verb, argc, argv);
        leave(&in);
    }
    free(argv);
    if (entered) return entered;
    if (mro_stopping(&r->inside)) return MRO_FAIL(&r->error, MRO_ESTOPPED, "%s: stopped before the end", verb);
    if (rc == 0 && !r->inside.failed) return MRO_OK;
    if (r->inside.failed)
        r->error = r->inside.error;
    else
        MRO_FAIL(&r->error, MRO_EINTERNAL, "'%s' failed and did not say why", verb);
    return r->error.code;
}

void mro_run_stop(struct mro_run *r) { atomic_store(&r->inside.stop, true); }

/* -- what comes out -------------------------------------------------------------------------------- */

const char *mro_run_message(const struct mro_run *r) { return r->error.message; }

int mro_run_lack(const struct mro_run *r) { return (int)r->error.lack; }

size_t mro_run_results(const struct mro_run *r) { return r->inside.n_results; }

const char *mro_run_result(const struct mro_run *r, size_t result)
{
    return result < r->inside.n_results ? r->inside.results[result] : NULL;
}

size_t mro_run_files(const struct mro_run *r) { return r->inside.n_kept; }

const char *mro_run_file_name(const struct mro_run *r, size_t file)
{
    if (file >= r->inside.n_kept) return NULL;
    const char *name = r->inside.kept[file].name, *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

size_t mro_run_file_result(const struct mro_run *r, size_t file)
{
    const size_t last = r->inside.n_results ? r->inside.n_results - 1 : 0;
    const size_t result = file < r->inside.n_kept ? r->inside.kept[file].result : 0;
    return result < last ? result : last;
}

const void *mro_run_file(const struct mro_run *r, size_t file, size_t *size)
{
    *size = file < r->inside.n_kept ? r->inside.kept[file].size : 0;
    return file < r->inside.n_kept ? r->inside.kept[file].bytes : NULL;
}

int mro_run_read(struct mro_run *r, const char *path, size_t image, size_t frame, void *out, size_t size)
{
    struct mro_file *f = NULL;
    struct entered in;
    if (path == NULL || out == NULL) return missing(r, "the path, or the room for the pixels,");
    enum mro_code rc = enter(r, &in);
    if (rc) return rc;
    rc = mro_file_open(&f, path, 0, &r->error);
    const struct mro_image_info *info = rc == MRO_OK ? mro_file_info(f, image) : NULL;
    if (rc == MRO_OK && info == NULL) rc = MRO_FAIL(&r->error, MRO_EARG, "'%s' has no image %zu", path, image);
    if (rc == MRO_OK) {
        const struct mro_axis *x = &info->axis[info->axes - 1];
        const size_t bytes = (info->axes > 1 ? x[-1].size : 1) * x->size * mro_dtype_size(info->dtype);
        rc = bytes == size ? mro_file_read_stored(f, image, frame, out, &r->error)
                           : MRO_FAIL(&r->error, MRO_EARG, "a frame of '%s' has %zu bytes, not %zu", path, bytes, size);
    }
    mro_file_close(f);
    leave(&in);
    return rc;
}

const char *mro_run_version(void) { return mro_version(); }
const char *mro_run_commit(void) { return mro_commit(); }
