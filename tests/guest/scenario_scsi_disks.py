# SPDX-License-Identifier: MIT
"""What a guest sees and does with the disks of one adapter: several targets, several LUNs of one, blocks of two sizes, a disk that
is read-only."""

import os
import subprocess

from lanes import find_virtio, measure_lanes
from process import wait_until
from scsi import MIB, ScsiScenario

# (id, target, lun, serial, NAA)
ADDRESSES = [
    ("plain", 0, 0, "lane-plain", 0x5000C50015EA0000),
    ("locked", 0, 1, "lane-locked", 0x5000C50015EA0001),
    ("flat", 0, 300, "lane-flat", 0x5000C50015EA0002),
    ("wide", 5, 0, "lane-wide", 0x5000C50015EA0003),
    ("far", 255, 2, "lane-far", 0x5000C50015EA0004),
]
OPTIONS = {"wide": {"logical_block_size": 4096}}
SIZES = {"plain": 64 * MIB, "locked": 8 * MIB, "flat": 32 * MIB, "wide": 48 * MIB, "far": 40 * MIB}
WRITTEN = ["plain", "flat", "wide", "far"]
VERIFY = (
    "--direct=1 --rw=randwrite --ioengine=libaio --iodepth=16 --bs=4k --verify=crc32c --verify_fatal=1 --minimal"
    " --group_reporting"
)


def read_at(path, offset, size):
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


