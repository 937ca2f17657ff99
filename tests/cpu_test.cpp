// SPDX-License-Identifier: Apache-2.0
// The cpu backend: every kernel of every instruction set this machine has against the scalar functions of
// arithmetic.h, then whole networks against the reference backend, bit for bit.
#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <random>

#include "engine/arithmetic.h"
#include "engine/backends/cpu/network.h"
#include "engine/backends/cpu/ops.h"
#include "engine/backends/cpu/packed_node.h"
#include "engine/backends/reference/network.h"
#include "engine/calibration.h"
#include "engine/error.h"
#include "engine/families/vit.h"
#include "engine/model.h"
#include "tests/whole_networks.h"

using namespace ivit;
using namespace ivit::test;
using cpu::Kernels;
using cpu::tile_cols;
using cpu::tile_rows;

namespace {

std::vector<Isa> instruction_sets() {
    std::vector<Isa> all;
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avxvnni, Isa::avx512vnni})
        if (isa <= best_isa()) all.push_back(isa);
    return all;
}

// Exponents a requantization meets, and the ends of what dyadic() can yield.
std::vector<int> shifts(const std::string& kind) {
    if (kind == "usual") return {36, 37, 38, 39, 40, 41, 42};
    if (kind == "upper") return {33, 34, 50, 61, 62};
    if (kind == "lifted") return {25, 26, 29, 32, 33, 36, 62};
    return {1, 7, 17, 18, 30, 31, 32, 33, 40, 62};
}

}  // namespace

TEST_CASE("cpu: the matrix product is exact for any shape and any extreme", "[cpu]") {
    for (const Isa isa : instruction_sets())
        for (const Fill how : fills)
            for (int trial = 0; trial < 40; ++trial) {
                const int64_t K = trial < 8    ? trial + 1
                                  : trial == 8 ? 3072
                                               : uniform(1, 700),
                              N = uniform(1, 140);
                const int rows = static_cast<int>(uniform(1, tile_rows));
                const bool planes = trial % 3 == 0;
                std::vector<int8_t> w(static_cast<size_t>(N * K));
                fill(w.data(), N * K, -128, 127, how);
                const cpu::Panels panels = cpu::pack_weights(w.data(), N, K);
                const int64_t lda = K + uniform(0, 3);
                cpu::Buffer<uint8_t> low(rows * lda), high(rows * lda);
                fill(low.data(), rows * lda, 0, 255, how);
                fill(high.data(), rows * lda, 0, planes ? 128 : 0, how);
                cpu::Buffer<int32_t> init(panels.count() * tile_cols);
                fill(init.data(), panels.count() * tile_cols, -(1 << 30), 1 << 30, how);
                alignas(64) int32_t acc[tile_rows * tile_cols];
                const cpu::UpperBytes upper{high.data(), nullptr};
                bool same = true;
                for (int64_t p = 0; p < panels.count(); ++p) {
                    cpu::kernels(isa).gemm_tile(low.data(), planes ? &upper : nullptr, lda, panels.panel(p),
                                                panels.k4(), init.data() + p * tile_cols, rows,
                                                panels.width(p), acc, {});
                    for (int r = 0; r < rows; ++r)
                        for (int c = 0; c < panels.cols(p); ++c) {
                            const int64_t column = p * tile_cols + c;
                            int64_t sum = init[column];
                            for (int64_t k = 0; k < K; ++k)
                                sum += (low[r * lda + k] + (planes ? high[r * lda + k] * 256 : 0)) *
                                       int64_t{w[static_cast<size_t>(column * K + k)]};
                            same = same && static_cast<uint32_t>(acc[r * tile_cols + c]) ==
                                               static_cast<uint32_t>(sum);
                        }
                }
                INFO(to_string(isa) << " K " << K << " N " << N << " rows " << rows);
                REQUIRE(same);
            }
}

