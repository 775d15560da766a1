# SPDX-License-Identifier: MIT
"""Linux spreads the queues of QEMU's own virtio disks over odd machines; `ringlane map` must say the same of each.

No daemon takes part. What is compared: /proc/irq/N/smp_affinity_list of each queue's vector, in the order of the queues, with
`ringlane map --topology MACHINE --queues N --format=masks`. So it shows what those CPUs are that are not there yet, too; the
effective affinity of such a vector is some CPU that is there.

Debian's Linux 6.1 has the rule in kernel/irq/affinity.c; it moved to lib/group_cpus.c in 6.3 and learnt of clusters in 7.0. So
machines are described without clusters here. Which of equally large nodes comes first when there are more queues than nodes,
Linux leaves to a sort that is not stable: with two of them it is the second one (so it gets the smaller part of an odd number of
queues, too). There the comparison is with a description that numbers the nodes the other way round.
"""

import re
import subprocess
from pathlib import Path

from backend import NoDaemon
from guest import Guest
from scenario import Scenario

SECONDS = 240
READ = """
cat /proc/interrupts
for irq in /proc/irq/[0-9]*; do echo "irq ${irq##*/} $(cat $irq/smp_affinity_list)"; done
for queue in /sys/block/vd*/mq/*; do echo "mq $queue $(cat $queue/cpu_list)"; done
"""


class ShapedGuest(Guest):
    """A guest with CPUs and nodes of its own kind. SMT siblings exist for Intel's CPUs only, as QEMU emulates them."""

    def __init__(self, folder, smp, nodes):
        super().__init__(folder)
        self.smp, self.node_cpus = smp, nodes

    def memory_options(self):
        options = ["-m", "384M", "-smp", self.smp]
        for node, cpus in enumerate(self.node_cpus):
            size = 384 // len(self.node_cpus)
            options += ["-object", f"memory-backend-ram,id=memory{node},size={size}M"]
            options += ["-numa", f"node,nodeid={node},memdev=memory{node}"]
            options += [word for cpu in cpus for word in ("-numa", f"cpu,node-id={node},{cpu}")]
        return options

    def machine_options(self):
        return [word.replace("max,la57=off", "max,la57=off,vendor=GenuineIntel") for word in super().machine_options()]


def sort_cpus(text):
    """A list of CPUs as a set: blk-mq writes "0, 4", /proc writes "0,4" and "0-3"."""
    cpus = set()
    for item in filter(None, re.split(r"[,\s]+", text)):
        first, _, last = item.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


class Affinity(Scenario):
    """What follows is the machine for QEMU, and for us; queues: numbers for which a disk each is made."""

    backends = {"ringlaned": NoDaemon}
    smp = ""
    nodes = ()
    topology = ()
    topology_of_ties = None
    queues = ()
    possible = 0

    @classmethod
    def list_cases(cls):
        return [name for name in dir(cls) if name.startswith("case_")] if cls.smp else []

    def create_disks(self):
        self.disks = []

    def start_guest(self):
        self.guest = ShapedGuest(self.folder, self.smp, self.nodes)
        options = []
        for number, queues in enumerate(self.queues):
            options += ["-blockdev", f"driver=null-co,node-name=n{number},size={64 << 20},read-zeroes=on"]
            options += ["-device", f"virtio-blk-pci,drive=n{number},num-queues={queues}"]
        for queues in self.queues:
            options += ["-device", f"virtio-scsi-pci,num_queues={queues}"]
        self.guest.start(options, SECONDS)

    # ---- the two sides ----

    def ask_ours(self, topology, queues):
        tool = Path(self.program).resolve().parents[1] / "tools" / "ringlane"
        command = [tool, "map", "--topology", *topology, "--queues", str(queues), "--format=masks"]
        return subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()

    def read_kernel(self):
        """The masks of each device, by queue; devices as QEMU was given them: blk, then scsi."""
        text = self.guest.check(READ, SECONDS)
        affinity = dict(re.findall(r"^irq (\d+) (\S*)$", text, re.MULTILINE))
        devices = {}
        for irq, device in re.findall(r"^ *(\d+):.* virtio(\d+)-req(?:uest|\.\d+)$", text, re.MULTILINE):
            devices.setdefault(int(device), []).append((int(irq), affinity[irq]))
        masks = [[mask for _, mask in sorted(devices[device])] for device in sorted(devices)]
        queues = {}
        for disk, queue, cpus in re.findall(r"^mq /sys/block/(vd\w)/mq/(\d+) (.*)$", text, re.MULTILINE):
            queues.setdefault(disk, {})[int(queue)] = sort_cpus(cpus)
        return masks, queues

    def compare(self, masks, queues):
        """Returns the masks that are right."""
        plain = self.ask_ours(self.topology, queues)
        has_ties = self.topology_of_ties and queues > len(self.nodes)
        expected = self.ask_ours(self.topology_of_ties, queues) if has_ties else plain
        assert masks == expected, f"{queues} queues: Linux has {masks}, we have {expected}"
        if has_ties and queues % len(self.nodes) == 0:
            assert sorted(masks) == sorted(plain), f"{queues} queues: Linux has {masks}, we have {plain}"
        return expected

    def case_vectors_are_where_the_map_says(self):
        masks, blk_queues = self.read_kernel()
        assert len(masks) == 2 * len(self.queues), masks
        report = []
        for number, queues in enumerate(self.queues):
            expected = self.compare(masks[number], queues)
            self.compare(masks[len(self.queues) + number], queues)
            assert len(expected) == min(queues, self.possible), expected
            report.append(f"{queues} queues: " + " ".join(expected))
            found = blk_queues["vd" + chr(ord("a") + number)]
            assert found == {queue: sort_cpus(mask) for queue, mask in enumerate(expected)}, (found, expected)
        return "\n".join(report)


