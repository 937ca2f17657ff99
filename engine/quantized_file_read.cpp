// SPDX-License-Identifier: Apache-2.0
// Loading a quantized model; quantized_model.md describes the file. Kernels trust what a QuantNode holds, so
// everything they rely on is checked here.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/families/family.h"
#include "engine/quantized_file.h"
#include "engine/safetensors.h"

namespace ivit {

using namespace quantized_file;

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t constant_limit = int64_t{1} << 30;

// The checksums of tensors and of metadata documents, which files of older programs do not have.
class Checksums {
  public:
    explicit Checksums(const Safetensors& file) : where_(file.name()) {
        const auto it = file.metadata().find("crc32");
        if (it == file.metadata().end()) return;
        list_ = Json::parse(it->second, nullptr, false);
        if (!list_.is_object()) throw Error("the metadata field crc32 is not a JSON object", where_);
    }
    // what: "tensor" or "the metadata field".
    void check(const char* what, const std::string& name, std::span<const std::byte> bytes) const {
        if (list_.is_null()) return;
        const auto it = list_.find(name);
        if (it == list_.end() || !it->is_number_unsigned())
            throw Error("the metadata field crc32 has no checksum of " + name, where_);
        if (const uint32_t found = crc32(bytes); *it != found)
            throw Error(fmt::format("{} {} is damaged: its CRC-32 is {}, expected {}", what, name, found,
                                    it->get<uint64_t>()),
                        where_, "copy the file anew, or make it anew with `ivit quantize`");
    }

  private:
    std::string where_;
    Json list_;
};

// A metadata document, with the sentences for what may be wrong in it.
class Document {
  public:
    Document(const Safetensors& file, const Checksums& checksums, const std::string& name)
        : where_(file.name()), name_(name) {
        const auto it = file.metadata().find(name);
        if (it == file.metadata().end()) throw Error("the metadata field " + name + " is missing", where_);
        checksums.check("the metadata field", name, std::as_bytes(std::span(it->second)));
        json_ = Json::parse(it->second, nullptr, false);
        if (json_.is_discarded()) throw Error("the metadata field " + name + " is not valid JSON", where_);
    }
    const Json& json() const { return json_; }

    template <class T>
    T get(const char* field) const {
        const auto it = json_.is_object() ? json_.find(field) : json_.end();
        if (!json_.is_object() || it == json_.end()) throw wrong(field, "is missing");
        try {
            return it->template get<T>();
        } catch (const Json::exception&) {
            throw wrong(field, "is of the wrong type");
        }
    }
    // A whole number of [low, high]: get<int> would cut a larger one, or a fraction, to size.
    int64_t integer(const char* field, int64_t low, int64_t high) const {
        const auto it = json_.is_object() ? json_.find(field) : json_.end();
        if (!json_.is_object() || it == json_.end()) throw wrong(field, "is missing");
        if (!it->is_number_integer()) throw wrong(field, "is not a whole number");
        const bool large =
            it->is_number_unsigned() && it->template get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
        const auto value = large ? INT64_MAX : it->template get<int64_t>();
        if (value < low || value > high)
            throw wrong(field, fmt::format("is {}, expected {} to {}", value, low, high));
        return value;
    }
    Error wrong(const char* field, const std::string& what) const {
        return Error(fmt::format("the metadata's {} {} {}", name_, field, what), where_);
    }

