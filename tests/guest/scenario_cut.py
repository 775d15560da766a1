# SPDX-License-Identifier: MIT
"""Disks that are made smaller by the daemon's monitor while the guest writes all over them, and larger again.

Every request is passed on after a while, so that some are in flight, and others come, while a disk is drained to be cut.
"""

import json

from backend import Disk
from process import wait_until
from scsi import MIB, VERIFY, Load, RinglaneScsi, ScsiScenario

LARGE, SMALL = 64 * MIB, 32 * MIB
LATENCY_NS = 50_000_000
ROUNDS, ROUNDS_MAX = 2, 10
ERRORS = [5, 28, 121]  # EIO; ENOSPC of Linux, when it knows the new end; EREMOTEIO, what it makes of LBA OUT OF RANGE

BEYOND = (
    f"--name=beyond --direct=1 --rw=randwrite --bs=4k --ioengine=libaio --iodepth=8 --offset={LARGE - 16 * MIB} --size=16M"
    f" --time_based --runtime=600 --numjobs=8 --thread --group_reporting --continue_on_error=io"
    f" --ignore_error=,{':'.join(map(str, ERRORS))} --output-format=json --output=/tmp/beyond"
)
INSIDE = VERIFY.replace("4M", "1M")


class Cut(ScsiScenario):
    backends = {"ringlaned": RinglaneScsi}
    node_options = [{"name": "lun", "size": LARGE, "delay_ns": LATENCY_NS}]
    lun_options = [{"id": "lun", "node": "lun", "serial": "lun"}]

    def resize(self, node, name, size):
        self.backend.control("block_resize", **{"node-name": node, "size": size})
        seen = f"cat /sys/block/{name}/size"
        wait_until(lambda: int(self.guest.check(seen)) == size // 512, 60, f"the guest sees {size} bytes")

    def list_refused(self, name):
        """The sectors of what the device refused, as Linux tells; not of what Linux did not send."""
        script = f"dmesg | sed -n 's/.*error, dev {name}, sector \\([0-9]*\\) .*/\\1/p'"
        return [int(word) for word in self.guest.check(script).split()]

    def start_beyond(self, name):
        """fio all over what will not be there any more. Until it is ended it takes errors as they come."""
        self.guest.check(f"(/opt/fio --filename=/dev/{name} {BEYOND} >/tmp/beyond.log 2>&1; echo $? >/tmp/beyond.status) &")
        written = f"awk '{{print $5}}' /sys/block/{name}/stat"
        before = int(self.guest.check(written))
        wait_until(lambda: int(self.guest.check(written)) > before + 200, 60, f"{name} is written beyond its new end")

    def end_beyond(self):
        """fio's account of its job, which ends when all that it has put in has come back."""
        self.guest.check("killall -INT fio")
        wait_until(lambda: self.guest.run("test -s /tmp/beyond.status").status == 0, 60, "all requests beyond the end are answered")
        text = self.guest.check("cat /tmp/beyond; rm /tmp/beyond /tmp/beyond.status")
        return json.loads(text[text.index("{") :])["jobs"][0]

    def check_account(self, name, job):
        """Each request has come back once, well or as an error, and the device refused none before the new end. Whether it refused
        any: a guest that stood still meanwhile may have heard of the end before it asked for what is beyond."""
        refused = self.list_refused(name)
        assert all(sector >= SMALL // 512 for sector in refused), f"{refused}, {job['first_error']}, {job['total_err']}"
        assert job["first_error"] in (ERRORS if refused else [0, *ERRORS]), job
        assert job["write"]["total_ios"] == job["write"]["lat_ns"]["N"] + job["total_err"], job
        assert self.guest.check(f"cat /sys/block/{name}/inflight").split() == ["0", "0"]
        return bool(refused)

    def check_end(self, path, name):
        assert path.stat().st_size == SMALL, "a request beyond the end has made the image longer"
        beyond = f"dd if=/dev/zero of=/dev/{name} bs=4k count=1 seek={SMALL // 4096} oflag=direct"
        assert self.guest.run(beyond).status != 0

    def cut_under_load(self, node, path, name):
        has_refused = False
        for number in range(ROUNDS_MAX):
            if number >= ROUNDS and has_refused:
                return
            self.guest.check("dmesg -c >/dev/null")
            self.start_beyond(name)
            self.resize(node, name, SMALL)
            job = self.end_beyond()
            has_refused |= self.check_account(name, job)
            self.check_end(path, name)
            inside = Load(self.guest, name, INSIDE)
            self.resize(node, name, LARGE)
            inside.wait_busy()
            self.guest.check(f"dd if=/dev/{name} bs=1M skip={SMALL // MIB} iflag=direct | cmp -n {LARGE - SMALL} - /dev/zero")
            self.resize(node, name, SMALL)
            inside.wait_busy()
            inside.finish()
            self.check_end(path, name)
            self.resize(node, name, LARGE)
        assert has_refused, "the device was never asked for what lies beyond the end"

    def case_lun_that_is_cut_fails_what_lies_beyond_and_nothing_else(self):
        self.cut_under_load("lun", self.find_node("lun").path, self.wait_disk("lun"))

    def case_disk_that_is_cut_fails_what_lies_beyond_and_nothing_else(self):
        """A virtio-blk disk, which comes by the monitor as well."""
        disk = Disk(self.folder, name="cut", size=LARGE)
        disk.create()
        file = {"driver": "file", "filename": str(disk.path)}
        node = {"driver": "delay", "node-name": "cut", "file": file, "latency-ns": LATENCY_NS}
        self.backend.control("blockdev-add", **node)
        address = {"type": "unix", "path": str(disk.socket)}
        export = {"type": "vhost-user-blk", "id": "cut", "node-name": "cut", "addr": address, "writable": True, "num-queues": 4}
        self.backend.control("block-export-add", **export)
        self.guest.plug_disk(disk)
        wait_until(lambda: self.guest.run("test -b /dev/vda").status == 0, 60, "the disk appears")
        self.cut_under_load("cut", disk.path, "vda")
