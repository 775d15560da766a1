# SPDX-License-Identifier: MIT
"""Inside a guest the library drives a disk of `ringlaned`, in the guest too, while CPUs go offline and online under load.

The load (tests/integration/replay_load.c) writes, reads back and compares, and ends with an error when anything stalls.
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
PROGRAMS = {"ringlaned": "src/daemon/ringlaned", "replay_load": "tests/integration/replay_load"}

UNPACK = """
cd / && for disk in /sys/block/vd*; do
    case $(readlink $disk) in */0000:00:1e.0/*) tar xf /dev/${disk##*/};; esac
done
"""

SERVE = """
/opt/ringlaned --blockdev driver=ram,node-name=n,size=16777216 --pidfile /tmp/pid \
    --export type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=/tmp/socket,writable=on,num-queues=2 \
    >/tmp/daemon.log 2>&1 &
for i in $(seq 600); do [ -e /tmp/pid ] && break; sleep 0.1; done
[ -e /tmp/pid ] || { cat /tmp/daemon.log; exit 1; }
"""

# CPU 0 stays; the others go and come in turn. The load outlasts them: it ends when the file is there.
TURN = """
/opt/replay_load vhost-user-blk:/tmp/socket 3600 /tmp/enough >/tmp/load.log 2>&1 & load=$!
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

    def case_cpus_go_and_come_a_hundred_times_under_load(self):
        self.guest.check(SERVE, SECONDS)
        text = self.guest.check(TURN.format(turns=TURNS), 3 * SECONDS)
        quiesced = re.search(r"quiesced (\d+)", text)
        assert quiesced and int(quiesced.group(1)) >= 1, text