  private:
    std::string where_, name_;
    Json json_;
};

std::shared_ptr<const Graph> graph_from(const Document& doc, const std::string& family,
                                        const std::string& where) {
    Graph outline;
    const auto dimension = [&](const char* field) {
        return static_cast<int>(doc.integer(field, 1, 1 << 20));
    };
    outline.image_size = dimension("image_size");
    outline.patch_size = dimension("patch_size");
    outline.width = dimension("width");
    outline.heads = dimension("heads");
    outline.hidden = dimension("hidden");
    outline.depth = dimension("depth");
    outline.classes = dimension("classes");
    const auto eps = doc.get<double>("eps");
    if (!(eps >= 0 && eps < 1)) throw doc.wrong("eps", "is not a number from 0 to 1");
    for (const Family& f : families()) {
        if (family == f.name) return f.graph(outline, static_cast<float>(eps), where);
    }
    throw Error("the model family " + family.substr(0, 40) + " is not known to this program", where);
}

ModelInfo info_from(const Document& doc, const Graph& g) {
    ModelInfo info;
    info.name = doc.get<std::string>("name");
    info.family = doc.get<std::string>("family");
    info.source = doc.get<std::string>("source");
    info.sha256 = doc.get<std::string>("sha256");
    info.dtype = doc.get<std::string>("dtype");
    info.parameters = doc.integer("parameters", 0, INT64_MAX);
    info.crop_pct = doc.get<double>("crop_pct");
    info.labels = doc.get<std::vector<std::string>>("labels");
    info.assumptions = doc.get<std::vector<std::string>>("assumptions");
    const auto mean = doc.get<std::vector<double>>("mean"), std = doc.get<std::vector<double>>("std");
    if (mean.size() != 3) throw doc.wrong("mean", "does not have three entries");
    if (std.size() != 3 || !std::all_of(std.begin(), std.end(), [](double s) { return s > 0 && s < 1e6; })) {
        throw doc.wrong("std", "does not have three positive entries");
    }
    std::copy(mean.begin(), mean.end(), info.mean.begin());
    std::copy(std.begin(), std.end(), info.std.begin());
    if (!(info.crop_pct > 0.01 && info.crop_pct <= 1)) throw doc.wrong("crop_pct", "is not from 0.01 to 1");
    if (info.labels.size() != static_cast<size_t>(g.classes)) {
        throw doc.wrong("labels", fmt::format("has {} entries, expected {}", info.labels.size(), g.classes));
    }
    return info;
}

// Sum of |w|. In int32 as far as that reaches, which the compiler turns into vectors.
int64_t magnitude(const int8_t* w, size_t count) {
    int64_t sum = 0;
    while (count > 0) {
        const size_t n = std::min<size_t>(count, 1 << 16);
        int32_t part = 0;
        for (size_t i = 0; i < n; ++i) part += std::abs(static_cast<int>(w[i]));
        sum += part;
        w += n;
        count -= n;
    }
    return sum;
}

class Loader {
  public:
    Loader(const Safetensors& file, const Checksums& checksums, const Graph& graph,
           std::vector<NodeQuant> quants)
        : file_(file), checksums_(checksums), graph_(graph), quants_(std::move(quants)) {}

    std::vector<std::shared_ptr<const QuantNode>> run(const std::vector<std::vector<double>>& scales) {
        std::vector<std::shared_ptr<const QuantNode>> nodes;
        for (size_t i = 0; i < graph_.nodes.size(); ++i) {
            const Node& n = graph_.nodes[i];
            auto q = std::make_shared<QuantNode>();
            q->quant = quants_[i];
            q->out = {scales[i], q->quant.out_bits, n.op == Op::softmax};
            if (n.op == Op::softmax && q->out.scale[0] != std::ldexp(1.0, 1 - q->quant.shift.k)) {
                throw Error("the scale of " + n.name + " is not 2^(1-k)", file_.name());
            }
            if (has_weights(n.op)) read_weight(n, *q, nodes[static_cast<size_t>(n.inputs[0])]->out);
            read_dyadic(n, *q);
            read_constants(n, *q);
            nodes.push_back(std::move(q));
        }
        for (const auto& [name, view] : file_.tensors()) {
            if (!read_.count(name))
                throw Error("the tensor " + name.substr(0, 80) + " belongs to no node of the graph",
                            file_.name());
        }
        return nodes;
    }

  private:
    // Every tensor that is read passes here.
    void undamaged(const std::string& name) {
        read_.insert(name);
        checksums_.check("tensor", name, file_.get(name).bytes);
    }
    // The tensor `name`, every element within [low, high].
    template <class T>
    std::vector<T> within(const std::string& name, const Shape& shape, int64_t low, int64_t high) {
        undamaged(name);
        auto data = file_.integers<T>(name, shape);
        for (const T v : data) {
            check_within(name, v, low, high);
        }
        return data;
    }
    void check_within(const std::string& name, int64_t v, int64_t low, int64_t high) const {
        if (v < low || v > high) throw wrong(name, fmt::format("holds {}, expected {} to {}", v, low, high));
    }
    Error wrong(const std::string& tensor, const std::string& what) const {
        return Error("tensor " + tensor + " " + what, file_.name());
    }

