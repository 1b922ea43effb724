// A driver whose card is this computer: it runs the kernels, compiled by g++, on memory of the host. See emulate.h.
//
// It is strict where cards are not: memory begins as NaN, ends at a page that nobody may touch, and what lies before it is
// looked at when it is freed; copies of cp.async are made as late as they may; every other launch of a kernel runs its
// threads and blocks in the opposite order. EMULATED_CUDA sets "capability=90,cores=8,memory=1073741824".
#include "emulate.h"
#include <algorithm>
#include <chrono>
#include <errno.h>
#include <link.h>
#include <map>
#include <mutex>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

#pragma GCC diagnostic ignored "-Wunused-parameter"
#define DRIVER extern "C" __attribute__((visibility("default"))) int

namespace emulate {
alignas(1024) uint8_t dynamic[Room];
Thread *me;
uint3 block;
dim3 blocks, threads;

constexpr int Most = 1024, Stack = 128 << 10, MostTogether = 16 << 10;
enum { IllegalAddress = 700, Failed = 719 };

struct Warp {
    uint32_t ready, left;  // threads that can run, threads that have not ended
    uint32_t waiting[16];  // at each barrier
    uint32_t early;        // that wait for earlier kernels
    uint32_t gated;        // that wait for other blocks
    uint32_t met;
    const char *what;
    void *boxes[32];
};

struct Engines;  // Hopper's, in hopper.h
// A Block is what a block has of its own. Those of a cooperative launch are all there at once.
struct Block {
    uint3 index;
    Thread all[Most];
    Warp warps[Most / 32];
    int alive, arrived[16], value[16], results[16];
    uint8_t *stacks;
    Engines *engines;
    std::vector<uint8_t> aside;  // shared memory, while another block runs
};
static std::vector<Block *> made = {new Block()};
static Block *here = made[0];  // the block that runs
static int count;              // threads of a block
static size_t dynamicBytes;
static void *scheduler;  // stack of the launching thread
static bool backward, failed, hopper;
// A programmatic launch may begin before earlier kernels have ended: until all threads have waited, its first block finds
// nothing but weights.
static bool programmatic, early, cooperative;
static int unwaited;
static int code;
static char message[512];
static void (*body)(void **);
static void **arguments;
static const char *kernel;
static pthread_t launcher;
static volatile bool running;

// emulate_switch leaves the stack that it keeps in *from and goes on with another.
extern "C" void emulate_switch(void **from, void *to);
asm(R"(
.text
.globl emulate_switch
.hidden emulate_switch
.type emulate_switch, @function
emulate_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulate_switch, .-emulate_switch
)");

static int number(const Thread *t) { return (int)(t - here->all); }

static void go(Thread *t) {
    Thread *from = me;
    me = t;
    emulate_switch(&from->stack, t->stack);
}

// leave runs the next thread of the warp that can, or the scheduler.
static void leave() {
    int i = number(me), lane = i & 31;
    uint32_t ready = here->warps[i >> 5].ready, rest;
    if (!ready) return emulate_switch(&me->stack, scheduler);
    if (backward) {
        rest = ready & (((uint32_t)1 << lane) - 1);
        lane = 31 - __builtin_clz(rest ? rest : ready);
    } else {
        rest = lane == 31 ? 0 : ready & ~(((uint32_t)2 << lane) - 1);
        lane = __builtin_ctz(rest ? rest : ready);
    }
    go(&here->all[(i & ~31) + lane]);
}

static void vfail(const char *format, va_list list) {
    char text[300];
    vsnprintf(text, sizeof text, format, list);
    snprintf(message, sizeof message, "kernel %s, block %u %u %u, thread %u: %s", kernel, block.x, block.y, block.z, me ? me->index.x : 0, text);
    failed = true;
}

[[noreturn]] void fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    code = Failed;
    vfail(format, list);
    va_end(list);
    void *lost;
    emulate_switch(&lost, scheduler);
    __builtin_unreachable();
}

static void report(const char *format, ...) {
    va_list list;
    va_start(list, format);
    code = Failed;
    vfail(format, list);
    va_end(list);
}

