// SPDX-License-Identifier: Apache-2.0
#include "engine/families/family.h"
#include "engine/families/vit.h"

namespace ivit {

const std::vector<Family>& families() {
    static const std::vector<Family> list = {
        {"vit", vit::detect, vit::load, vit::random, vit::architectures, vit::graph},
    };
    return list;
}

}  // namespace ivit
