// Cross-entropy over rows of logits, and the choice of the largest.
#include "common.cuh"

namespace {
// cross_entropy: one row a block of 512. g may be the row of logits itself.
template <class X, class G> __device__ __forceinline__ void cross_entropy(uint32_t *bad, float *loss, G *g, const X *logits, const int *targets, const float *weight, int V) {
    int64_t r = blockIdx.x;
    logits += r * V;
    int target = targets[r];
    if (target < 0 || target >= V) {
        if (threadIdx.x == 0) *bad = 1;
        return;
    }
    float top = -INFINITY, sum = 0;
    for (int v = threadIdx.x; v < V; v += 512) {
        float x = widen(logits[v]);
        if (x > top) sum *= __expf(top - x), top = x;
        sum += __expf(x - top);
    }
    float most = row_max<512>(top);
    __syncthreads();
    sum = row_sum<512>(top == -INFINITY ? 0 : sum * __expf(top - most));
    float lse = most + logf(sum), picked = widen(logits[target]);
    if (threadIdx.x == 0) loss[r] = lse - picked;
    if (!g) return;
    g += r * V;
    float w = weight[r];
    __syncthreads();  // the target's logit has been read
    for (int v = threadIdx.x; v < V; v += 512) {
        float p = __expf(widen(logits[v]) - lse);
        round_to(g + v, w * (v == target ? p - 1 : p));
    }
}
}  // namespace

#define K_CE(s, X, G) \
    extern "C" __global__ void __launch_bounds__(512) cross_entropy_##s(uint32_t *bad, float *loss, G *g, const X *logits, const int *targets, const float *weight, int V) { cross_entropy(bad, loss, g, logits, targets, weight, V); }
K_CE(ff, float, float) K_CE(fb, float, bf16) K_CE(bb, bf16, bf16)

// exp_fast is __expf, but for results below the normal numbers, which are zero: half the instructions.
__device__ __forceinline__ float exp_fast(float v) { return exp2_fast(1.44269504f * v); }

// cross_entropy_held is cross_entropy of float32 logits with a gradient in bf16, V a multiple of 4, by blocks of 1024 that read most
// of a row once: its first part stays in registers, the next, of `room` times four, in shared memory. What is left is read last,
// and again first, so that it comes from the card's cache.
extern "C" __global__ void __launch_bounds__(1024, 1) cross_entropy_held(uint32_t *bad, float *loss, bf16 *g, const float *logits, const int *targets, const float *weight, int V, int room) {
    constexpr int Fours = 8, First = Fours * 1024;
    SHARED_ARRAY(uint8_t, shared, 16);
    float4 *kept = (float4 *)shared;
    const int64_t r = blockIdx.x;
    const float4 *row = (const float4 *)(logits + r * V);
    const int t = threadIdx.x, n = V / 4, second = min(n, First + room), target = targets[r];
    if (target < 0 || target >= V) {
        if (t == 0) *bad = 1;
        return;
    }
    float top = -INFINITY, sum = 0;
    auto add = [&](float4 f) {
        const float most = fmaxf(fmaxf(f.x, f.y), fmaxf(f.z, f.w));
        if (most > top) sum = top == -INFINITY ? 0 : sum * exp_fast(top - most), top = most;
        sum += exp_fast(f.x - top) + exp_fast(f.y - top) + (exp_fast(f.z - top) + exp_fast(f.w - top));
    };
    float4 held[Fours];
#pragma unroll
    for (int k = 0; k < Fours; k++) if (t + 1024 * k < n) held[k] = __ldcs(row + t + 1024 * k);
#pragma unroll
    for (int k = 0; k < Fours; k++) if (t + 1024 * k < n) add(held[k]);
#pragma unroll 4
    for (int i = First + t; i < second; i += 1024) kept[i - First] = __ldcs(row + i);
    for (int i = First + t; i < second; i += 1024) add(kept[i - First]);  // its own
#pragma unroll 4
    for (int i = second + t; i < n; i += 1024) add(row[i]);
    const float most = row_max<1024>(top);
    __syncthreads();
    sum = row_sum<1024>(top == -INFINITY ? 0 : sum * exp_fast(top - most));
    const float lse = most + logf(sum), w = weight[r];
    if (t == 0) loss[r] = lse - logits[r * V + target];
    auto put = [&](int i, float4 f) {
        float p[4] = {exp_fast(f.x - lse), exp_fast(f.y - lse), exp_fast(f.z - lse), exp_fast(f.w - lse)};
        if (i == target >> 2) {
#pragma unroll
            for (int k = 0; k < 4; k++) if (k == (target & 3)) p[k] -= 1;
        }
        *(uint2 *)(g + r * V + 4 * (int64_t)i) = make_uint2(pack2(w * p[0], w * p[1]), pack2(w * p[2], w * p[3]));
    };
#pragma unroll 4
    for (int i = second + t; i < n; i += 1024) put(i, row[i]);
#pragma unroll 4
    for (int i = First + t; i < second; i += 1024) put(i, kept[i - First]);
#pragma unroll
    for (int k = 0; k < Fours; k++) if (t + 1024 * k < n) put(t + 1024 * k, held[k]);
}

