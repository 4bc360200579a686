/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The walk over files and what it meets, for the files that it is written in: visit.c opens a file and takes a frame on
 * its way, frames.c goes through the frames of an image, files.c through several files of one image each at the same
 * time, inputs.c from file to file. */
#ifndef MRO_CLI_WALK_H
#define MRO_CLI_WALK_H

#include "cli/inputs.h"
#include "cli/progress.h"

/* All files of a run. */
struct walk {
    const struct cli_job *job;
    struct cli_progress progress;
    size_t file, files; /* those that are done, and all */
    struct cli_file_id *inputs;
    size_t n_inputs;
    bool failed, hinted;
};

/* One of them, open. */
struct visit {
    struct walk *walk;
    const char *path;
    struct mro_file *file;
    struct mro_hash_job *hash;
    char sha256[65];
    double awaited[2];       /* from when to when the results waited for it; cli_now */
    _Atomic double measured; /* when a frame was last measured */
    double lost;             /* seconds of nothing but that waiting */
    /* Calibration of the last frame, for the result of all frames together. */
    struct mro_axis axis[2];
    char calibration[96];
    size_t n_file; /* warnings that the file has given with the frames so far */
};

enum { CLI_MAX_MADE = 2 }; /* warnings of how the pixels of several frames were made */

/* One frame, or several reduced to one, on its way. */
struct frame {
    struct cli_item item;
    char calibration[256], pixels[128];
    const char *extra[2 + CLI_MAX_MADE]; /* item.extra: these, and how the pixels were made */
    size_t number;
    void *measured;
    struct mro_error error; /* of reading; code MRO_OK: none */
};

/* Memory that measuring images of a shape takes, bytes. */
struct cli_room {
    size_t frame, raw; /* pixels of a frame, and as they are stored where those are no floats */
    size_t more;       /* measuring another one at the same time */
    size_t left;       /* of the budget beside the first */
};

/* -- visit.c -- */

void cli_walk_report(struct walk *w, const struct mro_error *e);

/* Opens a file; close the visit in any case. */
enum mro_code cli_visit_open(struct walk *w, const char *path, struct visit *v, struct mro_error *e);
/* Starts to take its checksum. */
enum mro_code cli_visit_hash(struct visit *v, struct mro_error *e);
void cli_visit_close(struct visit *v);

/* After the first file that took `seconds`, long, for no other reason. */
void cli_visit_tell_of_checksum(struct visit *v, double seconds);

/* Whether an image is of a kind that is measured. */
bool cli_measured(const struct cli_job *job, const struct mro_file *f, size_t image);

enum mro_code cli_item_begin(struct visit *v, size_t image, bool several_images, bool frame_given, size_t frame,
                             struct cli_item *item, struct mro_error *e);

/* Hands calibrated pixels to the measurement. `made` are warnings of how they were made. */
void cli_frame_measure(struct visit *v, struct frame *f, const char *const *made, size_t n_made);

enum mro_code cli_frame_publish(struct visit *v, struct frame *f, struct mro_error *e);

/* -- frames.c -- */

/* MRO_EMEMORY when the budget has no room for one frame of an image. */
enum mro_code cli_room_for(const struct visit *v, const struct mro_image_info *info, struct cli_room *room,
                           struct mro_error *e);

/* How many of `frames` frames can be measured at the same time in what is left; *waiting: how many can be begun and not
 * finished, which takes room->more each but for the first. */
size_t cli_lanes_for(const struct cli_job *job, const struct cli_room *room, size_t frames, size_t *waiting);

/* Opens the devices of `lanes` lanes, or less, and deals the threads out, once `f` was measured and the verb has made
 * what all frames share; how many there are now, 0: not yet. */
size_t cli_lanes_start(const struct cli_job *job, size_t lanes, const struct frame *f);

/* The place of a lane, whose threads the calling one takes. */
enum cli_place cli_lane_place(const struct cli_job *job, size_t lane);

/* Measures the frames of an image. `several`: of several images in the file. */
enum mro_code cli_image_measure(struct visit *v, size_t image, bool several, struct mro_error *e);

/* -- files.c -- */

/* Measures those of the first of `n` files that hold one image of one frame each, several at the same time; how many
 * there were, 0 where one is to be measured by itself. */
size_t cli_files_measure(struct walk *w, char *const *paths, size_t n);

#endif
