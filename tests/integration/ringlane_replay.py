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

from process import SECONDS, Process, wait_until  # noqa: E402

SKIP = 77
SIZE = 16 << 20
KILLS = 20
LOAD_SECONDS = 3600  # it is told to end
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
        wait_until(pidfile.exists, SECONDS, "the back end's pid file")
        return daemon

    def read_round(self):
        """What the load writes last to its first sector; it is another in each round."""
        with (self.folder / "image").open("rb") as file:
            return file.read(4)

    def wait_rounds(self, load):
        """Until the load has got on."""
        for _ in range(3):
            before = self.read_round()
            wait_until(lambda: not load.is_running() or self.read_round() != before, 2 * SECONDS, "the load goes on")  # noqa: B023
        self.assertTrue(load.is_running(), (self.folder / "load").read_text())

    def test_load_when_the_back_end_is_killed_then_no_error_is_seen(self):
        daemon = self.serve()
        program = BUILD / "tests/integration/replay_load"
        load = Process([program, f"vhost-user-blk:{self.socket}", LOAD_SECONDS, self.folder / "enough"], self.folder / "load")
        self.addCleanup(load.kill)
        for _ in range(KILLS):
            self.wait_rounds(load)
            daemon.kill()
            daemon = self.serve()
        self.wait_rounds(load)
        (self.folder / "enough").touch()
        self.assertEqual(load.wait(2 * SECONDS), 0, (self.folder / "load").read_text())
        words = (self.folder / "load").read_text().split()
        self.assertGreaterEqual(int(words[words.index("reconnects") + 1]), KILLS)


if __name__ == "__main__":
    BUILD, name = Path(sys.argv[1]), sys.argv[2]
    DAEMON = str(BUILD / "src/daemon/ringlaned") if name == "ringlaned" else shutil.which(name)
    if not DAEMON:
        print(f"skipped: {name} is not installed")
        sys.exit(SKIP)
    unittest.main(argv=sys.argv[:1], verbosity=2)
