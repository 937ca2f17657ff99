// SPDX-License-Identifier: Apache-2.0
// Which class each picture of a folder is of, in every layout people have.
#include "engine/dataset.h"

#include <catch2/catch.hpp>

#include "engine/error.h"
#include "tests/temporary_folder.h"

using namespace ivit;
using test::TemporaryFolder;

namespace {

ModelInfo animals() {
    ModelInfo m;
    m.labels = {"tench, Tinca tinca", "great white shark", "cat", "7"};
    return m;
}

std::vector<int> labels_of(const Dataset& d) {
    std::vector<int> labels;
    for (const auto& p : d.pictures) labels.push_back(p.label);
    return labels;
}

}  // namespace

TEST_CASE("class folders by label, by first synonym and by index", "[dataset]") {
    const TemporaryFolder f;
    for (const char* name : {"2/a.png", "Great_White_Shark/b.png", "TENCH/c.png", "cat/deep/er/d.png"})
        f.picture(name, 1);
    const Dataset d = open_dataset(f.path, {}, animals());
    CHECK(d.layout == "class folders");
    CHECK(d.labelled);
    CHECK(d.without_label == 0);
    REQUIRE(d.pictures.size() == 4);
    CHECK(d.pictures[0].file == "2/a.png");
    CHECK(labels_of(d) == std::vector<int>{2, 1, 0, 2});
}

TEST_CASE("a label that looks like an index is the label first", "[dataset]") {
    const TemporaryFolder f;
    f.picture("7/a.png", 1);
    CHECK(labels_of(open_dataset(f.path, {}, animals())) == std::vector<int>{3});
}

TEST_CASE("class folders by ImageNet's wnid, also one folder further in", "[dataset]") {
    ModelInfo imagenet;
    for (int i = 0; i < 1000; ++i) imagenet.labels.push_back("class " + std::to_string(i));
    const TemporaryFolder f;
    f.picture("val/n01440764/ILSVRC2012_val_00000293.png", 1);
    f.picture("val/n01443537/x.png", 2);
    CHECK(labels_of(open_dataset(f.path, {}, imagenet)) == std::vector<int>{0, 1});
    // A model of four classes has no wnids.
    CHECK_FALSE(open_dataset(f.path, {}, animals()).labelled);
}

TEST_CASE("a picture outside the class folders is refused by name", "[dataset]") {
    const TemporaryFolder f;
    f.picture("cat/a.png", 1);
    f.picture("dogs/b.png", 1);
    CHECK_THROWS_WITH(open_dataset(f.path, {}, animals()),
                      Catch::Contains("'dogs/b.png' lies in no class folder"));
}

TEST_CASE("no labels at all", "[dataset]") {
    const TemporaryFolder f;
    f.picture("x/b.png", 1);
    f.picture("a.png", 1);
    const Dataset d = open_dataset(f.path, {}, animals());
    CHECK_FALSE(d.labelled);
    CHECK(d.layout == "no labels");
    CHECK(labels_of(d) == std::vector<int>{-1, -1});
    CHECK_THROWS_AS(open_dataset(f.path / "nothing", {}, animals()), Error);
}

TEST_CASE("labels files of many makes", "[dataset]") {
    const TemporaryFolder f;
    for (const char* name : {"a.png", "b b.png", "c,c.png", "d.png"}) f.picture(name, 1);
    const auto made = GENERATE(
        as<std::string>{}, "file,label\na.png,cat\n\"b b.png\",\"tench, Tinca tinca\"\n\"c,c.png\",1\nd,7\n",
        "\xef\xbb\xbf"
        "a.png\tCAT\r\nb b.png\ttench\r\nc,c\tgreat_white_shark\r\n./d.png\t7\r\n",
        "a.png;cat\nb b.png;tench, tinca TINCA\n\"c,c.png\";1\n# a remark\n\nd.png;7");
    CAPTURE(made);
    const auto file = f.write("labels.txt", made);
    for (const auto& given : {std::filesystem::path(), file}) {
        const Dataset d = open_dataset(f.path, given, animals());
        CHECK(labels_of(d) == std::vector<int>{2, 0, 1, 3});
        CHECK(d.layout == "labels file labels.txt");
        CHECK(d.without_picture == 0);
    }
}

TEST_CASE("a header says where the columns are", "[dataset]") {
    const TemporaryFolder f;
    for (const char* name : {"a.png", "b b.png"}) f.picture(name, 1);
    const auto made = GENERATE(as<std::string>{}, "class,path\ncat,a.png\n7,b b.png\n",
                               "id;File_Name;Label;split\r\n1;a.png;cat;val\r\n2;\"b b.png\";7;val\r\n",
                               "image\tid\ttarget\na.png\t1\tcat\nb b.png\t2\t7\n");
    CAPTURE(made);
    const Dataset d = open_dataset(f.path, f.write("l", made), animals());
    CHECK(labels_of(d) == std::vector<int>{2, 3});
}

