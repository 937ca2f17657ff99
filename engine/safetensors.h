// SPDX-License-Identifier: Apache-2.0
// safetensors files: reading that trusts nothing, mapped or into memory; atomic writing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "engine/weights.h"

namespace ivit {

struct TensorView {
    std::string dtype;  // "F32", "F16", "BF16", "I8", "I16", "I32", "I64", "U8", ...
    Shape shape;
    std::span<const std::byte> bytes;  // valid while the Safetensors lives
};

class Safetensors : public std::enable_shared_from_this<Safetensors> {
  public:
    // Maps the file and checks all of its header (length, JSON, dtypes, shapes, offsets inside the file, no
    // overlap, no gap). Throws Error in one sentence; allocates nothing on the file's word.
    static std::shared_ptr<const Safetensors> open(const std::filesystem::path& file);
    // The same, read into memory: whatever becomes of the file afterwards, the result stays as it is.
    static std::shared_ptr<const Safetensors> read(const std::filesystem::path& file);
    // The same over bytes in memory (fuzzing, tests); `bytes` must outlive the result.
    static std::shared_ptr<const Safetensors> parse(std::span<const std::byte> bytes,
                                                    const std::string& name);

    const std::map<std::string, TensorView>& tensors() const { return tensors_; }
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    const std::string& name() const { return name_; }

    bool contains(const std::string& tensor) const { return tensors_.count(tensor) != 0; }
    // Checked access: throws Error naming the tensor and what was expected.
    const TensorView& get(const std::string& tensor) const;
    // F32, F16 or BF16 to FP32; refuses other types, a shape other than `expected` (unless that is empty) and
    // NaN/inf.
    FloatTensor floats(const std::string& tensor, const Shape& expected) const;
    // Exact integer types only (I8, I16, I32, I64), same checks.
    template <class T>
    std::vector<T> integers(const std::string& tensor, const Shape& expected) const;
    // An I8 tensor where it lies in the mapping or in what was read, which stays as long as the result; of
    // bytes in memory that are another's, a copy.
    Weights weights(const std::string& tensor, const Shape& expected) const;
    // Who has read what it wanted says so: the mapping leaves the resident set until somebody reads it again.
    void let_go() const;

    ~Safetensors();

  private:
    Safetensors() = default;
    std::map<std::string, TensorView> tensors_;
    std::map<std::string, std::string> metadata_;
    std::string name_;
    void* map_ = nullptr;  // of open()
    size_t map_bytes_ = 0;
    std::vector<std::byte> buffer_;  // of read()
};

// For writing. Tensors are written in the order given.
struct TensorOut {
    std::string name, dtype;
    Shape shape;
    std::vector<std::byte> bytes;
};
void write_safetensors(const std::filesystem::path& file, const std::vector<TensorOut>& tensors,
                       const std::map<std::string, std::string>& metadata);

// Writes `bytes` beside `file`, syncs and renames: readers see the old file or the whole new one. Throws
// Error (full disk, unwritable folder) and then leaves nothing behind.
void write_atomically(const std::filesystem::path& file, std::span<const std::byte> bytes);
// Throws the Error that write_atomically would, as far as that can be told beforehand: no such folder, or one
// that may not be written. For before the work; a disk may still fill up during it.
void check_writable(const std::filesystem::path& file);

// Lower-case hex SHA-256 of a file's bytes.
std::string sha256_file(const std::filesystem::path& file);
std::string sha256(std::span<const std::byte> bytes);

}  // namespace ivit
