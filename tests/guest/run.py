#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the cases of this folder against a daemon and prints a line for each, in the form of TAP.

usage: tests/guest/run.py [--daemon PATH] [--backend ringlaned|qsd|qemu] [-k WORD] [--list]

Each file scenario_*.py holds scenarios: a daemon, a guest, and the cases that share its boot. GUEST_ACCEL=kvm uses KVM. The
other back ends are for comparison: qemu-storage-daemon serves disks, QEMU's own adapter SCSI disks.
The exit status is 1 when a case failed.
"""

import argparse
import importlib
import signal
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]

from scenario import Scenario  # noqa: E402


class Report:
    def __init__(self):
        self.count = self.failed = 0

    def add(self, name, seconds, error=None, skipped=None, details=""):
        self.count += 1
        self.failed += error is not None
        note = f" # SKIP {skipped}" if skipped else ""
        print(f"{'not ok' if error else 'ok'} {self.count} - {name}{note}", flush=True)
        for line in [f"{seconds:.1f} s", *(error or "").splitlines(), *details.splitlines()]:
            print(f"#   {line}", flush=True)


def find_scenarios():
    for path in sorted(HERE.glob("scenario_*.py")):
        module = importlib.import_module(path.stem)
        for scenario in vars(module).values():
            if isinstance(scenario, type) and issubclass(scenario, Scenario) and scenario.list_cases():
                yield scenario


def name_case(scenario, method):
    return f"{scenario.__name__.lower()}.{method[5:]}"


def explain(error):
    """The message and the innermost lines that led to it."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    lines = [f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}" for frame in frames]
    return "\n".join([f"{type(error).__name__}: {error}", *lines])


def run_case(scenario, method, report):
    """False when the scenario could not even start: its other cases need not wait for the same deadline."""
    name, start = name_case(type(scenario), method), time.monotonic()
    if name in scenario.backend_class.known_failures:
        report.add(name, 0, skipped=scenario.backend_class.known_failures[name])
        return True
    started = False
    try:
        if not scenario.is_up():
            scenario.start()
        started = True
        details = getattr(scenario, method)() or ""
        if scenario.is_up():
            scenario.check_alive()
    except Exception as error:
        report.add(name, time.monotonic() - start, explain(error), details=scenario.describe())
        scenario.discard()
    else:
        report.add(name, time.monotonic() - start, details=details)
    return started


def end_scenario(scenario, report):
    name, start = f"{type(scenario).__name__.lower()}.daemon_ends_cleanly", time.monotonic()
    try:
        scenario.stop()
        report.add(name, time.monotonic() - start)
    except Exception as error:
        report.add(name, time.monotonic() - start, explain(error))


def run_scenario(scenario, methods, report):
    try:
        starts = True
        for method in methods:
            if starts:
                starts = run_case(scenario, method, report)
            else:
                report.add(name_case(type(scenario), method), 0, "not tried: the one before could not start")
        if scenario.is_up():
            end_scenario(scenario, report)
    finally:
        scenario.discard()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["ringlaned", "qsd", "qemu"], default="ringlaned")
    parser.add_argument("--daemon", help="the program, if it is not the one in build/ or in PATH")
    parser.add_argument("-k", metavar="WORD", default="", help="only cases whose name contains WORD")
    parser.add_argument("--list", action="store_true", help="only print the names")
    arguments = parser.parse_args()
    default = HERE.parent.parent / "build" / "src" / "daemon" / "ringlaned"
    programs = {"ringlaned": str(default), "qsd": "qemu-storage-daemon", "qemu": "qemu-system-x86_64"}
    arguments.daemon = arguments.daemon or programs[arguments.backend]
    return arguments


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments, report = parse_arguments(), Report()
    for scenario in find_scenarios():
        if arguments.backend not in scenario.backends:
            continue
        methods = [method for method in scenario.list_cases() if arguments.k in name_case(scenario, method)]
        if arguments.list:
            print("\n".join(name_case(scenario, method) for method in methods))
        elif methods:
            run_scenario(scenario(arguments.backend, arguments.daemon), methods, report)
    if not arguments.list:
        print(f"1..{report.count}")
    sys.exit(1 if report.failed else 0)


main()
