# SPDX-License-Identifier: MIT
"""The daemons that can serve the guest's disks, behind one face: ringlaned and qemu-storage-daemon.

Both take the same options; where qemu-storage-daemon (of QEMU 7.2) lacks one, its class leaves it out.
"""

import collections
import dataclasses
import os
import signal
from pathlib import Path

from process import Process, wait_until

# How long a thread has run, and the CPUs on which it may.
Thread = collections.namedtuple("Thread", "run_ns cpus")


@dataclasses.dataclass
class Disk:
    """One export. filename=None is a null disk of `size` bytes."""

    folder: Path
    name: str = "disk0"
    size: int = 64 << 20
    queues: int | None = 4  # None: what either side takes by itself
    writable: bool = True
    serial: str = "ringlane-0"
    block_size: int = 512
    busy_ns: int = 0  # of a null disk: what each request costs the IOThread that serves it
    threads: tuple = ()  # ids of the IOThreads that serve the queues, round robin
    null: bool = False
    bad: tuple = ()  # (offset, bytes) where requests fail
    direct: bool = False  # around the host's page cache
    device: str = ""  # more options of QEMU's device
    boot: bool = False
    reconnect: bool = False  # QEMU waits for the daemon to come back
    plugged: bool = True  # False: served, but not in the guest until Guest.plug_disk()

    @property
    def path(self):
        return self.folder / f"{self.name}.img"

    @property
    def socket(self):
        return self.folder / f"{self.name}.sock"

    def create(self):
        with self.path.open("wb") as file:
            file.truncate(self.size)

    def qemu_options(self):
        device = f"vhost-user-blk-pci,id={self.name},chardev=char-{self.name}"
        device += f",num-queues={self.queues}" if self.queues else ""
        device += (",bootindex=1" if self.boot else "") + self.device
        reconnect = ",reconnect=1" if self.reconnect else ""
        return ["-chardev", f"socket,id=char-{self.name},path={self.socket}{reconnect}", "-device", device]


class Backend:
    """A daemon with its disks. threads: options of each IOThread by its id."""

    name = ""
    known_failures = {}  # case name: why this daemon cannot pass it

    def __init__(self, program, folder, disks, threads=None):
        self.program, self.folder, self.disks = program, folder, disks
        self.threads = threads or {}
        self.pidfile = folder / "daemon.pid"
        self.process = None

    def qemu_options(self, disk):
        """What the guest's QEMU needs to have the disk."""
        return disk.qemu_options()

    def list_blockdevs(self, disk):
        """The options of each node, from the bottom up; the last is the disk."""
        if disk.null:
            return [f"driver=null-co,node-name={disk.name},size={disk.size},read-zeroes=on"]
        options = f"driver=file,node-name={disk.name},filename={disk.path},discard=unmap"
        options += f",read-only={'off' if disk.writable else 'on'}" + (",cache.direct=on" if disk.direct else "")
        return [options]

    def export_options(self, disk):
        options = f"type=vhost-user-blk,id=export-{disk.name},node-name={disk.name}"
        options += f",addr.type=unix,addr.path={disk.socket},writable={'on' if disk.writable else 'off'}"
        options += f",num-queues={disk.queues}" if disk.queues else ""
        return options + f",logical-block-size={disk.block_size}"

    def make_command(self):
        command = [self.program, "--pidfile", self.pidfile]
        for name, options in self.threads.items():
            command += ["--object", f"iothread,id={name}{options}"]
        for disk in self.disks:
            for options in self.list_blockdevs(disk):
                command += ["--blockdev", options]
            command += ["--export", self.export_options(disk)]
        return command

    def start(self, seconds=60):
        self.pidfile.unlink(missing_ok=True)
        self.process = Process(self.make_command(), self.folder / "daemon.log")

        def is_ready():
            if not self.process.is_running():
                raise AssertionError(f"the daemon ended: {self.process.read_log()[-1000:]}")
            return self.pidfile.exists() and all(disk.socket.exists() for disk in self.disks)

        wait_until(is_ready, seconds, f"{self.program} is ready")

    def stop(self):
        """SIGTERM; the exit status."""
        status = self.process.stop()
        self.process = None
        return status

    def kill(self):
        if self.process:
            self.process.kill()
        self.process = None

    def is_running(self):
        return self.process is not None and self.process.is_running()

    def resize(self, disk, size):
        """Make a disk larger while it is in use."""
        os.truncate(disk.path, size)

    def list_threads(self):
        """The daemon's threads by name; IOThreads, which are called "IO id", by their id."""
        threads = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
                run_ns = int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):  # the kernel's workers for io_uring come and go
                continue
            threads[status["Name"].strip().removeprefix("IO ")] = Thread(run_ns, status["Cpus_allowed_list"].strip())
        return threads


