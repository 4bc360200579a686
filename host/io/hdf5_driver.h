/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A file driver of the HDF5 library over bytes in memory: the library never opens a file, and in a child whose limits
 * are set (hdf5_child.h) it could not, because that may have no further descriptor. */
#ifndef MRO_IO_HDF5_DRIVER_H
#define MRO_IO_HDF5_DRIVER_H

#include <hdf5.h>

#include "io/reader.h"

/* The name under which the bytes are opened: once, and for reading. */
#define MRO_H5_DRIVEN "mapped"

/* Registers the driver over a file; negative when the library refuses it. One file in a process. */
hid_t mro_h5_driver(struct mro_bytes file);

/* From now on raw data that the library asks for is not read: where it was asked for last is noted. */
void mro_h5_watch(void);
/* Reads again; false when nothing was asked for. */
bool mro_h5_watched(uint64_t *address, uint64_t *bytes);

#endif
