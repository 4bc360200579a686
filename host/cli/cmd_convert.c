/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "core/notes.h"
#include "io/export.h"
#include "io/reader.h"

enum target { TO_TIFF, TO_MRC };

struct convert {
    struct cli_common common;
    int to; /* enum target */
    struct cli_job job;
    const struct cli_args *args;
    struct cli_file_id *inputs;
};

static const struct cli_option convert_rows[] = {
    { "to", 0, "tiff|mrc", "", "format to write", CLI_CHOICE, offsetof(struct convert, to), true, 0, 0 },
};

static const char about[] =
    "Writes every image of the files as TIFF that ImageJ and DigitalMicrograph open with its scale, or as MRC, into "
    "the "
    "folder given with -o. Pixels keep their type and their values to the bit; stacks stay stacks; calibration, beam "
    "energy, detector, date and the like go along. What the target cannot hold is refused or told.";
static const char notes[] =
    "Files written: NAME.tif or NAME.mrc; NAME.i0.tif and so on where a file holds several images.\n"
    "A TIFF over 4 GiB is BigTIFF, which ImageJ reads through Bio-Formats.\n\n"
    "Examples\n"
    "  mroscope convert -o tiff images/*.dm4\n"
    "  mroscope convert --to mrc --frames 0-9 -o mrc movie.tif";

/* -- one image -------------------------------------------------------------------------------------- */

struct source {
    struct mro_file *f;
    size_t image, frame;
    const struct cli_frames *frames;
    void *pixels;
};

static enum mro_code next_frame(void *context, const void **pixels, struct mro_error *e)
{
    struct source *s = context;
    while (!cli_frames_has(s->frames, s->frame)) s->frame++;
    *pixels = s->pixels;
    return mro_file_read_stored(s->f, s->image, s->frame++, s->pixels, e);
}

/* The axes of the frames that are taken: a part of them makes one axis, whose scale is kept when they follow each
 * other. */
static size_t take_frames(struct mro_image_info *info, const struct cli_frames *frames)
{
    size_t n = 0, first = 0, last = 0;
    for (size_t i = 0; i < info->frames; i++) {
        if (!cli_frames_has(frames, i)) continue;
        if (n++ == 0) first = i;
        last = i;
    }
    if (n == info->frames) return n;
    struct mro_axis stack = info->axis[0];
    const size_t plane = info->axes - 2;
    stack.size = n;
    stack.offset += (double)first * stack.step;
    if (plane > 1 || last - first + 1 != n) stack = (struct mro_axis){ .size = n };
    memmove(info->axis + 1, info->axis + plane, 2 * sizeof *info->axis);
    info->axis[0] = stack;
    info->axes = 3;
    info->frames = n;
    return n;
}

static const char *unit_of(const struct mro_axis *a)
{
    return a->unit == MRO_UNIT_OTHER ? a->unit_text : mro_unit_name(a->unit);
}

/* "0.02 nm", or what else a pixel is along one axis. */
static void print_step(const struct mro_axis *a)
{
    if (a->step > 0)
        printf("%.6g %s", a->step, unit_of(a));
    else
        fputs("unknown", stdout);
}

static void print_row(const struct cli_item *item, const struct mro_image_info *info, const char *path)
{
    const struct mro_axis *x = &info->axis[info->axes - 1], *y = info->axes > 1 ? x - 1 : x;
    cli_put(stdout, "%s -> %s: ", item->name, path);
    for (size_t k = info->axes; k-- > 0;) printf("%zu%s", info->axis[k].size, k ? " x " : " ");
    fputs(mro_dtype_name(info->dtype), stdout);
    if (!(x->step > 0) && !(y->step > 0)) {
        printf(", without a scale");
    } else {
        const bool same_unit = x->step > 0 && y->step > 0 && strcmp(unit_of(x), unit_of(y)) == 0;
        printf(", ");
        if (same_unit && cli_same_step(x, y))
            printf("%.6g %s", x->step, unit_of(x));
        else if (same_unit)
            printf("%.6g x %.6g %s", x->step, y->step, unit_of(x));
        else {
            print_step(x);
            printf(" x ");
            print_step(y);
        }
        printf(" a pixel (%s)", item->calibration);
    }
    putchar('\n');
    fflush(stdout);
}

