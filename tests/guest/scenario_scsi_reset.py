# SPDX-License-Identifier: MIT
"""Error handling: resets under load lose nothing, and a disk that is slower than the guest's patience is recovered."""

from process import wait_until
from scsi import MIB, ScsiScenario

SLOW_NS = 4_000_000_000
TIMEOUT_SECONDS = 1


class ScsiReset(ScsiScenario):
    node_options = [{"name": "one"}, {"name": "two"}, {"name": "slow", "size": 16 * MIB, "delay_ns": SLOW_NS}]
    lun_options = [
        {"id": "one", "node": "one", "lun": 0, "serial": "one"},
        {"id": "two", "node": "two", "lun": 1, "serial": "two"},
        {"id": "slow", "node": "slow", "target": 3, "serial": "slow", "plugged": False},
    ]

    def create_disks(self):
        super().create_disks()
        if self.backend_class.name == "qemu":
            self.block_nodes.pop()

    def reset_under_load(self, kind, is_there):
        """is_there: Linux's driver has this reset; it has none for targets, buses and hosts, and says so."""
        loads = [self.start_load("one"), self.start_load("two")]
        for _ in range(5 if is_there else 1):
            loads[0].wait_busy()
            result = self.guest.run(f"/opt/sg_reset {kind} /dev/{loads[0].device}", 60)
            assert result.status == 0 if is_there else "may not be available" in result.output, result
        for load in loads:
            load.wait_busy()
            load.finish()

    def case_device_reset_under_load_loses_nothing(self):
        self.reset_under_load("--no-esc --device", True)

    def case_target_reset_under_load_loses_nothing(self):
        self.reset_under_load("--target", False)

    def case_bus_reset_under_load_loses_nothing(self):
        self.reset_under_load("--bus", False)

    def case_host_reset_under_load_loses_nothing(self):
        self.reset_under_load("--host", False)

    def case_timeouts_of_a_slow_disk_are_survived(self):
        """The kernel's error handler aborts commands that take longer than its timeout; other disks never notice."""
        self.plug("slow")
        slow, load = self.wait_disk("slow", 90), self.start_load("one")
        read = f"dd if=/dev/{slow} of=/dev/null bs=4k count=1 iflag=direct"
        self.guest.check(f"echo {TIMEOUT_SECONDS} >/sys/block/{slow}/device/timeout; {read} 2>/dev/null &")
        busy = f"cat /sys/block/{slow}/device/iotmo_cnt"
        wait_until(lambda: int(self.guest.check(busy), 16) > 0, 60, "a command has timed out")
        load.finish()
        self.guest.check(f"echo 60 >/sys/block/{slow}/device/timeout; {read}", 180)
        assert self.guest.check(f"cat /sys/block/{slow}/device/state").strip() == "running"
        self.unplug("slow")
        self.wait_no_disk("slow", 60)
