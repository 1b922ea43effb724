// A driver without a card, for tests of the binding: device memory is memory of the host, kernels do nothing but keep
// the numbers of their launch. The environment FAKE_CUDA asks for failures: "init=100", "version=11080", "launch=700",
// "graph=801" (a programmatic launch into a graph), and for milliseconds that something takes: "work=50" (a launch), "in=50" and
// "out=50" (a copy to the card and to the host); "memory=8" is of so many GiB, and with "bytes=4096" longer copies are not made;
// several by spaces.
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint64_t ptr;
static uint64_t limit; // of memory
static _Atomic uint64_t used, most; // goroutines allocate and free side by side
static uint64_t last[16];
static int capturing;
static _Atomic int64_t clocks[2]; // when the card is done with what a stream was given, in nanoseconds: every second stream has the second

static int asked(const char *what, int otherwise) {
    size_t n = strlen(what);
    for (const char *e = getenv("FAKE_CUDA"); e; e = strchr(e, ' '), e = e ? e + 1 : e)
        if (!strncmp(e, what, n) && e[n] == '=') return atoi(e + n + 1);
    return otherwise;
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static _Atomic int64_t *done(void *stream) { return &clocks[stream == (void *)4]; }
static int64_t after(void *stream) { return *done(stream) > now() ? *done(stream) : now(); }
static void work(const char *what, void *stream) { *done(stream) = after(stream) + asked(what, 0) * 1000000LL; }
static void await(int64_t until) {
    int64_t left = until - now();
    if (left > 0) nanosleep(&(struct timespec){left / 1000000000, left % 1000000000}, 0);
}

int cuGetErrorName(int code, const char **s) {
    *s = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : NULL;
    return *s ? 0 : 1;
}
int cuInit(unsigned flags) {
    limit = (uint64_t)asked("memory", 1) << 30;
    return flags ? 1 : asked("init", 0);
}
static void copy(uint64_t d, uint64_t s, size_t n) {
    if (n <= (size_t)asked("bytes", INT32_MAX)) memcpy((void *)(uintptr_t)d, (void *)(uintptr_t)s, n);
}
int cuDriverGetVersion(int *v) { *v = asked("version", 12040); return 0; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return n < 2 ? 0 : 101; }
int cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "Fake %d", d); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) {
    *v = a == 75 ? 9 : a == 76 ? 0 : a == 16 ? 132 : a == 95 ? d : a == 97 ? 232448 : a == 115 ? asked("pools", 1) : 7;
    return 0;
}
int cuDeviceTotalMem_v2(size_t *n, int d) { *n = limit; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)(uintptr_t)(d + 1); return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
static _Thread_local void *current; // the thread's context, without which there are no launches
int cuCtxSetCurrent(void *c) { current = c; return 0; }
int cuMemGetInfo_v2(size_t *f, size_t *t) { *f = limit - used; *t = limit; return 0; }

// What lies before memory. With "pool=1" freed memory is kept for the next of its size.
struct block {
    uint64_t bytes;
    struct block *next;
    uint64_t pad[6];
};
static struct block *pool[256];
static atomic_flag pooling = ATOMIC_FLAG_INIT;
static struct block **list(size_t n) { return &pool[n / 512 % 256]; }
static struct block *pooled(size_t n) {
    while (atomic_flag_test_and_set(&pooling)) {}
    struct block **at = list(n), *m;
    while (*at && (*at)->bytes != n) at = &(*at)->next;
    if ((m = *at)) *at = m->next;
    atomic_flag_clear(&pooling);
    return m;
}

