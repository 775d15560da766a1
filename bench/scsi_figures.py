# SPDX-License-Identifier: MIT
"""The figures of virtio-scsi: what it costs over virtio-blk, what more IOThreads bring, and what a LUN notices of its neighbour.

The load is bench/disk_load, the same program for both kinds of disk. See figures.py for how they are taken and written down.
"""
import json
import os
import socket
import subprocess
import threading
import time

from benchlib import add_ratios, fixed_cost, make_image


class Qmp:
    """Just enough of QMP to disturb a disk: one command after another."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rw")
        self.stream.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            answer = json.loads(self.stream.readline())
            if "event" not in answer:
                if "error" in answer:
                    raise SystemExit(f"figures: {command}: {answer['error']['desc']}")
                return answer["return"]

    def wait_event(self, name):
        while json.loads(self.stream.readline()).get("event") != name:
            pass

    def close(self):
        self.stream.close()
        self.socket.close()


def scsi_daemon(bench, blockdevs, luns, sock, objects=(), export="", monitor=None, cpu=1):
    """luns: (node, target, lun)."""
    argv = []
    for obj in objects:
        argv += ["--object", obj]
    for blockdev in blockdevs:
        argv += ["--blockdev", blockdev]
    argv += ["--export", f"type=vhost-user-scsi,id=hba,addr.type=unix,addr.path={sock}{export}"]
    for node, target, lun in luns:
        argv += ["--device", f"scsi-hd,id=dev-{node},drive={node},bus=hba.0,scsi-id={target},lun={lun}"]
    if monitor:
        argv += ["--chardev", f"socket,id=m,path={monitor},server=on,wait=off", "--monitor", "chardev=m"]
    return bench.daemon(argv, [sock] + ([monitor] if monitor else []), cpu)


def load(bench, sock, *options, seconds=None):
    argv = [str(bench.build / "bench/disk_load"), f"--seconds={seconds or bench.args.seconds}", *options, sock]
    bench.show(argv)
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)


def one(bench, sock, *options):
    job = load(bench, sock, *options)["jobs"][0]
    return {"iops": job["iops"], "p50_us": job["p50_us"], "p99_us": job["p99_us"]}


def figure_scsi(bench):
    """virtio-scsi against virtio-blk: 4 KiB random reads by the same polling client, one IOThread on a CPU of its own, the same kind of node. Wanted: at
    least 85 % of virtio-blk's IOPS."""
    image = bench.tmp / "scsi-image"
    make_image(image)
    rows = {}
    for name, node in (("null", "driver=null-co,node-name=disk,size=1G"), ("file", f"driver=file,node-name=disk,filename={image}")):
        for depth in (64, 1):
            blk, scsi = bench.socket(), bench.socket()
            options = [f"--depth={depth}", "--cpus=0", f"--size={256 << 20}"]
            with bench.ringlaned([node], [blk], ["iothread,id=t0"], ",iothread=t0,writable=off"), \
                    scsi_daemon(bench, [f"{node},read-only=on"], [("disk", 0, 0)], scsi, ["iothread,id=t0"], ",iothread=t0"):
                row = bench.rounds(scsi=lambda: one(bench, scsi, "--scsi=0:0", *options), blk=lambda: one(bench, blk, *options))
            row["scsi/blk"] = row["scsi"]["iops"] / row["blk"]["iops"]
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


class Disturbance:
    """Does something to LUN A, again and again, until the load has ended."""

    def __init__(self, monitor, act):
        self.qmp, self.act = Qmp(monitor), act
        self.stop, self.count = threading.Event(), 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            self.act(self.qmp)
            self.count += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.qmp.close()


def drain(qmp):
    """A resize drains the LUN, whatever the size is."""
    drain.size = (3 << 30) - getattr(drain, "size", 1 << 30)
    qmp("block_resize", **{"node-name": "a", "size": drain.size})


def unplug(qmp):
    qmp("device_del", id="dev-a")
    qmp.wait_event("DEVICE_DELETED")
    qmp("device_add", **{"driver": "scsi-hd", "id": "dev-a", "drive": "a", "bus": "hba.0", "scsi-id": 0, "lun": 0})


def neighbour(bench, sock, monitor, act=None, options=()):
    """Latency of B while act() is done to A, or the load resets it by itself; A is busy too."""
    options = ["--scsi=0:0", "--scsi=0:1", "--jobs=2", "--depth=4", "--sleep", "--tolerate", *options]
    started = time.monotonic()
    if act:
        with Disturbance(monitor, act) as disturbance:
            told = load(bench, sock, *options)
        times = disturbance.count / (time.monotonic() - started)
    else:
        told = load(bench, sock, *options)
        times = told["resets"] / bench.args.seconds
    a, b = told["jobs"]
    if told["failed_resets"]:
        raise SystemExit(f"figures: {told['failed_resets']} resets were refused")
    return {"p50_us": b["p50_us"], "p99_us": b["p99_us"], "iops": b["iops"], "iops_of_A": a["iops"], "times_per_s": times}


def figure_neighbour(bench):
    """Latency of LUN B of an adapter while LUN A of the same adapter is left alone, drained (resized), reset or hot-unplugged and plugged again in a loop;
    both have four 4 KiB reads in flight from clients that sleep, each LUN's disk answers after 200 us, each queue has an IOThread of its own.
    Wanted: p99 of B unchanged within noise. Rounds take turns.

    `times_per_s` tells how often it was done to A; the disturber and its messages share the two CPUs with the clients and both IOThreads, and
    that is the noise that is left."""
    sock, monitor = bench.socket(), bench.socket()
    nodes = []
    for name in "ab":
        image = bench.tmp / f"lun-{name}"
        image.touch()
        os.truncate(image, 1 << 30)
        nodes += [f"driver=file,node-name={name}-file,filename={image}", f"driver=delay,node-name={name},file={name}-file,latency-ns=200000"]
    mapping = ",num-queues=2,iothread-vq-mapping.0.iothread=t0,iothread-vq-mapping.1.iothread=t1"
    with scsi_daemon(bench, nodes, [("a", 0, 0), ("b", 0, 1)], sock, ["iothread,id=t0", "iothread,id=t1"], mapping, monitor, cpu=None):
        row = bench.rounds(calm=lambda: neighbour(bench, sock, monitor), drained=lambda: neighbour(bench, sock, monitor, drain),
                           reset=lambda: neighbour(bench, sock, monitor, options=["--reset=0:0"]),
                           unplugged=lambda: neighbour(bench, sock, monitor, unplug))
    return {name: {**cells, "p99/calm": cells["p99_us"] / row["calm"]["p99_us"]} for name, cells in row.items()}