TEST_CASE("cpu: requantization is arithmetic.h's in every width", "[cpu]") {
    for (const Isa isa : instruction_sets())
        for (const char* kind : {"usual", "upper", "lifted", "any"})
            for (const Fill how : fills)
                for (int trial = 0; trial < 60; ++trial) {
                    const Kernels& k = cpu::kernels(isa);
                    const std::vector<int> choice = shifts(kind);
                    const int rows = static_cast<int>(uniform(1, tile_rows)),
                              cols = static_cast<int>(uniform(1, 64));
                    const bool one = trial % 4 == 0;  // one ratio for all columns
                    std::vector<int32_t> m(one ? 1 : static_cast<size_t>(cols)), s(m.size());
                    for (size_t c = 0; c < m.size(); ++c) {
                        m[c] = static_cast<int32_t>(
                            uniform(0, 9) ? uniform(1 << 30, 0x7fffffff) * (uniform(0, 1) ? 1 : -1) : 0);
                        s[c] =
                            choice[static_cast<size_t>(uniform(0, static_cast<int64_t>(choice.size()) - 1))];
                    }
                    alignas(64) int32_t acc[tile_rows * tile_cols], raised[tile_rows * tile_cols];
                    const int64_t reach = int64_t{1} << uniform(8, 31);
                    fill(acc, tile_rows * tile_cols, -reach, reach - 1, how);
                    const auto ratio = [&](int c) { return one ? size_t{0} : static_cast<size_t>(c); };

                    const int bits = static_cast<int>(uniform(4, 8));
                    uint8_t table[256];
                    for (int u = 0; u < 256; ++u) table[u] = static_cast<uint8_t>(u * 7 + 3);
                    const bool with_table = trial % 3 == 0;
                    const int64_t ld = cols + uniform(0, 9);
                    std::vector<uint8_t> y8(static_cast<size_t>(rows * ld), 0xAA);
                    const cpu::Requantizer to8(m.data(), s.data(), m.size(), cols, -(1 << (bits - 1)),
                                               (1 << (bits - 1)) - 1);
                    const auto lifted = [&](const cpu::RequantView& q) {
                        std::copy_n(acc, tile_rows * tile_cols, raised);
                        if (q.lift) k.lift(raised, rows, cols, q.lift);
                        return raised;
                    };
                    k.requant_u8(lifted(to8.at(0)), rows, cols, to8.at(0), with_table ? table : nullptr,
                                 y8.data(), ld);

                    const int wide = static_cast<int>(uniform(8, 16));
                    const cpu::Requantizer to16(m.data(), s.data(), m.size(), cols, -(1 << (wide - 1)),
                                                (1 << (wide - 1)) - 1);
                    std::vector<int16_t> y16(static_cast<size_t>(rows * ld), 0x55), t(y16.size()),
                        sum(y16.size(), 0x55);
                    k.requant_i16(lifted(to16.at(0)), rows, cols, to16.at(0), y16.data(), ld);
                    fill(t.data(), static_cast<int64_t>(t.size()), -32768, 32767, how);
                    const cpu::ResidualView old{
                        static_cast<int32_t>(uniform(1 << 30, 0x7fffffff)),
                        static_cast<int32_t>(uniform(0, 2) ? uniform(28, 34) : uniform(1, 62))};
                    const cpu::Requantizer add(m.data(), s.data(), m.size(), cols, -(1 << (wide - 1)),
                                               (1 << (wide - 1)) - 1, old.s >= 30);
                    k.residual_add(lifted(add.at(0)), rows, cols, add.at(0), old, t.data(), sum.data(), ld);

                    bool same = true;
                    for (int r = 0; r < rows; ++r)
                        for (int c = 0; c < ld; ++c) {
                            const auto at = static_cast<size_t>(r * ld + c);
                            if (c >= cols) {  // nothing is written past the columns
                                same = same && y8[at] == 0xAA && y16[at] == 0x55 && sum[at] == 0x55;
                                continue;
                            }
                            const int32_t a = acc[r * tile_cols + c], mc = m[ratio(c)];
                            const int sc = s[ratio(c)];
                            const auto u = static_cast<uint8_t>(arith::requant(a, mc, sc, bits) + 128);
                            same = same && y8[at] == (with_table ? table[u] : u);
                            same = same && y16[at] == arith::requant(a, mc, sc, wide);
                            const int64_t both = arith::round_shift(int64_t{a} * mc, sc) +
                                                 arith::round_shift(int64_t{t[at]} * old.m, old.s);
                            same = same &&
                                   sum[at] == arith::clamp(both, -(1 << (wide - 1)), (1 << (wide - 1)) - 1);
                        }
                    INFO(to_string(isa)
                         << " " << kind << " rows " << rows << " cols " << cols << " old.s " << old.s);
                    REQUIRE(same);
                }
}

