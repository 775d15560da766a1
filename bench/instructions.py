#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions per request through a whole lane, counted by callgrind: they repeat, so they can be bounded.

Why: a timing on a shared machine proves nothing, but an extra hundred instructions on the path that every request takes is a regression
whatever the machine does. Counted from the driver's end of the ring through the lane, virtio-blk or virtio-scsi, the block gate and the
null disk and back. Start-up is taken out by the difference of two runs.

virtio-scsi is wanted to do at least 85 % of virtio-blk's requests per second: its bounds follow from that, the share is told.

    instructions.py LANE_BENCH
"""
import pathlib
import subprocess
import sys
import tempfile

# (device, depth): the bound. Mended only together with the reason, in the commit that needs it.
BOUNDS = {("blk", 64): 875, ("blk", 1): 1290, ("scsi", 64): 975, ("scsi", 1): 1410}
FEW, MANY = 4_000, 12_000


def count(program, device, depth, requests):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        options = [f"--depth={depth}", f"--requests={requests}"] + (["--scsi"] if device == "scsi" else [])
        subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", program, *options], check=True,
                       stdout=subprocess.DEVNULL, timeout=600)
        return next(int(line.split()[1]) for line in out.read_text().splitlines() if line.startswith("summary:"))


def main():
    failed, told = 0, {}
    for (device, depth), bound in BOUNDS.items():
        per_request = (count(sys.argv[1], device, depth, MANY) - count(sys.argv[1], device, depth, FEW)) / (MANY - FEW)
        told[device, depth] = per_request
        verdict = "ok" if per_request <= bound else "not ok"
        failed += verdict != "ok"
        print(f"{verdict} - {device}: {per_request:.1f} instructions per request at depth {depth} (bound {bound})")
    for depth in (64, 1):
        print(f"# blk/scsi at depth {depth}: {told['blk', depth] / told['scsi', depth]:.2f}")
    return failed


sys.exit(main())
