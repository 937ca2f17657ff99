// SPDX-License-Identifier: Apache-2.0
// What a failing CUDA call becomes: one sentence for people, file, line and expression as its hint, and a
// `where` by which `auto` knows that the GPU is gone (tests/fallback_test.cpp: what it does then). Without
// nvcc there is no such call.
#ifdef IVIT_HAS_CUDA
#include <catch2/catch.hpp>

#include "engine/backends/cpu/network.h"
#include "engine/backends/cuda/check.h"
#include "engine/backends/cuda/network.h"
#include "tests/small_model.h"

using namespace ivit;

namespace {

Error error_of(cudaError_t code) {
    try {
        IVIT_CUDA_CHECK(code);
    } catch (const Error& e) {
        return e;
    }
    return Error("nothing was thrown");
}

}  // namespace

TEST_CASE("every CUDA error is one sentence with file, line and expression", "[cuda_errors]") {
    CHECK(error_of(cudaSuccess).sentence() == "nothing was thrown");
    for (const auto& [code, words] : std::vector<std::pair<cudaError_t, std::string>>{
             {cudaErrorMemoryAllocation, "not enough free memory"},
             {cudaErrorNoDevice, "there is no CUDA GPU on this machine"},
             {cudaErrorInsufficientDriver, "NVIDIA driver"},
             {cudaErrorCallRequiresNewerDriver, "NVIDIA driver"},
             {cudaErrorUnsupportedPtxVersion, "NVIDIA driver"},
             {cudaErrorSystemDriverMismatch, "different versions"},
             {cudaErrorSystemNotReady, "not ready"},
             {cudaErrorDevicesUnavailable, "in use by another program"},
             {cudaErrorNoKernelImageForDevice, "no code for this GPU's architecture"},
             {cudaErrorInvalidDeviceFunction, "no code for this GPU's architecture"},
             {cudaErrorIllegalAddress, "the GPU failed (an illegal memory access"},
             {cudaErrorLaunchFailure, "the GPU failed ("},
             {cudaErrorECCUncorrectable, "the GPU failed ("},
         }) {
        const Error e = error_of(code);
        INFO(e.what());
        CHECK(e.sentence().find(words) != std::string::npos);
        CHECK(e.sentence().find('\n') == std::string::npos);
        CHECK(e.where() == "cuda");
        CHECK(e.hint().find("cuda_errors_test.cpp:") != std::string::npos);
        CHECK(e.hint().find(": code: cudaError") != std::string::npos);
        CHECK(e.hint().find('/') == std::string::npos);
    }
}

TEST_CASE("memory that is missing on the host is not said to be missing on the GPU", "[cuda_errors]") {
    const auto sentence = [](const char* expression) {
        try {
            cuda::fail(cudaErrorMemoryAllocation, expression, "check.h", 1);
        } catch (const Error& e) {
            return e.sentence();
        }
    };
    CHECK(sentence("cudaMalloc(&data_, bytes)") == "the GPU has not enough free memory");
    CHECK(sentence("cudaMallocHost(&data_, bytes)").find("the GPU has not") == std::string::npos);
}

TEST_CASE("a GPU without free memory leaves the work to the CPU under auto, and says so",
          "[cuda_errors][gpu]") {
    if (const std::string why = cuda::unavailable(); !why.empty()) {
        WARN("not tested on a GPU: " << why);
        return;
    }
    const auto model = test::small_model();
    const auto pixels = test::picture(model->graph->image_size, 3);
    const auto q = quantize(model,
                            calibrate(
                                *model, 1, [&](int64_t) { return pixels; }, RangeMethod::minmax, 1),
                            QuantConfig());
    const auto expected = cpu::make_backend(1)->load(q)->run(pixels, 1, {})->integer_logits;
    const auto chosen = make_backend("auto", 1), asked_for = make_backend("cuda", 1);
    REQUIRE(chosen->info().name == "cuda");
    // All there is, in ever smaller pieces.
    std::vector<cuda::DeviceBuffer> hog;
    for (size_t bytes = size_t{64} << 30; bytes >= 1 << 12;) {
        try {
            hog.emplace_back(bytes);
        } catch (const Error&) {
            bytes /= 2;
        }
    }
    try {
        asked_for->load(q)->run(pixels, 1, {});
        FAIL("ran without memory");
    } catch (const Error& e) {
        CHECK(e.sentence().find("not enough free memory") != std::string::npos);
    }
    CHECK(chosen->load(q)->run(pixels, 1, {})->integer_logits == expected);
    CHECK(chosen->info().name == "cpu");
    CHECK(chosen->info().gpu_lost.find("not enough free memory") != std::string::npos);
    hog.clear();  // the GPU itself is none the worse
    CHECK(asked_for->load(q)->run(pixels, 1, {})->integer_logits == expected);
}
#endif
