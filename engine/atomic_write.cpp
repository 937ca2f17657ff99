// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit {
namespace {

namespace fs = std::filesystem;

// The file a chain of symbolic links ends at, which need not exist: it is replaced, and the links stay.
fs::path follow_links(fs::path file) {
    std::error_code ignored;
    for (int i = 0; i < 40 && fs::is_symlink(file, ignored); ++i) {
        const fs::path link = fs::read_symlink(file, ignored);
        if (ignored) break;
        file = link.is_absolute() ? link : file.parent_path() / link;
    }
    return file;
}

// All bytes to fd; false with errno set on failure.
bool write_all(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd, bytes.data(), std::min<size_t>(bytes.size(), size_t{1} << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return true;
}

[[noreturn]] void fail(const fs::path& file, int reason) {
    throw Error(std::string("cannot write the file: ") + std::strerror(reason), file.string());
}

}  // namespace

void check_writable(const fs::path& file) {
    struct stat st {};
    if (file.empty()) fail("the output", ENOENT);
    if (::stat(file.c_str(), &st) == 0) {
        if (S_ISDIR(st.st_mode)) fail(file, EISDIR);
        if (::access(file.c_str(), W_OK) != 0) fail(file, errno);
        if (!S_ISREG(st.st_mode)) return;
    }
    const fs::path target = follow_links(file);
    const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
    if (::stat(folder.c_str(), &st) != 0) fail(file, errno);
    if (!S_ISDIR(st.st_mode)) fail(file, ENOTDIR);
    if (::access(folder.c_str(), W_OK | X_OK) != 0) fail(file, errno);
}

void write_atomically(const fs::path& file, std::span<const std::byte> bytes) {
    struct stat st {};
    const bool exists = ::stat(file.c_str(), &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) fail(file, EISDIR);
    if (exists && !S_ISREG(st.st_mode)) {  // /dev/null, /dev/stdout, a pipe: there is nothing to replace
        const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
        if (fd < 0) fail(file, errno);
        const bool written = write_all(fd, bytes);
        const int reason = errno;
        ::close(fd);
        if (!written) fail(file, reason);
        return;
    }
    // A rename would replace a read-only file; whoever made it so did not want that.
    if (exists && ::access(file.c_str(), W_OK) != 0) fail(file, errno);

    const fs::path target = follow_links(file);
    const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
    static std::atomic<unsigned> counter{0};
    fs::path temporary;
    int fd = -1;
    for (int attempt = 0; attempt < 100 && fd < 0;
         ++attempt) {  // a name may be left over from a killed process
        temporary =
            folder / (".ivit-" + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp");
        fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) fail(file, errno);

    bool good =
        (!exists || ::fchmod(fd, st.st_mode & 07777) == 0) && write_all(fd, bytes) && ::fsync(fd) == 0;
    int reason = errno;
    if (::close(fd) != 0 && good) good = false, reason = errno;
    if (good && ::rename(temporary.c_str(), target.c_str()) != 0) good = false, reason = errno;
    if (!good) {
        ::unlink(temporary.c_str());
        fail(file, reason);
    }
    // The rename itself on disk; a file system that cannot sync a folder is no failure.
    const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        ::fsync(dir);
        ::close(dir);
    }
}

}  // namespace ivit
