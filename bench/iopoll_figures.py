# SPDX-License-Identifier: MIT
"""The managed way of use: how completions are polled, how queues share a reaper, what flows and local completion make of it."""
import json
import subprocess

from benchlib import CLIENT_CPU, SERVER_CPU

WAYS = {**{f"weight {n}": ["--iopoll=on", f"--weight={n}"] for n in (1, 2, 4, 8, 16, 32, 64)},
        "off": ["--iopoll=off"], "adaptive": ["--iopoll=adaptive"]}
SECONDS = "0.25"
BASE = "weight 32"


def run(bench, sock, *options):
    argv = [str(bench.build / "bench/iopoll_bench"), f"vhost-user-blk:{sock}", f"--seconds={SECONDS}", *options]
    bench.show(argv)
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)


def null_disk(bench, sock):
    return bench.ringlaned(["driver=null-co,node-name=disk,size=64G"], [sock], [f"iothread,id=t0,cpus={SERVER_CPU}"],
                           ",num-queues=8,iothread=t0")


def iopoll_rows(bench, sock, queues, depth):
    shape = [f"--queues={queues}", f"--depth={depth}", f"--cpus={CLIENT_CPU}"]
    cells = bench.rounds(**{way: (lambda o=options: run(bench, sock, *shape, *o)) for way, options in WAYS.items()})
    return {f"{queues} × {depth}, {way}": {
        "IOPS": row["iops"], f"of {BASE}": row["iops"] / cells[BASE]["iops"], "p50 us": row["p50_us"], "p99 us": row["p99_us"],
        "CPU": row["cpu"], "largest/smallest share": row["share_ratio"], "interrupts per 1000": row["interrupts_per_k"],
        "kicks per 1000": row["kicks_per_k"]} for way, row in cells.items()}


def figure_iopoll(bench):
    """One reaper, 1 or 8 queues × depth 1, 8 or 64 requests in flight in each: 4 KiB reads of a null disk, the next one submitted by the
    callback of the last. The reaper has one CPU, the daemon the other.

    `weight N`: the interrupt schedules a poll, queues take turns of at most N completions. `off`: each interrupt drains its queue.
    `adaptive`: polls on while completions are dense, one interrupt for several otherwise. CPU is what the driver's process used, 1 is one CPU.
    The share is that of the queue with most completions over that of the queue with fewest."""
    sock = bench.socket()
    rows = {}
    with null_disk(bench, sock):
        for queues in (1, 8):
            for depth in (1, 8, 64):
                rows.update(iopoll_rows(bench, sock, queues, depth))
    return rows


def figure_flows(bench):
    """Threads that submit and sleep until reapers tell them, depth 8 each: ordered flows that stay in their queue while they are busy
    (sticky) against requests that go to the queue of the CPU (per-cpu); and completion by a reaper on the submitter's CPU against one on
    the other CPU, which is also the daemon's: with two CPUs there is no third for either."""
    sock = bench.socket()
    shape = ["--queues=2", "--depth=8"]
    rows = {}
    with null_disk(bench, sock):
        for threads in (1, 2):
            cells = bench.rounds(**{policy: (lambda p=policy, t=threads: run(bench, sock, *shape, f"--threads={t}", f"--policy={p}")["iops"])
                                    for policy in ("sticky", "per-cpu")})
            rows[f"{threads} threads, IOPS"] = {"a": cells["sticky"], "b": cells["per-cpu"], "a/b": cells["sticky"] / cells["per-cpu"]}
        local = [*shape, "--threads=1", f"--submit-cpu={CLIENT_CPU}"]
        cells = bench.rounds(here=lambda: run(bench, sock, *local, f"--cpus={CLIENT_CPU}"),
                             there=lambda: run(bench, sock, *local, f"--cpus={SERVER_CPU}"))
    for key, name in (("iops", "IOPS"), ("p50_us", "p50 us"), ("cpu", "CPU")):
        here, there = cells["here"][key], cells["there"][key]
        rows[f"completed by the same CPU (a) or another (b), {name}"] = {"a": here, "b": there, "a/b": here / there}
    return rows


def plot_iopoll(plot, out, rows):
    """Two charts of the same runs, each relative to what is in its title."""
    shapes = list(dict.fromkeys(row.split(", ")[0] for row in rows))
    plot(out, "iopoll", f"IOPS by queues × depth, {BASE} is 100",
         {shape: {way: 100 * rows[f"{shape}, {way}"][f"of {BASE}"] for way in WAYS} for shape in shapes}, "%")
    plot(out, "iopoll-share", "Share of the luckiest queue, the unluckiest is 100",
         {shape: {way: 100 * rows[f"{shape}, {way}"]["largest/smallest share"] for way in WAYS} for shape in shapes if shape[0] != "1"}, "%")
