// SPDX-License-Identifier: Apache-2.0
// Evaluation: figures checked against a plain recount; resumed, sharded and batched runs equal to the bit.
#include "engine/evaluate.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <csignal>
#include <random>

#include "engine/error.h"
#include "engine/image.h"
#include "engine/journal.h"
#include "tests/temporary_folder.h"

using namespace ivit;
using test::TemporaryFolder;

namespace {

// A small network in two configurations, and 23 pictures of which two are broken.
struct Bench {
    TemporaryFolder folder;
    std::shared_ptr<const Model> model = test::small_model();
    Dataset data;
    std::unique_ptr<Backend> backend = make_backend("reference", 1);
    std::unique_ptr<IntegerNetwork> w8, w4;
    std::unique_ptr<Network> floats = make_float_network(model, 1);

    explicit Bench(uint32_t seed = 0) {
        const auto ranges = calibrate(
            *model, 4, [](int64_t i) { return test::picture(16, static_cast<uint32_t>(i)); },
            RangeMethod::mse, 1);
        w8 = backend->load(quantize(model, ranges, QuantConfig::from_spec("W8A8")));
        w4 = backend->load(quantize(model, ranges, QuantConfig::from_spec("W4A4")));
        for (uint32_t i = 0; i < 21; ++i)
            folder.picture("class_" + std::to_string(i % 7) + "/" + std::to_string(i) + ".png", seed + i);
        folder.write("class_3/empty.png", "");
        folder.write("class_5/<script>.png", "no picture");
        data = open_dataset(folder.path, {}, model->info);
    }
    Json run(EvaluateOptions o = {}, std::vector<IntegerNetwork*> networks = {}) {
        if (networks.empty()) networks = {w8.get(), w4.get()};
        return evaluate(data, *floats, networks, backend->info(), "", o);
    }
    Json shard(int i, int n, const std::filesystem::path& journal) {
        EvaluateOptions o;
        o.shard = i;
        o.shards = n;
        o.journal = journal;
        return run(o);
    }
};

}  // namespace

TEST_CASE("the figures are those of a plain recount", "[evaluate]") {
    Bench b;
    const Json doc = b.run();
    CHECK(doc["images"] == 21);
    REQUIRE(doc["skipped"].size() == 2);
    CHECK(doc["skipped"][0]["file"] == "class_3/empty.png");
    CHECK(doc["skipped"][1]["file"] == "class_5/<script>.png");

    int top1 = 0, top5 = 0, float1 = 0, agree = 0;
    double kl = 0;
    for (const auto& p : b.data.pictures) {
        Pixels pixels;
        try {
            pixels = preprocess(read_image(b.folder.path / p.file), 16, b.model->info.crop_pct);
        } catch (const Error&) {
            continue;
        }
        const auto f = b.floats->run(pixels, 1, {}), q = b.w4->run(pixels, 1, {});
        const auto tf = top_k(*f, 0, 5), tq = top_k(*q, 0, 5);
        float1 += tf[0] == p.label;
        top1 += tq[0] == p.label;
        top5 += std::count(tq.begin(), tq.end(), p.label) > 0;
        agree += tf[0] == tq[0];
        const auto pf = probabilities(*f, 0), pq = probabilities(*q, 0);
        for (size_t c = 0; c < pf.size(); ++c) kl += pf[c] * std::log(pf[c] / pq[c]);
    }
    const Json& w4 = doc["configurations"][1];
    CHECK(w4["quant"] == "W4A4");
    CHECK(doc["float"]["top1"].get<double>() == Approx(100.0 * float1 / 21));
    CHECK(w4["top1"].get<double>() == Approx(100.0 * top1 / 21));
    CHECK(w4["top5"].get<double>() == Approx(100.0 * top5 / 21));
    CHECK(w4["agreement"].get<double>() == Approx(100.0 * agree / 21));
    CHECK(w4["flips"] == 21 - agree);
    CHECK(w4["mean_kl"].get<double>() == Approx(kl / 21));
    CHECK(agree < 21);  // else the order of the worst says nothing

    CHECK(w4["flip_rate"].get<double>() == Approx(100 - w4["agreement"].get<double>()));
    CHECK(w4["integer_only"] == true);
    int64_t of_margins = 0, flips = 0;
    for (const auto& m : w4["by_margin"]) {
        of_margins += m["images"].get<int64_t>();
        flips += m["flips"].get<int64_t>();
    }
    CHECK(of_margins == 21);
    CHECK(flips == 21 - agree);
    // What half and 95 % do not exceed, to the width of a bin.
    std::vector<double> kls;
    for (const auto& w : w4["worst"]) kls.push_back(w["kl"]);
    std::sort(kls.begin(), kls.end());
    CHECK(w4["median_kl"].get<double>() >= kls[10]);
    CHECK(w4["median_kl"].get<double>() <= kls[10] * 1.0626);
    CHECK(w4["p95_kl"].get<double>() >= kls[19]);
    CHECK(w4["p95_kl"].get<double>() <= kls[19] * 1.0626);

    int64_t of_classes = 0;
    for (const auto& c : w4["classes"]) of_classes += c["images"].get<int64_t>();
    CHECK(of_classes == 21);
    CHECK(w4["classes"].size() == 7);
    REQUIRE(w4["worst"].size() == 21);
    for (size_t i = 1; i < 21; ++i) {
        const Json &x = w4["worst"][i - 1], &y = w4["worst"][i];
        const bool flip = !x["agree"].get<bool>(), next = !y["agree"].get<bool>();
        CHECK(flip >= next);
        if (flip == next) CHECK(x["kl"].get<double>() >= y["kl"].get<double>());
    }
}

