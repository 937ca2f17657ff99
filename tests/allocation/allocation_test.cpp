// SPDX-License-Identifier: Apache-2.0
// After its first run a network of the cpu backend allocates the Trace it hands out and nothing else, on any
// of its threads. A program of its own: it stands in for malloc. Exit status 77 where a sanitizer does.
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "engine/backend.h"
#include "engine/calibration.h"
#include "engine/quantized_model.h"
#include "tests/small_model.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int main() { return 77; }
#else

namespace {
std::atomic<long> allocations{0};
}

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* old, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
    ++allocations;
    return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
    ++allocations;
    return __libc_calloc(count, bytes);
}
void* realloc(void* old, size_t bytes) {
    ++allocations;
    return __libc_realloc(old, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
    ++allocations;
    return __libc_memalign(alignment, bytes);
}
}

using namespace ivit;

int main() {
    const auto model = test::small_model();
    Pixels pictures = test::picture(model->graph->image_size, 1);
    const Pixels second = test::picture(model->graph->image_size, 2);
    const auto calibration = calibrate(
        *model, 2, [&](int64_t i) { return i ? second : pictures; }, RangeMethod::minmax, 1);
    const auto quantized = quantize(model, calibration, {});
    int failed = 0;
    for (const int threads : {1, 2}) {
        const auto network = make_backend("cpu", threads)->load(quantized);
        Pixels batch = pictures;
        batch.insert(batch.end(), second.begin(), second.end());
        network->run(batch, 2, {});
        // The Trace and its two lists of logits; a smaller batch needs nothing new either.
        for (const int pictures_a_run : {2, 1, 2}) {
            const std::span<const uint8_t> pixels(batch.data(),
                                                  pictures.size() * static_cast<size_t>(pictures_a_run));
            const long before = allocations;
            const auto trace = network->run(pixels, pictures_a_run, {});
            const long made = allocations - before;
            if (made > 3 || made < 1) {  // none at all: nothing was counted
                std::fprintf(stderr, "%ld allocations in a run of %d with %d threads, 3 expected\n", made,
                             pictures_a_run, threads);
                ++failed;
            }
        }
    }
    return failed ? 1 : 0;
}
#endif
