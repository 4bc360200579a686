/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The structure of an HDF5 file, as the child process that walks it (io/hdf5_child.h) writes it down. */
#ifndef MRO_IO_HDF5_CATALOGUE_H
#define MRO_IO_HDF5_CATALOGUE_H

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

#define MRO_H5_MAX_BYTES ((size_t)96 << 20) /* of a catalogue; real ones hold some hundred kilobytes */

/* The catalogue of a file in memory, or of the reason that there is none; NULL when there is no memory for either. Once
 * in a process, on its only thread: nothing of it is ever freed. */
const unsigned char *mro_h5_write_catalogue(struct mro_bytes file, size_t *size);

#endif
