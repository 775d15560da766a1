# SPDX-License-Identifier: MIT
"""SCSI disks for the guest: adapters, the disks behind them, and who serves them: ringlaned, or QEMU itself for comparison."""

import collections
import dataclasses
from pathlib import Path

from backend import Backend, RinglaneBackend
from monitor import connect
from process import wait_until
from scenario import Scenario

MIB = 1 << 20

VERIFY = (
    "--direct=1 --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --numjobs=2 --size=4M --offset_increment=4M"
    " --verify=crc32c --verify_fatal=1 --minimal"
)

# A disk as the guest sees it. The address is (host, target, lun).
Found = collections.namedtuple("Found", "name address size block_size read_only serial wwid vendor model revision")

# An emulated CPU starts few programs a second: what the shell can do itself, it does.
LIST_DISKS = """
for disk in /sys/block/sd*; do
    [ -e $disk ] || continue
    device=$disk/device
    address=$(readlink -f $device)
    line="${disk##*/}|${address##*/}"
    for file in $disk/size $disk/queue/logical_block_size $disk/ro; do
        word=
        read -r word <$file
        line="$line|$word"
    done
    line="$line|$(tail -c +5 $device/vpd_pg80 | tr -d '\\0')"
    for file in wwid vendor model rev; do
        word=
        read -r word <$device/$file
        line="$line|$word"
    done
    echo "$line"
done 2>/dev/null
"""


@dataclasses.dataclass
class Node:
    """What a disk holds. null=True: nothing, at once."""

    folder: Path
    name: str
    size: int = 64 * MIB
    read_only: bool = False
    null: bool = False
    delay_ns: int = 0  # how much later each request ends

    @property
    def path(self):
        return self.folder / f"{self.name}.img"

    def create(self):
        if not self.null:
            with self.path.open("wb") as file:
                file.truncate(self.size)

    def file_options(self):
        return {
            "driver": "file",
            "node-name": self.name,
            "filename": str(self.path),
            "discard": "unmap",
            "read-only": self.read_only,
        }


@dataclasses.dataclass
class Lun:
    """A node at an address of an adapter. plugged=False: added while the guest runs."""

    id: str
    node: str
    adapter: str = "a0"
    target: int = 0
    lun: int = 0
    serial: str | None = None
    wwn: int | None = None
    options: dict = dataclasses.field(default_factory=dict)
    plugged: bool = True

    def device_options(self):
        """The members of device_add, which are those of --device too."""
        options = {"driver": "scsi-hd", "id": self.id, "drive": self.node, "bus": f"{self.adapter}.0"}
        options |= {"scsi-id": self.target, "lun": self.lun}
        options |= {"serial": self.serial} if self.serial else {}
        return options | ({"wwn": self.wwn} if self.wwn else {}) | self.options


@dataclasses.dataclass
class Adapter:
    folder: Path
    name: str = "a0"
    queues: int = 4
    threads: tuple = ()
    device: str = ""  # more options of QEMU's device
    boot: bool = False
    plugged: bool = True
    guest: int = 0  # which of the scenario's guests has it

    @property
    def socket(self):
        return self.folder / f"{self.name}.sock"

    def qemu_options(self):
        device = f"vhost-user-scsi-pci,id={self.name},chardev=char-{self.name},num_queues={self.queues}{self.device}"
        device += ",bootindex=1" if self.boot else ""
        return ["-chardev", f"socket,id=char-{self.name},path={self.socket}", "-device", device]


def join_options(options):
    words = {True: "on", False: "off"}
    return ",".join(f"{key}={words[value] if isinstance(value, bool) else value}" for key, value in options.items())


def join_device_options(options):
    return options.pop("driver") + "," + join_options(options)


