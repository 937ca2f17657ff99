// SPDX-License-Identifier: Apache-2.0
// Named ViT and DeiT architectures with seeded random weights: for benchmarks and tests. Only additions,
// multiplications, divisions and square roots of doubles are used, so that every machine makes the same
// weights.
#include <array>
#include <cmath>

#include "engine/checkpoint.h"
#include "engine/families/vit.h"

namespace ivit::vit {
namespace {

struct Size {
    const char* name;
    int width, heads, depth;
};
constexpr Size sizes[] = {
    {"tiny", 192, 3, 12}, {"small", 384, 6, 12}, {"base", 768, 12, 12}, {"large", 1024, 16, 24}};

// Natural logarithm of 0 < x < 1, to about 1e-15: x = f * 2^e, ln f by the series of artanh.
double portable_log(double x) {
    int e = 0;
    const double f = std::frexp(x, &e);  // 0.5 <= f < 1
    const double z = (f - 1) / (f + 1), zz = z * z;
    double sum = 0;
    for (int k = 41; k >= 1; k -= 2) sum = sum * zz + 1.0 / k;
    return 2 * z * sum + e * 0.69314718055994530942;
}

// Inverse of the normal distribution (P. J. Acklam's rational approximation, relative error below 1.2e-9).
double normal_quantile(double p) {
    if (p > 0.5) return -normal_quantile(1 - p);
    if (p < 0.02425) {
        const double q = std::sqrt(-2 * portable_log(p));
        return (((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838) * q -
                  2.549732539343734) *
                     q +
                 4.374664141464968) *
                    q +
                2.938163982698783) /
               ((((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996) * q +
                 3.754408661907416) *
                    q +
                1);
    }
    const double q = p - 0.5, r = q * q;
    return (((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r - 2.759285104469687e+02) * r +
              1.383577518672690e+02) *
                 r -
             3.066479806614716e+01) *
                r +
            2.506628277459239) *
           q /
           (((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r - 1.556989798598866e+02) * r +
              6.680131188771972e+01) *
                 r -
             1.328068155288572e+01) *
                r +
            1);
}

// 65536 equally likely values of the standard normal distribution, truncated at 4.3 by that: one look-up a
// weight.
const std::array<float, 65536>& normal_table() {
    static const auto table = [] {
        std::array<float, 65536> t{};
        for (size_t i = 0; i < t.size(); ++i) t[i] = static_cast<float>(normal_quantile((i + 0.5) / 65536));
        return t;
    }();
    return table;
}

uint64_t splitmix64(uint64_t& state) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

// mean + std * normal, four weights of each 64 random bits.
void fill(std::vector<float>& data, uint64_t& state, float mean, float std) {
    const auto& table = normal_table();
    uint64_t bits = 0;
    for (size_t i = 0; i < data.size(); ++i, bits >>= 16) {
        if (i % 4 == 0) bits = splitmix64(state);
        data[i] = mean + std * table[bits & 0xffff];
    }
}

// Reads "deit_small_patch16_224"; false where it is no such name. Only the digits' count is bounded here.
bool parse(const std::string& arch, Dims& dims, bool& deit) {
    size_t at = 0;
    const auto skip = [&](const char* text) {
        const size_t n = std::char_traits<char>::length(text);
        if (arch.compare(at, n, text) != 0) return false;
        at += n;
        return true;
    };
    const auto number = [&](int& value) {
        const size_t from = at;
        for (value = 0; at < arch.size() && arch[at] >= '0' && arch[at] <= '9' && at - from < 5; ++at)
            value = value * 10 + (arch[at] - '0');
        return at > from;
    };
    deit = skip("deit_");
    if (!deit && !skip("vit_")) return false;
    bool sized = false;
    for (const Size& size : sizes)
        if (skip(size.name)) {
            dims.width = size.width;
            dims.heads = size.heads;
            dims.depth = size.depth;
            sized = true;
            break;
        }
    return sized && skip("_patch") && number(dims.patch_size) && skip("_") && number(dims.image_size) &&
           at == arch.size();
}

}  // namespace

std::shared_ptr<const Model> random(const std::string& arch, uint64_t seed) {
    Dims dims;
    bool deit = false;
    if (!parse(arch, dims, deit)) return nullptr;
    dims.hidden = 4 * dims.width;
    dims.classes = 1000;
    check(dims, arch);

    auto model = std::make_shared<Model>();
    model->graph = make_graph(dims);
    ModelInfo& info = model->info;
    info.name = arch;
    info.family = "vit";
    info.source = "seeded random weights (seed " + std::to_string(seed) + ")";
    info.dtype = "F32";
    if (deit) {
        info.mean = {0.485, 0.456, 0.406};
        info.std = {0.229, 0.224, 0.225};
    } else {
        info.crop_pct = 0.9;
    }
    info.labels = default_labels(dims.classes);

    // Gains near 1 and biases near 0 rather than exactly there, so that a test notices when one is left out.
    uint64_t state = seed;
    for (const WeightSpec& spec : weight_specs(dims)) {
        auto tensor = std::make_shared<FloatTensor>();
        tensor->shape = spec.shape;
        tensor->data.resize(static_cast<size_t>(elements(spec.shape)));
        const bool gain = spec.shape.size() == 1 && spec.name.ends_with(".weight");
        fill(tensor->data, state, gain ? 1.0F : 0.0F, 0.02F);
        info.parameters += static_cast<int64_t>(tensor->data.size());
        model->weights[spec.name] = std::move(tensor);
    }
    return model;
}

std::vector<std::string> architectures() {
    return {"deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224",
            "deit_base_patch16_384", "vit_tiny_patch16_224",   "vit_small_patch16_224",
            "vit_base_patch16_224",  "vit_base_patch32_224",   "vit_large_patch16_224"};
}

}  // namespace ivit::vit