    void read_weight(const Node& n, QuantNode& q, const Grid& in) {
        const int64_t top = int64_t{1} << (q.quant.weight_bits - 1), C = n.cols();
        undamaged(n.weight);
        q.weight = file_.weights(n.weight, weight_shape(graph_, n));
        if (top < 128)  // at 8 bits any byte will do
            for (const int8_t w : q.weight) check_within(n.weight, w, -top, top - 1);
        q.bias = within<int32_t>(n.bias, {C}, -constant_limit, constant_limit);
        // No accumulator may pass 32 bits whatever the input.
        const size_t K = q.weight.size() / static_cast<size_t>(C);
        for (size_t c = 0; c < static_cast<size_t>(C); ++c) {
            const int64_t sum = magnitude(q.weight.data() + c * K, K);
            if (sum * -in.low() + std::abs(static_cast<int64_t>(q.bias[c])) > INT32_MAX) {
                throw wrong(n.weight, fmt::format("makes sums that pass 32 bits in row {}", c));
            }
        }
        q.weight.let_go();
        const std::string name = n.name + ".weight_scale";
        undamaged(name);
        const TensorView& view = file_.get(name);
        if (view.dtype != "F64" || view.shape != Shape{C}) {
            throw wrong(name,
                        fmt::format("is {} {}, expected F64 [{}]", view.dtype, to_string(view.shape), C));
        }
        q.weight_scale.resize(static_cast<size_t>(C));
        std::memcpy(q.weight_scale.data(), view.bytes.data(), view.bytes.size());
        for (const double s : q.weight_scale) {
            if (!(s > 0 && s < 1e30)) throw wrong(name, "holds a scale that is not a positive number");
        }
        if (n.to_residual) {
            for (const double s : q.weight_scale) q.out.scale.push_back(in.scale[0] * s);
        }
    }

    void read_dyadic(const Node& n, QuantNode& q) {
        const int64_t pairs = dyadic_pairs(n);
        if (pairs == 0) return;
        q.m = within<int32_t>(n.name + ".m", {pairs}, -INT32_MAX, INT32_MAX);
        q.s = within<int32_t>(n.name + ".s", {pairs}, 1, n.op == Op::layernorm ? 54 : 62);
    }

    void read_constants(const Node& n, QuantNode& q) {
        switch (n.op) {
            case Op::input:
                q.table = within<int8_t>(n.name + ".table", {3, 256}, q.out.low(), q.out.high());
                break;
            case Op::pos_embed:
                q.constant = within<int32_t>(n.name + ".constant", n.shape, -constant_limit, constant_limit);
                break;
            case Op::layernorm:
                q.B = within<int64_t>(n.name + ".B", {n.cols()}, -(int64_t{1} << 61), int64_t{1} << 61);
                break;
            case Op::residual_add:
                q.mt = within<int32_t>(n.name + ".mt", {1}, -INT32_MAX, INT32_MAX)[0];
                q.st = within<int32_t>(n.name + ".st", {1}, 1, 62)[0];
                break;
            case Op::softmax:
            case Op::gelu: {
                // The sum of the exponentials stays within 62 bits (quantize.cpp, shift_i0).
                const std::string name = n.name + ".i0";
                q.i0 = within<int64_t>(name, {1}, 1, INT64_MAX)[0];
                const auto terms = static_cast<double>(n.op == Op::gelu ? 2 : n.cols());
                if (std::log2(static_cast<double>(q.i0)) + q.quant.shift.n + std::log2(terms) > 61) {
                    throw wrong(name, fmt::format("holds {}, too large for sums of 62 bits", q.i0));
                }
                if (n.op == Op::gelu && !q.quant.shift.row_pivot) {
                    q.table = within<int8_t>(n.name + ".table", {256}, q.out.low(), q.out.high());
                    if (q.table != gelu_table(q))
                        throw wrong(n.name + ".table", "is not what i0, m and s make");
                }
                break;
            }
            case Op::patch_embed:
            case Op::linear:
            case Op::attn_logits:
            case Op::attn_context:
            case Op::head:
                break;
        }
    }