TEST_CASE("batches and decoding threads do not change a bit", "[evaluate][threads]") {
    Bench b;
    const std::string one = b.run().dump();
    EvaluateOptions o;
    o.batch = 1;
    CHECK(b.run(o).dump() == one);
    o.batch = 5;
    o.decoders = 4;
    CHECK(b.run(o).dump() == one);
}

TEST_CASE("without labels there is agreement only", "[evaluate]") {
    Bench b;
    for (auto& p : b.data.pictures) p.label = -1;
    b.data.labelled = false;
    const Json doc = b.run();
    CHECK(doc["float"]["top1"].is_null());
    CHECK(doc["configurations"][0]["top5"].is_null());
    CHECK(doc["configurations"][0]["agreement"].is_number());
    CHECK(doc["configurations"][0]["classes"].empty());
}

TEST_CASE("every picture broken: nothing divides by zero", "[evaluate]") {
    Bench b;
    TemporaryFolder f;
    f.write("a.png", "");
    b.data = open_dataset(f.path, {}, b.model->info);
    const Json doc = b.run();
    CHECK(doc["images"] == 0);
    CHECK(doc["skipped"].size() == 1);
    CHECK(doc["configurations"][0]["mean_kl"].is_null());
    CHECK(doc["configurations"][0]["agreement"].is_null());
}

TEST_CASE("a journal cut anywhere is resumed to the same bits", "[evaluate][journal]") {
    Bench b;
    const auto journal = b.folder.path / "j.jsonl";
    EvaluateOptions o;
    o.journal = journal;
    o.batch = 4;
    const std::string whole = b.run(o).dump();
    CHECK(whole == b.run().dump());
    const std::string text = test::read_text(journal);
    // What kill -9 leaves: the beginning of the file, up to any byte.
    std::mt19937 random(5);
    std::vector<size_t> cuts = {0, 1, text.find('\n'), text.find('\n') + 1, text.size() - 1, text.size()};
    for (int i = 0; i < 20; ++i) cuts.push_back(random() % text.size());
    for (const size_t cut : cuts) {
        CAPTURE(cut);
        b.folder.write("j.jsonl", text.substr(0, cut));
        int64_t already = -1;
        o.progress = [&](int64_t done, int64_t total) {
            if (already < 0) already = done;
            CHECK(total == 23);
        };
        CHECK(b.run(o).dump() == whole);
        const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(cut), '\n');
        CHECK(already == std::max<int64_t>(0, lines - 1));
        CHECK(test::read_text(journal) == text);
    }
}

TEST_CASE("an interrupted run leaves a journal that goes on", "[evaluate][journal]") {
    Bench b;
    EvaluateOptions o;
    o.journal = b.folder.path / "j.jsonl";
    o.batch = 4;
    std::stop_source stop;
    o.stop = stop.get_token();
    o.progress = [&](int64_t done, int64_t) {
        if (done >= 8) stop.request_stop();
    };
    CHECK_THROWS_AS(b.run(o), Cancelled);
    o.stop = {};
    o.progress = {};
    CHECK(b.run(o).dump() == b.run().dump());
}

TEST_CASE("shards joined are the single run to the bit", "[evaluate][merge]") {
    Bench b;
    const std::string single = b.run().dump();
    for (const int n : {1, 2, 3, 30}) {  // 30: some shards have no picture
        CAPTURE(n);
        TemporaryFolder f;
        std::vector<std::filesystem::path> journals;
        for (int i = n; i >= 1; --i) {
            journals.push_back(f.path / std::to_string(i));
            b.shard(i, n, journals.back());
        }
        CHECK(merge_journals(journals).dump() == single);
    }
}

