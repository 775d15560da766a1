#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The README's adapter: its commands do what it says, as they are typed. Only /run is another folder, and the guest a front end of the test.

usage: tests/integration/readme_scsi.py BUILD-DIRECTORY
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import unittest
from pathlib import Path

from captive import SECONDS, Case
from process import wait_until
from vhost_user import REMOVED, RESCAN, TRANSPORT_RESET, ScsiFrontEnd

ROOT = Path(__file__).resolve().parent.parent.parent
PATHS = ""


def read_blocks(chapter):
    """The commands of each block of a chapter."""
    text = (ROOT / "README.md").read_text().split(f"\n## {chapter}", 1)[1].split("\n## ", 1)[0]
    return [block.split("```", 1)[0].strip() for block in text.split("```\n")[1::2]]


class Readme(Case):
    def shell(self, words):
        return dict(
            args=["sh", "-ec", words.replace("/run/", f"{self.folder}/")], cwd=self.folder, env={**os.environ, "PATH": PATHS}
        )

    def run_lines(self, block):
        done = subprocess.run(**self.shell(block), text=True, capture_output=True, timeout=SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, ""), block)
        return done.stdout

    def check_machine(self, words):
        """A machine of less memory that is emulated and not started connects to the adapter."""
        if not shutil.which("qemu-system-x86_64"):
            return
        for told, here in (("-accel kvm", "-accel tcg"), ("4G", "64M")):
            self.assertIn(told, words)
            words = words.replace(told, here)
        machine = subprocess.Popen(**self.shell(f"exec {words} -S -display none -nodefaults"))
        self.addCleanup(machine.wait, SECONDS)
        self.addCleanup(machine.terminate)
        wait_until(lambda: machine.poll() is not None or self.is_connected(), SECONDS, "QEMU connects")
        self.assertIsNone(machine.poll(), "QEMU has ended")
        machine.terminate()
        wait_until(lambda: not self.is_connected(), SECONDS, "QEMU has gone")

    def monitor_listens(self):
        """The last of the sockets that do. A socket is there before anybody listens on it."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.folder / "ringlaned.qmp")) == 0

    def is_connected(self):
        told = self.run_lines("ringlane ctl /run/ringlaned.qmp query-block-exports")
        return json.loads(told)[0]["connected"]

    def test_adapter_when_served_and_a_disk_is_plugged_then_as_the_readme_says(self):
        serve, plug, rest = read_blocks("SCSI")
        images, _, serve = serve.partition("\n")
        daemon, _, qemu = serve.partition("\nqemu-system-")
        self.assertIn("num_queues=4", qemu)
        self.assertEqual(len(plug.splitlines()), 1)
        self.run_lines(images)
        process = subprocess.Popen(**self.shell(f"exec {daemon}"))
        self.addCleanup(process.wait, SECONDS)
        self.addCleanup(process.terminate)
        wait_until(self.monitor_listens, SECONDS, "the daemon and its monitor listen")
        self.check_machine(f"qemu-system-{qemu}")
        with ScsiFrontEnd(self.folder / "hba.sock", queues=4) as front:
            ring = front.start_all()[0]
            self.assertIn(b"disk-b", ring.inquiry(0x80, lun=1))
            events = [front.events.put_event() for _ in range(4)]
            self.run_lines(plug)
            event, target, lun, reason = front.events.event(events[0])
            self.assertEqual((event, reason), (TRANSPORT_RESET, RESCAN))
            ring.settle(target=target, lun=lun)
            self.assertEqual(ring.capacity(target=target, lun=lun), 8 << 30)
            told = self.run_lines(rest)
            self.assertIn('"DEVICE_DELETED"', told)
            self.assertRegex(told, r"export hba: vhost-user-scsi")
            self.assertEqual(front.events.event(events[2]), (TRANSPORT_RESET, target, lun, REMOVED))
        self.assertEqual((self.folder / "c.img").stat().st_size, 20 << 30)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    build = Path(sys.argv.pop(1)).resolve()
    PATHS = f"{build}/src/daemon:{build}/src/tools:{os.environ['PATH']}"
    unittest.main(verbosity=2)
