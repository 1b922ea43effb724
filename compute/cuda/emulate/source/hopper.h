// What only Hopper has (kernels/hopper.cuh): barriers in shared memory, the copy engine, products of a warpgroup.
//
// All of it is asynchronous, and here as strict as it may be. The target of a copy is NaN from its start, and filled no
// sooner than somebody waits for the barrier. Sums of a product are NaN from its start, and written when they are waited for;
// its operands are read at the start and at the wait, and must be the same. So must be what a store takes from shared memory;
// its target is NaN until the block ends. What threads write to shared memory is not seen by products and stores before
// fence_proxy_async.
#pragma once
#include "instructions.h"

namespace emulate {
inline void need(const char *what) { if (!hopper) fail("%s on a card that is not of capability 9.0", what); }

// A Map is what driver.Tiles makes: a matrix of bf16 numbers in global memory and the size of tiles.
struct Map {
    uint64_t magic, base, cols, rows, stride;
    uint32_t boxCols, boxRows, swizzle;
};
constexpr uint64_t MapMagic = 0x70614d726f736e54;
inline uint32_t swizzled(uint32_t at) { return at ^ (at >> 7 & 7) << 4; }

struct Bulk {  // a copy that is under way
    uint32_t to;
    const uint8_t *from;
    int bytes;  // of a tile: 0
    Map map;
    int col, row;
    int size() const { return bytes ? bytes : map.boxCols * map.boxRows * 2; }
};

// A Barrier's word in shared memory holds its number, so that writing over it is seen.
struct Barrier {
    uint32_t at;
    int count, pending, bytes, phase;
    bool visible;  // to the copy engine
    uint32_t waiting[Most / 32];
    int waiters;
    std::vector<Bulk> copies;
};
constexpr uint64_t BarrierMagic = 0x7262726100000000;

// A Store is under way from shared memory until it is waited for, and to the matrix until the block ends.
struct Store {
    int thread, group;
    bool read;
    uint32_t from;
    Map map;
    int col, row;
    std::vector<uint8_t> bits;

