// Updates of parameters, float32.
#include "common.cuh"

// adam is compute.Adam; rate holds LR and the number of the update, 0 for one that must not happen.
extern "C" __global__ void __launch_bounds__(256) adam(float *p2, float *m2, float *v2, const float *p, const float *g, const float *m, const float *v, const float *rate, int64_t n,
                                                       float eps, float decay, float b1, float a1, float b2, float a2, double beta1, double beta2, int correct) {
    __shared__ float factors[2];
    if (threadIdx.x == 0) {
        double step = rate[1];
        factors[0] = correct ? (float)(rate[0] / (1 - pow(beta1, step))) : rate[0];
        factors[1] = correct ? (float)(1 / sqrt(1 - pow(beta2, step))) : 1;
    }
    __syncthreads();
    int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    if (rate[1] == 0) {
        p2[i] = p[i], m2[i] = m[i], v2[i] = v[i];
        return;
    }
    float keep = 1 - rate[0] * decay, lr = factors[0], root = factors[1];
    float gi = g[i], mi = b1 * m[i] + a1 * gi, vi = b2 * v[i] + a2 * (gi * gi);
    m2[i] = mi, v2[i] = vi;
    p2[i] = p[i] * keep - lr * mi / (sqrtf(vi) * root + eps);
}

// guard makes the number of an update 0 where a loss is NaN or infinite. One block.
extern "C" __global__ void __launch_bounds__(256) guard(float *out, const float *rate, const float *x, int64_t n) {
    int wrong = 0;
    for (int64_t i = threadIdx.x; i < n; i += 256) wrong |= !(fabsf(x[i]) < INFINITY);
    wrong = __syncthreads_or(wrong);
    if (threadIdx.x) return;
    float lr = rate[0], step = rate[1];
    out[0] = lr, out[1] = wrong ? 0 : step;
}

// sum_squares in two launches: partial sums of 256 blocks, then one block over these.
template <class X> __device__ __forceinline__ void squares(double *part, const X *x, int64_t n) {
    double s = 0;
    for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < n; i += (int64_t)gridDim.x * 256) {
        double v = widen(x[i]);
        s += v * v;
    }
    __shared__ double all[256];
    all[threadIdx.x] = s;
    for (int m = 128; m; m >>= 1) {
        __syncthreads();
        if (threadIdx.x < m) all[threadIdx.x] += all[threadIdx.x + m];
    }
    if (threadIdx.x == 0) part[blockIdx.x] = all[0];
}
#define K_SQUARES(s, X) \
    extern "C" __global__ void __launch_bounds__(256) squares_##s(double *part, const X *x, int64_t n) { squares(part, x, n); }
EACH_TYPE(K_SQUARES)

extern "C" __global__ void __launch_bounds__(256) sum_parts(float *y, const double *part, int n, int accumulate) {
    __shared__ double all[256];
    all[threadIdx.x] = threadIdx.x < n ? part[threadIdx.x] : 0;
    for (int m = 128; m; m >>= 1) {
        __syncthreads();
        if (threadIdx.x < m) all[threadIdx.x] += all[threadIdx.x + m];
    }
    if (threadIdx.x == 0) *y = (float)(all[0] + (accumulate ? (double)*y : 0));
}
