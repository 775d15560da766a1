# SPDX-License-Identifier: MIT
"""Processes and waiting for the guest tests: everything has a deadline and is ended by its pid."""

import signal
import subprocess
import threading
import time

# For what takes a moment: nothing waits so long unless it fails, or its machine has much else to do.
SECONDS = 60


class Timeout(Exception):
    pass


def wait_until(predicate, seconds, what):
    """Ask until the answer is true; return it. The last time that it is asked is after the deadline."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        is_late = time.monotonic() > end
        answer = predicate()
        if answer:
            return answer
        if is_late:
            raise Timeout(f"{what}: not within {seconds} s")
        pause.wait(0.02)


class Process:
    """A program with its output in a file."""

    def __init__(self, command, log, pass_fds=(), **more):
        self.command, self.log = [str(word) for word in command], log
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=pass_fds, **more
            )

    @property
    def pid(self):
        return self.child.pid

    def is_running(self):
        return self.child.poll() is None

    def read_log(self):
        return self.log.read_text(errors="replace")

    def wait(self, seconds):
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.command[0]} (pid {self.pid}) has not ended within {seconds} s") from None

    def stop(self, seconds=60):
        """SIGTERM, and the exit status; a process that ignores it is killed and that is an error."""
        if self.is_running():
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except Timeout:
            self.kill()
            raise

    def kill(self):
        if self.is_running():
            self.child.kill()
        self.child.wait()