/* Says which of the things that are known of an image have no place in MRC; false when there are none. */
static bool mrc_loses(const struct mro_image_info *i, char *out, size_t room)
{
    const struct {
        bool known;
        const char *name;
    } things[] = {
        { i->beam_kv > 0, "beam energy" },
        { i->axes > 2 && i->axis[i->axes - 3].step > 0, "scale along the stack" },
        { i->value_scale != 0, "scale of the values" },
        { i->magnification > 0, "magnification" },
        { i->camera_length_mm > 0, "camera length" },
        { i->binning[0] > 0, "binning" },
        { isfinite(i->stage_tilt_deg[0]) || isfinite(i->stage_tilt_deg[1]), "tilt" },
        { i->instrument[0] != '\0', "instrument" },
        { i->detector[0] != '\0', "detector" },
        { i->date[0] != '\0', "date" },
    };
    size_t n = 0;
    for (size_t k = 0; k < sizeof things / sizeof *things; k++)
        if (things[k].known && n < room)
            n += (size_t)snprintf(out + n, room - n, "%s%s", n ? ", " : "MRC has no place for ", things[k].name);
    if (n > 0 && n < room) snprintf(out + n, room - n, ": not written");
    return n > 0;
}

static enum mro_code convert_image(struct convert *c, const char *path, struct mro_file *f, size_t image, bool several,
                                   struct mro_hash_job **hash, char sha256[65], struct mro_error *e)
{
    struct mro_image_info info = *mro_file_info(f, image);
    struct mro_image like = { 0 };
    struct cli_item item = { .path = path, .file = f, .info = &info, .image = image, .hash = hash, .sha256 = sha256 };
    struct source source = { .f = f, .image = image, .frames = &c->common.frames };
    struct cli_head h = { 0 };
    const char *out = NULL, *extra[4];
    char calibration[256], lost[256], name[128], notes_text[512];
    struct mro_axis *x = &info.axis[info.axes - 1];
    const size_t bytes = x->size * (info.axes > 1 ? x[-1].size : 1) * mro_dtype_size(info.dtype);
    enum mro_code code = MRO_OK;
    item.inputs = c->inputs;
    item.n_inputs = c->args->n;
    snprintf(item.name, sizeof item.name, several ? "%s, image %zu" : "%s", path, image);
    if (cli_frames_last(&c->common.frames) >= info.frames)
        return MRO_FAIL(e, MRO_EARG, "'%s' has no frame %zu: it holds %zu, counted from 0", item.name,
                        cli_frames_last(&c->common.frames), info.frames);
    like.axis[1] = *x;
    like.axis[0] = info.axes > 1 ? x[-1] : (struct mro_axis){ .size = 1 };
    cli_calibrate(&c->common, &info, like.axis, calibration, sizeof calibration);
    for (size_t i = 0; i < 2 && i < info.axes; i++) {
        const size_t size = x[-(ptrdiff_t)i].size;
        x[-(ptrdiff_t)i] = like.axis[1 - i];
        x[-(ptrdiff_t)i].size = size;
    }
    memcpy(item.pixels.axis, like.axis, sizeof like.axis);
    mro_calibration_text(&like.axis[info.axes > 1 ? 0 : 1], &like.axis[1], item.calibration, sizeof item.calibration);
    const size_t frames = take_frames(&info, &c->common.frames);
    item.extra = extra;
    if (calibration[0]) extra[item.n_extra++] = calibration;
    if (c->to == TO_MRC && !mro_export_mrc_holds_scale(&info))
        extra[item.n_extra++] = "MRC holds lengths along both axes only: the scale of this image is not written";

    if (c->to == TO_MRC && mrc_loses(&info, lost, sizeof lost)) extra[item.n_extra++] = lost;
    if (c->to == TO_MRC && info.dtype == MRO_U8)
        extra[item.n_extra++] =
            "bytes of MRC are signed; these are marked as unsigned in the way of IMOD, and programs "
            "that do not know the mark show values above 127 as negative ones";

