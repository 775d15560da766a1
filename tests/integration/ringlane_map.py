#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ringlane map --topology`: machines in hwloc's words, and how queues spread over them.

usage: tests/integration/ringlane_map.py BUILD-DIRECTORY
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from process import SECONDS, Process, wait_until  # noqa: E402

BUILD = Path()

# What Linux's rule gives, computed by a model that shares no code with ours: options, queues, masks. Equal nodes by number.
GOLDEN = {
    "A": ("pu:8", "", 3, "0-2 3-5 6-7"),
    "B": ("core:4 pu:2(indexes=0,4,1,5,2,6,3,7)", "", 4, "0,4 1,5 2,6 3,7"),
    "C": ("core:4 pu:2(indexes=0,4,1,5,2,6,3,7)", "", 3, "0-1,4 2-3,6 5,7"),
    "D": ("numa:2 pu:6", "--possible=0-7", 4, "6-7 0-1 2-3 4-5"),
    "E": ("numa:2 pu:6", "--possible=0-7", 2, "0-5 6-7"),
    "F": ("numa:3 pu:12", "--possible=0,12-14,24-35", 8, "0 12-14 24-25 26-27 28-29 30-31 32-33 34-35"),
    "G": ("pu:8", "--present=0-3", 8, "0 1 2 3 4 5 6 7"),
    "H": ("pu:8", "--present=0-3", 4, "0,4 1,5 2,6 3,7"),
    "I": ("pu:16", "--present=0-3", 6, "0,8-9 1,10-11 2,12-13 3,14-15 4-5 6-7"),
    "J": ("l2:4 pu:4", "", 4, "0-3 4-7 8-11 12-15"),
    "K": ("l2:4 pu:4", "", 6, "0-3 4-7 8-9 10-11 12-13 14-15"),
    "L": ("pu:16", "", 6, "0-2 3-5 6-8 9-11 12-13 14-15"),
    "M": ("numa:2 pu:4", "", 1, "0-7"),
}

PICTURE = """\
queues: 2 (5 asked for: the others would have no CPU)
  queue  class      CPUs
      0  interrupt  0
      1  interrupt  3

CPUs
  CPU  node  cluster  core  cache  queue
    0     0        -     0      0      0
    1     0        -     0      0      0  isolated, in no queue's CPUs
    2     1        -     1      1      1  in no queue's CPUs
    3     1        -     1      1      1

figures
  CPUs of a queue: largest 1, smallest 1
  cores with split siblings: 0 of 2
  queues across clusters: 0, caches: 0, nodes: 0
  CPUs in no queue: 2
"""


def run_map(*words):
    command = [str(BUILD / "src/tools/ringlane"), "map", *map(str, words)]
    return subprocess.run(command, text=True, capture_output=True, timeout=SECONDS)


