// Updates of parameters, float32.
#include "dora.cuh"

// Updates names parameters that are updated together, in place.
constexpr int MostUpdates = 96;
struct Update {
    float *p, *m, *v;
    const float *g;
    int64_t n;
};
struct Updates {
    Update list[MostUpdates];
};

// adam is compute.Adam for several parameters, one each blockIdx.y; rate holds LR and the number of the update, 0 for one that must not
// happen. A thread has four neighbours, where they lie at multiples of 16 bytes; it asks for its first ones before its block makes the factors.
extern "C" __global__ void __launch_bounds__(256) adam(const float *rate, float eps, float decay, float b1, float a1, float b2, float a2, double beta1, double beta2, int correct, const __grid_constant__ Updates all) {
    __shared__ float factors[2];
    const Update &u = all.list[blockIdx.y];
    const bool aligned = (((uintptr_t)u.p | (uintptr_t)u.m | (uintptr_t)u.v | (uintptr_t)u.g) & 15) == 0;
    const int64_t fours = aligned ? u.n / 4 : 0, threads = (int64_t)gridDim.x * 256;
    if ((int64_t)blockIdx.x * 256 >= (aligned ? (u.n + 3) / 4 : u.n)) return;
    int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    float4 g, m, v, p;
    auto read = [&]() {
        if (i < fours) g = ((const float4 *)u.g)[i], m = ((const float4 *)u.m)[i], v = ((const float4 *)u.v)[i], p = ((const float4 *)u.p)[i];
    };
    read();
    if (threadIdx.x == 0) {
        double step = rate[1];
        factors[0] = correct ? (float)(rate[0] / (1 - pow(beta1, step))) : rate[0];
        factors[1] = correct ? (float)(1 / sqrt(1 - pow(beta2, step))) : 1;
    }
    __syncthreads();
    if (rate[1] == 0) return;
    const float keep = 1 - rate[0] * decay, lr = factors[0], root = factors[1];
    auto update = [&](float g, float &m, float &v, float &p) {
        m = b1 * m + a1 * g, v = b2 * v + a2 * (g * g);
        p = __fmul_rn(p, keep) - lr * m / (sqrtf(v) * root + eps);
    };
    for (; i < fours; i += threads, read()) {
        update(g.x, m.x, v.x, p.x), update(g.y, m.y, v.y, p.y), update(g.z, m.z, v.z, p.z), update(g.w, m.w, v.w, p.w);
        ((float4 *)u.m)[i] = m, ((float4 *)u.v)[i] = v, ((float4 *)u.p)[i] = p;
    }
    for (i = 4 * fours + (int64_t)blockIdx.x * 256 + threadIdx.x; i < u.n; i += threads) update(u.g[i], u.m[i], u.v[i], u.p[i]);
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

// Arrays names what squares adds up.
constexpr int MostArrays = 96;
struct Arrays {
    const float *x[MostArrays];
    int64_t n[MostArrays];
};

// sum_squares in two launches: partial sums of gridDim.x blocks for each array, then one block over all of these.
extern "C" __global__ void __launch_bounds__(256) squares(double *part, Arrays all) {
    const float *x = all.x[blockIdx.y];
    double s = 0;
    for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < all.n[blockIdx.y]; i += (int64_t)gridDim.x * 256) s += (double)x[i] * x[i];
    s = block_sum(s);
    if (threadIdx.x == 0) part[blockIdx.y * gridDim.x + blockIdx.x] = s;
}

// sgd, momentum and descend are the ops of these names; rate as above.
extern "C" __global__ void sgd(float *p2, float *u2, const float *p, const float *g, const float *u, const float *rate, int64_t n, float momentum, float dampening, float decay, int nesterov) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float pi = p[i], ui = u[i];
    if (rate[1] == 0) {
        p2[i] = pi, u2[i] = ui;
        return;
    }
    float gi = g[i] + decay * pi, step = gi;
    if (momentum > 0) {
        ui = momentum * ui + (1 - dampening) * gi;
        step = nesterov ? gi + momentum * ui : ui;
    }
    u2[i] = ui;
    p2[i] = pi - rate[0] * step;
}
extern "C" __global__ void momentum(float *u, float *v2, const float *p, const float *g, const float *v, const float *rate, int64_t n, float keep, float add, float decay, int nesterov) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    if (rate[1] == 0) {
        v2[i] = v[i], u[i] = 0;
        return;
    }
    float gi = g[i] + decay * p[i], vi = keep * v[i] + add * gi;
    v2[i] = vi, u[i] = nesterov ? add * gi + keep * vi : vi;
}
extern "C" __global__ void descend(float *p2, const float *p, const float *u, const float *rate, int64_t n, float factor) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) p2[i] = rate[1] == 0 ? p[i] : p[i] - rate[0] * factor * u[i];
}

// unit_norm divides by the root of squares [1].
extern "C" __global__ void unit_norm(float *y, const float *x, const float *squares, int64_t n, float eps) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] / (sqrtf(*squares) + eps);
}

extern "C" __global__ void clip_factor(float *y, const float *squares, float most) {
    float f = most / (sqrtf(*squares) + 1e-6f);
    *y = f > 1 ? 1 : f;
}