class RinglaneScsi(RinglaneBackend):
    """ringlaned with adapters; everything can change while it runs, by its monitor."""

    def __init__(self, program, folder, adapters, threads, nodes, luns):
        super().__init__(program, folder, adapters, threads)
        self.nodes, self.luns = nodes, luns
        self.monitor_path, self.monitor = folder / "monitor.sock", None

    def list_blockdevs(self, node):
        if node.null:
            options = {"driver": "null-co", "node-name": node.name, "size": node.size, "read-zeroes": True}
        else:
            options = node.file_options()
        if not node.delay_ns:
            return [options]
        options["node-name"] += "-fast"
        delay = {"driver": "delay", "node-name": node.name, "file": options["node-name"], "latency-ns": node.delay_ns}
        return [options, delay]

    def export_options(self, adapter):
        options = f"type=vhost-user-scsi,id={adapter.name},addr.type=unix,addr.path={adapter.socket}"
        options += f",num-queues={adapter.queues}"
        for index, thread in enumerate(adapter.threads):
            options += f",iothread-vq-mapping.{index}.iothread={thread}"
        return options

    def make_command(self):
        command = [self.program, "--pidfile", self.pidfile]
        command += ["--chardev", f"socket,id=m,path={self.monitor_path},server=on,wait=off", "--monitor", "chardev=m"]
        for name, options in self.threads.items():
            command += ["--object", f"iothread,id={name}{options}"]
        for node in self.nodes:
            for options in self.list_blockdevs(node):
                command += ["--blockdev", join_options(options)]
        for adapter in self.disks:
            command += ["--export", self.export_options(adapter)]
        for lun in self.luns:
            if lun.plugged:
                command += ["--device", join_device_options(lun.device_options())]
        return command

    def start(self, seconds=60):
        super().start(seconds)
        self.monitor = connect(self.monitor_path)

    def close_monitor(self):
        if self.monitor:
            self.monitor.close()
        self.monitor = None

    def stop(self):
        self.close_monitor()
        return super().stop()

    def kill(self):
        self.close_monitor()
        super().kill()

    def control(self, command, **arguments):
        return self.monitor.run(command, **arguments)

    def wait_event(self, name, **data):
        return self.monitor.wait_event(name, **data)


class QemuScsi(Backend):
    """QEMU's own adapter and disks in the guest's process: shows that a scenario asks for what others do as well."""

    name = "qemu"
    known_failures = {
        "scsidisks.queues_are_served_by_their_iothreads": "has one IOThread per adapter",
        "scsidisks.compare_and_write_is_done_or_refused_whole": "does not know COMPARE AND WRITE",
        "scsilife.killed_daemon_comes_back_with_what_was_synced": "there is no daemon to kill",
        "scsilife.sigterm_under_load_loses_nothing_synced": "there is no daemon to end",
        "scsireset.timeouts_of_a_slow_disk_are_survived": "has no filter that delays requests",
    }

    def __init__(self, program, folder, adapters, threads, nodes, luns):
        super().__init__(program, folder, adapters, threads)
        self.nodes, self.luns = nodes, luns
        self.guest = None

    def attach(self, guest):
        self.guest = guest

    def start(self, seconds=60):
        (self.folder / "daemon.log").touch()

    def stop(self):
        return 0

    def is_running(self):
        return True

    def node_options(self, node):
        if node.null:
            return {"driver": "null-co", "node-name": node.name, "size": node.size, "read-zeroes": True}
        return node.file_options()

    def more_options(self, adapter, lun):
        block_size = lun.options.get("logical_block_size")
        more = {"physical_block_size": block_size} if block_size else {}
        return more | ({"bootindex": 1} if adapter.boot else {})

    def qemu_options(self, adapter):
        options = []
        if adapter is self.disks[0]:
            for node in self.nodes:
                options += ["-blockdev", join_options(self.node_options(node))]
        options += ["-device", f"virtio-scsi-pci,id={adapter.name},num_queues={adapter.queues}{adapter.device}"]
        for lun in self.luns:
            if lun.plugged and lun.adapter == adapter.name:
                options += ["-device", join_device_options(lun.device_options() | self.more_options(adapter, lun))]
        return options

    def control(self, command, **arguments):
        return self.guest.qmp(command, **arguments)

    def wait_event(self, name, **data):
        return self.guest.monitor.wait_event(name, **data)


