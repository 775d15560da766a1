# SPDX-License-Identifier: MIT
"""What the promise checks in this folder share.

A check is a function that takes the project's root and returns a list of problems. Each also brings small bad examples; they
are tried first on every run, because a check that cannot fail proves nothing.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED_DIRS = re.compile(r"^(\.git|__pycache__|build|build-.*)$")


def find_files(root, folders, suffixes):
    """All files below root/folders whose name ends with one of suffixes, sorted; build folders are left out."""
    found = []
    for folder in folders:
        for top, dirs, names in os.walk(root / folder):
            dirs[:] = [d for d in dirs if not SKIPPED_DIRS.match(d)]
            found += [Path(top) / name for name in names if name.endswith(tuple(suffixes))]
    return sorted(found)


def strip_comments_and_strings(text):
    """C source with comments and literals blanked, line numbers kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
    return pattern.sub(lambda m: "\n" * m.group(0).count("\n") or '""', text)


def find_self_test_failures(check, bad_examples):
    """bad_examples: (files by path, a word that the report must contain), or (files, None) when nothing may be found."""
    failures = []
    for files, expected in bad_examples:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            report = "\n".join(check(Path(folder)))
        if (expected is None and report) or (expected and expected not in report):
            failures.append(f"self-test: {sorted(files)}: expected {expected!r}, got {report!r}")
    return failures


def main(check, bad_examples):
    problems = find_self_test_failures(check, bad_examples) or check(ROOT)
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