    const Safetensors& file_;
    const Checksums& checksums_;
    const Graph& graph_;
    std::vector<NodeQuant> quants_;
    std::set<std::string> read_;
};

// One list of scales per node out of the metadata's nodes; empty for accumulators.
std::vector<std::vector<double>> scales_from(const Json& nodes, const Graph& g, const std::string& where) {
    if (!nodes.is_array() || nodes.size() != g.nodes.size()) {
        throw Error(
            fmt::format("the metadata describes {} nodes, the graph has {}", nodes.size(), g.nodes.size()),
            where);
    }
    std::vector<std::vector<double>> scales;
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        const Node& n = g.nodes[i];
        scales.emplace_back();
        if (n.to_residual) continue;
        const auto scale = nodes[i].is_object() ? nodes[i].find("scale") : nodes[i].end();
        const bool list = nodes[i].is_object() && scale != nodes[i].end() && scale->is_array() &&
                          scale->size() == static_cast<size_t>(n.groups);
        if (!list)
            throw Error(fmt::format("the metadata has no list of {} scales for {}", n.groups, n.name), where);
        for (const auto& s : *scale) {
            const double v = s.is_number() ? s.get<double>() : 0.0;
            if (!(v > 0 && v < 1e30))
                throw Error("a scale of " + n.name + " is not a positive number", where);
            scales.back().push_back(v);
        }
    }
    return scales;
}

}  // namespace

bool is_quantized(const std::filesystem::path& file) {
    const auto f = Safetensors::open(file);
    const auto it = f->metadata().find("format");
    return it != f->metadata().end() && it->second == format_name;
}

std::shared_ptr<const QuantizedModel> load_quantized(const Safetensors& file) {
    const auto& metadata = file.metadata();
    const auto text = [&](const char* name) {
        const auto it = metadata.find(name);
        return it == metadata.end() ? std::string() : it->second;
    };
    if (text("format") != format_name)
        throw Error("is not a quantized model (its metadata has no format = ivit-quantized)", file.name());
    if (text("version") != format_version) {
        throw Error(fmt::format("has format version \"{}\", this program reads version {}",
                                text("version").substr(0, 40), format_version),
                    file.name());
    }
    const Checksums checksums(file);
    const Document model(file, checksums, "model"), config(file, checksums, "config"),
        calibration(file, checksums, "calibration"), nodes(file, checksums, "nodes");
    auto q = std::make_shared<QuantizedModel>();
    q->graph = graph_from(model, model.get<std::string>("family"), file.name());
    q->info = info_from(model, *q->graph);
    const Graph& g = *q->graph;
    std::vector<NodeQuant> quants;
    try {
        q->config = QuantConfig::from_json(config.json());
        q->calibration = Calibration::from_json(calibration.json());
        quants = resolve(q->config, g);
    } catch (const Error& e) {
        throw Error(e.what(), file.name(), e.hint());
    }
    for (size_t i = 0; i < quants.size(); ++i) {
        if (quants[i].mode != Mode::integer)
            throw Error("the mode of " + g.nodes[i].name + " is not integer", file.name());
    }
    const auto scales = scales_from(nodes.json(), g, file.name());
    q->nodes = Loader(file, checksums, g, quants).run(scales);
    file.let_go();

    std::vector<Grid> grids;
    for (const auto& node : q->nodes) grids.push_back(node->out);
    const Json expected = nodes_to_json(g, quants, grids);
    for (size_t i = 0; i < expected.size(); ++i) {
        if (expected[i] != nodes.json()[i]) {
            throw Error("the metadata's description of " + g.nodes[i].name + " contradicts its configuration",
                        file.name());
        }
    }
    return q;
}

std::shared_ptr<const QuantizedModel> load_quantized(const std::filesystem::path& file) {
    return load_quantized(*Safetensors::open(file));
}

}  // namespace ivit
