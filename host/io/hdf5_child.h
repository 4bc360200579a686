/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The child process in which alone the HDF5 library is called (io/hdf5_catalogue.h). */
#ifndef MRO_IO_HDF5_CHILD_H
#define MRO_IO_HDF5_CHILD_H

#include "io/reader.h"

/* Has the child read the structure of f->bytes and gives back what it wrote (freed by the caller). The catalogue is as
 * little to be trusted as the file is. Errors: MRO_EFORMAT (the child died, hung, or ran into its limits),
 * MRO_EMEMORY (no process, no memory). Threads: any. */
enum mro_code mro_h5_catalogue(const struct mro_file *f, unsigned char **catalogue, size_t *size, struct mro_error *e);

#endif
