# SPDX-License-Identifier: MIT
"""Inside a guest with an IOMMU the `ringlane` tool drives QEMU's own virtio disks over VFIO: no daemon takes part.

The functions: a virtio-blk disk, a virtio-scsi adapter with two disks, a pair in one IOMMU group, and a disk that would go
around the IOMMU.
"""

import json
import re
from pathlib import Path

from backend import NoDaemon
from process import wait_until
from scenario import Scenario
from scenario_affinity import sort_cpus
from vfio import VfioGuest, archive_options, bind, count_interrupts, unpack

MIB = 1 << 20
SECONDS = 240
BLK, SCSI, PAIR, NEIGHBOUR, AROUND = "0000:00:04.0", "0000:00:05.0", "0000:00:06.0", "0000:00:06.1", "0000:00:07.0"
WRITES = "--managed --rw=randwrite --iodepth=8 --numjobs=4 --verify=crc32c --runtime=3600s --time_based"
TURNS = 34  # of three CPUs each
LONGEST_SECONDS = 20  # that a request may take while CPUs go and come
VERIFY = "--rw=randwrite --bs=4k --iodepth=16 --numjobs=4 --size=8m --verify=crc32c --output-format=json"
AS_NOBODY = "echo nobody:x:65534:65534::/tmp:/bin/sh >/etc/passwd; su nobody -c '{}'"


