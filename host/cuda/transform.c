/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fourier transforms by cuFFT: plans are kept, and share one work area. */
#include <limits.h>
#include <stdio.h>

#include "cuda/card.h"

static const char *result_name(cufftResult rc)
{
    switch (rc) {
    case CUFFT_SUCCESS: return "CUFFT_SUCCESS";
    case CUFFT_INVALID_PLAN: return "CUFFT_INVALID_PLAN";
    case CUFFT_ALLOC_FAILED: return "CUFFT_ALLOC_FAILED";
    case CUFFT_INVALID_TYPE: return "CUFFT_INVALID_TYPE";
    case CUFFT_INVALID_VALUE: return "CUFFT_INVALID_VALUE";
    case CUFFT_INTERNAL_ERROR: return "CUFFT_INTERNAL_ERROR";
    case CUFFT_EXEC_FAILED: return "CUFFT_EXEC_FAILED";
    case CUFFT_SETUP_FAILED: return "CUFFT_SETUP_FAILED";
    case CUFFT_INVALID_SIZE: return "CUFFT_INVALID_SIZE";
    case CUFFT_INVALID_DEVICE: return "CUFFT_INVALID_DEVICE";
    case CUFFT_NO_WORKSPACE: return "CUFFT_NO_WORKSPACE";
    case CUFFT_NOT_SUPPORTED: return "CUFFT_NOT_SUPPORTED";
    default: return "an error without a name";
    }
}

/* cuFFT says little, and the CUDA runtime inside it keeps its errors to itself: the stream says whether the card was
 * lost. */
static enum mro_code fft_fail(struct mro_device *d, cufftResult rc, const char *call, const struct mro_transform *t,
                              struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    char what[160];
    snprintf(what, sizeof what, "for %zu transforms of %zu x %zu", t->batch, t->nx, t->ny);
    if (rc == CUFFT_ALLOC_FAILED) return mro_cuda_fail(d, cudaErrorMemoryAllocation, call, what, e);
    const cudaError_t below = cudaStreamSynchronize(s->stream);
    if (below) return mro_cuda_fail(d, below, call, what, e);
    return MRO_FAIL(e, MRO_EDEVICE, "%s: %s %s failed: %s (%d)%s", s->name, call, what, result_name(rc), (int)rc,
                    s->advice);
}

void mro_cuda_plans_release(struct mro_device *d, const struct mro_cuda_plan *keep)
{
    struct mro_cuda *s = d->state;
    const struct mro_cuda_plan kept = keep ? *keep : (struct mro_cuda_plan){ 0 };
    for (size_t i = 0; i < s->plans; i++)
        if (s->plan + i != keep) cufftDestroy(s->plan[i].handle);
    s->plans = keep ? 1 : 0;
    if (keep) s->plan[0] = kept;
}

static cufftType type_of(enum mro_transform_kind kind)
{
    return kind == MRO_TRANSFORM_REAL ? CUFFT_R2C : kind == MRO_TRANSFORM_REAL_BACKWARD ? CUFFT_C2R : CUFFT_C2C;
}

/* Fills *p, which is not yet in the list. */
static cufftResult make(const struct mro_cuda *s, const struct mro_transform *t, struct mro_cuda_plan *p,
                        const char **call)
{
    long long n[2] = { (long long)t->ny, (long long)t->nx };
    const int rank = t->ny > 1 ? 2 : 1;
    cufftResult rc;
    *p = (struct mro_cuda_plan){ .type = type_of(t->kind), .ny = t->ny, .nx = t->nx, .batch = t->batch };
    *call = "cufftCreate";
    if ((rc = cufftCreate(&p->handle))) return rc;
    *call = "cufftSetAutoAllocation"; /* the work area is ours */
    if ((rc = cufftSetAutoAllocation(p->handle, 0))) goto failed;
    *call = "cufftMakePlanMany64"; /* NULL: planes and rows follow one another without gaps */
    if ((rc = cufftMakePlanMany64(p->handle, rank, n + 2 - rank, NULL, 1, 0, NULL, 1, 0, p->type, (long long)t->batch,
                                  &p->work)))
        goto failed;
    *call = "cufftSetStream";
    if ((rc = cufftSetStream(p->handle, s->stream))) goto failed;
    return CUFFT_SUCCESS;
failed:
    cufftDestroy(p->handle);
    return rc;
}

