# SPDX-License-Identifier: MIT
"""Instructions of the driver per request, by the way it is used (bench/driver_count.c). They repeat: instructions.py bounds them."""
import contextlib
import pathlib
import subprocess
import tempfile

from benchlib import Server, make_image

# way: (kind of disk, options of driver_count)
WAYS = {"blk": ("blk", []), "scsi": ("scsi", []), "managed per-cpu": ("blk", ["--managed", "--policy=per-cpu"]),
        "managed sticky": ("blk", ["--managed", "--policy=sticky"])}
COUNTED = [f"--toggle-collect={function}" for function in ("driver_submit", "driver_reap", "reaper_run*")]
NULL = "driver=null-co,size=256M"


def count(program, *options, valgrind=()):
    """Instructions of a run. What valgrind does not know (epoll_pwait2) it tells each time; only a run that fails is worth reading about."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        run = subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", *valgrind, program, *options],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=600)
        if run.returncode:
            raise SystemExit(f"{program} {' '.join(options)} under valgrind: {run.stderr[-1000:]}")
        return next(int(line.split()[1]) for line in out.read_text().splitlines() if line.startswith("summary:"))


def slope(program, number, *options, few=4_000, many=12_000, valgrind=()):
    """Per request; number: the option that says how many."""
    counts = [count(program, f"{number}={n}", *options, valgrind=valgrind) for n in (few, many)]
    return (counts[1] - counts[0]) / (many - few)


@contextlib.contextmanager
def disks(ringlaned, folder, node):
    """A blk and a SCSI disk of this kind behind an IOThread that does not poll; {kind: URI}."""
    blk, scsi = f"{folder}/blk", f"{folder}/scsi"
    options = ["--object", "iothread,id=t0,poll-max-ns=0",
               "--blockdev", f"{node},node-name=a,read-only=on", "--blockdev", f"{node},node-name=b,read-only=on",
               "--export", f"type=vhost-user-blk,id=blk,node-name=a,addr.type=unix,addr.path={blk},iothread=t0,writable=off",
               "--export", f"type=vhost-user-scsi,id=hba,addr.type=unix,addr.path={scsi},num-queues=1,iothread=t0",
               "--device", "scsi-hd,drive=b,bus=hba.0,scsi-id=0,lun=0"]
    with Server([str(ringlaned), *options], [blk, scsi], cpu=None):
        yield {"blk": f"vhost-user-blk:{blk}", "scsi": f"vhost-user-scsi:{scsi}"}


def request(driver_count, uris, way, depth):
    kind, options = WAYS[way]
    return slope(str(driver_count), "--requests", f"--depth={depth}", *options, uris[kind], few=640, many=1920, valgrind=COUNTED)


def figure_driver(bench):
    """Instructions of the driver per 4 KiB read, submission and completion, against ringlaned with a null disk and a file in the page cache; counted by
    callgrind, the work of the device and waiting for it left out. At depth 1 a request pays for a kick and, with a reaper, for sleeping and being woken;
    at depth 64 each of them is shared by 64.

    `blk` and `scsi` are the unmanaged way (a queue for each thread, no lock), `managed` the way for any thread: steering, the queue's lock, a reaper that
    sleeps until it is called, and callbacks. These counts repeat: `make check` bounds those of the null disk."""
    image = bench.tmp / "driver-image"
    make_image(image)
    rows = {}
    for name, node in (("null", NULL), ("file", f"driver=file,filename={image}")):
        folder = bench.tmp / f"driver-{name}"
        folder.mkdir()
        with disks(bench.build / "src/daemon/ringlaned", folder, node) as uris:
            for depth in (64, 1):
                row = {}
                for way, (kind, options) in WAYS.items():
                    argv = ["driver_count", f"--depth={depth}", "--requests=1920", *options, f"vhost-user-{kind}:/run/{kind}"]
                    bench.show(["valgrind --tool=callgrind", *COUNTED, *argv])
                    row[way] = request(bench.build / "bench/driver_count", uris, way, depth)
                for way in list(WAYS)[1:]:
                    row[f"{way}/blk"] = row[way] / row["blk"]
                rows[f"{name} depth {depth}"] = row
    return rows
