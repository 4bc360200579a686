/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cards: finding, opening and closing them, how their calls fail, and what runs on them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/card.h"
#include "gpu/primitives.h"
#include "kernels/field.h"

/* -- errors -------------------------------------------------------------------------------------- */

/* Errors after which the driver answers every call of this process with the same. */
static bool is_loss(cudaError_t rc)
{
    switch (rc) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorCudartUnloading:
    case cudaErrorExternalDevice:
    case cudaErrorMpsRpcFailure:
    case cudaErrorMpsClientTerminated:
#if CUDART_VERSION >= 13000
    case cudaErrorContained:
    case cudaErrorTensorMemoryLeak:
#endif
    case cudaErrorUnknown: return true;
    default: return false;
    }
}

static enum mro_code gone(const struct mro_cuda *s, struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EDEVICE, "%s was lost (%s)%s", s->name, s->lost, s->advice);
}

void mro_cuda_note(struct mro_device *d, cudaError_t rc)
{
    struct mro_cuda *s = d->state;
    if (rc == cudaSuccess) return;
    (void)cudaGetLastError(); /* or a later launch would return this one */
    if (is_loss(rc) && s->lost[0] == '\0') snprintf(s->lost, sizeof s->lost, "%s", cudaGetErrorString(rc));
}

enum mro_code mro_cuda_fail(struct mro_device *d, cudaError_t rc, const char *call, const char *what,
                            struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    mro_cuda_note(d, rc);
    if (s->lost[0])
        return MRO_FAIL(e, MRO_EDEVICE, "%s was lost: %s, called %s, says '%s'%s", s->name, call, what,
                        cudaGetErrorString(rc), s->advice);
    if (rc == cudaErrorMemoryAllocation) {
        char left[64] = "";
        size_t free = 0, total = 0;
        const cudaError_t asked = cudaMemGetInfo(&free, &total);
        mro_cuda_note(d, asked);
        if (asked == cudaSuccess) snprintf(left, sizeof left, ": %zu of %zu MiB are free", free >> 20, total >> 20);
        return MRO_FAIL(e, MRO_EMEMORY, "%s has no room %s (%s)%s; end other programs that use it%s", s->name, what,
                        call, left, s->advice[0] ? " or use `device=cpu`" : "");
    }
    return MRO_FAIL(e, MRO_EDEVICE, "%s: %s, called %s, failed: %s%s", s->name, call, what, cudaGetErrorString(rc),
                    s->advice);
}

enum mro_code mro_cuda_enter(struct mro_device *d, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    if (s->lost[0]) return gone(s, e);
    MRO_CUDA_TRY(d, e, "to choose the card", cudaSetDevice, s->card);
    return MRO_OK;
}

enum mro_code mro_cuda_wait(struct mro_device *d, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    MRO_CUDA_TRY(d, e, "to wait for the work of the card", cudaStreamSynchronize, s->stream);
    return MRO_OK;
}

/* -- running kernels ----------------------------------------------------------------------------- */

#define LAUNCHER(name) { #name, mro_cuda_##name },
static const struct {
    const char *name;
    int (*launch)(uint32_t blocks, const void *args, void *stream);
} kernels[] = { MRO_KERNELS(LAUNCHER, LAUNCHER) };

static enum mro_code cuda_launch(struct mro_device *d, enum mro_kernel kernel, size_t blocks, const void *args,
                                 struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    char what[80];
    MRO_TRY(mro_cuda_enter(d, e));
    if (blocks > INT32_MAX)
        return MRO_FAIL(e, MRO_EINTERNAL, "kernel '%s' cannot run on %zu blocks", kernels[kernel].name, blocks);
    if (blocks == 0) return MRO_OK;
    const cudaError_t rc = (cudaError_t)kernels[kernel].launch((uint32_t)blocks, args, s->stream);
    if (rc == cudaSuccess) return MRO_OK;
    snprintf(what, sizeof what, "to run kernel '%s' on %zu blocks", kernels[kernel].name, blocks);
    return mro_cuda_fail(d, rc, "the launch", what, e);
}

