#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line of ringlaned: what it refuses and how, what it leaves behind, how it starts and ends.

usage: tests/integration/ringlaned_cli.py PATH-OF-RINGLANED
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
from pathlib import Path

import captive
from captive import SECONDS, Case
from process import Process, wait_until
from vhost_user import READ, WRITE, FrontEnd, connect

F_OFD_SETLK = 37  # of Linux; the module knows it only in newer versions
LOCK_TURNS = 10
NULL = ["--blockdev", "null-co,node-name=n0,size=1M"]


def take_inventory(folder):
    """Everything that a refused command line must not change."""
    found = {}
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[path.name] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino, content)
    return found


class Refusals(Case):
    """Each mistake is one line and exit status 1, and changes nothing."""

    def refuse(self, sentence, *options):
        before = take_inventory(self.folder)
        self.assert_refused(sentence, *options)
        self.assertEqual(take_inventory(self.folder), before)

    def file(self, path, more=""):
        return ["--blockdev", f"file,node-name=n0,filename={path}{more}"]

    def test_missing_file_when_opened_then_named(self):
        path = self.folder / "none"
        self.refuse(
            f"--blockdev n0: Could not open '{path}': No such file or directory", *self.file(path), *self.export()
        )

    def test_short_file_when_opened_then_size_is_told(self):
        path = self.make_image(size=100)
        words = f"--blockdev n0: Size of image '{path}' is 100 bytes, which is not a multiple of 512"
        self.refuse(words, *self.file(path), *self.export())

    def test_unaligned_file_when_opened_then_size_is_told(self):
        path = self.make_image(size=(1 << 20) + 100)
        words = f"--blockdev n0: Size of image '{path}' is 1048676 bytes, which is not a multiple of 512"
        self.refuse(words, *self.file(path), *self.export())

    def test_empty_file_when_opened_then_refused(self):
        path = self.make_image(size=0)
        words = f"--blockdev n0: Image '{path}' is empty: a disk needs at least 512 bytes"
        self.refuse(words, *self.file(path), *self.export())

    def test_folder_when_opened_as_file_then_refused(self):
        status, words = self.run_daemon(*self.file(self.folder), *self.export())
        self.assertEqual(status, 1)
        self.assertRegex(words, rf"^ringlaned: --blockdev n0: [^\n]*{self.folder}[^\n]*\n$")

    def test_block_size_when_size_is_no_multiple_then_refused(self):
        path = self.make_image(size=1536)
        options = [*self.file(path), *self.export(more="logical-block-size=4096")]
        status, words = self.run_daemon(*options)
        self.assertEqual(status, 1)
        self.assertRegex(words, r"^ringlaned: --export e0: [^\n]*1536[^\n]*4096[^\n]*\n$")
        self.assertFalse(self.socket.exists())

    def test_block_size_when_no_power_of_two_then_refused(self):
        for size in ("0", "1000", "256", "4M"):
            status, words = self.run_daemon(*NULL, *self.export(more=f"logical-block-size={size}"))
            self.assertEqual(status, 1, size)
            self.assertRegex(words, r"^ringlaned: --export e0: [^\n]*logical[^\n]*\n$")

    def test_window_when_longer_than_node_then_refused(self):
        path = self.make_image()
        options = [*self.file(path), "--blockdev", "raw,node-name=r,file=n0,offset=512K,size=1M", *self.export("r")]
        status, words = self.run_daemon(*options)
        self.assertEqual(status, 1)
        self.assertRegex(words, r"^ringlaned: --blockdev r: [^\n]*'n0'[^\n]*\n$")

    def test_socket_folder_when_missing_then_named(self):
        path = self.folder / "none" / "s"
        words = f"--export e0: cannot bind socket '{path}': No such file or directory"
        self.refuse(words, *NULL, *self.export(path=path))

    def test_socket_path_when_too_long_then_named(self):
        path = self.folder / ("s" * 120)
        words = f"--export e0: socket path '{path}' is longer than 107 bytes, the limit of the system"
        self.refuse(words, *NULL, *self.export(path=path))

    def test_socket_path_when_it_is_a_file_then_file_stays(self):
        path = self.make_image()
        words = f"--export e0: '{path}' exists and is not a socket"
        self.refuse(words, *NULL, *self.export(path=path))

    def test_second_socket_when_it_fails_then_first_is_gone(self):
        second = self.export(path=self.folder / "none" / "t", name="e1", more="num-queues=1")
        self.refuse(
            f"--export e1: cannot bind socket '{self.folder}/none/t': No such file or directory",
            *NULL,
            *self.export(more="num-queues=1"),
            *second,
        )

    def test_pidfile_when_it_fails_then_socket_is_gone(self):
        path = self.folder / "none" / "pid"
        words = f"--pidfile: cannot open '{path}': No such file or directory"
        self.refuse(words, *NULL, *self.export(), "--pidfile", path)

    def test_pidfile_when_of_a_live_daemon_then_refused(self):
        first = self.daemon(*NULL, *self.export())
        path = first.command[-1]
        self.refuse(
            f"--pidfile: '{path}' is that of a process that runs",
            *NULL,
            *self.export(path=self.folder / "t"),
            "--pidfile",
            path,
        )
        self.assertEqual(Path(path).read_text(), f"{first.pid}\n")

    def test_cpu_when_it_does_not_exist_then_named(self):
        status, words = self.run_daemon("--object", "iothread,id=t0,cpus=1023", *NULL, *self.export())
        self.assertEqual(status, 1)
        self.assertRegex(words, r"^ringlaned: --object t0: [^\n]*1023\n$")

    def test_mapping_when_wrong_then_the_sentence_of_qemu(self):
        thread = ["--object", "iothread,id=t0"]
        cases = {
            "num-queues=1,iothread-vq-mapping.0.iothread=t1": 'IOThread "t1" object does not exist',
            "num-queues=2,iothread-vq-mapping.0.iothread=t0,iothread-vq-mapping.0.vqs.0=0": (
                "missing vq 1 IOThread assignment in iothread-vq-mapping"
            ),
            "iothread=t0,iothread-vq-mapping.0.iothread=t0": (
                "iothread and iothread-vq-mapping properties cannot be set at the same time"
            ),
        }
        for keys, sentence in cases.items():
            self.refuse(f"--export e0: {sentence}", *thread, *NULL, *self.export(more=keys))

    def adapter(self, *devices):
        options = ["--export", f"vhost-user-scsi,id=s0,addr.type=unix,addr.path={self.socket},num-queues=2"]
        nodes = [f"null-co,node-name=n{number},size=1M" for number in range(3)]
        options += [word for node in nodes for word in ("--blockdev", node)]
        return options + [word for device in devices for word in ("--device", f"scsi-hd,bus=s0.0,{device}")]

    def test_device_when_its_disk_or_adapter_refuses_then_named(self):
        cases = {
            ("id=d0,drive=n0,serial=" + "x" * 37,): r"--device d0: [^\n]*serial[^\n]*",
            ("id=d0,drive=n0,serial=",): r"--device d0: [^\n]*serial[^\n]*",
            ("id=d0,drive=n0,vendor=123456789",): r"--device d0: [^\n]*vendor[^\n]*",
            ("id=d0,drive=n0,product=12345678901234567",): r"--device d0: [^\n]*product[^\n]*",
            ("id=d0,drive=n0,ver=12345",): r"--device d0: [^\n]*ver[^\n]*",
            ("id=d0,drive=n0,logical_block_size=1000",): r"--device d0: [^\n]*logical_block_size[^\n]*",
            ("id=d0,drive=n0,logical_block_size=1M",): r"--device d0: [^\n]*logical_block_size[^\n]*",
            (f"id=d0,drive=n0,state={self.folder}/none/x",): rf"--device d0: [^\n]*{self.folder}/none/x[^\n]*",
            ("id=d0,drive=n0,scsi-id=1,lun=2", "id=d1,drive=n1,scsi-id=1,lun=2"): r"--device d1: [^\n]*",
            ("id=d0,drive=n0", "id=d1,drive=n1", "id=d2,drive=n2,scsi-id=0,lun=0"): r"--device d2: [^\n]*",
        }
        for devices, pattern in cases.items():
            before = take_inventory(self.folder)
            status, words = self.run_daemon(*self.adapter(*devices))
            self.assertEqual(status, 1, devices)
            self.assertRegex(words, rf"^ringlaned: {pattern}\n$")
            self.assertEqual(take_inventory(self.folder), before)

    def test_monitor_when_its_socket_fails_then_all_others_are_gone(self):
        path = self.folder / "none" / "m"
        words = f"--chardev m: cannot bind socket '{path}': No such file or directory"
        monitor = ["--chardev", f"socket,id=m,path={path},server,nowait", "--monitor", "m"]
        self.refuse(words, *self.adapter("drive=n0"), *monitor)

    def test_second_monitor_when_it_fails_then_first_is_gone(self):
        path = self.folder / "none" / "m"
        first = ["--chardev", f"socket,id=a,path={self.folder}/a", "--monitor", "a"]
        second = ["--chardev", f"socket,id=b,path={path}", "--monitor", "b"]
        self.refuse(f"--chardev b: cannot bind socket '{path}': No such file or directory", *first, *second)

    def test_pidfile_when_it_fails_then_adapter_and_monitor_are_gone(self):
        path = self.folder / "none" / "pid"
        words = f"--pidfile: cannot open '{path}': No such file or directory"
        self.refuse(words, *self.monitor_options(), *self.adapter("drive=n0"), "--pidfile", path)

    def test_every_mistake_when_daemonized_then_still_told(self):
        path = self.folder / "none"
        self.refuse(
            f"--blockdev n0: Could not open '{path}': No such file or directory",
            "--daemonize",
            *self.file(path),
            *self.export(),
        )

    def test_many_words_when_wrong_then_one_line(self):
        lines = [
            [],
            ["--blockdev"],
            ["--blockdev", "file\n,node-name=n0"],
            ["--frob\nfrob"],
            ["--export", '{"type": "vhost-user-blk"'],
            ["--export", "{}"],
            ["--object", ""],
            ["--export", ",,,,,"],
            ["--pidfile", ""],
            [*NULL, *self.export(path="")],
            [*NULL, *self.export(), "--pidfile", ""],
        ]
        for line in lines:
            before = take_inventory(self.folder)
            status, words = self.run_daemon(*line)
            self.assertEqual((status, words.count("\n")), (1, 1), (line, words))
            self.assertTrue(words.startswith("ringlaned: "), words)
            self.assertEqual(take_inventory(self.folder), before)