class ScsiDisks(ScsiScenario):
    node_options = [{"name": name, "size": size, "read_only": name == "locked"} for name, size in SIZES.items()]
    lun_options = [
        {"id": f"d-{name}", "node": name, "target": target, "lun": lun, "serial": serial, "wwn": wwn, "options": OPTIONS.get(name, {})}
        for name, target, lun, serial, wwn in ADDRESSES
    ]

    def create_disks(self):
        super().create_disks()
        self.find_node("locked").path.write_bytes(bytes(range(256)) * (SIZES["locked"] // 256))

    def path(self, name):
        return "/dev/" + self.find_disk(f"lane-{name}")

    def case_disks_are_found_at_their_addresses(self):
        found = {disk.serial: disk for disk in self.list_disks()}
        assert len(found) == len(ADDRESSES), found
        for name, target, lun, serial, wwn in ADDRESSES:
            disk = found[serial]
            assert disk.address[1:] == (target, lun), disk
            assert disk.size == SIZES[name], disk
            assert disk.block_size == (4096 if name == "wide" else 512), disk
            assert disk.wwid == f"naa.{wwn:016x}", disk
            assert disk.read_only == (name == "locked"), disk

    def case_flat_addressing_reaches_lun_300(self):
        self.guest.check(f"seq 1 5000 | dd of={self.path('flat')} bs=512 conv=sync,fsync 2>/dev/null")
        assert read_at(self.find_node("flat").path, 0, 8) == b"1\n2\n3\n4\n"

    def case_each_cpu_has_a_queue(self):
        name = self.find_disk("lane-plain")
        assert self.guest.check(f"cd /sys/block/{name}/mq && cat */cpu_list").split() == ["0", "1", "2", "3"]

    def case_queues_are_served_by_their_iothreads(self):
        lanes = measure_lanes(self.guest, self.backend, self.find_disk("lane-plain"), ["t0", "t1"])
        assert [lane.queue for lane in lanes] == [0, 1, 2, 3], lanes
        assert [lane.thread for lane in lanes] == ["t0", "t1", "t0", "t1"], lanes
        (export,) = self.backend.control("query-block-exports")
        served = {queue["queue"]: queue["iothread"] for queue in export["queues"]}
        assert served == {"ctrl": "main", "event": "main", "0": "t0", "1": "t1", "2": "t0", "3": "t1"}, served

    def case_fio_verifies_over_all_disks_at_once(self):
        jobs = " ".join(f"--name={name} --filename={self.path(name)} --size=12M --numjobs=1" for name in WRITTEN)
        self.guest.check(f"/opt/fio {VERIFY} {jobs}", 240)
        for name in WRITTEN:
            command = ["fio", *VERIFY.split(), f"--name={name}", f"--filename={self.find_node(name).path}", "--size=12M"]
            command = [word for word in command if not word.startswith(("--direct", "--ioengine"))]
            done = subprocess.run([*command, "--verify_only"], capture_output=True, text=True, timeout=120, cwd=self.folder)
            assert done.returncode == 0, f"{name} on the host: {done.stdout[-500:]} {done.stderr[-500:]}"

    def case_fio_verifies_mixed_sizes(self):
        sizes = VERIFY.replace("--bs=4k", "--bsrange=4k-512k")
        jobs = " ".join(f"--name={name} --filename={self.path(name)} --size=16M" for name in WRITTEN)
        self.guest.check(f"/opt/fio {sizes} {jobs}", 240)

    def case_read_only_disk_refuses_writes(self):
        path, before = self.path("locked"), self.find_node("locked").path.read_bytes()
        generic = self.guest.check(f"ls /sys/block/{os.path.basename(path)}/device/scsi_generic").strip()
        write = f"dd if=/dev/zero bs=512 count=1 2>/dev/null | /opt/sg_raw -s 512 /dev/{generic} 2a 00 00 00 00 00 00 00 01 00"
        result = self.guest.run(write)
        assert result.status != 0 and "Write protected" in result.output, result
        assert self.guest.run(f"/opt/blkdiscard {path}").status != 0
        self.guest.check(f"dd if={path} of=/tmp/all bs=64k iflag=direct 2>/dev/null")
        assert self.guest.check("md5sum </tmp/all; rm /tmp/all").split()[0] == self.hash_on_host("locked")
        assert self.find_node("locked").path.read_bytes() == before

    def hash_on_host(self, name):
        return subprocess.run(["md5sum", self.find_node(name).path], capture_output=True, text=True).stdout.split()[0]

    def case_discard_frees_space_of_the_image(self):
        device, path = self.path("plain"), self.find_node("plain").path
        self.guest.check(f"dd if=/dev/urandom of={device} bs=1M count=16 oflag=direct 2>/dev/null")
        before, last = os.stat(path).st_blocks * 512, read_at(path, 12 * MIB, 4 * MIB)
        self.guest.check(f"/opt/blkdiscard -o {4 * MIB} -l {8 * MIB} {device}")
        assert os.stat(path).st_blocks * 512 <= before - 8 * MIB
        assert read_at(path, 4 * MIB, 8 * MIB) == bytes(8 * MIB)
        assert read_at(path, 12 * MIB, 4 * MIB) == last

    def case_write_zeroes_leaves_the_neighbours(self):
        device, path = self.path("plain"), self.find_node("plain").path
        self.guest.check(f"dd if=/dev/urandom of={device} bs=1M count=4 oflag=direct 2>/dev/null")
        before = read_at(path, 0, 4 * MIB)
        self.guest.check(f"/opt/blkdiscard -z -o {MIB + 512} -l {MIB} {device}")
        assert read_at(path, 0, 4 * MIB) == before[: MIB + 512] + bytes(MIB) + before[2 * MIB + 512 :]

    def case_compare_and_write_is_done_or_refused_whole(self):
        device, path = self.path("plain"), self.find_node("plain").path
        make = "printf '%-512s' old >/tmp/caw; printf '%-512s' new >>/tmp/caw"
        self.guest.check(f"{make}; dd if=/tmp/caw of={device} bs=512 count=1 seek=9 conv=notrunc,fsync oflag=direct 2>/dev/null")
        swap = f"/opt/sg_compare_and_write --in=/tmp/caw --lba=9 --num=1 --xferlen=1024 {device}"
        self.guest.check(swap)
        assert read_at(path, 9 * 512, 3) == b"new"
        again = self.guest.run(swap)
        assert again.status == 14, f"no miscompare: {again}"
        assert read_at(path, 9 * 512, 3) == b"new"

    def case_write_cache_is_switched_off_and_on(self):
        disk = self.find_disk("lane-plain")
        kind = f"/sys/block/{disk}/device/scsi_disk/*/cache_type"
        assert self.guest.check(f"cat {kind}").strip().startswith("write back")
        for word in ("write through", "write back"):
            self.guest.check(f"echo '{word}' >$(echo {kind}); echo 1 >/sys/block/{disk}/device/rescan")
            assert self.guest.check(f"cat {kind}").strip() == word
            self.guest.check(f"dd if=/dev/zero of=/dev/{disk} bs=4k count=8 conv=fsync 2>/dev/null")

    def case_processor_goes_and_comes_back_under_load(self):
        online = "/sys/devices/system/cpu/cpu3/online"
        toggle = f"for n in 1 2 3; do echo 0 >{online}; echo 1 >{online}; done"
        job = f"{VERIFY} --numjobs=4 --size=6M --offset_increment=6M --name=job --filename={self.path('plain')}"
        self.guest.check(f"({toggle}) & /opt/fio {job} || exit 1; wait $!", 240)
        assert self.guest.check("cat /sys/devices/system/cpu/online").strip() == "0-3"

    def case_driver_is_unbound_and_bound_again_under_load(self):
        device = self.path("plain")
        self.guest.check(f"echo before-unbind | dd of={device} bs=512 conv=sync,fsync 2>/dev/null")
        driver, virtio = "/sys/bus/virtio/drivers/virtio_scsi", find_virtio(self.guest, self.find_disk("lane-plain"))
        load = f"/opt/fio --name=l --filename={self.path('far')} --direct=1 --rw=randrw --bs=4k --ioengine=libaio --iodepth=16"
        for _ in range(2):
            self.guest.check(f"{load} --time_based --runtime=60 >/dev/null 2>&1 & echo $! >/tmp/pid; usleep 300000")
            self.guest.check(f"echo {virtio} >{driver}/unbind; wait; echo {virtio} >{driver}/bind", 60)
            load = load.replace(load.split("--filename=")[1].split()[0], "/dev/" + self.wait_disk("lane-far"))
            self.wait_all_disks()
        assert self.guest.check(f"head -c 13 {self.path('plain')}") == "before-unbind"

    def wait_all_disks(self):
        wait_until(lambda: len(self.list_disks()) == len(ADDRESSES), 60, "all disks are there again")

    def case_machine_reset_finds_all_disks_again(self):
        self.guest.reset()
        self.wait_all_disks()
        self.case_disks_are_found_at_their_addresses()
