// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/pack.h"

#include <algorithm>

namespace ivit::cuda {

DeviceBuffer Arena::upload(cudaStream_t stream) const {
    DeviceBuffer memory(bytes_.size());
    if (!bytes_.empty()) {
        IVIT_CUDA_CHECK(
            cudaMemcpyAsync(memory.as<>(), bytes_.data(), bytes_.size(), cudaMemcpyHostToDevice, stream));
        IVIT_CUDA_CHECK(cudaStreamSynchronize(stream));
    }
    return memory;
}

std::vector<int8_t> pack_weight(std::span<const int8_t> w, const Layout& in, const Layout& out,
                                RowOrder order) {
    std::vector<int8_t> packed(static_cast<size_t>(out.stride) * static_cast<size_t>(in.stride));
    for (int32_t c = 0; c < out.cols; ++c) {
        int8_t* row = &packed[static_cast<size_t>(order(out.at(c))) * static_cast<size_t>(in.stride)];
        const int8_t* from = &w[static_cast<size_t>(c) * static_cast<size_t>(in.cols)];
        for (int32_t k = 0; k < in.cols; k += in.width) std::copy_n(from + k, in.width, row + in.at(k));
    }
    return packed;
}

std::vector<int8_t> pack_slabs(std::span<const int8_t> w, int32_t N, int32_t K, Slabs slabs) {
    const auto [cut, parts] = slabs;
    std::vector<int8_t> packed;
    packed.reserve(w.size());
    const int32_t rows = cut == Cut::depth ? N : N / parts, columns = cut == Cut::depth ? K / parts : K;
    for (int32_t slab = 0; slab < parts; ++slab)
        for (int32_t k = 0, width = 64; k < columns; k += width) {
            if (k + 64 > columns) width = 32;
            for (int32_t r = 0; r < rows; ++r) {
                const int32_t third = rows / 3, n = cut == Cut::depth ? r
                                                    : cut == Cut::rows
                                                        ? slab * rows + r
                                                        : r / third * (N / 3) + slab * third + r % third;
                const auto from = w.begin() + int64_t{n} * K + (cut == Cut::depth ? slab * columns : 0) + k;
                packed.insert(packed.end(), from, from + width);
            }
        }
    return packed;
}

int64_t greatest_accumulator(const QuantNode& node) {
    if (node.weight.empty()) return int64_t{1} << 30;  // arith::layernorm_out
    const int8_t* w = node.weight.data();
    const size_t cols = node.bias.size(), K = node.weight.size() / cols;
    int32_t most = 0;
    for (size_t c = 0; c < cols; ++c, w += K) {
        int32_t sum = 0;
        for (size_t k = 0; k < K; ++k) sum += w[k] < 0 ? -w[k] : w[k];
        most = std::max(most, sum);
    }
    return int64_t{128} * most;
}

ColumnsOffsets pack_columns(Arena& arena, const Layout& out, const QuantNode& from, const QuantNode& by,
                            int64_t greatest, int spare) {
    // What the old residual stream adds is at most 2^29 (prepared.cpp).
    const int64_t limit = &from == &by ? INT32_MAX : int64_t{1} << 30;
    const size_t n = static_cast<size_t>(out.stride);
    std::vector<int32_t> ms(n, 0);
    std::vector<int64_t> rs(n, 0);
    std::vector<uint8_t> ss(n, 33);
    ColumnsOffsets offsets;
    for (int32_t c = 0; c < out.cols; ++c) {
        const size_t i = static_cast<size_t>(c), at = static_cast<size_t>(out.at(c));
        offsets.possible = offsets.possible && by.s[i] > spare;
        const int s = std::max(1, by.s[i] - spare);
        ms[at] = by.m[i];
        ss[at] = static_cast<uint8_t>(s);
        rs[at] = (int64_t{1} << (by.s[i] - 1)) +
                 (from.B.empty() ? static_cast<int64_t>(from.bias[i]) * by.m[i] : from.B[i]);
        offsets.fits = offsets.fits && word_fits(greatest, by.m[i], rs[at], s, limit);
    }
    offsets.m = arena.add(ms);
    offsets.r = arena.add(rs);
    offsets.s = arena.add(ss);
    return offsets;
}

std::shared_ptr<const PackedNode> pack_node(const QuantNode& node, const Layout& in, const Layout& out,
                                            RowOrder side, Slabs slabs, cudaStream_t stream) {
    auto packed = std::make_shared<PackedNode>();
    packed->in = in;
    packed->out = out;
    packed->greatest = greatest_accumulator(node);
    Arena arena;
    std::vector<int8_t> weight;
    if (!node.weight.empty()) weight = pack_weight(node.weight, in, out, packed_row);
    std::vector<int8_t> weight_side;
    if (side) weight_side = pack_weight(node.weight, in, out, side);
    std::vector<int8_t> cut;
    if (slabs.cut != Cut::none) cut = pack_slabs(node.weight, out.cols, in.cols, slabs);
    std::vector<int32_t> constant;
    if (!node.constant.empty()) {
        const size_t rows = node.constant.size() / static_cast<size_t>(out.cols);
        constant.resize(rows * static_cast<size_t>(out.stride));
        for (size_t i = 0; i < rows; ++i)
            std::copy_n(&node.constant[i * static_cast<size_t>(out.cols)], out.cols,
                        &constant[i * static_cast<size_t>(out.stride)]);
    }
    const size_t w = arena.add(weight), w_side = arena.add(weight_side), cut_at = arena.add(cut),
                 bias = arena.add(node.bias), m = arena.add(node.m), s = arena.add(node.s),
                 B = arena.add(node.B), table = arena.add(node.table), positions = arena.add(constant);
    arena.add<uint8_t>(nullptr, 0);
    packed->memory = arena.upload(stream);
    const uint8_t* base = packed->memory.as<uint8_t>();
    packed->w = reinterpret_cast<const int8_t*>(base + w);
    if (side) packed->w_side = reinterpret_cast<const int8_t*>(base + w_side);
    if (slabs.cut != Cut::none) packed->slabs = reinterpret_cast<const int8_t*>(base + cut_at);
    packed->ldw = in.stride;
    packed->w_rows = out.stride;
    packed->bias = reinterpret_cast<const int32_t*>(base + bias);
    packed->m = reinterpret_cast<const int32_t*>(base + m);
    packed->s = reinterpret_cast<const int32_t*>(base + s);
    packed->B = reinterpret_cast<const int64_t*>(base + B);
    packed->table = reinterpret_cast<const int8_t*>(base + table);
    packed->constant = reinterpret_cast<const int32_t*>(base + positions);
    return packed;
}

bool exponentials(int64_t i0, const ShiftParams& q, int32_t entries, uint32_t* out) {
    const int64_t first = arith::shift_exp(0, i0, q.n), limit = int64_t{1} << 32;
    // The first is the greatest, and no sum is less.
    if (first >= limit || arith::shift_reciprocal(first, q.M) >= limit) return false;
    for (int64_t i = 0; i < entries; ++i)
        out[i] = static_cast<uint32_t>(arith::shift_exp(-i * (int64_t{1} << q.t), i0, q.n));
    return true;
}

}  // namespace ivit::cuda