static void publish();  // these three are in hopper.h
static void beginHopper();
static void endHopper();

void meet(void *box, const char *what, void (*op)(void **)) {
    int i = number(me);
    Warp &w = here->warps[i >> 5];
    uint32_t bit = (uint32_t)1 << (i & 31);
    if (w.left != ~0u) fail("%s in a warp of which threads have ended", what);
    if (w.met && w.what != what) fail("%s where others of the warp are at %s", what, w.what);
    w.what = what, w.boxes[i & 31] = box, w.met |= bit;
    if (w.met == ~0u) {
        publish();
        op(w.boxes);
        w.met = 0, w.ready = ~0u;
        return;
    }
    w.ready &= ~bit;
    leave();
}

static void release(int id) {
    publish();
    for (int k = 0; k < (count + 31) / 32; k++) here->warps[k].ready |= here->warps[k].waiting[id], here->warps[k].waiting[id] = 0;
    here->results[id] = here->value[id], here->arrived[id] = here->value[id] = 0;
}

int barrier(int id, int n, int v) {
    if (id < 0 || id > 15 || n % 32) fail("barrier %d of %d threads", id, n);
    int i = number(me);
    Warp &w = here->warps[i >> 5];
    uint32_t bit = (uint32_t)1 << (i & 31);
    here->value[id] |= v;
    if (++here->arrived[id] == (n ? n : here->alive)) {
        release(id);
        return here->results[id];
    }
    w.waiting[id] |= bit, w.ready &= ~bit;
    leave();
    return here->results[id];
}

static void hide(bool);
void wait_earlier() {
    int i = number(me);
    here->all[i].waited = true;
    if (!early) return;
    if (--unwaited > 0) {
        uint32_t bit = (uint32_t)1 << (i & 31);
        here->warps[i >> 5].early |= bit, here->warps[i >> 5].ready &= ~bit;
        return leave();
    }
    hide(early = false);
    for (int k = 0; k < (count + 31) / 32; k++) here->warps[k].ready |= here->warps[k].early, here->warps[k].early = 0;
}

// come tells whether what a thread waits for has come: enough blocks, where the count may have run over, or some words.
static bool come(const Thread &t) {
    if (t.mail) return std::find(t.gate, t.gate + t.mail, ~0u) == t.gate + t.mail;
    return (int32_t)(*t.gate - t.want) >= 0;
}

static void wait_others() {
    int i = number(me);
    if (come(*me)) return;
    if (!cooperative && me->mail) fail("waits for a word of other blocks in a launch that is not cooperative");
    if (!cooperative) fail("waits at a barrier of the grid, which has counted %u of %u, in a launch that is not cooperative", *me->gate, me->want);
    uint32_t bit = (uint32_t)1 << (i & 31);
    here->warps[i >> 5].gated |= bit, here->warps[i >> 5].ready &= ~bit;
    leave();
}
void wait_gate(const uint32_t *gate, uint32_t want) {
    me->gate = gate, me->want = want, me->mail = 0;
    wait_others();
}
void wait_mail(const uint32_t *words, int n) {
    me->gate = words, me->mail = n;
    wait_others();
}

void start_copy(void *to, const void *from, bool ok) {
    if (early && ok) (void)*(const volatile uint8_t *)from;
    if (me->last == me->held) {
        if (me->first > 0) {
            memmove(me->copies, me->copies + me->first, (me->last - me->first) * sizeof(Copy));
            me->last -= me->first, me->first = 0;
        }
        if (me->last == me->held) {
            me->held = me->held ? 2 * me->held : 64;
            me->copies = (Copy *)realloc(me->copies, me->held * sizeof(Copy));
        }
    }
    me->copies[me->last++] = {to, from, ok, me->group};
}
void end_group() { me->group++; }
void wait_groups(int most) {
    for (; me->first < me->last && me->copies[me->first].group < me->group - most; me->first++) {
        const Copy &c = me->copies[me->first];
        if (c.ok) memcpy(c.to, c.from, 16); else memset(c.to, 0, 16);
    }
    if (me->first == me->last) me->first = me->last = 0;
}