TEST_CASE("cpu: I-LayerNorm is arithmetic.h's for any width and any row", "[cpu]") {
    for (const Isa isa : instruction_sets())
        for (const Fill how : fills)
            for (int trial = 0; trial < 60; ++trial) {
                const int64_t C = trial < 4 ? 1 + trial : trial < 30 ? 16 * uniform(1, 64) : uniform(1, 1100);
                Graph g;
                Node n;
                n.op = Op::layernorm;
                n.shape = {1, C};
                g.nodes.push_back(n);
                auto q = std::make_shared<QuantNode>();
                q->out.bits = static_cast<int>(uniform(4, 8));
                q->out.scale = {0.03};
                for (int64_t c = 0; c < C; ++c) {
                    const double gamma =
                        trial % 5 == 0 && c % 3 == 0 ? 0 : static_cast<double>(uniform(-200, 200)) / 64;
                    const double beta = trial % 7 == 0 ? 1e9 : static_cast<double>(uniform(-200, 200)) / 64;
                    const auto k = layernorm_constants(gamma, beta, 0.03, C);
                    q->m.push_back(k.m);
                    q->s.push_back(k.s);
                    q->B.push_back(k.B);
                }
                QuantizedModel model;
                model.graph = std::make_shared<Graph>(g);
                model.nodes = {q};
                const auto packed = cpu::pack_node(model, 0, nullptr);
                const int64_t rows = uniform(1, 19), ldx = C + uniform(0, 5);
                cpu::Buffer<int16_t> x(rows * ldx);
                const int64_t reach = int64_t{1} << uniform(0, 15);
                fill(x.data(), rows * ldx, -reach, reach - 1, how);
                std::vector<uint8_t> y(static_cast<size_t>(rows * C) + 64, 0xAA);
                cpu::kernels(isa).layernorm(x.data(), ldx, rows, C, packed->layernorm(), y.data());

                bool same = y[static_cast<size_t>(rows * C)] == 0xAA;
                for (int64_t r = 0; r < rows; ++r) {
                    const int16_t* row = &x[r * ldx];
                    int64_t sum = 0, v = 0;
                    for (int64_t c = 0; c < C; ++c) sum += row[c];
                    const int64_t mean = arith::floor_div(2 * sum + C, 2 * C);
                    for (int64_t c = 0; c < C; ++c) v += (row[c] - mean) * (row[c] - mean);
                    const int64_t f = 0x7fffffff / std::max<int64_t>(1, arith::isqrt(v));
                    for (int64_t c = 0; c < C; ++c) {
                        const auto i = static_cast<size_t>(c);
                        const int64_t z = ((row[c] - mean) * f) >> 1;
                        same =
                            same && y[static_cast<size_t>(r * C + c)] ==
                                        arith::layernorm_out(z, q->m[i], q->B[i], q->s[i], q->out.bits) + 128;
                    }
                }
                INFO(to_string(isa) << " C " << C << " reach " << reach);
                REQUIRE(same);
            }
}

namespace {

// Whether `groups` names every group of four numbers of `high` that has any; of more than 128 numbers a row,
// where the AVX-512 product asks.
bool covers(Isa isa, const cpu::Buffer<uint64_t>& groups, const uint8_t* high, int64_t ld, int rows,
            int64_t n) {
    if (isa != Isa::avx512vnni || n <= 128) return true;
    for (int r = 0; r < rows; ++r)
        for (int64_t j = 0; j < n; ++j)
            if (high[r * ld + j] && !(groups[r * cpu::group_words(ld) + j / 256] >> (j / 4 % 64) & 1))
                return false;
    return true;
}

}  // namespace

