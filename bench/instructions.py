#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions per request through a whole lane, counted by callgrind: they repeat, so they can be bounded.

Why: a timing on a shared machine proves nothing, but an extra hundred instructions on the path that every request takes is a regression
whatever the machine does. Counted from the driver's end of the ring through the lane, virtio-blk or virtio-scsi, the block gate and the
null disk and back. Start-up is taken out by the difference of two runs.

What steering adds to a request of the driver library is bounded as well: a pair of steer_enter and steer_leave.

virtio-scsi is wanted to do at least 85 % of virtio-blk's requests per second: its bounds follow from that, the share is told.

So is what the library itself does for a request: queueing, submitting, reaping (driver_bench); and the same through its public functions
against ringlaned, in the unmanaged and the managed way (driver_count).

    instructions.py LANE_BENCH STEER_BENCH DRIVER_BENCH DRIVER_COUNT RINGLANED
"""
import sys
import tempfile

from driver_figures import NULL, disks, request, slope

# (device, depth): the bound. Mended only together with the reason, in the commit that needs it.
BOUNDS = {("blk", 64): 730, ("blk", 1): 1130, ("scsi", 64): 795, ("scsi", 1): 1200}
# options of steer_bench: the bound. An ordered flow that is idle picks its queue; one that is busy joins.
STEER_BOUNDS = {"--policy=sticky": 120, "--policy=sticky --busy": 100, "--policy=per-cpu": 78}
# options of driver_bench: the bound, with a device of a few dozen instructions.
DRIVER_BOUNDS = {"--depth=64": 241, "--depth=1": 372, "--scsi --depth=64": 296, "--scsi --depth=1": 403, "--depth=16 --segments=8": 860}
# (way of driver_figures, depth): the bound, against ringlaned with a null disk, without the device's part.
WAY_BOUNDS = {("blk", 64): 248, ("blk", 1): 430, ("scsi", 64): 310, ("scsi", 1): 498, ("managed per-cpu", 64): 626,
              ("managed per-cpu", 1): 1773, ("managed sticky", 64): 650, ("managed sticky", 1): 1825}


def tell(what, found, bound):
    """1: it is too much."""
    verdict = "ok" if 0 < found <= bound else "not ok"  # 0: nothing was counted
    print(f"{verdict} - {what}: {found:.1f} instructions (bound {bound})")
    return verdict != "ok"


def main():
    lane_bench, steer_bench, driver_bench, driver_count, ringlaned = sys.argv[1:]
    failed, told = 0, {}
    for (device, depth), bound in BOUNDS.items():
        options = [f"--depth={depth}"] + (["--scsi"] if device == "scsi" else [])
        told[device, depth] = slope(lane_bench, "--requests", *options)
        failed += tell(f"{device}: a request at depth {depth}", told[device, depth], bound)
    for depth in (64, 1):
        print(f"# blk/scsi at depth {depth}: {told['blk', depth] / told['scsi', depth]:.2f}")
    for options, bound in STEER_BOUNDS.items():
        failed += tell(f"steering: a pair with {options}", slope(steer_bench, "--pairs", *options.split()), bound)
    for options, bound in DRIVER_BOUNDS.items():
        failed += tell(f"driver: a request with {options}", slope(driver_bench, "--requests", *options.split()), bound)
    with tempfile.TemporaryDirectory() as folder, disks(ringlaned, folder, NULL) as uris:
        for (way, depth), bound in WAY_BOUNDS.items():
            failed += tell(f"{way}: a read at depth {depth}", request(driver_count, uris, way, depth), bound)
    return failed


sys.exit(main())