    // write writes the tile, or NaN.
    void write(bool nan) const {
        for (int r = 0; r < (int)map.boxRows; r++)
            for (int k = 0; k < (int)map.boxCols; k++) {
                const int64_t i = (int64_t)row + r, j = (int64_t)col + k;
                if (i < 0 || i >= (int64_t)map.rows || j < 0 || j >= (int64_t)map.cols) continue;
                uint32_t at = from + (r * map.boxCols + k) * 2;
                if (map.swizzle) at = swizzled(at);
                uint16_t v = 0xFFFF;
                if (!nan) memcpy(&v, &bits[at - from], 2);
                memcpy((void *)(map.base + i * map.stride + j * 2), &v, 2);
            }
    }
};
// Sums of a product under way: of a warp's 16 rows.
struct Sums {
    float *lanes[32];
    int columns, products;
    alignas(32) float v[16][256];
};
struct Product64 {  // m64nNk16 of bf16 numbers, a warp's part
    Sums *d;
    int group;
    bool rs, accumulate, transA, transB;
    uint64_t a, b;
    alignas(32) float left[16][16];
    uint8_t bitsA[64 * 32], bitsB[256 * 32];
};
struct Products {  // of a warp
    std::vector<Product64 *> queue;
    std::vector<Sums *> sums;
    int group, count;
    bool ready;  // wgmma_fence came after the last wait
};

// Engines are what a block has of all this.
struct Engines {
    uint8_t seen[Room];  // shared memory as wgmma and the copy engine see it
    bool fenced;         // the rest of it is theirs at the next barrier
    std::vector<Barrier> barriers;
    std::vector<Store> stores;
    int storeGroup[Most];
    Products products[Most / 32];
    std::vector<std::string> called[Most / 128];  // products of a warpgroup: all of its warps make the same
    int registers[Most / 128];
};

static void publish() {
    Engines &e = *here->engines;
    if (e.fenced) memcpy(e.seen, dynamic, dynamicBytes);
    e.fenced = false;
}

static bool put(uint32_t at, const void *from, int bytes) {
    if (at < (uint32_t)Room) memcpy(here->engines->seen + at, from, bytes);
    return memcpy(address(at, bytes), from, bytes);
}

static Barrier &barrierAt(uint32_t at, const char *what) {
    need(what);
    if (at & 7) fail("%s: a barrier at %u, no multiple of 8", what, at);
    uint64_t word;
    memcpy(&word, address(at, 8), 8);
    uint64_t n = word ^ BarrierMagic;
    if (n >= here->engines->barriers.size() || here->engines->barriers[n].at != at) fail("%s: no barrier was made at %u, or it was written over", what, at);
    return here->engines->barriers[n];
}

static void perform(const Bulk &c) {
    if (c.bytes) {
        put(c.to, c.from, c.bytes);
        return;
    }
    const Map &m = c.map;
    for (int r = 0; r < (int)m.boxRows; r++)
        for (int k = 0; k < (int)m.boxCols; k += 8) {
            uint16_t v[8] = {};
            const int64_t row = (int64_t)c.row + r, col = (int64_t)c.col + k;
            if (row >= 0 && row < (int64_t)m.rows)
                for (int i = 0; i < 8; i++)
                    if (col + i >= 0 && col + i < (int64_t)m.cols) v[i] = *(const uint16_t *)(m.base + row * m.stride + (col + i) * 2);
            uint32_t at = c.to + (r * m.boxCols + k) * 2;
            put(m.swizzle ? swizzled(at) : at, v, 16);
        }
}

static void storeTile(const TensorMap *m, int c0, int c1, uint32_t src) {
    need("store_tile");
    Store s = {number(me), here->engines->storeGroup[number(me)], false, src, {}, c0, c1, {}};
    memcpy(&s.map, m, sizeof s.map);
    if (s.map.magic != MapMagic) fail("store_tile: what describes the matrix was not made by the driver");
    if (src & (s.map.swizzle ? 1023 : 127)) fail("store_tile from %u", src);
    const int n = s.map.boxCols * s.map.boxRows * 2;
    const uint8_t *own = address(src, n);
    if (memcmp(own, here->engines->seen + src, n)) fail("store_tile reads at %u what no fence_proxy_async has shown to it", src);
    s.bits.assign(own, own + n);
    s.write(true);
    here->engines->stores.push_back(std::move(s));
}

// waitRead lets shared memory be written that committed stores have read.
static void waitRead() {
    need("bulk_wait_read");
    for (Store &s : here->engines->stores) {
        if (s.read || s.thread != number(me) || s.group == here->engines->storeGroup[s.thread]) continue;
        if (memcmp(address(s.from, s.bits.size()), s.bits.data(), s.bits.size())) fail("shared memory at %u was written before a store from it was waited for", s.from);
        s.read = true;
    }
}

static int coming(const Barrier &b) {
    int bytes = 0;
    for (const Bulk &c : b.copies) bytes += c.size();
    return bytes;
}

// progress ends the phase if all have arrived, after the copies that it waits for.
static void progress(Barrier &b) {
    if (b.pending || coming(b) != b.bytes) return;
    for (const Bulk &c : b.copies) perform(c), b.bytes -= c.size();
    b.copies.clear();
    publish();
    b.phase ^= 1, b.pending = b.count, b.waiters = 0;
    for (int k = 0; k < Most / 32; k++) here->warps[k].ready |= b.waiting[k], b.waiting[k] = 0;
}

static void arrive(Barrier &b, int bytes) {
    if (!b.pending) progress(b);
    if (!b.pending) fail("a barrier of %d is arrived at once more, and %d bytes of its phase have not come", b.count, b.bytes);
    b.bytes += bytes, b.pending--;
    if (b.waiters || b.copies.empty()) progress(b);
}

static void start(uint32_t bar, const Bulk &c, const char *what) {
    Barrier &b = barrierAt(bar, what);
    if (early) (void)*(const volatile uint8_t *)(c.bytes ? c.from : (const uint8_t *)c.map.base);
    if (!b.visible) fail("%s: no fence has shown its barrier to the copy engine", what);
    if (!b.pending && coming(b) == b.bytes) progress(b);
    std::vector<uint8_t> nan(c.size(), 0xFF);
    put(c.to, nan.data(), c.size());
    b.copies.push_back(c);
    if (b.waiters && !b.pending && coming(b) == b.bytes) progress(b);
}

struct Asked {  // by a lane
    float *d;
    int columns;
    const uint32_t *a;
    uint64_t descA, descB;
    bool accumulate, transA, transB;
};
constexpr uint32_t Underway = 0x7FE5E5E5;

template <class T> static T *recycled(std::vector<T *> &free) {
    if (free.empty()) return new T;
    T *t = free.back();
    free.pop_back();
    return t;
}
static std::vector<Product64 *> freeProducts;
static std::vector<Sums *> freeSums;

// operand reads n rows of 16 numbers, or 16 rows of n, which lie transposed.
static void operand(uint8_t *to, uint64_t desc, int n, bool trans) {
    uint32_t at = (desc & 0x3FFF) << 4;
    int lead = (desc >> 16 & 0x3FFF) << 4, stride = (desc >> 32 & 0x3FFF) << 4;
    if (desc >> 62 != 1) fail("wgmma: an operand that is not swizzled by 128 bytes");
    if (desc >> 49 & 7 || at >> 7 & 7 || stride & 1023 || (trans && n > 64 && lead & 1023)) fail("wgmma: tiles begin at multiples of 1024 bytes: %u, lead %d, stride %d", at, lead, stride);
    if (trans && (at & 127 || n % 64)) fail("wgmma: a transposed operand has multiples of 64 columns");
    auto piece = [&](uint32_t p) {
        p = swizzled(p);
        if (p + 16 > dynamicBytes) fail("wgmma reads shared memory at %u of %zu bytes", p, dynamicBytes);
        const uint8_t *own = dynamic + p;
        if (memcmp(own, here->engines->seen + p, 16)) fail("wgmma reads at %u what no fence_proxy_async has shown to it", p);
        memcpy(to, own, 16), to += 16;
    };
    if (!trans) {
        for (int r = 0; r < n; r++)
            for (int h = 0; h < 2; h++) piece(at + r / 8 * stride + r % 8 * 128 + 16 * h);
    } else {
        for (int k = 0; k < 16; k++)
            for (int c = 0; c < n; c += 8) piece(at + c / 64 * lead + k / 8 * stride + k % 8 * 128 + c % 64 * 2);
    }
}

inline float number(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return lower(v);
}

static void begin(void **boxes) {
    const int w = emulate::number(me) >> 5;
    Products &p = here->engines->products[w];
    const Asked &q = *(Asked *)boxes[0];
    if (threads.x % 128) fail("wgmma in a block without whole warpgroups");
    Product64 *x = recycled(freeProducts);
    x->d = nullptr;
    for (Sums *s : p.sums)
        if (s->lanes[0] == q.d) x->d = s;
    if (!p.ready && (q.a || !x->d)) fail("wgmma without wgmma_fence before");
    if (!x->d) {
        x->d = recycled(freeSums);
        p.sums.push_back(x->d);
        x->d->columns = q.columns, x->d->products = 0;
        for (int l = 0; l < 32; l++) {
            float *f = ((Asked *)boxes[l])->d;
            x->d->lanes[l] = f;
            for (int i = 0; i < q.columns / 2; i++) x->d->v[(l >> 2) + 8 * (i >> 1 & 1)][8 * (i >> 2) + 2 * (l & 3) + (i & 1)] = f[i], memcpy(f + i, &Underway, 4);
        }
    }
    if (x->d->columns != q.columns) fail("wgmma of %d columns adds to sums of %d", q.columns, x->d->columns);
    x->d->products++;
    x->group = p.group, x->rs = q.a, x->accumulate = q.accumulate, x->transA = q.transA, x->transB = q.transB, x->a = q.descA, x->b = q.descB;
    for (int l = 0; l < 32; l++) {
        const Asked &o = *(Asked *)boxes[l];
        if (o.descA != q.descA || o.descB != q.descB || o.accumulate != q.accumulate) fail("wgmma: lane %d asks for another product than lane 0", l);
        for (int i = 0; o.a && i < 4; i++) {
            float *to = &x->left[(l >> 2) + 8 * (i & 1)][2 * (l & 3) + 8 * (i >> 1)];
            to[0] = lower(o.a[i]), to[1] = upper(o.a[i]);
        }
    }
    if (!x->rs) operand(x->bitsA, x->a, 64, x->transA);
    operand(x->bitsB, x->b, q.columns, x->transB);
    p.queue.push_back(x);
    char text[100];
    snprintf(text, sizeof text, "n%d a %llx b %llx accumulate %d trans %d%d", q.columns, (long long)q.descA, (long long)q.descB, q.accumulate, q.transA, q.transB);
    auto &list = here->engines->called[w >> 2];
    if (p.count == (int)list.size()) list.push_back(text);
    if (list[p.count++] != text) fail("wgmma %s: another warp of the warpgroup makes %s", text, list[p.count - 1].c_str());
}

typedef float Row __attribute__((vector_size(32)));

// right is operand b as [16][n] floats, kept for the warps that use it next.
static const float (*right(const Product64 &x))[256] {
    static struct { int columns; bool trans; uint8_t bits[256 * 32]; alignas(32) float v[16][256]; } kept[8];
    auto &c = kept[(x.b ^ x.b >> 3) & 7];
    const int n = x.d->columns;
    if (c.columns == n && c.trans == x.transB && !memcmp(c.bits, x.bitsB, 32 * n)) return c.v;
    c.columns = n, c.trans = x.transB;
    memcpy(c.bits, x.bitsB, 32 * n);
    for (int k = 0; k < 16; k++)
        for (int i = 0; i < n; i++) c.v[k][i] = number(x.bitsB + 2 * (x.transB ? k * n + i : i * 16 + k));
    return c.v;
}

static void compute(Product64 &x) {
    static uint8_t again[256 * 32];
    const int w = emulate::number(me) >> 5 & 3, n = x.d->columns;
    if (!x.rs) {
        operand(again, x.a, 64, x.transA);
        if (memcmp(again, x.bitsA, 64 * 32)) fail("operand a of wgmma was written before it was waited for");
        for (int m = 0; m < 16; m++)
            for (int k = 0; k < 16; k++) x.left[m][k] = number(x.bitsA + 2 * (x.transA ? k * 64 + 16 * w + m : (16 * w + m) * 16 + k));
    }
    operand(again, x.b, n, x.transB);
    if (memcmp(again, x.bitsB, 32 * n)) fail("operand b of wgmma was written before it was waited for");
    const float (*b)[256] = right(x);
    for (int j = 0; j < n; j += 32)
        for (int m = 0; m < 16; m++) {
            Row s[4] = {};
            Row *d = (Row *)&x.d->v[m][j];
            if (x.accumulate) for (int i = 0; i < 4; i++) s[i] = d[i];
            for (int k = 0; k < 16; k++)
                for (int i = 0; i < 4; i++) s[i] += x.left[m][k] * ((const Row *)&b[k][j])[i];
            for (int i = 0; i < 4; i++) d[i] = s[i];
        }
}

// finish computes what is waited for, and gives sums back that no product adds to any more.
static void finish(void **boxes) {
    Products &p = here->engines->products[number(me) >> 5];
    const int most = *(int *)boxes[0];
    while (!p.queue.empty() && p.queue[0]->group < p.group - most) {
        Product64 *x = p.queue[0];
        compute(*x);
        if (--x->d->products == 0) {
            for (int l = 0; l < 32; l++)
                for (int i = 0; i < x->d->columns / 2; i++) {
                    float *f = x->d->lanes[l] + i;
                    if (memcmp(f, &Underway, 4)) fail("sums of wgmma were written before they were waited for");
                    *f = x->d->v[(l >> 2) + 8 * (i >> 1 & 1)][8 * (i >> 2) + 2 * (l & 3) + (i & 1)];
                }
            for (Sums *&s : p.sums)
                if (s == x->d) {
                    s = p.sums.back(), p.sums.pop_back();
                    break;
                }
            freeSums.push_back(x->d);
        }
        p.queue.erase(p.queue.begin());
        freeProducts.push_back(x);
    }
    p.ready = false;
}

static void beginHopper() {
    if (!here->engines) here->engines = new Engines();
    Engines &e = *here->engines;
    e.barriers.clear(), e.stores.clear();
    memset(e.storeGroup, 0, sizeof e.storeGroup);
    e.fenced = false;
    memset(e.seen, 0xFF, dynamicBytes);
    for (int k = 0; k < (count + 31) / 32; k++) {
        Products &p = e.products[k];
        freeProducts.insert(freeProducts.end(), p.queue.begin(), p.queue.end());
        freeSums.insert(freeSums.end(), p.sums.begin(), p.sums.end());
        p.queue.clear(), p.sums.clear(), p.group = p.count = 0, p.ready = false;
    }
    for (int g = 0; g < (count + 127) / 128; g++) e.called[g].clear(), e.registers[g] = 0;
}

// endHopper looks for what a block has left behind.
static void endHopper() {
    const Engines &e = *here->engines;
    for (const Barrier &b : e.barriers)
        if (!b.copies.empty()) return report("the block ends with a copy under way, to %u", b.copies[0].to);
    for (const Store &s : e.stores) {
        if (!s.read) return report("the block ends with a store under way, from %u", s.from);
        s.write(false);
    }
    int taken = 0;
    for (int k = 0; k < count / 32; k++) {
        if (!e.products[k].queue.empty()) return report("warp %d ends with a product under way", k);
        if (e.products[k].count != (int)e.called[k >> 2].size()) return report("warp %d has made %d products, another of its warpgroup %zu", k, e.products[k].count, e.called[k >> 2].size());
    }
    for (int g = 0; g < count / 128; g++) {
        if (!e.registers[g]) return;
        taken += e.registers[g];
    }
    if (taken > 512) return report("warpgroups take %d registers a thread, 512 are there", taken);
}

static void hold(uint32_t b, int phase) {
    for (;;) {
        Barrier &bar = barrierAt(b, "bar_wait");
        int i = number(me);
        if (bar.phase == phase) progress(bar);
        if (bar.phase != phase) return;
        bar.waiting[i >> 5] |= (uint32_t)1 << (i & 31), bar.waiters++;
        here->warps[i >> 5].ready &= ~((uint32_t)1 << (i & 31));
        leave();
    }
}

static void multiply(const Asked &q, const char *what) {
    need(what);
    meet((void *)&q, what, begin);
}
inline void nothing(void **) {}

struct Stored {  // stmatrix
    uint32_t row;
    const uint32_t *q;
    bool trans;
    static void run(void **boxes) {
        uint16_t m[4][8][8];
        for (int l = 0; l < 32; l++) {
            Stored *own = (Stored *)boxes[l];
            int r = l >> 2, c = 2 * (l & 3);
            for (int j = 0; j < 4; j++) {
                (own->trans ? m[j][c][r] : m[j][r][c]) = own->q[j];
                (own->trans ? m[j][c + 1][r] : m[j][r][c + 1]) = own->q[j] >> 16;
            }
        }
        for (int i = 0; i < 32; i++) {
            uint32_t row = ((Stored *)boxes[i])->row;
            if (row & 15) fail("stmatrix at %u, no multiple of 16", row);
            memcpy(address(row, 16), m[i >> 3][i & 7], 16);
        }
    }
};

static void registersOf(int n, const char *what) {
    need(what);
    if (n % 8 || n < 24 || n > 256) fail("%s: %d", what, n);
    here->engines->registers[number(me) >> 7] = n;
    meet(nullptr, what, nothing);
}
}  // namespace emulate