// Numbers of dynamic shared memory begin at 0. What kernels declare is the launching thread's own, anywhere in memory: its
// numbers are distances from the anchor, which lies among it.
constexpr uint32_t Declared = 0x80000000;
alignas(64) static thread_local uint8_t anchor;

uint32_t shared(const void *p) {
    intptr_t off = (intptr_t)p - (intptr_t)dynamic;
    return off >= 0 && off < Room ? (uint32_t)off : Declared + (uint32_t)((intptr_t)p - (intptr_t)&anchor);
}

uint8_t *address(uint32_t at, int bytes) {
    if (at >= (uint32_t)Room) return &anchor + (int32_t)(at - Declared);
    if (at + (int64_t)bytes > (int64_t)dynamicBytes) fail("shared memory: byte %u of %zu", at, dynamicBytes);
    return dynamic + at;
}

// run is what each fiber does, for one block after another.
static void run() {
    for (;;) {
        body(arguments);
        int i = number(me);
        Warp &w = here->warps[i >> 5];
        uint32_t bit = (uint32_t)1 << (i & 31);
        w.left &= ~bit, w.ready &= ~bit;
        here->alive--;
        if (programmatic && !here->all[i].waited) fail("ends without waiting for the kernels before it");
        if (w.met) fail("ends where others of the warp are at %s", w.what);
        if (here->alive && here->arrived[0] == here->alive) release(0);
        leave();
    }
}

static void prepare(int i) {
    uint8_t *&stacks = here->stacks;
    if (!stacks) {
        stacks = (uint8_t *)mmap(nullptr, (size_t)Most * Stack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) abort();
    }
    if (mprotect(stacks + (size_t)i * Stack, 4096, PROT_NONE)) abort();
    void **top = (void **)(stacks + (size_t)(i + 1) * Stack) - 1;  // as if run had been called
    *--top = (void *)run;
    for (int k = 0; k < 6; k++) *--top = nullptr;
    here->all[i].stack = top;
}

// begin starts a block, in the place of the one that was here.
static void begin(uint64_t b, bool first) {
    here->index = block = {(unsigned)(b % blocks.x), (unsigned)(b / blocks.x % blocks.y), (unsigned)(b / blocks.x / blocks.y)};
    here->alive = count;
    memset(here->arrived, 0, sizeof here->arrived), memset(here->value, 0, sizeof here->value);
    memset(dynamic, 0xFF, dynamicBytes);
    beginHopper();
    for (int k = 0; k < (count + 31) / 32; k++) {
        int rest = count - 32 * k;
        Warp &w = here->warps[k];
        w.left = w.ready = rest >= 32 ? ~0u : ((uint32_t)1 << rest) - 1;
        w.met = w.early = w.gated = 0;
        memset(w.waiting, 0, sizeof w.waiting);
    }
    for (int i = 0; i < count; i++) {
        Thread &t = here->all[i];
        if (!t.stack) prepare(i);
        t.index = {(unsigned)i, 0, 0}, t.first = t.last = t.group = 0, t.waited = false;
    }
    if (programmatic && first) hide(early = true), unwaited = count;
}

// proceed runs the block until none of its threads can go on, or one fails.
static void proceed() {
    const int n = (count + 31) / 32;
    for (bool ran = true; ran && !failed;) {
        ran = false;
        for (int k = 0; k < n && !failed; k++) {
            Warp &w = here->warps[backward ? n - 1 - k : k];
            if (!w.ready) continue;
            ran = true;
            me = &here->all[32 * (&w - here->warps) + (backward ? 31 - __builtin_clz(w.ready) : __builtin_ctz(w.ready))];
            emulate_switch(&scheduler, me->stack);
        }
    }
}

// end looks at what a block leaves in which no thread can go on.
static void end() {
    if (failed) return;
    if (!here->alive) return endHopper();
    int at = 0;
    for (int k = 0; k < (count + 31) / 32; k++) at += __builtin_popcount(here->warps[k].left & ~here->warps[k].met);
    code = Failed, failed = true;
    snprintf(message, sizeof message, "kernel %s, block %u %u %u: %d threads wait at a barrier, %d for their warp: nobody goes on", kernel, block.x, block.y, block.z, at, here->alive - at);
}

