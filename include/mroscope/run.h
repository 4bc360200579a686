/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs of the program inside another one: same options, same results, same sentences, and nothing is printed.
 *
 * A run takes the arguments that stand behind the verb on a command line, and files; arrays and bytes in memory can be
 * lent to it under a name, which then stands for a file wherever one can be given. It gives the JSON objects that
 * `mroscope VERB --json` prints, and, when asked to keep them, the maps, tables and figures that `-o DIR` writes, as
 * they would stand in these files.
 *
 *     struct mro_run *r = mro_run_new();
 *     const size_t shape[] = { 2048, 2048 };
 *     mro_run_array(r, "image", pixels, "float32", 2, shape);
 *     mro_run_argument(r, "--pixel=0.02");
 *     mro_run_argument(r, "image");
 *     if (mro_run_start(r, "mro") == 0) puts(mro_run_result(r, 0));
 *     else fputs(mro_run_message(r), stderr);
 *     mro_run_free(r);
 *
 * Sentences, of failures and among the warnings of results, call options as mroscope/error.h says, `unit=GPa` for the
 * argument "--unit=GPa"; so does the text that "--help" gives.
 *
 * Functions that return an int return a code of mroscope/error.h, 0 when all is well; the sentence is mro_run_message.
 * A run is used by one thread at a time but for mro_run_stop, and freed when no other uses it; runs on different
 * threads are independent, and neither the locale nor the signal handlers of the program matter or change. 'batch' and
 * 'bench' need a process of their own and are refused. The prototypes use plain types alone, so that bindings read this
 * file as it is. */
#ifndef MROSCOPE_RUN_H
#define MROSCOPE_RUN_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct mro_run; /* opaque */

/* NULL: out of memory. Free with mro_run_free, for which NULL is fine. */
struct mro_run *mro_run_new(void);
void mro_run_free(struct mro_run *r);

/* Adds one argument: "--kv=200", "image.dm4", "--". Copied. */
int mro_run_argument(struct mro_run *r, const char *argument);

/* Lends an image as the file `name`: frames, y, x (or only y, x), rows of pixels one after the other in the machine's
 * byte order, of the type that `dtype` names ("uint8", "float32" as NumPy has them). `pixels` must stay as they are
 * until mro_run_start has returned. Errors: a type that is not measured, 2 to 6 axes, none of them empty. */
int mro_run_array(struct mro_run *r, const char *name, const void *pixels, const char *dtype, size_t axes,
                  const size_t *size);

/* Calibrates an axis (0 = slowest) of the array that was lent last: `step` in `unit` ("nm", "1/nm", "Å", "µm") a
 * pixel, `offset` at the centre of the first pixel. A pattern is an image whose unit is one of 1/length. */
int mro_run_axis(struct mro_run *r, size_t axis, double step, double offset, const char *unit);

/* Beam energy of the array that was lent last, in kV. */
int mro_run_beam(struct mro_run *r, double kv);

/* Lends `size` bytes as the file `name`, of any format that is read; they must stay likewise. */
int mro_run_bytes(struct mro_run *r, const char *name, const void *bytes, size_t size);

/* Whether maps, tables and figures are made and kept, and whether for each frame of a stack as well, which takes much
 * memory. Default: neither. */
void mro_run_keep(struct mro_run *r, bool keep, bool of_stacks);

/* Runs the verb with the arguments on this thread, and returns when it is done. What was finished before a failure is
 * there. Once a run. With the argument "--help" the result is an object with all options of the verb. */
int mro_run_start(struct mro_run *r, const char *verb);

/* Asks a run to stop, from any thread: mro_run_start then returns within about a second. */
void mro_run_stop(struct mro_run *r);

/* One sentence about what failed, owned by the run; "" when nothing has. */
const char *mro_run_message(const struct mro_run *r);

/* What it takes to go on, an enum mro_lack of mroscope/error.h, for callers who know more ways to give it than the
 * sentence, which asks for an option; 0: nothing lacks. */
int mro_run_lack(const struct mro_run *r);

/* The results in order, each the text of one JSON object. Owned by the run. */
size_t mro_run_results(const struct mro_run *r);
const char *mro_run_result(const struct mro_run *r, size_t result);

/* What was kept: number of files, name of each ("image.mro.score.tif"), its bytes, and which result it is of. */
size_t mro_run_files(const struct mro_run *r);
const char *mro_run_file_name(const struct mro_run *r, size_t file);
size_t mro_run_file_result(const struct mro_run *r, size_t file);
const void *mro_run_file(const struct mro_run *r, size_t file, size_t *size);

/* Reads a frame of an image of the file `path` (or one that was lent) as it is stored into `out`, which has room for
 * `size` bytes, no more and no less: what the verb info says of its shape and type. */
int mro_run_read(struct mro_run *r, const char *path, size_t image, size_t frame, void *out, size_t size);

/* "0.1.0", and the commit it was made from. */
const char *mro_run_version(void);
const char *mro_run_commit(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
