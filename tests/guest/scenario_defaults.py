# SPDX-License-Identifier: MIT
"""Numbers of queues: what comes by itself, fewer than CPUs, more than CPUs."""

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
    disk_options = [{"queues": 1}]
    cpus = 2

    def case_all_cpus_share_the_queue(self):
        assert self.guest.check("cat /sys/block/vda/mq/*/cpu_list").strip() == "0, 1"
        self.guest.check(VERIFY, 120)


class ManyQueues(Scenario):
    disk_options = [{"queues": 16}]
    cpus = 2

    def case_queues_beyond_the_cpus_stay_asleep(self):
        assert self.guest.check("ls /sys/block/vda/mq").split() == ["0", "1"]
        self.guest.check(VERIFY, 120)
