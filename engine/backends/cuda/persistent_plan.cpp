// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/backends/cuda/persistent.h"

namespace ivit::cuda {

std::optional<PersistentMap> arrange(std::vector<Product>& products, const std::vector<Attention>& attentions,
                                     const ClusterShape& shape, size_t limit) {
    const int32_t rows = shape.rows;
    int32_t log_ctas = 0;
    while (1 << log_ctas < shape.ctas) ++log_ctas;

    // Sizes. A product that reads normalized rows or patches adds up its warps' sums where hidden activations
    // and context lie, one that reads those where normalized rows lie. A GELU's neighbours already bring
    // hidden activations while it adds up, so it has a place of its own.
    int64_t input = 0, hidden = 0, apart = 0;
    for (Product& p : products) {
        p.units = p.p.cols / 32;
        p.chunks = (p.p.k + 63) / 64;
        const int32_t most = own_units(p.units, 0, log_ctas);
        p.log_split = 0;
        while (most << (p.log_split + 1) <= persistent_warps) ++p.log_split;
        const int64_t a = int64_t{p.chunks} * 64 * rows;
        const int64_t sums = int64_t{(1 << p.log_split) - 1} * most * rows * 32 * 4;
        (p.source == Product::Source::ready ? hidden : input) =
            std::max(p.source == Product::Source::ready ? hidden : input, a);
        int64_t& scratch = p.source == Product::Source::ready ? input
                           : p.p.epilogue == Epilogue::gelu   ? apart
                                                              : hidden;
        scratch = std::max(scratch, sums);
    }
    const Attention& first = attentions.front();
    const int64_t context = int64_t{first.heads} * first.padded * rows;
    const int64_t exponentials = 256 * 8 * 4, keys = round_up(first.tokens, 32) * first.padded;
    const int64_t sums = int64_t{persistent_warps} * 16 * first.padded * 4,
                  row_sums = persistent_warps * 16 * 16;
    hidden = std::max(hidden, round_up(context, 128) + 2 * keys + sums + row_sums);
    int64_t stats = 0, stream = 0;
    for (const Product& p : products)
        if (p.p.epilogue == Epilogue::residual || p.p.epilogue == Epilogue::position) {
            stats = int64_t{p.units} * rows * 8;
            stream = int64_t{own_units(p.units, 0, log_ctas)} * rows * 64;
        }

    PersistentMap map;
    int64_t at = 0;
    const auto take = [&](int64_t bytes) {
        const int64_t place = at;
        at = round_up(at + bytes, 128);
        return static_cast<uint32_t>(place);
    };
    const uint32_t input_at = take(input), hidden_at = take(hidden), apart_at = take(apart);
    map.context = hidden_at;
    map.keys = hidden_at + static_cast<uint32_t>(round_up(context, 128));
    map.values = map.keys + static_cast<uint32_t>(keys);
    map.sums = map.values + static_cast<uint32_t>(keys);
    map.row_sums = map.sums + static_cast<uint32_t>(sums);
    map.stats = take(stats);
    map.stream = take(stream);
    map.table = take(256);
    map.gates = take(64);
    map.exponential = take(exponentials);
    map.products = take(static_cast<int64_t>(products.size() * sizeof(Product)));
    map.attentions = take(static_cast<int64_t>(attentions.size() * sizeof(Attention)));
    map.ring = take(0);
    for (const int32_t depth : {8, 6, 4}) {
        const int64_t total = at + int64_t{persistent_warps} * depth * chunk_bytes;
        if (total > static_cast<int64_t>(limit)) continue;
        map.depth = depth;
        map.total = static_cast<uint32_t>(total);
        break;
    }
    if (map.depth == 0) return std::nullopt;
    for (Product& p : products) {
        const bool ready = p.source == Product::Source::ready;
        p.a = ready ? hidden_at : input_at;
        p.scratch = ready ? input_at : p.p.epilogue == Epilogue::gelu ? apart_at : hidden_at;
        p.push = hidden_at;
        p.gate = &p > products.data() && (&p)[-1].p.epilogue == Epilogue::gelu ? 2 : 3;
    }
    return map;
}

}  // namespace ivit::cuda
