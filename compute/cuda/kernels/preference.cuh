// Losses over pairs of answers (see compute/preference.go). Sums are of float64, by one warp a segment.
#include "elements.cuh"

namespace {
__device__ __forceinline__ double warp_sum64(double v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v += __shfl_xor_sync(~0u, v, m);
    return v;
}
// span_sum adds up x[from:to] by a warp.
__device__ __forceinline__ double span_sum(const float *x, int from, int to) {
    double s = 0;
    for (int i = from + (threadIdx.x & 31); i < to; i += 32) s += x[i];
    return warp_sum64(s);
}
__device__ __forceinline__ void span_fill(float *x, int from, int to, float v) {
    for (int i = from + (threadIdx.x & 31); i < to; i += 32) x[i] = v;
}
__device__ __forceinline__ double softplus(double x) { return fmax(x, 0.0) + log1p(exp(-fabs(x))); }
__device__ __forceinline__ double sigmoid64(double x) { return 1 / (1 + exp(-x)); }

// in_order reports whether n+1 bounds rise from 0 to rows at most.
__device__ __forceinline__ bool in_order(const int *bounds, int i, int n, int rows) {
    for (int k = i; k < i + n; k++) if (bounds[k] < 0 || bounds[k] > bounds[k + 1] || bounds[k + 1] > rows) return false;
    return true;
}
}  // namespace

extern "C" __global__ void segment_sums(uint32_t *bad, float *y, const float *x, const int *bounds, int rows) {
    int s = blockIdx.x;
    if (!in_order(bounds, s, 1, rows)) {
        if (threadIdx.x == 0) *bad = 1;
        return;
    }
    double v = span_sum(x, bounds[s], bounds[s + 1]);
    if (threadIdx.x == 0) y[s] = (float)v;
}

extern "C" __global__ void dpo(uint32_t *bad, float *figures, float *dnll, const float *nll, const int *bounds, const float *reference, const float *weight, int rows, float beta) {
    int p = blockIdx.x;
    if (!in_order(bounds, 2 * p, 2, rows)) {
        if (threadIdx.x == 0) *bad = 1;
        return;
    }
    int from = bounds[2 * p], mid = bounds[2 * p + 1], to = bounds[2 * p + 2];
    double chosen = -span_sum(nll, from, mid), rejected = -span_sum(nll, mid, to);
    double chosenWas = -(double)reference[2 * p], rejectedWas = -(double)reference[2 * p + 1];
    double margin = (double)beta * ((chosen - chosenWas) - (rejected - rejectedWas));
    if (threadIdx.x == 0) {
        float *f = figures + 5 * p;
        f[0] = (float)softplus(-margin), f[1] = (float)chosen, f[2] = (float)rejected, f[3] = (float)chosenWas, f[4] = (float)rejectedWas;
    }
    float d = weight[p] * beta * (float)sigmoid64(-margin);
    span_fill(dnll, from, mid, d);
    span_fill(dnll, mid, to, -d);
}

extern "C" __global__ void orpo(uint32_t *bad, float *figures, float *dnll, const float *nll, const int *bounds, const int *answers, const float *weight, int pairs, int rows, float beta, double surest) {
    int p = blockIdx.x, c0 = answers[2 * p], r0 = answers[2 * p + 1];
    if (!in_order(bounds, 0, 2 * pairs, rows) || c0 < bounds[2 * p] || c0 > bounds[2 * p + 1] || r0 < bounds[2 * p + 1] || r0 > bounds[2 * p + 2]) {
        if (threadIdx.x == 0) *bad = 1;
        return;
    }
    int tokens = 0;  // of all chosen ones
    for (int i = 0; i < pairs; i++) tokens += bounds[2 * i + 1] - bounds[2 * i];
    const int from = bounds[2 * p], mid = bounds[2 * p + 1], to = bounds[2 * p + 2];
    const double share = (double)pairs / tokens;
    double mean[2] = {-span_sum(nll, c0, mid) / (mid - c0), -span_sum(nll, r0, to) / (to - r0)}, odds[2], slope[2];
    for (int i = 0; i < 2; i++) {
        double x = fmin(mean[i], surest), q = -expm1(x);  // 1 - p
        odds[i] = x - log(q), slope[i] = 1 / q;
    }
    double ratio = odds[0] - odds[1], nllMean = share * span_sum(nll, from, mid);
    if (threadIdx.x == 0) {
        float *f = figures + 5 * p;
        f[0] = (float)(nllMean + (double)beta * softplus(-ratio)), f[1] = (float)mean[0], f[2] = (float)mean[1], f[3] = (float)nllMean, f[4] = (float)ratio;
    }
    double d = (double)weight[p] * (double)beta * sigmoid64(-ratio);
    span_fill(dnll, from, c0, weight[p] * (float)share);
    span_fill(dnll, c0, mid, (float)((double)weight[p] * share + d * slope[0] / (mid - c0)));
    span_fill(dnll, mid, r0, 0);
    span_fill(dnll, r0, to, (float)(-d * slope[1] / (to - r0)));
}

namespace {
template <class T> __device__ __forceinline__ void scale_rows(T *y, const T *x, const float *s, int d) {
    int64_t r = blockIdx.x;
    for (int i = threadIdx.x; i < d; i += blockDim.x) round_to(y + r * d + i, s[r] * widen(x[r * d + i]));
}
}  // namespace
#define K_SCALE_ROWS(s_, T) \
    extern "C" __global__ void scale_rows_##s_(T *y, const T *x, const float *s, int d) { scale_rows(y, x, s, d); }
EACH_TYPE(K_SCALE_ROWS)