TEST_CASE("what does not belong together is not joined", "[evaluate][merge]") {
    Bench b;
    const auto at = [&](const char* name) { return b.folder.path / name; };
    b.shard(1, 2, at("1"));
    b.shard(2, 2, at("2"));
    b.shard(2, 3, at("2of3"));
    using Catch::Contains;
    CHECK_THROWS_WITH(merge_journals({at("1")}), Contains("11 of 23 pictures are in none"));
    CHECK_THROWS_WITH(merge_journals({at("1"), at("2"), at("2")}), Contains("is there twice"));
    CHECK_THROWS_WITH(merge_journals({at("1"), at("2of3")}), Contains("twice") || Contains("in none"));
    EvaluateOptions o;
    o.shard = o.shards = 2;
    o.journal = at("w8");
    b.run(o, {b.w8.get()});
    CHECK_THROWS_WITH(merge_journals({at("1"), at("w8")}), Contains("another evaluation"));
    CHECK_THROWS_WITH(b.shard(1, 2, at("2")), Contains("another evaluation"));

    Bench other;
    other.model = test::small_model(2);
    other.floats = make_float_network(other.model, 1);
    const auto q = std::make_shared<QuantizedModel>(b.w8->model());
    q->info.sha256 = "another model";
    other.w8 = other.backend->load(q);
    other.shard(2, 2, at("other"));
    CHECK_THROWS_WITH(merge_journals({at("1"), at("other")}), Contains("another evaluation"));

    CHECK_THROWS_WITH(merge_journals({at("nothing")}), Contains("cannot open"));
    CHECK_THROWS_WITH(merge_journals({"/dev/zero"}), Contains("must be a file"));
    CHECK_THROWS_WITH(merge_journals({b.folder.path}), Contains("must be a file"));
    CHECK_THROWS_WITH(merge_journals({b.folder.write("e", "")}), Contains("nothing is in this journal"));
    CHECK_THROWS_WITH(merge_journals({b.folder.write("t", "hello\n")}), Contains("not a journal"));
    CHECK_THROWS_WITH(merge_journals({b.folder.write("t", "{\"format\":\"ivit-report\"}\n")}),
                      Contains("not a journal"));
}

TEST_CASE("a broken line inside a journal is named", "[evaluate][journal]") {
    Bench b;
    EvaluateOptions o;
    o.journal = b.folder.path / "j";
    b.run(o);
    const std::string text = test::read_text(o.journal);
    const size_t second = text.find('\n') + 1, third = text.find('\n', second) + 1;
    using Catch::Contains;
    const auto problem = [&](const std::string& line) {
        b.folder.write("j", text.substr(0, second) + line + text.substr(third));
        try {
            b.run(o);
        } catch (const Error& e) {
            return std::string(e.what());
        }
        return std::string("nothing");
    };
    for (const char* line : {"\n", "{}\n", "garbage\n", "[]\n",
                             R"({"i":0,"file":"x","label":1,"top":[1],"margin":1,"signal":1,"q":[]})"
                             "\n",
                             R"({"i":0,"file":"x","label":1,"top":[],"margin":1,"signal":1,"q":[{},{}]})"
                             "\n"})
        CHECK_THAT(problem(line), Contains("line 2 of the journal is broken"));
    CHECK_THAT(problem(""), Contains("not in the order"));
    CHECK_THAT(problem(R"({"i":99999,"file":"x","label":1,"error":"e"})"
                       "\n"),
               Contains("not in the order"));
}

TEST_CASE("two runs never write one journal", "[journal]") {
    TemporaryFolder f;
    const Json header = {{"format", "ivit-journal"}};
    const JournalWriter first(f.path / "j", 0, header);
    CHECK_THROWS_WITH(JournalWriter(f.path / "j", 0, header), Catch::Contains("another run is writing"));
}

TEST_CASE("a full disk leaves whole lines, and no file that never had any", "[journal]") {
    TemporaryFolder f;
    const Json header = {{"format", "ivit-journal"}};
    PictureRecord r;
    r.index = 0;
    r.file = std::string(300, 'x');
    r.error = "broken";
    // A limit on the file's size fails a write half way, as a full disk does.
    rlimit old{};
    getrlimit(RLIMIT_FSIZE, &old);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const auto limit = [&](rlim_t bytes) {
        const rlimit now{bytes, old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &now);
    };
    std::string problem, text;
    {
        JournalWriter j(f.path / "j", 0, header);
        j.append({r});
        text = test::read_text(f.path / "j");
        limit(text.size() + 100);
        try {
            j.append({r});
        } catch (const Error& e) {
            problem = e.what();
        }
    }
    limit(10);
    CHECK_THROWS_WITH(JournalWriter(f.path / "k", 0, header), Catch::Contains("cannot write the journal"));
    limit(old.rlim_cur);
    std::signal(SIGXFSZ, handler);
    CHECK_THAT(problem, Catch::Contains("cannot write the journal"));
    CHECK(test::read_text(f.path / "j") == text);
    CHECK_FALSE(std::filesystem::exists(f.path / "k"));
    CHECK_THROWS_WITH(JournalWriter(f.path / "no" / "j", 0, header),
                      Catch::Contains("cannot write the journal"));
}