TEST_CASE("pictures are found by absolute paths and by paths of elsewhere", "[dataset]") {
    const TemporaryFolder f, other;
    for (const char* name : {"set/a.png", "set/sub/b.png"}) f.picture(name, 1);
    const auto labels = [&](const std::filesystem::path& file) {
        return labels_of(open_dataset(f.path / "set", file, animals()));
    };
    const std::vector<int> both = {2, 0};
    CHECK(labels(f.write("l", "set/a.png cat\nset/sub/b.png 0\n")) == both);  // beside the folder
    CHECK(labels(other.write("l", (f.path / "set/a.png").string() + " cat\n" +
                                      (f.path / "set/sub/b.png").string() + " 0\n")) == both);
    CHECK(labels(other.write("l", "val/a.png cat\nval\\sub\\b.png 0\n")) == both);  // of another machine
    // Another file that exists is another picture.
    f.picture("train/a.png", 2);
    const auto file = f.write("l", "train/a.png 7\nset/a.png cat\nset/sub/b.png 0\n");
    CHECK(labels(file) == both);
    CHECK(open_dataset(f.path / "set", file, animals()).without_picture == 1);
}

TEST_CASE("ImageNet's list of its validation set", "[dataset]") {
    ModelInfo imagenet;
    for (int i = 0; i < 1000; ++i) imagenet.labels.push_back("class " + std::to_string(i));
    const TemporaryFolder f;
    f.picture("ILSVRC2012_val_00048981.png", 1);
    CHECK(labels_of(open_dataset(
              f.path,
              f.write("l.csv", "ImageId,PredictionString\nILSVRC2012_val_00048981,n01443537 85 1 499 272 \n"),
              imagenet)) == std::vector<int>{1});
}

TEST_CASE("a name of two classes is refused", "[dataset]") {
    ModelInfo m;
    m.labels = {"crane", "cat", "crane", "tench, x", "tench, y", "y"};
    const TemporaryFolder f, g;
    f.picture("crane/a.png", 1);
    CHECK_THROWS_WITH(open_dataset(f.path, {}, m), Catch::Contains("'crane' names more than one class"));
    g.picture("a.png", 1);
    CHECK_THROWS_WITH(open_dataset(g.path, g.write("l", "a.png tench\n"), m),
                      Catch::Contains("'tench' names more than one class"));
    CHECK(labels_of(open_dataset(g.path, g.write("l", "a.png 2\n"), m)) == std::vector<int>{2});
    CHECK(labels_of(open_dataset(g.path, g.write("l", "a.png,\"tench, y\"\n"), m)) == std::vector<int>{4});
}

TEST_CASE("class folders may be links", "[dataset]") {
    const TemporaryFolder f, elsewhere;
    elsewhere.picture("a.png", 1);
    std::filesystem::create_directory_symlink(elsewhere.path, f.path / "cat");
    std::filesystem::create_directory_symlink(f.path, elsewhere.path / "around");
    const Dataset d = open_dataset(f.path, {}, animals());
    REQUIRE(d.pictures.size() == 1);
    CHECK(d.pictures[0].file == "cat/a.png");
    CHECK(d.pictures[0].label == 2);
}

TEST_CASE("spaces separate where nothing else does", "[dataset]") {
    const TemporaryFolder f;
    f.picture("a.png", 1);
    f.picture("b b.png", 1);
    const auto file = f.write("l", "a.png 2\nb b.png   cat\n");
    CHECK(labels_of(open_dataset(f.path, file, animals())) == std::vector<int>{2, 2});
}

TEST_CASE("a labels file need not name every picture, and may name others", "[dataset]") {
    const TemporaryFolder f;
    f.picture("a.png", 1);
    f.picture("b.png", 1);
    const Dataset d = open_dataset(f.path, f.write("l.csv", "b.png,cat\nc.png,cat\nd.png,7\n"), animals());
    CHECK(labels_of(d) == std::vector<int>{-1, 2});
    CHECK(d.without_label == 1);
    CHECK(d.without_picture == 2);
}

TEST_CASE("what is wrong with a labels file is said with its line", "[dataset]") {
    const TemporaryFolder f;
    f.picture("a.png", 1);
    f.picture("b.png", 1);
    const auto problem = [&](const std::string& text) {
        try {
            open_dataset(f.path, f.write("l.csv", text), animals());
        } catch (const Error& e) {
            return std::string(e.what());
        }
        return std::string("nothing");
    };
    using Catch::Contains;
    CHECK_THAT(problem("a.png,cat\nb.png,dog\n"), Contains("line 2 names 'dog'"));
    CHECK_THAT(problem("a.png,dog\nb.png,cat\n"),
               Contains("line 1 names 'dog'"));  // no header: a.png is there
    CHECK_THAT(problem("a.png,cat\na.png,7\n"), Contains("line 2 names a.png again"));
    CHECK_THAT(problem("a.png,cat\nb.png\n"), Contains("line 2 is not 'file label'"));
    CHECK_THAT(problem("a.png,cat\n\"b.png,7\n"), Contains("line 2 is not 'file label'"));
    CHECK_THAT(problem("x.png,cat\n"), Contains("names no picture of"));
    CHECK_THAT(problem(""), Contains("names no picture of"));
    CHECK_THROWS_WITH(open_dataset(f.path, f.path / "none.csv", animals()),
                      Contains("cannot open the labels file"));
    CHECK_THROWS_WITH(open_dataset(f.path, f.path, animals()), Contains("cannot open the labels file"));
}