// Declared is the shared memory that kernels declare with its size: whatever of this library is the thread's own.
static struct Declared { uint8_t *at; size_t bytes, module; } declared;
extern "C" void *__tls_get_addr(size_t *);
static int findModule(dl_phdr_info *o, size_t, void *) {
    bool own = false;
    for (int i = 0; i < o->dlpi_phnum; i++) {
        const auto &h = o->dlpi_phdr[i];
        if (h.p_type == PT_LOAD && (uintptr_t)findModule - o->dlpi_addr - h.p_vaddr < h.p_memsz) own = true;
        if (h.p_type == PT_TLS) declared.bytes = h.p_memsz, declared.module = o->dlpi_tls_modid;
    }
    return own;
}
static void findDeclared() {
    dl_iterate_phdr(findModule, nullptr);
    size_t index[2] = {declared.module, 0};
    declared.at = (uint8_t *)__tls_get_addr(index);
}

// enter makes a block of a cooperative launch the one that runs, and puts the other's shared memory aside.
static void enter(Block *b) {
    if (b == here) return;
    here->aside.resize(dynamicBytes + declared.bytes), b->aside.resize(dynamicBytes + declared.bytes);
    memcpy(here->aside.data(), dynamic, dynamicBytes), memcpy(here->aside.data() + dynamicBytes, declared.at, declared.bytes);
    memcpy(dynamic, b->aside.data(), dynamicBytes), memcpy(declared.at, b->aside.data() + dynamicBytes, declared.bytes);
    here = b, block = b->index;
}

// gated finds a thread that waits for other blocks.
static Thread *gated(Block &b) {
    for (int k = 0; k < (count + 31) / 32; k++)
        if (b.warps[k].gated) return &b.all[32 * k + __builtin_ctz(b.warps[k].gated)];
    return nullptr;
}

// pass lets threads of a block go on for which the others have arrived.
static bool pass(Block &b) {
    bool any = false;
    for (int k = 0; k < (count + 31) / 32; k++)
        for (uint32_t rest = b.warps[k].gated; rest; rest &= rest - 1) {
            uint32_t bit = rest & -rest;
            if (!come(b.all[32 * k + __builtin_ctz(rest)])) continue;
            b.warps[k].gated &= ~bit, b.warps[k].ready |= bit, any = true;
        }
    return any;
}

// together runs blocks in turns, each until it waits for others.
static void together(int total) {
    findDeclared();
    while ((int)made.size() < total) made.push_back(new Block());
    int left = total;
    for (bool first = true, went = true; left && !failed; first = false) {
        Thread *waits = nullptr;
        if (!went) {
            for (int i = 0; i < total && !waits; i++)
                if (made[i]->alive) enter(made[i]), waits = me = gated(*here);
            if (waits->mail) return report("%d of %d blocks wait, one for a word that nobody writes", left, total);
            return report("%d of %d blocks wait at a barrier of the grid, which has counted %u of %u: nobody goes on", left, total, *waits->gate, waits->want);
        }
        went = false;
        for (int i = 0; i < total && !failed; i++) {
            const int at = backward ? total - 1 - i : i;
            Block *b = made[at];
            if (!first && (!b->alive || !pass(*b))) continue;
            went = true;
            enter(b);
            if (first) {
                begin(at, i == 0);
                memset(declared.at, 0xFF, declared.bytes);
            }
            do proceed();
            while (!failed && pass(*b));
            if (!b->alive) left--;
            if (!b->alive || !gated(*b)) end();
        }
    }
}

// stopped is where a thread lands that touched memory that is nobody's.
static void *touched;
static void stopped() {
    if (early) fail("touches what earlier kernels may write before it has waited for them, at %p", touched);
    fail("touches memory that is nobody's, at %p", touched);
}

