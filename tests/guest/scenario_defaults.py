# SPDX-License-Identifier: MIT
"""Shapes of the device: numbers and sizes of queues, ring features left out, memory in pieces, polling at its extremes."""

from backend import ShortFormBackend
from scenario import Scenario

VERIFY = (
    "/opt/fio --name=job --filename=/dev/vda --direct=1 --rw=randwrite --bs=4k --ioengine=libaio --iodepth=8 --numjobs=4"
    " --size=2M --offset_increment=2M --verify=crc32c --verify_fatal=1 --minimal"
)


class Defaults(Scenario):
    disk_options = [{"queues": None}]

    def start(self):
        if self.backend_class.name == "ringlaned":
            self.backend_class = ShortFormBackend
        super().start()

    def case_short_form_serves_a_queue_per_cpu(self):
        assert self.guest.check("ls /sys/block/vda/mq").split() == ["0", "1", "2", "3"]
        self.guest.check(VERIFY, 120)


class OneQueue(Scenario):
    """A long ring whose descriptors are all in the ring itself."""

    disk_options = [{"queues": 1, "device": ",queue-size=1024,indirect_desc=off"}]
    threads = {"t0": ",poll-max-ns=1000000"}
    cpus = 2

    def case_all_cpus_share_the_queue(self):
        assert self.guest.check("cat /sys/block/vda/mq/*/cpu_list").strip() == "0, 1"
        self.guest.check(VERIFY, 120)


class ManyQueues(Scenario):
    """Short rings without event indices, memory of two NUMA nodes, no polling, no page cache."""

    disk_options = [{"queues": 16, "device": ",queue-size=16,event_idx=off", "direct": True}]
    threads = {"t0": ",poll-max-ns=0", "t1": ",poll-max-ns=0", "t2": ",poll-max-ns=0"}
    cpus = 2
    nodes = 2

    def case_queues_beyond_the_cpus_stay_asleep(self):
        assert self.guest.check("ls -d /sys/devices/system/node/node* | wc -l").strip() == "2"
        assert self.guest.check("ls /sys/block/vda/mq").split() == ["0", "1"]
        self.guest.check(VERIFY, 120)
