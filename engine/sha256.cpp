// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), with the processor's own instructions where it has them: a checkpoint of 346 MB is
// hashed while it is being read.
#include <fcntl.h>
#include <immintrin.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit {
namespace {

alignas(16) constexpr uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<uint32_t, 8>;

// `blocks` blocks of 64 bytes.
void compress_portable(State& state, const uint8_t* p, size_t blocks) {
    for (; blocks; --blocks, p += 64) {
        uint32_t w[64];
        for (int t = 0; t < 16; ++t)
            w[t] = uint32_t{p[4 * t]} << 24 | uint32_t{p[4 * t + 1]} << 16 | uint32_t{p[4 * t + 2]} << 8 |
                   p[4 * t + 3];
        for (int t = 16; t < 64; ++t) {
            const uint32_t s0 = std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
            const uint32_t s1 = std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);
            w[t] = w[t - 16] + s0 + w[t - 7] + s1;
        }
        auto [a, b, c, d, e, f, g, h] = state;
        for (int t = 0; t < 64; ++t) {
            const uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
            const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + K[t] + w[t];
            const uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
            const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        const State step = {a, b, c, d, e, f, g, h};
        for (size_t i = 0; i < 8; ++i) state[i] += step[i];
    }
}

// The same with the SHA extensions: four rounds a step, the message schedule in four registers that take
// turns.
__attribute__((target("sha,sse4.1"))) void compress_sha_ni(State& state, const uint8_t* p, size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    // The instructions want the state as {a, b, e, f} and {c, d, g, h}, high word first.
    __m128i abef = _mm_set_epi32(static_cast<int>(state[0]), static_cast<int>(state[1]),
                                 static_cast<int>(state[4]), static_cast<int>(state[5]));
    __m128i cdgh = _mm_set_epi32(static_cast<int>(state[2]), static_cast<int>(state[3]),
                                 static_cast<int>(state[6]), static_cast<int>(state[7]));
    for (; blocks; --blocks, p += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; ++i)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p) + i), swap);
#pragma GCC unroll 16
        for (int t = 0; t < 16; ++t) {
            __m128i& now = w[t & 3];
            if (t >= 4) {  // words 4t .. 4t+3 from the 16 before them
                const __m128i &w1 = w[(t + 1) & 3], &w2 = w[(t + 2) & 3], &w3 = w[(t + 3) & 3];
                now = _mm_add_epi32(_mm_sha256msg1_epu32(now, w1), _mm_alignr_epi8(w3, w2, 4));
                now = _mm_sha256msg2_epu32(now, w3);
            }
            const __m128i wk = _mm_add_epi32(now, _mm_load_si128(reinterpret_cast<const __m128i*>(K) + t));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    alignas(16) uint32_t x[4], y[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(x), abef);
    _mm_store_si128(reinterpret_cast<__m128i*>(y), cdgh);
    state = {x[3], x[2], y[3], y[2], x[1], x[0], y[1], y[0]};
}

bool has_sha_ni() {
    static const bool has = [] {
        unsigned a = 0, b = 0, c = 0, d = 0;
        __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
        if (a < 7 || !__builtin_cpu_supports("sse4.1")) return false;
        __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
        return (b & (1U << 29)) != 0;
    }();
    return has;
}

// The digest of a message that comes in pieces.
class Sha256 {
  public:
    void update(std::span<const std::byte> bytes) {
        length_ += bytes.size();
        const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
        size_t n = bytes.size();
        if (held_) {  // complete the block that the piece before left open
            const size_t take = std::min(n, sizeof block_ - held_);
            std::memcpy(block_ + held_, p, take);
            held_ += take;
            p += take;
            n -= take;
            if (held_ < sizeof block_) return;
            compress_(state_, block_, 1);
        }
        compress_(state_, p, n / 64);
        held_ = n % 64;
        if (held_) std::memcpy(block_, p + n - held_, held_);
    }

    // The last block: a 1 bit, zeros, and the message's length in bits in its last 8 bytes.
    std::string hex() {
        uint8_t tail[128] = {};
        const size_t tail_bytes = held_ < 56 ? 64 : 128;
        std::memcpy(tail, block_, held_);
        tail[held_] = 0x80;
        for (size_t i = 0; i < 8; ++i)
            tail[tail_bytes - 1 - i] = static_cast<uint8_t>((length_ * 8) >> (8 * i));
        compress_(state_, tail, tail_bytes / 64);
        std::string text;
        for (const uint32_t word : state_)
            for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[(word >> shift) & 15];
        return text;
    }

  private:
    State state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    void (*compress_)(State&, const uint8_t*, size_t) = has_sha_ni() ? compress_sha_ni : compress_portable;
    uint8_t block_[64] = {};
    size_t held_ = 0;  // bytes in block_
    uint64_t length_ = 0;
};

}  // namespace

std::string sha256(std::span<const std::byte> bytes) {
    Sha256 digest;
    digest.update(bytes);
    return digest.hex();
}

std::string sha256_file(const std::filesystem::path& file) {
    const auto fail = [&](const std::string& reason) {
        throw Error("cannot read the file: " + reason, file.string());
    };
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) fail(std::strerror(errno));
    struct stat st {};
    if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        ::close(fd);
        fail("it is not a regular file");
    }
    // Read rather than mapped: a page fault costs more than copying the page.
    Sha256 digest;
    std::vector<std::byte> buffer(1 << 20);
    ssize_t n = 0;
    while ((n = ::read(fd, buffer.data(), buffer.size())) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        digest.update({buffer.data(), static_cast<size_t>(n)});
    }
    const int reason = errno;
    ::close(fd);
    if (n < 0) fail(std::strerror(reason));
    return digest.hex();
}

}  // namespace ivit
