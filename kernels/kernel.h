/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How kernels are written here: once, in headers that nvcc and a C compiler both read.
 *
 * A kernel called NAME is, in one of the headers of this folder,
 *   struct mro_NAME_args      what it works on: device pointers and numbers, at most 4 KiB, passed by value; no padding
 *                             but at its end;
 *   struct mro_NAME_shared    what the threads of one block share, at most 48 KiB (MRO_NO_SHARED when nothing);
 *   mro_NAME_THREADS          threads in a block;
 *   mro_NAME_PHASES           pieces between barriers;
 *   mro_NAME_phase()          the work of one thread in one phase. Threads of a block may read what others wrote
 *                             to shared memory (or to global memory, in the same block) in earlier phases only.
 * Some kernels begin with mro_NAME_begin() and go through their phases until mro_NAME_again() says false of the shared
 * memory: they are listed under ROUNDS in kernels/list.h, the others under ONCE.
 *
 * kernels/NAME.cu turn them into CUDA kernels; host/strict runs the same bodies on the processor, block by block, phase
 * by phase, thread by thread, over memory that faults when the host touches it.
 *
 * Blocks and threads are numbered in one dimension and planes are walked by number with MRO_EACH, or by pieces of rows,
 * with the stride of the whole grid: a launch is never too large for a card, whatever the size of the image. No block
 * may depend on the order of blocks; sums over blocks go through integers or through memory in a fixed order, so that
 * the same bytes come out on every card. */
#ifndef MRO_KERNELS_KERNEL_H
#define MRO_KERNELS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/math/hd.h"

struct mro_thread {
    uint32_t block, blocks, thread;
};

/* Runs over 0 <= i < n with all threads of the grid. */
#define MRO_EACH(i, n, t, threads) \
    for (size_t i = (size_t)(t)->block * (threads) + (t)->thread; i < (size_t)(n); i += (size_t)(t)->blocks * (threads))

/* Pieces of the rows of a plane, for kernels that need to know row and column: a division for each number, which takes
 * as long as a median of nine, becomes one for each piece. Blocks take pieces in turn, and their threads the columns.
 */
#define MRO_PIECE 2048
struct mro_piece {
    size_t y;
    uint32_t from, to; /* columns `from` to `to` - 1 of a row */
};
MRO_HD size_t mro_pieces(size_t ny, size_t nx) { return ny * ((nx + MRO_PIECE - 1) / MRO_PIECE); }
MRO_HD struct mro_piece mro_piece_of(size_t i, size_t nx)
{
    const size_t of_a_row = (nx + MRO_PIECE - 1) / MRO_PIECE;
    struct mro_piece p;
    p.y = i / of_a_row;
    p.from = (uint32_t)(i % of_a_row * MRO_PIECE);
    p.to = nx - p.from > MRO_PIECE ? p.from + MRO_PIECE : (uint32_t)nx;
    return p;
}
#define MRO_EACH_PIECE(i, ny, nx, t) for (size_t i = (t)->block; i < mro_pieces(ny, nx); i += (t)->blocks)
#define MRO_EACH_COLUMN(x, piece, t, threads) \
    for (uint32_t x = (piece).from + (t)->thread; x < (piece).to; x += (uint32_t)(threads))

#define MRO_NO_SHARED(name)      \
    struct mro_##name##_shared { \
        char none;               \
    }

/* Adds to an integer that other threads add to as well; the order does not matter to the sum. */
MRO_HD void mro_add_u32(uint32_t *to, uint32_t v)
{
#ifdef __CUDA_ARCH__
    atomicAdd(to, v);
#else
    __atomic_fetch_add(to, v, __ATOMIC_RELAXED);
#endif
}

/* Puts the smaller of *to and v there; gives what was there before. */
MRO_HD uint32_t mro_min_u32(uint32_t *to, uint32_t v)
{
#ifdef __CUDA_ARCH__
    return atomicMin(to, v);
#else
    uint32_t was = __atomic_load_n(to, __ATOMIC_RELAXED);
    while (was > v && !__atomic_compare_exchange_n(to, &was, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
    return was;
#endif
}

/* A number that other threads may be changing: what it is, or what it was a moment ago. */
MRO_HD uint32_t mro_peek_u32(const uint32_t *at)
{
#ifdef __CUDA_ARCH__
    return *(const volatile uint32_t *)at;
#else
    return __atomic_load_n(at, __ATOMIC_RELAXED);
#endif
}

#endif