class RinglaneBackend(Backend):
    name = "ringlaned"

    def list_blockdevs(self, disk):
        if disk.bad:
            image = f"file.driver=file,file.filename={disk.path}"
            spot = f"offset={disk.bad[0]},bytes={disk.bad[1]}"
            return [f"driver=error,node-name={disk.name},{image},{spot}"]
        if not disk.busy_ns:
            return super().list_blockdevs(disk)
        return [
            f"driver=null-co,node-name={disk.name}-null,size={disk.size},read-zeroes=on",
            f"driver=delay,node-name={disk.name},file={disk.name}-null,busy-ns={disk.busy_ns}",
        ]

    def export_options(self, disk):
        options = super().export_options(disk) + f",serial={disk.serial}"
        for index, thread in enumerate(disk.threads):
            options += f",iothread-vq-mapping.{index}.iothread={thread}"
        return options

    def resize(self, disk, size):
        """SIGHUP makes the daemon look at its files again."""
        super().resize(disk, size)
        os.kill(self.process.pid, signal.SIGHUP)

    def read_lane_map(self):
        """SIGUSR1 makes the daemon print who serves which queue."""
        start = len(self.process.read_log())
        os.kill(self.process.pid, signal.SIGUSR1)

        def is_complete():
            text = self.process.read_log()[start:]
            lines = text.count("\n")
            return text if lines and text.endswith("\n") else None

        return wait_until(is_complete, 60, "the daemon prints its lane map")


class ShortFormBackend(Backend):
    """ringlaned by the convention of vhost-user back-end programs: one disk, no other options."""

    name = "ringlaned"

    def make_command(self):
        disk = self.disks[0]
        options = [] if disk.writable else ["--read-only"]
        return [self.program, f"--socket-path={disk.socket}", f"--blk-file={disk.path}", "--pidfile", self.pidfile, *options]


class QsdBackend(Backend):
    """For comparison; what qemu-storage-daemon 7.2 cannot pass is listed."""

    name = "qsd"
    known_failures = {
        "disk.serial_is_the_exports": "gives every disk the serial vhost_user_blk",
        "disk.queues_are_served_by_their_iothreads": "has one IOThread per export",
        "life.restarted_daemon_goes_on_under_load": "does not end on SIGTERM while a guest keeps it busy",
        "badspot.io_error_reaches_the_guest_and_nothing_else_breaks": "its filter that makes requests fail has other options",
        "disk.flush_reaches_the_daemon": "QEMU 7.2's export starts as write-through, the guest sends no flush",
        "disk.resize_is_seen_by_the_guest": "needs block_resize on its own monitor",
        "life.sigterm_under_load_loses_nothing_synced": "does not end on SIGTERM while a guest keeps it busy",
        "defaults.short_form_serves_a_queue_per_cpu": "has no short form",
    }

    def export_options(self, disk):
        options = super().export_options(disk)
        return options + (f",iothread={disk.threads[0]}" if disk.threads else "")


class NoDaemon:
    """In a daemon's place, where the disks are QEMU's or the daemon is in the guest."""

    known_failures = {}

    def __init__(self, program, folder, disks, threads):
        self.folder = folder

    def start(self):
        (self.folder / "daemon.log").touch()

    def is_running(self):
        return True

    def stop(self):
        return 0

    def kill(self):
        pass
