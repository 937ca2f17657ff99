# SPDX-License-Identifier: Apache-2.0
"""Reports in every form: checked against the published schema and `ivit compare`, run again, tampered with, written
where there is no room."""
import csv
import html
import html.parser
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys

from case import Case, FORMS, IVIT, SAMPLES, SOURCE, read


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
            clamps = layer["bits"] < 32  # an accumulator has no limit to sit at, and no range
            self.assertEqual(row["cumulative_saturation"], str(layer["saturation"]) if clamps else "")
            self.assertEqual(row["isolated_range_used"] == "", not clamps)
            self.assertEqual([row[c] for c in ("model", "model_sha256", "quant", "preset", "calibration", "backend", "program")],
                             [report["model"]["name"], report["model"]["sha256"], "W4A8", "refined",
                              report["calibration"]["summary"], report["backend"], report["program"]])
        page = read(self.at("r.html"))
        shown = [float(v) for v in re.findall(r"<td>\d+</td><td data-v='([-.\de+]+)'>", page)]
        self.assertEqual(sorted(shown), sorted(l["sqnr_db"] for l in layers))
        # To the digit that is shown: the table on the terminal, in Markdown and in the page.
        table = self.ivit("compare", self.pictures_given[0], "-q", "W4A8").decode()
        markdown, head, count = read(self.at("r.md")), "| node | place |", len(layers) // 2
        of_markdown = [[html.unescape(c.strip().replace("\\", "")) for c in l.split("|")[1:-1]] for l in markdown[markdown.index(head):].splitlines()[2:2 + count]]
        of_terminal = [l.split() for l in table.splitlines()[-count:]]
        self.assertEqual(of_terminal, [[row[0], *row[2:]] for row in of_markdown])
        of_page = re.findall(r"<tr><td>([\w.]+)</td><td>\d+</td><td class='l'>(\w+)</td><td>(\d+)</td>((?:<td data-v[^/]*</td>)+)</tr>", page)[:count]
        self.assertEqual(of_terminal, [[*row[:3], *[html.unescape(c).strip("\u2007\u2008") for c in re.findall(r">([^<]+)</td>", row[3])]] for row in of_page])
        self.assertEqual(of_terminal[0][3], "%.1f" % min(l["sqnr_db"] for l in layers[:count]))
        self.assertEqual([row[-1] for row in of_terminal if row[0].endswith("mlp.fc2")], ["-"] * 12)

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

    def test_an_operator_made_exact_is_called_so(self):
        with open(self.at("exact.json"), "w") as f:
            json.dump({"default": "W8A8", "rules": {"*.softmax": {"mode": "exact"}}}, f)
        self.ivit("report", self.pictures_given[0], "-q", "exact.json", "-o", "e.json", "-o", "e.html", "-o", "e.md", "--runs", "0")
        with open(self.at("e.json")) as f:
            report = json.load(f)
        self.assertEqual(report["images"][0]["attention"]["operator"], "Exact softmax")
        for name in ("e.html", "e.md"):
            with open(self.at(name)) as f:
                text = f.read()
            self.assertIn("Exact softmax against softmax", text)
            self.assertNotIn("Shiftmax against", text)

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
        # What is given is for a picture by its hash, or it is said that it is not.
        self.assertNotIn("not used", self.stderr)
        self.ivit("replay", "r.json", "--image", os.path.join(SAMPLES, "dog_1.jpg"), code=1)
        self.assertIn("not used, as its SHA-256 is that of no picture", self.stderr)
        self.assertIn("dog_1.jpg", self.stderr)
        # A name that is no UTF-8, in a folder whose name is none either, beside one that is written the same.
        folder = os.path.join(os.fsencode(self.dir), b"b\xe9")
        os.mkdir(folder)
        for name, picture in ((b"caf\xe8.jpg", 1), (b"caf\xe9.jpg", 0)):
            shutil.copy(self.pictures_given[picture], os.path.join(folder, name))
        self.ivit("report", b"b\xe9/caf\xe9.jpg", "-o", "odd.json", "--runs", "0")
        self.assertIn(b"every value is the same", self.ivit("replay", "odd.json"))
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