TEST_CASE("cpu: Shiftmax rows are arithmetic.h's for every parameter", "[cpu]") {
    for (const Isa isa : instruction_sets())
        for (const Fill how : fills)
            for (int trial = 0; trial < 120; ++trial) {
                // Flat rows beside peaked ones, of exponentials so small that their reciprocal passes 32
                // bits.
                const bool flat = trial >= 100;
                const int64_t n = trial < 70 ? 1 + trial : flat ? uniform(130, 400) : uniform(1, 1100);
                auto q = std::make_shared<QuantNode>();
                ShiftParams& s = q->quant.shift;
                s.n = static_cast<int>(uniform(1, 30));
                s.k = static_cast<int>(uniform(4, 16));
                s.M = trial % 3 == 0 ? 31 : trial % 3 == 1 ? 47 : static_cast<int>(uniform(20, 62));
                s.t = static_cast<int>(uniform(0, 8));
                if (trial % 4 == 0) s.n = 15, s.k = 16, s.t = 4;
                q->i0 = int64_t{1} << uniform(0, trial % 2 ? 9 : 16);
                q->i0 += uniform(0, q->i0 - 1);
                if (flat) s.n = static_cast<int>(uniform(1, 5)), s.M = 47, s.k = 16, q->i0 = uniform(1, 9);
                auto from = std::make_shared<QuantNode>();
                from->out.bits = trial % 5 == 4 && !flat ? static_cast<int>(uniform(9, 16))
                                                         : static_cast<int>(uniform(4, 8));
                Graph g;
                Node logits, softmax;
                logits.op = Op::attn_logits;
                softmax.op = Op::softmax;
                softmax.inputs = {0};
                g.nodes = {logits, softmax};
                QuantizedModel model;
                model.graph = std::make_shared<Graph>(g);
                model.nodes = {from, q};
                const auto packed = cpu::pack_node(model, 1, nullptr);
                const int64_t reach = int64_t{1} << (from->out.bits - 1);
                const int rows = static_cast<int>(uniform(1, tile_rows));
                const int64_t ld = (n + 63) / 64 * 64 + uniform(0, 9);
                std::vector<int16_t> x(static_cast<size_t>(rows * ld));
                // Tables end where the distances do: all of them, and any part.
                fill(x.data(), rows * ld, trial % 2 ? -reach : uniform(-reach, reach - 1), reach - 1, how);
                if (flat) std::fill_n(x.begin(), n, x[0]);
                std::vector<uint8_t> low(x.size() + 64, 0xAA), high(x.size() + 64, 0xAA);
                cpu::Buffer<uint64_t> groups(rows * cpu::group_words(ld));
                bool upper = true, same = true;
                if (from->out.bits <= 8) {
                    cpu::Buffer<uint8_t> x8(rows * ld);
                    for (int64_t j = 0; j < rows * ld; ++j)
                        x8[j] = static_cast<uint8_t>(x[static_cast<size_t>(j)] + 128);
                    upper = cpu::kernels(isa).shiftmax(x8.data(), ld, rows, n, packed->shiftmax(), low.data(),
                                                       high.data(), groups.data());
                    same = !upper || covers(isa, groups, high.data(), ld, rows, n);
                } else {
                    for (int64_t at = 0; at < rows * ld; at += ld)
                        cpu::shiftmax_wide(&x[static_cast<size_t>(at)], n, *packed,
                                           &low[static_cast<size_t>(at)], &high[static_cast<size_t>(at)]);
                }
                for (int r = 0; r < rows; ++r) {
                    const int16_t* row = &x[static_cast<size_t>(r * ld)];
                    const int64_t max = *std::max_element(row, row + n);
                    const auto e = [&](int64_t v) {
                        return arith::shift_exp((v - max) * (1 << s.t), q->i0, s.n);
                    };
                    int64_t d = 0;
                    for (int64_t j = 0; j < n; ++j) d += e(row[j]);
                    const int64_t f = arith::shift_reciprocal(d, s.M);
                    for (int64_t j = 0; j < n; ++j) {
                        const int64_t p = arith::shift_share(e(row[j]), f, s.M, s.k);
                        const auto at = static_cast<size_t>(r * ld + j);
                        same = same && low[at] + (upper ? high[at] * 256 : 0) == p;
                    }
                }
                INFO(to_string(isa) << " n " << n << " bits " << from->out.bits << " M " << s.M << " k "
                                    << s.k << " planes " << packed->planes.count);
                REQUIRE(same);
            }
}

