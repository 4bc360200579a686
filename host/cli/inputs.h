/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the measuring commands share: common options, the walk over files, images and frames, the
 * names of outputs, and warnings. */
#ifndef MRO_CLI_INPUTS_H
#define MRO_CLI_INPUTS_H

#include <sys/types.h>

#include "cli/lanes.h"
#include "cli/options.h"
#include "cli/tell.h"
#include "core/provenance.h"
#include "mroscope/device.h"
#include "mroscope/file.h"
#include "report/json.h"

/* What is done with the frames of a stack before they are measured; in the order of the option's words. */
enum cli_reduce { CLI_REDUCE_NONE, CLI_REDUCE_MEAN, CLI_REDUCE_ALIGNED };

/* Of what the checksum of an input is; likewise. */
enum cli_checksum { CLI_CHECKSUM_WHOLE, CLI_CHECKSUM_PARTS };

/* Warnings told so far, so that hundreds of images do not repeat one sentence, nor one with other numbers. `{0}` is
 * empty. */
#define CLI_MAX_TOLD 16
struct cli_told {
    struct cli_warning *v[CLI_MAX_TOLD];
    size_t n;
};

struct cli_common {
    double pixel_nm[2];  /* x, y as given; 0 = from the file */
    bool pixel_manifest; /* given by the manifest of a session, not by --pixel */
    bool resolution_tags;
    struct cli_frames frames;
    int reduce;         /* enum cli_reduce */
    int checksum;       /* enum cli_checksum */
    const char *device; /* NULL = MROSCOPE_DEVICE, else "auto" */
    int threads;        /* 0 = all cores */
    size_t memory;      /* bytes; 0 = half of the machine's */
    const char *out;    /* folder; NULL = write no files */
    double figure_mm;   /* width of figures; MRO_FIGURE_WIDTH unless given */
    bool json, quiet;
    struct cli_told told;
};

/* Rows of option tables over struct cli_common, for commands to group with their own. */
extern const struct cli_option cli_input_options[], cli_run_options[], cli_output_options[], cli_figure_options[];
extern const size_t cli_n_input_options, cli_n_run_options, cli_n_output_options, cli_n_figure_options;

/* Where a command computes: on the device that was chosen, on the CPU what a GPU has no room for, or cannot do any more
 * where the choice was left open, and beside the device that was chosen, each on one like it, several frames of a stack
 * at the same time (lanes 1, 2, ...). */
enum cli_place { CLI_CHOSEN, CLI_CPU, CLI_BESIDE, CLI_PLACES = CLI_BESIDE + CLI_MAX_LANES };
struct cli_places {
    struct mro_device *device[CLI_PLACES]; /* all but the chosen one are opened when they are needed, and NULL before */
};

/* A file whatever its name. {0, 0} is none. */
struct cli_file_id {
    dev_t device;
    ino_t inode;
};

/* One frame to measure, or (frame_given false) all frames of an image together. */
struct cli_item {
    const char *path; /* as given */
    char name[600];   /* for messages and tables: the path, with image and frame where there are several */
    char *stem;       /* "<folder>/<stem>[.iN][.fNNNN]" for outputs; NULL without -o */
    struct mro_file *file;
    const struct mro_image_info *info;
    size_t image, frame;
    bool frame_given;
    bool first;              /* the first frame used of its image */
    struct mro_image pixels; /* calibrated; without pixels for all frames together */
    char calibration[96];
    struct mro_hash_job **hash; /* of the file, until the first result asks for it */
    char *sha256;               /* 65 bytes, kept from frame to frame */
    bool sha256_of_parts;
    double *awaited;          /* from when to when it was waited for, s; NULL: nobody asks */
    const char *const *extra; /* warnings about calibration and pixels */
    size_t n_extra;
    size_t n_file;                    /* warnings of the file that had been given when these pixels were read */
    enum cli_place place;             /* where it is to be measured */
    bool spent;                       /* set by `measure`: its pixels are not needed any more */
    const struct cli_file_id *inputs; /* all inputs of this run, which results must not replace */
    size_t n_inputs;
    bool staged;    /* its files have names of their own for now, as frames before it may fail yet */
    char **written; /* files of this item, removed again when it fails */
    size_t n_written;
};

