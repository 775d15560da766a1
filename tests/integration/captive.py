# SPDX-License-Identifier: MIT
"""ringlaned as tests have it: in a folder of its own, with its words in a file, ended by its pid."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from monitor import Channel, Monitor  # noqa: E402
from process import Process, wait_until  # noqa: E402

PROGRAM = None  # set by main()
SECONDS = 60
PREFIX = "ringlaned: "


class Daemon(Process):
    def __init__(self, folder, *options, pass_fds=(), wait=True, **more):
        pidfile = folder / f"pid{len(list(folder.iterdir()))}"
        super().__init__([PROGRAM, *options, "--pidfile", pidfile], folder / f"{pidfile.name}.log", pass_fds, **more)
        if wait:
            wait_until(lambda: self.is_ready(pidfile), SECONDS, "the daemon listens")

    def is_ready(self, pidfile):
        if not self.is_running():
            raise AssertionError(f"the daemon ended: {self.read_log()}")
        return pidfile.exists() and pidfile.read_text().strip() == str(self.pid)

    def send(self, number):
        os.kill(self.pid, number)

    def lines(self):
        return [line.removeprefix(PREFIX) for line in self.read_log().splitlines()]

    def wait_line(self, text):
        """The first line that has the text."""
        find = lambda: next((line for line in self.lines() if text in line), None)  # noqa: E731
        return wait_until(find, SECONDS, f"the daemon says {text!r}")

    def map(self, count=1):
        """The lines that SIGUSR1 brings: of so many queues, or that there are none."""
        known = len(self.lines())
        self.send(signal.SIGUSR1)
        wait_until(lambda: len(self.lines()) >= known + count, SECONDS, "the lane map")
        return self.lines()[known:]

    def count_taken(self, queues=1):
        """Requests that this many queues have begun since they were set up: those in flight and those that have ended."""
        numbers = re.findall(r"requests (\d+), in flight (\d+),", "\n".join(self.map(queues)))
        return sum(int(ended) + int(in_flight) for ended, in_flight in numbers)

    def count_fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Case(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="ringlaned-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.socket = self.folder / "s"

    def make_image(self, name="image", size=1 << 20):
        path = self.folder / name
        with path.open("wb") as file:
            file.truncate(size)
        return path

    def daemon(self, *options, **more):
        daemon = Daemon(self.folder, *options, **more)
        self.addCleanup(daemon.kill)
        return daemon

    def run_daemon(self, *options, **more):
        """For what ends by itself: (status, what stderr has)."""
        done = subprocess.run(
            [PROGRAM, *map(str, options)], text=True, capture_output=True, timeout=SECONDS, cwd=self.folder, **more
        )
        return done.returncode, done.stderr

    def assert_refused(self, sentence, *options, **more):
        status, words = self.run_daemon(*options, **more)
        self.assertEqual((status, words), (1, f"{PREFIX}{sentence}\n"), options)

    def kill_if_there(self, pid):
        """One that is not our child."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def assert_ends(self, daemon, status=0):
        self.assertEqual(daemon.stop(), status, daemon.read_log())

    def with_monitor(self, *options, **more):
        """A daemon and one client of its monitor."""
        daemon = self.daemon(*self.monitor_options(), *options, **more)
        return daemon, self.connect_monitor()

    def monitor_options(self):
        return ["--chardev", f"socket,id=m,path={self.folder}/m,server=on,wait=off", "--monitor", "chardev=m"]

    def connect_monitor(self):
        channel = socket.socket(socket.AF_UNIX)
        channel.connect(str(self.folder / "m"))
        monitor = Monitor(Channel(channel))
        self.addCleanup(monitor.close)
        monitor.open()
        return monitor

    def export(self, node="n0", path=None, name="e0", more="writable=on,num-queues=4"):
        path = self.socket if path is None else path
        return ["--export", f"vhost-user-blk,id={name},node-name={node},addr.type=unix,addr.path={path},{more}"]


def main():
    global PROGRAM
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main(module="__main__", verbosity=2)