TEST_CASE("cpu: a product of both bytes of p, with Shiftmax of the next rows beside it", "[cpu]") {
    for (const Isa isa : instruction_sets())
        for (int trial = 0; trial < 120; ++trial) {
            const Kernels& k = cpu::kernels(isa);
            const int64_t n = trial < 70 ? 1 + 2 * trial : uniform(1, 300), ld = (n + 63) / 64 * 64;
            const int rows = static_cast<int>(uniform(1, tile_rows)),
                      waiting = static_cast<int>(uniform(1, tile_rows)),
                      d = 16 * static_cast<int>(uniform(1, 4));
            cpu::Buffer<uint8_t> low(rows * ld), high(rows * ld);
            fill(low.data(), rows * ld, 0, 255, Fill::random);
            fill(high.data(), rows * ld, 0, 128, trial % 3 ? Fill::random : Fill::one_hot);
            // From nearly none to nearly all; and some rows with none.
            const int64_t rare = uniform(1, 60);
            for (int64_t j = 0; j < rows * ld && trial % 4; ++j)
                if (uniform(0, rare) || (j / ld) % 3 == trial % 5) high[j] = 0;
            // Bits past the last number may be anything.
            cpu::Buffer<uint64_t> groups(rows * cpu::group_words(ld));
            for (int r = 0; r < rows; ++r)
                for (int64_t j = 0; j < cpu::group_words(ld) * 256; ++j)
                    if (j < n ? high[r * ld + j] != 0 : j % 3 == 0)
                        groups[r * cpu::group_words(ld) + j / 256] |= uint64_t{1} << (j / 4 % 64);
            std::vector<int8_t> v(static_cast<size_t>(d * n));
            fill(v.data(), d * n, -128, 127, Fill::random);
            const cpu::Panels panels = cpu::pack_weights(v.data(), d, n);
            const cpu::Buffer<int32_t> init(tile_cols);

            cpu::Buffer<uint64_t> e(256);
            const int step = static_cast<int>(uniform(4, 60));
            for (int i = 0; i < 256; ++i) e[i] = uint64_t{160 << 15} >> std::min(i / step, 20);
            cpu::PackedNode::Planes planes;
            planes.fill(e);
            const cpu::ShiftmaxView q{e.data(), planes.view(), 47, 16};
            cpu::Buffer<uint64_t> of_waiting(waiting * cpu::group_words(ld));
            cpu::Buffer<uint8_t> x(waiting * ld), p[4];
            for (auto& plane : p) plane.grow(waiting * ld);
            const int64_t reach = uniform(1, 255);
            fill(x.data(), waiting * ld, 255 - reach, 255, Fill::random);
            cpu::ShiftmaxRows job{x.data(), ld, waiting, n, q, p[0].data(), p[1].data(), of_waiting.data()};
            cpu::Finish before;
            before.to = cpu::Finish::To::shiftmax;
            before.logits = &job;

            const cpu::UpperBytes upper_bytes{high.data(), trial % 5 ? groups.data() : nullptr};
            alignas(64) int32_t acc[tile_rows * tile_cols];
            k.gemm_tile(low.data(), &upper_bytes, ld, panels.panel(0), panels.k4(), init.data(), rows,
                        panels.width(0), acc, before);
            bool same = !job.upper || covers(isa, of_waiting, p[1].data(), ld, waiting, n);
            for (int r = 0; r < rows; ++r)
                for (int c = 0; c < d; ++c) {
                    int64_t sum = 0;
                    for (int64_t j = 0; j < n; ++j)
                        sum += (low[r * ld + j] + high[r * ld + j] * 256) *
                               int64_t{v[static_cast<size_t>(c * n + j)]};
                    same = same && acc[r * tile_cols + c] == sum;
                }
            const bool upper = cpu::kernels(Isa::scalar)
                                   .shiftmax(x.data(), ld, waiting, n, q, p[2].data(), p[3].data(), nullptr);
            for (int r = 0; r < waiting; ++r)
                for (int64_t at = r * ld; at < r * ld + n; ++at)
                    same =
                        same && p[0][at] == p[2][at] && (job.upper ? p[1][at] : 0) == (upper ? p[3][at] : 0);
            INFO(to_string(isa) << " n " << n << " rows " << rows << " waiting " << waiting << " d " << d);
            REQUIRE(same);
        }
}

