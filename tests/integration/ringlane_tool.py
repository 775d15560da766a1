#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ringlane`, the library and the example on a disk of a real daemon, and what the command line refuses.

usage: tests/integration/ringlane_tool.py BUILD-DIRECTORY ringlaned|qemu-storage-daemon
"""

import errno
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from process import Process, wait_until  # noqa: E402

SECONDS = 60
SKIP = 77
SIZE = 16 << 20
BUILD, DAEMON = Path(), ""


def tool(*words, seconds=SECONDS):
    command = [str(BUILD / "src/tools/ringlane"), *map(str, words)]
    return subprocess.run(command, text=True, capture_output=True, timeout=seconds)


class Case(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="ringlane-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.image = self.folder / "image"
        self.socket = self.folder / "socket"
        self.uri = f"vhost-user-blk:{self.socket}"
        self.daemon = None

    def serve(self, size=SIZE, writable=True, queues=2, more="", filters=()):
        with self.image.open("wb") as file:
            file.truncate(size)
        pidfile = self.folder / "pid"
        mode = "off" if writable else "on"
        command = [DAEMON, "--pidfile", pidfile]
        command += ["--blockdev", f"driver=file,node-name=n,filename={self.image},discard=unmap,read-only={mode}"]
        command += [word for keys in filters for word in ("--blockdev", keys)]
        node = "top" if filters else "n"
        export = f"type=vhost-user-blk,id=e,node-name={node},addr.type=unix,addr.path={self.socket}"
        command += ["--export", export + f",writable={'on' if writable else 'off'},num-queues={queues}{more}"]
        self.daemon = Process(command, self.folder / "log")
        self.addCleanup(self.daemon.kill)

        def is_ready():
            if not self.daemon.is_running():
                raise AssertionError(f"the daemon ended: {self.daemon.read_log()}")
            return pidfile.exists() and pidfile.read_text().strip()

        wait_until(is_ready, SECONDS, "the daemon listens")

    def run_ok(self, *words):
        done = tool(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def run_bad(self, *words, status=1):
        """One line on the standard error."""
        done = tool(*words)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        return done.stderr.strip()

    def bench(self, *words):
        return self.run_ok("bench", self.uri, *words)

    def bench_json(self, *words):
        return json.loads(self.bench("--output-format=json", *words))


class Refusals(Case):
    """No daemon needed: each mistake is one line that names the culprit."""

    def test_words_when_wrong_then_one_line_each(self):
        uri = "vhost-user-blk:/nowhere/s"
        cases = [
            ([], "ringlane: a command is wanted"),
            (["bend"], "ringlane: there is no command 'bend'"),
            (["bench"], "ringlane bench: a URI is wanted"),
            (["bench", "disk.sock"], "ringlane bench: 'disk.sock' is no disk's URI"),
            (["bench", uri], "ringlane bench: cannot connect to '/nowhere/s'"),
            (["bench", uri, "two"], "ringlane bench: 'two' is one argument too many"),
            (["bench", uri, "--ioengine=libaio"], "ringlane bench: there is no option --ioengine"),
            (["bench", uri, "-x"], "ringlane bench: there is no option -x"),
            (["bench", uri, "--rw=trim"], "ringlane bench: --rw=trim: there are read write randread"),
            (["bench", uri, "--bs=4x"], "ringlane bench: --bs=4x: a size such as 4k is wanted"),
            (["bench", uri, "--bs=1000"], "ringlane bench: --bs=1000 is no multiple of 512"),
            (["bench", uri, "--bs=-1"], "ringlane bench: --bs=-1: a size"),
            (["bench", uri, "--size=99999999999t"], "ringlane bench: --size=99999999999t is out of range"),
            (["bench", uri, "--iodepth=0"], "ringlane bench: --iodepth=0 is out of range"),
            (["bench", uri, "--iodepth"], "ringlane bench: --iodepth needs a value"),
            (["bench", uri, "--hipri=yes"], "ringlane bench: --hipri takes no value but 0 and 1"),
            (["bench", uri, "--runtime=ten"], "ringlane bench: --runtime=ten: a time"),
            (["bench", uri, "--time_based"], "ringlane bench: --time_based needs --runtime"),
            (["bench", uri, "--verify=md5"], "ringlane bench: --verify=md5: there are none crc32c"),
            (["bench", uri, "--verify_only"], "ringlane bench: --verify_only needs --verify"),
            (["bench", uri, "--weight=8"], "ringlane bench: --policy, --iopoll, --weight, --reapers, --timeout, --replay and --poll-queues are"),
            (["bench", uri, "--poll-queues=1"], "ringlane bench: --policy, --iopoll, --weight, --reapers, --timeout, --replay and --poll-queues are"),
            (["bench", uri, "--managed", "--policy=x"], "ringlane bench: --policy=x: there are default sticky"),
            (["info"], "ringlane info: a URI is wanted"),
            (["info", "x:y"], "ringlane info: 'x:y' is no disk's URI"),
            (["info", uri, "--bs=4k"], "ringlane info: there is no option --bs"),
        ]
        for words, sentence in cases:
            with self.subTest(words=words):
                self.assertTrue(self.run_bad(*words).startswith(sentence), self.run_bad(*words))

    def test_help_and_version_when_asked_then_status_0(self):
        self.assertRegex(self.run_ok("--version"), r"^ringlane \d+\.\d+\.\d+\n$")
        for words in (["--help"], ["bench", "--help"], ["info", "--help"], ["bench", "x", "--rw=read", "-h"]):
            self.assertIn("usage: ringlane", self.run_ok(*words))


class Info(Case):
    def test_info_when_asked_then_both_forms_agree(self):
        self.serve(queues=2)
        words, facts = self.run_ok("info", self.uri), json.loads(self.run_ok("info", self.uri, "--output-format=json"))
        self.assertEqual(facts["capacity"], SIZE)
        self.assertEqual(facts["queues"], 2)
        self.assertFalse(facts["read-only"])
        self.assertTrue(facts["serial"])
        self.assertIn("VERSION_1", facts["features"])
        self.assertIn("CONFIG", facts["protocol-features"])
        self.assertIn(f"{SIZE} bytes", words)
        self.assertRegex(words, rf"(?m)^serial +{facts['serial']}$")
        self.assertRegex(words, r"(?m)^features .*VERSION_1")

    def test_info_when_read_only_then_it_says_so(self):
        self.serve(writable=False)
        self.assertTrue(json.loads(self.run_ok("info", self.uri, "--output-format=json"))["read-only"])
        self.assertIn("read-only", self.run_ok("info", self.uri))


class Disk(Case):
    def test_library_when_used_in_every_way_then_right(self):
        self.serve(queues=2)
        done = subprocess.run(
            [BUILD / "tests/integration/driver_disk_test", self.uri], text=True, capture_output=True, timeout=3 * SECONDS
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_example_when_run_then_the_block_is_in_the_image(self):
        self.serve()
        done = subprocess.run([BUILD / "examples/hello", self.uri], text=True, capture_output=True, timeout=SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(self.image.read_bytes().startswith(b"hello, disk\0rrr"))

    def test_reading_example_when_run_then_it_prints_the_first_bytes(self):
        self.serve()
        with self.image.open("r+b") as file:
            file.write(bytes(range(256)) * 16 + b"not these")
        done = subprocess.run([BUILD / "examples/hello_read", self.uri], capture_output=True, timeout=SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(done.stdout, bytes(range(256)) * 16)

    def test_managed_example_when_run_then_each_thread_has_written_its_part(self):
        self.serve(queues=2)
        done = subprocess.run([BUILD / "examples/many_queues", self.uri], text=True, capture_output=True, timeout=SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.image.read_bytes()[: 1 << 20], b"".join(bytes([c]) * (256 << 10) for c in b"abcd"))
        counts = [int(line.split()[2]) for line in done.stdout.splitlines()]
        self.assertEqual(sum(counts), 2 * 4 * 64)

    def test_daemon_when_it_dies_then_bench_ends(self):
        self.serve()
        words = ["bench", self.uri, "--rw=randread", "--iodepth=4", "--runtime=1h", "--time_based"]
        for poll in (["--hipri"], [], ["--managed"]):
            bench = subprocess.Popen(
                [BUILD / "src/tools/ringlane", *words, *poll], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            self.addCleanup(bench.kill)
            wait_until(lambda: self.has_threads(bench.pid), SECONDS, "the job runs")
            self.daemon.kill()
            self.assertIn("the back end is gone", bench.communicate(timeout=SECONDS)[1])
            self.assertEqual(bench.returncode, 1)
            self.socket.unlink(missing_ok=True)
            (self.folder / "pid").unlink(missing_ok=True)
            self.serve()

    def has_threads(self, pid):
        return len(os.listdir(f"/proc/{pid}/task")) > 1


class Bench(Case):
    def test_kinds_when_run_then_all_requests_are_counted(self):
        self.serve()
        blocks = SIZE // 4096
        for rw in ("read", "write", "randread", "randwrite", "rw", "randrw"):
            job = self.bench_json(f"--rw={rw}", "--iodepth=8")["jobs"][0]
            counts = job["read"]["total_ios"], job["write"]["total_ios"]
            self.assertEqual(sum(counts), blocks, rw)
            self.assertEqual(counts[0] == 0, "write" in rw, rw)
            self.assertEqual(counts[1] == 0, "read" in rw, rw)
            if rw.endswith("rw"):
                self.assertTrue(0.4 < counts[0] / blocks < 0.6, counts)

    def test_mix_when_chosen_then_kept(self):
        self.serve()
        job = self.bench_json("--rw=randrw", "--rwmixread=90", "--iodepth=8")["jobs"][0]
        self.assertTrue(0.87 < job["read"]["total_ios"] / (SIZE // 4096) < 0.93)

    def test_region_when_chosen_then_nothing_else_is_written(self):
        self.serve()
        with self.image.open("r+b") as file:
            file.write(b"\x55" * SIZE)
        self.bench("--rw=randwrite", "--bs=64k", "--offset=1m", "--size=2m", "--verify=crc32c", "--iodepth=4")
        data = self.image.read_bytes()
        self.assertEqual(data[: 1 << 20], b"\x55" * (1 << 20))
        self.assertEqual(data[3 << 20 :], b"\x55" * (13 << 20))
        self.assertNotIn(b"\x55" * 65536, data[1 << 20 : 3 << 20])

    def test_jobs_when_more_than_queues_then_they_share(self):
        self.serve(queues=2)
        for queues, poll in ((1, []), (2, []), (1, ["--hipri"]), (1, ["--poll-ns=50000"])):
            words = ["--rw=randrw", "--numjobs=4", f"--queues={queues}", "--iodepth=4", "--size=2m", *poll]
            jobs = self.bench_json(*words, "--verify=crc32c")["jobs"]
            self.assertEqual([job["error"] for job in jobs], [0] * 4)
            self.assertEqual(len(jobs), 4)
        merged = self.bench_json(*words, "--group_reporting")["jobs"]
        self.assertEqual(len(merged), 1)
        self.assertEqual(merged[0]["read"]["total_ios"] + merged[0]["write"]["total_ios"], 4 * 512)

    def test_jobs_when_managed_then_all_is_verified(self):
        self.serve(queues=2)
        ways = [
            [],
            ["--policy=sticky", "--iopoll=adaptive"],
            ["--policy=single", "--iopoll=off", "--hipri"],
            ["--policy=least-loaded", "--weight=1", "--reapers=1", "--poll-ns=50000"],
        ]
        for way in ways:
            words = ["--managed", *way, "--rw=randwrite", "--numjobs=3", "--iodepth=16", "--verify=crc32c"]
            with self.subTest(way=way):
                jobs = self.bench_json(*words)["jobs"]
                self.assertEqual([job["error"] for job in jobs], [0] * 3)
                self.assertEqual(sum(job["write"]["total_ios"] for job in jobs), SIZE // 4096 // 3 * 3)
        report = self.bench("--managed", "--queues=1", "--rw=randread", "--iodepth=8")
        self.assertRegex(report, r"(?m)^Managed: 1 queues, 1 reapers, 0 requests held, \d+ flows moved$")
        self.assertRegex(report, rf"(?m)^  queue  0: reaper=0, submitted={SIZE // 4096}, ")

    def test_jobs_when_queues_are_polled_then_all_is_verified(self):
        self.serve(queues=3)
        for queues, polled in ((2, 1), (3, 2)):
            words = ["--managed", f"--queues={queues}", f"--poll-queues={polled}", "--rw=randwrite", f"--numjobs={polled}", "--iodepth=16"]
            with self.subTest(queues=queues):
                report = self.bench(*words, "--verify=crc32c")
                self.assertRegex(report, rf"(?m)^Managed: {queues} queues, {polled} of them polled, \d+ reapers, ")
                self.assertNotIn("queue  0: ", report)  # that has nothing to do
                self.assertRegex(report, rf"(?m)^  queue  [{queues - polled}-{queues - 1}]: polled, deputy=0, submitted=")
        failed = self.run_bad("bench", self.uri, "--managed", "--queues=1", "--poll-queues=1")
        self.assertEqual(failed, "ringlane bench: 1 poll queues of 1: at least one must have an interrupt")

    def test_what_the_disk_cannot_when_asked_then_one_line(self):
        self.serve(queues=2, more=",logical-block-size=4096")
        cases = [
            (["--queues=3"], "--queues=3: the disk has 2"),
            (["--size=17m"], "reach beyond"),
            (["--offset=16m"], "too few"),
            (["--bs=512"], "blocks of 4096 bytes"),
            (["--iodepth=341", "--numjobs=2", "--queues=1"], "takes 341 requests"),
            (["--iodepth=100", "--queue-size=64"], "takes 21 requests"),
            (["--queue-size=100"], "power of two"),
            (["--cpus_allowed=1000"], "CPU 1000"),
            (["--cpus_allowed=x"], "no CPU list"),
            (["--output=/nowhere/x", "--time_based=1", "--runtime=1h"], "--output=/nowhere/x"),
        ]
        for words, sentence in cases:
            with self.subTest(words=words):
                self.assertIn(sentence, self.run_bad("bench", self.uri, *words))

    def test_read_only_disk_when_written_then_refused(self):
        self.serve(writable=False)
        self.assertIn("read-only", self.run_bad("bench", self.uri, "--rw=write"))
        self.bench("--rw=read", "--size=1m")

    def test_runtime_when_over_then_what_was_measured_fits_it(self):
        self.serve()
        for ramp in ([], ["--ramp_time=100ms"]):
            job = self.bench_json("--rw=randread", "--time_based", "--runtime=2s", "--hipri", *ramp)["jobs"][0]
            side = job["read"]
            self.assertGreaterEqual(side["runtime"], 2000)
            self.assertAlmostEqual(side["iops"] * side["runtime"] / 1e3 / side["total_ios"], 1, delta=0.01)

    def test_interrupt_when_sent_then_a_report_comes(self):
        self.serve()
        bench = subprocess.Popen(
            [BUILD / "src/tools/ringlane", "bench", self.uri, "--runtime=1h", "--time_based"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(bench.kill)
        wait_until(lambda: len(os.listdir(f"/proc/{bench.pid}/task")) > 1, SECONDS, "the job runs")
        bench.send_signal(signal.SIGINT)
        self.assertIn("Run status", bench.communicate(timeout=SECONDS)[0])
        self.assertEqual(bench.returncode, 0)

    def test_interrupt_when_sent_again_then_a_daemon_that_hangs_does_not_matter(self):
        self.serve()
        words = [BUILD / "src/tools/ringlane", "bench", self.uri, "--runtime=1h", "--time_based", "--no-progress"]
        bench = Process(words, self.folder / "bench")
        self.addCleanup(bench.kill)
        wait_until(lambda: len(os.listdir(f"/proc/{bench.pid}/task")) > 1, SECONDS, "the job runs")
        os.kill(self.daemon.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, self.daemon.pid, signal.SIGCONT)
        wait_until(lambda: self.is_stopped(self.daemon.pid), SECONDS, "all threads of the daemon stand still")
        for _ in range(2):
            os.kill(bench.pid, signal.SIGINT)
            wait_until(lambda: not bench.is_running() or self.has_none_pending(bench.pid), SECONDS, "the signal is taken")
        self.assertEqual(bench.wait(SECONDS), -signal.SIGINT)

    def is_stopped(self, pid):
        return all("\nState:\tT" in status.read_text() for status in Path(f"/proc/{pid}/task").glob("*/status"))

    def has_none_pending(self, pid):
        """The bit of SIGINT in what the process still has to take."""
        pending = re.search(r"(?m)^ShdPnd:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text())
        return not int(pending[1], 16) >> (signal.SIGINT - 1) & 1

    def test_output_when_a_file_then_the_report_is_there(self):
        self.serve()
        path = self.folder / "report"
        self.assertEqual(self.bench("--size=1m", f"--output={path}"), "")
        self.assertIn("IOPS=", path.read_text())

    def test_progress_when_on_a_terminal_then_shown_and_wiped(self):
        self.serve()
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        words = ["bench", self.uri, "--time_based", "--runtime=600s"]
        bench = subprocess.Popen([BUILD / "src/tools/ringlane", *words], stdout=subprocess.DEVNULL, stderr=slave)
        self.addCleanup(bench.wait)
        self.addCleanup(bench.kill)
        os.close(slave)
        shown = self.show_until(master, r"bench: 1 jobs \[ *\d+\.\d%\] .*k IOPS, .*eta \d\d:\d\d ")
        bench.terminate()
        shown += self.show_until(master, None)
        self.assertEqual(bench.wait(SECONDS), 0)
        self.assertTrue(shown.endswith("\r\x1b[K"), shown)

    def show_until(self, master, pattern):
        """Until the pattern is there, or the end. A terminal hands over what was written in pieces, and says EIO when nobody has it
        open any more."""
        shown = b""
        while not pattern or not re.search(pattern, shown.decode()):
            self.assertTrue(select.select([master], [], [], SECONDS)[0], shown)
            try:
                shown += os.read(master, 65536)
            except OSError as error:
                self.assertEqual((error.errno, pattern), (errno.EIO, None), shown)
                break
        return shown.decode()


class Verify(Case):
    WORDS = ("--rw=randwrite", "--iodepth=8", "--numjobs=2", "--verify=crc32c")

    def setUp(self):
        super().setUp()
        self.serve(size=4 << 20)
        self.bench(*self.WORDS)

    def check_bad(self, sentence):
        words = self.run_bad("bench", self.uri, *self.WORDS, "--verify_only", "--output=/dev/null")
        self.assertIn(sentence, words)
        self.assertIn("the block is not what was written", words)

    def patch(self, offset, data):
        with self.image.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def test_data_when_sound_then_verified_again(self):
        self.bench(*self.WORDS, "--verify_only")
        self.bench("--rw=read", "--verify=crc32c", "--iodepth=4")
        self.bench("--rw=randread", "--verify=crc32c", "--size=2m")

    def test_data_when_read_again_and_again_then_not_beyond_the_size(self):
        self.patch(1 << 20, bytes(3 << 20))
        for rw in ("read", "randread"):
            words = (f"--rw={rw}", "--verify=crc32c", "--size=1m", "--time_based", "--runtime=1h", "--no-progress")
            bench = Process([BUILD / "src/tools/ringlane", "bench", self.uri, *words], self.folder / "bench")
            self.addCleanup(bench.kill)
            wait_until(lambda: not bench.is_running() or self.count_ticks(bench.pid) > 30, SECONDS, "it has read all of it")
            self.assertEqual(bench.stop(), 0, bench.read_log())

    def count_ticks(self, pid):
        """CPU time; each block takes some microseconds."""
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))

    def test_blocks_when_written_by_the_next_run_then_different(self):
        """So that a write that is lost is not taken for done because the run before had the same options."""
        before = self.image.read_bytes()
        self.bench(*self.WORDS)
        after = self.image.read_bytes()
        self.assertEqual([n for n in range(0, 4 << 20, 4096) if before[n : n + 4096] == after[n : n + 4096]], [])

    def test_data_when_one_bit_is_wrong_then_found(self):
        byte = self.image.read_bytes()[123 * 4096 + 4095]
        self.patch(123 * 4096 + 4095, bytes([byte ^ 1]))
        self.check_bad(f"read at {123 * 4096}: the block is not what was written: its CRC is wrong")

    def test_data_when_a_block_is_lost_then_found(self):
        self.patch(7 * 4096, bytes(4096))
        self.check_bad(f"read at {7 * 4096}: the block is not what was written: it was never written")

    def test_data_when_a_block_is_misplaced_then_found(self):
        self.patch(8 * 4096, self.image.read_bytes()[9 * 4096 : 10 * 4096])
        self.check_bad(f"read at {8 * 4096}: the block is not what was written: it belongs to another offset")

    def test_passes_when_many_then_each_is_verified(self):
        words = ("--rw=randrw", "--iodepth=8", "--verify=crc32c", "--size=64k", "--time_based", "--runtime=1h", "--output-format=json")
        report = self.folder / "report"
        bench = Process([BUILD / "src/tools/ringlane", "bench", self.uri, *words, f"--output={report}"], self.folder / "bench")
        self.addCleanup(bench.kill)
        wait_until(lambda: not bench.is_running() or self.count_ticks(bench.pid) > 30, SECONDS, "many passes are over")
        self.assertEqual(bench.stop(), 0, bench.read_log())
        job = json.loads(report.read_text())["jobs"][0]
        self.assertEqual(job["error"], 0)
        self.assertTrue(job["write"]["total_ios"] > 16, "one pass only")


class Failures(Case):
    """What ringlaned's filters do to requests, seen from the bench."""

    def setUp(self):
        super().setUp()
        if not DAEMON.endswith("ringlaned"):
            self.skipTest("ringlaned's filters are needed")

    def test_request_when_it_fails_then_the_run_ends_and_names_it(self):
        self.serve(filters=["driver=error,node-name=top,file=n,offset=8192,bytes=4096"])
        for poll in ([], ["--hipri"]):
            for jobs in ([], ["--numjobs=2", "--queues=1"], ["--managed", "--numjobs=2"]):
                words = self.run_bad("bench", self.uri, "--rw=read", "--iodepth=4", "--output=/dev/null", *poll, *jobs)
                self.assertRegex(words, r"^ringlane bench: job \d: read at 8192: Input/output error$")

    def test_report_when_a_request_fails_then_it_has_the_error(self):
        self.serve(filters=["driver=error,node-name=top,file=n,every=100"])
        done = tool("bench", self.uri, "--rw=read", "--output-format=json")
        job = json.loads(done.stdout)["jobs"][0]
        self.assertEqual((done.returncode, job["error"], job["read"]["total_ios"]), (1, 5, 99))

    def test_latency_when_added_then_measured(self):
        self.serve(filters=["driver=delay,node-name=top,file=n,latency-ns=2000000"])
        job = self.bench_json("--rw=read", "--size=40k")["jobs"][0]
        self.assertGreaterEqual(job["read"]["clat_ns"]["min"], 2000000)
        self.assertEqual(sum(job["latency_us"].values()) + sum(job["latency_ns"].values()) + job["latency_ms"]["2"], 0)
        self.assertAlmostEqual(sum(job["latency_ms"].values()), 100, delta=0.01)

    def test_requests_when_they_take_too_long_then_the_report_says_what_was_done(self):
        self.serve(filters=["driver=delay,node-name=top,file=n,latency-ns=300000000"])
        words = ["--managed", "--queues=1", "--rw=randread", "--size=4k"]
        wait_until(lambda: self.was_looked_at(*words, "--timeout=50ms"), SECONDS, "somebody looks before the request is over")
        self.assertFalse(self.was_looked_at(*words))

    def was_looked_at(self, *words):
        """Only when there was time for it."""
        report = self.bench(*words)
        self.assertNotIn("not given back", report)
        return re.search(r"(?m)^  looks at a ring: [1-9]\d*$", report) is not None


