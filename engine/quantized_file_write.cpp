// SPDX-License-Identifier: Apache-2.0
// Saving a quantized model; quantized_model.md describes the file.
#include "engine/quantized_file.h"

#include <cstring>
#include <map>

#include <fmt/format.h>
#include <zlib.h>

#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit {

using namespace quantized_file;
using Json = nlohmann::ordered_json;

uint32_t quantized_file::crc32(std::span<const std::byte> bytes) {
    return static_cast<uint32_t>(
        ::crc32_z(0, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

Shape quantized_file::weight_shape(const Graph& g, const Node& n) {
    if (n.op == Op::patch_embed) return {n.cols(), 3, n.patch, n.patch};
    return {n.cols(), g.nodes[static_cast<size_t>(n.inputs[0])].cols()};
}

int64_t quantized_file::dyadic_pairs(const Node& n) {
    switch (n.op) {
        case Op::patch_embed:
        case Op::head:
        case Op::layernorm:
        case Op::residual_add:
            return n.cols();
        case Op::linear:
            return n.to_residual ? 0 : n.cols();
        case Op::attn_logits:
        case Op::attn_context:
        case Op::gelu:
            return 1;
        case Op::input:
        case Op::pos_embed:
        case Op::softmax:
            return 0;
    }
    return 0;
}

Json quantized_file::nodes_to_json(const Graph& g, const std::vector<NodeQuant>& quants,
                                   const std::vector<Grid>& grids) {
    Json list = Json::array();
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        const Node& n = g.nodes[i];
        Json j{{"name", n.name}, {"op", to_string(n.op)}, {"inputs", n.inputs}, {"shape", n.shape}};
        j["bits"] = quants[i].out_bits;
        if (has_weights(n.op)) j["weight_bits"] = quants[i].weight_bits;
        if (n.heads) j["heads"] = n.heads;
        if (n.op == Op::softmax || n.op == Op::gelu) {
            const ShiftParams& p = quants[i].shift;
            j["n"] = p.n;
            j["k"] = p.k;
            j["M"] = p.M;
            j["t"] = p.t;
        }
        if (n.op == Op::gelu) j["pivot"] = quants[i].shift.row_pivot ? "row" : "zero";
        // The accumulators' scales are the products of the input's and the weights' scales.
        if (!n.to_residual) j["scale"] = grids[i].scale;
        list.push_back(std::move(j));
    }
    return list;
}

namespace {

std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

class Writer {
  public:
    template <class T>
    void add(const std::string& name, const char* dtype, Shape shape, const T& data) {
        constexpr size_t width = sizeof(data[0]);
        TensorOut t{name, dtype, std::move(shape), std::vector<std::byte>(data.size() * width)};
        if (!data.empty()) std::memcpy(t.bytes.data(), data.data(), t.bytes.size());
        tensors_[width].push_back(std::move(t));
    }
    // Widest elements first, so that every tensor begins at a multiple of its element's size.
    std::vector<TensorOut> take() {
        std::vector<TensorOut> all;
        for (auto it = tensors_.rbegin(); it != tensors_.rend(); ++it) {
            std::move(it->second.begin(), it->second.end(), std::back_inserter(all));
        }
        return all;
    }

  private:
    std::map<size_t, std::vector<TensorOut>> tensors_;
};

// The tensors of one node, as engine/quantized_model.md lists them.
void add_node(Writer& out, const Graph& g, const Node& n, const QuantNode& node) {
    if (has_weights(n.op)) {
        out.add(n.weight, "I8", weight_shape(g, n), node.weight);
        out.add(n.bias, "I32", {n.cols()}, node.bias);
        out.add(n.name + ".weight_scale", "F64", {n.cols()}, node.weight_scale);
    }
    if (const int64_t pairs = dyadic_pairs(n)) {
        out.add(n.name + ".m", "I32", {pairs}, node.m);
        out.add(n.name + ".s", "I32", {pairs}, node.s);
    }
    if (n.op == Op::residual_add) {
        out.add(n.name + ".mt", "I32", {1}, std::vector<int32_t>{node.mt});
        out.add(n.name + ".st", "I32", {1}, std::vector<int32_t>{node.st});
    }
    if (n.op == Op::layernorm) out.add(n.name + ".B", "I64", {n.cols()}, node.B);
    if (n.op == Op::softmax || n.op == Op::gelu)
        out.add(n.name + ".i0", "I64", {1}, std::vector<int64_t>{node.i0});
    if (n.op == Op::pos_embed) out.add(n.name + ".constant", "I32", n.shape, node.constant);
    if (n.op == Op::input) out.add(n.name + ".table", "I8", {3, 256}, node.table);
    if (n.op == Op::gelu && !node.table.empty()) out.add(n.name + ".table", "I8", {256}, node.table);
}

Json model_to_json(const ModelInfo& info, const Graph& g) {
    // Found again from any folder; what has no checksum is no file.
    std::error_code failed;
    const auto absolute = std::filesystem::absolute(info.source, failed);
    const std::string source = info.sha256.empty() || failed ? info.source : absolute.string();
    float eps = 0;
    for (const Node& n : g.nodes)
        if (n.op == Op::layernorm) eps = n.eps;
    return {{"name", info.name},
            {"family", info.family},
            {"source", source},
            {"sha256", info.sha256},
            {"dtype", info.dtype},
            {"parameters", info.parameters},
            {"image_size", g.image_size},
            {"patch_size", g.patch_size},
            {"width", g.width},
            {"heads", g.heads},
            {"hidden", g.hidden},
            {"depth", g.depth},
            {"classes", g.classes},
            {"eps", eps},
            {"mean", info.mean},
            {"std", info.std},
            {"crop_pct", info.crop_pct},
            {"labels", info.labels},
            {"assumptions", info.assumptions}};
}

}  // namespace

void save(const QuantizedModel& q, const std::filesystem::path& file) {
    std::error_code not_there;
    if (std::filesystem::equivalent(file, q.info.source, not_there))
        throw Error("this is the checkpoint that the model was made from: it is not written over",
                    file.string(), "name another file for the output");
    const Graph& g = *q.graph;
    std::vector<NodeQuant> quants;
    std::vector<Grid> grids;
    Writer out;
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        const QuantNode& node = *q.nodes[i];
        if (node.quant.mode != Mode::integer) {
            throw Error(fmt::format("the mode of {} is {}, a quantized file holds integers only",
                                    g.nodes[i].name, to_string(node.quant.mode)),
                        file.string(), "save it with every node in mode integer");
        }
        quants.push_back(node.quant);
        grids.push_back(node.out);
        add_node(out, g, g.nodes[i], node);
    }
    std::map<std::string, std::string> metadata{{"model", dump(model_to_json(q.info, g))},
                                                {"config", dump(q.config.to_json())},
                                                {"calibration", dump(q.calibration.to_json())},
                                                {"nodes", dump(nodes_to_json(g, quants, grids))}};
    const std::vector<TensorOut> tensors = out.take();
    Json checksums;
    for (const auto& [name, text] : metadata) checksums[name] = crc32(std::as_bytes(std::span(text)));
    for (const TensorOut& t : tensors) checksums[t.name] = crc32(t.bytes);
    metadata["crc32"] = dump(checksums);
    metadata["format"] = format_name;
    metadata["version"] = format_version;
    write_safetensors(file, tensors, metadata);
}

}  // namespace ivit
