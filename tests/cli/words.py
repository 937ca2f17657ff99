# SPDX-License-Identifier: Apache-2.0
"""What is typed after `ivit`, and files that are not what they should be."""
import json
import os
import re
import shutil
import subprocess
import time

from case import Case, IVIT, SAMPLES, SOURCE, read


class Words(Case):
    """What is wrong with the words given is one sentence, and nothing was done."""
    picture = os.path.join(SAMPLES, "cat_1.jpg")

    def test_an_empty_word_is_not_the_default(self):
        cat = os.path.join(SAMPLES, "cat_1.jpg")
        for words in (["classify", ""], ["classify", cat, "--model", ""], ["classify", cat, "--quant", ""],
                      ["compare", cat, "--arch", ""], ["compare", cat, "--calibration", ""],
                      ["evaluate", self.dir, "--journal", ""], ["report", cat, "-o", ""], ["bench", ""]):
            with self.subTest(words):
                self.assertEqual(self.ivit(*words, code=2), b"")
                self.assertIn("is empty", self.stderr)

    def test_wrong_words(self):
        for word, arguments in {
                "a command is needed": [],
                "there is no command 'clasify'": ["clasify", self.picture],
                "image is required": ["classify"],
                "--bogus": ["classify", self.picture, "--bogus"],
                "--threads: Value -1 not in range": ["classify", self.picture, "--threads", "-1"],
                "--top: Value 0 not in range": ["classify", self.picture, "--top", "0"],
                "--preset: nonsense not in": ["classify", self.picture, "--preset", "nonsense"],
        }.items():
            self.assertEqual(self.ivit(*arguments, code=2), b"")
            self.assertIn(word, self.stderr)
            self.assertIn("--help` lists", self.stderr)
        for word, arguments in {
                "neither a bit-width": ["classify", self.picture, "--quant", "nonsense"],
                "there is no backend called 'foo'": ["classify", self.picture, "--backend", "foo"],
                "cannot open the golden file: this is a folder": ["selftest", "--golden", "."],
                "cannot open the evaluation: this is a folder": ["report", self.picture, "-o", "r.html", "--evaluation", "."],
                "cannot open the report: this is a folder": ["diff", ".", "."],
                "a journal must be a file": ["merge", "/dev/zero"],
                "the ranges of the bundled model are not replaced": ["calibrate", "--calibration", SAMPLES],
        }.items():
            self.refused(word, *arguments)
        self.assertEqual(os.listdir(self.dir), [])

    def test_standard_files_may_be_closed(self):
        """What cannot be said is told by the exit status, and no file that is opened takes the place of one of them."""
        for words, redirections, code in ((["classify", "none.jpg"], "2>&-", 1), (["classify", "none.jpg"], "2>/dev/full", 1),
                                          (["clasify"], "2>&-", 2), (["classify", self.picture], "<&- 2>&-", 0),
                                          (["classify", self.picture], ">&-", 1), (["selftest"], ">/dev/full", 1),
                                          (["report", self.picture, "--runs", "0", "-o", "r.json"], ">&- 2>&-", 1)):
            with self.subTest(words=words, redirections=redirections):
                p = subprocess.run(["sh", "-c", 'exec "$@" ' + redirections, "sh", IVIT, *words], cwd=self.dir, timeout=300,
                                   capture_output=True)
                self.assertEqual(p.returncode, code, p.stderr)
                if code == 1 and "2>" not in redirections:
                    self.assertEqual(p.stderr, b"ivit: could not write to standard output\n")
        self.assertEqual(json.loads(read(self.at("r.json")))["format"], "ivit-report")

    def test_no_option_is_without_effect(self):
        """Those that all commands share are offered where they do something."""
        for command, option in (("quantize", "--top"), ("quantize", "--backend"), ("bench", "--top"), ("evaluate", "--top")):
            self.assertNotIn(option, self.ivit(command, "--help").decode())
        self.assertEqual(self.ivit("classify", self.picture, "--seed", "3", code=2), b"")
        self.assertIn("--seed requires --arch", self.stderr)

    def test_a_quantized_model_is_quantized_again_as_it_was(self):
        bundled = os.path.join(SOURCE, "assets", "vit_tiny_cifar10.safetensors")
        self.ivit("quantize", "-m", bundled, "-q", "W4A8", "-o", "a.safetensors")
        self.assertIn(b": W4A8, ", self.ivit("quantize", "-m", "a.safetensors", "-o", "b.safetensors"))
        self.assertEqual(read(self.at("a.safetensors"), "rb"), read(self.at("b.safetensors"), "rb"))

    def test_an_instruction_set_that_is_none_is_told(self):
        for words in (["classify", self.picture], ["bench", "--runs", "1"], ["selftest"]):
            self.refused('IVIT_ISA: unknown instruction set "foo"', *words, env=dict(os.environ, IVIT_ISA="foo"))

    def test_output_is_looked_at_before_the_work(self):
        for arguments in (["evaluate", "nowhere", "-o"], ["quantize", "--model", "nowhere", "-o"], ["run", "nowhere", "nowhere", "--dump"],
                          ["report", "nowhere.jpg", "-o"]):
            self.refused("none/out.json: cannot write the file", *arguments, "none/out.json")
        self.refused("nowhere.json: ", "report", "nowhere.jpg", "-o", "out.json", "--evaluation", "nowhere.json")

    def test_what_is_read_is_not_written_over(self):
        """By whatever name; and an output that was there before, but is not read, is replaced."""
        model = read(os.path.join(SOURCE, "assets", "vit_tiny_cifar10.safetensors"), "rb")
        ranges = read(os.path.join(SOURCE, "assets", "vit_tiny_cifar10.calibration.json"), "rb")
        os.mkdir(self.at("folder"))
        files = {"m.safetensors": model, "m.calibration.json": ranges, "folder/model.safetensors": model,
                 "p.jpg": read(self.picture, "rb"), "c.json": b"{}", "labels.csv": b"p.jpg,cat\n"}
        for name, content in files.items():
            with open(self.at(name), "wb") as f:
                f.write(content)
        self.ivit("evaluate", os.path.dirname(self.picture), "--journal", "j.jsonl", "-o", "e.json")
        self.ivit("quantize", "-m", "m.safetensors", "-o", "q.safetensors")
        self.ivit("quantize", "-m", "m.safetensors", "-o", "q.safetensors")
        os.symlink("p.jpg", self.at("link.html"))
        os.symlink("m.safetensors", self.at("link.json"))
        files.update({name: read(self.at(name), "rb") for name in ("j.jsonl", "e.json", "q.safetensors")})
        for arguments in (["quantize", "-m", "m.safetensors", "-o", "m.safetensors"],
                          ["quantize", "-m", "m.safetensors", "-o", "./link.json"],
                          ["quantize", "-m", "folder", "--calibration", "m.calibration.json", "-o", "folder/model.safetensors"],
                          ["quantize", "-m", "m.safetensors", "--calibration", "m.calibration.json", "-o", "m.calibration.json"],
                          ["quantize", "-m", "q.safetensors", "-q", "W4A8", "-o", "m.safetensors"],
                          ["calibrate", "-m", "m.safetensors", "--calibration", ".", "-o", "m.safetensors"],
                          ["run", "m.safetensors", "p.jpg", "--dump", "m.safetensors"],
                          ["run", "m.safetensors", "p.jpg", "--dump", "p.jpg"],
                          ["report", "p.jpg", "-o", "link.html"],
                          ["report", "p.jpg", "-q", "c.json", "-o", "c.json"],
                          ["report", "p.jpg", "--evaluation", "e.json", "-o", "new.html", "-o", "e.json"],
                          ["evaluate", ".", "--labels", "labels.csv", "-o", "labels.csv"],
                          ["evaluate", ".", "-q", "W4A8", "-q", "c.json", "-o", "c.json"],
                          ["evaluate", ".", "--journal", "j.jsonl", "-o", "j.jsonl"],
                          ["merge", "j.jsonl", "-o", "j.jsonl"]):
            self.refused(" it is not written over", *arguments)
            for name, content in files.items():
                self.assertEqual(read(self.at(name), "rb"), content, (arguments, name))
        self.assertFalse(os.path.exists(self.at("new.html")))

    def test_a_model_that_is_shortened_while_it_is_read(self):
        self.ivit("quantize", "-o", "q.safetensors")
        # The reference reads the weights where the file is mapped, over and over.
        p = subprocess.Popen([IVIT, "bench", "-m", "q.safetensors", "--backend", "reference", "--runs", "1000000"],
                             cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(p.kill)
        while p.poll() is None and "q.safetensors" not in read("/proc/%d/maps" % p.pid):
            time.sleep(0.01)
        time.sleep(0.5)
        os.truncate(self.at("q.safetensors"), 4096)
        out, said = p.communicate(timeout=60)
        self.assertEqual((p.returncode, out), (1, b""), said)
        self.assertIn(b"ivit: a model's file was shortened, or its disk went away, while it was being read\n", said)

    def test_info_tells_a_quantized_model_from_its_source(self):
        self.ivit("quantize", "-o", "q.safetensors")
        said = dict(l.strip().split("  ", 1) for l in self.ivit("info", "q.safetensors").decode().splitlines()[1:])
        self.assertEqual(said["file"].strip(), "q.safetensors")
        self.assertTrue(said["made from"].strip().endswith("vit_tiny_cifar10.safetensors"))
        self.assertNotIn("sha256", said)

    def test_a_document_says_which_sources_made_it(self):
        program = self.ivit("--version").decode().strip()
        checkout = shutil.which("git") and subprocess.run(["git", "-C", SOURCE, "rev-parse", "HEAD"], capture_output=True).returncode == 0
        at = re.fullmatch(r"ivit \d+\.\d+\.\d+(?: \(([0-9a-f]{9,})\+?\))?", program)
        self.assertTrue(at, program)
        self.assertEqual(bool(checkout), at[1] is not None, program)
        for arguments in (["classify", self.picture, "--json"], ["info", "--json"], ["selftest", "--json"]):
            self.assertEqual(json.loads(self.ivit(*arguments))["program"], program)

    def broken(self, name="broken.jpg"):
        os.makedirs(os.path.dirname(self.at(name)), exist_ok=True)
        with open(self.at(name), "wb") as f:
            f.write(read(self.picture, "rb")[:500])
        return name

    def test_a_library_that_fails_says_nothing_of_its_own(self):
        """A BMP whose header is wrong: OpenCV has an opinion of it, with its own source's line."""
        bmp = bytearray(54 + 12)
        bmp[0:2], bmp[2], bmp[10], bmp[14], bmp[18], bmp[22], bmp[26], bmp[28], bmp[30] = b"BM", 66, 54, 40, 2, 2, 1, 24, 9
        with open(self.at("odd.bmp"), "wb") as f:
            f.write(bmp)
        self.ivit("classify", "odd.bmp", code=1)
        self.assertEqual(self.stderr, "ivit: odd.bmp: this BMP picture cannot be decoded\n")

    def test_a_broken_picture_does_not_end_the_others(self):
        broken = self.broken()
        # The ranges of random weights come from the first picture that can be read.
        for command in (["classify"], ["compare"], ["report", "--runs", "0", "-o", "r.json", "-o", "r.md"]):
            doc = json.loads(self.ivit(*command, "--arch", "deit_tiny_patch16_32", broken, self.picture, broken, "--json", code=1))
            self.assertEqual(self.stderr.count("it is truncated"), 1)
            self.assertEqual([i["file"] for i in doc["images"]], [self.picture])
            self.assertEqual([s["file"] for s in doc["skipped"]], [broken])
            self.assertIn("it is truncated", doc["skipped"][0]["error"])
        self.assertNotIn(broken, doc["reproduce"][0])
        self.assertIn("**Left out**: broken.jpg: ", read(self.at("r.md")))
        self.assertIn("1 picture could not be read and is left out.", read(self.at("r.md")).split("##")[0])
        self.assertEqual(json.loads(read(self.at("r.json")))["skipped"], doc["skipped"])
        self.assertIn(b"every value is the same", self.ivit("replay", "r.json"))
        self.refused("it is truncated", "report", broken, "-o", "none.html")
        self.assertFalse(os.path.exists(self.at("none.html")))

    def test_calibration_leaves_out_what_cannot_be_read(self):
        self.broken("set/a.jpg")
        self.refused("set: no picture of it can be read, the first: set/a.jpg: ", "calibrate", "--calibration", "set", "-o", "c.json")
        self.assertFalse(os.path.exists(self.at("c.json")))
        shutil.copy(self.picture, self.at("set", "b.jpg"))
        doc = json.loads(self.ivit("calibrate", "--calibration", "set", "-o", "c.json", "--json"))
        self.assertIn("note: left out of the calibration: set/a.jpg: ", self.stderr)
        self.assertEqual([s["file"] for s in doc["skipped"]], ["set/a.jpg"])
        self.assertEqual(doc["calibration"]["summary"], "mse ranges from 1 picture of set")
        # Ranges of a network that has more nodes than this one are not its own.
        self.ivit("quantize", "--arch", "deit_tiny_patch16_32", "--calibration", "set", "-o", "q.safetensors")
        ranges = json.loads(read(self.at("c.json")))
        ranges["sites"]["blocks.99.add1"] = ranges["sites"]["blocks.0.add1"]
        with open(self.at("other.json"), "w") as f:
            json.dump(ranges, f)
        self.refused("of another model: this one has no blocks.99.add1", "classify", self.picture, "--calibration", "other.json")

    def test_what_is_no_checkpoint(self):
        bundled = next(os.path.join(SOURCE, "assets", f) for f in os.listdir(os.path.join(SOURCE, "assets")) if f.endswith(".safetensors"))
        with open(self.at("model.pth"), "wb") as f:
            f.write(b"PK\x03\x04" + bytes(60))
        os.mkdir(self.at("saved"))
        self.refused("this is a PyTorch file, expected safetensors", "info", "model.pth")
        self.refused("this is a folder without a model.safetensors", "info", "saved")
        with open(self.at("pointer.safetensors"), "w") as f:
            f.write("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346284714\n")
        for command in (["info", "pointer.safetensors"], ["classify", self.picture, "--model", "pointer.safetensors"]):
            self.refused("this is a Git LFS pointer", *command)
            self.assertIn("git lfs pull", self.stderr)
        os.symlink(bundled, self.at("saved", "model.safetensors"))  # as transformers' save_pretrained() leaves it
        self.assertEqual(json.loads(self.ivit("info", "saved", "--json"))["architecture"],
                         json.loads(self.ivit("info", "--json"))["architecture"])

    def test_an_option_does_not_take_the_words_after_its_own(self):
        bundled = json.loads(self.ivit("info", "--json"))["model"]["source"]
        self.assertEqual(self.ivit("report", "--runs", "0", "-o", "a.json", "-o", "a.md", self.picture).split(), [b"a.json", b"a.md"])
        self.assertIn(b"every value is the same", self.ivit("replay", "--image", self.picture, "a.json"))
        doc = json.loads(self.ivit("run", "--dump", "t.safetensors", "--taps", "*.softmax", "--taps", "head", bundled, self.picture, "--json"))
        self.assertEqual(len(doc["taps"]), 13)

    def test_a_selftest_without_expectations_does_not_pass(self):
        for content in ({}, {"shiftmax": []}, {"format": "ivit-report"}):
            with open(self.at("golden.json"), "w") as f:
                json.dump(content, f)
            self.refused("the golden file holds no expectation", "selftest", "--golden", "golden.json")

    def test_run_takes_an_architecture(self):
        doc = json.loads(self.ivit("run", "--arch", "deit_tiny_patch16_32", self.picture, "--json"))
        self.assertEqual(doc["file"], self.picture)
        self.assertEqual(self.ivit("run", self.picture, code=2), b"")
        self.assertIn("image is required", self.stderr)

    def test_documents(self):
        with open(self.at("broken.jpg"), "wb") as f:
            f.write(read(self.picture, "rb")[:500])
        for command in ("classify", "compare"):
            doc = json.loads(self.ivit(command, self.picture, "broken.jpg", "--json", code=1))
            self.assertEqual([i["file"] for i in doc["images"]], [self.picture])
            self.assertEqual([(s["file"], bool(s["error"])) for s in doc["skipped"]], [("broken.jpg", True)])
        doc = json.loads(self.ivit("calibrate", "--calibration", SAMPLES, "-o", "c.json", "--json"))
        self.assertEqual((doc["format"], doc["calibration"]["pictures"]), ("ivit-calibrate", len(os.listdir(SAMPLES))))
        doc = json.loads(self.ivit("classify", self.picture, "--calibration", "c.json", "--json"))
        self.assertEqual(doc["calibration"]["pictures"], len(os.listdir(SAMPLES)))