TEST_CASE("cpu: patches and positions are exact in every instruction set", "[cpu]") {
    for (const Isa isa : instruction_sets())
        for (const int64_t p : {4, 8, 16, 20}) {
            const int64_t stride = 3 * p + uniform(0, 40);
            std::vector<uint8_t> pixels(static_cast<size_t>(stride * p)), tables(3 * 256),
                got(3 * 400 + 1, 0xAA), expected(got);
            fill(pixels.data(), stride * p, 0, 255, Fill::random);
            fill(tables.data(), 3 * 256, 0, 255, Fill::random);
            cpu::kernels(isa).patch(pixels.data(), stride, p, tables.data(), got.data());
            for (int64_t c = 0; c < 3; ++c)
                for (int64_t y = 0; y < p; ++y)
                    for (int64_t x = 0; x < p; ++x)
                        expected[static_cast<size_t>((c * p + y) * p + x)] = tables[static_cast<size_t>(
                            c * 256 + pixels[static_cast<size_t>(y * stride + 3 * x + c)])];
            INFO(to_string(isa) << " p " << p);
            REQUIRE(got == expected);
        }
    for (const Isa isa : instruction_sets())
        for (int64_t n = 1; n < 100; ++n) {
            std::vector<int16_t> x(static_cast<size_t>(n)), got(x.size() + 1, 77), expected(got);
            std::vector<int16_t> constant(x.size());
            const Fill how = fills[n % 5];
            fill(x.data(), n, -32768, 32767, how);
            fill(constant.data(), n, -32768, 32767, how);
            const auto lo = static_cast<int32_t>(uniform(-32768, -1)),
                       hi = static_cast<int32_t>(uniform(0, 32767));
            const bool without = n % 3 == 0;
            cpu::kernels(isa).add_constant(without ? nullptr : x.data(), constant.data(), n, lo, hi,
                                           got.data());
            for (size_t i = 0; i < x.size(); ++i)
                expected[i] = static_cast<int16_t>(std::clamp(constant[i] + (without ? 0 : x[i]), lo, hi));
            INFO(to_string(isa) << " n " << n);
            REQUIRE(got == expected);
        }
}

