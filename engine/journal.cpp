// SPDX-License-Identifier: Apache-2.0
#include "engine/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

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

PictureRecord from_json(const Json& j) {
    PictureRecord r;
    r.index = j.at("i");
    r.file = j.at("file");
    r.label = j.at("label");
    if (j.contains("error")) {
        r.error = j.at("error");
        return r;
    }
    r.top = j.at("top").get<std::vector<int>>();
    r.margin = j.at("margin");
    r.signal = j.at("signal");
    for (const Json& q : j.at("q"))
        r.configurations.push_back(
            {q.at("top").get<std::vector<int>>(), q.at("kl"), q.at("margin"), q.at("noise")});
    return r;
}

}  // namespace

JournalContent read_journal(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw Error("cannot open the journal", file.string());
    JournalContent content;
    std::string line;
    bool first = true;
    while (std::getline(in, line)) {
        if (in.eof()) break;  // no newline at its end: written in part
        try {
            const Json j = Json::parse(line);
            if (first) {
                if (j.at("format") != "ivit-journal" || j.at("version") != 1)
                    throw Error("not a journal of version 1");
                content.header = j;
            } else {
                content.records.push_back(from_json(j));
            }
        } catch (const Json::exception&) {
            if (first) break;
            throw Error("line " + std::to_string(content.records.size() + 2) + " of the journal is broken",
                        file.string());
        }
        first = false;
        content.good_bytes += line.size() + 1;
    }
    if (content.header.is_null()) throw Error("this is not a journal of ivit evaluate", file.string());
    return content;
}

JournalWriter::JournalWriter(const std::filesystem::path& file, std::uintmax_t good_bytes, const Json& header)
    : file_(file) {
    fd_ = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) throw Error(std::string("cannot write the journal: ") + std::strerror(errno), file.string());
    if (ftruncate(fd_, static_cast<off_t>(good_bytes)) != 0 || lseek(fd_, 0, SEEK_END) < 0)
        throw Error(std::string("cannot write the journal: ") + std::strerror(errno), file.string());
    if (good_bytes == 0) write(header.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
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

void JournalWriter::write(const std::string& text) {
    size_t at = 0;
    while (at < text.size()) {
        const ssize_t n = ::write(fd_, text.data() + at, text.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            throw Error(std::string("cannot write the journal: ") + std::strerror(errno), file_.string());
        at += static_cast<size_t>(n);
    }
}

}  // namespace ivit
