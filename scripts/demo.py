# SPDX-License-Identifier: MIT
"""The demonstration: boots a guest with four CPUs on a disk of ringlaned, shows its lanes as measured, verifies data, and
prints how the number of IOThreads changes what the guest gets.

Nothing in the lane map is taken from the command line: requests are sent from one guest CPU after the other, and the map says
which interrupt rose and which IOThread worked.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from backend import Disk, RinglaneBackend  # noqa: E402
from guest import Guest  # noqa: E402
from lanes import READS, find_disk, measure_lanes  # noqa: E402

CPUS = 4
BUSY_NS = 200_000
SECONDS = 4


def say(text=""):
    print(text, flush=True)


def make_threads():
    """Two IOThreads for the disk, each on a CPU of its own if there are two; t1 to t4 for the table."""
    cpus = sorted(os.sched_getaffinity(0))
    threads = {"iot0": f",cpus={cpus[0]}", "iot1": f",cpus={cpus[-1]}"}
    threads.update({f"t{number}": "" for number in range(1, 5)})
    return threads


def make_disks(folder):
    disks = [Disk(folder, name="disk", serial="demo", size=256 << 20, queues=CPUS, threads=("iot0", "iot1"))]
    for count in (1, 2, 4):
        names = tuple(f"t{number}" for number in range(1, count + 1))
        disks.append(
            Disk(folder, name=f"null{count}", serial=f"null{count}", size=1 << 30, queues=CPUS, null=True, busy_ns=BUSY_NS, threads=names)
        )
    disks[0].create()
    return disks


def show_lane_map(guest, backend):
    say(f"guest CPU -> queue -> interrupt (on guest CPU) -> IOThread -> host CPU      measured by {READS} reads from each CPU")
    for lane in measure_lanes(guest, backend, find_disk(guest, "demo"), ["iot0", "iot1"]):
        head = f"    {lane.cpu:5} -> {lane.queue:5} -> {lane.interrupt:>9} (on {lane.interrupt_cpus})"
        say(f"{head:50} -> {lane.thread:8} -> {lane.host_cpus}")
    say("\nas the daemon tells it (SIGUSR1):")
    for line in backend.read_lane_map().splitlines():
        if "null" not in line:
            say(f"    {line}")


def run_fio(guest, name, options, seconds=120):
    """Sums of (read, write) requests per second over the jobs, from fio's terse lines."""
    output = guest.check(f"/opt/fio --filename=/dev/{name} --name=job --direct=1 --ioengine=libaio --minimal {options}", seconds)
    lines = [line.split(";") for line in output.splitlines() if line.startswith("3;")]
    return sum(int(line[7]) for line in lines), sum(int(line[48]) for line in lines)


def show_verify(guest):
    name = find_disk(guest, "demo")
    options = "--rw=randwrite --bs=4k --iodepth=16 --numjobs=4 --size=16M --offset_increment=32M --verify=crc32c --verify_fatal=1"
    reads, writes = run_fio(guest, name, f"{options} --cpus_allowed=0-3 --cpus_allowed_policy=split")
    say(f"fio, four jobs on four CPUs, 64 MiB written and read back with CRC32C: verified ({writes} writes/s, {reads} reads/s)")
    fill = "cp /opt/fio /mnt/a && (cp -r /modules /mnt/m & cp /opt/fio /mnt/b & wait) && umount /mnt"
    guest.check(f"/opt/mke2fs -q -F -t ext4 /dev/{name} && mount -t ext4 /dev/{name} /mnt && {fill} && /opt/e2fsck -fn /dev/{name}")
    say("ext4 made, filled, unmounted, e2fsck -f: clean")


def show_iothread_table(guest):
    say(f"reads/s in the guest, 4 KiB, four jobs of depth 4, on a null disk whose requests cost their IOThread {BUSY_NS // 1000} us each")
    say(f"(this host has {len(os.sched_getaffinity(0))} CPUs, which also emulate the guest's {guest.cpus}):")
    first = None
    for count in (1, 2, 4):
        name = find_disk(guest, f"null{count}")
        options = f"--rw=randread --bs=4k --iodepth=4 --numjobs=4 --time_based --runtime={SECONDS} --cpus_allowed=0-3 --cpus_allowed_policy=split"
        reads, _ = run_fio(guest, name, options)
        first = first or reads
        say(f"    {count} IOThread{'s' if count > 1 else ' '}  {reads:8}   {reads / first:.2f} x")


def main():
    start = time.monotonic()
    daemon = Path(sys.argv[1]).resolve() / "src" / "daemon" / "ringlaned"
    folder = Path(tempfile.mkdtemp(prefix="ringlane-demo-"))
    disks = make_disks(folder)
    backend, guest = RinglaneBackend(daemon, folder, disks, make_threads()), Guest(folder, cpus=CPUS)
    try:
        say("\n== The daemon\n" + " ".join(str(word) for word in backend.make_command()).replace(" --", " \\\n    --"))
        backend.start()
        say(f"\n== The guest ({os.environ.get('GUEST_ACCEL', 'tcg')}, {CPUS} CPUs, {len(disks)} disks)")
        guest.start([option for disk in disks for option in disk.qemu_options()])
        say(guest.check("uname -sr").strip() + f", up after {time.monotonic() - start:.0f} s")
        for title, show in (
            ("The lanes", lambda: show_lane_map(guest, backend)),
            ("Data", lambda: show_verify(guest)),
            ("IOThreads", lambda: show_iothread_table(guest)),
        ):
            say(f"\n== {title}")
            show()
        guest.kill()
        say(f"\nSIGTERM: the daemon ends with status {backend.stop()}; {time.monotonic() - start:.0f} s in all")
    finally:
        guest.kill()
        backend.kill()
        shutil.rmtree(folder)


main()
