#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what the README promises and writes it down.

Every comparison is taken side by side: the two candidates take turns in one run, and what counts is the ratio of their medians.
Absolute numbers belong to the machine that is described beside them. Nothing here is a test: a slow machine fails nothing.

    bench/figures.py [--build DIR] [--out DIR] [--seconds S] [--rounds N] [--only NAME,…] [--list]

Tables that are not made stay in the results as they are.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import time

import driver_figures
import iopoll_figures
import neighbour_figures
import scsi_figures
import steering_figures
from benchlib import CLIENT_CPU, SERVER_CPU, Bench, add_ratios, fixed_cost, make_image
from report import Store, machine, markdown, plot

SECONDS, ROUNDS = 2, 3  # of a run, and how often each takes its turn


def figure_ring(bench):
    """The ring's own limit, and what is left of it through the whole stack."""
    rows = {}
    for depth in (64, 1):
        sock = bench.socket()
        with bench.ringlaned(["driver=null-co,node-name=disk,size=64G"], [sock], ["iothread,id=t0"], ",iothread=t0") as server:
            seconds = str(bench.args.seconds)
            rows[f"depth {depth}"] = bench.rounds(
                bare=lambda: bench.program("bare_ring", str(depth), seconds, str(CLIENT_CPU), str(SERVER_CPU)),
                stack=lambda: bench.client(sock, server, depth=depth)["iops"])
    for row in rows.values():
        row["stack/bare"] = row["stack"] / row["bare"]
    return rows


def compare_qsd(bench, ours, theirs, rw, depth):
    """Both daemons run, each on the same CPU as the other; only the measured one has anything to do."""
    mine, peer = bench.socket(), bench.socket()
    with bench.ringlaned([ours], [mine], ["iothread,id=t0"], ",iothread=t0") as a, bench.qsd(theirs, peer) as b:
        row = bench.rounds(ringlaned=lambda: bench.client(mine, a, rw, depth), qsd=lambda: bench.client(peer, b, rw, depth),
                           bare=lambda: bench.program("bare_ring", "64", "0.3", str(CLIENT_CPU), str(SERVER_CPU)))
    row["iops ratio"] = row["ringlaned"]["iops"] / row["qsd"]["iops"]
    row["latency ratio"] = row["ringlaned"]["mean_us"] / row["qsd"]["mean_us"]
    return row


def figure_qsd(bench):
    """Against qemu-storage-daemon with the same driver: one CPU for each side, polling client, one IOThread, 4 KiB requests.

    `bare` is the bare ring at depth 64 in the same minute. It tells how near the two CPUs are to each other just then: around 14 M/s they
    share no core; 40 M/s and more when the host has put both virtual CPUs on one core. In that case a polling client gives qemu-storage-daemon
    the next request before it has looked away from the ring, so that it never sleeps, and its latency at depth 1 is ten times better than
    otherwise."""
    images = [bench.tmp / "ours", bench.tmp / "theirs"]
    for image in images:
        make_image(image)
    null = "driver=null-co,node-name=disk,size=68719476736"
    rows = {}
    for rw in ("randread", "randwrite"):
        for depth in (1, 64):
            rows[f"null {rw} depth {depth}"] = compare_qsd(bench, null, null, rw, depth)
            ours, theirs = (f"driver=file,node-name=disk,filename={image}" for image in images)
            rows[f"file {rw} depth {depth}"] = compare_qsd(bench, ours, theirs, rw, depth)
    return rows


def idle_row(bench, sock, server):
    argv = [str(bench.build / "bench/idle_client"), f"vhost-user-blk:{sock}"]
    bench.show(argv)
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"idle\n"
    time.sleep(1.5)  # a source leaves the polled set after a second
    cpu, wakeups = server.cpu_seconds(), server.wakeups()
    time.sleep(1)
    row = {"cpu_ms": (server.cpu_seconds() - cpu) * 1e3, "wakeups": server.wakeups() - wakeups}
    client.communicate(b"")
    return row


def figure_idle(bench):
    """A client is connected, has used its queues and asks for nothing: the daemon's CPU time and wake-ups in one second."""
    mine, peer = bench.socket(), bench.socket()
    rows = {}
    with bench.ringlaned(["driver=null-co,node-name=disk,size=64G"], [mine], cpu=None) as server:
        rows["ringlaned"] = idle_row(bench, mine, server)
    with bench.qsd("driver=null-co,node-name=disk,size=68719476736", peer, cpu=None) as server:
        rows["qemu-storage-daemon"] = idle_row(bench, peer, server)
    return rows


def run_table(bench, kind, iothreads, queues, jobs, depth):
    sock = bench.socket()
    objects = [f"iothread,id=t{i}" for i in range(iothreads)]
    mapping = "".join(f",iothread-vq-mapping.{i}.iothread=t{i}" for i in range(iothreads))
    with bench.ringlaned(fixed_cost(bench, kind), [sock], objects, f",num-queues={queues}{mapping}", cpu=None) as server:
        result = bench.client(sock, server, depth=depth, jobs=jobs, cpus=None, hipri=False, extra=[f"--queues={queues}"])
        return result["iops"]


