// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/prepared.h"

#include <algorithm>

namespace ivit::cuda {
namespace {

constexpr int most_norm_cols = 2048;  // layernorm.cu

}  // namespace

std::vector<Slabs> cut_weights(const Graph& graph, const Plan& plan, const Launch& at) {
    std::vector<Slabs> slabs(graph.nodes.size());
    if (at.arch != 90) return slabs;
    const auto node = [&](int i) -> const Node& { return graph.nodes[static_cast<size_t>(i)]; };
    for (const size_t k : find_blocks(graph, plan)) {
        const Step* const s = &plan.steps[k];
        const auto width = static_cast<int32_t>(node(s[0].first).cols());
        const Slabs qkv = qkv_slabs(width);
        const MlpSlabs mlp = mlp_slabs(width);
        if (qkv.parts == node(s[1].first).heads) slabs[static_cast<size_t>(s[0].last)] = qkv;
        if (node(s[3].last).cols() != 4 * node(s[0].first).cols()) continue;
        slabs[static_cast<size_t>(s[2].first)] = mlp.proj;
        slabs[static_cast<size_t>(s[3].first + 1)] = mlp.fc1;
        slabs[static_cast<size_t>(s[4].first)] = mlp.fc2;
    }
    return slabs;
}

// Fills in what a step's kernels need and decides whether they can take it. Pointers into `arena` are offsets
// until it is uploaded; `pending` and the two lists of tables tell where they are.
PreparedSteps prepare_steps(const QuantizedModel& model, const Plan& plan,
                            const std::vector<std::shared_ptr<const PackedNode>>& nodes, const Launch& at) {
    const Graph& graph = *model.graph;
    const auto node = [&](int i) -> const Node& { return graph.nodes[static_cast<size_t>(i)]; };
    const auto quant = [&](int i) -> const QuantNode& { return *model.nodes[static_cast<size_t>(i)]; };
    const auto packed = [&](int i) -> const PackedNode& { return *nodes[static_cast<size_t>(i)]; };
    // How the first input of a node lies in memory.
    const auto input_form = [&](int i) { return form_of(graph, node(i).inputs.at(0)); };
    PreparedSteps result;
    Arena arena;
    arena.add<uint8_t>(nullptr, 0);
    struct Pending {
        Columns* to;
        ColumnsOffsets from;
    };
    std::vector<Pending> pending;
    std::vector<std::pair<const uint32_t**, size_t>> tables;
    std::vector<std::pair<const int8_t**, size_t>> gelu_tables;
    result.steps.resize(plan.steps.size());
    // Of node `from`'s accumulators, which node `by` requantizes, to bytes as they are stored or not.
    const auto columns = [&](Prepared& p, Columns& to, int from, int by, bool bytes) {
        const Grid& grid = quant(by).out;
        to.spare = bytes ? std::max(0, 8 - grid.bits) : 0;
        const ColumnsOffsets offsets =
            pack_columns(arena, packed(from).out, quant(from), quant(by), packed(from).greatest, to.spare);
        to.fits = offsets.fits;
        to.low = static_cast<int32_t>(grid.low());
        to.top = static_cast<int32_t>(grid.high());
        p.fast = p.fast && offsets.possible;
        pending.push_back({&to, offsets});
    };
    const auto product = [&](Linear& to, int i) {
        const PackedNode& w = packed(i);
        to.w = w.w;
        to.w_side = w.w_side;
        to.ldw = w.ldw;
        to.w_rows = w.w_rows;
        to.cols = w.out.stride;
        to.k = static_cast<int32_t>(round_up(w.in.at(w.in.cols - 1) + 1, 32));
        to.lda = w.in.stride;
    };
    const auto norm = [&](Prepared& p, int i) {
        LayerNorm& to = p.norm;
        const Form in = input_form(i);
        to.in_stride = in.layout.stride;
        to.cols = in.layout.cols;
        to.mean = FastDiv(2 * to.cols);
        to.rows = FastDiv(static_cast<int32_t>(node(i).rows()));
        to.tokens = static_cast<int32_t>(in.rows);
        columns(p, to.columns, i, i, true);
    };
    for (size_t k = 0; k < plan.steps.size(); ++k) {
        const Step& step = plan.steps[k];
        Prepared& p = result.steps[k];
        bool fast = step.kind != StepKind::single;
        for (int i = step.first; i <= step.last; ++i) fast = fast && quant(i).quant.mode == Mode::integer;
        if (!fast) continue;
        p.fast = true;
        Linear& linear = p.linear;
        linear.ldo = step.out.layout.stride;
        switch (step.kind) {
            case StepKind::patch_embed: {
                const Node& embed = node(step.first + 1);
                product(linear, step.first + 1);
                linear.epilogue = Epilogue::position;
                columns(p, linear.columns, step.first + 1, step.first + 1, false);
                linear.position = packed(step.last).constant;
                linear.low2 = static_cast<int32_t>(quant(step.last).out.low());
                linear.top2 = static_cast<int32_t>(quant(step.last).out.high());
                linear.tokens = FastDiv(static_cast<int32_t>(step.out.rows));
                p.patches.table = packed(step.first).table;
                p.patches.ldo = linear.lda;
                p.patches.size = graph.image_size;
                p.patches.tokens = static_cast<int32_t>(step.out.rows);
                p.patches.patch = FastDiv(embed.patch);
                p.patches.area = FastDiv(embed.patch * embed.patch);
                p.patches.across = FastDiv(graph.image_size / embed.patch);
                result.scratch_bytes = std::max(result.scratch_bytes, step.out.rows * linear.lda);
                break;
            }
            case StepKind::linear:
            case StepKind::head: {
                norm(p, step.first);
                p.fast = p.fast && p.norm.cols <= most_norm_cols;
                product(linear, step.first + 1);
                linear.epilogue = step.kind == StepKind::head ? Epilogue::logits : Epilogue::int8;
                const bool gelu_follows = step.last > step.first + 1,
                           looked_up = gelu_follows && !quant(step.last).quant.shift.row_pivot;
                columns(p, linear.columns, step.first + 1, step.first + 1,
                        step.kind == StepKind::linear && !looked_up);
                result.scratch_bytes = std::max(result.scratch_bytes, node(step.first).rows() * linear.lda);
                if (!gelu_follows) break;
                if (looked_up) {
                    linear.epilogue = Epilogue::gelu;
                    linear.table = packed(step.last).table;
                    break;
                }
                p.gelu.cols = p.gelu.ld = step.out.layout.stride;
                gelu_tables.push_back({&p.gelu.table, arena.add(std::vector<int8_t>(128 * 256))});
                result.scratch2_bytes = std::max(result.scratch2_bytes, step.out.bytes_per_picture());
                break;
            }
            case StepKind::attention: {
                const QuantNode &l = quant(step.first), &s = quant(step.first + 1), &c = quant(step.last);
                const Form in = input_form(step.first);
                Attention& a = p.attention;
                a.heads = node(step.first).heads;
                a.padded = in.layout.padded;
                a.ld = in.layout.stride;
                a.tokens = static_cast<int32_t>(in.rows);
                a.batch = 1;
                a.ldo = step.out.layout.stride;
                a.m_logits = l.m[0];
                a.s_logits = l.s[0];
                a.low_logits = static_cast<int32_t>(l.out.low());
                a.top_logits = static_cast<int32_t>(l.out.high());
                a.m_context = c.m[0];
                a.s_context = c.s[0];
                a.low_context = static_cast<int32_t>(c.out.low());
                a.top_context = static_cast<int32_t>(c.out.high());
                a.M = s.quant.shift.M;
                a.k = s.quant.shift.k;
                a.entries = 1 << l.out.bits;
                std::vector<uint32_t> table(static_cast<size_t>(a.entries));
                p.fast = exponentials(s.i0, s.quant.shift, a.entries, table.data()) && attention_fits(a, at);
                a.greatest = table[0];
                if (p.fast) tables.push_back({&a.exponential, arena.add(table)});
                break;
            }
            case StepKind::residual: {
                product(linear, step.first);
                linear.epilogue = Epilogue::residual;
                const QuantNode& add = quant(step.last);
                p.fast = add.st >= 17 && add.st <= 47;  // the old stream's share is one of 32 bits
                columns(p, linear.columns, step.first, step.last, false);
                linear.mt = add.mt;
                linear.st = add.st;
                break;
            }
            case StepKind::single:
                break;
        }
    }
    result.memory = arena.upload(at.stream);
    const uint8_t* base = result.memory.as<uint8_t>();
    for (const Pending& c : pending) {
        c.to->m = reinterpret_cast<const int32_t*>(base + c.from.m);
        c.to->r = reinterpret_cast<const int64_t*>(base + c.from.r);
        c.to->s = base + c.from.s;
    }
    for (const auto& [to, offset] : tables) *to = reinterpret_cast<const uint32_t*>(base + offset);
    for (const auto& [to, offset] : gelu_tables) *to = reinterpret_cast<const int8_t*>(base + offset);
    for (size_t k = 0; k < plan.steps.size(); ++k) {
        if (result.steps[k].gelu.table == nullptr) continue;
        const int i = plan.steps[k].last;
        const QuantNode& g = quant(i);
        plain::gelu_table({g.i0, g.quant.shift}, g.m[0], g.s[0], g.out.bits,
                          const_cast<int8_t*>(result.steps[k].gelu.table), at);
    }
    for (const size_t k : find_blocks(graph, plan)) {
        const Step* const s = &plan.steps[k];
        const Prepared* const p = &result.steps[k];
        bool fast = p[3].gelu.table == nullptr;
        for (size_t i = 0; i < block_steps; ++i) fast = fast && p[i].fast;
        if (!fast) continue;
        Block b{k, {}, {}};
        const auto cut = [&](Linear linear, int i) {
            linear.w = packed(i).slabs;
            linear.rows = static_cast<int32_t>(node(i).rows());
            return linear;
        };
        const Linear& qkv = p[0].linear;
        BlockAttention& half = b.attention;
        half.norm = p[0].norm;
        half.w = packed(s[0].last).slabs;
        half.w_side = qkv.w_side;
        half.ldw = qkv.ldw;
        half.w_rows = qkv.w_rows;
        half.columns = qkv.columns;
        half.attention = p[1].attention;
        b.mlp = {cut(p[2].linear, s[2].first), cut(p[3].linear, s[3].first + 1), cut(p[4].linear, s[4].first),
                 p[3].norm};
        result.blocks.push_back(b);
    }
    return result;
}

}  // namespace ivit::cuda
