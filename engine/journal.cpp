// SPDX-License-Identifier: Apache-2.0
#include "engine/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "engine/error.h"

namespace ivit {

namespace {

Json to_json(const PictureRecord& r) {
    Json j = {{"i", r.index}, {"file", r.file}, {"label", r.label}};
    if (!r.error.empty()) {
        j["error"] = r.error;
        return j;
    }
    j["top"] = r.top;
    j["margin"] = r.margin;
    j["signal"] = r.signal;
    j["q"] = Json::array();
    for (const ConfigRecord& c : r.configurations)
        j["q"].push_back({{"top", c.top}, {"kl", c.kl}, {"margin", c.margin}, {"noise", c.noise}});
    return j;
}

// JSON has no NaN: null stands for it.
double real(const Json& j) { return j.is_null() ? NAN : j.get<double>(); }

std::vector<int> classes(const Json& j) {
    auto top = j.get<std::vector<int>>();
    if (top.empty()) throw Error("no prediction");
    for (const int c : top)
        if (c < 0) throw Error("no class");
    return top;
}

PictureRecord from_json(const Json& j, size_t configurations) {
    PictureRecord r;
    r.index = j.at("i");
    r.file = j.at("file");
    r.label = j.at("label");
    if (j.contains("error")) {
        r.error = j.at("error");
        return r;
    }
    r.top = classes(j.at("top"));
    r.margin = real(j.at("margin"));
    r.signal = real(j.at("signal"));
    for (const Json& q : j.at("q"))
        r.configurations.push_back(
            {classes(q.at("top")), q.at("kl").get<double>(), real(q.at("margin")), real(q.at("noise"))});
    if (r.configurations.size() != configurations) throw Error("another number of configurations");
    return r;
}

[[noreturn]] void cannot_write(const std::filesystem::path& file, int reason) {
    throw Error(std::string("cannot write the journal: ") + std::strerror(reason), file.string());
}

}  // namespace

JournalReader::JournalReader(const std::filesystem::path& file) : file_(file), in_(file, std::ios::binary) {
    std::error_code none;
    if (std::filesystem::exists(file, none) && !std::filesystem::is_regular_file(file, none))
        throw Error("a journal must be a file, not a folder or device", file.string());
    if (!in_) throw Error("cannot open the journal", file.string());
    const Error stranger("this is not a journal of ivit evaluate", file.string());
    std::string line;
    if (!whole_line(line)) {
        const std::string begin = "{\"format\":\"ivit-journal\"";
        if (line.substr(0, begin.size()) == begin.substr(0, line.size())) return;
        throw stranger;
    }
    try {
        header_ = Json::parse(line);
        if (header_.at("format") != "ivit-journal") throw stranger;
        if (header_.at("version") != 1)
            throw Error("this journal is of a version this program does not know", file.string());
        configurations_ = header_.at("document").at("configurations").size();
        for (const char* field : {"identity", "labels", "shard", "shards"}) header_.at(field);
        header_.at("document").at("dataset").at("pictures").get<int64_t>();
    } catch (const Json::exception&) {
        throw stranger;
    }
}

// False at the end; `line` then holds what was written of a last line that has no end.
bool JournalReader::whole_line(std::string& line) {
    line.clear();
    if (!std::getline(in_, line) || in_.eof()) return false;
    ++line_;
    good_bytes_ += line.size() + 1;
    return true;
}

bool JournalReader::next(PictureRecord& record) {
    std::string line;
    if (!whole_line(line)) return false;
    try {
        record = from_json(Json::parse(line), configurations_);
    } catch (const std::exception&) {
        throw Error("line " + std::to_string(line_) + " of the journal is broken", file_.string(),
                    "delete it and what follows; those pictures are then evaluated again");
    }
    return true;
}

JournalWriter::JournalWriter(const std::filesystem::path& file, std::uintmax_t good_bytes, const Json& header)
    : file_(file) {
    fd_ = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) cannot_write(file, errno);
    const auto fail = [&](int reason) {
        close(fd_);
        fd_ = -1;
        cannot_write(file, reason);
    };
    // Released with the descriptor, so a killed run leaves no lock behind.
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(fd_);
        fd_ = -1;
        throw Error("another run is writing this journal", file.string(),
                    "every shard needs a journal of its own");
    }
    if (ftruncate(fd_, static_cast<off_t>(good_bytes)) != 0 || lseek(fd_, 0, SEEK_END) < 0) fail(errno);
    if (good_bytes != 0) return;
    try {
        write(header.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    } catch (const Error&) {
        unlink(file.c_str());  // half a header is of no use to anybody
        close(fd_);
        fd_ = -1;
        throw;
    }
}

JournalWriter::~JournalWriter() {
    if (fd_ >= 0) close(fd_);
}

void JournalWriter::append(const std::vector<PictureRecord>& records) {
    std::string text;
    for (const auto& r : records)
        text += to_json(r).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    write(text);
}

// All of `text`; on failure the file is cut back to the whole lines it held before.
void JournalWriter::write(const std::string& text) {
    const off_t before = lseek(fd_, 0, SEEK_CUR);
    size_t at = 0;
    while (at < text.size()) {
        const ssize_t n = ::write(fd_, text.data() + at, text.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            const int reason = errno;
            if (ftruncate(fd_, before) != 0) {  // the next run cuts the broken line off
            }
            cannot_write(file_, reason);
        }
        at += static_cast<size_t>(n);
    }
}

}  // namespace ivit
