# SPDX-License-Identifier: MIT
"""A virtual machine: QEMU, its monitor, its console, and a shell inside.

The monitor and the shell's port are socket pairs whose other ends QEMU inherits, so nothing has to appear in the file system
before it can be used. The kernel's console goes to a file.
"""

import base64
import collections
import os
import signal
import time

import image
from monitor import Channel, Monitor
from process import Process, Timeout, wait_until

MEMORY_MIB = 384
EARLY_SECONDS = 75
LATE_SECONDS = 60  # that an answer may come after its time
Result = collections.namedtuple("Result", "status output")


class Guest:
    """cpus: virtual CPUs; nodes: NUMA nodes, each with memory of its own; kernel=False boots the disk; memory_mib: of all nodes."""

    def __init__(self, folder, cpus=4, nodes=1, kernel=True, memory_mib=MEMORY_MIB):
        self.folder, self.cpus, self.nodes, self.kernel = folder, cpus, nodes, kernel
        self.memory_mib = memory_mib
        self.console = folder / "console.log"
        self.process = self.monitor = self.port = None
        self.command_id = 0

    def memory_options(self):
        """Memory that the daemon can map, in as many pieces as there are nodes."""
        size = self.memory_mib // self.nodes
        options = ["-m", f"{self.memory_mib}M,slots=2,maxmem=1G", "-smp", f"{self.cpus},sockets={self.cpus}"]
        for node in range(self.nodes):
            options += ["-object", f"memory-backend-memfd,id=memory{node},size={size}M,share=on"]
            options += ["-numa", f"node,nodeid={node},memdev=memory{node}"]
        for cpu in range(self.cpus):
            options += ["-numa", f"cpu,node-id={cpu % self.nodes},socket-id={cpu}"]
        return options

    def machine_options(self):
        accelerator = os.environ.get("GUEST_ACCEL", "tcg")
        cpu = ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"] if accelerator == "tcg" else []
        return [
            *(cpu or ["-accel", accelerator, "-cpu", "host"]),
            *("-machine", "q35,usb=off,hpet=off", *self.memory_options()),
            *("-device", "pcie-root-port,id=free,slot=1"),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"),
        ]

    def channel_options(self):
        return [
            *("-chardev", f"socket,id=monitor,fd={self.monitor.channel.peer.fileno()}"),
            *("-mon", "chardev=monitor,mode=control"),
            *("-chardev", f"socket,id=port,fd={self.port.peer.fileno()}", "-device", "virtio-serial-pci,vectors=0"),
            *("-device", "virtserialport,chardev=port"),
        ]

    def kernel_options(self):
        if not self.kernel:
            return []
        kernel, initramfs = image.prepare()
        line = "console=ttyS0 quiet tsc=reliable no_timer_check mitigations=off random.trust_cpu=on"
        return ["-kernel", kernel, "-initrd", initramfs, "-append", line]

    def start(self, disk_options, seconds=240):
        """An emulated kernel on a busy machine stands still now and then when its CPUs start, and QEMU 7.2's emulation has been seen
        to crash then. Before its first program no driver has been loaded: then it is started once more, and that is told."""
        self.launch(disk_options, seconds)
        if not self.kernel:
            return
        try:
            self.wait_ready(EARLY_SECONDS)
            return
        except Timeout:
            if "Kernel panic" in self.read_console():
                raise
            if "init runs" in self.read_console():
                self.wait_ready(seconds)
                return
            what = "its kernel did not come to its first program"
        except ConnectionError:
            if "init runs" in self.read_console() or self.process.wait(20) != -signal.SIGSEGV:
                raise
            what = "QEMU crashed before its kernel came to its first program"
        print(f"# the guest is started again: {what}", flush=True)
        self.kill()
        self.launch(disk_options, seconds)
        self.wait_ready(seconds)

    def launch(self, disk_options, seconds):
        self.monitor, self.port = Monitor(Channel()), Channel()
        peers = [self.monitor.channel.peer, self.port.peer]
        command = ["qemu-system-x86_64", *self.machine_options(), *self.channel_options()]
        command += [*self.kernel_options(), *disk_options]
        self.process = Process(command, self.folder / "qemu.log", [peer.fileno() for peer in peers])
        for peer in peers:
            peer.close()
        self.monitor.open(seconds)

    def wait_ready(self, seconds=240):
        end = time.monotonic() + seconds
        while True:
            try:
                if self.port.read_line(min(end, time.monotonic() + 1)) == "ready":
                    return
            except Timeout:
                if time.monotonic() >= end or "Kernel panic" in self.read_console():
                    raise Timeout(f"the guest did not boot: {self.read_console()[-1000:]}") from None

    def qmp(self, command, seconds=60, **arguments):
        return self.monitor.run(command, seconds, **arguments)

    def run(self, script, seconds=120):
        """Run a shell script inside; return its status and what it printed. 143 means that its time was up."""
        self.command_id += 1
        text = base64.b64encode(script.encode()).decode()
        self.port.send(f"{self.command_id} {seconds} {text}\n".encode())
        end = time.monotonic() + seconds + LATE_SECONDS
        number, status, size = self.port.read_line(end).split()
        if int(number) != self.command_id:
            raise RuntimeError(f"answer to command {number} instead of {self.command_id}")
        output = self.port.read_bytes(int(size), end).decode(errors="replace")
        return Result(int(status), output.replace("\r\n", "\n"))

    def check(self, script, seconds=120):
        """Run a script that must succeed; return what it printed."""
        result = self.run(script, seconds)
        if result.status != 0:
            raise AssertionError(f"in the guest: {script!r}: status {result.status}: {result.output[-2000:]}")
        return result.output

    def reset(self, seconds=240):
        """What the reset button does. A kernel that stands still before its first program, as in start(), is reset once more."""
        before = len(self.read_console())
        self.press_reset()
        try:
            self.wait_ready(EARLY_SECONDS)
            return
        except Timeout:
            shown = self.read_console()[before:]
            if "Kernel panic" in shown:
                raise
        if "init runs" not in shown:
            print("# the guest is reset again: its kernel did not come to its first program", flush=True)
            self.press_reset()
        self.wait_ready(seconds)

    def press_reset(self):
        self.port.buffer = b""
        self.qmp("system_reset")

    def add_memory(self, name, size):
        backend = {"qom-type": "memory-backend-memfd", "id": f"{name}-memory", "size": size, "share": True}
        self.qmp("object-add", **backend)
        self.qmp("device_add", driver="pc-dimm", id=name, memdev=f"{name}-memory")

    def remove_memory(self, name, seconds=60):
        """The guest must agree; the memory has gone when its back end can be deleted."""
        self.qmp("device_del", id=name)

        def is_gone():
            return not any(dimm["data"]["id"] == name for dimm in self.qmp("query-memory-devices"))

        wait_until(is_gone, seconds, "the guest gives the memory back")
        self.qmp("object-del", id=f"{name}-memory")

    def plug_disk(self, disk):
        address = {"type": "unix", "data": {"path": str(disk.socket)}}
        backend = {"type": "socket", "data": {"addr": address, "server": False}}
        self.qmp("chardev-add", id=f"char-{disk.name}", backend=backend)
        device = {"driver": "vhost-user-blk-pci", "id": disk.name, "bus": "free", "num-queues": disk.queues}
        self.qmp("device_add", chardev=f"char-{disk.name}", **device)

    def unplug_disk(self, disk, seconds=60):
        """The guest lets go first; the socket is closed when its character device can be removed."""

        def is_asked():
            try:
                self.qmp("device_del", id=disk.name)
            except RuntimeError as error:
                if "guest is busy" not in str(error):  # its slot is being powered on, though the disk is there
                    raise
                return False
            return True

        def is_gone():
            try:
                self.qmp("chardev-remove", id=f"char-{disk.name}")
            except RuntimeError:
                return False
            return True

        wait_until(is_asked, seconds, "the guest can be asked for the disk")
        wait_until(is_gone, seconds, "the guest gives the disk back")

    def wait_console(self, text, seconds=240):
        """Wait until the console has shown text, and return all it has shown."""

        def find():
            shown = self.read_console()
            return shown if text in shown else None

        return wait_until(find, seconds, f"console shows {text!r}")

    def read_console(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def is_running(self):
        return self.process is not None and self.process.is_running()

    def kill(self):
        """End QEMU at once, as a crash would."""
        if self.process:
            self.process.kill()
        for channel in (self.monitor, self.port):
            if channel:
                channel.close()
        self.process = self.monitor = self.port = None