template <int TransB = 0, int R> inline void wgmma_rs(float (&d)[R], const uint32_t (&a)[4], uint64_t b, int accumulate) {
    emulate::multiply({d, 2 * R, a, 0, b, accumulate != 0, false, TransB != 0}, "wgmma");
}
template <int TransA = 0, int TransB = 0, int R> inline void wgmma_ss(float (&d)[R], uint64_t a, uint64_t b, int accumulate) {
    emulate::multiply({d, 2 * R, nullptr, a, b, accumulate != 0, TransA != 0, TransB != 0}, "wgmma");
}
inline void wgmma_fence() {
    emulate::meet(nullptr, "wgmma_fence", [](void **) { emulate::here->engines->products[emulate::number(emulate::me) >> 5].ready = true; });
}
inline void wgmma_commit() {
    emulate::meet(nullptr, "wgmma_commit", [](void **) { emulate::here->engines->products[emulate::number(emulate::me) >> 5].group++; });
}
template <int N> inline void wgmma_wait() {
    int most = N;
    emulate::meet(&most, "wgmma_wait", emulate::finish);
}

inline void bar_init(uint32_t b, int n) {
    emulate::need("bar_init");
    if (b & 7) emulate::fail("bar_init at %u, no multiple of 8", b);
    if (n < 1) emulate::fail("bar_init for %d threads", n);
    uint64_t word = emulate::BarrierMagic ^ emulate::here->engines->barriers.size();
    memcpy(emulate::address(b, 8), &word, 8);
    emulate::here->engines->barriers.push_back({b, n, n, 0, 0, false, {}, 0, {}});
}
inline void bar_init_fence() { for (auto &b : emulate::here->engines->barriers) b.visible = true; }
inline void bar_expect(uint32_t b, int bytes) { emulate::arrive(emulate::barrierAt(b, "bar_expect"), bytes); }
inline void bar_arrive(uint32_t b) { emulate::arrive(emulate::barrierAt(b, "bar_arrive"), 0); }
inline void bar_wait(uint32_t b, int phase) { emulate::hold(b, phase); }
inline void copy_tile(uint32_t dst, const TensorMap *m, int c0, int c1, uint32_t bar) {
    emulate::Bulk c = {dst, nullptr, 0, {}, c0, c1};
    memcpy(&c.map, m, sizeof c.map);
    if (c.map.magic != emulate::MapMagic) emulate::fail("copy_tile: what describes the matrix was not made by the driver");
    if (dst & (c.map.swizzle ? 1023 : 127)) emulate::fail("copy_tile to %u", dst);
    emulate::start(bar, c, "copy_tile");
}
inline void copy_tile_once(uint32_t dst, const TensorMap *m, int c0, int c1, uint32_t bar) { copy_tile(dst, m, c0, c1, bar); }
inline void fence_map(const TensorMap *) { emulate::need("fence_map"); }
inline void copy_bytes(uint32_t dst, const void *src, int n, uint32_t bar) {
    if ((dst | (uintptr_t)src | n) & 15 || n <= 0) emulate::fail("copy_bytes: %d bytes from %p to %u: all are multiples of 16", n, src, dst);
    emulate::start(bar, {dst, (const uint8_t *)src, n, {}, 0, 0}, "copy_bytes");
}
inline void store_tile(const TensorMap *m, int c0, int c1, uint32_t src) { emulate::storeTile(m, c0, c1, src); }
inline void bulk_commit() { emulate::need("bulk_commit"), emulate::here->engines->storeGroup[emulate::number(emulate::me)]++; }
inline void bulk_wait_read() { emulate::waitRead(); }
inline void fence_proxy_async() {
    emulate::need("fence_proxy_async");
    emulate::here->engines->fenced = true;
    bar_init_fence();
}
template <int N> inline void fewer_registers() { emulate::registersOf(N, "fewer_registers"); }
template <int N> inline void more_registers() { emulate::registersOf(N, "more_registers"); }
inline void stmatrix(uint32_t p, const uint32_t (&q)[4]) {
    emulate::Stored s = {p, q, false};
    emulate::need("stmatrix");
    emulate::meet(&s, "stmatrix", emulate::Stored::run);
}
inline void stmatrix_trans(uint32_t p, const uint32_t (&q)[4]) {
    emulate::Stored s = {p, q, true};
    emulate::need("stmatrix");
    emulate::meet(&s, "stmatrix.trans", emulate::Stored::run);
}
