#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The library as the driver of virtio-scsi, on adapters of ringlaned.

usage: tests/integration/ringlane_scsi.py PATH-OF-RINGLANED BUILD-DIRECTORY
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import captive
from captive import Case
from process import Process, wait_until

SECONDS = 150
BUILD = Path()


class Driver(Case):
    def adapter(self, more="num-queues=2"):
        return ["--export", f"vhost-user-scsi,id=s0,addr.type=unix,addr.path={self.socket},{more}"]

    def ram(self, name, size="16M"):
        return ["--blockdev", f"ram,node-name={name},size={size}"]

    def disk(self, node, lun=0, more=""):
        return ["--device", f"scsi-hd,id=d-{node},drive={node},bus=s0.0,scsi-id=0,lun={lun}{more}"]

    def uri(self, query=""):
        return f"vhost-user-scsi:{self.socket}{query}"

    def run_program(self, program, *words):
        command = [str(BUILD / program), *words]
        done = subprocess.run(command, text=True, capture_output=True, timeout=SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_lun_when_used_as_a_disk_then_every_request_works(self):
        self.daemon(*self.ram("n0"), *self.ram("n1"), *self.adapter(), *self.disk("n0"), *self.disk("n1", 5))
        for query in ("", "?target=0&lun=5", "?lun=5"):
            with self.subTest(query=query):
                self.run_program("tests/integration/driver_disk_test", self.uri(query))

    def test_adapter_when_driven_then_scan_commands_and_functions_work(self):
        slow = ["--blockdev", f"null-co,node-name=n2,size=1M,latency-ns={5 * 10**9}"]
        disks = [*self.disk("n0"), *self.disk("n1", 1), *self.disk("n2", 2)]
        self.daemon(*self.ram("n0"), *self.ram("n1"), *slow, *self.adapter(), *disks)
        self.run_program("tests/integration/driver_scsi_test", self.uri())

    def test_tool_when_asked_for_info_then_all_luns_are_listed(self):
        more = ",serial=abc,wwn=0x5000c500a1b2c3d4"
        self.daemon(*self.ram("n0", "2M"), *self.ram("n1"), *self.adapter(), *self.disk("n0", 3, more), *self.disk("n1", 300))
        words = self.run_program("src/tools/ringlane", "info", self.uri())
        facts = json.loads(self.run_program("src/tools/ringlane", "info", self.uri("?lun=3"), "--output-format=json"))
        self.assertRegex(words, r"(?m)^target 0, LUN 3 .*serial abc, naa\.5000c500a1b2c3d4\n +2097152 bytes")
        self.assertNotIn("capacity", words)  # no LUN 0
        self.assertIn("HOTPLUG", words)
        self.assertEqual([(lun["lun"], lun["capacity"]) for lun in facts["luns"]], [(3, 2 << 20), (300, 16 << 20)])
        self.assertEqual((facts["capacity"], facts["serial"], facts["luns"][0]["serial"]), (2 << 20, "abc", "abc"))

    def test_tool_when_it_benchmarks_then_each_lun_is_a_disk(self):
        self.daemon(*self.ram("n0"), *self.ram("n1"), *self.adapter(), *self.disk("n0"), *self.disk("n1", 1))
        words = ["--rw=randwrite", "--bs=4k", "--size=4m", "--iodepth=16", "--numjobs=2", "--verify=crc32c", "--output-format=json"]
        report = json.loads(self.run_program("src/tools/ringlane", "bench", self.uri("?lun=1"), *words))
        self.assertEqual(report["jobs"][0]["error"], 0)

    def test_bench_when_a_lun_fails_then_one_line_names_it_and_its_sense(self):
        bad = ["--blockdev", "error,node-name=bad,file=n0,ops.0=read,error=EIO,offset=1M,bytes=4k"]
        full = ["--blockdev", "error,node-name=full,file=n1,ops.0=write,error=ENOSPC,offset=1M"]
        disks = [*self.disk("bad", 1), *self.disk("full", 300)]
        self.daemon(*self.ram("n0"), *bad, *self.ram("n1"), *full, *self.adapter(), *disks)
        where = f"at {1 << 20}: target 0, LUN"
        cases = {
            "?lun=1": ("--rw=read", f"read {where} 1: MEDIUM ERROR: unrecovered read error (sense 3/11/00)"),
            "?lun=300": ("--rw=write", f"write {where} 300: DATA PROTECT: space allocation failed (sense 7/27/07)"),
        }
        for query, (kind, sentence) in cases.items():
            for way in ([], ["--managed"], ["--hipri"], ["--numjobs=3", "--queues=1"]):
                with self.subTest(query=query, way=way):
                    command = [BUILD / "src/tools/ringlane", "bench", self.uri(query), kind, "--size=2m", *way]
                    done = subprocess.run(command, text=True, capture_output=True, timeout=SECONDS)
                    self.assertEqual(done.returncode, 1)
                    self.assertRegex(done.stderr, rf"^ringlane bench: job \d: {re.escape(sentence)}\n$")

    def watch(self, count, query=""):
        """examples/scsi_events; what it has said so far by lines()."""
        process = Process([BUILD / "examples/scsi_events", self.uri(query), str(count)], self.folder / "events")
        self.addCleanup(process.kill)
        return process

    def wait_lines(self, process, expected):
        """Just these lines in just this order."""
        wait_until(lambda: len(process.read_log().splitlines()) >= len(expected), SECONDS, f"{len(expected)} lines")
        lines = process.read_log().splitlines()
        for line, text in zip(lines, expected, strict=True):
            self.assertIn(text, line)

    def test_lun_when_plugged_resized_and_unplugged_then_events_tell(self):
        _, monitor = self.with_monitor(*self.ram("n0"), *self.adapter(), *self.disk("n0", more=",serial=first"))
        process = self.watch(3)
        lines = ["0:0 RINGLANE"]
        self.wait_lines(process, lines)
        image = self.make_image("grows", 1 << 20)
        monitor.run("blockdev-add", driver="file", filename=str(image), **{"node-name": "n1"})
        monitor.run("device_add", driver="scsi-hd", id="d1", drive="n1", bus="s0.0", serial="second", **{"scsi-id": 0, "lun": 4})
        lines += ["0:4 came", f"serial second, {1 << 20} bytes"]
        self.wait_lines(process, lines)
        monitor.run("block_resize", size=3 << 20, **{"node-name": "n1"})
        lines += ["0:4 changed (2a/09)", f"serial second, {3 << 20} bytes"]
        self.wait_lines(process, lines)
        monitor.run("device_del", id="d1")
        monitor.wait_event("DEVICE_DELETED", device="d1", path="/machine/peripheral/d1")
        lines += ["0:4 went", "0:4 - target 0"]
        self.wait_lines(process, lines)
        self.assertEqual(process.wait(SECONDS), 0)

    def test_target_when_its_only_lun_is_unplugged_then_bad_target(self):
        _, monitor = self.with_monitor(*self.ram("n0"), *self.adapter(), *self.disk("n0"))
        process = self.watch(1)
        self.wait_lines(process, ["0:0 "])
        monitor.run("device_del", id="d-n0")
        self.wait_lines(process, ["0:0 ", "0:0 went", "BAD TARGET"])
        self.assertEqual(process.wait(SECONDS), 0)

    def test_adapter_when_the_daemon_ends_then_the_watcher_does(self):
        daemon = self.daemon(*self.ram("n0"), *self.adapter(), *self.disk("n0"))
        process = self.watch(100)
        self.wait_lines(process, ["0:0 "])
        daemon.kill()
        self.assertEqual(process.wait(SECONDS), 0)


if __name__ == "__main__":
    BUILD = Path(sys.argv.pop(2)).resolve()
    captive.main()