static struct sigaction before;
static void onFault(int sig, siginfo_t *info, void *context) {
    if (running && pthread_equal(pthread_self(), launcher)) {
        ucontext_t *u = (ucontext_t *)context;
        touched = info->si_addr;
        uintptr_t sp = (uintptr_t)u->uc_mcontext.gregs[REG_RSP];
        uintptr_t bottom = (uintptr_t)touched & ~(uintptr_t)4095;
        if (sp - bottom < 8192) sp += 16384;  // the stack itself has run over
        u->uc_mcontext.gregs[REG_RSP] = (greg_t)(((sp - 256) & ~(uintptr_t)15) - 8);
        u->uc_mcontext.gregs[REG_RIP] = (greg_t)stopped;
        return;
    }
    if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(sig, info, context);
    else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) abort();
    else before.sa_handler(sig);
}

// A Kernel can be launched by the addresses of its arguments.
struct Kernel {
    const char *name;
    int most;  // threads of a block
    void (*run)(void **);
    std::vector<size_t> sizes;
    size_t shared = 48 << 10;
    bool odd = false;
};

static std::map<std::string, Kernel> &kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

// argument copies what may lie at any address.
template <class T> static T argument(const void *p) {
    T v;
    memcpy(&v, p, sizeof v);
    return v;
}
template <auto F, class... A> struct Call {
    template <size_t... I> static void with(void **args, std::index_sequence<I...>) { F(argument<std::remove_const_t<A>>(args[I])...); }
    static void run(void **args) { with(args, std::index_sequence_for<A...>()); }
};
template <auto F, class... A> static Kernel describe(const char *name, int most, void (*)(A...)) {
    return {name, most, Call<F, A...>::run, {sizeof(A)...}};
}

static std::mutex lock;
static const char *reason = "";

// asked reads a number of EMULATED_CUDA.
static long asked(const char *what, long otherwise) {
    const char *e = getenv("EMULATED_CUDA");
    size_t n = strlen(what);
    for (; e && *e; e = strchr(e, ',') ? strchr(e, ',') + 1 : nullptr)
        if (!strncmp(e, what, n) && e[n] == '=') return atol(e + n + 1);
    return otherwise;
}

// Memory: pages that nobody may touch on both sides, the content at the end.
struct Area { uint8_t *base; size_t pages, bytes; bool weights; };
static std::map<uint64_t, Area> areas;
constexpr size_t Page = 4096;
static void hide(bool hidden) {
    for (auto &a : areas)
        if (!a.second.weights) mprotect(a.second.base + Page, a.second.pages, hidden ? PROT_NONE : PROT_READ | PROT_WRITE);
}

// How a launch runs beside others: before earlier kernels have ended, and with all of its blocks at the same time.
struct Beside { bool programmatic, cooperative; };

static int launch(Kernel &k, dim3 g, int n, size_t shared, void **args, Beside how) {
    if (k.most && n > k.most || n > Most || n < 1) return snprintf(message, sizeof message, "kernel %s: %d threads", k.name, n), 1;
    if (shared > k.shared) return snprintf(message, sizeof message, "kernel %s: %zu bytes of shared memory, %zu were asked for", k.name, shared, k.shared), 1;
    kernel = k.name, body = k.run, arguments = args, count = n, dynamicBytes = shared, failed = false, code = 0;
    blocks = g, threads = {(unsigned)n, 1, 1};
    backward = k.odd, k.odd = !k.odd, hopper = asked("capability", 80) == 90;
    if (!strcmp(k.name, "pack_w4")) areas[*(uint64_t *)args[0]].weights = true;
    programmatic = how.programmatic, cooperative = how.cooperative;
    launcher = pthread_self(), running = true;
    struct sigaction on = {};
    on.sa_sigaction = onFault, on.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigfillset(&on.sa_mask);
    sigaction(SIGSEGV, &on, &before);
    const uint64_t total = (uint64_t)g.x * g.y * g.z;
    if (cooperative) together(total);
    for (uint64_t i = 0; i < total && !failed && !cooperative; i++) begin(backward ? total - 1 - i : i, i == 0), proceed(), end();
    if (early) hide(early = false);
    sigaction(SIGSEGV, &before, nullptr);
    running = false, me = nullptr;
    for (Block *b : made)
        for (int i = 0; i < Most && failed; i++) b->all[i].stack = nullptr;
    return code;
}

static size_t limit() { return asked("memory", (long)4 << 30); }