int cuMemAllocAsync(ptr *p, size_t n, void *s) {
    if (n == 0) return 1;
    uint64_t now = used += n, before = most;
    if (now > limit) {
        used -= n;
        return 2;
    }
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now)) {}
    struct block *m = pooled(n);
    if (!m) m = malloc(n + sizeof *m);
    m->bytes = n;
    *p = (ptr)(uintptr_t)(m + 1);
    return 0;
}
int cuMemFreeAsync(ptr p, void *s) {
    struct block *m = (struct block *)(uintptr_t)p - 1;
    used -= m->bytes;
    if (!asked("pool", 0)) return free(m), 0;
    while (atomic_flag_test_and_set(&pooling)) {}
    m->next = *list(m->bytes), *list(m->bytes) = m;
    atomic_flag_clear(&pooling);
    return 0;
}
int cuDeviceGetDefaultMemPool(void **p, int d) { *p = (void *)1; return 0; }
int cuMemPoolSetAttribute(void *p, int a, void *v) { return a == 4 ? 0 : 1; }
int cuMemPoolGetAttribute(void *p, int a, uint64_t *v) { *v = a == 5 ? used : most; return 0; }
int cuMemPoolTrimTo(void *p, size_t n) { return 0; }
int cuMemHostAlloc(void **p, size_t n, unsigned f) { *p = malloc(n); return 0; }
int cuMemFreeHost(void *p) { free(p); return 0; }
int cuMemHostRegister_v2(void *p, size_t n, unsigned f) { return f == 8 && (uintptr_t)p % 4096 == 0 ? 0 : 1; }
int cuMemHostUnregister(void *p) { return 0; }
int cuMemcpyHtoDAsync_v2(ptr d, const void *s, size_t n, void *st) { work("in", st); copy(d, (uintptr_t)s, n); return 0; }
// A copy to the host's memory, which is not pinned, waits for the card.
int cuMemcpyDtoHAsync_v2(void *d, ptr s, size_t n, void *st) {
    work("out", st);
    await(*done(st));
    memcpy(d, (void *)(uintptr_t)s, n);
    return 0;
}
int cuMemcpyDtoDAsync_v2(ptr d, ptr s, size_t n, void *st) { copy(d, s, n); return 0; }
int cuMemsetD8Async(ptr d, unsigned char b, size_t n, void *st) { memset((void *)(uintptr_t)d, b, n); return 0; }
int cuModuleLoadData(void **m, const void *image) {
    if (!strncmp(image, "\x7f" "ELF", 4)) return asked("cubin", 0);
    *m = (void *)2;
    return asked("ptx", 0);
}
int cuModuleGetFunction(void **f, void *m, const char *name) { *f = (void *)last; return strcmp(name, "none") ? 0 : 500; }
int cuFuncSetAttribute(void *f, int a, int v) { return 0; }
// The first two arguments are taken for 64-bit numbers, and where the second is an address, the launch is told there (not with "told=0").
static int launched(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned shared, void *s, void **args) {
    if (!current) return 201;
    work("work", s);
    last[0] = gx, last[1] = gy, last[2] = gz, last[3] = bx, last[4] = shared, last[5] = *(uint64_t *)args[0];
    uint64_t to = *(uint64_t *)args[1];
    if (to > 4096 && asked("told", 1)) memcpy((void *)(uintptr_t)to, last, sizeof last);
    return asked("launch", 0);
}
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *s, void **args, void **extra) {
    memset(last + 6, 0, sizeof last - 48);
    return launched(gx, gy, gz, bx, shared, s, args);
}
// A launch with attributes: last[6] and on are the number and the value of each.
struct attribute { unsigned id, pad, value[16]; };
struct config { unsigned gx, gy, gz, bx, by, bz, shared; void *s; struct attribute *attributes; unsigned count; };
int cuLaunchKernelEx(const struct config *c, void *f, void **args, void **extra) {
    if (c->count < 1 || c->count > 2) return 1;
    memset(last + 6, 0, sizeof last - 48);
    for (unsigned i = 0; i < c->count; i++) {
        const struct attribute *a = c->attributes + i;
        if (a->id != 2 && a->id != 6 || a->value[0] != 1) return 1;
        last[6 + 2 * i] = a->id, last[7 + 2 * i] = a->value[0];
    }
    int code = capturing ? asked("graph", 0) : 0;
    return code ? code : launched(c->gx, c->gy, c->gz, c->bx, c->shared, c->s, args);
}
int cuStreamCreate(void **s, unsigned f) { static atomic_int made; *s = (void *)(uintptr_t)(3 + made++ % 2); return f == 1 ? 0 : 1; }
int cuStreamDestroy_v2(void *s) { return 0; }
int cuStreamSynchronize(void *s) { await(*done(s)); return asked("wait", 0); }
int cuStreamQuery(void *s) { return now() < *done(s) ? 600 : 0; }
int cuStreamWaitEvent(void *s, void *e, unsigned f) { if (*(int64_t *)e > *done(s)) *done(s) = *(int64_t *)e; return 0; }
// An event is the time at which the card comes to it.
int cuEventCreate(void **e, unsigned f) { *e = calloc(1, sizeof(int64_t)); return 0; }
int cuEventRecord(void *e, void *s) { *(int64_t *)e = after(s); return 0; }
int cuEventQuery(void *e) { return now() < *(int64_t *)e ? 600 : 0; }
int cuEventSynchronize(void *e) { await(*(int64_t *)e); return 0; }
int cuEventElapsedTime(float *ms, void *a, void *b) { *ms = (*(int64_t *)b - *(int64_t *)a) / 1e6f; return 0; }
int cuStreamBeginCapture_v2(void *s, int mode) { capturing = 1; return 0; }
int cuStreamEndCapture(void *s, void **g) { *g = (void *)5; capturing = 0; return 0; }
int cuGraphInstantiateWithFlags(void **e, void *g, uint64_t f) { *e = (void *)6; return 0; }
int cuGraphDestroy(void *g) { return 0; }
int cuGraphLaunch(void *e, void *s) { work("work", s); return current ? 0 : 201; }
int cuGraphExecDestroy(void *e) { return 0; }
int cuEventDestroy_v2(void *e) { free(e); return 0; }
#ifdef TILES
int cuTensorMapEncodeTiled(void *map) { return !map ? 1 : current ? 0 : 201; }
#endif