static enum mro_code plan_of(struct mro_device *d, const struct mro_transform *t, struct mro_cuda_plan **out,
                             struct mro_error *e)
{
    struct mro_cuda *s = d->state;
    const cufftType type = type_of(t->kind);
    const char *call;
    size_t i = 0;
    while (i < s->plans && (s->plan[i].type != type || s->plan[i].ny != t->ny || s->plan[i].nx != t->nx ||
                            s->plan[i].batch != t->batch))
        i++;
    if (i == s->plans) {
        struct mro_cuda_plan p;
        cufftResult rc = make(s, t, &p, &call);
        if (rc == CUFFT_ALLOC_FAILED || rc == CUFFT_INTERNAL_ERROR) { /* it may call want of memory so, too */
            MRO_TRY(mro_cuda_make_room(d, NULL, e));
            rc = make(s, t, &p, &call);
        }
        if (rc) return fft_fail(d, rc, call, t, e);
        if (s->plans == MRO_CUDA_PLANS) {
            i = 0;
            for (size_t k = 1; k < s->plans; k++)
                if (s->plan[k].used < s->plan[i].used) i = k;
            const enum mro_code code = mro_cuda_wait(d, e); /* it may still be at work */
            if (code) {
                cufftDestroy(p.handle);
                return code;
            }
            cufftDestroy(s->plan[i].handle);
        } else {
            i = s->plans++;
        }
        s->plan[i] = p;
    }
    s->plan[i].used = ++s->clock;
    *out = s->plan + i;
    return MRO_OK;
}

enum mro_code mro_cuda_transform(struct mro_device *d, const struct mro_transform *t, void *in, void *out,
                                 struct mro_error *e)
{
    struct mro_cuda *s = d->state;
    struct mro_cuda_plan *p = NULL;
    const char *call = "cufftSetWorkArea";
    MRO_TRY(mro_cuda_enter(d, e));
    if (t->ny == 0 || t->nx == 0 || t->ny > LLONG_MAX || t->nx > LLONG_MAX || t->batch > LLONG_MAX ||
        (in == out && type_of(t->kind) != CUFFT_C2C))
        return MRO_FAIL(e, MRO_EINTERNAL, "%zu transforms of %zu x %zu cannot be", t->batch, t->nx, t->ny);
    if (t->batch == 0) return MRO_OK;
    MRO_TRY(plan_of(d, t, &p, e));
    const cufftHandle handle = p->handle; /* making room for the area moves the plan in the list */
    MRO_TRY(mro_cuda_area(d, p->work, p, e));
    cufftResult rc = cufftSetWorkArea(handle, s->area);
    if (rc == CUFFT_SUCCESS) {
        switch (t->kind) {
        case MRO_TRANSFORM_REAL:
            call = "cufftExecR2C";
            rc = cufftExecR2C(handle, in, out);
            break;
        case MRO_TRANSFORM_REAL_BACKWARD:
            call = "cufftExecC2R";
            rc = cufftExecC2R(handle, in, out);
            break;
        case MRO_TRANSFORM_FORWARD:
        case MRO_TRANSFORM_BACKWARD:
            call = "cufftExecC2C";
            rc = cufftExecC2C(handle, in, out, t->kind == MRO_TRANSFORM_FORWARD ? CUFFT_FORWARD : CUFFT_INVERSE);
            break;
        }
    }
    return rc ? fft_fail(d, rc, call, t, e) : MRO_OK;
}
