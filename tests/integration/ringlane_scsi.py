#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The library as the driver of virtio-scsi, on adapters of ringlaned.

usage: tests/integration/ringlane_scsi.py PATH-OF-RINGLANED BUILD-DIRECTORY
"""

import subprocess
import sys
from pathlib import Path

import captive
from captive import Case

SECONDS = 100
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
        self.daemon(*self.ram("n0"), *self.ram("n1"), *self.adapter(), *self.disk("n0"), *self.disk("n1", 1))
        self.run_program("tests/integration/driver_scsi_test", self.uri())


if __name__ == "__main__":
    BUILD = Path(sys.argv.pop(2)).resolve()
    captive.main()
