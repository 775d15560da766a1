# SPDX-License-Identifier: MIT
"""The figures of virtio-scsi: what it costs over virtio-blk, and what more IOThreads bring.

The load is bench/disk_load, the same program for both kinds of disk. See figures.py for how they are taken and written down.
"""
import json
import subprocess

from benchlib import add_ratios, fixed_cost, make_image, median


def scsi_daemon(bench, blockdevs, luns, sock, objects=(), export="", monitor=None, cpu=1, beside=None):
    """luns: (node, target, lun). beside: the socket of a virtio-blk device that shows the node of the first one too, on the same IOThreads."""
    argv = []
    for obj in objects:
        argv += ["--object", obj]
    for blockdev in blockdevs:
        argv += ["--blockdev", blockdev]
    argv += ["--export", f"type=vhost-user-scsi,id=hba,addr.type=unix,addr.path={sock}{export}"]
    for node, target, lun in luns:
        argv += ["--device", f"scsi-hd,id=dev-{node},drive={node},bus=hba.0,scsi-id={target},lun={lun}"]
    if beside:
        argv += ["--export", f"type=vhost-user-blk,id=blk,node-name={luns[0][0]},addr.type=unix,addr.path={beside},writable=off{export}"]
    if monitor:
        argv += ["--chardev", f"socket,id=m,path={monitor},server=on,wait=off", "--monitor", "chardev=m"]
    return bench.daemon(argv, [s for s in (sock, beside, monitor) if s], cpu)


def load(bench, socks, *options):
    """socks: of one device, or of several."""
    argv = [str(bench.build / "bench/disk_load"), f"--seconds={bench.args.seconds}", *options, *([socks] if isinstance(socks, str) else socks)]
    bench.show(argv)
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)


def one(bench, sock, *options):
    job = load(bench, sock, *options)["jobs"][0]
    return {"iops": job["iops"], "p50_us": job["p50_us"], "p99_us": job["p99_us"]}


def figure_scsi(bench):
    """virtio-scsi against virtio-blk: 4 KiB random reads of one node by the same polling client, through two exports of one daemon on one IOThread, which
    has a CPU of its own. Wanted: at least 85 % of virtio-blk's IOPS.

    `scsi/blk` is the median of the ratios of runs that followed each other, three for each round: a host that moves the two CPUs onto one core and apart
    again changes both columns by the factor of two from one second to the next."""
    image = bench.tmp / "scsi-image"
    make_image(image)
    rows = {}
    for name, node in (("null", "driver=null-co,node-name=disk,size=1G"), ("file", f"driver=file,node-name=disk,filename={image}")):
        for depth in (64, 1):
            blk, scsi = bench.socket(), bench.socket()
            options = [f"--depth={depth}", "--cpus=0", f"--size={256 << 20}"]
            with scsi_daemon(bench, [f"{node},read-only=on"], [("disk", 0, 0)], scsi, ["iothread,id=t0"], ",iothread=t0", beside=blk):
                pairs = [(one(bench, scsi, "--scsi=0:0", *options), one(bench, blk, *options)) for _ in range(3 * bench.args.rounds)]
            row = {"scsi": median([s for s, _ in pairs]), "blk": median([b for _, b in pairs])}
            row["scsi/blk"] = median([s["iops"] / b["iops"] for s, b in pairs])
            rows[f"{name} depth {depth}"] = row
    return rows


def run_scsi_table(bench, kind, iothreads):
    sock = bench.socket()
    objects = [f"iothread,id=t{i}" for i in range(iothreads)]
    mapping = "".join(f",iothread-vq-mapping.{i}.iothread=t{i}" for i in range(iothreads))
    with scsi_daemon(bench, fixed_cost(bench, kind), [("disk", 0, 0)], sock, objects, f",num-queues=4{mapping}", cpu=None):
        return sum(job["iops"] for job in load(bench, sock, "--scsi=0:0", "--jobs=4", "--depth=16", "--sleep")["jobs"])


def figure_scsi_iothreads(bench):
    """One SCSI disk, IOPS by number of IOThreads: 4 request queues, 4 jobs, depth 16 each, clients that sleep; `cpu` and `latency` as for virtio-blk
    above.

    The commit that brought iothread-vq-mapping to QEMU's virtio-scsi had 189,576 / 312,698 / 346,744 with 1, 2 and 4 IOThreads, on a machine with a CPU
    for each. Two CPUs show the first step."""
    return add_ratios({kind: bench.rounds(**{f"{n} IOThreads": (lambda n=n, k=kind: run_scsi_table(bench, k, n)) for n in (1, 2, 4)})
                       for kind in ("cpu", "latency")})