static enum mro_code cuda_sort(struct mro_device *d, const float *keys, float *sorted, size_t n, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    size_t work = 0;
    cudaError_t rc;
    MRO_TRY(mro_cuda_enter(d, e));
    if (n == 0) return MRO_OK;
    rc = (cudaError_t)mro_cuda_sort(keys, sorted, n, NULL, &work, s->stream);
    if (rc == cudaSuccess) {
        MRO_TRY(mro_cuda_area(d, work, NULL, e));
        rc = (cudaError_t)mro_cuda_sort(keys, sorted, n, s->area, &work, s->stream);
    }
    return rc ? mro_cuda_fail(d, rc, "CUB", "to sort numbers", e) : MRO_OK;
}

static const struct mro_gpu_runtime runtime = {
    .zero = mro_cuda_zero,
    .launch = cuda_launch,
    .transform = mro_cuda_transform,
    .sort = cuda_sort,
};

/* snprintf, cut at the end by intention. */
__attribute__((format(printf, 3, 4))) static void words(char *to, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(to, size, format, args);
    va_end(args);
}

/* -- cards --------------------------------------------------------------------------------------- */

static void split(int version, int parts[2])
{
    parts[0] = version / 1000;
    parts[1] = version % 1000 / 10;
}

/* Newest CUDA of the driver, 0.0 without one, and CUDA of this build. */
static void versions(int driver[2], int runtime_version[2])
{
    int d = 0, r = 0;
    if (cudaDriverGetVersion(&d) != cudaSuccess) d = 0;
    if (cudaRuntimeGetVersion(&r) != cudaSuccess) r = CUDART_VERSION;
    (void)cudaGetLastError();
    split(d, driver);
    split(r, runtime_version);
}

size_t mro_cuda_cards(bool *present, struct mro_error *why)
{
    int n = 0, driver[2], built[2];
    const cudaError_t rc = cudaGetDeviceCount(&n);
    *present = false;
    if (rc == cudaSuccess && n > 0) {
        *present = true;
        return (size_t)n;
    }
    (void)cudaGetLastError();
    versions(driver, built);
    if (rc == cudaSuccess || rc == cudaErrorNoDevice) {
        MRO_FAIL(why, MRO_EDEVICE, "the NVIDIA driver shows no card");
    } else if (rc == cudaErrorInsufficientDriver && driver[0] == 0) {
        MRO_FAIL(why, MRO_EDEVICE, "this machine has no NVIDIA driver");
    } else if (rc == cudaErrorInsufficientDriver) {
        *present = true;
        MRO_FAIL(why, MRO_EDEVICE,
                 "the NVIDIA driver is too old: it knows CUDA %d.%d at most, and this build needs %d.%d; update it",
                 driver[0], driver[1], built[0], built[1]);
    } else {
        *present = true;
        MRO_FAIL(why, MRO_EDEVICE, "the NVIDIA driver does not work: cudaGetDeviceCount says '%s'",
                 cudaGetErrorString(rc));
    }
    return 0;
}

static void cuda_close(struct mro_device *d)
{
    struct mro_cuda *s = d->state;
    struct mro_error ignored;
    if (s == NULL) return;
    if (s->stream) {
        mro_cuda_note(d, cudaSetDevice(s->card));
        (void)mro_cuda_wait(d, &ignored);
        mro_cuda_plans_release(d, NULL);
        mro_cuda_area_release(d);
        mro_cuda_stages_release(d);
        (void)mro_cuda_wait(d, &ignored);
        if (s->pool) mro_cuda_note(d, cudaMemPoolTrimTo(s->pool, 0));
        mro_cuda_note(d, cudaStreamDestroy(s->stream));
    }
    free(s);
    d->state = NULL;
}

/* Memory that is taken and given back in the order of the stream, and stays with us in between. Cards (or drivers)
 * without pools do as well, more slowly, and so do those that say they have one and refuse. */