class Map(unittest.TestCase):
    def run_ok(self, *words):
        done = run_map(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def run_bad(self, *words):
        done = run_map(*words)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Aringlane map: [^\n\x1b]+\n\Z")
        return done.stderr

    def masks(self, *words):
        return self.run_ok(*words, "--format=masks").split("\n")[:-1]

    def test_masks_when_golden_then_as_linux(self):
        for name, (machine, more, queues, expected) in GOLDEN.items():
            with self.subTest(name):
                found = self.masks("--topology", machine, f"--queues={queues}", *more.split())
                self.assertEqual(found, expected.split())

    def test_masks_when_half_is_allowed_then_the_rest_is_left_alone(self):
        machine = ["--topology=numa:2 core:4 pu:2", "--queues=6"]
        self.assertEqual(self.masks(*machine, "--allowed", "0-7"), ["0-1", "2-3", "4", "5", "6", "7"])
        self.assertEqual(self.masks(*machine, "--allowed=0-7", "--isolated=0-3"), ["4", "5", "6", "7"])
        self.assertEqual(self.masks(*machine, "--isolated=8-15", "--keep-isolated"), self.masks(*machine))

    def test_masks_when_poll_queues_are_apart_then_they_come_last(self):
        machine = ["--topology=core:8 pu:1", "--queues=6", "--poll-queues=2"]
        self.assertEqual(self.masks(*machine), ["0-1", "2-3", "4-5", "6-7", "0-3", "4-7"])
        self.assertEqual(self.masks(*machine, "--poll-allowed=6-7")[4:], ["6", "7"])

    def test_masks_when_given_then_taken(self):
        machine = ["--topology=core:8 pu:1", "--queue-cpus=7,0/1-3/5"]
        self.assertEqual(self.masks(*machine), ["0,7", "1-3", "5"])
        self.assertEqual(self.masks(*machine, "--queues=3"), ["0,7", "1-3", "5"])
        self.assertIn("2 queues, but CPU lists for 3", self.run_bad(*machine, "--queues=2"))
        self.assertIn("CPU 1 is given to queue 0 and to queue 1",
                      self.run_bad("--topology=core:8 pu:1", "--queue-cpus=0-1/1"))

    def test_picture_when_drawn_then_each_cpu_has_its_queue(self):
        machine = ["--topology=numa:2 core:1 pu:2", "--queues=5", "--isolated=1", "--allowed=0,1,3"]
        self.assertEqual(self.run_ok(*machine), PICTURE)

    def test_json_when_wanted_then_all_is_there(self):
        found = json.loads(self.run_ok("--topology=l3:2 l2:2 pu:2", "--queues=3", "--poll-queues=1", "--format=json"))
        self.assertEqual([queue["cpus"] for queue in found["queues"]], ["0-3", "4-7", "0-7"])
        self.assertEqual([queue["class"] for queue in found["queues"]], ["interrupt", "interrupt", "poll"])
        self.assertEqual(found["cpus"][6], {"cpu": 6, "present": True, "allowed": True, "isolated": False, "node": 0,
                                            "cluster": 3, "cache": 1, "queue": 1, "poll-queue": 2})
        self.assertEqual(found["figures"]["cluster-crossings"], 2)
        self.assertEqual(found["poll-figures"]["cache-crossings"], 1)

    def test_this_machine_when_no_other_is_described_then_its_cpus_are_spread(self):
        masks = self.masks("--queues=1", "--keep-isolated")
        self.assertEqual(len(masks), 1)
        self.assertIn(str(min(os.sched_getaffinity(0))), self.run_ok("--queues=1", "--format=json"))

    def test_device_when_over_vhost_user_then_its_queues_call_by_event_fds(self):
        with tempfile.TemporaryDirectory(prefix="ringlane-") as folder:
            path = Path(folder) / "disk.sock"
            export = f"type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={path},num-queues=3"
            words = ["--blockdev", "driver=null-co,node-name=n,size=1M", "--export", export]
            pidfile = Path(folder) / "pid"
            daemon = Process([BUILD / "src/daemon/ringlaned", *words, "--pidfile", pidfile], Path(folder) / "log")
            self.addCleanup(daemon.kill)
            wait_until(pidfile.exists, SECONDS, "the daemon listens")
            uri = f"vhost-user-blk:{path}"
            cpu = min(os.sched_getaffinity(0))
            lines = self.run_ok(uri, "--queues=1", f"--allowed={cpu}", "--keep-isolated").splitlines()
            self.assertEqual(lines[0], f"{uri}: 1 of 3 queues")
            self.assertEqual(lines[1].split(), "CPU node queue queue's CPUs vector interrupt goes to".split())
            self.assertRegex("\n".join(lines), rf"(?m)^ *{cpu} +\d+ +0 +{cpu} +- +- +call eventfd$")
            found = json.loads(self.run_ok(uri, "--queues=1", "--keep-isolated", "--format=json"))
            self.assertEqual([queue["queue"] for queue in found["queues"]], [0])
            self.assertIn({"cpu": cpu, "node": found["cpus"][0]["node"], "queue": 0}, found["cpus"])
            lines = self.run_ok(uri, "--queues=3", "--poll-queues=2", f"--allowed={cpu}", "--keep-isolated").splitlines()
            self.assertIn("poll queue's CPUs", lines[2])
            self.assertRegex("\n".join(lines), rf"(?m)^ *{cpu} +\d+ +0 +{cpu} +- +- +call eventfd +1 +{cpu}$")
            found = json.loads(self.run_ok(uri, "--queues=3", "--poll-queues=1", "--keep-isolated", "--format=json"))
            self.assertEqual((found["queues"][-1]["queue"], found["queues"][-1]["class"]), (2, "poll"))
            self.assertEqual({entry["poll-queue"] for entry in found["cpus"]}, {2})
            self.assertIn("at least one must have an interrupt", self.run_bad(uri, "--queues=2", "--poll-queues=2"))
            self.assertIn("no CPU is left", self.run_bad(uri, "--allowed=8191"))
            self.assertEqual(daemon.stop(), 0)

    def test_words_when_wrong_then_one_line(self):
        cases = {
            ("--topology=what",): "'what' is no description of a machine",
            ("--topology=core:2 pu:1", "--queues=0"): "out of range",
            ("--topology=core:2 pu:1", "--queues=65536"): "out of range",
            ("--topology=core:2 pu:1", "--allowed=3"): "no CPU is left",
            ("--topology=core:2 pu:1", "--allowed=1-0"): "allowed CPUs: '1-0' is no CPU list such as 0-3,8",
            ("--topology=core:2 pu:1", "--isolated=0-1"): "no CPU is left",
            ("--topology=core:2 pu:1", "--present=2"): "present CPUs: the machine has no such CPU",
            ("--topology=core:2 pu:1", "--queues=2", "--poll-queues=2"): "at least one must have an interrupt",
            ("--present=0",): "of a description only",
            ("--queues=2", "/nowhere"): "--queues does not go with a SOCKET",
            ("--format=masks", "/nowhere"): "--format=masks does not go with a SOCKET",
            ("--topology=pu:2", "vhost-user-blk:/nowhere"): "--topology does not go with a URI",
            ("vhost-user-blk:/nowhere",): "/nowhere",
            ("--all",): "--all does not go with a machine",
            ("--topology=pu:2\x1b[1m\n",): "'pu:2?[1m?' is no description",
        }
        for words, sentence in cases.items():
            with self.subTest(words):
                self.assertIn(sentence, self.run_bad(*words))


if __name__ == "__main__":
    BUILD = Path(sys.argv[1])
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
