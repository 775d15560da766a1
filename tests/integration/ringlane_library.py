#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What both forms of the library export is what the header declares and the manual page explains, and nothing else.

usage: tests/integration/ringlane_library.py LIBRINGLANE.so LIBRINGLANE.a
"""

import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED, STATIC = "", ""


def list_exported(*command):
    lines = subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()
    names = {line.split()[2] for line in lines if len(line.split()) == 3}
    return {name for name in names if not name.startswith("_")}


def list_declared():
    text = (ROOT / "include/ringlane/ringlane.h").read_text()
    return set(re.findall(r"RINGLANE_API[^;]*?\b(ringlane_\w+)\(", text))


class Library(unittest.TestCase):
    def test_shared_library_when_listed_then_it_has_the_headers_functions(self):
        self.assertEqual(list_exported("nm", "-D", "--defined-only", SHARED), list_declared())

    def test_static_library_when_listed_then_it_has_the_headers_functions(self):
        self.assertEqual(list_exported("nm", "--extern-only", "--defined-only", STATIC), list_declared())

    def test_manual_page_when_read_then_it_has_the_headers_functions(self):
        page = (ROOT / "docs/man/libringlane.3.scd").read_text().partition("# DESCRIPTION")[0]
        self.assertEqual(set(re.findall(r"\b(ringlane_\w+)\(", page)), list_declared())

    def test_header_when_read_then_no_function_lacks_the_export_mark(self):
        text = (ROOT / "include/ringlane/ringlane.h").read_text()
        self.assertEqual(set(re.findall(r"(?m)^(?!RINGLANE_API)\w[^\n/]*\b(ringlane_\w+)\(", text)), set())


if __name__ == "__main__":
    SHARED, STATIC = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
