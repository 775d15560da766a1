# SPDX-License-Identifier: MIT
"""A daemon, a guest on its disks, and the cases that share this one boot.

A scenario is a subclass whose methods case_* are run in the order in which they are written. What a case needs is started
before it; after a case that failed everything is thrown away, so that the next begins afresh.
"""

import shutil
import tempfile
from pathlib import Path

from backend import Disk, QsdBackend, RinglaneBackend
from guest import MEMORY_MIB, Guest


class Scenario:
    backends = {"ringlaned": RinglaneBackend, "qsd": QsdBackend}
    disk_options = [{}]
    threads = {"t0": "", "t1": ""}
    cpus = 4
    nodes = 1
    kernel = True
    memory_mib = MEMORY_MIB

    def __init__(self, backend_name, program):
        self.backend_class, self.program = self.backends[backend_name], program
        self.folder = self.backend = self.guest = None
        self.disks = []

    @classmethod
    def list_cases(cls):
        return [name for name in vars(cls) if name.startswith("case_")]

    def create_disks(self):
        self.disks = [Disk(self.folder, threads=tuple(self.threads), **options) for options in self.disk_options]
        for disk in self.disks:
            disk.create()

    def start(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ringlane-guest-"))
        self.create_disks()
        self.backend = self.make_backend()
        self.backend.start()
        self.guest = Guest(self.folder, cpus=self.cpus, nodes=self.nodes, kernel=self.kernel, memory_mib=self.memory_mib)
        self.start_guest()

    def make_backend(self):
        return self.backend_class(self.program, self.folder, self.disks, self.threads)

    def start_guest(self):
        plugged = [disk for disk in self.disks if disk.plugged]
        self.guest.start([option for disk in plugged for option in self.backend.qemu_options(disk)])

    def is_up(self):
        return self.folder is not None

    def check_alive(self):
        assert self.backend.is_running(), f"the daemon has ended: {self.backend.process.read_log()[-1000:]}"
        assert self.guest.is_running(), f"QEMU has ended: {self.guest.process.read_log()[-1000:]}"

    def describe(self):
        """What to look at after a failure."""
        if not self.is_up():
            return ""
        logs = [self.folder / name for name in ("daemon.log", "qemu.log", "console.log")]
        parts = [f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs if log.exists()]
        return "\n".join(parts)

    def stop(self):
        """The orderly end: the guest goes, the daemon is told to end and must do so without a complaint."""
        self.guest.kill()
        status = self.backend.stop()
        log = self.folder / "daemon.log"
        text = log.read_text(errors="replace")
        self.discard()
        assert status == 0, f"the daemon's exit status is {status}: {text[-2000:]}"

    def discard(self):
        for part in (self.guest, self.backend):
            if part:
                part.kill()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = self.backend = self.guest = None
