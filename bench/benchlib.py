# SPDX-License-Identifier: MIT
"""What the figures are made with: a daemon on a CPU of its own, a load, rounds in which candidates take turns."""
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

CLIENT_CPU, SERVER_CPU = 0, 1


class Server:
    """A back end of its own, pinned to a CPU (or not), that listens when the constructor returns."""

    def __init__(self, argv, sockets, cpu=SERVER_CPU):
        pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
        self.argv = argv
        self.process = subprocess.Popen(pin + argv)
        deadline = time.monotonic() + 10
        while not all(os.path.exists(s) for s in sockets):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"figures: {argv[0]} did not start")
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:  # qemu-storage-daemon 7.2 does not always end
            self.process.kill()
            self.process.wait()

    def _tasks(self):
        return pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()

    def cpu_seconds(self):
        return sum(int((t / "schedstat").read_text().split()[0]) for t in self._tasks()) / 1e9

    def wakeups(self):
        """How often its threads were put on a CPU."""
        return sum(int((t / "schedstat").read_text().split()[2]) for t in self._tasks())


class Bench:
    def __init__(self, args):
        self.args = args
        self.build = pathlib.Path(args.build)
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="ringlane-bench."))
        self.commands = []
        self.serial = 0

    def socket(self):
        self.serial += 1
        return str(self.tmp / f"s{self.serial}")

    def ringlaned(self, blockdevs, sockets, objects=(), export="", cpu=SERVER_CPU, node="disk"):
        argv = []
        for blockdev in blockdevs:
            argv += ["--blockdev", blockdev]
        for obj in objects:
            argv += ["--object", obj]
        writable = "" if "writable=" in export else ",writable=on"
        for i, sock in enumerate(sockets):
            argv += ["--export", f"type=vhost-user-blk,id=e{i},node-name={node},addr.type=unix,addr.path={sock}{writable}{export}"]
        return self.daemon(argv, sockets, cpu)

    def daemon(self, options, sockets, cpu=SERVER_CPU):
        return Server([str(self.build / "src/daemon/ringlaned"), *options], sockets, cpu)

    def show(self, argv):
        """The command as a person would type it, beside the figures."""
        shown = " ".join(argv).replace(str(self.tmp), "/run").replace(str(self.build) + "/src/tools/", "").replace(
            str(self.build) + "/bench/", "")
        shown = re.sub(r"/run/s\d+", "/run/disk", shown)
        if shown not in self.commands:
            self.commands.append(shown)

    def qsd(self, blockdev, sock, cpu=SERVER_CPU):
        argv = ["qemu-storage-daemon", "--object", "iothread,id=t0", "--blockdev", blockdev,
                "--export", f"type=vhost-user-blk,id=e0,node-name=disk,addr.type=unix,addr.path={sock},writable=on,iothread=t0"]
        return Server(argv, [sock], cpu)

    def client(self, sock, server, rw="randread", depth=64, jobs=1, cpus=str(CLIENT_CPU), hipri=True, extra=()):
        """One run of `ringlane bench`: IOPS, latency, CPU seconds per million requests of both sides."""
        argv = [str(self.build / "src/tools/ringlane"), "bench", f"vhost-user-blk:{sock}", f"--rw={rw}", "--bs=4k",
                f"--iodepth={depth}", f"--numjobs={jobs}", f"--runtime={self.args.seconds}", "--time_based", "--output-format=json",
                *extra]
        if cpus:
            argv.append(f"--cpus_allowed={cpus}")
        if hipri:
            argv.append("--hipri")
        self.show(argv)
        before = server.cpu_seconds()
        out = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
        server_cpu = server.cpu_seconds() - before
        sides = [job[d] for job in out["jobs"] for d in ("read", "write") if job[d]["total_ios"]]
        total = sum(s["total_ios"] for s in sides)
        worst = max(sides, key=lambda s: s["clat_ns"]["percentile"]["99.000000"])["clat_ns"]
        usage = sum((j["usr_cpu"] + j["sys_cpu"]) / 100 * j["job_runtime"] / 1000 for j in out["jobs"])
        return {"iops": sum(s["iops"] for s in sides), "mean_us": worst["mean"] / 1e3,
                "p50_us": worst["percentile"]["50.000000"] / 1e3, "p99_us": worst["percentile"]["99.000000"] / 1e3,
                "server_cpu_s_per_M": server_cpu / total * 1e6, "client_cpu_s_per_M": usage / total * 1e6}

    def program(self, name, *argv):
        self.show([name, *argv])
        return float(subprocess.run([str(self.build / "bench" / name), *argv], check=True, stdout=subprocess.PIPE).stdout)

    def rounds(self, **candidates):
        """Runs the candidates in turn, `rounds` times; each returns a dict (or a number); medians come back."""
        results = {name: [] for name in candidates}
        for _ in range(self.args.rounds):
            for name, run in candidates.items():
                results[name].append(run())
        return {name: median(r) for name, r in results.items()}


def median(samples):
    if isinstance(samples[0], dict):
        return {k: statistics.median(s[k] for s in samples) for k in samples[0]}
    return statistics.median(samples)


def add_ratios(rows):
    """Each column beside the first, as a share of it: `2 queues/1`."""
    for row in rows.values():
        first, *others = row
        row.update({f"{other}/{first.split()[0]}": row[other] / row[first] for other in others})
    return rows


def make_image(path, size=256 << 20, block=4096):
    """A file that is in the page cache, in pages of 4 KiB as a guest's random accesses leave it: a cache of large folios makes a
    4 KiB write ten times as expensive inside ext4, which then hides whoever calls it."""
    path.write_bytes(os.urandom(1 << 20) * (size >> 20))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for offset in range(0, size, block):
        os.pread(fd, block, offset)
    os.close(fd)


def fixed_cost(bench, kind):
    if kind == "cpu":
        return ["driver=null-co,node-name=bottom,size=64G", "driver=delay,node-name=disk,file=bottom,busy-ns=20000"]
    return ["driver=null-co,node-name=disk,size=64G,latency-ns=100000"]
