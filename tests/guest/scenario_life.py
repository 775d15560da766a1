# SPDX-License-Identifier: MIT
"""Ends and beginnings: the guest's reset, QEMU's death, the daemon's SIGTERM. What was synced must be in the image."""

import re

from scenario import Scenario
from scsi import Load

# Each block carries its number; a block's number is shown on the console once it is on stable storage.
WRITER = """
(
    n=0
    while n=$((n + 1)); do
        printf '%-4096d' $n | dd of=/dev/vda bs=4k seek=$n conv=fsync,notrunc 2>/dev/null || break
        echo "synced $n" >/dev/ttyS0
    done
) >/dev/null 2>&1 </dev/null &
/opt/fio --name=load --filename=/dev/vda --direct=1 --offset=32M --size=32M --rw=randwrite --bs=4k --ioengine=libaio \
    --iodepth=16 --numjobs=3 --time_based --runtime=600 >/dev/null 2>&1 </dev/null &
"""


class Life(Scenario):
    disk_options = [{"reconnect": True}]

    def check_synced_blocks(self, console):
        """All blocks that the guest saw synced hold their number."""
        last = max(int(number) for number in re.findall(r"synced (\d+)\b", console))
        with self.disks[0].path.open("rb") as file:
            for number in range(1, last + 1):
                file.seek(number * 4096)
                assert file.read(4096).split() == [b"%d" % number], f"block {number} of {last} is not in the image"

    def case_reset_by_the_machine_keeps_data(self):
        self.guest.check("echo kept-over-reset | dd of=/dev/vda bs=512 conv=sync,fsync 2>/dev/null")
        for _ in range(2):
            self.guest.reset()
            assert self.guest.check("head -c 15 /dev/vda") == "kept-over-reset"

    def case_reset_under_load_leaves_a_usable_disk(self):
        self.guest.check(WRITER)
        self.guest.wait_console("synced 30")
        self.guest.reset()
        self.check_synced_blocks(self.guest.read_console())
        self.guest.check("dd if=/dev/vda of=/dev/null bs=1M iflag=direct 2>/dev/null")

    def case_restarted_daemon_goes_on_under_load(self):
        job = "--direct=1 --rw=randwrite --bs=4k --ioengine=libaio --iodepth=8 --numjobs=4 --size=4M --offset_increment=4M"
        load = Load(self.guest, "vda", f"{job} --verify=crc32c --verify_fatal=1 --minimal")
        for _ in range(2):
            load.wait_busy(500)
            assert self.backend.stop() == 0
            self.backend.start()
        load.wait_busy(500)
        load.finish()

    def case_killed_qemu_leaves_synced_data_and_a_free_socket(self):
        self.guest.console.write_text("")
        self.guest.check(WRITER)
        self.guest.wait_console("synced 30")
        self.guest.kill()
        self.check_synced_blocks(self.guest.read_console())
        self.start_guest()
        assert self.guest.check("dd if=/dev/vda bs=4k skip=30 count=1 2>/dev/null").split() == ["30"]

    def case_sigterm_under_load_loses_nothing_synced(self):
        self.guest.console.write_text("")
        self.guest.check(WRITER)
        self.guest.wait_console("synced 30")
        status = self.backend.stop()
        self.guest.kill()
        assert status == 0, f"exit status {status}"
        self.check_synced_blocks(self.guest.read_console())
        self.discard()
