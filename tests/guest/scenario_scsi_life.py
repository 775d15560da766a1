# SPDX-License-Identifier: MIT
"""Ends and beginnings with SCSI disks: the daemon goes and comes back, QEMU dies. What was synced must be in the image.

QEMU knows how to wait for another daemon under vhost-user-scsi since 8.2 only, so the guest starts anew with the daemon.
"""

import re

from scsi import ScsiScenario

# Each block carries its number; a block's number is shown on the console once it is on stable storage.
WRITER = """
(
    n=0
    while n=$((n + 1)); do
        printf '%-4096d' $n | dd of=/dev/{disk} bs=4k seek=$n conv=fsync,notrunc 2>/dev/null || break
        echo "synced $n" >/dev/ttyS0
    done
) >/dev/null 2>&1 </dev/null &
/opt/fio --name=load --filename=/dev/{disk} --direct=1 --offset=32M --size=32M --rw=randwrite --bs=4k --ioengine=libaio \\
    --iodepth=16 --numjobs=3 --time_based --runtime=600 >/dev/null 2>&1 </dev/null &
"""


class ScsiLife(ScsiScenario):
    node_options = [{"name": "disk"}, {"name": "other"}]
    lun_options = [
        {"id": "disk", "node": "disk", "serial": "disk"},
        {"id": "other", "node": "other", "target": 4, "lun": 2, "serial": "other"},
    ]

    def start_writer(self):
        self.guest.console.write_text("")
        self.guest.check(WRITER.replace("{disk}", self.wait_disk("disk")))
        self.guest.wait_console("synced 30")

    def check_synced_blocks(self):
        """All blocks that the guest saw synced hold their number."""
        last = max(int(number) for number in re.findall(r"synced (\d+)\b", self.guest.read_console()))
        with self.find_node("disk").path.open("rb") as file:
            for number in range(1, last + 1):
                file.seek(number * 4096)
                assert file.read(4096).split() == [b"%d" % number], f"block {number} of {last} is not in the image"

    def case_reset_by_the_machine_under_load(self):
        self.start_writer()
        self.guest.reset()
        self.check_synced_blocks()
        self.guest.check(f"dd if=/dev/{self.wait_disk('disk')} of=/dev/null bs=1M iflag=direct 2>/dev/null")

    def case_restarted_daemon_shows_the_same_disks(self):
        self.start_load("other")
        before = sorted(disk[1:] for disk in self.list_disks())
        self.guest.kill()
        assert self.backend.stop() == 0
        self.backend.start()
        self.start_guest()
        assert sorted(disk[1:] for disk in self.list_disks()) == before
        self.start_load("other").finish()

    def case_killed_qemu_leaves_synced_data_and_a_free_socket(self):
        self.start_writer()
        self.guest.kill()
        self.check_synced_blocks()
        self.start_guest()
        name = self.wait_disk("disk")
        assert self.guest.check(f"dd if=/dev/{name} bs=4k skip=30 count=1 2>/dev/null").split() == ["30"]

    def case_killed_daemon_comes_back_with_what_was_synced(self):
        self.start_writer()
        self.backend.kill()
        self.guest.kill()
        self.check_synced_blocks()
        self.backend.start()
        self.start_guest()
        name = self.wait_disk("disk")
        assert self.guest.check(f"dd if=/dev/{name} bs=4k skip=30 count=1 2>/dev/null").split() == ["30"]

    def case_sigterm_under_load_loses_nothing_synced(self):
        self.start_writer()
        status = self.backend.stop()
        self.guest.kill()
        assert status == 0, f"exit status {status}"
        self.check_synced_blocks()
        self.discard()
