# SPDX-License-Identifier: MIT
"""What LUN B notices while LUN A is drained, reset or unplugged. The load is bench/disk_load; see figures.py for how figures are taken and written down.
"""
import json
import os
import socket
import statistics
import threading
import time

from scsi_figures import load

PER_S = 100  # of the rows that are not as fast as can be
LATENCY_NS = 200000


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


class Disturbance:
    """Does something to a LUN, again and again, until the load has ended."""

    def __init__(self, monitor, act, lun, per_s):
        self.qmp, self.act, self.lun, self.per_s = Qmp(monitor), act, lun, per_s
        self.stop, self.count = threading.Event(), 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        due = time.monotonic()
        while not self.stop.is_set():
            self.act(self.qmp, self.lun)
            self.count += 1
            if self.per_s:
                due += 1 / self.per_s
                time.sleep(max(0, due - time.monotonic()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.qmp.close()


def drain(qmp, lun, sizes={}):
    """A resize drains the LUN, whatever the size is."""
    sizes[lun] = (3 << 30) - sizes.get(lun, 1 << 30)
    qmp("block_resize", **{"node-name": lun, "size": sizes[lun]})


def unplug(qmp, lun):
    qmp("device_del", id=f"dev-{lun}")
    qmp.wait_event("DEVICE_DELETED")
    qmp("device_add", **{"driver": "scsi-hd", "id": f"dev-{lun}", "drive": lun, "bus": BUSES[lun], "scsi-id": 0, "lun": 0})


BUSES = {"a": "hba0.0", "b": "hba0.0", "d": "hba0.0", "c": "hba1.0"}
PLACES = {"a": "0:0", "b": "1:0", "d": "0:1", "c": "0:0"}  # target:LUN
SAME_TARGET = "unplugged, same target"
ACTS = {"drained": drain, "unplugged": unplug, SAME_TARGET: unplug}


def run(bench, world, what, per_s, apart):
    """Latency of B (or D) in a run in which `what` is done to A, or to C. The load does resets itself."""
    socks = world["socks"][::-1] if apart else world["socks"][:1]
    place = PLACES["d" if what == SAME_TARGET else "b"]
    options = ["--scsi=0:0", f"--scsi={place}", "--jobs=2", "--depth=4", "--sleep", "--tolerate"]
    started = time.monotonic()
    if what in ACTS:
        with Disturbance(world["monitor"], ACTS[what], "c" if apart else "a", per_s) as disturbance:
            told = load(bench, socks, *options)
        times = disturbance.count / (time.monotonic() - started)
    else:
        resets = ["--reset=0:0", f"--resets-per-s={per_s:.0f}"] if what == "reset" else []
        told = load(bench, socks, *options, *resets)
        times = told["resets"] / bench.args.seconds
    a, b = told["jobs"]
    if told["failed_resets"]:
        raise SystemExit(f"figures: {told['failed_resets']} resets were refused")
    if not b["p99_us"]:
        raise SystemExit("figures: B has read nothing: the machine stood still")
    return {"p50_us": b["p50_us"], "p99_us": b["p99_us"], "iops": b["iops"], "iops_of_A": a["iops"], "times_per_s": times}


def daemon(bench):
    """hba0 shows A, B and D, hba1 shows C; an IOThread for each of their four queues."""
    world = {"socks": [bench.socket(), bench.socket()], "monitor": bench.socket()}
    argv = []
    for i in range(4):
        argv += ["--object", f"iothread,id=t{i}"]
    for name in BUSES:
        image = bench.tmp / f"lun-{name}"
        image.touch()
        os.truncate(image, 1 << 30)
        argv += ["--blockdev", f"driver=file,node-name={name}-file,filename={image}",
                 "--blockdev", f"driver=delay,node-name={name},file={name}-file,latency-ns={LATENCY_NS}"]
    for i, sock in enumerate(world["socks"]):
        argv += ["--export", f"type=vhost-user-scsi,id=hba{i},addr.type=unix,addr.path={sock},num-queues=2,"
                 f"iothread-vq-mapping.0.iothread=t{2 * i},iothread-vq-mapping.1.iothread=t{2 * i + 1}"]
    for name, bus in BUSES.items():
        target, lun = PLACES[name].split(":")
        argv += ["--device", f"scsi-hd,id=dev-{name},drive={name},bus={bus},scsi-id={target},lun={lun}"]
    argv += ["--chardev", f"socket,id=m,path={world['monitor']},server=on,wait=off", "--monitor", "chardev=m"]
    return world, bench.daemon(argv, [*world["socks"], world["monitor"]], None)


def figure_neighbour(bench):
    """Latency of LUN B of an adapter while LUN A of the same adapter is left alone, drained (resized), reset or hot-unplugged and plugged again in a loop;
    both have four 4 KiB reads in flight from clients that sleep, each LUN's disk answers after 200 us, each queue has an IOThread of its own.
    Wanted: p99 of B unchanged within noise.

    `apart` is the same minute's control: the same load and the same operations as often, but A is a LUN of another adapter with IOThreads of
    its own, which shares with B nothing but the machine: two CPUs for clients, IOThreads, the daemon's main thread, and the process that disturbs.
    So p99/apart is what the adapter does to B, and p99/calm has in it what anything does that keeps the CPUs as busy. `noise` is the largest
    p99 of the rounds over the smallest, of both. The rows go as fast as answers come, or do it a hundred times in a second.

    A and B are different targets. In `same target` they are two LUNs of one: then the standard wants B's initiator to be told of each change by a
    unit attention: for each unplug and each plug one command of B is refused, and the driver sends it again."""
    world, server = daemon(bench)
    plans = [("calm", 0)] + [(what, per_s) for per_s in (0, PER_S) for what in ("drained", "reset", "unplugged", SAME_TARGET)]
    taken = {plan: [] for plan in plans}
    with server:
        for _ in range(bench.args.rounds):
            for what, per_s in plans:
                together = run(bench, world, what, per_s, False)
                apart = run(bench, world, what, per_s or together["times_per_s"], True)
                taken[what, per_s].append((together, apart))
    return {f"{what} {per_s} per s" if per_s else what: summary(taken[what, per_s], taken["calm", 0]) for what, per_s in plans}


def spread(values):
    return max(values) / min(values)


def summary(taken, calm):
    together, apart = zip(*taken)
    row = {key: statistics.median(run[key] for run in together) for key in together[0]}
    p99s, apart_p99s = ([run["p99_us"] for run in runs] for runs in (together, apart))
    row["apart p99_us"] = statistics.median(apart_p99s)
    row["apart times_per_s"] = statistics.median(run["times_per_s"] for run in apart)
    row["p99/calm"] = row["p99_us"] / statistics.median(run["p99_us"] for run, _ in calm)
    row["p99/apart"] = row["p99_us"] / row["apart p99_us"]
    row["noise"] = max(spread(p99s), spread(apart_p99s))
    return row