class ScsiScenario(Scenario):
    """adapter_options, node_options, lun_options: arguments of Adapter, Node and Lun."""

    backends = {"ringlaned": RinglaneScsi, "qemu": QemuScsi}
    adapter_options = [{}]
    node_options = []
    lun_options = []

    def create_disks(self):
        self.disks = [Adapter(self.folder, threads=tuple(self.threads), **options) for options in self.adapter_options]
        self.block_nodes = [Node(self.folder, **options) for options in self.node_options]
        self.luns = [Lun(**options) for options in self.lun_options]
        for node in self.block_nodes:
            node.create()

    def make_backend(self):
        return self.backend_class(self.program, self.folder, self.disks, self.threads, self.block_nodes, self.luns)

    def start_guest(self):
        if self.backend.name == "qemu":
            self.backend.attach(self.guest)
        super().start_guest()

    def find_node(self, name):
        return next(node for node in self.block_nodes if node.name == name)

    def find_lun(self, name):
        return next(lun for lun in self.luns if lun.id == name)

    def plug(self, name):
        self.backend.control("device_add", **self.find_lun(name).device_options())

    def unplug(self, name):
        self.backend.control("device_del", id=name)
        self.backend.wait_event("DEVICE_DELETED", device=name)

    def list_disks(self, guest=None):
        return list_disks(guest or self.guest)

    def find_disk(self, serial, guest=None):
        """The guest's name of the disk with this serial, which must be there."""
        names = [disk.name for disk in self.list_disks(guest) if disk.serial == serial]
        assert len(names) == 1, f"disks with the serial {serial}: {names} of {self.list_disks(guest)}"
        return names[0]

    def start_load(self, serial, options=VERIFY):
        return Load(self.guest, self.wait_disk(serial), options)

    def wait_disk(self, serial, seconds=60, guest=None):
        def find():
            return next((disk.name for disk in self.list_disks(guest) if disk.serial == serial), None)

        return wait_until(find, seconds, f"the guest sees the disk {serial}")

    def wait_no_disk(self, serial, seconds=60, guest=None):
        def is_gone():
            return not any(disk.serial == serial for disk in self.list_disks(guest))

        wait_until(is_gone, seconds, f"the guest loses the disk {serial}")


class Load:
    """fio writes and verifies one of the guest's disks, again and again until it is told to end."""

    def __init__(self, guest, device, options=VERIFY):
        self.guest, self.device, self.base = guest, device, f"/tmp/load-{device}"
        job = f"/opt/fio --name={device} --filename=/dev/{device} {options} >{self.base}.log 2>&1"
        script = f"until {job}; s=$?; [ $s != 0 -o -e {self.base}.end ]; do :; done; echo $s >{self.base}.status"
        guest.check(f"rm -f {self.base}.*; ({script}) >/dev/null 2>&1 &")
        self.wait_busy()

    def count_requests(self):
        return int(self.guest.check(f"awk '{{print $1 + $5}}' /sys/block/{self.device}/stat"))

    def wait_busy(self, requests=200):
        """Wait until so many more requests have been served."""
        before = self.count_requests()
        wait_until(lambda: self.count_requests() > before + requests, 60, f"{self.device} serves {requests} requests")

    def is_running(self):
        return self.guest.run(f"test -s {self.base}.status").status != 0

    def read_log(self):
        return self.guest.check(f"tail -c 1500 {self.base}.log")

    def wait(self, seconds=120):
        """fio's last status; it ends when it fails or was told to end."""
        wait_until(lambda: not self.is_running(), seconds, f"fio on {self.device} has ended")
        return int(self.guest.check(f"cat {self.base}.status"))

    def finish(self):
        """It must have gone on until now, and verifies once more what it wrote."""
        assert self.is_running(), f"fio on {self.device} ended before its time: {self.read_log()}"
        self.guest.check(f"touch {self.base}.end")
        status = self.wait()
        assert status == 0, f"fio on {self.device}: {status}: {self.read_log()}"


def parse_address(text):
    """Linux's H:C:T:L; LUNs of flat addressing carry the addressing method in their two highest bits."""
    host, _, target, lun = (int(word) for word in text.split(":"))
    return host, target, lun & 0x3FFF


def list_disks(guest):
    disks = []
    for line in guest.check(LIST_DISKS).splitlines():
        name, address, size, block_size, read_only, *names = (word.strip() for word in line.split("|"))
        if not (":" in address and size and block_size and read_only):
            continue  # it is coming or going
        disks.append(Found(name, parse_address(address), int(size) * 512, int(block_size), read_only == "1", *names))
    return disks
