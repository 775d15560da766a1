# SPDX-License-Identifier: MIT
"""What a guest sees and does with the disks of one daemon: vda is written, vdb is read-only with blocks of 4096 bytes,
vdc comes and goes."""

import os
import subprocess

from lanes import count_interrupts, measure_lanes
from process import wait_until
from scenario import Scenario
from scsi import Load

MIB = 1 << 20
VERIFY = (
    "--name=job --direct=1 --rw=randwrite --ioengine=libaio --iodepth=16 --numjobs=4 --size=6M --offset_increment=6M"
    " --verify=crc32c --verify_fatal=1 --minimal"
)


def read_at(path, offset, size):
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def count_bytes_allocated(path):
    return os.stat(path).st_blocks * 512


class Disk(Scenario):
    disk_options = [
        {"name": "disk0", "serial": "lane-one"},
        {"name": "disk1", "serial": "lane-two", "writable": False, "block_size": 4096, "queues": 2, "size": 8 * MIB},
        {"name": "disk2", "serial": "lane-three", "size": 16 * MIB, "plugged": False},
    ]

    def create_disks(self):
        super().create_disks()
        self.disks[1].path.write_bytes(bytes(range(256)) * (self.disks[1].size // 256))

    def case_hardware_queues_are_one_per_cpu(self):
        assert self.guest.check("cd /sys/block/vda/mq && cat */cpu_list").split() == ["0", "1", "2", "3"]
        assert self.guest.check("cd /sys/block/vdb/mq && ls | wc -l").strip() == "2"

    def case_interrupts_are_one_per_queue_on_its_cpu(self):
        script = "for n in $(awk -F: '/virtio1-req/ {print $1}' /proc/interrupts); do cat /proc/irq/$n/smp_affinity_list; done"
        assert self.guest.check(script).split() == ["0", "1", "2", "3"]

    def case_queues_are_served_by_their_iothreads(self):
        lanes = measure_lanes(self.guest, self.backend, "vda", ["t0", "t1"])
        assert [lane.queue for lane in lanes] == [0, 1, 2, 3], lanes
        assert [lane.thread for lane in lanes] == ["t0", "t1", "t0", "t1"], lanes

    def case_serial_is_the_exports(self):
        assert self.guest.check("cat /sys/block/vda/serial") == "lane-one"
        assert self.guest.check("cat /sys/block/vdb/serial") == "lane-two"

    def case_sizes_are_the_exports(self):
        cat = "cat /sys/block/%s/size /sys/block/%s/queue/logical_block_size"
        assert self.guest.check(cat % ("vda", "vda")).split() == [str(64 * MIB // 512), "512"]
        assert self.guest.check(cat % ("vdb", "vdb")).split() == [str(8 * MIB // 512), "4096"]

    def case_fio_verifies_over_all_queues(self):
        before = count_interrupts(self.guest, "vda")
        job = f"{VERIFY} --bs=4k --cpus_allowed=0-3 --cpus_allowed_policy=split"
        self.guest.check(f"/opt/fio --filename=/dev/vda {job}", 180)
        after = count_interrupts(self.guest, "vda")
        assert all(new > old for new, old in zip(after, before)), f"interrupts {before} then {after}"
        self.verify_on_host(job)

    def verify_on_host(self, job):
        """The same job, only verifying, on the image: each block is where it belongs."""
        command = ["fio", f"--filename={self.disks[0].path}", *job.replace("0-3", "0").split(), "--verify_only"]
        command = [word for word in command if not word.startswith(("--cpus", "--direct", "--ioengine"))]
        done = subprocess.run([*command, "--ioengine=psync"], capture_output=True, text=True, timeout=120, cwd=self.folder)
        assert done.returncode == 0, f"on the host: {done.stdout[-500:]} {done.stderr[-500:]}"

    def case_fio_verifies_mixed_sizes(self):
        self.guest.check(f"/opt/fio --filename=/dev/vda {VERIFY} --bsrange=512-256k --bs_unaligned=0", 180)

    def case_buffered_data_survives_a_cache_drop(self):
        make = "seq 1 300000 >/tmp/data; dd if=/tmp/data of=/dev/vda bs=64k conv=fsync 2>/dev/null"
        self.guest.check(f"{make}; echo 3 >/proc/sys/vm/drop_caches; cmp -n $(wc -c </tmp/data) /tmp/data /dev/vda")
        expected = "".join(f"{number}\n" for number in range(1, 300001)).encode()
        assert read_at(self.disks[0].path, 0, len(expected)) == expected

    def case_flush_reaches_the_daemon(self):
        assert self.guest.check("cat /sys/block/vda/queue/write_cache").strip() == "write back"
        flushes = "awk '{print $16}' /sys/block/vda/stat"
        before = int(self.guest.check(flushes))
        self.guest.check("dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2>/dev/null")
        assert int(self.guest.check(flushes)) > before

    def case_discard_frees_space_of_the_image(self):
        path = self.disks[0].path
        self.guest.check("dd if=/dev/urandom of=/dev/vda bs=1M count=16 oflag=direct 2>/dev/null")
        before, last = count_bytes_allocated(path), read_at(path, 12 * MIB, 4 * MIB)
        self.guest.check(f"/opt/blkdiscard -o {4 * MIB} -l {8 * MIB} /dev/vda")
        assert count_bytes_allocated(path) <= before - 8 * MIB
        assert read_at(path, 4 * MIB, 8 * MIB) == bytes(8 * MIB)
        assert read_at(path, 12 * MIB, 4 * MIB) == last

    def case_write_zeroes_leaves_the_neighbours(self):
        path = self.disks[0].path
        self.guest.check("dd if=/dev/urandom of=/dev/vda bs=1M count=4 oflag=direct 2>/dev/null")
        before = read_at(path, 0, 4 * MIB)
        self.guest.check(f"/opt/blkdiscard -z -o {MIB + 512} -l {MIB} /dev/vda")
        expected = before[: MIB + 512] + bytes(MIB) + before[2 * MIB + 512 :]
        assert read_at(path, 0, 4 * MIB) == expected
        self.guest.check(f"dd if=/dev/vda bs=512 skip=2049 count=2048 2>/dev/null | cmp -n {MIB} - /dev/zero")

    def case_ext4_is_clean_after_parallel_writes(self):
        self.guest.check("mke2fs=/opt/mke2fs; $mke2fs -q -F -t ext4 /dev/vda && mount -t ext4 /dev/vda /mnt")
        fill = "for n in 1 2 3 4; do (cp /lib/x86_64-linux-gnu/libc.so.6 /mnt/$n && cp -r /modules /mnt/m$n) & done; wait"
        self.guest.check(f"{fill}; rm -r /mnt/m2; sync; umount /mnt && /opt/e2fsck -f -n /dev/vda", 120)
        image = str(self.disks[0].path)
        done = subprocess.run(["/sbin/e2fsck", "-f", "-n", image], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        same = "for n in 1 2 3 4; do cmp /lib/x86_64-linux-gnu/libc.so.6 /mnt/$n || exit 1; done"
        self.guest.check(f"mount -t ext4 /dev/vda /mnt && {same}; status=$?; umount /mnt; exit $status")

    def case_read_only_disk_refuses_writes(self):
        before = self.disks[1].path.read_bytes()
        assert self.guest.check("cat /sys/block/vdb/ro").strip() == "1"
        assert self.guest.run("dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync").status != 0
        assert self.guest.run("/opt/blkdiscard /dev/vdb").status != 0
        assert self.disks[1].path.read_bytes() == before

    def case_two_disks_are_busy_at_once(self):
        read = "/opt/fio --name=r --filename=/dev/vdb --readonly --direct=1 --rw=randread --bs=4k --iodepth=8"
        read += " --ioengine=libaio --time_based --runtime=3 --minimal >/tmp/read 2>&1"
        self.guest.check(f"{read} & /opt/fio --filename=/dev/vda {VERIFY} --bs=8k || exit 1; wait $!", 180)
        self.guest.check("dd if=/dev/vdb bs=64k iflag=direct 2>/dev/null >/tmp/all")
        expected = subprocess.run(["md5sum", self.disks[1].path], capture_output=True, text=True).stdout.split()[0]
        assert self.guest.check("md5sum /tmp/all; rm /tmp/all").split()[0] == expected

    def case_processor_goes_and_comes_back_under_load(self):
        online = "/sys/devices/system/cpu/cpu3/online"
        toggle = f"for n in 1 2 3; do echo 0 >{online}; echo 1 >{online}; done"
        self.guest.check(f"({toggle}) & /opt/fio --filename=/dev/vda {VERIFY} --bs=4k || exit 1; wait $!", 180)
        assert self.guest.check("cat /sys/devices/system/cpu/online").strip() == "0-3"

    def case_memory_is_added_and_removed_under_load(self):
        load = Load(self.guest, "vda", f"{VERIFY.removeprefix('--name=job ')} --bs=4k")
        self.guest.check("echo online_movable >/sys/devices/system/memory/auto_online_blocks")
        total = "awk '/MemTotal/ {print $2}' /proc/meminfo"
        before = int(self.guest.check(total))
        for _ in range(2):
            self.guest.add_memory("more", 128 * MIB)
            wait_until(lambda: int(self.guest.check(total)) > before, 60, "the guest has more memory")
            load.wait_busy()
            self.guest.remove_memory("more")
        load.wait_busy()
        load.finish()

    def case_disk_is_plugged_and_unplugged(self):
        disk = self.disks[2]
        for number in range(3):
            self.guest.plug_disk(disk)
            wait_until(lambda: self.guest.run("test -b /dev/vdc").status == 0, 60, "the disk appears")
            if number:
                assert self.guest.check("head -c 5 /dev/vdc") == f"plug{number - 1}"
            self.guest.check(f"echo plug{number} | dd of=/dev/vdc bs=512 conv=sync,fsync 2>/dev/null")
            self.guest.unplug_disk(disk)
            assert read_at(disk.path, 0, 5) == b"plug%d" % number

    def case_driver_is_unbound_and_bound_again(self):
        text = "echo before-unbind | dd of=/dev/vda bs=512 conv=sync,fsync 2>/dev/null"
        driver = "/sys/bus/virtio/drivers/virtio_blk"
        self.guest.check(f"{text}; for n in 1 2 3; do echo virtio1 >{driver}/unbind; echo virtio1 >{driver}/bind; done")
        name = self.guest.check("ls /sys/bus/virtio/devices/virtio1/block").strip()
        assert self.guest.check(f"head -c 13 /dev/{name}") == "before-unbind"
        if name != "vda":
            self.guest.check(f"ln -sf /dev/{name} /dev/vda")

    def case_resize_is_seen_by_the_guest(self):
        self.backend.resize(self.disks[0], 96 * MIB)
        size = "cat /sys/bus/virtio/devices/virtio1/block/*/size"
        wait_until(lambda: int(self.guest.check(size)) == 96 * MIB // 512, 60, "the guest sees the new size")
        self.guest.check("echo end | dd of=$(ls -d /dev/vd[acd] | tail -n 1) bs=512 seek=196607 conv=sync,fsync 2>/dev/null")
        assert read_at(self.disks[0].path, 96 * MIB - 512, 4) == b"end\n"


class BadSpot(Scenario):
    """A disk on which one block fails."""

    disk_options = [{"size": 4 * MIB, "bad": (MIB, 4096)}]

    def case_io_error_reaches_the_guest_and_nothing_else_breaks(self):
        for command in ("if=/dev/vda of=/dev/null iflag=direct skip=", "if=/dev/zero of=/dev/vda oflag=direct seek="):
            for block, works in ((255, True), (256, False), (257, True)):
                result = self.guest.run(f"dd bs=4k count=1 {command}{block}")
                assert (result.status == 0) == works, f"{command}{block}: {result}"
                assert works or "Input/output error" in result.output, result
