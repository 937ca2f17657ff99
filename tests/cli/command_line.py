#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The programs as a person calls them: command_line.py IVIT SOURCE_FOLDER [unittest's arguments]."""
import sys
import unittest

from backends import *
from evaluations import *
from reports import *
from words import *

if __name__ == "__main__":
    unittest.main(argv=["command_line"] + sys.argv[3:], verbosity=2)
