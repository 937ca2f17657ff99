// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/one_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    ivit::test::one_input(std::as_bytes(std::span(data, size)));
    return 0;
}