TEST_CASE("cpu: positions of any size are added in place", "[cpu]") {
    for (const Isa isa : instruction_sets())
        for (const int64_t reach : {100, 32767, 40000, 2000000000}) {
            const int64_t tokens = 5, C = 70, batch = 2;
            auto q = std::make_shared<QuantNode>();
            q->out.bits = static_cast<int>(uniform(8, 16));
            q->constant.resize(static_cast<size_t>(tokens * C));
            fill(q->constant.data(), tokens * C, -reach, reach, Fill::random);
            Graph g;
            Node pos;
            pos.op = Op::pos_embed;
            pos.shape = {tokens, C};
            g.nodes = {pos};
            QuantizedModel model;
            model.graph = std::make_shared<Graph>(g);
            model.nodes = {q};
            const auto packed = cpu::pack_node(model, 0, nullptr);
            std::vector<int16_t> x(static_cast<size_t>(batch * tokens * C)), expected;
            fill(x.data(), batch * tokens * C, -32768, 32767, Fill::random);
            expected = x;
            const int64_t first = 3, last = 9, c0 = 6, c1 = 69;
            for (int64_t row = first; row < last; ++row)
                for (int64_t c = c0; c < c1; ++c) {
                    int16_t& y = expected[static_cast<size_t>(row * C + c)];
                    const int64_t sum = (row % tokens ? y : 0) +
                                        int64_t{q->constant[static_cast<size_t>(row % tokens * C + c)]};
                    y = static_cast<int16_t>(std::clamp(sum, q->out.low(), q->out.high()));
                }
            cpu::add_positions(cpu::kernels(isa), *packed, first, last, tokens, c0, c1, x.data());
            INFO(to_string(isa) << " reach " << reach);
            REQUIRE(x == expected);
        }
}

// ---- Whole networks ----

namespace {

std::shared_ptr<const Model> random_network(const vit::Dims& dims, float spread) {
    auto m = std::make_shared<Model>();
    m->graph = vit::make_graph(dims);
    m->info.name = "random";
    m->info.family = "vit";
    std::mt19937 g(5);
    std::normal_distribution<float> normal(0, spread);
    for (const auto& spec : vit::weight_specs(dims)) {
        auto t = std::make_shared<FloatTensor>();
        t->shape = spec.shape;
        const bool norm_gain = spec.name.find("norm") != std::string::npos && spec.name.ends_with("weight");
        for (int64_t i = 0; i < elements(spec.shape); ++i)
            t->data.push_back(normal(g) + (norm_gain ? 1.0f : 0.0f));
        m->weights[spec.name] = t;
    }
    return m;
}

Calibration calibration_of(const Model& m) {
    const int side = m.graph->image_size;
    return calibrate(
        m, 2, [&](int64_t) { return pictures(side, 1, Fill::random); }, RangeMethod::mse, 2);
}

// In every instruction set, on one thread and on two.
void compare_networks(const std::shared_ptr<const QuantizedModel>& q, const Pixels& pixels, int batch,
                      const std::string& what, IntegerNetwork* previous = nullptr,
                      std::unique_ptr<IntegerNetwork>* keep = nullptr) {
    const auto expected = expected_of(q, pixels, batch);
    for (const Isa isa : instruction_sets())
        for (const int threads : {1, 2}) {
            INFO(what << ", " << to_string(isa) << ", threads " << threads << ", batch " << batch);
            auto network = cpu::make_backend(threads, isa)->load(q, previous);
            check_network(*network, *expected, pixels, batch);
            if (keep) *keep = std::move(network);
        }
}

}  // namespace

TEST_CASE("cpu equals reference on whole networks of odd shapes", "[cpu][network]") {
    struct Case {
        vit::Dims dims;
        float spread;
    };
    for (const auto& [dims, spread] : std::vector<Case>{
             {{16, 8, 60, 3, 111, 2, 7, 1e-6f}, 0.05f},     // d = 20, hidden odd, 5 tokens
             {{24, 4, 64, 2, 256, 1, 10, 1e-6f}, 0.3f},     // d = 32, 37 tokens
             {{40, 5, 21, 3, 50, 1, 3, 1e-6f}, 0.5f},       // d = 7, 65 tokens, C not a multiple of anything
             {{8, 8, 70, 1, 130, 1, 65, 1e-6f}, 0.1f},      // d = 70, 2 tokens
             {{96, 8, 192, 3, 768, 1, 1000, 1e-6f}, 0.02f}  // d = 64, 145 tokens
         }) {
        const auto model = random_network(dims, spread);
        const Calibration calibration = calibration_of(*model);
        for (const char* spec : {"W8A8", "W4A4"})
            for (const Fill how : {Fill::random, Fill::lowest, Fill::one_hot}) {
                const auto q = quantize(model, calibration, QuantConfig::from_spec(spec));
                const int batch = how == Fill::random ? 3 : 1;
                compare_networks(q, pictures(dims.image_size, batch, how), batch,
                                 std::string(spec) + ", width " + std::to_string(dims.width));
            }
    }
}

