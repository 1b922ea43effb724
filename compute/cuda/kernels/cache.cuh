// Caches of affine integers: rounding of rows, and rows widened again for attention.
#include "weights.cuh"

namespace {
__device__ __forceinline__ bool is_finite(float v) { return v - v == 0; }

// put_float writes element i of an array whose type is known at run time.
__device__ __forceinline__ void put_float(void *p, int type, int64_t i, float v) {
    if (type == BF16) round_to((bf16 *)p + i, v); else if (type == F16) round_to((__half *)p + i, v); else ((float *)p)[i] = v;
}
// held is what a number is in that type, and put_nan a NaN as Go writes it.
__device__ __forceinline__ float held(int type, float v) {
    if (type == BF16) return widen(__float2bfloat16_rn(v));
    return type == F16 ? widen(__float2half_rn(v)) : v;
}
__device__ __forceinline__ void put_nan(void *p, int type, int64_t i) {
    if (type == F32) ((uint32_t *)p)[i] = 0x7FC00000; else ((unsigned short *)p)[i] = type == BF16 ? 0x7FC0 : 0x7E00;
}

// quantize is quant.Matrix.PutRow's rule for one group g: see quantizeGroup in quant/affine.go.
template <class X> __device__ __forceinline__ void quantize(uint32_t *data, void *scales, void *biases, int type, int bits, int group, const X *x, int64_t g) {
    const float levels = (float)((1 << bits) - 1);
    float lo = widen(x[0]), hi = lo;
    bool whole = true;
    for (int i = 0; i < group; i++) {
        float v = widen(x[i]);
        whole &= is_finite(v);
        if (v < lo) lo = v;
        if (v > hi) hi = v;
    }
    float scale = fmaxf((hi - lo) / levels, 1e-7f), edge = lo, bias = 0;
    if (fabsf(lo) <= fabsf(hi)) scale = -scale, edge = hi;
    float q0 = rintf(edge / scale);
    if (q0 != 0) scale = edge / q0, bias = edge;
    if (!whole || !is_finite(scale) || !is_finite(held(type, scale)) || !is_finite(held(type, bias))) {
        put_nan(scales, type, g), put_nan(biases, type, g);
        return;
    }
    put_float(scales, type, g, scale), put_float(biases, type, g, bias);
    data += g * (group * bits / 32);
    uint64_t acc = 0;
    int have = 0;
    for (int i = 0; i < group; i++) {
        float q = (widen(x[i]) - bias) / scale;
        q = q < 0 ? 0 : q > levels ? levels : q;
        acc |= (uint64_t)(uint32_t)rintf(q) << have;
        if ((have += bits) >= 32) *data++ = (uint32_t)acc, acc >>= 32, have -= 32;
    }
}
}  // namespace

// quantize_rows: a group a thread. quantize_span writes the rows of a span into its cache, one row of x a block.
#define K_QUANTIZE(s, X)                                                                                                                                               \
    extern "C" __global__ void quantize_rows_##s(uint32_t *data, void *scales, void *biases, const X *x, int64_t groups, int type, int bits, int group) {              \
        int64_t g = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;                                                                                                    \
        if (g < groups) quantize(data, scales, biases, type, bits, group, x + g * group, g);                                                                            \
    }                                                                                                                                                                  \
    extern "C" __global__ void quantize_span_##s(uint32_t *bad, uint32_t *data, void *scales, void *biases, const X *x, const int *span, int cols, int room, int type, int bits, int group) { \
        int t = blockIdx.x, from = span[0], to = span[1], at = span[2];                                                                                                \
        if (t < from || t >= to) return;                                                                                                                               \
        int64_t row = (int64_t)at + t - from;                                                                                                                          \
        if (row < 0 || row >= room) {                                                                                                                                  \
            if (threadIdx.x == 0) *bad = 1;                                                                                                                            \
            return;                                                                                                                                                    \
        }                                                                                                                                                              \
        for (int i = threadIdx.x; i < cols / group; i += blockDim.x) quantize(data, scales, biases, type, bits, group, x + (int64_t)t * cols + (int64_t)i * group, row * (cols / group) + i); \
    }
EACH_TYPE(K_QUANTIZE)
extern "C" __global__ void quantize_rows_h(uint32_t *data, void *scales, void *biases, const __half *x, int64_t groups, int type, int bits, int group) {
    int64_t g = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (g < groups) quantize(data, scales, biases, type, bits, group, x + g * group, g);
}

// widen_span writes the rows of a cache that are in use as Y [room, cols], one row a block.
#define K_WIDEN_SPAN(s, Y)                                                                                                                                             \
    extern "C" __global__ void widen_span_##s(Y *y, const uint8_t *data, const void *scales, const void *biases, const int *span, int type, int bits, int group, int cols) { \
        int64_t row = blockIdx.x;                                                                                                                                      \
        if (row >= span[3]) return;                                                                                                                                    \
        Raw w = {data, scales, biases, Affine, type, bits, group, cols};                                                                                               \
        for (int k = threadIdx.x; k < cols; k += blockDim.x) round_to(y + row * cols + k, weight_at(w, row, k));                                                        \
    }
EACH_TYPE(K_WIDEN_SPAN)
