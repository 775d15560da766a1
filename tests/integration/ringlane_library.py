#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What both forms of the library export is what the headers declare and the manual pages explain, and nothing else; programs
link with the static one, and may have names that it has inside.

usage: tests/integration/ringlane_library.py LIBRINGLANE.so LIBRINGLANE.a
"""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED, STATIC = "", ""


def list_exported(*command):
    lines = subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()
    names = {line.split()[2] for line in lines if len(line.split()) == 3}
    return {name for name in names if not name.startswith("_")}


def read_headers():
    return "".join(path.read_text() for path in sorted((ROOT / "include/ringlane").glob("*.h")))


def list_declared():
    return set(re.findall(r"RINGLANE_API[^;]*?\b(ringlane_\w+)\(", read_headers()))


def read_synopses():
    """Each page has its header's functions; the others are only spoken of."""
    pages = sorted((ROOT / "docs/man").glob("libringlane*.3.scd"))
    return "".join(page.read_text().partition("# DESCRIPTION")[0] for page in pages)


class Library(unittest.TestCase):
    def test_shared_library_when_listed_then_it_has_the_headers_functions(self):
        self.assertEqual(list_exported("nm", "-D", "--defined-only", SHARED), list_declared())

    def test_static_library_when_listed_then_it_has_the_headers_functions(self):
        self.assertEqual(list_exported("nm", "--extern-only", "--defined-only", STATIC), list_declared())

    def test_static_library_when_linked_then_the_program_runs(self):
        if "__asan_" in subprocess.run(["nm", STATIC], text=True, capture_output=True, check=True).stdout:
            self.skipTest("a library with sanitizers wants their flags")
        program = """#include <ringlane/ringlane.h>
                     int error_set(void); int queue_new(void);
                     int error_set(void) { return 7; } int queue_new(void) { return 35; }
                     int main(void) { struct ringlane_device *disk;
                     return ringlane_open("x", 0, &disk, 0) < 0 ? error_set() + queue_new() : 1; }"""
        for compiler in filter(shutil.which, ("gcc", "clang")):
            for more in ([], ["-flto"] if compiler == "gcc" else []):
                with self.subTest(compiler=compiler, more=more), tempfile.TemporaryDirectory() as folder:
                    command = [compiler, "-xc", "-", "-xnone", STATIC, f"-I{ROOT}/include", "-lpthread", "-lhwloc", "-lm", *more]
                    built = subprocess.run([*command, "-o", f"{folder}/a"], input=program, text=True, capture_output=True)
                    self.assertEqual((built.returncode, built.stderr[:1000]), (0, ""))
                    self.assertEqual(subprocess.run([f"{folder}/a"]).returncode, 42)

    def test_manual_pages_when_read_then_they_have_the_headers_functions(self):
        self.assertEqual(set(re.findall(r"\b(ringlane_\w+)\(", read_synopses())), list_declared())

    def test_header_when_read_then_no_function_lacks_the_export_mark(self):
        pattern = r"(?m)^(?!RINGLANE_API|typedef)\w[^\n/]*\b(ringlane_\w+)\("
        self.assertEqual(set(re.findall(pattern, read_headers())), set())


if __name__ == "__main__":
    SHARED, STATIC = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