/* The first thing that went wrong, for a caller who wants it in place of a line on stderr. `{0}` is empty. */
struct cli_failure {
    bool any;
    struct mro_error error;
    size_t need; /* bytes that --memory has to allow; 0 = not known */
};

struct cli_job {
    const struct cli_usage *usage;
    const struct cli_common *common;
    void *context;
    struct cli_places *places;     /* for what is done with frames before; NULL: nothing is */
    unsigned kinds;                /* bits 1 << MRO_KIND_*: what is measured of a file; 0: images */
    const struct cli_args *beside; /* files read beside those that are measured, for item->inputs; NULL: none */
    struct cli_failure *failure;   /* NULL: failures are told on stderr */
    /* Bytes of host memory that measuring an image of this shape and calibration takes beside its pixels and what every
     * program takes; `like` has no pixels. NULL: next to none. */
    size_t (*need)(const void *context, const struct mro_image *like);
    /* Measures one frame at item->place. What that came to, a failure too, is for `publish` to tell, and then for
     * `release`; NULL when out of memory. Frames may be measured at the same time at different places. */
    void *(*measure)(void *context, struct cli_item *item);
    /* Prints and writes what was measured, a frame after the other in their order. */
    enum mro_code (*publish)(void *context, struct cli_item *item, void *measured, struct mro_error *e);
    void (*release)(void *context, void *measured); /* NULL is fine */
    /* Whether the frames to come can be measured before this one is published. */
    bool (*ready)(const void *context, const void *measured);
    /* After the last of several frames of an image; NULL: nothing to say of them together. */
    enum mro_code (*together)(void *context, struct cli_item *item, struct mro_error *e);
};

/* -- inputs.c: the walk ------------------------------------------------------------------------------- */

/* Walks every frame of every image of the kinds wanted, of every file. Errors go to stderr, one line each, and do not
 * stop the other files. Returns the exit code: 0 all done, 1 a file failed, 2 nothing started (names clash, or the
 * output folder cannot be used). */
int cli_each_frame(const struct cli_job *job, const struct cli_args *files);

/* Which files the inputs are, one entry each; free() it. NULL after a message when out of memory. */
struct cli_file_id *cli_identify(const struct cli_args *files);

/* -- visit.c: a file and its images -------------------------------------------------------------------- */

/* Calibrates the axes (y, x) of an image of `info` as the options say: --pixel, or resolution tags where they are
 * asked for. `warning` is "", or what contradicts it. */
void cli_calibrate(const struct cli_common *c, const struct mro_image_info *info, struct mro_axis axis[2],
                   char *warning, size_t room);

/* Whether the steps of two axes are the same as far as six digits show. */
bool cli_same_step(const struct mro_axis *a, const struct mro_axis *b);

/* How many frames of a file are measured, of those before frame `frame` of image `image` (SIZE_MAX: of all). */
size_t cli_count_frames(const struct cli_job *job, const struct mro_file *f, size_t image, size_t frame);

/* cli_complain, or notes the error in job->failure. */
void cli_report(const struct cli_job *job, const struct mro_error *e);

/* -- places.c: devices -------------------------------------------------------------------------------- */

/* Opens the device that the options name, and says on stderr why 'auto' found no GPU; 0, or the exit code after a
 * message. */
int cli_open_device(const struct cli_common *c, const char *verb, struct mro_device **d);

/* Calls work(context, CLI_CHOSEN). When a GPU has no room for it (MRO_EMEMORY), or fails (MRO_EDEVICE) and nobody had
 * asked for one by name, calls work(context, CLI_CPU) and says so in one line, unless --quiet. `work` leaves nothing
 * behind when it fails. `name` is of the image. */
