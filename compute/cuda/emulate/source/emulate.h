// CUDA C++ for g++: each thread of a block is a fiber, the blocks of a grid run one after another; those of a cooperative
// launch take turns, each as far as a barrier of the grid. Kernels are compiled as they are; what they ask of a card is here.
// A thread runs until it needs others (a barrier, a shuffle, a product of matrices), which is as far ahead of its neighbours
// as a card could ever let it run.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>

#ifdef EMULATE_LIST  // the preprocessor's output names the kernels
#define __global__ @kernel
#define __launch_bounds__(...) @bounds(__VA_ARGS__)
#else
#define __global__
#define __launch_bounds__(...)
#endif
#define __CUDA_ARCH_FEAT_SM90_ALL  // kernels of Hopper are built too; other cards refuse what they do
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
// One thread of the host runs all of a grid: what belongs to it lies together, so that it can be copied when blocks take turns.
#define __shared__ static thread_local
#define SHARED_ARRAY(T, name, align) T *name = (T *)emulate::dynamic

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) int4 { int x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emulate {
constexpr int Room = 256 << 10;  // dynamic shared memory
extern uint8_t dynamic[Room];

struct Copy {  // of 16 bytes to shared memory, which is made when it is waited for
    void *to;
    const void *from;
    bool ok;
    int group;
};

struct Thread {
    uint3 index;
    void *stack;  // where it left off
    void *box;    // what it brings to the others of its warp
    Copy *copies;
    int first, last, held, group;  // copies that are not made yet
    bool waited;                   // for earlier kernels
    const uint32_t *gate;          // of the grid's barrier at which it waits, for the number want
    uint32_t want;
    int mail;                      // it waits for so many words at gate instead, of which none has all bits
};
extern Thread *me;
extern uint3 block;
extern dim3 blocks, threads;

// meet waits for all threads of the warp; the last one runs op over what they have brought.
void meet(void *box, const char *what, void (*op)(void **boxes));
// barrier waits for n threads, or with 0 for all that are left; the result is the "or" of what they have brought. Without
// wait a thread only counts.
int barrier(int id, int n, int value);
void wait_earlier();
// wait_gate waits until blocks of a cooperative launch have counted a word up to want.
void wait_gate(const uint32_t *gate, uint32_t want);
// wait_mail waits until blocks of a cooperative launch have written n words.
void wait_mail(const uint32_t *words, int n);
[[noreturn]] void fail(const char *format, ...);
void start_copy(void *to, const void *from, bool ok);
void end_group();
void wait_groups(int most);

// shared and address turn a place in shared memory into its number of 32 bits, and back.
uint32_t shared(const void *p);
uint8_t *address(uint32_t at, int bytes);

template <class T> struct Swap {
    T value, got;
    int from;
    static void run(void **boxes) {
        for (int i = 0; i < 32; i++) {
            Swap *s = (Swap *)boxes[i];
            s->got = ((Swap *)boxes[s->from & 31])->value;
        }
    }
};
template <class T> inline T swap(T v, int from, const char *what) {
    Swap<T> s = {v, v, from};
    meet(&s, what, Swap<T>::run);
    return s.got;
}
inline int lane() { return me->index.x & 31; }
}  // namespace emulate

#define threadIdx (emulate::me->index)
#define blockIdx (emulate::block)
#define gridDim (emulate::blocks)
#define blockDim (emulate::threads)

inline void __syncthreads() { emulate::barrier(0, 0, 0); }
inline int __syncthreads_or(int v) { return emulate::barrier(0, 0, v != 0); }
template <class T> inline T __shfl_xor_sync(unsigned, T v, int m) { return emulate::swap(v, emulate::lane() ^ m, "shfl_xor"); }
template <class T> inline T __shfl_sync(unsigned, T v, int from) { return emulate::swap(v, from, "shfl"); }
template <class T> inline T __shfl_up_sync(unsigned, T v, unsigned n) {
    return emulate::swap(v, emulate::lane() >= (int)n ? emulate::lane() - n : emulate::lane(), "shfl_up");
}
template <class T> inline T __shfl_down_sync(unsigned, T v, unsigned n) {
    return emulate::swap(v, emulate::lane() + n < 32 ? emulate::lane() + n : emulate::lane(), "shfl_down");
}
inline unsigned __ballot_sync(unsigned, int v) {
    struct Vote {
        int v;
        unsigned all;
        static void run(void **boxes) {
            unsigned all = 0;
            for (int i = 0; i < 32; i++) all |= (unsigned)(((Vote *)boxes[i])->v != 0) << i;
            for (int i = 0; i < 32; i++) ((Vote *)boxes[i])->all = all;
        }
    } vote = {v, 0};
    emulate::meet(&vote, "ballot", Vote::run);
    return vote.all;
}
inline void __syncwarp(unsigned = ~0u) { __ballot_sync(~0u, 0); }
inline void __threadfence() {}
template <class T> inline T atomicAdd(T *p, T v) { T old = *p; *p += v; return old; }
inline unsigned atomicAdd(unsigned *p, int v) { unsigned old = *p; *p += v; return old; }
template <class T> inline T atomicMax(T *p, T v) { T old = *p; if (v > old) *p = v; return old; }
inline uintptr_t __cvta_generic_to_shared(const void *p) { return emulate::shared(p); }

template <class T> inline T __ldg(const T *p) { return *p; }
template <class T> inline T __ldcs(const T *p) { return *p; }
template <class T> inline T __ldcg(const T *p) { return *p; }

template <class To, class From> inline To emulate_bits(From v) {
    To to;
    static_assert(sizeof(To) == sizeof(From));
    memcpy(&to, &v, sizeof to);
    return to;
}
inline float __uint_as_float(unsigned v) { return emulate_bits<float>(v); }
inline float __int_as_float(int v) { return emulate_bits<float>(v); }
inline unsigned __float_as_uint(float v) { return emulate_bits<unsigned>(v); }
inline int __float_as_int(float v) { return emulate_bits<int>(v); }
inline float __expf(float v) { return expf(v); }
inline float __logf(float v) { return logf(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float v) { return 1 / sqrtf(v); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
// Products and sums that the compiler must not join.
__attribute__((noinline, optimize("fp-contract=off"))) float __fmul_rn(float a, float b);
__attribute__((noinline, optimize("fp-contract=off"))) float __fadd_rn(float a, float b);
__attribute__((noinline, optimize("fp-contract=off"))) float __fdiv_rn(float a, float b);
__attribute__((noinline, optimize("fp-contract=off"))) float __fsqrt_rn(float a);
__attribute__((noinline, optimize("fp-contract=off"))) double __dmul_rn(double a, double b);
__attribute__((noinline, optimize("fp-contract=off"))) double __dadd_rn(double a, double b);
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
    uint64_t all = (uint64_t)y << 32 | x;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        unsigned k = s >> (4 * i), b = (unsigned)(all >> (8 * (k & 7))) & 255;
        r |= (k & 8 ? (b & 128 ? 255u : 0u) : b) << (8 * i);
    }
    return r;
}
template <class A, class B> inline std::common_type_t<A, B> min(A a, B b) { using C = std::common_type_t<A, B>; return (C)b < (C)a ? (C)b : (C)a; }
template <class A, class B> inline std::common_type_t<A, B> max(A a, B b) { using C = std::common_type_t<A, B>; return (C)a < (C)b ? (C)b : (C)a; }

struct __nv_bfloat16 { uint16_t bits; };
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
inline float __bfloat162float(__nv_bfloat16 v) { return __uint_as_float((unsigned)v.bits << 16); }
inline __nv_bfloat16 __float2bfloat16_rn(float v) {
    unsigned u = __float_as_uint(v);
    if ((u & 0x7FFFFFFF) > 0x7F800000) return {0x7FFF};
    return {(uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16)};
}
inline __nv_bfloat16 __float2bfloat16(float v) { return __float2bfloat16_rn(v); }
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {__float2bfloat16_rn(a), __float2bfloat16_rn(b)}; }
inline __nv_bfloat162 __hadd2(__nv_bfloat162 a, __nv_bfloat162 b) {
    return __floats2bfloat162_rn(__bfloat162float(a.x) + __bfloat162float(b.x), __bfloat162float(a.y) + __bfloat162float(b.y));
}
inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c) {
    return __floats2bfloat162_rn(fmaf(__bfloat162float(a.x), __bfloat162float(b.x), __bfloat162float(c.x)),
                                 fmaf(__bfloat162float(a.y), __bfloat162float(b.y), __bfloat162float(c.y)));
}
struct __half { _Float16 v; };
struct alignas(4) __half2 { __half x, y; };
inline float __half2float(__half v) { return (float)v.v; }
inline __half __float2half_rn(float v) { return {(_Float16)v}; }
inline __half __float2half(float v) { return {(_Float16)v}; }
inline float2 __half22float2(__half2 v) { return {(float)v.x.v, (float)v.y.v}; }
inline __half __ushort_as_half(unsigned short v) { return emulate_bits<__half>(v); }