class Sockets(Case):
    def test_stale_socket_when_started_then_replaced(self):
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(self.socket))
        self.daemon(*NULL, *self.export())
        connect(self.socket).close()

    def test_live_socket_when_started_then_not_stolen(self):
        first = self.daemon(*NULL, *self.export())
        before = self.socket.lstat().st_ino
        self.assert_refused(
            f"--export e0: socket '{self.socket}' is in use by another process", *NULL, *self.export()
        )
        self.assertEqual(self.socket.lstat().st_ino, before)
        with FrontEnd(self.socket) as front:
            self.assertEqual(front.set_up().capacity(), 1 << 20)
        self.assert_ends(first)

    def test_socket_when_replaced_by_another_then_left_alone(self):
        daemon = self.daemon(*NULL, *self.export())
        self.socket.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(self.socket))
            self.assert_ends(daemon)
            self.assertTrue(self.socket.exists())

    def test_listening_fd_when_inherited_then_clients_one_after_another(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.socket))
            listener.listen()
            number = listener.fileno()
            address = f"vhost-user-blk,id=e0,node-name=n0,addr.type=fd,addr.str={number}"
            daemon = self.daemon(*NULL, "--export", address, pass_fds=[number])
        for _ in range(3):
            with FrontEnd(self.socket) as front:
                self.assertEqual(front.set_up().capacity(), 1 << 20)
        self.assert_ends(daemon)

    def test_connected_fd_when_client_goes_then_daemon_ends(self):
        mine, theirs = socket.socketpair()
        path = self.make_image()
        daemon = self.daemon("--fd", theirs.fileno(), "--blk-file", path, pass_fds=[theirs.fileno()])
        theirs.close()
        with FrontEnd(mine) as front:
            ring = front.set_up().start()
            self.assertEqual(ring.run(WRITE, 0, b"x" * 512)[0], 0)
            self.assertEqual(ring.run(READ, 0, room=512), (0, b"x" * 512))
        self.assertEqual(daemon.wait(SECONDS), 0)


