/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reader table: one row per format. A reader probes by content, lists the images of a file and
 * decodes single frames in the file's own pixel type; conversion, statistics and budget are common. */
#ifndef MRO_IO_READER_H
#define MRO_IO_READER_H

#include <stdatomic.h>
#include <time.h>

#include "mroscope/file.h"

/* The bytes of a file, memory-mapped or given, with a known end. Readers never look past `size`. */
struct mro_bytes {
    const unsigned char *p;
    size_t size;
};

enum { MRO_FILE_WARNINGS = 64 }; /* a hostile file must not turn its pages into a flood of sentences */

struct mro_file {
    const struct mro_reader *reader;
    char *name; /* path, for messages */
    struct mro_bytes bytes;
    void *mapping;            /* non-NULL: bytes are mapped from a file */
    int fd;                   /* of that file, -1 = none: pixels that lie there as they are are copied by read calls */
    struct timespec modified; /* when that file was written to last, as it was opened */
    size_t memory_bytes;      /* budget for one decode */
    unsigned char *raw;       /* while frames are read: room for one as it is stored; NULL = none */
    size_t raw_bytes;
    struct mro_image_info *info;
    size_t images;
    char warnings[MRO_FILE_WARNINGS][512]; /* those that were counted can be read while others come */
    atomic_size_t n_warnings;
    void *state; /* the reader's own; freed by its close */
};

struct mro_reader {
    const char *name;
    bool (*probe)(struct mro_bytes b);
    /* Fills f->info and f->images through mro_file_add_image; may set f->state. */
    enum mro_code (*open)(struct mro_file *f, struct mro_error *e);
    /* Decodes one frame into `out`: ny*nx pixels of info->dtype, native byte order, rows top to
     * bottom. `out` has exactly that many bytes (spectrum: one row). */
    enum mro_code (*read)(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e);
    /* Frees f->state; called once when state is not NULL, also after a failed open. May be NULL. */
    void (*close)(struct mro_file *f);
    /* May be NULL. When the pixels of a frame lie in f->bytes as they are (not compressed, rows one
     * after the other), gives their address and byte order and returns true: they are then converted
     * straight from there and `read` is not called. All bytes of the frame lie inside f->bytes. */
    bool (*view)(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian);
    /* The same for formats that store the bottom row first. May be NULL; `read` turns the rows in any case. */
    bool (*view_upward)(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian);
    /* The spectrum stream that the file holds (eds_stream.h); NULL when it has none. May be NULL. */
    struct mro_eds_stream *(*stream)(struct mro_file *f);
};

extern const struct mro_reader mro_reader_tiff, mro_reader_dm, mro_reader_png, mro_reader_jpeg, mro_reader_mrc,
    mro_reader_ser, mro_reader_emi, mro_reader_emd, mro_reader_array;

/* -- reader.c: what readers use -- */

/* Appends an image; the returned pointer is valid until the next call. NULL when out of memory.
 * Sets frames from the axes when the caller has filled them: call mro_file_seal_image after. */
struct mro_image_info *mro_file_add_image(struct mro_file *f);

/* Rows and columns of a frame: its last two axes. */
size_t mro_frame_rows(const struct mro_image_info *info);
size_t mro_frame_columns(const struct mro_image_info *info);

/* Checks shape against overflow and the budget of one frame, and sets frames. Texts of `info` are made
 * valid UTF-8 on one line. */
enum mro_code mro_file_seal_image(struct mro_file *f, struct mro_image_info *info, struct mro_error *e);

/* Records a warning once (the same sentence is not repeated). */
void mro_file_warn(struct mro_file *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Gives pages of the mapping back to the system (they stay in its cache). Called after every decoded frame; a reader
 * that walks over a long file while opening it calls it now and then, so that what it has seen does not stay. */
void mro_file_drop_pages(const struct mro_file *f);

/* When an open file was written to last; {0}: not known. */
struct timespec mro_modified(int fd);

/* MRO_EIO when the file was written to since it was opened: what has been read may be half of one thing and half of
 * another. */
enum mro_code mro_file_check_unchanged(const struct mro_file *f, struct mro_error *e);

/* Offers an axis of an image one more calibration, see mro_axis_offer; a disagreement becomes a warning. */
void mro_file_offer(struct mro_file *f, struct mro_axis *a, const struct mro_axis *offer, const char *name);

/* Maps a regular file for reading, for formats whose documents are several files; the caller has made `path` from the
 * name that the user gave, never from what a file says. An empty file gives size 0 and NULL. Errors: MRO_EIO,
 * MRO_EMEMORY (larger than the address space). Release with mro_bytes_unmap. */
enum mro_code mro_bytes_map(struct mro_bytes *b, const char *path, struct mro_error *e);
/* The same; *kept is the open file, the caller's to close, or -1 for one that is empty or in memory. `kept` may be
 * NULL.
 */
enum mro_code mro_bytes_open(struct mro_bytes *b, int *kept, const char *path, struct mro_error *e);
void mro_bytes_unmap(struct mro_bytes *b); /* empty bytes are fine */

/* -- file.c: files of any format -- */

/* Finds the reader of a file by its name and its bytes, which are not empty. Errors: MRO_EFORMAT. */
typedef enum mro_code mro_find_reader(const struct mro_file *f, const struct mro_reader **reader, struct mro_error *e);

/* Opens `path` as mro_file_open does, for the reader that `find` names. */
enum mro_code mro_file_open_as(struct mro_file **f, const char *path, mro_find_reader *find, size_t memory_bytes,
                               struct mro_error *e);

/* The same for bytes as mro_file_open_memory does. */
enum mro_code mro_file_open_bytes_as(struct mro_file **f, struct mro_bytes bytes, const char *name,
                                     mro_find_reader *find, size_t memory_bytes, struct mro_error *e);

/* Whether the frames of an image lie in the file as they are, each of them, so that several threads may read them at a
 * time: reading one then changes nothing of the file. */
bool mro_file_lies_open(struct mro_file *f, size_t image);

/* -- samples.c -- */

/* Little helpers for byte order; the caller has checked the range. */
uint16_t mro_get_u16(const unsigned char *p, bool big_endian);
uint32_t mro_get_u32(const unsigned char *p, bool big_endian);
uint64_t mro_get_u64(const unsigned char *p, bool big_endian);
double mro_get_f32(const unsigned char *p, bool big_endian);
double mro_get_f64(const unsigned char *p, bool big_endian);

/* The value where it is finite and above 0, else 0: unknown. */
double mro_positive(double v);

/* Copies `n` samples of `sample_bytes` from p to out, swapping bytes when the file's order is not the
 * machine's. */
void mro_copy_samples(void *out, const unsigned char *p, size_t n, size_t sample_bytes, bool big_endian);

#endif