class TwoNodes(Affinity):
    """Two sockets of two cores of two threads, a node each."""

    smp = "8,sockets=2,cores=2,threads=2"
    nodes = (("socket-id=0",), ("socket-id=1",))
    topology = ("numa:2 core:2 pu:2",)
    topology_of_ties = ("numa:2(indexes=1,0) core:2 pu:2",)
    queues = (1, 2, 3, 4, 6, 8, 12)
    possible = 8

    def case_siblings_are_what_the_description_says(self):
        """Or the comparison would be of another machine."""
        found = self.guest.check("cat /sys/devices/system/cpu/cpu*/topology/thread_siblings_list").split()
        assert found == ["0-1", "0-1", "2-3", "2-3", "4-5", "4-5", "6-7", "6-7"], found


class FiveAndOne(Affinity):
    smp = "6,sockets=6"
    nodes = (tuple(f"socket-id={cpu}" for cpu in range(5)), ("socket-id=5",))
    topology = ("numa:2 pu:5", "--possible=0-5")
    queues = (1, 2, 3, 4, 5, 6, 9)
    possible = 6


class TwoAndFour(Affinity):
    """The larger node has CPUs 1, 2, 3 and 5."""

    smp = "6,sockets=3,cores=2"
    nodes = (("socket-id=0,core-id=0", "socket-id=2,core-id=0"),
             ("socket-id=0,core-id=1", "socket-id=1", "socket-id=2,core-id=1"))
    topology = ("numa:2 pu:4(indexes=0,4,6,7,1,2,3,5)", "--possible=0-5")
    queues = (2, 3, 4, 5, 6)
    possible = 6


class Later(Affinity):
    """Four CPUs are there, four may come."""

    smp = "4,maxcpus=8,sockets=8"
    topology = ("pu:8", "--present=0-3")
    queues = (1, 3, 4, 6, 8, 16)
    possible = 8

    def case_vector_when_its_cpu_comes_then_it_goes_there(self):
        """The mask that was spread for a CPU that was not there is what counts once it is."""
        vectors = self.guest.check("grep -l '^4$' /proc/irq/[0-9]*/smp_affinity_list").split()
        assert len(vectors) == 6, vectors  # of the disks and adapters with 6, 8 and 16 queues
        self.guest.qmp("device_add", driver="max-x86_64-cpu", id="cpu4",
                       **{"socket-id": 4, "core-id": 0, "thread-id": 0})
        self.guest.check("until [ -e /sys/devices/system/cpu/cpu4/online ]; do sleep 0.2; done", SECONDS)
        self.guest.check("echo 1 >/sys/devices/system/cpu/cpu4/online", SECONDS)
        for vector in vectors:
            folder = str(Path(vector).parent)
            found = self.guest.check(f"cat {folder}/smp_affinity_list {folder}/effective_affinity_list").split()
            assert found == ["4", "4"], (folder, found)
