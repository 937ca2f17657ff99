# SPDX-License-Identifier: Apache-2.0
# ImageNet's class names become part of the library, so that an installed program needs no path to them.
set(labels_tsv ${CMAKE_SOURCE_DIR}/assets/imagenet1k_labels.tsv)
set(labels_cpp ${CMAKE_CURRENT_BINARY_DIR}/imagenet1k_labels.cpp)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${labels_tsv})
file(READ ${labels_tsv} labels)
file(CONFIGURE OUTPUT ${labels_cpp} @ONLY CONTENT [[
#include <string_view>
namespace ivit {
extern const std::string_view imagenet1k_labels_tsv;
const std::string_view imagenet1k_labels_tsv = R"tsv(@labels@)tsv";
}
]])
