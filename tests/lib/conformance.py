# SPDX-License-Identifier: MIT
"""Runs libiscsi's conformance tests on a guest's disks and says what became of each test.

One process for each suite; after one that came down, one for each of its tests that has no verdict. A test has failed when the
program says so; it was skipped when it passed after having said that it skips, or without a word; it crashed when there is no verdict.
"""

import collections
import fnmatch
import re
import shlex
import subprocess
from pathlib import Path

import image

PROGRAM = "iscsi-test-cu"
SUITE_SECONDS_MAX = 180
HUGE_PAGES = 160  # of 2 MiB; one buffer of the program has 65,536 blocks
BUFFERS = "GLIBC_TUNABLES=glibc.malloc.hugetlb=2:glibc.malloc.mmap_threshold=4194304"
START = re.compile(r"^  Test: (\S+) \.\.\.(.*)$")
SKIPPED = re.compile(r"\[SKIPPED\] *(.*?)\.? *$")
MINOR = "Skipping assert"  # of a single assertion

# result: passed, failed, skipped or crashed; reason: of a skip; log: what a failed test printed
Outcome = collections.namedtuple("Outcome", "result reason log")


def list_tests():
    """{family.suite: [test, ...]} in the program's order."""
    command = [image.find_program(PROGRAM), "--list"]
    lines = subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()
    suites = {}
    for family, suite, test in (line.split(".", 2) for line in lines if line.count(".") == 2):
        suites.setdefault(f"{family}.{suite}", []).append(test)
    return suites


def judge(verdict, log):
    if verdict != "passed":
        return Outcome("failed", None, log)
    if not any(log):
        return Outcome("skipped", "nothing was tried", log)
    reasons = [SKIPPED.search(line).group(1) for line in log if SKIPPED.search(line) and MINOR not in line]
    return Outcome("skipped", reasons[-1], log) if reasons else Outcome("passed", None, log)


def parse_log(text):
    """{test: Outcome} of the tests that have a verdict."""
    outcomes, name, log = {}, None, []
    for line in text.splitlines():
        start = START.match(line)
        if start:
            name, line = start.group(1), start.group(2)
            log = []
        if line.startswith("Run Summary:"):
            break
        if name and line in ("passed", "FAILED"):
            outcomes[name] = judge(line, log)
            continue
        log.append(line.strip())
    return outcomes


def reserve_memory(guest):
    """Linux refuses a command whose buffer lies in more pieces than the adapter may have, 126 with QEMU: 1 MiB in pages that are not
    neighbours, say. The program does not notice when that was a WRITE (16), and finds other data than it believes to have written.
    Its buffers are parts of huge pages, so that they are few pieces however long the guest's memory has been in use."""
    guest.run(f"echo 1 > /proc/sys/vm/compact_memory; echo {HUGE_PAGES} > /proc/sys/vm/nr_hugepages")
    reserved = int(guest.check("cat /proc/sys/vm/nr_hugepages"))
    assert reserved == HUGE_PAGES, f"the guest has {reserved} huge pages to spare of {HUGE_PAGES}"


def prepare(guest, devices):
    """What the other device is to be told of earlier tests (changed mode pages, say) is taken first: each test wants none. One counts
    on zeroes behind those that it wrote."""
    zero = f"[ ! -b {devices[0]} ] || dd if=/dev/zero of={devices[0]} bs=1M count=1 oflag=direct"
    guest.run("; ".join([f"/opt/sg_turs --number=2 {device}" for device in devices] + [zero]))


def run_once(guest, name, devices):
    prepare(guest, devices)
    command = f"{BUFFERS} /opt/{PROGRAM} --dataloss --allow-sanitize --Verbose-scsi --test={shlex.quote(name)} {' '.join(devices)}"
    return guest.run(f"{command} 2>&1", SUITE_SECONDS_MAX)


def run_test(guest, name, devices):
    """One test by itself."""
    done = run_once(guest, name, devices)
    crash = Outcome("crashed", f"the program ends with {done.status}", done.output.splitlines()[-12:])
    return parse_log(done.output).get(name.split(".")[2], crash)


def run_suite(guest, suite, tests, devices):
    done = parse_log(run_once(guest, suite, devices).output)
    return {f"{suite}.{test}": done.get(test) or run_test(guest, f"{suite}.{test}", devices) for test in tests}


def read_allowed(path):
    """Lines of "SUITE.TEST | what the program says | why that is right", the first two with wildcards."""
    lines = [line for line in Path(path).read_text().splitlines() if line.strip() and not line.startswith("#")]
    return [[word.strip() for word in line.split("|")] for line in lines]


def find_excuse(allowed, name, outcome):
    """Why this test need not pass, or None."""
    test = name.split(".", 1)[1]
    for pattern, reason, why in allowed:
        if fnmatch.fnmatchcase(test, pattern) and fnmatch.fnmatchcase(outcome.reason or "", reason):
            return why
    return None


def count(outcomes):
    return collections.Counter(outcome.result for outcome in outcomes.values())


def explain(name, outcome):
    complaints = [line for line in outcome.log if "[FAILED]" in line or re.match(r"\d+\. ", line)]
    return "\n    ".join([f"{name}: {outcome.result}: {outcome.reason or ''}", *(complaints or outcome.log)[:8]])


def sum_up(family, outcomes, allowed):
    """The counts and the reasons of what was skipped; an AssertionError when a test failed or was skipped without leave."""
    counts, excused, problems = count(outcomes), collections.Counter(), []
    for name, outcome in outcomes.items():
        why = find_excuse(allowed, name, outcome) if outcome.result in ("skipped", "crashed") else None
        if why:
            excused[f"{outcome.reason}: {why}"] += 1
        elif outcome.result != "passed":
            problems.append(explain(name, outcome))
    left_out = sum(excused.values())
    lines = [
        f"conformance {family}: {len(outcomes)} tests, {counts['passed']} passed, {len(problems)} failed, {left_out} left out for"
        " these reasons:"
    ]
    lines += [f"{number:3d} {reason}" for reason, number in sorted(excused.items())]
    text = "\n".join(lines)
    assert not problems, "\n".join([text, *problems])
    return text
