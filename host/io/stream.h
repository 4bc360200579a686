/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames of an image one after the other, read ahead by a thread of their own into a bounded queue, so that reading
 * and decoding overlap with what is done with the frames before; or read by the threads that measure them, side by
 * side. The order and the pixels are those of the file at any depth. While a stream that reads ahead is open, its file
 * is the stream's: only mro_file_info, and the warnings that came with a frame, may be asked for. */
#ifndef MRO_IO_STREAM_H
#define MRO_IO_STREAM_H

#include "io/reader.h"

struct mro_stream;

struct mro_stream_plan {
    struct mro_file *file;
    size_t image;
    bool (*wanted)(const void *context, size_t frame); /* NULL: every frame */
    const void *context;
    size_t depth; /* frames read ahead; 0 = none, a frame is read when it is asked for */
    size_t lent;  /* frames handed out at a time, 0 = one */
    int threads;  /* of decoding one frame; 0 = all cores */
    bool unread;  /* frames are handed out without pixels, for mro_stream_read: where mro_file_lies_open, depth 0 */
};

/* MRO_EARG for an image that is not there, MRO_EMEMORY. At most depth + lent frames and what decoding one takes are in
 * memory at a time. */
enum mro_code mro_stream_open(struct mro_stream **s, const struct mro_stream_plan *plan, struct mro_error *e);

/* The next frame, of which the caller becomes the owner, or false after the last. `warnings` of the file have been
 * given up to and with this frame. Errors as mro_file_read, after the frames before the bad one; then the stream has
 * ended. From one thread at a time; so many frames are lent at most as the plan says, the others are to be handed back
 * (or released) before. */
enum mro_code mro_stream_next(struct mro_stream *s, bool *more, struct mro_image *im, size_t *frame, size_t *warnings,
                              struct mro_error *e);

/* Reads a frame that was handed out without pixels. Errors as mro_file_read. From any thread. */
enum mro_code mro_stream_read(struct mro_stream *s, size_t frame, struct mro_image *im, struct mro_error *e);

/* Takes an image back, so that a later frame is read into its memory. {0} is fine; `im` is {0} after. From any thread.
 */
void mro_stream_give_back(struct mro_stream *s, struct mro_image *im);

void mro_stream_close(struct mro_stream *s); /* NULL is fine */

#endif
