# SPDX-License-Identifier: MIT
"""Disks that come, go and grow while others are busy, by the daemon's monitor."""

from process import wait_until
from scsi import MIB, ScsiScenario

WRITE = "--direct=1 --rw=randwrite --bs=4k --ioengine=libaio --iodepth=8 --minimal --size=16M --time_based --runtime=120"


class ScsiPlug(ScsiScenario):
    node_options = [{"name": "stays"}, {"name": "grows"}, {"name": "third", "size": 16 * MIB}]
    lun_options = [
        {"id": "stays", "node": "stays", "lun": 0, "serial": "stays"},
        {"id": "grows", "node": "grows", "target": 1, "serial": "grows"},
        {"id": "third", "node": "third", "lun": 7, "serial": "third", "plugged": False},
        {"id": "again", "node": "third", "target": 9, "serial": "again", "plugged": False},
    ]

    def case_third_disk_is_plugged_and_unplugged_under_load(self):
        load = self.start_load("stays")
        for number in range(3):
            self.plug("third")
            device = "/dev/" + self.wait_disk("third")
            self.guest.check(f"echo plug{number} | dd of={device} bs=512 conv=sync,fsync oflag=direct 2>/dev/null")
            self.unplug("third")
            self.wait_no_disk("third")
            with self.find_node("third").path.open("rb") as file:
                assert file.read(5) == b"plug%d" % number
        load.finish()

    def case_unplug_under_fio_fails_that_disk_alone(self):
        self.plug("third")
        load, doomed = self.start_load("stays"), self.start_load("third", WRITE)
        self.unplug("third")
        self.wait_no_disk("third")
        assert doomed.wait(60) != 0, doomed.read_log()
        load.wait_busy()
        load.finish()

    def case_node_is_added_and_removed_with_its_disk(self):
        """All that a new disk needs, by the monitor alone."""
        node = self.find_node("third").file_options()
        node |= {"node-name": "added", "filename": str(self.folder / "added.img")}
        (self.folder / "added.img").write_bytes(b"added".ljust(4 * MIB, b"."))
        self.backend.control("blockdev-add", **node)
        device = {"driver": "scsi-hd", "id": "added", "drive": "added", "bus": "a0.0", "serial": "added"}
        self.backend.control("device_add", **device)
        name = self.wait_disk("added")
        assert self.guest.check(f"head -c 5 /dev/{name}") == "added"
        try:
            self.backend.control("blockdev-del", **{"node-name": "added"})
            raise AssertionError("a node was removed from under its disk")
        except RuntimeError:
            pass
        self.unplug("added")
        self.wait_no_disk("added")
        self.backend.control("blockdev-del", **{"node-name": "added"})

    def case_same_node_comes_back_at_another_address(self):
        self.plug("again")
        name = self.wait_disk("again")
        (found,) = [disk for disk in self.list_disks() if disk.name == name]
        assert found.address[1:] == (9, 0), found
        self.unplug("again")
        self.wait_no_disk("again")

    def case_growth_is_seen_under_load_without_a_rescan(self):
        name = self.find_disk("grows")
        load = self.start_load("grows")
        for size in (96 * MIB, 128 * MIB):
            self.backend.control("block_resize", **{"node-name": "grows", "size": size})
            seen = f"cat /sys/block/{name}/size"
            wait_until(lambda: int(self.guest.check(seen)) == size // 512, 60, "the guest sees the new size")
            load.wait_busy()
            self.guest.check(f"echo end | dd of=/dev/{name} bs=512 seek={size // 512 - 1} conv=sync,fsync 2>/dev/null")
            with self.find_node("grows").path.open("rb") as file:
                file.seek(size - 512)
                assert file.read(4) == b"end\n"
        load.finish()
