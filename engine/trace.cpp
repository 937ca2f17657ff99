// SPDX-License-Identifier: Apache-2.0
#include "engine/trace.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ivit {

const Tap* Trace::tap(int node) const {
    // Kept in node order.
    const auto it =
        std::lower_bound(taps.begin(), taps.end(), node, [](const Tap& t, int n) { return t.node < n; });
    return it != taps.end() && it->node == node ? &*it : nullptr;
}

std::vector<double> probabilities(const Trace& t, int picture) {
    const size_t classes = t.logits.size() / static_cast<size_t>(t.batch);
    const float* x = t.logits.data() + static_cast<size_t>(picture) * classes;
    if (classes == 0) return {};
    const double top = static_cast<double>(*std::max_element(x, x + classes));
    std::vector<double> p(classes);
    for (size_t i = 0; i < classes; ++i) p[i] = std::exp(static_cast<double>(x[i]) - top);
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& v : p) v /= sum;
    return p;
}

std::vector<int> top_k(const Trace& t, int picture, int k) {
    const bool integers = !t.integer_logits.empty();
    const size_t classes =
        (integers ? t.integer_logits.size() : t.logits.size()) / static_cast<size_t>(t.batch);
    const size_t first = static_cast<size_t>(picture) * classes;
    std::vector<int> order(classes);
    std::iota(order.begin(), order.end(), 0);
    const size_t n = std::min(static_cast<size_t>(std::max(k, 0)), classes);
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n), order.end(),
                      [&](int a, int b) {
                          const size_t i = first + static_cast<size_t>(a), j = first + static_cast<size_t>(b);
                          if (integers && t.integer_logits[i] != t.integer_logits[j])
                              return t.integer_logits[i] > t.integer_logits[j];
                          if (!integers && t.logits[i] != t.logits[j]) return t.logits[i] > t.logits[j];
                          return a < b;
                      });
    order.resize(n);
    return order;
}

}  // namespace ivit
