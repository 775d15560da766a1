#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A real back end is killed and started again under load: the program on the managed device sees no error.

usage: tests/integration/ringlane_replay.py BUILD-DIRECTORY ringlaned|qemu-storage-daemon
"""

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from process import Process, Timeout, wait_until  # noqa: E402

SKIP = 77
SIZE = 16 << 20
KILLS = 5
LOAD_SECONDS = 200  # at most
BUILD, DAEMON = Path(), ""


class Replay(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="ringlane-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.socket = self.folder / "socket"
        with (self.folder / "image").open("wb") as file:
            file.truncate(SIZE)
        self.starts = 0

    def serve(self):
        self.starts += 1
        pidfile = self.folder / f"pid{self.starts}"
        command = [DAEMON, "--pidfile", pidfile]
        command += ["--blockdev", f"driver=file,node-name=n,filename={self.folder / 'image'}"]
        export = f"type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={self.socket}"
        command += ["--export", export + ",writable=on,num-queues=2"]
        daemon = Process(command, self.folder / f"log{self.starts}")
        self.addCleanup(daemon.kill)
        wait_until(pidfile.exists, 60, "the back end's pid file")
        return daemon

    def test_load_when_the_back_end_is_killed_then_no_error_is_seen(self):
        daemon = self.serve()
        program = BUILD / "tests/integration/replay_load"
        end = self.folder / "end"
        load = Process([program, f"vhost-user-blk:{self.socket}", LOAD_SECONDS, end], self.folder / "load")
        self.addCleanup(load.kill)
        wait_until(lambda: not load.is_running() or "runs" in load.read_log(), 60, "the load runs")
        for _ in range(KILLS):
            self.assertRaises(Timeout, load.wait, 0.7)  # it runs
            daemon.kill()
            daemon = self.serve()
        end.touch()
        self.assertEqual(load.wait(120), 0, (self.folder / "load").read_text())
        words = (self.folder / "load").read_text().split()
        self.assertGreaterEqual(int(words[words.index("reconnects") + 1]), 1)


if __name__ == "__main__":
    BUILD, name = Path(sys.argv[1]), sys.argv[2]
    DAEMON = str(BUILD / "src/daemon/ringlaned") if name == "ringlaned" else shutil.which(name)
    if not DAEMON:
        print(f"skipped: {name} is not installed")
        sys.exit(SKIP)
    unittest.main(argv=sys.argv[:1], verbosity=2)