class Layout(Case):
    """Programs that read fio's reports find the same keys."""

    def list_keys(self, value, path=""):
        if not isinstance(value, dict):
            return {path: type(value).__name__}
        keys = {}
        for key, inner in value.items():
            keys.update(self.list_keys(inner, f"{path}/{key}"))
        return keys

    @unittest.skipUnless(shutil.which("fio"), "fio is missing")
    def test_json_when_compared_with_fio_then_keys_and_types_agree(self):
        self.serve()
        command = ["fio", "--name=x", "--ioengine=null", "--size=4m", "--rw=randrw", "--output-format=json"]
        theirs = json.loads(subprocess.run(command, text=True, capture_output=True, check=True, timeout=SECONDS).stdout)
        ours = self.bench_json("--rw=randrw", "--iodepth=2")
        left_out = r"/(job options|sync|iodepth_\w+)"
        expected = {k: t for k, t in self.list_keys(theirs["jobs"][0]).items() if not re.search(left_out, k)}
        found = self.list_keys(ours["jobs"][0])
        self.assertEqual({k: t for k, t in expected.items() if found.get(k) != t}, {})
        self.assertEqual({k for k in theirs if k not in ours}, set())

    def test_json_when_summed_then_numbers_agree(self):
        self.serve()
        job = self.bench_json("--rw=randread", "--iodepth=4", "--bs=8k")["jobs"][0]
        side = job["read"]
        self.assertEqual(side["io_bytes"], side["total_ios"] * 8192)
        self.assertEqual(side["clat_ns"]["N"], side["total_ios"])
        percentiles = [side["clat_ns"]["percentile"][key] for key in sorted(side["clat_ns"]["percentile"], key=float)]
        self.assertEqual(percentiles, sorted(percentiles))
        steps = [share for unit in "num" for share in job[f"latency_{unit}s"].values()]
        self.assertAlmostEqual(sum(steps), 100, delta=0.01)
        self.assertTrue(side["clat_ns"]["min"] <= percentiles[0] and percentiles[-1] <= side["clat_ns"]["max"])


if __name__ == "__main__":
    BUILD, name = Path(sys.argv[1]).resolve(), sys.argv[2]
    DAEMON = str(BUILD / "src/daemon/ringlaned") if name == "ringlaned" else shutil.which(name)
    if not DAEMON or not Path(DAEMON).exists():
        print(f"{name} is missing")
        sys.exit(SKIP)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
