/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one place that calls the HDF5 library, in a child process. */
#ifndef MRO_IO_HDF5_CHILD_H
#define MRO_IO_HDF5_CHILD_H

#include "io/reader.h"

/* Records of a catalogue. Numbers are uint64 in the machine's order, texts a number of bytes and the bytes. */
enum mro_h5_record {
    MRO_H5_REC_NODE = 'N',      /* kind, parent, name, text, target */
    MRO_H5_REC_DATASET = 'D',   /* of the node before; see put_dataset and read_dataset */
    MRO_H5_REC_ATTRIBUTE = 'A', /* of node, name, is text, then text, or a count and that many doubles */
    MRO_H5_REC_FAILED = 'F',    /* a sentence: the library refused the file */
    MRO_H5_REC_END = 'Z'        /* the catalogue is whole */
};

enum {
    MRO_H5_MAX_NODES = 1 << 16,
    MRO_H5_MAX_DEPTH = 32,
    MRO_H5_MAX_CHUNKS = 1 << 21, /* of a whole file */
};

/* Has the child read the structure of f->bytes and gives back what it wrote (freed by the caller). The catalogue is as
 * little to be trusted as the file is. Errors: MRO_EFORMAT (the child died, hung, or ran into its limits),
 * MRO_EMEMORY (no process, no memory). Threads: any. */
enum mro_code mro_h5_catalogue(const struct mro_file *f, unsigned char **catalogue, size_t *size, struct mro_error *e);

#endif
