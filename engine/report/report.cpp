// SPDX-License-Identifier: Apache-2.0
#include "engine/report/report.h"

#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>

#include "engine/cpu_info.h"
#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/png.h"
#include "engine/report/report_parts.h"
#include "engine/safetensors.h"
#include "engine/version.h"

namespace ivit {

namespace fs = std::filesystem;

namespace {

constexpr int bins = 64;
constexpr size_t worst_nodes = 10;

std::string now_utc() {
    const std::time_t t = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    std::tm utc{};
    gmtime_r(&t, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return text;
}

std::string base64(std::span<const uint8_t> bytes) {
    static const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string s;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const size_t n = std::min<size_t>(3, bytes.size() - i);
        const uint32_t v = static_cast<uint32_t>(bytes[i] << 16 | (n > 1 ? bytes[i + 1] << 8 : 0) |
                                                 (n > 2 ? bytes[i + 2] : 0));
        s += digits[v >> 18];
        s += digits[v >> 12 & 63];
        s += n > 1 ? digits[v >> 6 & 63] : '=';
        s += n > 2 ? digits[v & 63] : '=';
    }
    return s;
}

// Both networks' values of one node in the same bins, and where its grid clamps.
Json histogram(const Comparison& c, int node) {
    const IntTensor& q = c.integer_trace->tap(node)->integers;
    const FloatTensor& f = c.float_trace->tap(node)->floats;
    const FloatTensor r = dequantize(q);
    double low = INFINITY, high = -INFINITY;
    for (const auto* values : {&f.data, &r.data})
        for (const float v : *values) {
            low = std::min<double>(low, v);
            high = std::max<double>(high, v);
        }
    if (!(high > low)) high = low + 1;
    std::vector<int64_t> floats(bins), integers(bins);
    const auto count = [&](const std::vector<float>& values, std::vector<int64_t>& counts) {
        for (const float v : values)
            ++counts[static_cast<size_t>(
                std::clamp(static_cast<int>((v - low) / (high - low) * bins), 0, bins - 1))];
    };
    count(f.data, floats);
    count(r.data, integers);
    Json j = {{"low", low}, {"high", high}, {"float", floats}, {"integer", integers}};
    if (q.grid.bits < 32) {
        const double s = *std::max_element(q.grid.scale.begin(), q.grid.scale.end());
        j["clamp"] = {s * static_cast<double>(q.grid.low()), s * static_cast<double>(q.grid.high())};
    }
    return j;
}

// "blocks.3.attn.softmax:2" -> node index and head.
std::pair<int, int> parse_head(const std::string& text, const Graph& g) {
    const size_t colon = text.rfind(':');
    const int node = colon == std::string::npos ? -1 : g.find(text.substr(0, colon));
    int head = -1;
    if (colon != std::string::npos && text.find_first_not_of("0123456789", colon + 1) == std::string::npos &&
        text.size() - colon < 6 && colon + 1 < text.size())
        head = std::stoi(text.substr(colon + 1));
    if (node < 0 || g.nodes[static_cast<size_t>(node)].op != Op::softmax || head < 0 ||
        head >= g.nodes[static_cast<size_t>(node)].heads)
        throw Error("the model has no head '" + text + "'", "--head", "for example blocks.0.attn.softmax:0");
    return {node, head};
}

std::pair<int, int> worst_head(const Comparison& c) {
    std::pair<int, int> worst{-1, 0};
    double most = -1;
    for (const NodeError& e : c.cumulative)
        for (size_t h = 0; h < e.kl_per_head.size(); ++h)
            if (e.kl_per_head[h] > most) {
                most = e.kl_per_head[h];
                worst = {e.node, static_cast<int>(h)};
            }
    return worst;
}

Json attention(const Comparison& c, const std::string& head_name) {
    const Graph& g = *c.model->graph;
    const auto [node, head] = head_name.empty() ? worst_head(c) : parse_head(head_name, g);
    const Node& n = g.nodes[static_cast<size_t>(node)];
    const IntTensor& p = c.integer_trace->tap(node)->integers;
    const IntTensor& x = c.integer_trace->tap(n.inputs[0])->integers;
    const size_t N = static_cast<size_t>(n.cols()),
                 at = static_cast<size_t>(head) * N * N;  // the class token's row
    std::vector<double> shiftmax, softmax(N);
    double sum = 0, row = 0;
    const int32_t top = *std::max_element(x.data.begin() + static_cast<std::ptrdiff_t>(at),
                                          x.data.begin() + static_cast<std::ptrdiff_t>(at + N));
    for (size_t j = 0; j < N; ++j) {
        shiftmax.push_back(p.data[at + j] * p.grid.scale[0]);
        row += shiftmax.back();
        sum += softmax[j] = std::exp(x.grid.scale[0] * (x.data[at + j] - top));
    }
    for (double& v : softmax) v /= sum;
    Json j = {{"node", n.name},
              {"head", head},
              {"chosen", !head_name.empty()},
              {"query", "class token"},
              {"grid", g.image_size / g.patch_size},
              {"kl", c.cumulative[static_cast<size_t>(node)].kl_per_head[static_cast<size_t>(head)]},
              {"row_sum", row},
              {"class_token", {{"shiftmax", shiftmax[0]}, {"softmax", softmax[0]}}}};
    if (const Mode mode = c.model->nodes[static_cast<size_t>(node)]->quant.mode; mode != Mode::integer)
        j["operator"] = softmax_name(mode);
    j["shiftmax"] = std::vector<double>(shiftmax.begin() + 1, shiftmax.end());
    j["softmax"] = std::vector<double>(softmax.begin() + 1, softmax.end());
    return j;
}

// Without the "[json.exception.type_error.302] " in front.
std::string what_is_wrong(const Json::exception& e) {
    const std::string what = e.what();
    return what.substr(std::min(what.size(), what.find("] ") + 2));
}

std::string operating_system() {
    utsname u{};
    return uname(&u) == 0 ? std::string(u.sysname) + " " + u.release + " " + u.machine : "unknown";
}

// The nodes with the most error made so far, and where their values lie.
Json worst_of(const Comparison& c) {
    std::vector<const NodeError*> order;
    for (const NodeError& n : c.cumulative) order.push_back(&n);
    std::stable_sort(order.begin(), order.end(),
                     [](const auto* a, const auto* b) { return a->sqnr_db < b->sqnr_db; });
    order.resize(std::min(worst_nodes, order.size()));
    Json worst = Json::array();
    for (const NodeError* n : order)
        worst.push_back({{"name", c.model->graph->nodes[static_cast<size_t>(n->node)].name},
                         {"sqnr_db", n->sqnr_db},
                         {"histogram", histogram(c, n->node)}});
    return worst;
}

Json image_of(const ReportInput& in, const ReportOptions& o) {
    const int size = in.comparison.model->graph->image_size;
    Json image = comparison_json(in.comparison, in.file, o.top);
    image["sha256"] = in.sha256;
    image["pixels_sha256"] = sha256(std::as_bytes(std::span(in.pixels)));
    image["thumbnail"] = "data:image/png;base64," + base64(encode_png(in.pixels, size, size));
    image["worst"] = worst_of(in.comparison);
    image["attention"] = attention(in.comparison, o.head);
    return image;
}

Json latency_of(const BenchResult& r, int batch, const Effective& e) {
    const bool gpu = e.backend.name == "cuda";
    Json j = {
        {"method", std::string("end to end, pixels to logits, alternating in one process after warm-up") +
                       (gpu ? "" : ", same threads")},
        {"baseline", gpu ? "FP32, oneDNN, on the CPU" : "FP32, oneDNN"},
        {"batch", batch},
        {"float_ms", latency_json(r.floats)},
        {"integer_ms", latency_json(r.integers)},
        {"speedup", r.speedup},
        {"disturbed", disturbed(r)}};
    if (r.processor_share) j["processor_share"] = *r.processor_share;
    for (const BenchLayer& l : r.layers)
        j["layers"].push_back({{"name", e.graph->nodes[static_cast<size_t>(l.first)].name},
                               {"last", e.graph->nodes[static_cast<size_t>(l.last)].name},
                               {"float_ms", l.float_ms},
                               {"integer_ms", l.integer_ms}});
    return j;
}

// Throws Error unless `evaluation` is whole and of this model.
void check_evaluation_of(const ModelInfo& model, const Json& evaluation) {
    try {
        check_evaluation(evaluation);
        evaluation.at("model").at("sha256").get<std::string>();
    } catch (const Json::exception& e) {
        throw Error("the evaluation is damaged: " + what_is_wrong(e));
    }
    if (evaluation.at("model").at("sha256") != model.sha256)
        throw Error("the evaluation is of another model: " +
                    evaluation.at("model").value("name", std::string("unknown")));
}

}  // namespace

Json build_report(const Effective& e, const std::vector<ReportInput>& inputs, const ReportOptions& o) {
    Json report = document("report", e);
    report["created"] = now_utc();
    report["versions"] = {{"ivit", version()}, {"compiler", __VERSION__}, {"report", 1}};
    report["machine"]["cpu"] = cpu_name();
    report["machine"]["cores"] = available_cores();
    report["machine"]["system"] = operating_system();
    report["options"] = {{"top", o.top}, {"head", o.head}};
    report["reproduce"] = o.commands;
    if (!o.skipped.empty()) report["skipped"] = o.skipped;
    report["calibration_ranges"] = e.calibration.to_json();
    if (o.causes) report["causes"] = *o.causes;
    report["images"] = Json::array();
    for (const ReportInput& in : inputs) report["images"].push_back(image_of(in, o));
    if (o.latency) report["latency"] = latency_of(*o.latency, o.batch, e);
    if (o.evaluation) {
        check_evaluation_of(e.model, *o.evaluation);
        report["evaluation"] = *o.evaluation;
    }
    // File names need not be UTF-8, and no form may depend on it: what every rendering reads is what the JSON
    // form will say.
    return Json::parse(report.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string shell_word(const std::string& s) {
    if (!s.empty() &&
        s.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%") ==
            std::string::npos)
        return s;
    std::string q = "'";
    for (const char c : s) q += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return q + "'";
}

std::vector<std::string> reproduce_commands(const Effective& e, const std::vector<std::string>& pictures,
                                            const std::vector<std::string>& more) {
    std::vector<std::string> commands;
    // "W4A8/8": what can be said in a word is; the residual's width is named where it is not 16.
    std::string spec = "W" + std::to_string(e.config.weight_bits) + "A" + std::to_string(e.config.act_bits);
    if (e.config.residual_bits != 16) spec += "/" + std::to_string(e.config.residual_bits);
    QuantConfig said = QuantConfig::from_spec(spec);
    if (e.config.preset != said.preset) said.set_preset(e.config.preset);
    std::string quant = " --quant " + spec + " --preset " + e.config.preset;
    if (!(said == e.config)) {
        commands.push_back("cat > ivit-config.json <<'END'\n" + e.config.to_json().dump() + "\nEND");
        quant = " --quant ivit-config.json";
    }
    std::string command = "ivit report";
    // A name that begins with a dash would be taken for an option.
    for (const auto& p : pictures) command += " " + shell_word(p[0] == '-' ? "./" + p : p);
    command += quant;
    for (const auto& word : more) command += " " + shell_word(word);
    command += " --backend " + e.backend.name;
    if (e.backend.threads > 0) command += " --threads " + std::to_string(e.backend.threads);
    commands.push_back(command + " -o report.html -o report.json");
    commands.push_back("ivit replay report.json");
    return commands;
}

namespace {

// "html" of "Report.HTML".
std::string kind_of(const fs::path& file) {
    std::string kind = file.extension().string();
    if (!kind.empty()) kind.erase(0, 1);
    for (char& c : kind) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return kind == "htm" ? "html" : kind;
}

}  // namespace

void check_report_name(const fs::path& file) {
    const std::string kind = kind_of(file);
    for (const char* known : {"html", "pdf", "json", "csv", "md"})
        if (kind == known) return;
    throw Error("cannot tell the kind of report from '" + file.extension().string() + "'", file.string(),
                "end the name in .html, .pdf, .json, .csv or .md");
}

void write_report(const Json& report, const fs::path& file) {
    check_report_name(file);
    const std::string kind = kind_of(file);
    const std::string bytes = kind == "html"  ? report_html(report)
                              : kind == "csv" ? report_csv(report)
                              : kind == "md"  ? report_markdown(report)
                              : kind == "pdf" ? report_pdf(report)
                                              : report.dump(1) + "\n";
    write_atomically(file, std::as_bytes(std::span(bytes)));
}

Json read_report(const fs::path& file) {
    Json j;
    try {
        j = read_json(file, "the report");
    } catch (const Error& e) {
        throw Error(e.sentence(), e.where(), "a report is replayed and compared in its .json form");
    }
    if (!j.is_object() || !j.contains("format") || j["format"] != "ivit-report")
        throw Error("this is not a report of ivit", file.string());
    if (!j.contains("version") || j["version"] != 1)
        throw Error("this report is of a version this program does not know", file.string());
    for (const char* field :
         {"model", "quant", "preset", "config", "calibration", "calibration_ranges", "images", "options"})
        if (!j.contains(field)) throw Error(std::string("the report lacks '") + field + "'", file.string());
    try {
        check_parts(j);
    } catch (const Json::exception& e) {
        throw Error("the report is damaged: " + what_is_wrong(e), file.string());
    }
    return j;
}

}  // namespace ivit
