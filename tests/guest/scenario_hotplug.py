# SPDX-License-Identifier: MIT
"""Inside a guest the library drives disks of `ringlaned`, in the guest too, while CPUs go offline and online under load.

The load (tests/integration/replay_load.c) writes, reads back and compares, and ends with an error when anything stalls; the tool
does so too. (Over VFIO the tool drives QEMU's own devices, scenario_vfio.py: QEMU lets no vhost-user device behind an IOMMU that its
back end does not follow.)
"""

import re
import tarfile
from pathlib import Path

import image
from backend import NoDaemon
from scenario import Scenario

SECONDS = 240
TURNS = 100
PLACE = "0x1e"
PROGRAMS = {
    "ringlaned": "src/daemon/ringlaned",
    "ringlane": "src/tools/ringlane",
    "replay_load": "tests/integration/replay_load",
}
DISK, LUN = "vhost-user-blk:/tmp/socket", "vhost-user-scsi:/tmp/adapter?target=0&lun=3"
WRITES = "--managed --rw=randwrite --iodepth=8 --numjobs=4 --size=4m --verify=crc32c"

# The file system in memory is full of what all guests have.
UNPACK = """
mount -o remount,size=160m / && cd / && for disk in /sys/block/vd*; do
    case $(readlink $disk) in */0000:00:1e.0/*) tar xf /dev/${disk##*/};; esac
done
"""

SERVE = """
/opt/ringlaned --blockdev driver=ram,node-name=n,size=16777216 --pidfile /tmp/pid \
    --export type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=/tmp/socket,writable=on,num-queues=4 \
    --blockdev driver=ram,node-name=l,size=16777216 \
    --export type=vhost-user-scsi,id=s,addr.type=unix,addr.path=/tmp/adapter,num-queues=5 \
    --device scsi-hd,drive=l,bus=s.0,scsi-id=0,lun=3 >/tmp/daemon.log 2>&1 &
for i in $(seq 600); do [ -e /tmp/pid ] && break; sleep 0.1; done
[ -e /tmp/pid ] || { cat /tmp/daemon.log; exit 1; }
"""

# Its queues are there.
RUNS = """
for i in $(seq 600); do grep -qs keeper /proc/$load/task/*/comm && break; sleep 0.1; done
"""

# CPU 0 stays; the others, each with a queue of its own, go and come in turn. The load outlasts them: it ends when the file is there.
TURN = """
/opt/replay_load vhost-user-blk:/tmp/socket 3600 /tmp/enough >/tmp/load.log 2>&1 & load=$!
{runs}
for i in $(seq {turns}); do
    cpu=/sys/devices/system/cpu/cpu$((1 + i % 3))/online
    echo 0 >$cpu || exit 1
    echo 1 >$cpu || exit 1
    kill -0 $load || {{ cat /tmp/load.log; exit 1; }}
done
touch /tmp/enough
wait $load; status=$?
cat /tmp/load.log
exit $status
"""

# The same with the tool, which runs until it is told to end.
TOOL_TURN = """
/opt/ringlane bench '{uri}' {words} --time_based --runtime=3600s >/tmp/bench.log 2>&1 & load=$!
{runs}
for i in $(seq {turns}); do
    cpu=/sys/devices/system/cpu/cpu$((1 + i % 3))/online
    echo 0 >$cpu || exit 1
    echo 1 >$cpu || exit 1
    kill -0 $load || {{ cat /tmp/bench.log; exit 1; }}
done
kill $load
wait $load; status=$?
cat /tmp/bench.log
exit $status
"""


class Hotplug(Scenario):
    backends = {"ringlaned": NoDaemon}

    def create_disks(self):
        self.disks = []

    def write_archive(self, path):
        build = Path(self.program).resolve().parents[2]
        libraries = {library for program in PROGRAMS.values() for library in image.find_libraries(build / program)}
        with tarfile.open(path, "w") as archive:
            for name, program in PROGRAMS.items():
                archive.add(build / program, f"opt/{name}")
            for library in libraries:
                archive.add(Path(library).resolve(), library.lstrip("/"))
        with path.open("r+b") as file:
            file.truncate((path.stat().st_size + 65535) // 65536 * 65536)

    def start_guest(self):
        path = self.folder / "programs.tar"
        self.write_archive(path)
        drive = ["-drive", f"file={path},format=raw,if=none,id=programs,readonly=on"]
        self.guest.start([*drive, "-device", f"virtio-blk-pci,drive=programs,addr={PLACE}"], SECONDS)
        self.guest.check(UNPACK)
        self.guest.check(SERVE, SECONDS)

    def case_tool_writes_and_verifies_a_disk_and_a_lun(self):
        for uri in (DISK, LUN):
            text = self.guest.check(f"/opt/ringlane bench '{uri}' {WRITES}", SECONDS)
            assert text.count("err= 0") == 4, text

    def case_cpus_go_and_come_a_hundred_times_under_load(self):
        text = self.guest.check(TURN.format(turns=TURNS, runs=RUNS), 3 * SECONDS)
        quiesced = re.search(r"quiesced (\d+)", text)
        assert quiesced and int(quiesced.group(1)) >= 1, text
        return f"{TURNS} times, {quiesced.group(1)} seen"

    def case_lun_survives_cpus_that_go_and_come_a_hundred_times(self):
        text = self.guest.check(TOOL_TURN.format(uri=LUN, words=WRITES, turns=TURNS, runs=RUNS), 3 * SECONDS)
        away = re.search(r"queues without CPUs: (\d+)", text)
        assert away and "not given back" not in text, text
        return f"{TURNS} times, {away.group(1)} seen"