def figure_iothreads(bench):
    """IOPS by number of IOThreads: 4 queues, 4 jobs, depth 16 each, clients that sleep.

    `cpu`: each request burns 20 us on its IOThread, so an IOThread has at most 50,000 requests per second to give. Two CPUs show the step from one
    IOThread to two; four IOThreads on two CPUs can only show that they cost nothing (QEMU's series, on four, had 189,576 / 312,698 /
    346,744). `latency`: each request takes 100 us somewhere else, as on a disk; one IOThread is enough for that, and more do no harm."""
    return add_ratios({kind: bench.rounds(**{f"{n} IOThreads": (lambda n=n, k=kind: run_table(bench, k, n, 4, 4, 16)) for n in (1, 2, 4)})
                       for kind in ("cpu", "latency")})


def figure_queues(bench):
    """IOPS by number of queues, an IOThread for each, with 1, 2 and 4 jobs of depth 16, clients that sleep; jobs share queues when
    there are fewer.

    The series of 2014 had +33 % with 2 queues instead of 1 at 2 jobs, and +100 % at 4. On two CPUs the cost of the requests (`cpu`, as above) can double
    once; that a third and fourth queue help beyond that cannot be shown here."""
    rows = {}
    for kind in ("cpu", "latency"):
        for jobs in (1, 2, 4):
            rows[f"{kind}, {jobs} jobs"] = bench.rounds(
                **{f"{q} queues": (lambda q=q, j=jobs, k=kind: run_table(bench, k, q, q, j, 16)) for q in (1, 2, 4)})
    return add_ratios(rows)


def figure_lanes(bench):
    """Two lanes on two CPUs against one lane: inside one process, and through the whole stack (client and IOThread share the CPU)."""
    seconds = str(bench.args.seconds)
    rows = {"in process": bench.rounds(**{f"{n} lanes": (lambda n=n: bench.program("lane_bench", f"--lanes={n}", f"--seconds={seconds}"))
                                          for n in (1, 2)})}
    sock = bench.socket()
    objects = [f"iothread,id=t{i},cpus={i},poll-max-ns=0" for i in range(2)]
    mapping = ",num-queues=2,iothread-vq-mapping.0.iothread=t0,iothread-vq-mapping.1.iothread=t1"
    with bench.ringlaned(["driver=null-co,node-name=disk,size=64G"], [sock], objects, mapping, cpu=None) as server:
        rows["whole stack"] = bench.rounds(
            **{f"{n} lanes": (lambda n=n: bench.client(sock, server, depth=64, jobs=n, cpus="0,1" if n == 2 else "0", hipri=False,
                                                       extra=["--queues=2"])["iops"]) for n in (1, 2)})
    for row in rows.values():
        row["2 lanes/1 lane"] = row["2 lanes"] / row["1 lanes"]
    return rows


FIGURES = {"ring": figure_ring, "qsd": figure_qsd, "idle": figure_idle, "iothreads": figure_iothreads, "queues": figure_queues,
           "lanes": figure_lanes, "scsi": scsi_figures.figure_scsi, "scsi-iothreads": scsi_figures.figure_scsi_iothreads,
           "neighbour": neighbour_figures.figure_neighbour, "steering": steering_figures.figure_steering,
           "iopoll": iopoll_figures.figure_iopoll, "flows": iopoll_figures.figure_flows,
           "driver": driver_figures.figure_driver}


PLOTS = {"iothreads": "4 KiB random reads by number of IOThreads", "queues": "4 KiB random reads by number of queues",
         "scsi-iothreads": "virtio-scsi: 4 KiB random reads by number of IOThreads"}


def plot_table(store, name):
    rows = store.rows(name)
    if name in PLOTS:
        plot(store.out, name, PLOTS[name], rows)
    if name == "iopoll":
        iopoll_figures.plot_iopoll(plot, store.out, rows)
    if name == "neighbour":
        rows = {row: {key: cells.get(key, 0) for key in ("p50_us", "p99_us", "apart p99_us")} for row, cells in rows.items()}
        plot(store.out, name, "Latency of LUN B while LUN A is left alone, drained, reset, unplugged; apart: A shares no IOThread", rows, "us")


def make(bench, store, name, options):
    print(f"-- {name}", file=sys.stderr)
    bench.commands, begun = [], time.monotonic()
    rows = FIGURES[name](bench)
    store.put(name, rows=rows, commands=bench.commands, machine=machine(), seconds=round(time.monotonic() - begun), options=options)
    print(markdown(name, FIGURES[name], rows))
    plot_table(store, name)
    store.write_markdown(FIGURES)


def list_tables(store):
    for name, figure in FIGURES.items():
        minutes = f"{store.tables[name]['seconds'] / 60:.1f} min" if store.tables.get(name, {}).get("seconds") else ""
        print(f"{name:16} {minutes:>8}  {' '.join(figure.__doc__.split())[:110]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--out", default=str(pathlib.Path(__file__).parent / "results"))
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default=",".join(FIGURES), help="tables, with commas between; see --list")
    parser.add_argument("--list", action="store_true", help="which tables there are, and how long each took")
    args = parser.parse_args()
    store = Store(args.out, list(FIGURES))
    if args.list:
        return list_tables(store)
    unknown = [name for name in args.only.split(",") if name not in FIGURES]
    if unknown:
        raise SystemExit(f"figures: there is no table {unknown[0]}; there are: {' '.join(FIGURES)}")
    changed = (args.seconds, args.rounds) != (SECONDS, ROUNDS)
    options = f"--seconds {args.seconds} --rounds {args.rounds}" if changed else ""
    bench = Bench(args)
    try:
        for name in args.only.split(","):
            make(bench, store, name, options)
    finally:
        shutil.rmtree(bench.tmp)


if __name__ == "__main__":
    main()