class Vfio(Scenario):
    backends = {"ringlaned": NoDaemon}

    def create_disks(self):
        self.disks = []
        for name in ("blk", "lun0", "lun5"):
            with (self.folder / f"{name}.img").open("wb") as file:
                file.truncate(32 * MIB)

    def drive_options(self, name):
        return ["-drive", f"file={self.folder}/{name}.img,format=raw,if=none,id={name},discard=unmap"]

    def device_options(self):
        behind = "iommu_platform=on,disable-legacy=on"
        options = [*self.drive_options("blk"), *self.drive_options("lun0"), *self.drive_options("lun5")]
        options += ["-device", f"virtio-blk-pci,drive=blk,addr=0x4,{behind},num-queues=4,serial=behind-iommu"]
        options += ["-device", f"virtio-scsi-pci,id=adapter,addr=0x5,{behind},num_queues=4"]
        options += ["-device", "scsi-hd,drive=lun0,bus=adapter.0,scsi-id=0,lun=0,serial=lun-zero"]
        options += ["-device", "scsi-hd,drive=lun5,bus=adapter.0,scsi-id=0,lun=5,serial=lun-five"]
        places = {"pair": f"0x6.0,multifunction=on,{behind}", "other": f"0x6.1,{behind}", "around": "0x7"}
        for name, place in places.items():
            options += ["-blockdev", f"driver=null-co,node-name={name},size={MIB}"]
            options += ["-device", f"virtio-blk-pci,drive={name},addr={place}"]
        return [*options, "-trace", "virtio_set_status", "-trace", "virtio_scsi_tmf_req"]

    def start_guest(self):
        self.guest = VfioGuest(self.folder, cpus=self.cpus)
        tool = Path(self.program).resolve().parents[1] / "tools" / "ringlane"
        self.guest.start([*archive_options(self.folder, tool), *self.device_options()], SECONDS)
        unpack(self.guest)
        for address in (BLK, SCSI, PAIR, AROUND):
            bind(self.guest, address)

    # ---- what the tool says ----

    def info(self, uri):
        return self.guest.check(f"/opt/ringlane info '{uri}'", SECONDS)

    def refusal(self, uri, script="/opt/ringlane info '{}'"):
        result = self.guest.run(script.format(uri), SECONDS)
        assert result.status == 1, result
        return result.output

    def case_blk_is_described(self):
        text = self.info(f"vfio-blk:{BLK}")
        for pattern in (r"capacity +33554432 bytes", r"serial +behind-iommu", r"queues +4", "ACCESS_PLATFORM"):
            assert re.search(pattern, text), text

    def case_scsi_is_described_by_lun(self):
        text = self.info(f"vfio-scsi:{SCSI}?target=0&lun=5")
        for pattern in (r"capacity +33554432 bytes", r"serial +lun-five", r"queues +4", "ACCESS_PLATFORM"):
            assert re.search(pattern, text), text

    # ---- data ----

    def verify(self, uri, image):
        self.guest.check(f"/opt/ringlane bench '{uri}' {VERIFY}", SECONDS)
        faults = self.guest.run("dmesg | grep 'DMAR: .*fault addr'").output
        assert not faults, f"the device reached for what it was not given: {faults}"
        data = (self.folder / f"{image}.img").read_bytes()
        empty = sum(data[at : at + 4096] == bytes(4096) for at in range(0, 8 * MIB, 4096))
        assert empty == 0 and not any(data[8 * MIB :]), f"{empty} blocks of the image were not written"

    def case_blk_writes_and_verifies_over_four_queues(self):
        self.verify(f"vfio-blk:{BLK}", "blk")

    def case_scsi_writes_and_verifies_over_four_queues(self):
        self.verify(f"vfio-scsi:{SCSI}?target=0&lun=5", "lun5")
        assert not any((self.folder / "lun0.img").read_bytes()), "the wrong LUN was written"

    # ---- interrupts ----

    def start_reading(self, uri, jobs, more=""):
        """In the background, until its standard input ends or it is told to."""
        bench = f"/opt/ringlane bench '{uri}' --rw=randread --iodepth=4 --numjobs={jobs} --runtime=3600s --time_based {more}"
        self.guest.check(f"{bench} >/tmp/bench.log 2>&1 & echo $! >/tmp/bench.pid")

    def stop_reading(self):
        script = "kill $(cat /tmp/bench.pid); while [ -d /proc/$(cat /tmp/bench.pid) ]; do sleep 0.1; done; cat /tmp/bench.log"
        return self.guest.check(script, SECONDS)

    def start_writing(self, uri, more):
        """The same with writes that are verified. stop_writing wants that all went well, and returns the report."""
        bench = f"/opt/ringlane bench '{uri}' {WRITES} {more}"
        self.guest.check(f"rm -f /tmp/bench.status; ({bench} >/tmp/bench.log 2>&1; echo $? >/tmp/bench.status) &")

    def stop_writing(self):
        script = "kill $(pidof ringlane); while [ ! -s /tmp/bench.status ]; do sleep 0.1; done; cat /tmp/bench.status /tmp/bench.log"
        text = self.guest.check(script, SECONDS)
        assert text.startswith("0\n"), text
        return text

    def check_interrupts(self, uri, address, first, jobs):
        """Vectors from first on, one per job, are raised again and again, and no other is."""
        self.start_reading(uri, jobs)

        def all_raised():
            counts = {vector: sum(cpus) for vector, cpus in count_interrupts(self.guest, address).items()}
            used = range(first, first + jobs)
            return counts if all(counts.get(vector, 0) > 10 for vector in used) else None

        counts = wait_until(all_raised, SECONDS, "interrupts of all queues")
        self.stop_reading()
        unused = [vector for vector in counts if vector not in range(first, first + jobs)]
        assert not any(counts[vector] for vector in unused if vector == 0 or vector >= first), counts
        return f"interrupts by vector: {counts}"

    def case_blk_interrupts_are_one_vector_per_queue(self):
        return self.check_interrupts(f"vfio-blk:{BLK}", BLK, 1, 4)

    def case_blk_with_one_queue_has_one_vector_beside_the_configurations(self):
        text = self.check_interrupts(f"vfio-blk:{BLK}", BLK, 1, 1)
        assert text.endswith("}") and ", 2:" not in text, text
        return text

    def case_scsi_interrupts_are_one_vector_per_queue(self):
        """Behind those of the configuration, the control and the event queue."""
        return self.check_interrupts(f"vfio-scsi:{SCSI}?target=0&lun=0", SCSI, 3, 4)

    def read_map(self, uri, more=""):
        """The CPUs of each queue in use, by vector."""
        text = self.guest.check(f"/opt/ringlane map '{uri}' {more} --format=json", SECONDS)
        return {queue["vector"]: queue["cpus"] for queue in json.loads(text)["queues"]}

    def read_places(self, address, vectors):
        """Where the interrupts of vectors may go; those that are not there are left out."""
        script = f"""for vector in {" ".join(map(str, vectors))}; do
            irq=$(sed -n "s/^ *\\([0-9]*\\):.*vfio-msi[x]*\\[$vector\\]({address}).*/\\1/p" /proc/interrupts)
            [ -z "$irq" ] || echo $vector $(cat /proc/irq/$irq/smp_affinity_list) $irq
        done"""
        lines = [line.split() for line in self.guest.check(script).splitlines()]
        self.numbers = {int(vector): irq for vector, _, irq in lines}
        return {int(vector): cpus for vector, cpus, _ in lines}

    def wait_placed(self, address, wanted):
        wait_until(lambda: self.read_places(address, wanted) == wanted, SECONDS, f"interrupts on the CPUs {wanted}")

    def check_placed(self, uri, address, more=""):
        """They may go where the map says, they do go there, and nowhere else; and one that is moved comes back."""
        wanted = self.read_map(uri, more)
        self.start_reading(uri, 4, f"--managed --cpus_allowed=0-3 {more}")
        self.wait_placed(address, wanted)
        before = count_interrupts(self.guest, address)

        def rises():
            now = count_interrupts(self.guest, address)
            return {vector: [b - a for a, b in zip(before[vector], now[vector])] for vector in wanted}

        wait_until(lambda: all(sum(cpus) > 10 for cpus in rises().values()), SECONDS, "interrupts of all queues")
        for vector, cpus in rises().items():
            elsewhere = [count for cpu, count in enumerate(cpus) if cpu not in sort_cpus(wanted[vector])]
            assert not any(elsewhere), f"vector {vector} belongs to CPU {wanted[vector]}, its interrupts came to {cpus}"
        first, last = min(wanted), max(wanted)
        self.guest.check(f"echo {wanted[first]} >/proc/irq/{self.numbers[last]}/smp_affinity_list")
        self.wait_placed(address, wanted)
        self.stop_reading()
        return f"CPUs of the queues' interrupts, by vector: {wanted}"

    def case_blk_interrupts_land_where_the_map_says(self):
        return self.check_placed(f"vfio-blk:{BLK}", BLK)

    def case_scsi_interrupts_land_where_the_map_says(self):
        """The adapter keeps one of its four queues for itself, unless it is told not to."""
        uri = f"vfio-scsi:{SCSI}?target=0&lun=5"
        three, four = self.check_placed(uri, SCSI), self.check_placed(uri, SCSI, "--queues=4")
        assert three.count(":") == 4 and four.count(":") == 5, (three, four)
        return f"{three}\n{four}"

    def case_poll_queues_have_no_interrupts(self):
        """The kernel gets those of the last two queues back, and verified writes go on by polling."""
        self.start_writing(f"vfio-blk:{BLK}", "--size=4m --queues=4 --poll-queues=2")
        wait_until(lambda: sorted(self.read_places(BLK, range(1, 5))) == [1, 2], SECONDS, "two interrupts are left")
        before = self.count_done("blk")
        wait_until(lambda: self.count_done("blk") > before + 500, SECONDS, "requests are done")
        text = self.stop_writing()
        assert "4 queues, 2 of them polled" in text, text

    # ---- processors go and come ----

    def case_interrupt_of_a_queue_is_freed_while_its_processor_is_away(self):
        """That one alone; and it is where it belongs when the processor is back."""
        wanted = self.read_map(f"vfio-blk:{BLK}")
        self.start_writing(f"vfio-blk:{BLK}", "--size=8m")
        self.wait_placed(BLK, wanted)
        others = {vector: cpus for vector, cpus in wanted.items() if cpus != "2"}
        assert len(others) == 3, wanted
        self.guest.check("echo 0 >/sys/devices/system/cpu/cpu2/online")
        wait_until(lambda: self.read_places(BLK, wanted) == others, SECONDS, f"interrupts on the CPUs {others} alone")
        self.guest.check("echo 1 >/sys/devices/system/cpu/cpu2/online")
        self.wait_placed(BLK, wanted)
        self.stop_writing()

    def check_processors(self, uri, address, turns):
        """They go and come under verified writes, of which none takes too long; at the end each interrupt is on its CPU again."""
        wanted = self.read_map(uri)
        self.start_writing(uri, "--size=8m")
        self.wait_placed(address, wanted)
        self.guest.check(
            f"for round in $(seq {turns}); do for cpu in 1 2 3; do for state in 0 1; do"
            " echo $state >/sys/devices/system/cpu/cpu$cpu/online || exit 1; done; done; done",
            SECONDS,
        )
        self.wait_placed(address, wanted)
        text = self.stop_writing()
        longest = max(float(us) for us in re.findall(r"clat .* max=([0-9.]+)", text)) / 1e6
        assert longest < LONGEST_SECONDS, text
        away = re.search(r"queues without CPUs: (\d+)", text)
        assert away, text
        return f"{3 * turns} times, {away.group(1)} seen; the longest request took {longest:.3f} s"

    def case_blk_survives_processors_that_go_and_come_a_hundred_times(self):
        return self.check_processors(f"vfio-blk:{BLK}", BLK, TURNS)

    def case_scsi_survives_processors_that_go_and_come_a_hundred_times(self):
        return self.check_processors(f"vfio-scsi:{SCSI}?target=0&lun=5", SCSI, TURNS)

    # ---- disks that stand still ----

    def throttle(self, drive, bytes_per_second):
        others = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        self.guest.qmp("block_set_io_throttle", device=drive, bps=bytes_per_second, **others)

    def count_done(self, drive):
        stats = next(it["stats"] for it in self.guest.qmp("query-blockstats") if it["device"] == drive)
        return stats["rd_operations"] + stats["wr_operations"]

    def count_traced(self, pattern):
        return len(re.findall(pattern, self.guest.process.read_log()))

    def check_stalled(self, uri, drive, event, steps):
        """QEMU's disk does nothing of its own until the event has been traced; then requests go on as if nothing had happened."""
        before = self.count_done(drive)
        self.start_writing(uri, "--size=2m --timeout=1s")
        wait_until(lambda: self.count_done(drive) > before + 100, SECONDS, "requests are done")
        self.throttle(drive, 1)
        traced = self.count_traced(event)
        wait_until(lambda: self.count_traced(event) >= traced + 1, SECONDS, f"{event} is traced")
        self.throttle(drive, 0)
        before = self.count_done(drive)
        wait_until(lambda: self.count_done(drive) > before + 500, SECONDS, "requests go on")
        text = self.stop_writing()
        for step in steps:
            assert re.search(rf"(?m)^  {step}: [1-9]", text), f"{step}: {text}"
        assert "not given back" not in text and "queue resets" not in text, text
        return "\n".join(re.findall(r"(?m)^  [A-Za-z ]+: \d+$", text))

    def case_blk_that_stands_still_is_reset_and_nothing_is_lost(self):
        """Not a queue alone: QEMU would confirm that and finish its requests all the same, later."""
        steps = ("looks at a ring", "second kicks", "device resets")
        return self.check_stalled(f"vfio-blk:{BLK}", "blk", "virtio_set_status .* val 0", steps)

    def case_scsi_lun_that_stands_still_is_reset_and_nothing_is_lost(self):
        steps = ("looks at a ring", "second kicks", "ABORT TASK", "LUN resets", "requests sent again")
        return self.check_stalled(f"vfio-scsi:{SCSI}?target=0&lun=5", "lun5", "virtio_scsi_tmf_req .* subtype=5", steps)

    # ---- what is in the way has a sentence ----

    def case_refusals_say_what_is_in_the_way(self):
        sentences = {
            f"vfio-blk:{NEIGHBOUR}": f"{NEIGHBOUR} belongs to the driver virtio-pci",
            f"vfio-blk:{PAIR}": f"other devices in it: {NEIGHBOUR} (virtio-pci)",
            f"vfio-blk:{AROUND}": "it would reach memory around the IOMMU",
            f"vfio-blk:{SCSI}": "is of another kind: virtio-scsi (vfio-scsi:)",
            "vfio-blk:0000:00:0b.0": "there is no PCI function 0000:00:0b.0",
            "vfio-blk:00:04.0": "is no address of a PCI function",
        }
        for uri, sentence in sentences.items():
            text = self.refusal(uri)
            assert sentence in text, f"{uri}: {text}"

    def case_function_of_no_driver_is_refused(self):
        self.guest.check(f"echo {PAIR} >/sys/bus/pci/drivers/vfio-pci/unbind")
        assert "is bound to no driver" in self.refusal(f"vfio-blk:{PAIR}")

    def case_user_without_permission_is_refused(self):
        assert "no permission for /dev/vfio/" in self.refusal(f"vfio-blk:{BLK}", AS_NOBODY.format("/opt/ringlane info {}"))

    def case_memory_limit_is_named(self):
        self.guest.check(f"chown 65534 /dev/vfio/$(basename $(readlink /sys/bus/pci/devices/{BLK}/iommu_group))")
        text = self.refusal(f"vfio-blk:{BLK}", "ulimit -l 16; " + AS_NOBODY.format("/opt/ringlane info {}"))
        assert "RLIMIT_MEMLOCK is 16 KiB" in text, text
        self.guest.check(AS_NOBODY.format(f"/opt/ringlane info vfio-blk:{BLK}"), SECONDS)

    def case_second_user_of_a_group_is_refused(self):
        self.start_reading(f"vfio-blk:{BLK}", 1)
        wait_until(lambda: count_interrupts(self.guest, BLK), SECONDS, "the first user has interrupts")
        text = self.refusal(f"vfio-blk:{BLK}")
        self.stop_reading()
        assert "is in use already" in text, text

    # ---- the device goes ----

    def case_driver_that_wants_its_device_back_gets_it(self):
        """Unbinding waits until the tool has let go, which it does because the kernel asks for it."""
        self.start_reading(f"vfio-blk:{BLK}", 2)
        wait_until(lambda: count_interrupts(self.guest, BLK), SECONDS, "the tool has interrupts")
        bind(self.guest, BLK, "virtio-pci")
        text = self.guest.check("while [ -d /proc/$(cat /tmp/bench.pid) ]; do sleep 0.1; done; cat /tmp/bench.log", SECONDS)
        assert "gone" in text or "reset" in text, text
        size = self.guest.check("for disk in /sys/block/vd*; do case $(readlink $disk) in */0000:00:04.0/*) cat $disk/size;; esac; done")
        assert int(size) == 32 * MIB // 512, size
        bind(self.guest, BLK)