static void find_pool(struct mro_device *d)
{
    struct mro_cuda *s = d->state;
    uint64_t keep = UINT64_MAX;
    int supported = 0;
    void *p = NULL;
    cudaError_t rc = cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, s->card);
    if (rc == cudaSuccess && supported) rc = cudaDeviceGetDefaultMemPool(&s->pool, s->card);
    if (rc == cudaSuccess && supported) rc = cudaMemPoolSetAttribute(s->pool, cudaMemPoolAttrReleaseThreshold, &keep);
    if (rc == cudaSuccess && supported) rc = cudaMallocAsync(&p, 1, s->stream);
    if (rc == cudaSuccess && supported) rc = cudaFreeAsync(p, s->stream);
    if (rc != cudaSuccess) s->pool = NULL;
    mro_cuda_note(d, rc);
}

/* Shows that kernels of this build run on the card. */
static enum mro_code try_kernel(struct mro_device *d, const struct cudaDeviceProp *p, struct mro_error *e)
{
    const struct mro_cuda *s = d->state;
    const struct mro_multiply_args nothing = { 0 };
    const cudaError_t rc = (cudaError_t)mro_cuda_multiply(1, &nothing, s->stream);
    if (rc == cudaErrorNoKernelImageForDevice || rc == cudaErrorInvalidDeviceFunction ||
        rc == cudaErrorUnsupportedPtxVersion) {
        mro_cuda_note(d, rc);
        return MRO_FAIL(e, MRO_EDEVICE,
                        "this build has no kernels that %s of compute capability %d.%d and its driver can run; "
                        "build with -DCMAKE_CUDA_ARCHITECTURES=%d%d",
                        s->name, p->major, p->minor, p->major, p->minor);
    }
    if (rc) return mro_cuda_fail(d, rc, "the launch", "to run a first kernel", e);
    return mro_cuda_wait(d, e);
}

static enum mro_code open_card(struct mro_device *d, const struct cudaDeviceProp *p, struct mro_error *e)
{
    struct mro_cuda *s = d->state;
    int mode = cudaComputeModeDefault;
    if (p->major < 7 || (p->major == 7 && p->minor < 5))
        return MRO_FAIL(e, MRO_EDEVICE, "%s is of compute capability %d.%d, and 7.5 is needed", s->name, p->major,
                        p->minor);
    MRO_CUDA_TRY(d, e, "to ask for its mode", cudaDeviceGetAttribute, &mode, cudaDevAttrComputeMode, s->card);
    if (mode == cudaComputeModeProhibited)
        return MRO_FAIL(e, MRO_EDEVICE, "%s is set to compute mode 'prohibited'", s->name);
    const char *call = "cudaSetDevice";
    cudaError_t rc = cudaSetDevice(s->card);
    if (rc == cudaSuccess) {
        call = "cudaStreamCreateWithFlags";
        rc = cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking);
        if (rc) s->stream = NULL;
    }
    if (rc == cudaErrorDevicesUnavailable) {
        mro_cuda_note(d, rc);
        return MRO_FAIL(e, MRO_EDEVICE, "%s is busy: %s", s->name,
                        mode == cudaComputeModeDefault ? "the driver lets no other program use it"
                                                       : "its compute mode is exclusive and another program has it");
    }
    if (rc) return mro_cuda_fail(d, rc, call, "to open it", e);
    find_pool(d);
    return try_kernel(d, p, e);
}

static enum mro_code cuda_open(struct mro_device *d, int index, struct mro_error *e)
{
    struct cudaDeviceProp p;
    struct mro_cuda *s = calloc(1, sizeof *s);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    d->state = s;
    s->card = index;
    s->advice = ""; /* whoever opens it knows what else there is */
    snprintf(s->name, sizeof s->name, "card %d", index);
    cudaError_t rc = cudaGetDeviceProperties(&p, index);
    enum mro_code code;
    if (rc) {
        code = mro_cuda_fail(d, rc, "cudaGetDeviceProperties", "to look at it", e);
    } else {
        snprintf(s->name, sizeof s->name, "card %d (%.255s)", index, p.name);
        code = open_card(d, &p, e);
    }
    if (code) {
        cuda_close(d);
        return code;
    }
    s->advice = "; run again with `device=cpu`";
    d->card_bytes = p.totalGlobalMem;
    words(d->description, sizeof d->description, "card %d: %.80s, compute capability %d.%d, %.1f GiB memory", index,
          p.name, p.major, p.minor, (double)p.totalGlobalMem / (double)(1 << 30));
    return MRO_OK;
}

