# SPDX-License-Identifier: Apache-2.0
"""Evaluations, killed and resumed, divided and joined."""
import json
import os
import random
import signal
import subprocess
import time

from case import Case, IVIT, SAMPLES, read


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
            self.assertTrue(c["median_kl"] <= c["p95_kl"] <= c["max_kl"], c)
        self.assertNotIn("evaluating", self.stderr)  # progress is for terminals

    def test_a_report_says_of_how_many_pictures_the_accuracy_is(self):
        with open(self.at("labels.csv"), "w") as f:
            f.write("cat_1.jpg,cat\ndog_1.jpg,dog\nship_1.jpg,truck\nmissing.jpg,cat\n")
        table = self.ivit("evaluate", SAMPLES, "--labels", "labels.csv", "-o", "e.json").decode()
        self.ivit("report", os.path.join(SAMPLES, "cat_1.jpg"), "--runs", "0", "--evaluation", "e.json", "-o", "r.md")
        report = read(self.at("r.md")).replace("\\", "")
        for text in (table, report):
            self.assertIn("0 skipped, 7 without a label, 1 line of the labels file names no picture", text)
        self.assertIn("Top-1 66.67 % instead of 66.67 %", report)
        self.assertIn("+0.00 points over 3 pictures with a label; the same top-1 for 100.0 % of all 10.", report)

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