TEST_CASE("cpu equals reference at every width, preset and mode", "[cpu][network]") {
    const vit::Dims dims{32, 8, 48, 3, 96, 2, 10, 1e-6f};
    const auto model = random_network(dims, 0.15f);
    const Calibration calibration = calibration_of(*model);
    const auto pixels = pictures(32, 2, Fill::random);
    std::unique_ptr<IntegerNetwork> previous;
    const auto check = [&](const QuantConfig& c, const std::string& what) {
        // Loaded once afresh and once with what the last configuration packed.
        const auto q = quantize(model, calibration, c);
        compare_networks(q, pixels, 2, what);
        std::unique_ptr<IntegerNetwork> next;
        compare_networks(q, pixels, 2, what + ", requantized", previous.get(), &next);
        previous = std::move(next);
    };
    for_every_configuration(check);
}

TEST_CASE("cpu equals reference on DeiT-T's blocks and the bundled model", "[cpu][network]") {
    std::vector<std::shared_ptr<const Model>> models = {random_model("deit_tiny_patch16_48")};
    const std::filesystem::path bundled = IVIT_SOURCE_DIR "/assets/vit_tiny_cifar10.safetensors";
    if (std::filesystem::exists(bundled))
        models.push_back(load_model(bundled));
    else
        WARN("no bundled model");
    for (const auto& model : models) {
        const Calibration calibration = calibration_of(*model);
        const auto q = quantize(model, calibration, QuantConfig());
        compare_networks(q, pictures(model->graph->image_size, 1, Fill::random), 1, model->info.name);
    }
}

TEST_CASE("cpu runs one node alone as reference does", "[cpu][network]") {
    const vit::Dims dims{24, 4, 60, 3, 111, 1, 10, 1e-6f};
    const auto model = random_network(dims, 0.2f);
    for (const char* spec : {"W8A8", "W2A4/16"}) {
        QuantConfig config = QuantConfig::from_spec(spec);
        config.logits_bits = spec[1] == '2' ? 12 : 8;
        const auto q = quantize(model, calibration_of(*model), config);
        for (const Isa isa : instruction_sets()) {
            INFO(to_string(isa) << " " << spec);
            check_nodes(*cpu::make_backend(2, isa)->load(q), q);
        }
    }
}

TEST_CASE("cpu: a stop request ends the run, and timings name every node once", "[cpu][network]") {
    const auto model = random_network({16, 8, 48, 3, 96, 2, 10, 1e-6f}, 0.1f);
    const auto q = quantize(model, calibration_of(*model), QuantConfig());
    const auto network = cpu::make_backend(2)->load(q);
    const auto pixels = pictures(16, 1, Fill::random);
    std::stop_source source;
    source.request_stop();
    RunOptions options;
    options.stop = source.get_token();
    CHECK_THROWS_AS(network->run(pixels, 1, options), Cancelled);
    options = {};
    options.time_nodes = true;
    check_timings(*network->run(pixels, 1, options));
    CHECK_THROWS_AS(network->run(std::span(pixels).first(10), 1, {}), Error);
}

TEST_CASE("cpu: every vector instruction set has a measured limit") {
    for (const Isa isa : {Isa::avx2, Isa::avxvnni, Isa::avx512vnni}) {
        if (isa > best_isa()) continue;
        INFO(to_string(isa));
        // A slow clock of 1 GHz does one multiplying instruction of 8 products a cycle.
        CHECK(cpu::make_backend(1, isa)->measure_peak() > 8e9 / 4);
    }
    CHECK(cpu::make_backend(1, Isa::scalar)->measure_peak() == 0);
}
