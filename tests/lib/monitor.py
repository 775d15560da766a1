# SPDX-License-Identifier: MIT
"""Talks to a QMP monitor: QEMU's or the daemon's."""

import fcntl
import json
import select
import socket
import termios
import time

from process import Timeout, wait_until


class Channel:
    """One end of a socket pair, or a connected socket, read with deadlines."""

    def __init__(self, connected=None):
        self.peer = None
        self.socket = connected
        if connected is None:
            self.socket, self.peer = socket.socketpair()
        self.buffer = b""

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def is_read(self):
        """Whether the other end has read all that was sent."""
        return fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)) == bytes(4)

    def read_more(self, end):
        ready, _, _ = select.select([self.socket], [], [], max(0, end - time.monotonic()))
        if not ready:
            raise Timeout("no answer")
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the other end has gone")
        self.buffer += data

    def read_line(self, end):
        while b"\n" not in self.buffer:
            self.read_more(end)
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace").strip()

    def read_bytes(self, count, end):
        while len(self.buffer) < count:
            self.read_more(end)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data


class Monitor:
    def __init__(self, channel):
        self.channel, self.events = channel, []

    def open(self, seconds=60):
        self.channel.read_line(time.monotonic() + seconds)
        self.run("qmp_capabilities")

    def close(self):
        self.channel.close()

    def run(self, command, seconds=60, **arguments):
        """Run a command; events that arrive meanwhile are kept."""
        self.send(command, arguments)
        return self.finish(command, seconds)

    def send(self, command, arguments):
        self.channel.send(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def begin(self, command, **arguments):
        """Send a command, and wait until it has been read: what another monitor sends then is executed later."""
        self.send(command, arguments)
        wait_until(self.channel.is_read, 60, f"{command} is read")

    def finish(self, command, seconds=60):
        """The answer of what was begun."""
        end = time.monotonic() + seconds
        while True:
            answer = json.loads(self.channel.read_line(end))
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            self.events.append(answer)

    def wait_event(self, name, seconds=60, **data):
        """The first event of this name whose data has these members; it is forgotten then."""
        end = time.monotonic() + seconds
        while True:
            for event in self.events:
                if event["event"] == name and data.items() <= event.get("data", {}).items():
                    self.events.remove(event)
                    return event
            self.events.append(json.loads(self.channel.read_line(end)))


def connect(path):
    """The monitor that listens at this path."""
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(str(path))
    monitor = Monitor(Channel(connected))
    monitor.open()
    return monitor
