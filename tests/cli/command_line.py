#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The programs as a person calls them: command_line.py IVIT SOURCE_FOLDER [unittest's arguments].

Evaluations are killed and resumed, divided and joined; reports are made in every form, checked against the published
schema and against `ivit compare`, run again, tampered with, and written where there is no room.
"""
import csv
import html.parser
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

IVIT, SOURCE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
SAMPLES = os.path.join(SOURCE, "assets", "samples")
FORMS = ["html", "pdf", "json", "csv", "md"]


def read(path, mode="r"):
    with open(path, mode) as f:
        return f.read()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="ivit-cli-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def at(self, *parts):
        return os.path.join(self.dir, *parts)

    def ivit(self, *arguments, code=0, **more):
        """Runs ivit; yields what it printed. Whatever goes wrong is one sentence, with a hint at most."""
        p = subprocess.run([IVIT, *arguments], cwd=self.dir, capture_output=True, timeout=300, **more)
        self.assertEqual(p.returncode, code, (arguments, p.stderr.decode(errors="replace")))
        if code not in (0, 130) and not p.stdout:
            lines = [l for l in p.stderr.decode(errors="replace").splitlines() if not l.startswith("ivit: note:")]
            self.assertIn(len(lines), (1, 2), lines)
            self.assertTrue(lines[0].startswith("ivit: "), lines)
        self.stderr = p.stderr.decode(errors="replace")
        return p.stdout

    def refused(self, word, *arguments, **more):
        self.assertEqual(self.ivit(*arguments, code=1, **more), b"")
        self.assertIn(word, self.stderr)

    def pictures(self, copies=1):
        """Class folders, each sample `copies` times, and three files that are no pictures."""
        for name in sorted(os.listdir(SAMPLES)):
            label = name.split("_")[0]
            os.makedirs(self.at("set", label), exist_ok=True)
            for i in range(copies):
                shutil.copy(os.path.join(SAMPLES, name), self.at("set", label, "%d.jpg" % i))
        whole = read(os.path.join(SAMPLES, "cat_1.jpg"), "rb")
        for name, content in {"<script>.png": b"no picture", "empty.jpg": b"", "half.jpg": whole[:len(whole) // 2]}.items():
            with open(self.at("set", "cat", name), "wb") as f:
                f.write(content)
        return self.at("set")


class Gpu(Case):
    """Which backend `auto` takes, and what is said of the GPU that is not there, or not usable."""
    CAT = os.path.join(SAMPLES, "cat_1.jpg")

    def test_every_document_says_why_there_is_no_gpu(self):
        os.mkdir(self.at("set"))
        shutil.copy(self.CAT, self.at("set", "1.jpg"))
        shutil.copytree(self.at("set"), self.at("classes", "cat"))
        self.ivit("quantize", "-o", "q.safetensors", "--calibration", "set")
        for command in (["classify", self.CAT], ["compare", self.CAT], ["run", "q.safetensors", self.CAT],
                        ["bench", "--runs", "1", "--warm-up", "0"], ["evaluate", "classes"],
                        ["report", self.CAT, "-o", "r.json"]):
            with self.subTest(command[0]):
                doc = json.loads(self.ivit(*command, "--json", "--backend", "auto"))
                if doc["backend"] == "cuda":
                    self.assertNotIn("gpu_absent", doc["machine"])
                    continue
                self.assertEqual(doc["backend"], "cpu")
                self.assertTrue(doc["machine"]["gpu_absent"].startswith("cuda: "))
                # Whoever asks for the CPU is not told about GPUs.
                doc = json.loads(self.ivit(*command, "--json", "--backend", "cpu"))
                self.assertNotIn("gpu_absent", doc["machine"])
        if doc["backend"] != "cuda":
            self.assertIn(b"no GPU: cuda: ", self.ivit("classify", self.CAT))

    @unittest.skipUnless("IVIT_FAKE_DRIVER" in os.environ, "built without CUDA: there is no driver to fail")
    def test_drivers_that_fail(self):
        for words, fate in (
                ("there is no CUDA GPU on this machine", {}),
                ("driver is too old: it knows CUDA 11.4, and this program needs ", {"IVIT_FAKE_DRIVER_VERSION": "11040"}),
                ("there is no NVIDIA driver on this machine", {"IVIT_FAKE_DRIVER_VERSION": "0"}),
                ("kernel module are of different versions", {"IVIT_FAKE_DRIVER_INIT": "803"}),
                ("the GPU failed (", {"IVIT_FAKE_DRIVER_INIT": "999"})):
            env = dict(os.environ, LD_LIBRARY_PATH=os.environ["IVIT_FAKE_DRIVER"], **fate)
            with self.subTest(words):
                doc = json.loads(self.ivit("classify", self.CAT, "--json", "--backend", "auto", env=env))
                self.assertEqual(doc["backend"], "cpu")
                self.assertIn(words, doc["machine"]["gpu_absent"])
                self.assertTrue(doc["predictions"]["integer"])
                self.refused(words, "classify", self.CAT, "--backend", "cuda", env=env)
                self.assertNotIn("no GPU", self.stderr)
        doc = json.loads(self.ivit("bench", "--runs", "2", "--json", env=env))
        self.assertNotIn("opponents", doc)
        self.assertEqual(doc["baseline"], "FP32, oneDNN, the same threads, alternating")


class Bench(Case):
    def test_says_when_the_cores_were_shared(self):
        """A program that holds the cores evenly makes every run longer alike: the runs do not scatter."""
        cores = sorted(os.sched_getaffinity(0))
        load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in cores]
        try:
            doc = json.loads(self.ivit("bench", "--runs", "100", "--json"))
            text = self.ivit("bench", "--runs", "100").decode()
        finally:
            for p in load:
                p.kill()
                p.wait()
        if "processor_share" not in doc:
            self.skipTest("this kernel keeps no books of its threads")
        self.assertLess(doc["processor_share"], 0.9)
        self.assertIs(doc["disturbed"], True)
        self.assertRegex(text, r"disturbed: the processor was shared, the threads had \d+ % of the time they wanted")


class Evaluate(Case):
    def test_document(self):
        self.pictures()
        out = self.ivit("evaluate", "set", "--quant", "W8A8", "--quant", "W4A8", "--json", "-o", "e.json")
        doc = json.loads(out)  # and nothing else on standard output
        self.assertEqual(doc, json.loads(read(self.at("e.json"))))
        self.assertEqual(doc["images"], 10)
        self.assertEqual(sorted(s["file"] for s in doc["skipped"]), ["cat/<script>.png", "cat/empty.jpg", "cat/half.jpg"])
        self.assertTrue(all(s["error"] for s in doc["skipped"]))
        self.assertEqual([c["quant"] for c in doc["configurations"]], ["W8A8", "W4A8"])
        for entry in [doc["float"]] + doc["configurations"]:
            self.assertTrue(0 <= entry["top1"] <= entry["top5"] <= 100)
        for c in doc["configurations"]:
            self.assertTrue(0 <= c["agreement"] <= 100 and c["mean_kl"] >= 0)
        self.assertNotIn("evaluating", self.stderr)  # progress is for terminals

    def test_configuration_file(self):
        self.pictures()
        with open(self.at("q.json"), "w") as f:
            json.dump({"default": "W4A8", "rules": {"blocks.0.*": {"mode": "float"}}}, f)
        doc = json.loads(self.ivit("evaluate", "set", "-q", "q.json", "-q", "W8A8", "--json"))
        self.assertEqual([c["quant"] for c in doc["configurations"]], ["W4A8 except blocks.0.* float", "W8A8"])

    def test_killed_anywhere(self):
        self.pictures(24)
        command = ["evaluate", "set", "-q", "W8A8", "-q", "W4A4", "-o", "k.json", "--journal", "k.jsonl"]
        self.ivit(*[a.replace("k.", "whole.") for a in command])
        whole = os.path.getsize(self.at("whole.jsonl"))
        journal = self.at("k.jsonl")
        kills = 0
        for _ in range(60):
            if kills == 6:
                break
            p = subprocess.Popen([IVIT, *command], cwd=self.dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # By how far the journal has come, not by the clock: the machine may be busy or not.
            at = whole * random.uniform(0, 0.95)
            while p.poll() is None and (os.path.getsize(journal) if os.path.exists(journal) else 0) < at:
                time.sleep(0.0005)
            time.sleep(random.uniform(0, 0.005))
            p.send_signal(signal.SIGKILL)
            if p.wait(timeout=300) == -signal.SIGKILL:
                kills += 1
            else:  # it was at its end before the signal came: from the start again
                os.remove(journal)
        self.assertEqual(kills, 6)
        self.ivit(*command)
        self.assertEqual(read(self.at("k.json")), read(self.at("whole.json")))
        self.assertEqual(read(self.at("k.jsonl")), read(self.at("whole.jsonl")))

    def test_shards(self):
        self.pictures(2)
        self.ivit("evaluate", "set", "-q", "W8A8", "-q", "W4A8", "-o", "single.json")
        journals = []
        for i in (2, 3, 1):
            journals.append("s%d.jsonl" % i)
            self.ivit("evaluate", "set", "-q", "W8A8", "-q", "W4A8", "--shard", "%d/3" % i, "--journal", journals[-1])
        self.assertEqual(self.ivit("merge", *journals, "--json", "-o", "merged.json"), read(self.at("single.json"), "rb"))
        self.assertEqual(read(self.at("merged.json")), read(self.at("single.json")))
        self.refused("in none of these journals", "merge", *journals[:2])
        self.refused("is there twice", "merge", *journals, journals[0])
        self.ivit("evaluate", "set", "-q", "W8A8", "--shard", "1/3", "--journal", "other.jsonl")
        self.refused("another evaluation", "merge", "other.jsonl", *journals[:2])
        self.refused("another evaluation", "evaluate", "set", "-q", "W6A8", "--shard", "1/3", "--journal", "other.jsonl")
        self.refused("1 <= i <= n", "evaluate", "set", "--shard", "4/3", "--journal", "x")
        self.refused("needs --journal", "evaluate", "set", "--shard", "1/3")
        self.assertFalse(os.path.exists(self.at("x")))


class WellFormed(html.parser.HTMLParser):
    """Every element that is opened is closed, in order; nothing that runs but the one script."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        assert not any(name.startswith("on") for name, _ in attributes), (tag, attributes)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-5:], self.getpos())
        self.open.pop()

    def handle_data(self, data):
        self.texts.append(data)


