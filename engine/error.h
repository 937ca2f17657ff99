// SPDX-License-Identifier: Apache-2.0
// The one exception of the project. Thrown where bad input is met, caught once in the session's worker and
// once in the command line's main().
#pragma once
#include <stdexcept>
#include <string>
#include <utility>

namespace ivit {

// what: one clear sentence without a full stop ("tensor blocks.0.attn.qkv.weight has shape [3, 4], expected
// [192, 64]"). where: the file, node or option it is about; may be empty. hint: what the person can do; may
// be empty.
class Error : public std::runtime_error {
  public:
    explicit Error(std::string what, std::string where = {}, std::string hint = {})
        : std::runtime_error(where.empty() ? what : where + ": " + what),
          what_(std::move(what)),
          where_(std::move(where)),
          hint_(std::move(hint)) {}

    const std::string& sentence() const { return what_; }
    const std::string& where() const { return where_; }
    const std::string& hint() const { return hint_; }

  private:
    std::string what_, where_, hint_;
};

// Work was cancelled by a newer request or by Ctrl-C: not a failure, never shown as one.
struct Cancelled : std::exception {
    const char* what() const noexcept override { return "cancelled"; }
};

}  // namespace ivit
