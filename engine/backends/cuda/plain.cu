// SPDX-License-Identifier: Apache-2.0
// One node at a time on int32 tensors of one picture: the reference backend's loops, one thread per output.
// For nodes run alone, for taps inside a fused step, and for whatever the fast kernels do not take.
#include "engine/backends/cuda/device.cuh"

namespace ivit::cuda::plain {
namespace {

__device__ __forceinline__ int64_t thread_index() {
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
constexpr int block = 128;
unsigned blocks(int64_t threads) { return static_cast<unsigned>((threads + block - 1) / block); }

// These kernels do not wait for their inputs by themselves, so they start when everything before them has
// ended.
template <class Args>
void start_whole(void (*kernel)(Args), const Args& args, dim3 grid, dim3 threads, const Launch& at) {
    Launch whole = at;
    whole.overlap = false;
    start<Args>(kernel, args, grid, threads, 0, whole);
}
// Rows on grid.y, their columns on grid.x: no division.
template <class Args>
void start_rows(void (*kernel)(Args), const Args& args, int64_t rows, int64_t cols, const Launch& at) {
    start_whole<Args>(kernel, args, dim3(blocks(cols), static_cast<unsigned>(rows)), dim3(block), at);
}

struct Input {
    const uint8_t* pixels;
    const int8_t* table;
    int32_t area;
    int32_t* out;
};
__global__ void input_kernel(const Input p) {
    const int64_t i = thread_index();
    const int c = blockIdx.y;
    if (i < p.area) p.out[static_cast<int64_t>(c) * p.area + i] = p.table[256 * c + p.pixels[i * 3 + c]];
}

struct ProductArgs {
    Product p;
    FastDiv in_group, out_group;  // Layout::width of the columns and of the rows of w
    FastDiv patch, area, across;  // patch embedding
};
// A 16 x 16 tile of outputs per block; the matrix goes through shared memory 16 columns at a time.
__global__ void product_kernel(const ProductArgs a) {
    const Product& p = a.p;
    __shared__ int32_t x[16][17], w[16][17];
    const int tx = threadIdx.x, ty = threadIdx.y;
    const int row = blockIdx.y * 16 + ty, c = blockIdx.x * 16 + tx, wc = blockIdx.x * 16 + ty;
    int32_t acc = 0;
    const int K = p.layout_in.cols;
    int64_t w_row = 0;
    if (wc < p.layout_out.cols) {
        const int group = a.out_group.divide(wc);
        w_row = packed_row(group * p.layout_out.padded + wc - group * p.layout_out.width);
    }
    const int down = p.patch ? a.across.divide(row) : 0;
    for (int k0 = 0; k0 < K; k0 += 16) {
        const int k = k0 + tx;
        int32_t xv = 0, wv = 0;
        if (k < K) {
            const int group = a.in_group.divide(k);
            if (wc < p.layout_out.cols)
                wv = p.w[w_row * p.ldw + group * p.layout_in.padded + k - group * p.layout_in.width];
            if (row < p.rows && p.patch == 0) xv = p.in[static_cast<int64_t>(row) * K + k];
            if (row < p.rows && p.patch > 0) {
                const int channel = a.area.divide(k), at = k - channel * a.area.d;
                const int dy = a.patch.divide(at), dx = at - dy * p.patch;
                xv = p.in[(static_cast<int64_t>(channel) * p.side + down * p.patch + dy) * p.side +
                          (row - down * a.across.d) * p.patch + dx];
            }
        }
        x[ty][tx] = xv;
        w[ty][tx] = wv;
        __syncthreads();
#pragma unroll
        for (int k1 = 0; k1 < 16; ++k1) acc += x[ty][k1] * w[tx][k1];
        __syncthreads();
    }
    if (row >= p.rows || c >= p.layout_out.cols) return;
    acc += p.bias[c];
    p.out[static_cast<int64_t>(row) * p.layout_out.cols + c] =
        p.to_residual ? acc : arith::requant(acc, p.m[c], p.s[c], p.bits);
}

struct Position {
    const int32_t *in, *constant;
    int32_t stride, cols, bits;  // stride: of constant
    int32_t* out;
};
__global__ void pos_embed_kernel(const Position p) {
    const int64_t c = thread_index(), row = blockIdx.y, top = int64_t{1} << (p.bits - 1);
    if (c >= p.cols) return;
    const int64_t patch = row == 0 ? 0 : p.in[(row - 1) * p.cols + c];
    p.out[row * p.cols + c] =
        static_cast<int32_t>(arith::clamp(patch + p.constant[row * p.stride + c], -top, top - 1));
}

struct Norm {
    const int32_t* in;
    int32_t cols;
    const int32_t* m;
    const int64_t* B;
    const int32_t* s;
    int32_t bits;
    int32_t* out;
};
// One warp per row.
__global__ void layernorm_kernel(const Norm p) {
    const int lane = lane_id();
    const int64_t C = p.cols;
    const int32_t* const x = p.in + blockIdx.x * C;
    int64_t sum = 0, v = 0;
    for (int64_t c = lane; c < C; c += 32) sum += x[c];
    sum = static_cast<int64_t>(warp_sum64(static_cast<uint64_t>(sum)));
    const int64_t mean = arith::floor_div(2 * sum + C, 2 * C);
    for (int64_t c = lane; c < C; c += 32) v += (x[c] - mean) * (x[c] - mean);
    v = static_cast<int64_t>(warp_sum64(static_cast<uint64_t>(v)));
    const int64_t root = arith::isqrt(v);
    const int64_t f = arith::divide(0x7fffffff, root < 1 ? 1 : root);
    for (int64_t c = lane; c < C; c += 32)
        p.out[blockIdx.x * C + c] =
            arith::layernorm_out(((x[c] - mean) * f) >> 1, p.m[c], p.B[c], p.s[c], p.bits);
}

struct Heads {
    const int32_t *p, *qkv;
    int32_t tokens, width;
    FastDiv head_dim;
    int32_t m, s, bits;
    int32_t* out;
};
// blockIdx: (key, query, head)
__global__ void attn_logits_kernel(const Heads p) {
    const int64_t j = thread_index(), i = blockIdx.y, h = blockIdx.z, d = p.head_dim.d;
    if (j >= p.tokens) return;
    const int32_t* const q = p.qkv + i * 3 * p.width + h * d;
    const int32_t* const k = p.qkv + j * 3 * p.width + p.width + h * d;
    int32_t acc = 0;
    for (int64_t c = 0; c < d; ++c) acc += q[c] * k[c];
    p.out[(h * p.tokens + i) * p.tokens + j] = arith::requant(acc, p.m, p.s, p.bits);
}
// blockIdx: (channel, query)
__global__ void attn_context_kernel(const Heads p) {
    const int64_t c = thread_index(), i = blockIdx.y, N = p.tokens;
    if (c >= p.width) return;
    const int32_t* const row = p.p + (p.head_dim.divide(static_cast<int32_t>(c)) * N + i) * N;
    int64_t acc = 0;
    for (int64_t j = 0; j < N; ++j)
        acc += static_cast<int64_t>(row[j]) * p.qkv[j * 3 * p.width + 2 * p.width + c];
    p.out[i * p.width + c] = arith::requant(acc, p.m, p.s, p.bits);
}

struct Rows {
    const int32_t* in;
    int32_t rows, cols;
    Shift q;
    int32_t m, s, bits;
    int32_t* out;
};
__device__ __forceinline__ int64_t row_max(const int32_t* x, int cols) {
    int most = INT32_MIN;
    for (int c = lane_id(); c < cols; c += 32) most = max(most, x[c]);
    for (int i = 16; i; i >>= 1) most = max(most, __shfl_xor_sync(0xffffffff, most, i));
    return most;
}
// One warp per row.
__global__ void softmax_kernel(const Rows p) {
    const int64_t row = static_cast<int64_t>(blockIdx.x) * (block / 32) + (threadIdx.x >> 5);
    if (row >= p.rows) return;
    const int32_t* const x = p.in + row * p.cols;
    const ShiftParams& q = p.q.params;
    const int64_t most = row_max(x, p.cols);
    const auto exponential = [&](int64_t v) {
        return arith::shift_exp((v - most) * (int64_t{1} << q.t), p.q.i0, q.n);
    };
    int64_t d = 0;
    for (int c = lane_id(); c < p.cols; c += 32) d += exponential(x[c]);
    d = static_cast<int64_t>(warp_sum64(static_cast<uint64_t>(d)));
    const int64_t f = arith::shift_reciprocal(d, q.M);
    for (int c = lane_id(); c < p.cols; c += 32)
        p.out[row * p.cols + c] = static_cast<int32_t>(arith::shift_share(exponential(x[c]), f, q.M, q.k));
}

// x with pivot c, on the output grid.
__device__ __forceinline__ int32_t shift_gelu(int64_t x, int64_t c, const Shift& g, int32_t m, int32_t s,
                                              int32_t bits) {
    const ShiftParams& q = g.params;
    const int64_t scale = int64_t{1} << q.t;
    const int64_t e = arith::shift_exp((x - c) * scale, g.i0, q.n),
                  e0 = arith::shift_exp(-c * scale, g.i0, q.n);
    const int64_t f = arith::shift_reciprocal(e + e0 > 1 ? e + e0 : 1, q.M);
    return arith::requant(x * arith::shift_share(e, f, q.M, q.k), m, s, bits);
}
__global__ void gelu_kernel(const Rows p) {
    const int64_t row = blockIdx.y, c = thread_index();
    const int32_t* const x = p.in + row * p.cols;
    const int64_t most = p.q.params.row_pivot ? row_max(x, p.cols) : 0;
    if (c >= p.cols) return;
    const int64_t pivot = p.q.params.row_pivot ? (most > 0 ? most : 0) : (x[c] > 0 ? x[c] : 0);
    p.out[row * p.cols + c] = shift_gelu(x[c], pivot, p.q, p.m, p.s, p.bits);
}

struct GeluTable {
    Shift q;
    int32_t m, s, bits;
    int8_t* table;
};
__global__ void gelu_table_kernel(const GeluTable p) {
    const int x = static_cast<int>(thread_index()) - 128, c = blockIdx.y;
    // No x is above its row's pivot.
    p.table[256 * c + x + 128] = static_cast<int8_t>(x > c ? 0 : shift_gelu(x, c, p.q, p.m, p.s, p.bits));
}

struct Residual {
    const int32_t *acc, *t;
    int32_t cols;
    const int32_t *m, *s;
    int32_t mt, st, bits;
    int32_t* out;
};
__global__ void residual_add_kernel(const Residual p) {
    const int64_t c = thread_index(), i = static_cast<int64_t>(blockIdx.y) * p.cols + c,
                  top = int64_t{1} << (p.bits - 1);
    if (c >= p.cols) return;
    const int64_t sum = arith::round_shift(static_cast<int64_t>(p.acc[i]) * p.m[c], p.s[c]) +
                        arith::round_shift(static_cast<int64_t>(p.t[i]) * p.mt, p.st);
    p.out[i] = static_cast<int32_t>(arith::clamp(sum, -top, top - 1));
}

struct Widen {
    const void* in;
    int32_t bytes;
    Layout layout;
    FastDiv group;
    int32_t* out;
};
__global__ void widen_kernel(const Widen p) {
    const int64_t row = blockIdx.y;
    const int c = static_cast<int>(thread_index());
    if (c >= p.layout.cols) return;
    const int g = p.group.divide(c);
    const int64_t from = row * p.layout.stride + g * p.layout.padded + c - g * p.layout.width;
    p.out[row * p.layout.cols + c] = p.bytes == 1   ? static_cast<const int8_t*>(p.in)[from]
                                     : p.bytes == 2 ? static_cast<const int16_t*>(p.in)[from]
                                                    : static_cast<const int32_t*>(p.in)[from];
}
struct Narrow {
    const int32_t* in;
    int32_t bytes;
    Layout layout;
    FastDiv group;  // by Layout::padded
    void* out;
};
__global__ void narrow_kernel(const Narrow p) {
    const int64_t row = blockIdx.y;
    const int at = static_cast<int>(thread_index());
    if (at >= p.layout.stride) return;
    const int g = p.group.divide(at), inside = at - g * p.layout.padded, c = g * p.layout.width + inside;
    const int32_t v = inside < p.layout.width && c < p.layout.cols ? p.in[row * p.layout.cols + c] : 0;
    const int64_t to = row * p.layout.stride + at;
    if (p.bytes == 1)
        static_cast<int8_t*>(p.out)[to] = static_cast<int8_t>(v);
    else if (p.bytes == 2)
        static_cast<int16_t*>(p.out)[to] = static_cast<int16_t>(v);
    else
        static_cast<int32_t*>(p.out)[to] = v;
}

}  // namespace

void input(const uint8_t* pixels, const int8_t* table, int32_t side, int32_t* out, const Launch& at) {
    start_rows<Input>(input_kernel, {pixels, table, side * side, out}, 3, side * side, at);
}

void product(const Product& p, const Launch& at) {
    const int32_t patch = p.patch > 0 ? p.patch : 1;
    const ProductArgs args{p,
                           FastDiv(p.layout_in.width),
                           FastDiv(p.layout_out.width),
                           FastDiv(patch),
                           FastDiv(patch * patch),
                           FastDiv(p.patch > 0 ? p.side / p.patch : 1)};
    start_whole<ProductArgs>(
        product_kernel, args,
        dim3(static_cast<unsigned>((p.layout_out.cols + 15) / 16), static_cast<unsigned>((p.rows + 15) / 16)),
        dim3(16, 16), at);
}

void pos_embed(const int32_t* in, const int32_t* constant, int32_t stride, int32_t tokens, int32_t cols,
               int32_t bits, int32_t* out, const Launch& at) {
    start_rows<Position>(pos_embed_kernel, {in, constant, stride, cols, bits, out}, tokens, cols, at);
}

void layernorm(const int32_t* in, int32_t rows, int32_t cols, const int32_t* m, const int64_t* B,
               const int32_t* s, int32_t bits, int32_t* out, const Launch& at) {
    start_whole<Norm>(layernorm_kernel, {in, cols, m, B, s, bits, out}, dim3(static_cast<unsigned>(rows)),
                      dim3(32), at);
}

void attn_logits(const int32_t* qkv, int32_t tokens, int32_t width, int32_t heads, int32_t m, int32_t s,
                 int32_t bits, int32_t* out, const Launch& at) {
    const Heads args{nullptr, qkv, tokens, width, FastDiv(width / heads), m, s, bits, out};
    start_whole<Heads>(attn_logits_kernel, args,
                       dim3(blocks(tokens), static_cast<unsigned>(tokens), static_cast<unsigned>(heads)),
                       dim3(block), at);
}

void softmax(const int32_t* in, int32_t rows, int32_t cols, const Shift& q, int32_t* out, const Launch& at) {
    start_whole<Rows>(softmax_kernel, {in, rows, cols, q, 0, 31, 0, out}, dim3(blocks(int64_t{32} * rows)),
                      dim3(block), at);
}

void attn_context(const int32_t* p, const int32_t* qkv, int32_t tokens, int32_t width, int32_t heads,
                  int32_t m, int32_t s, int32_t bits, int32_t* out, const Launch& at) {
    start_rows<Heads>(attn_context_kernel, {p, qkv, tokens, width, FastDiv(width / heads), m, s, bits, out},
                      tokens, width, at);
}

void gelu(const int32_t* in, int32_t rows, int32_t cols, const Shift& q, int32_t m, int32_t s, int32_t bits,
          int32_t* out, const Launch& at) {
    start_rows<Rows>(gelu_kernel, {in, rows, cols, q, m, s, bits, out}, rows, cols, at);
}

void residual_add(const int32_t* acc, const int32_t* t, int32_t rows, int32_t cols, const int32_t* m,
                  const int32_t* s, int32_t mt, int32_t st, int32_t bits, int32_t* out, const Launch& at) {
    start_rows<Residual>(residual_add_kernel, {acc, t, cols, m, s, mt, st, bits, out}, rows, cols, at);
}

void gelu_table(const Shift& q, int32_t m, int32_t s, int32_t bits, int8_t* table, const Launch& at) {
    start_whole<GeluTable>(gelu_table_kernel, {q, m, s, bits, table}, dim3(256 / block, 128), dim3(block),
                           at);
}

void widen(const void* in, int bytes, int32_t rows, const Layout& layout, int32_t* out, const Launch& at) {
    start_rows<Widen>(widen_kernel, {in, bytes, layout, FastDiv(layout.width), out}, rows, layout.cols, at);
}

void narrow(const int32_t* in, int32_t rows, const Layout& layout, int bytes, void* out, const Launch& at) {
    start_rows<Narrow>(narrow_kernel, {in, bytes, layout, FastDiv(layout.padded), out}, rows, layout.stride,
                       at);
}

}  // namespace ivit::cuda::plain