static size_t used, most;
constexpr uint8_t Before = 0xA5;

static int take(uint64_t *p, size_t n) {
    if (n == 0) return 1;
    if (used + n > limit()) return 2;
    size_t pages = (n + Page - 1) / Page * Page;
    uint8_t *base = (uint8_t *)mmap(nullptr, pages + 2 * Page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return 2;
    mprotect(base + Page, pages, PROT_READ | PROT_WRITE);
    uint8_t *at = base + Page + (pages - n) / 16 * 16;
    memset(base + Page, Before, at - base - Page);
    memset(at, 0xFF, base + Page + pages - at);
    areas[*p = (uint64_t)at] = {base, pages, n, false};
    used += n, most = used > most ? used : most;
    return 0;
}

static int give(uint64_t p) {
    auto i = areas.find(p);
    if (i == areas.end()) return 1;
    Area a = i->second;
    areas.erase(i);
    used -= a.bytes;
    bool whole = true;
    for (uint8_t *b = a.base + Page; b < (uint8_t *)p; b++) whole &= *b == Before;
    munmap(a.base, a.pages + 2 * Page);
    if (whole) return 0;
    snprintf(message, sizeof message, "memory before a buffer of %zu bytes was written", a.bytes);
    return Failed;
}

struct Launch {
    Kernel *k;
    dim3 g;
    int n;
    size_t shared;
    std::vector<std::vector<uint64_t>> args;
    Beside how;
    int run() {
        std::vector<void *> at;
        for (auto &a : args) at.push_back(a.data());
        return launch(*k, g, n, shared, at.data(), how);
    }
};
typedef std::vector<Launch> Graph;
static std::map<pthread_t, Graph *> capturing;  // by some threads, while others launch for devices of their own
}  // namespace emulate

#include "instructions.h"
#include "all.cu"

namespace emulate {
static void list() {
    if (!kernels().empty()) return;
#define KERNEL(name, most) kernels()[#name] = describe<name>(#name, most, name);
#include "list.h"
}
}  // namespace emulate

float __fmul_rn(float a, float b) { return a * b; }
float __fadd_rn(float a, float b) { return a + b; }
float __fdiv_rn(float a, float b) { return a / b; }
float __fsqrt_rn(float a) { return sqrtf(a); }
double __dmul_rn(double a, double b) { return a * b; }
double __dadd_rn(double a, double b) { return a + b; }

using namespace emulate;
typedef std::lock_guard<std::mutex> Guard;

