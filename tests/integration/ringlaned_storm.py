#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Disks, adapters and sizes change by many commands while clients come, work and go: each request and command is answered, and the daemon ends well.

What meets what is chance: a seed says who does what, not when. The other suites test what must come of it; this one looks for what nobody thought of,
above all in the builds that watch memory and threads.

usage: tests/integration/ringlaned_storm.py PATH-OF-RINGLANED
"""

import random
import struct
import threading
import traceback

import captive
from captive import SECONDS, Case
from vhost_user import READ, WRITE, FrontEnd, ScsiFrontEnd

MIB = 1 << 20
WINDOWS = 4  # of one image, 1 MiB each
BLOCKS = MIB // 512
COMMANDS = 3000  # of each of the two who give commands
TARGETS = 4
DEVICES = 3
ATTRIBUTES = (0, 0, 0, 1, 2)  # SIMPLE, ORDERED, HEAD OF QUEUE

SANITIZE, EXCLUSIVE, RESERVE, FLUSH, STOP_OR_START, OTHER = range(6)


def other_command(rng):
    """No read and no write: (CDB, data)."""
    kind = rng.randrange(6)
    if kind == SANITIZE and rng.random() < 0.1:
        return bytes([0x48, 0x82]) + bytes(8), b""
    if kind == EXCLUSIVE:  # COMPARE AND WRITE
        return bytes([0x89]) + bytes(12) + bytes([1, 0, 0]), bytes(1024)
    if kind == RESERVE:
        action, scope_type = rng.randrange(7), rng.choice((1, 3, 5, 6, 7, 8))
        keys = struct.pack(">QQ", rng.randrange(3), rng.randrange(3)) + bytes(8)
        return struct.pack(">BBBHIB", 0x5F, action, scope_type, 0, 24, 0), keys
    if kind == FLUSH:
        return bytes([0x35]) + bytes(9), b""
    if kind == STOP_OR_START:
        return bytes([0x1B, 0, 0, 0, rng.random() < 0.9, 0]), b""
    return bytes([rng.choice((0x00, 0x03, 0x12, 0x16, 0x17, 0x25, 0xA0))]) + bytes(11), b""


def put_scsi(rng, ring):
    where = {"target": rng.randrange(TARGETS), "lun": rng.randrange(2), "attribute": rng.choice(ATTRIBUTES)}
    lba, kind = rng.randrange(BLOCKS), rng.random()
    if kind < 0.3:
        ring.put_command(struct.pack(">BBIBHB", 0x28, 0, lba, 0, 4, 0), room=2048, **where)
    elif kind < 0.6:
        ring.put_command(struct.pack(">BBIBHB", 0x2A, 0, lba, 0, 4, 0), b"s" * 2048, **where)
    else:
        ring.put_command(*other_command(rng), **where)


def put_blk(rng, ring):
    if rng.random() < 0.5:
        ring.put(READ, rng.randrange(BLOCKS), room=512)
    else:
        ring.put(WRITE, rng.randrange(BLOCKS), b"b" * 512)


def work(rng, rings, put):
    """Some requests in one ring, all of which are answered."""
    ring = rng.choice(rings)
    for _ in range(rng.randrange(1, 8)):
        put(rng, ring)
    ring.kick()
    ring.wait(ring.next)


def scsi_session(path, rng):
    with ScsiFrontEnd(path, queues=2) as front:
        rings = front.start_all()
        for _ in range(4):
            front.events.put_event()
        for _ in range(rng.randrange(1, 60)):
            work(rng, rings, put_scsi)
            if rng.random() < 0.3:
                front.control.manage(rng.randrange(8), tag=rng.randrange(60), target=rng.randrange(TARGETS), lun=rng.randrange(2))
        if rng.random() < 0.3:  # leaves with requests in flight
            put_scsi(rng, rings[0])
            rings[0].kick()


def blk_session(path, rng):
    with FrontEnd(path, rings=2) as front:
        front.set_up()
        rings = [front.start(0), front.start(1)]
        for _ in range(rng.randrange(1, 60)):
            work(rng, rings, put_blk)


class Storm(Case):
    def setUp(self):
        super().setUp()
        self.over = threading.Event()
        self.failures, self.sessions, self.done = [], 0, {}
        self.count_lock = threading.Lock()

    def path(self, name):
        return self.folder / name

    def options(self):
        image = self.make_image(size=WINDOWS * MIB)
        options = ["--object", "iothread,id=t0", "--object", "iothread,id=t1"]
        options += ["--blockdev", f"file,node-name=image,filename={image},discard=unmap"]
        options += ["--blockdev", "delay,node-name=slow,file=image,latency-ns=1000000"]
        for i in range(WINDOWS):
            options += ["--blockdev", f"raw,node-name=w{i},file=slow,offset={i}M,size=1M"]
        return options

    def adapter(self, name):
        mapping = [{"iothread": "t0"}, {"iothread": "t1"}]
        return {"type": "vhost-user-scsi", "id": name, "addr": {"type": "unix", "path": str(self.path(name))}, "num-queues": 2,
                "iothread-vq-mapping": mapping}

    def disk(self, i):
        return {"type": "vhost-user-blk", "id": f"b{i}", "node-name": f"w{i}", "writable": True, "num-queues": 2,
                "addr": {"type": "unix", "path": str(self.path(f"b{i}"))}, "iothread": "t1"}

    def guarded(self, function, *arguments):
        """A thread that tells the test what went wrong."""
        def run():
            try:
                function(*arguments)
            except Exception:  # noqa: BLE001: whatever it is, it is the test's to tell
                self.failures.append(traceback.format_exc())
                self.over.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def client(self, session, name, rng):
        while not self.over.is_set():
            try:
                session(self.path(name), rng)
            except (ConnectionError, FileNotFoundError):  # its export is away, or went
                self.over.wait(0.002)
            with self.count_lock:
                self.sessions += 1

    def command(self, monitor, name, **arguments):
        """Whether it was accepted; a refusal is an answer too."""
        try:
            monitor.run(name, **arguments)
        except RuntimeError:
            return False
        with self.count_lock:
            self.done[name] = self.done.get(name, 0) + 1
        return True

    def one_command(self, monitor, rng):
        i, bus = rng.randrange(WINDOWS), f"s{rng.randrange(2)}"
        place = {"scsi-id": rng.randrange(TARGETS), "lun": rng.randrange(2)} if rng.random() < 0.7 else {}
        kind = rng.randrange(10)
        if kind < 3:
            self.command(monitor, "device_add", driver="scsi-hd", id=f"d{rng.randrange(DEVICES)}", drive=f"w{i}", bus=f"{bus}.0",
                         **{"share-rw": True}, **place)
        elif kind < 5:
            self.command(monitor, "device_del", id=f"d{rng.randrange(DEVICES)}")
        elif kind < 7:
            self.command(monitor, "block_resize", **{"node-name": rng.choice(("image", "slow")), "size": rng.randrange(1, WINDOWS + 1) * MIB})
        elif kind == 7:
            self.command(monitor, "block-export-add", **rng.choice((self.disk(i), self.adapter(bus))))
        elif kind == 8 and rng.random() < 0.3:
            self.command(monitor, "block-export-del", id=rng.choice((f"b{i}", bus)), mode="hard")
        else:
            self.command(monitor, rng.choice(("query-block-exports", "query-iothreads", "query-named-block-nodes")))

    def commands(self, rng):
        monitor = self.connect_monitor()
        for _ in range(COMMANDS):
            if self.over.is_set():
                return
            self.one_command(monitor, rng)

    def run_storm(self, seed):
        daemon, monitor = self.with_monitor(*self.options())
        for name in ("s0", "s1"):
            self.assertTrue(self.command(monitor, "block-export-add", **self.adapter(name)))
        sessions = [(scsi_session, "s0"), (scsi_session, "s1"), (blk_session, "b0"), (blk_session, "b1")]
        clients = [self.guarded(self.client, *session, random.Random(f"{seed} {i}")) for i, session in enumerate(sessions)]
        operators = [self.guarded(self.commands, random.Random(f"{seed} operator {i}")) for i in range(2)]
        for thread in operators:
            thread.join()
        self.over.set()
        for thread in clients:
            thread.join(2 * SECONDS)
        self.assertFalse(self.failures, "\n".join([*self.failures, daemon.read_log()]))
        self.assertFalse([thread for thread in clients if thread.is_alive()], "a client waits")
        for name in ("device_add", "device_del", "block_resize", "block-export-add", "block-export-del"):
            self.assertGreater(self.done.get(name, 0), 0, (name, self.done))
        self.assertGreater(self.sessions, 4)
        self.assertTrue(self.command(monitor, "block_resize", **{"node-name": "image", "size": MIB}))
        self.assertEqual((self.folder / "image").stat().st_size, MIB)
        self.assert_ends(daemon)

    def test_storm_when_first_seed_then_all_is_answered(self):
        self.run_storm(1)

    def test_storm_when_second_seed_then_all_is_answered(self):
        self.run_storm(2)


if __name__ == "__main__":
    captive.main()