class Images(Case):
    def start(self, path, name, writable):
        options = ["--blockdev", f"file,node-name=n0,filename={path}"]
        return [*options, *self.export(path=self.folder / name, more=f"writable={writable}")]

    def test_image_when_two_daemons_write_then_second_is_refused(self):
        path = self.make_image()
        self.daemon(*self.start(path, "s", "on"))
        status, words = self.run_daemon(*self.start(path, "t", "on"))
        self.assertEqual(status, 1)
        self.assertRegex(words, rf"^ringlaned: --blockdev n0: [^\n]*lock[^\n]*{path}[^\n]*\n$")
        self.assertFalse((self.folder / "t").exists())

    def test_image_when_two_daemons_read_then_both_may(self):
        path = self.make_image()
        self.daemon(*self.start(path, "s", "off"))
        self.daemon(*self.start(path, "t", "off"))

    def test_image_when_its_lock_is_let_go_soon_then_taken(self):
        """As that of a daemon that was killed: the kernel may hold its files a little longer. It is waited for a second, in which this
        test may not have its turn."""
        path = self.make_image()
        for _ in range(LOCK_TURNS):
            holder = os.open(path, os.O_RDWR)
            deny_writing = struct.pack("@hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 201, 1, 0)
            fcntl.fcntl(holder, F_OFD_SETLK, deny_writing)
            daemon = self.daemon(*self.start(path, "s", "on"), wait=False)
            wait_until(lambda: self.has_open(daemon, path) or not daemon.is_running(), SECONDS, "the image is opened")  # noqa: B023
            os.close(holder)
            ready = lambda: daemon.is_ready(Path(daemon.command[-1]))  # noqa: B023, E731
            wait_until(lambda: not daemon.is_running() or ready(), SECONDS, "the daemon listens or ends")  # noqa: B023
            if daemon.is_running():
                return
            self.assertIn("lock", daemon.read_log())
        self.fail("a lock that is let go is not waited for")

    def has_open(self, daemon, path):
        folder = f"/proc/{daemon.pid}/fd"
        with contextlib.suppress(FileNotFoundError):
            return any(os.readlink(f"{folder}/{name}") == str(path) for name in os.listdir(folder))
        return False

    def test_image_when_nobody_may_write_it_then_it_can_be_read(self):
        path = self.make_image()
        path.chmod(0o444)
        self.daemon(*self.start(path, "s", "off"))
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            self.assertEqual(ring.run(READ, 0, room=512)[0], 0)
            self.assertEqual(ring.run(WRITE, 0, b"x" * 512)[0], 1)


class Lines(Case):
    """Command lines that qemu-storage-daemon takes are taken here too, and mean the same."""

    def write_line(self, path):
        node = {"driver": "raw", "node-name": "n1", "file": "n0", "offset": 65536, "read-only": False}
        address = {"type": "unix", "path": str(self.folder / "t")}
        export = {"type": "vhost-user-blk", "id": "e1", "node-name": "n1", "writable": True, "addr": address}
        keys = "cache.direct=off,cache.no-flush=off,discard=unmap,locking=auto,aio=io_uring,auto-read-only=off,read-only=off"
        return [
            *("--object", "iothread,id=t0,poll-max-ns=1000,poll-grow=2,poll-shrink=2"),
            *("--blockdev", f"driver=file,node-name=n0,filename={path},{keys}"),
            *("--blockdev", json.dumps(node)),
            *("--export", json.dumps({**export, "num-queues": 2, "logical-block-size": 512, "iothread": "t0"})),
        ]

    def read_capacity(self, program, name):
        path = self.make_image(name)
        pidfile = self.folder / f"{name}.pid"  # written when the socket listens
        process = Process([program, *self.write_line(path), "--pidfile", pidfile], self.folder / f"{name}.log")
        self.addCleanup(process.kill)
        wait_until(lambda: pidfile.exists() or not process.is_running(), SECONDS, "the pid file")
        self.assertTrue(process.is_running(), process.read_log())
        with FrontEnd(self.folder / "t") as front:
            ring = front.set_up().start()
            self.assertEqual(ring.run(WRITE, 1, b"same" * 128)[0], 0)
            capacity = front.capacity()
        self.assertEqual(process.stop(), 0)
        return capacity, path.read_bytes()

    def test_line_of_qemu_storage_daemon_when_given_then_does_the_same(self):
        other = shutil.which("qemu-storage-daemon")
        if not other:
            self.skipTest("qemu-storage-daemon is not installed")
        ours = self.read_capacity(captive.PROGRAM, "ours")
        self.assertEqual(ours[0], (1 << 20) - 65536)
        self.assertEqual(self.read_capacity(other, "theirs"), ours)


class Life(Case):
    def test_daemonize_when_it_returns_then_everything_listens(self):
        pidfile = self.folder / "pid"
        path = self.make_image()
        status, words = self.run_daemon(
            "--daemonize", "--pidfile", "pid", "--blk-file", path.name, "--socket-path", "s"
        )
        self.assertEqual((status, words), (0, ""))
        pid = int(pidfile.read_text())
        self.addCleanup(self.kill_if_there, pid)
        with FrontEnd(self.socket) as front:
            self.assertEqual(front.set_up().capacity(), 1 << 20)
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        self.assertEqual(os.readlink(f"/proc/{pid}/fd/2"), "/dev/null")
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not pidfile.exists() and not self.socket.exists(), SECONDS, "the daemon cleans up")

    def test_pidfile_when_stale_then_replaced(self):
        (self.folder / "old").write_text("99999999\n")
        done = self.daemon(*NULL, *self.export(), "--pidfile", self.folder / "old")
        self.assert_ends(done)

    def test_killed_daemon_when_started_again_then_nothing_is_in_its_way(self):
        path, pidfile = self.make_image(), self.folder / "pid"
        line = [captive.PROGRAM, "--pidfile", pidfile, "--blk-file", path, "--socket-path", self.socket]
        for _ in range(3):
            process = Process(line, self.folder / "log")
            self.addCleanup(process.kill)
            ready = lambda: pidfile.exists() and pidfile.read_text() == f"{process.pid}\n"  # noqa: B023, E731
            self.assertTrue(wait_until(lambda: ready() or not process.is_running(), SECONDS, "the daemon listens"))
            self.assertTrue(process.is_running(), process.read_log())
            with FrontEnd(self.socket) as front:
                self.assertEqual(front.set_up().capacity(), 1 << 20)
                process.kill()
        self.assertEqual(process.read_log(), "")

    def test_sigint_when_idle_then_ends_and_removes_files(self):
        daemon = self.daemon(*NULL, *self.export())
        daemon.send(signal.SIGINT)
        self.assertEqual(daemon.wait(SECONDS), 0)
        self.assertFalse(self.socket.exists())
        self.assertFalse(Path(daemon.command[-1]).exists())
        self.assertEqual(daemon.read_log(), "")

    def test_stdin_and_stdout_when_closed_then_not_mistaken_for_files(self):
        path = self.make_image()
        pidfile = self.folder / "pid"
        command = f'exec "{captive.PROGRAM}" --blk-file "{path}" --socket-path "{self.socket}" --pidfile "{pidfile}" 0<&- 1<&- 2<&-'
        child = subprocess.Popen(["sh", "-c", command])
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        wait_until(pidfile.exists, SECONDS, "the pid file")
        with FrontEnd(self.socket) as front:
            self.assertEqual(front.set_up().capacity(), 1 << 20)
        self.assertEqual(os.readlink(f"/proc/{child.pid}/fd/0"), "/dev/null")


class Words(Case):
    def run_for_words(self, *options):
        done = subprocess.run([captive.PROGRAM, *options], text=True, capture_output=True, timeout=SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_capabilities_when_printed_then_as_the_convention_says(self):
        words = self.run_for_words("--print-capabilities", "--blk-file", "none")
        self.assertEqual(json.loads(words), {"type": "block", "features": ["read-only", "blk-file"]})

    def test_version_when_asked_then_one_line(self):
        self.assertRegex(self.run_for_words("--version"), r"^ringlaned \d+\.\d+\.\d+\n$")

    def test_help_when_asked_for_one_kind_then_only_its_keys(self):
        words = self.run_for_words("--export", "help")
        self.assertIn("iothread-vq-mapping=", words)
        self.assertNotIn("poll-max-ns", words)
        words = self.run_for_words("--device", "help")
        self.assertIn("scsi-id=", words)
        self.assertNotIn("iothread-vq-mapping", words)
        self.assertIn("path=", self.run_for_words("--chardev", "help"))
        self.assertIn("pretty=", self.run_for_words("--monitor", "help"))


if __name__ == "__main__":
    captive.main()