enum mro_code cli_compute(const struct cli_common *c, struct cli_places *places, const char *name,
                          enum mro_code (*work)(void *context, enum cli_place place, struct mro_error *e),
                          void *context, struct mro_error *e);

/* The same after work came to `code` and *e at any place but CLI_CPU. */
enum mro_code cli_compute_instead(const struct cli_common *c, struct cli_places *places, const char *name,
                                  enum mro_code code,
                                  enum mro_code (*work)(void *context, enum cli_place place, struct mro_error *e),
                                  void *context, struct mro_error *e);

void cli_places_close(struct cli_places *places);

/* -- outputs.c: files and lines of results ------------------------------------------------------------ */

/* What follows the last slash of a path: the name without its folder. */
const char *cli_base_name(const char *path);

/* Checks that no two files give outputs of one name and creates the output folder. 0, or 2 after a message. `suffix` is
 * that of the output named in the message ("mro.json"). */
int cli_prepare_outputs(const struct cli_common *c, const char *suffix, char *const *files, size_t n);

/* Sets the stem of an item's outputs in `folder`, with the numbers of image and frame where there are several. */
enum mro_code cli_item_stem(struct cli_item *item, const char *folder, bool several_images, bool several_frames,
                            struct mro_error *e);

/* Gives the files that were written while item->staged their names, in place of those of earlier runs. MRO_EIO naming
 * the one that cannot be; release the item as failed then. */
enum mro_code cli_item_unstage(struct cli_item *item, struct mro_error *e);

/* Forgets the files that were written for an item, and removes them where asked to. */
void cli_item_unwrite(struct cli_item *item, bool remove);

/* Frees what an item holds; removes the files it has written when it failed. */
void cli_item_release(struct cli_item *item, bool failed);

/* Path "<stem>.<verb><suffix>" (".json", ".score.tif") of an output, noted so that it is removed again
 * should the item fail. Owned by the item. MRO_EARG when the file is one of the inputs. */
enum mro_code cli_output(struct cli_item *item, const struct cli_job *job, const char *suffix, const char **path,
                         struct mro_error *e);

/* The same for an output that is not named after its verb: "<stem><suffix>". */
enum mro_code cli_output_plain(struct cli_item *item, const char *suffix, const char **path, struct mro_error *e);

/* Path of a figure without its suffix, free() it; .png, .svg and .pdf are noted as outputs of the item. */
enum mro_code cli_figure_stem(struct cli_item *item, const struct cli_job *job, char **stem, struct mro_error *e);

/* Writes text to an output; takes (frees) `text`, whose NULL means that `e` is already filled. */
enum mro_code cli_write_text(struct cli_item *item, const struct cli_job *job, const char *suffix, char *text,
                             struct mro_error *e);

/* Prints a result as one line (--json) and writes it as a file (-o). Takes `v`, whose NULL means that `e`
 * is already filled. */
enum mro_code cli_emit(struct cli_item *item, const struct cli_job *job, json_t *v, struct mro_error *e);

/* Prints a result as one line. Takes `v` likewise. */
enum mro_code cli_print(json_t *v, struct mro_error *e);

/* -- head.c: what a result says of itself ------------------------------------------------------------- */

/* `warnings` of the measurement are joined to those of file and calibration, in the words of the command line. Release
 * with cli_head_release. */
struct cli_head {
    struct mro_result_head head;
    struct mro_provenance provenance;
    char **warnings;
};
enum mro_code cli_head(const struct cli_job *job, struct cli_item *item, const char *const *warnings, size_t n_warnings,
                       struct cli_head *h, struct mro_error *e);
void cli_head_release(struct cli_head *h);

/* -- warnings.c -------------------------------------------------------------------------------------- */

/* "mroscope: warning: ..." for each, unless --quiet or --json (where they are in the result). A sentence that
 * was told before is only counted; of its numbers it then gives the range. */
void cli_warn(struct cli_common *c, const char *name, const char *const *warnings, size_t n);

/* Says of how many results a repeated warning holds, and forgets all. */
void cli_warn_end(struct cli_common *c);

#endif
