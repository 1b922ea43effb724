// Metal for g++, as far as the kernels in ../metal need it: the threads of a group are fibers, which take turns where
// they wait for each other. Groups run one after another.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define device
#define constant const
#define threadgroup static

struct uint3 { unsigned x, y, z; };
enum class mem_flags { mem_threadgroup };

struct bfloat16_t {
    uint16_t bits;
    bfloat16_t() = default;
    explicit bfloat16_t(float f) {
        uint32_t u;
        memcpy(&u, &f, 4);
        bits = f != f ? 0x7fc0 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
    }
    operator float() const {
        uint32_t u = (uint32_t)bits << 16;
        float f;
        memcpy(&f, &u, 4);
        return f;
    }
};
typedef _Float16 float16_t;

namespace precise {
inline float exp(float x) { return expf(x); }
inline float log(float x) { return logf(x); }
inline float tanh(float x) { return tanhf(x); }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
}
template <class T> T max(T a, T b) { return a > b ? a : b; }
template <class T> T min(T a, T b) { return a < b ? a : b; }

// A fiber is a stack and what it waits for. switch_to saves the registers that a function keeps and takes the other's.
extern "C" void switch_to(void **from, void *to);
asm(R"(
switch_to:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");

constexpr int Most = 256, Lanes = 32;
constexpr size_t Stack = 64 << 10;
static struct Fiber { void *stack; bool done; int rounds; } fibers[Most];
static void *scheduler;
static int count, me;
static uint3 thread_position_in_threadgroup, threadgroup_position_in_grid, thread_position_in_grid;
static void (*run)();

// Values that threads of 32 give each other, of two rounds in turn: one is read while the next is written.
static float given[2][Most];
static void pause() { switch_to(&fibers[me].stack, scheduler); }

static void begin() {
    run();
    fibers[me].done = true;
    pause();
    abort();
}

// meet waits until the threads [from, to) have come to the same place.
static void meet(int from, int to) {
    int mine = ++fibers[me].rounds;
    for (;;) {
        bool all = true;
        for (int i = from; i < to; i++) all = all && fibers[i].rounds >= mine;
        if (all) return;
        pause();
    }
}

static void place() {
    unsigned t = me;
    thread_position_in_threadgroup = {t, 0, 0};
    thread_position_in_grid = {threadgroup_position_in_grid.x * count + t, threadgroup_position_in_grid.y, threadgroup_position_in_grid.z};
}

static void threadgroup_barrier(mem_flags) { meet(0, count); }

template <class F> static float across(float v, F f) {
    int first = me / Lanes * Lanes, round = fibers[me].rounds & 1;
    given[round][me] = v;
    meet(first, first + Lanes);
    float r = given[round][first];
    for (int i = 1; i < Lanes; i++) r = f(r, given[round][first + i]);
    return r;
}
static float simd_sum(float v) { return across(v, [](float a, float b) { return a + b; }); }
static float simd_max(float v) { return across(v, [](float a, float b) { return a > b ? a : b; }); }

// groups runs a kernel.
static void groups(void (*kernel)(), int threads, const int *grid) {
    static uint8_t *stacks = (uint8_t *)malloc(Most * Stack);
    count = threads, run = kernel;
    for (int z = 0; z < grid[2]; z++)
        for (int y = 0; y < grid[1]; y++)
            for (int x = 0; x < grid[0]; x++) {
                threadgroup_position_in_grid = {(unsigned)x, (unsigned)y, (unsigned)z};
                for (int i = 0; i < count; i++) {
                    void **top = (void **)((uintptr_t)(stacks + (i + 1) * Stack) & ~(uintptr_t)15) - 1;
                    *--top = (void *)begin;
                    for (int k = 0; k < 6; k++) *--top = nullptr;
                    fibers[i] = {top, false, 0};
                }
                for (int left = count, idle = 0; left;) {
                    left = 0;
                    for (me = 0; me < count; me++) {
                        if (fibers[me].done) continue;
                        left++;
                        place();
                        switch_to(&scheduler, fibers[me].stack);
                    }
                    if (++idle > 1 << 24) fprintf(stderr, "threads wait for each other\n"), abort();
                }
            }
}
