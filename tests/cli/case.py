# SPDX-License-Identifier: Apache-2.0
"""A case of the command line's tests: a folder of its own, `ivit` in it, and pictures."""
import os
import shutil
import subprocess
import sys
import tempfile
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