    snprintf(name, sizeof name, "%s", cli_base_name(path));
    mro_clean_text(name); /* the notes are lines */
    snprintf(notes_text, sizeof notes_text, "source=%s\nsource_image=%zu\nsource_format=%s\ncalibration=%s\n", name,
             image, mro_file_format(f), item.calibration);
    const struct mro_export job = {
        .info = &info, .frames = frames, .notes = notes_text, .next = next_frame, .context = &source
    };
    code = cli_item_stem(&item, c->common.out, several, false, e);
    if (code == MRO_OK) code = cli_output_plain(&item, c->to == TO_MRC ? ".mrc" : ".tif", &out, e);
    if (code == MRO_OK && (source.pixels = malloc(bytes)) == NULL)
        code = MRO_FAIL(e, MRO_EMEMORY, "no memory for a frame of '%s'", item.name);
    if (code == MRO_OK) code = c->to == TO_MRC ? mro_export_mrc(out, &job, e) : mro_export_tiff(out, &job, e);
    item.n_file = SIZE_MAX;
    if (code == MRO_OK && c->common.json) {
        code = cli_head(&c->job, &item, NULL, 0, &h, e);
        if (code == MRO_OK) code = cli_print(mro_json_convert(&h.head, out, frames, e), e);
    } else if (code == MRO_OK) {
        code = cli_head(&c->job, &item, NULL, 0, &h, e);
        if (code == MRO_OK) print_row(&item, &info, out);
    }
    if (code == MRO_OK) cli_warn(&c->common, path, h.head.warnings, h.head.n_warnings);
    cli_head_release(&h);
    free(source.pixels);
    cli_item_release(&item, code != MRO_OK);
    return code;
}

static bool convert_file(struct convert *c, const char *path)
{
    struct mro_error e;
    struct mro_file *f = NULL;
    struct mro_hash_job *hash = NULL;
    char sha256[65] = "";
    bool good = true;
    enum mro_code code = mro_file_open(&f, path, c->common.memory, &e);
    if (code == MRO_OK && c->common.json) code = mro_hash_start(&hash, f->fd, f->bytes.p, f->bytes.size, 0, &e);
    if (code != MRO_OK) {
        good = false;
        fflush(stdout);
        cli_complain(&e);
    }
    for (size_t i = 0; code == MRO_OK && i < mro_file_images(f); i++) {
        if (convert_image(c, path, f, i, mro_file_images(f) > 1, &hash, sha256, &e) == MRO_OK) continue;
        good = false;
        fflush(stdout);
        cli_complain(&e);
    }
    mro_hash_cancel(hash);
    mro_hash_finish(hash, path, NULL, NULL);
    mro_file_close(f);
    return good;
}

int cmd_convert(int argc, char **argv)
{
    struct convert c = { .to = TO_TIFF };
    const struct cli_group groups[] = {
        { "Conversion", convert_rows, sizeof convert_rows / sizeof *convert_rows, &c },
        /* not --reduce, since what is averaged has another pixel type, nor --checksum */
        { "Input", cli_input_options, cli_n_input_options - 2, &c.common },
        { "Memory", cli_run_options + cli_n_run_options - 1, 1, &c.common },
        { "Output", cli_output_options, cli_n_output_options, &c.common },
    };
    const struct cli_usage usage = { "convert", "FILE...", about, notes, groups, sizeof groups / sizeof *groups };
    struct cli_args args;
    int rc = cli_parse(&usage, argc, argv, &args);
    c.job = (struct cli_job){ .usage = &usage, .common = &c.common };
    c.args = &args;
    if (rc < 0 && c.common.out == NULL)
        rc = cli_wrong_usage("convert", "give the folder to write to with `output=DIR`");
    if (rc < 0) {
        const int clash = cli_prepare_outputs(&c.common, c.to == TO_MRC ? "mrc" : "tif", args.files, args.n);
        if (clash) rc = clash;
    }
    if (rc < 0 && (c.inputs = cli_identify(&args)) == NULL) rc = 1;
    if (rc < 0) {
        rc = 0;
        for (size_t i = 0; i < args.n; i++)
            if (!convert_file(&c, args.files[i])) rc = 1;
    }
    free(c.inputs);
    cli_warn_end(&c.common);
    cli_args_release(&args);
    return rc;
}