DRIVER cuGetErrorName(int c, const char **s) {
    static thread_local char text[512];
    snprintf(text, sizeof text, "%s", c == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : c == 500 ? "CUDA_ERROR_NOT_FOUND" : message);
    *s = text;
    return 0;
}
DRIVER cuInit(unsigned) { return list(), 0; }
DRIVER cuDriverGetVersion(int *v) { return *v = 12040, 0; }
DRIVER cuDeviceGetCount(int *n) { return *n = 1, 0; }
DRIVER cuDeviceGet(int *d, int n) { return *d = n, n == 0 ? 0 : 101; }
DRIVER cuDeviceGetName(char *s, int n, int) { return snprintf(s, n, "Emulated"), 0; }
DRIVER cuDeviceGetAttribute(int *v, int a, int) {
    int capability = asked("capability", 80);
    switch (a) {
    case 75: *v = capability / 10; break;
    case 76: *v = capability % 10; break;
    case 16: *v = asked("cores", 8); break;
    case 97: *v = capability == 90 ? 232448 : 101376; break;  // the least of all cards
    case 95: case 115: *v = 1; break;
    default: *v = 0;
    }
    return 0;
}
DRIVER cuDeviceTotalMem_v2(size_t *n, int) { return *n = limit(), 0; }
DRIVER cuDevicePrimaryCtxRetain(void **c, int) { return *c = (void *)1, 0; }
DRIVER cuDevicePrimaryCtxRelease_v2(int) { return 0; }
DRIVER cuCtxSetCurrent(void *) { return 0; }
DRIVER cuMemGetInfo_v2(size_t *f, size_t *t) { Guard g(lock); return *f = limit() - used, *t = limit(), 0; }
DRIVER cuMemAllocAsync(uint64_t *p, size_t n, void *) { Guard g(lock); return take(p, n); }
DRIVER cuMemFreeAsync(uint64_t p, void *) { Guard g(lock); return give(p); }
DRIVER cuDeviceGetDefaultMemPool(void **p, int) { return *p = (void *)1, 0; }
DRIVER cuMemPoolSetAttribute(void *, int, void *) { return 0; }
DRIVER cuMemPoolGetAttribute(void *, int a, uint64_t *v) { Guard g(lock); return *v = a == 5 ? used : most, 0; }
DRIVER cuMemPoolTrimTo(void *, size_t) { return 0; }
DRIVER cuMemHostAlloc(void **p, size_t n, unsigned) { return *p = malloc(n), 0; }
DRIVER cuMemFreeHost(void *p) { return free(p), 0; }
DRIVER cuMemHostRegister_v2(void *, size_t, unsigned) { return 0; }
DRIVER cuMemHostUnregister(void *) { return 0; }
// Copies take the lock, since a programmatic launch hides the memory of all devices for a while.
DRIVER cuMemcpyHtoDAsync_v2(uint64_t d, const void *s, size_t n, void *) { Guard g(lock); return memcpy((void *)d, s, n), 0; }
DRIVER cuMemcpyDtoHAsync_v2(void *d, uint64_t s, size_t n, void *) { Guard g(lock); return memcpy(d, (void *)s, n), 0; }
DRIVER cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t s, size_t n, void *) { Guard g(lock); return memcpy((void *)d, (void *)s, n), 0; }
DRIVER cuMemsetD8Async(uint64_t d, unsigned char b, size_t n, void *) { Guard g(lock); return memset((void *)d, b, n), 0; }
DRIVER cuModuleLoadData(void **m, const void *) { return *m = (void *)2, 0; }
DRIVER cuModuleGetFunction(void **f, void *, const char *name) {
    auto i = kernels().find(name);
    return i == kernels().end() ? 500 : (*f = &i->second, 0);
}
DRIVER cuFuncSetAttribute(void *f, int a, int v) {
    int room = 0;
    cuDeviceGetAttribute(&room, 97, 0);
    if (a != 8 || v > room) return 1;
    return ((Kernel *)f)->shared = v, 0;
}
// resident is how many blocks the multiprocessors hold at the same time: with 64 registers a thread, and beside each block's
// shared memory a kilobyte of the system's.
static uint64_t resident(int threads, size_t shared) {
    int room = 0;
    cuDeviceGetAttribute(&room, 97, 0);
    return asked("cores", 8) * std::min<uint64_t>(Most / threads, (room + 1024) / (shared + 1024));
}
static int queue(void *f, dim3 g, int n, unsigned shared, void **args, Beside how) {
    Guard guard(lock);
    Kernel &k = *(Kernel *)f;
    if (const uint64_t total = (uint64_t)g.x * g.y * g.z; how.cooperative && n > 0 && n <= Most) {
        const long long room = resident(n, shared);
        if (total > room) return snprintf(message, sizeof message, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE: kernel %s: %llu blocks of %d threads, the card holds %lld", k.name, (long long)total, n, room), 720;
        if (total * n > MostTogether) return snprintf(message, sizeof message, "kernel %s: %llu threads at the same time, %d are emulated: ask for fewer cores", k.name, (long long)total * n, MostTogether), 1;
    }
    Graph *graph = capturing[pthread_self()];
    if (!graph) return launch(k, g, n, shared, args, how);
    Launch l = {&k, g, n, shared, {}, how};
    for (size_t i = 0; i < k.sizes.size(); i++) {
        std::vector<uint64_t> copy((k.sizes[i] + 7) / 8);
        memcpy(copy.data(), args[i], k.sizes[i]);
        l.args.push_back(copy);
    }
    graph->push_back(l);
    return 0;
}
DRIVER cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *, void **args, void **) {
    return queue(f, {gx, gy, gz}, bx * by * bz, shared, args, {});
}
struct LaunchAttribute {  // CUlaunchAttribute
    unsigned id, pad, value[16];
};
struct LaunchConfig {  // CUlaunchConfig
    unsigned gx, gy, gz, bx, by, bz, shared;
    void *stream;
    LaunchAttribute *attributes;
    unsigned count;
};
DRIVER cuLaunchKernelEx(const LaunchConfig *c, void *f, void **args, void **) {
    Beside how = {};
    for (unsigned i = 0; i < c->count; i++) {
        const LaunchAttribute &a = c->attributes[i];
        if (a.id == 2) how.cooperative = a.value[0];
        else if (a.id == 6) how.programmatic = a.value[0];
        else return snprintf(message, sizeof message, "attribute %u of a launch is not emulated", a.id), 1;
    }
    return queue(f, {c->gx, c->gy, c->gz}, c->bx * c->by * c->bz, c->shared, args, how);
}
DRIVER cuTensorMapEncodeTiled(TensorMap *to, int type, unsigned rank, uint64_t base, const uint64_t *dims, const uint64_t *strides, const unsigned *box,
                              const unsigned *steps, int interleave, int swizzle, int, int nan) {
    const char *wrong = nullptr;
    if (type != 9 || rank != 2 || interleave || nan || swizzle != 0 && swizzle != 3) wrong = "of this kind is not emulated";
    else if ((uint64_t)to & 63 || base & 15 || strides[0] & 15) wrong = "at an odd address";
    else if (strides[0] < dims[0] * 2 || steps[0] != 1 || steps[1] != 1) wrong = "has wrong strides";
    else if (!box[0] || !box[1] || box[0] > 256 || box[1] > 256 || box[0] * 2 & 15 || swizzle && box[0] > 64) wrong = "has a wrong box";
    else if (!dims[0] || !dims[1]) wrong = "is empty";
    if (wrong) return snprintf(message, sizeof message, "a matrix [%llu, %llu] in tiles %s", (long long)dims[1], (long long)dims[0], wrong), 1;
    Map m = {MapMagic, base, dims[0], dims[1], strides[0], box[0], box[1], (uint32_t)swizzle};
    memset(to, 0, sizeof *to);
    memcpy(to, &m, sizeof m);
    return 0;
}
DRIVER cuStreamCreate(void **s, unsigned) { return *s = (void *)3, 0; }
DRIVER cuStreamDestroy_v2(void *) { return 0; }
DRIVER cuStreamSynchronize(void *) { return 0; }
DRIVER cuStreamQuery(void *) { return 0; }
DRIVER cuStreamWaitEvent(void *, void *, unsigned) { return 0; }
// An event is the time at which the host came to it: whatever was queued before is done then.
typedef std::chrono::steady_clock::time_point Event;
DRIVER cuEventCreate(void **e, unsigned) { return *e = new Event, 0; }
DRIVER cuEventRecord(void *e, void *) { return *(Event *)e = std::chrono::steady_clock::now(), 0; }
DRIVER cuEventQuery(void *) { return 0; }
DRIVER cuEventSynchronize(void *) { return 0; }
DRIVER cuEventElapsedTime(float *ms, void *a, void *b) {
    return *ms = std::chrono::duration<float, std::milli>(*(Event *)b - *(Event *)a).count(), 0;
}
DRIVER cuEventDestroy_v2(void *e) { return delete (Event *)e, 0; }
DRIVER cuStreamBeginCapture_v2(void *, int) { Guard g(lock); return capturing[pthread_self()] = new Graph, 0; }
DRIVER cuStreamEndCapture(void *, void **graph) { Guard g(lock); return *graph = capturing[pthread_self()], capturing.erase(pthread_self()), 0; }
DRIVER cuGraphInstantiateWithFlags(void **e, void *graph, uint64_t) { return *e = new Graph(*(Graph *)graph), 0; }
DRIVER cuGraphDestroy(void *graph) { return delete (Graph *)graph, 0; }
DRIVER cuGraphLaunch(void *e, void *) {
    Guard g(lock);
    for (Launch &l : *(Graph *)e)
        if (int c = l.run()) return c;
    return 0;
}
DRIVER cuGraphExecDestroy(void *e) { return delete (Graph *)e, 0; }