/* Float32 lanes of a multiprocessor (CUDA C++ Programming Guide, throughput of arithmetic instructions). */
static int lanes_of(int major, int minor) { return major == 7 || (major == 8 && minor == 0) ? 64 : 128; }

static enum mro_code cuda_rates(struct mro_device *d, struct mro_rates *r, struct mro_error *e)
{
    static const enum cudaDeviceAttr asked[] = { cudaDevAttrMultiProcessorCount,    cudaDevAttrClockRate,
                                                 cudaDevAttrMemoryClockRate,        cudaDevAttrGlobalMemoryBusWidth,
                                                 cudaDevAttrComputeCapabilityMajor, cudaDevAttrComputeCapabilityMinor };
    enum { UNITS, CLOCK, MEMORY_CLOCK, WIDTH, MAJOR, MINOR, ASKED };
    const struct mro_cuda *s = d->state;
    int v[ASKED];
    bool known = true;
    r->flops = r->transform = r->bytes = 0;
    MRO_TRY(mro_cuda_enter(d, e));
    for (int i = 0; i < ASKED; i++) { /* not every driver and every virtual card says them */
        const cudaError_t rc = cudaDeviceGetAttribute(&v[i], asked[i], s->card);
        mro_cuda_note(d, rc);
        known = known && rc == cudaSuccess && (v[i] > 0 || i == MINOR);
    }
    MRO_TRY(mro_cuda_link_rate(d, &r->link, e));
    if (!known) return MRO_OK;
    r->flops = 2e3 * v[CLOCK] * v[UNITS] * lanes_of(v[MAJOR], v[MINOR]); /* kHz; a multiply-add is two */
    r->transform = r->flops;                         /* bound by memory: every pass over it is in the bytes */
    r->bytes = 2e3 * v[MEMORY_CLOCK] * v[WIDTH] / 8; /* both edges of the clock */
    words(r->basis, sizeof r->basis, "from its clocks: %d multiprocessors at %.2f GHz, memory %d bit wide at %.2f GHz",
          v[UNITS], 1e-6 * v[CLOCK], v[WIDTH], 1e-6 * v[MEMORY_CLOCK]);
    return MRO_OK;
}

void mro_cuda_describe(size_t card, struct mro_device_info *info)
{
    struct mro_device d = { .ops = &mro_backend_cuda, .threads = 1 };
    struct cudaDeviceProp p;
    struct mro_error e;
    versions(info->driver, info->runtime);
    const cudaError_t rc = cudaGetDeviceProperties(&p, (int)card);
    (void)cudaGetLastError();
    if (rc == cudaSuccess) {
        info->memory_bytes = p.totalGlobalMem;
        info->compute_capability[0] = p.major;
        info->compute_capability[1] = p.minor;
    }
    info->usable = cuda_open(&d, (int)card, &e) == MRO_OK;
    if (info->usable) {
        size_t total = 0;
        const cudaError_t asked = cudaMemGetInfo(&info->free_bytes, &total);
        mro_cuda_note(&d, asked);
        if (asked) info->free_bytes = 0;
        cuda_close(&d);
    } else {
        snprintf(info->reason, sizeof info->reason, "%s", e.message);
    }
    if (rc == cudaSuccess) {
        char left[40] = "";
        if (info->free_bytes) snprintf(left, sizeof left, " (%.1f free)", (double)info->free_bytes / (double)(1 << 30));
        words(info->description, sizeof info->description,
              "%.60s, %.1f GiB%s, compute capability %d.%d, driver for CUDA %d.%d, built with CUDA %d.%d", p.name,
              (double)p.totalGlobalMem / (double)(1 << 30), left, p.major, p.minor, info->driver[0], info->driver[1],
              info->runtime[0], info->runtime[1]);
    }
}

const struct mro_backend mro_backend_cuda = { .name = "cuda",
                                              .runtime = &runtime,
                                              .open = cuda_open,
                                              .close = cuda_close,
                                              .rates = cuda_rates,
                                              .alloc = mro_cuda_alloc,
                                              .release = mro_cuda_release,
                                              .upload = mro_cuda_upload,
                                              .download = mro_cuda_download,
                                              MRO_GPU_PRIMITIVES };
