#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Everything that `make check` runs, and the sum of it.

Each step is tried whatever became of the one before. What counts one: a build, a meson test, a promise check, a case in a
guest (a family of the SCSI conformance tests is one; their own counts are told at the end). The last line is "N passed, N failed, N skipped"; the exit status is 1 when anything failed.

usage: scripts/check.py [STEP...]       steps: gcc clang sanitize threads promises guest (default: all)
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILDS = ROOT / "build-check"
PROMISES = ["layers", "functions", "headers", "format", "forbidden", "man", "shell", "models"]
STEP_SECONDS_MAX = 2700  # of a command: about three times what the longest takes
LATE = 124  # the exit status of such a command, as timeout(1) has it
END_SECONDS_MAX = 60  # for one that was told to end to put its house in order
SANITIZED_CASES = ["cut.", "disk.", "life.", "scsiplug.", "scsireset.", "scsireserve.", "scsiconformance.family_scsi"]
SKIPPED_CASE = re.compile(r"^(?:\[  SKIPPED \] (test_\w+)|(test_\w+) .*\.\.\. skipped .*)$", re.MULTILINE)
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Sum:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []
        self.notes = []

    def add(self, name, result):
        if result == "passed":
            self.passed += 1
        else:
            (self.skipped if result == "skipped" else self.failed).append(name)

    def print(self):
        for note in self.notes:
            print(note)
        for title, names in (("skipped", self.skipped), ("failed", self.failed)):
            for name in names:
                print(f"{title}: {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped")


def end(process):
    """First so that it can end what it has started; then all of its group, which is its own."""
    process.terminate()
    try:
        process.wait(END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(command, env=None, see_line=None):
    """The exit status; a command that runs too long is ended and counts as failed. see_line gets what it prints, line by line."""
    print("+", *command, flush=True)
    output = subprocess.PIPE if see_line else None
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=output, text=True, errors="replace", start_new_session=True
    )
    is_late = threading.Event()
    watch = threading.Timer(STEP_SECONDS_MAX, lambda: (is_late.set(), end(process)))
    watch.start()
    try:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            see_line(line)
        process.wait()
    except BaseException:  # the user's wish above all
        end(process)
        raise
    finally:
        watch.cancel()
    if is_late.is_set():
        print(f"ended after {STEP_SECONDS_MAX} s", flush=True)
        return LATE
    return process.returncode


def set_up(folder, compiler, options):
    """A build folder keeps the options it was made with: one that was made with others is made again."""
    command = ["meson", "setup", str(folder), str(ROOT), "--werror", *options]
    recipe = "\n".join([compiler, *command, *((ROOT / name).read_text() for name in ("meson.build", "meson_options.txt"))])
    stamp = folder / "recipe"
    if stamp.exists() and stamp.read_text() == recipe:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    ok = run(command, {"CC": compiler}) == 0
    if ok:
        stamp.write_text(recipe)
    return ok


def build(total, name, compiler, *options):
    folder = BUILDS / name
    ok = set_up(folder, compiler, options) and run(["ninja", "-C", str(folder)]) == 0
    total.add(f"build {name}", "passed" if ok else "failed")
    return folder if ok else None


def read_meson_log(path):
    """(test, result) of the last run; meson writes one JSON object per line. A case that a program left out is told too: meson
    only sees that the program passed."""
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # meson was ended within the line
            continue
        result = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}.get(entry["result"], "failed")
        yield entry["name"], result
        for case in dict.fromkeys(SKIPPED_CASE.findall(entry.get("stdout", "") + entry.get("stderr", ""))):
            yield f"{entry['name']}: {case[0] or case[1]}", "skipped"


def run_tests(total, folder, *options):
    """Meson makes what these tests need if it is not there yet."""
    if folder is None:
        return
    log = folder / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    status = run(["meson", "test", "-C", str(folder), "--print-errorlogs", *options], SANITIZER_ENV)
    results = list(read_meson_log(log)) if log.exists() else []
    for name, result in results:
        total.add(f"{folder.name}: {name}", result)
    if status == LATE or status != 0 and not any(result == "failed" for _, result in results):
        total.add(f"{folder.name}: meson test ended with {status}", "failed")


def run_guests(total, build_name, *options):
    """The runner prints one line per case, in the form of TAP."""
    daemon = BUILDS / build_name / "src" / "daemon" / "ringlaned"
    command = ["tests/guest/run.py", "--daemon", str(daemon), *options]
    count = 0

    def see_line(line):
        nonlocal count
        if line.startswith("#   conformance "):
            total.notes.append(f"{build_name}: {line[1:].strip()}")
        if line.startswith(("ok ", "not ok ")):
            count += 1
            result = "failed" if line.startswith("not") else "skipped" if "# SKIP" in line else "passed"
            total.add(f"guest on {build_name}: " + line.split(" - ", 1)[-1].strip(), result)
    status = run(command, SANITIZER_ENV, see_line)
    if status not in (0, 1) or count == 0:
        total.add(f"guest on {build_name}: the runner ended with {status} after {count} cases", "failed")


def step_gcc(total):
    run_tests(total, build(total, "gcc", "gcc", "-Db_lto=true"), "--no-suite", "guest")


def step_clang(total):
    build(total, "clang", "clang")


def step_sanitize(total):
    """clang's sanitizers see more than gcc's, such as arithmetic on a null pointer."""
    folder = build(total, "sanitize", "clang", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1")
    run_tests(total, folder, "--suite", "unit", "--suite", "integration", "--suite", "threads")


def step_threads(total):
    """Only what has threads is made."""
    folder = BUILDS / "threads"
    if not set_up(folder, "clang", ["-Db_sanitize=thread", "-Db_lundef=false", "-Doptimization=1"]):
        total.add("set up threads", "failed")
        return
    run_tests(total, folder, "--suite", "threads")


def step_promises(total):
    for name in PROMISES:
        command = [f"scripts/check-{name}"] + ([str(BUILDS / "gcc")] if name == "man" else [])
        total.add(f"check-{name}", "passed" if run(command) == 0 else "failed")


def step_guest(total):
    """All cases on the plain build, then those that work it hardest on the sanitized one."""
    run_guests(total, "gcc")
    for word in SANITIZED_CASES:
        run_guests(total, "sanitize", "-k", word)


def main():
    steps = {name[5:]: function for name, function in globals().items() if name.startswith("step_")}
    wanted = sys.argv[1:] or list(steps)
    unknown = [name for name in wanted if name not in steps]
    if unknown:
        raise SystemExit(f"unknown step {unknown[0]}; there are: {' '.join(steps)}")
    total = Sum()
    for name in wanted:
        start = time.monotonic()
        print(f"\n=== {name}", flush=True)
        try:
            steps[name](total)
        except Exception as error:
            traceback.print_exc()
            total.add(f"step {name}: {type(error).__name__}: {error}", "failed")
        print(f"=== {name}: {time.monotonic() - start:.0f} s", flush=True)
    print()
    total.print()
    sys.exit(1 if total.failed else 0)


main()
