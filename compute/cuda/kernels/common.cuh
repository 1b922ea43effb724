// What all kernels share: types, reads and writes that widen to float, sums over a warp or a block.
#pragma once

#ifdef __CUDACC_RTC__
using uint8_t = unsigned char;
using uint32_t = unsigned;
using uint64_t = unsigned long long;
using int64_t = long long;
using uintptr_t = unsigned long;
#else
#include <stdint.h>
#endif
#include <cuda_bf16.h>
#include <cuda_fp16.h>

using bf16 = __nv_bfloat16;

// SHARED_ARRAY declares the shared memory whose size a launch tells.
#ifndef SHARED_ARRAY
#define SHARED_ARRAY(T, name, align) extern __shared__ __align__(align) T name[]
#endif

#ifndef INFINITY
#define INFINITY __int_as_float(0x7F800000)
#endif

// Numbers of the element types, the same in Go.
enum Type { F32 = 0, F16 = 1, BF16 = 2 };

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ float widen(bf16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float widen(__half v) { return __half2float(v); }
__device__ __forceinline__ void round_to(float *p, float v) { *p = v; }
__device__ __forceinline__ void round_to(bf16 *p, float v) { *p = __float2bfloat16_rn(v); }
__device__ __forceinline__ void round_to(__half *p, float v) { *p = __float2half_rn(v); }

// at reads element i of an array whose type is known at run time.
__device__ __forceinline__ float at(const void *p, int type, int64_t i) {
    if (type == BF16) return widen(((const bf16 *)p)[i]);
    if (type == F16) return widen(((const __half *)p)[i]);
    return ((const float *)p)[i];
}

__device__ __forceinline__ uint32_t pack2(float a, float b) {
    __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
    return *(uint32_t *)&v;
}
__device__ __forceinline__ float low(uint32_t v) { return __uint_as_float(v << 16); }
__device__ __forceinline__ float high(uint32_t v) { return __uint_as_float(v & 0xFFFF0000u); }

// turned1 and turned2 are the first and the second of a pair behind a rotation: of one form, so that all kernels give the same bits.
__device__ __forceinline__ float turned1(float a, float b, float cos, float sin) { return fmaf(a, cos, -__fmul_rn(b, sin)); }
__device__ __forceinline__ float turned2(float a, float b, float cos, float sin) { return fmaf(a, sin, __fmul_rn(b, cos)); }

// widen8 and round8 are 8 numbers of bf16, and back.
__device__ __forceinline__ void widen8(float (&v)[8], uint4 q) {
    v[0] = low(q.x), v[1] = high(q.x), v[2] = low(q.y), v[3] = high(q.y), v[4] = low(q.z), v[5] = high(q.z), v[6] = low(q.w), v[7] = high(q.w);
}
__device__ __forceinline__ uint4 round8(const float (&v)[8]) { return make_uint4(pack2(v[0], v[1]), pack2(v[2], v[3]), pack2(v[4], v[5]), pack2(v[6], v[7])); }

// get8 reads elements i to i+7, i a multiple of 8, of an array of n at a multiple of 16 bytes. Beyond n it gives zeros.
__device__ __forceinline__ void get8(float (&v)[8], const bf16 *p, int64_t i, int64_t n) {
    if (i + 8 <= n) {
        uint4 q = *(const uint4 *)(p + i);
        v[0] = low(q.x), v[1] = high(q.x), v[2] = low(q.y), v[3] = high(q.y);
        v[4] = low(q.z), v[5] = high(q.z), v[6] = low(q.w), v[7] = high(q.w);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = i + k < n ? widen(p[i + k]) : 0;
}
__device__ __forceinline__ void get8(float (&v)[8], const float *p, int64_t i, int64_t n) {
    if (i + 8 <= n) {
        float4 a = *(const float4 *)(p + i), b = *(const float4 *)(p + i + 4);
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = i + k < n ? p[i + k] : 0;
}
__device__ __forceinline__ void get8(float (&v)[8], const __half *p, int64_t i, int64_t n) {
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = i + k < n ? widen(p[i + k]) : 0;
}
// get8 of an array whose type is known at run time.
__device__ __forceinline__ void get8(float (&v)[8], const void *p, int type, int64_t i, int64_t n) {
    if (type == BF16) return get8(v, (const bf16 *)p, i, n);
    if (type == F16) return get8(v, (const __half *)p, i, n);
    get8(v, (const float *)p, i, n);
}
__device__ __forceinline__ void put8(bf16 *p, const float (&v)[8], int64_t i, int64_t n) {
    if (i + 8 <= n) {
        *(uint4 *)(p + i) = make_uint4(pack2(v[0], v[1]), pack2(v[2], v[3]), pack2(v[4], v[5]), pack2(v[6], v[7]));
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) if (i + k < n) round_to(p + i + k, v[k]);
}
__device__ __forceinline__ void put8(float *p, const float (&v)[8], int64_t i, int64_t n) {
    if (i + 8 <= n) {
        *(float4 *)(p + i) = make_float4(v[0], v[1], v[2], v[3]);
        *(float4 *)(p + i + 4) = make_float4(v[4], v[5], v[6], v[7]);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) if (i + k < n) p[i + k] = v[k];
}

// load8 reads 8 elements at a multiple of 16 bytes.
__device__ __forceinline__ void load8(float (&v)[8], const float *p) {
    float4 a = *(const float4 *)p, b = *(const float4 *)(p + 4);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
__device__ __forceinline__ void load8(float (&v)[8], const bf16 *p) {
    uint4 q = *(const uint4 *)p;
    v[0] = low(q.x), v[1] = high(q.x), v[2] = low(q.y), v[3] = high(q.y);
    v[4] = low(q.z), v[5] = high(q.z), v[6] = low(q.w), v[7] = high(q.w);
}
__device__ __forceinline__ void load8(float (&v)[8], const __half *p) {
    uint4 q = *(const uint4 *)p;
    float2 a = __half22float2(*(__half2 *)&q.x), b = __half22float2(*(__half2 *)&q.y), c = __half22float2(*(__half2 *)&q.z), d = __half22float2(*(__half2 *)&q.w);
    v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y, v[4] = c.x, v[5] = c.y, v[6] = d.x, v[7] = d.y;
}

// two reads neighbours at a multiple of their size.
__device__ __forceinline__ float2 two(const float *p) { return *(const float2 *)p; }
__device__ __forceinline__ float2 two(const __half *p) { return __half22float2(*(const __half2 *)p); }
__device__ __forceinline__ float2 two(const bf16 *p) {
    uint32_t v = *(const uint32_t *)p;
    return make_float2(low(v), high(v));
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v += __shfl_xor_sync(~0u, v, m);
    return v;
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, m));
    return v;
}

// row_sum adds v over the N threads that share a row: a warp, or the whole block of N. The order is fixed.
template <int N> __device__ __forceinline__ float row_sum(float v) {
    v = warp_sum(v);
    if (N == 32) return v;
    __shared__ float part[33];
    __syncthreads();
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    float s = 0;
#pragma unroll
    for (int i = 0; i < N / 32; i++) s += part[i];
    return s;
}
template <int N> __device__ __forceinline__ float row_max(float v) {
    v = warp_max(v);
    if (N == 32) return v;
    __shared__ float part[33];
    __syncthreads();
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    float s = part[0];
#pragma unroll
    for (int i = 1; i < N / 32; i++) s = fmaxf(s, part[i]);
    return s;
}

#include "ptx.cuh"