def shape(value, path="", out=None):
    """{"images[].layers[].sqnr_db": {"number"}, ...}: what a document is made of, without its values."""
    out = {} if out is None else out
    kind = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null", list: "list", dict: "object"}[type(value)]
    out.setdefault(path, set()).add(kind)
    if isinstance(value, dict):
        # Named by what they hold: node names, rules.
        free = path.endswith((".sites", ".rules"))
        for key, v in value.items():
            shape(v, path + ("[]" if free else "." + key), out)
    if isinstance(value, list):
        for v in value:
            shape(v, path + "[]", out)
    return out


class Report(Case):
    pictures_given = [os.path.join(SAMPLES, n) for n in ("cat_1.jpg", "ship_1.jpg")]

    def made(self, *more, forms=("json",)):
        outputs = [a for form in forms for a in ("-o", "r." + form)]
        self.ivit("report", *self.pictures_given, *outputs, "--runs", "2", *more)
        return json.loads(read(self.at("r.json")))

    def test_equals_compare(self):
        report = self.made("-q", "W4A8", forms=FORMS)
        compared = json.loads(self.ivit("compare", *self.pictures_given, "-q", "W4A8", "--json"))
        for mine, theirs in zip(report["images"], compared["images"]):
            for field in ("file", "predictions", "logits", "layers"):
                self.assertEqual(mine[field], theirs[field])
        with open(self.at("r.csv"), newline="") as f:
            rows = list(csv.DictReader(f))
        layers = [l for i in compared["images"] for l in i["layers"] if l["scope"] == "cumulative"]
        self.assertEqual(len(rows), len(layers))
        for row, layer in zip(rows, layers):
            self.assertEqual(row["node"], layer["name"])
            self.assertEqual(float(row["cumulative_sqnr_db"]), layer["sqnr_db"])
        page = read(self.at("r.html"))
        shown = [float(v) for v in re.findall(r"<td>\d+</td><td data-v='([-.\de+]+)'>", page)]
        self.assertEqual(sorted(shown), sorted(l["sqnr_db"] for l in layers))

    def test_schema(self):
        os.makedirs(self.at("set", "cat"))
        shutil.copy(self.pictures_given[0], self.at("set", "cat"))
        self.ivit("evaluate", "set", "-q", "W8A8", "-q", "W4A8", "-o", "e.json")
        with open(self.at("q.json"), "w") as f:
            json.dump({"default": "W4A6/12", "preset": "paper", "logits": 10,
                       "rules": {"blocks.1.*": {"mode": "float"}, "blocks.*.mlp.fc2": "W4A8", "blocks.2.mlp.act": {"n": 20, "pivot": "row"}}}, f)
        self.ivit("report", self.pictures_given[0], "-o", "a.json", "--evaluation", "e.json", "--runs", "2")
        self.ivit("report", self.pictures_given[1], "-o", "b.json", "-q", "q.json", "--head", "blocks.3.attn.softmax:1", "--runs", "0")
        broken = json.loads(read(self.at("a.json")))
        broken["images"][0]["layers"][0].pop("sqnr_db")
        with open(self.at("broken.json"), "w") as f:
            json.dump(broken, f)
        check = ("import json,sys\nfrom jsonschema import Draft202012Validator as V\ns=json.load(open(sys.argv[1]));V.check_schema(s)\n"
                 "for f in sys.argv[2:]:\n e=[(list(x.absolute_path),x.message[:200]) for x in V(s).iter_errors(json.load(open(f)))]\n"
                 " print(f,len(e),e[:3])")
        python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
        if subprocess.run([python, "-c", "import jsonschema"], capture_output=True).returncode != 0:
            self.skipTest("python3-jsonschema is not installed")
        p = subprocess.run([python, "-c", check, os.path.join(SOURCE, "assets", "report.schema.json"), "a.json", "b.json", "broken.json"],
                           cwd=self.dir, capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr)
        lines = p.stdout.splitlines()
        self.assertTrue(lines[0].startswith("a.json 0 ") and lines[1].startswith("b.json 0 "), p.stdout)
        self.assertFalse(lines[2].startswith("broken.json 0 "), p.stdout)  # the schema is worth something

    def test_golden(self):
        """The report of a bundled sample, compared by its structure, its texts and the order of its nodes with
        the committed one, and its numbers within a decibel. IVIT_RENEW_GOLDEN=1 writes it anew."""
        self.pictures_of_one()
        self.ivit("evaluate", "set", "-q", "W4A8", "-o", "e.json")
        report = self.made("-q", "W4A8", "--evaluation", "e.json", "--head", "blocks.3.attn.softmax:1")
        image = report["images"][0]
        for where in (report, report["evaluation"]):
            where["machine"].pop("gpu_absent", None)  # says why, where there is no GPU
        now = {"shape": {k: sorted(v) for k, v in sorted(shape(report).items())},
               "nodes": [l["name"] + " " + l["op"] + " " + l["scope"] for l in image["layers"]],
               "lengths": {k: len(image[k]) for k in ("layers", "worst")},
               "labels": [p["label"] for p in image["predictions"]["integer"]],
               "sqnr_db": [round(l["sqnr_db"], 1) for l in image["layers"]],
               "logits_db": [round(i["logits"]["sqnr_db"], 1) for i in report["images"]],
               "changes": sorted(c.get("where", "") + " " + c["what"] for k in ("network", "blocks") for c in report["causes"][k])}
        golden = os.path.join(SOURCE, "tests", "golden", "report_structure.json")
        if os.environ.get("IVIT_RENEW_GOLDEN"):
            with open(golden, "w") as f:
                json.dump(now, f, indent=1)
                f.write("\n")
        then = json.loads(read(golden))
        for part in ("shape", "nodes", "lengths", "labels", "changes"):
            self.assertEqual(now[part], then[part])
        for part in ("sqnr_db", "logits_db"):
            for a, b in zip(now[part], then[part]):
                self.assertLess(abs(a - b), 1, part)  # the float network's last digits are the machine's

    def test_first_screen(self):
        report = self.made("-q", "W4A8", forms=FORMS)
        page = " ".join(WellFormed(read(self.at("r.html"))).texts)
        best = report["causes"]["network"][0]
        self.assertEqual(best["what"], "weights at 8 bits")  # the widths of W4A8 say so
        self.assertIn("The rounding of the weights costs most", page)
        self.assertIn("%+.2f dB" % best["gain_db"], page)
        self.assertLess(page.index("Which layer hurts"), page.index("Effective configuration"))
        self.assertIn("The rounding of the weights costs most", read(self.at("r.md")))

    def browser(self, *arguments):
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not chromium:
            self.skipTest("no Chromium is installed")
        p = subprocess.run([chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                            "--user-data-dir=" + self.at("profile"), *arguments], cwd=self.dir, capture_output=True, timeout=240)
        return p.stdout.decode(errors="replace")

    def test_in_a_browser(self):
        """Laid out at a phone's and a desktop's width without anything beside the page, sorted by a click, and
        nothing of the file names run. The report lies in a frame of that width."""
        name = "<script>alert(1)<&>\"'" + "x" * 150 + ".jpg"
        shutil.copy(self.pictures_given[0], self.at(name))
        self.ivit("report", name, self.pictures_given[1], "-q", "W4A8", "-o", "r.html", "--runs", "2")
        page = html.escape(read(self.at("r.html")), quote=True)
        probe = """<script>onload=()=>{let out=[];for(const f of document.querySelectorAll('iframe')){const d=f.contentDocument,
            t=[...d.querySelectorAll('table.sort')].find(t=>t.tHead.textContent.includes('cumulative')),first=()=>t.tBodies[0].rows[0].cells[4].dataset.v;
            const before=+first();t.tHead.rows[0].cells[4].click();const after=+first();
            out.push({width:f.clientWidth,wide:d.documentElement.scrollWidth,scripts:d.scripts.length,before,after,
            cards:d.querySelectorAll('.find').length,plots:d.querySelectorAll('svg').length,
            out:[...d.querySelectorAll('body>*')].filter(e=>e.getBoundingClientRect().right>f.clientWidth+1).map(e=>e.tagName)})}
            document.body.innerHTML='<pre>RESULT'+JSON.stringify(out)+'END</pre>'}</script>"""
        with open(self.at("probe.html"), "w") as f:
            f.write("<!doctype html><meta charset='utf-8'><body>" + "".join(
                "<iframe width=%d height=800 style='border:0' srcdoc=\"%s\"></iframe>" % (w, page) for w in (390, 1280)) + probe)
        dom = self.browser("--virtual-time-budget=20000", "--dump-dom", "file://" + self.at("probe.html"))
        found = re.search(r"RESULT(\[.*?\])END", dom, re.S)
        self.assertIsNotNone(found, dom[-500:])
        for frame in json.loads(html.unescape(found.group(1))):
            self.assertEqual((frame["scripts"], frame["out"]), (1, []))
            self.assertLessEqual(frame["wide"], frame["width"])
            self.assertGreater(frame["after"], frame["before"])  # ascending, then descending
            self.assertEqual(frame["cards"], 4)
            self.assertGreater(frame["plots"], 20)

    def test_pdf_pages(self):
        if not shutil.which("pdftoppm") or not shutil.which("pdftotext"):
            self.skipTest("no pdftoppm is installed")
        name = "\u00fcn\u00efc\u00f6de \u0395\u03bb \u0416 <script>.jpg"
        shutil.copy(self.pictures_given[0], self.at(name))
        self.ivit("report", name, self.pictures_given[1], "-o", "r.pdf", "--runs", "2")
        text = subprocess.run(["pdftotext", "-layout", "r.pdf", "-"], cwd=self.dir, capture_output=True, check=True).stdout.decode()
        pages = text.split("\f")[:-1]
        self.assertGreater(len(pages), 4)
        for i, page in enumerate(pages):
            self.assertRegex(page.rstrip().splitlines()[-1], r"\b%d / %d$" % (i + 1, len(pages)))
        self.assertIn(name, text)
        self.assertLess(text.index("Which layer hurts"), text.index("Effective configuration"))
        subprocess.run(["pdftoppm", "-r", "40", "r.pdf", "p"], cwd=self.dir, check=True)
        drawn = sorted(f for f in os.listdir(self.dir) if f.startswith("p-"))
        self.assertEqual(len(drawn), len(pages))
        for f in drawn:
            pixels = read(self.at(f), "rb").split(b"\n", 3)[3]
            self.assertGreater(sum(b < 160 for b in pixels), 300, f)  # something is on it

    def test_replay(self):
        for more in (["-q", "W4A8", "--head", "blocks.2.attn.softmax:1", "--top", "3"], ["--arch", "deit_tiny_patch16_64", "--seed", "5"]):
            report = self.made(*more)
            self.assertIn(b"every value is the same", self.ivit("replay", "r.json"))
        # The commands it tells make the same report.
        report["images"][1]["logits"]["kl"] += 1e-12
        with open(self.at("r.json"), "w") as f:
            json.dump(report, f)
        out = self.ivit("replay", "r.json", code=1).decode()
        self.assertIn("1 value differs", out)
        self.assertIn("images[1].logits.kl", out)
        doc = json.loads(self.ivit("replay", "r.json", "--json", code=1))
        self.assertEqual([d["where"] for d in doc["differences"]], ["images[1].logits.kl"])

    def test_replay_of_something_else(self):
        shutil.copy(self.pictures_given[0], self.at("mine.jpg"))
        self.ivit("report", "mine.jpg", self.pictures_given[1], "-o", "r.json", "--runs", "0")
        # Another picture under that name: run, and told value by value.
        shutil.copy(self.pictures_given[1], self.at("mine.jpg"))
        doc = json.loads(self.ivit("replay", "r.json", "--json", code=1))
        self.assertIn("note: the picture has changed since: mine.jpg", self.stderr)
        places = [d["where"] for d in doc["differences"]]
        for place in ("images[0].sha256", "images[0].pixels_sha256", "images[0].logits.kl", "images[0].layers[head, cumulative].sqnr_db"):
            self.assertIn(place, places)
        self.assertFalse([p for p in places if p.startswith("images[1]")])
        # Gone: the other one is run.
        os.remove(self.at("mine.jpg"))
        doc = json.loads(self.ivit("replay", "r.json", "--json", code=1))
        self.assertIn("left out: mine.jpg", self.stderr)
        self.assertIn({"where": "images[0]", "a": "mine.jpg", "b": None}, doc["differences"])
        self.assertFalse([d for d in doc["differences"] if d["where"].startswith("images[1]")])
        self.assertIn(b"every value is the same", self.ivit("replay", "r.json", "--image", self.pictures_given[0]))
        # A report that travels with its pictures.
        os.mkdir(self.at("sent"))
        shutil.copy(self.pictures_given[0], self.at("sent", "mine.jpg"))
        shutil.copy(self.at("r.json"), self.at("sent"))
        self.assertIn(b"every value is the same", self.ivit("replay", "sent/r.json"))
        self.ivit("report", "sent/mine.jpg", "-o", "one.json", "--runs", "0")
        shutil.rmtree(self.at("sent"))
        self.refused("no picture of the report is where it was", "replay", "one.json")
        # The model by its hash: the bundled one, wherever it lay.
        report = json.loads(read(self.at("r.json")))
        report["model"]["source"] = "/elsewhere/vit.safetensors"
        with open(self.at("other.json"), "w") as f:
            json.dump(report, f)
        self.assertIn(b"every value is the same", self.ivit("replay", "other.json", "--image", self.pictures_given[0]))
        report["model"]["sha256"] = "0" * 64
        with open(self.at("other.json"), "w") as f:
            json.dump(report, f)
        self.refused("the model is not where it was", "replay", "other.json", "--image", self.pictures_given[0])
        self.refused("there is no such model", "replay", "r.json", "--model", "none", "--image", self.pictures_given[0])
        report["model"]["source"] = json.loads(read(self.at("r.json")))["model"]["source"]
        with open(self.at("other.json"), "w") as f:
            json.dump(report, f)
        doc = json.loads(self.ivit("replay", "other.json", "--json", "--image", self.pictures_given[0], code=1))
        self.assertIn("note: this is not the model of the report", self.stderr)
        self.assertEqual([d["where"] for d in doc["differences"]], ["model.sha256"])

    def test_reproduce(self):
        report = self.made("-q", "W4A8", "--preset", "paper")
        commands = report["reproduce"]
        self.assertTrue(commands[-1].startswith("ivit replay"))
        os.symlink(IVIT, self.at("ivit"))
        again = dict(os.environ, PATH=self.dir + ":" + os.environ["PATH"])
        for command in commands:
            subprocess.run(command, shell=True, cwd=self.dir, env=again, check=True, capture_output=True)
        self.assertEqual(json.loads(read(self.at("report.json")))["images"], report["images"])

    def test_diff(self):
        a = self.made("-q", "W8A8")
        os.rename(self.at("r.json"), self.at("a.json"))
        b = self.made("-q", "W4A8")
        self.assertIn(b"every value is the same", self.ivit("diff", "a.json", "a.json"))
        out = self.ivit("diff", "a.json", "r.json", code=1).decode()
        self.assertIn("W8A8", out)
        first = next(l for l in a["images"][0]["layers"] if l["name"] == "head")["sqnr_db"]
        second = next(l for l in b["images"][0]["layers"] if l["name"] == "head")["sqnr_db"]
        self.assertRegex(out, r"head +%.1f +%.1f +%+.1f" % (first, second, second - first))
        doc = json.loads(self.ivit("diff", "a.json", "r.json", "--json", code=1))
        self.assertEqual(doc["differences"][0], {"where": "quant", "a": "W8A8", "b": "W4A8"})

    def test_no_room(self):
        self.made(forms=FORMS)
        size = {form: os.path.getsize(self.at("r." + form)) for form in FORMS}
        before = {form: read(self.at("r." + form), "rb") for form in FORMS}

        def small_files():  # a write fails half way, as on a full disk
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

        for form in FORMS:
            self.assertGreater(size[form], 8192)
            self.refused("cannot write the file", "report", self.pictures_given[0], "-o", "r." + form, "--runs", "0", preexec_fn=small_files)
            self.assertEqual(read(self.at("r." + form), "rb"), before[form])
        os.symlink("/dev/full", self.at("full.html"))
        self.refused("No space left", "report", self.pictures_given[0], "-o", "full.html", "--runs", "0")
        self.refused("cannot write the file", "report", self.pictures_given[0], "-o", "none/r.html", "--runs", "0")
        self.refused("cannot tell the kind", "report", self.pictures_given[0], "-o", "r.txt")
        self.pictures_of_one()
        self.refused("cannot write the journal", "evaluate", "set", "--journal", "none/j")
        self.refused("cannot write the file", "evaluate", "set", "-o", "none/e.json")
        self.assertEqual(sorted(os.listdir(self.dir)), sorted(["r." + f for f in FORMS] + ["full.html", "set"]))

    def pictures_of_one(self):
        os.makedirs(self.at("set", "cat"))
        shutil.copy(self.pictures_given[0], self.at("set", "cat"))

    def test_hostile_names(self):
        name = "<script>alert(1)<&>\"'.jpg"
        shutil.copy(self.pictures_given[0], self.at("-dash.jpg"))
        self.ivit("report", "--runs", "0", "-o", "d.json", "--", "-dash.jpg")
        self.assertIn(" ./-dash.jpg ", json.loads(read(self.at("d.json")))["reproduce"][0])
        shutil.copy(self.pictures_given[0], self.at(name))
        shutil.copy(self.pictures_given[0], self.at("x" * 200 + ".jpg"))
        self.ivit("report", name, "x" * 200 + ".jpg", "--runs", "0", *[a for f in FORMS for a in ("-o", "h." + f)])
        page = read(self.at("h.html"))
        self.assertEqual(page.count("<script>"), 1)
        self.assertIn("&lt;script&gt;alert(1)&lt;&amp;&gt;&quot;&#39;.jpg", page)
        self.assertIsNone(re.search(r"https?:|src=|url\(|@import|<link|<iframe", page))
        WellFormed(page)
        self.assertIn(b"every value is the same", self.ivit("replay", "h.json"))


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

    def test_output_is_looked_at_before_the_work(self):
        for arguments in (["evaluate", "nowhere", "-o"], ["quantize", "--model", "nowhere", "-o"], ["run", "nowhere", "nowhere", "--dump"],
                          ["report", "nowhere.jpg", "-o"]):
            self.refused("none/out.json: cannot write the file", *arguments, "none/out.json")

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


if __name__ == "__main__":
    unittest.main(argv=["command_line"] + sys.argv[3:], verbosity=2)