namespace {
// Adafactor (see compute/optimizer_adafactor.go): settings of all its kernels. A vector is a stack of one row without moments of rows.
struct Adafactor {
    int rows, cols, stack, relative, warmup, scaled, momentum, vector;
    float minScale, eps, clip, decay, b1, a1;
    double decayRate;
};
__device__ __forceinline__ float beta2_of(const Adafactor &o, const float *rate) { return 1 - (float)pow((double)rate[1], o.decayRate); }
__device__ __forceinline__ float rate_of(const Adafactor &o, const float *rate) {
    if (!o.relative) return rate[0];
    double step = rate[1], most = o.warmup ? (double)1e-6 * step : (double)1e-2;
    return (float)fmin(most, 1 / sqrt(step));
}
}  // namespace

// adafactor_rows: the moments of rows, one a block.
extern "C" __global__ void __launch_bounds__(256) adafactor_rows(float *r2, const float *r, const float *g, const float *rate, Adafactor o) {
    int64_t i = blockIdx.x;
    double s = 0;
    for (int c = threadIdx.x; c < o.cols; c += 256) {
        float v = g[i * o.cols + c];
        s += (double)(v * v + o.eps);
    }
    s = block_sum(s);
    if (threadIdx.x) return;
    float b = beta2_of(o, rate);
    r2[i] = rate[1] == 0 ? r[i] : b * r[i] + (1 - b) * (float)(s / o.cols);
}

// adafactor_cols: the moments of columns, and the factor of each; 32 columns a block of 32 by 8 threads, one of the stack for each blockIdx.y.
extern "C" __global__ void __launch_bounds__(256) adafactor_cols(float *c2, float *byCol, const float *c, const float *g, const float *rate, Adafactor o) {
    __shared__ double part[8][32];
    int lane = threadIdx.x & 31, w = threadIdx.x >> 5, col = blockIdx.x * 32 + lane;
    const float *from = g + (int64_t)blockIdx.y * o.rows * o.cols;
    double s = 0;
    if (col < o.cols) for (int t = w; t < o.rows; t += 8) {
        float v = from[(int64_t)t * o.cols + col];
        s += (double)(v * v + o.eps);
    }
    part[w][lane] = s;
    __syncthreads();
    if (w || col >= o.cols) return;
    s = 0;
    for (int i = 0; i < 8; i++) s += part[i][lane];
    int64_t k = (int64_t)blockIdx.y * o.cols + col;
    float b = beta2_of(o, rate), moment = rate[1] == 0 ? c[k] : b * c[k] + (1 - b) * (float)(s / o.rows);
    c2[k] = moment, byCol[k] = (float)(1 / sqrt((double)moment));
}

// adafactor_factors: the factor of each row, one of the stack a block.
extern "C" __global__ void __launch_bounds__(256) adafactor_factors(float *byRow, const float *r2, Adafactor o) {
    int64_t from = (int64_t)blockIdx.x * o.rows;
    double s = 0;
    if (!o.vector) for (int i = threadIdx.x; i < o.rows; i += 256) s += (double)r2[from + i] / o.rows;
    float mean = (float)block_sum(s);
    for (int i = threadIdx.x; i < o.rows; i += 256) byRow[from + i] = o.vector ? 1 : (float)(1 / sqrt((double)(r2[from + i] / mean)));
}

// adafactor_squares: partial sums of 256 blocks, of the squares of u and, 256 numbers behind, of p.
extern "C" __global__ void __launch_bounds__(256) adafactor_squares(double *part, const float *p, const float *g, const float *byRow, const float *byCol, Adafactor o) {
    int64_t n = (int64_t)o.stack * o.rows * o.cols;
    double s = 0, sp = 0;
    for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < n; i += 256 * 256) {
        int64_t row = i / o.cols;
        float u = byRow[row] * byCol[row / o.rows * o.cols + i % o.cols] * g[i];
        s += (double)u * u, sp += (double)p[i] * p[i];
    }
    s = block_sum(s), sp = block_sum(sp);
    if (threadIdx.x == 0) part[blockIdx.x] = s, part[256 + blockIdx.x] = sp;
}

extern "C" __global__ void __launch_bounds__(256) adafactor_update(float *p2, float *m2, const float *p, const float *g, const float *m, const float *byRow, const float *byCol, const double *part, const float *rate, Adafactor o) {
    int64_t n = (int64_t)o.stack * o.rows * o.cols, i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    double s = block_sum(part[threadIdx.x]), sp = block_sum(part[256 + threadIdx.x]);
    if (i >= n) return;
    if (rate[1] == 0) {
        p2[i] = p[i];
        if (o.momentum) m2[i] = m[i];
        return;
    }
    float lr = rate_of(o, rate), clip = fmaxf(1, (float)sqrt(s / n) / o.clip);
    if (o.scaled) lr *= fmaxf((float)sqrt(sp / n), o.minScale);
    int64_t row = i / o.cols;
    float u = lr * (byRow[row] * byCol[row / o.rows * o.cols + i % o.cols] * g[i] / clip), pi = p[i];
    if (o.momentum) {
        u = o.b1 * m[i] + o.a1 * u;
        m2[i] = u;
    }
    p2[i] = pi - pi * (o.decay * lr) - u;
}

extern "C" __global__ void __launch_bounds__(256) sum_parts(float *y, const double *part, int n, int accumulate) {
    double s = 0;
    for (int i = threadIdx.x; i < n; i += 256) s += part[i];
    s = block_sum(s);
    if (threadIdx.x == 0) *y = (float)(s + (accumulate ? (double)*y : 0));
}
