# SPDX-License-Identifier: Apache-2.0
"""Which backend is taken, what is said of one that cannot be, and how its speed is told."""
import json
import os
import shutil
import subprocess
import sys
import unittest

from case import Case, SAMPLES


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