namespace {
// argmax: the first of the largest. A row (blockIdx.y) with a value that is NaN or infinite gives -1 - its index. A block of
// 512 takes a part of the row; what it finds goes to parts [rows, 3, gridDim.x], of which the last block of the row to finish
// takes the best. counts are zeros before and after.
template <class X> __device__ __forceinline__ void argmax(int *y, const X *x, int n, int *parts, uint32_t *counts) {
    __shared__ float tops[512];
    __shared__ int ats[512], wrongs[512];
    __shared__ bool last;
    launch_dependents();
    wait_for_earlier();
    const int none = 0x7FFFFFFF, row = blockIdx.y, share = (n + gridDim.x - 1) / gridDim.x, from = blockIdx.x * share, to = min(n, from + share);
    x += (int64_t)row * n, parts += (int64_t)row * 3 * gridDim.x;
    auto best = [&](float top, int at, int wrong) {
        tops[threadIdx.x] = top, ats[threadIdx.x] = at, wrongs[threadIdx.x] = wrong;
        for (int m = 256; m; m >>= 1) {
            __syncthreads();
            if (threadIdx.x >= m) continue;
            float v = tops[threadIdx.x + m];
            int i = ats[threadIdx.x + m];
            if (v > tops[threadIdx.x] || (v == tops[threadIdx.x] && i < ats[threadIdx.x])) tops[threadIdx.x] = v, ats[threadIdx.x] = i;
            wrongs[threadIdx.x] = min(wrongs[threadIdx.x], wrongs[threadIdx.x + m]);
        }
    };
    float top = -INFINITY;
    int at = none, wrong = none;
#pragma unroll 4
    for (int i = from + threadIdx.x; i < to; i += 512) {
        float v = widen(x[i]);
        if (!(fabsf(v) < INFINITY)) wrong = min(wrong, i);
        if (v > top) top = v, at = i;
    }
    best(top, at, wrong);
    if (gridDim.x > 1) {
        if (threadIdx.x == 0) {
            parts[blockIdx.x] = __float_as_int(tops[0]), parts[gridDim.x + blockIdx.x] = ats[0], parts[2 * gridDim.x + blockIdx.x] = wrongs[0];
            __threadfence();
            last = atomicAdd(counts + row, 1) == gridDim.x - 1;
        }
        __syncthreads();
        if (!last) return;
        __threadfence();
        const bool own = threadIdx.x < gridDim.x;
        best(own ? __int_as_float(__ldcg(parts + threadIdx.x)) : -INFINITY, own ? __ldcg(parts + gridDim.x + threadIdx.x) : none, own ? __ldcg(parts + 2 * gridDim.x + threadIdx.x) : none);
        if (threadIdx.x == 0) counts[row] = 0;
    }
    if (threadIdx.x == 0) y[row] = wrongs[0] != none ? -1 - wrongs[0] : ats[0];
}
}  // namespace
#define K_ARGMAX(s, X) \
    extern "C" __global__ void __launch_bounds__(512) argmax_##s(int *y, const X *x, int n, int *parts, uint32_t *counts) { argmax(y, x, n, parts, counts); }
K_ARGMAX(f, float) K_ARGMAX(b, bf16) K_ARGMAX(h, __half)
