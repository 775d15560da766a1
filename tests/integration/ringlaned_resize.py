#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""block_resize of disks that are in use: what lies beyond the new end has been finished before the file is cut, later ones are refused.

usage: tests/integration/ringlaned_resize.py PATH-OF-RINGLANED
"""

import threading

import captive
from captive import SECONDS, Case
from process import wait_until
from vhost_user import READ, TRANSPORT_RESET, WRITE, FrontEnd, ScsiFrontEnd

LARGE, SMALL = 4 << 20, 1 << 20
BEYOND, INSIDE = 6000, 100  # sectors
IN_FLIGHT = 8  # of a ring
OK, IOERR = 0, 1
ROUNDS, ROUNDS_MAX = 6, 100
A_WHILE_NS = 2_000_000_000  # a request that has been begun is in flight a little later, mostly
LONG_NS = 6_000_000_000  # for what must be done while one is in flight


def resize(monitor, size):
    monitor.run("block_resize", **{"node-name": "slow", "size": size})


class Resize(Case):
    """The node passes each request on after a while, so that one which is not waited for lands in the file when that has been cut."""

    def disk(self, latency_ns):
        self.image = self.make_image(size=LARGE)
        return [
            *("--blockdev", f"file,node-name=image,filename={self.image}"),
            *("--blockdev", f"delay,node-name=slow,file=image,latency-ns={latency_ns}"),
        ]

    def file_size(self):
        return self.image.stat().st_size

    def put_writes(self, rings):
        numbers = [(ring, ring.put(WRITE, BEYOND, b"x" * 512)) for ring in rings for _ in range(IN_FLIGHT)]
        for ring in rings:
            ring.kick()
        return numbers

    def test_disk_when_cut_under_load_then_no_request_lands_beyond_the_end(self):
        daemon, monitor = self.with_monitor(*self.disk(20_000_000), *self.export("slow"))
        seen = []
        with FrontEnd(self.socket, rings=4) as front:
            front.set_up()
            rings = [front.start(index) for index in range(4)]
            for number in range(ROUNDS_MAX):
                if number >= ROUNDS and OK in seen:
                    break
                numbers = self.put_writes(rings)
                resize(monitor, SMALL)
                self.assertEqual(self.file_size(), SMALL)
                for ring in rings:
                    ring.wait(ring.next)
                seen += [ring.status(number) for ring, number in numbers]
                self.assertEqual(rings[0].run(WRITE, BEYOND, b"x" * 512)[0], IOERR)
                self.assertEqual(rings[1].run(WRITE, INSIDE, b"y" * 512)[0], OK)
                self.assertEqual(self.file_size(), SMALL)
                self.assertEqual(front.capacity(), SMALL)
                resize(monitor, LARGE)
                self.assertEqual(rings[2].run(READ, BEYOND, room=512), (OK, bytes(512)))
        self.assertLessEqual(set(seen), {OK, IOERR})
        self.assertIn(OK, seen)  # some were in flight when it was cut
        self.assert_ends(daemon)

    def test_lun_when_cut_under_load_then_no_request_lands_beyond_the_end(self):
        adapter = f"vhost-user-scsi,id=e0,addr.type=unix,addr.path={self.socket},num-queues=2"
        _, monitor = self.with_monitor(
            *self.disk(20_000_000), "--export", adapter, "--device", "scsi-hd,drive=slow,bus=e0.0,scsi-id=0,lun=0"
        )
        with ScsiFrontEnd(self.socket, queues=2) as front:
            rings = front.start_all()
            for _ in range(ROUNDS):
                rings[0].settle()
                write = [0x2A, 0, 0, 0, BEYOND >> 8, BEYOND & 255, 0, 0, 1, 0]
                numbers = [(ring, ring.put_command(write, b"x" * 512)) for ring in rings for _ in range(IN_FLIGHT)]
                for ring in rings:
                    ring.kick()
                resize(monitor, SMALL)
                self.assertEqual(self.file_size(), SMALL)
                for ring in rings:
                    ring.wait(ring.next)
                rings[0].settle()
                answers = [ring.answer(number) for ring, number in numbers]
                # good, the attention, or LBA OUT OF RANGE
                self.assertLessEqual({answer.attention for answer in answers}, {None, (6, 0x2A, 9), (5, 0x21, 0)})
                self.assertEqual(rings[1].write(BEYOND, b"x" * 512).attention, (5, 0x21, 0))
                self.assertEqual(self.file_size(), SMALL)
                resize(monitor, LARGE)

    def begin_resize(self, size):
        """The thread waits for the end; the beginning is over when this returns."""
        monitor = self.connect_monitor()
        monitor.begin("block_resize", **{"node-name": "slow", "size": size})
        thread = threading.Thread(target=monitor.finish, args=("block_resize",))
        thread.start()
        return thread

    def count_taken(self, monitor):
        """Requests that the export has begun since its client came, whether they have ended or not."""
        (export,) = [export for export in monitor.run("query-block-exports") if export["id"] == "e0"]
        return sum(queue["in-flight"] + queue["requests"] for queue in export["queues"])

    def begin(self, monitor, ring):
        """All that has been put into the client's rings; this one must be told."""
        ring.kick()
        put = sum(each.next for each in ring.front.rings)
        wait_until(lambda: self.count_taken(monitor) == put, SECONDS, "the requests are taken")

    def test_other_exports_when_one_is_drained_then_served(self):
        """One that was stopped too would never be served before the resize is done."""
        other = self.folder / "other"
        nodes = ["--blockdev", "null-co,node-name=quick,size=1M"]
        _, monitor = self.with_monitor(
            *self.disk(A_WHILE_NS), *nodes, *self.export("slow"), *self.export("quick", other, "e1")
        )
        with FrontEnd(self.socket) as front, FrontEnd(other) as neighbour:
            ring, beside = front.set_up().start(), neighbour.set_up().start()
            for size in (SMALL, LARGE) * 5:
                ring.put(READ, INSIDE, room=512)
                self.begin(monitor, ring)
                thread = self.begin_resize(size)
                for _ in range(50):
                    self.assertEqual(beside.run(READ, 0, room=512)[0], OK)
                before = thread.is_alive()
                thread.join()
                self.assertEqual(self.file_size(), size)
                if before:
                    return
        self.fail("the neighbour was never served while the disk was drained")

    def windows(self):
        """One is used when the disk is cut, the other one comes meanwhile and lies beyond the new end."""
        return [
            *self.disk(LONG_NS),
            *("--blockdev", "raw,node-name=low,file=slow,size=512K"),
            *("--blockdev", "raw,node-name=high,file=slow,offset=2M,size=1M"),
        ]

    def begin_cut(self, monitor, ring):
        """Of the disk under both: it goes on until a request of the low one is done."""
        self.begin(monitor, ring)
        return self.begin_resize(SMALL)

    def finish_cut(self, thread):
        self.assertTrue(thread.is_alive(), "the disk was cut before the other one was used")
        thread.join()

    def test_export_when_added_while_its_disk_is_drained_then_held_and_refused(self):
        other = self.folder / "other"
        _, monitor = self.with_monitor(*self.windows(), *self.export("low"))
        with FrontEnd(self.socket) as front:
            used = front.set_up().start()
            used.put(WRITE, INSIDE, b"l" * 512)
            thread = self.begin_cut(monitor, used)
            self.add_export(monitor, "e1", other)
            with FrontEnd(other) as late:
                ring = late.set_up().start()
                number = ring.put(WRITE, 0, b"h" * 512)
                ring.kick()
                self.finish_cut(thread)
                used.wait(1)
                ring.wait(1)
                self.assertEqual((used.status(0), ring.status(number)), (OK, IOERR))
                self.assertEqual(self.file_size(), SMALL)
                resize(monitor, LARGE)
                self.assertEqual(ring.run(WRITE, 0, b"h" * 512)[0], OK)

    def add_export(self, monitor, name, path):
        address = {"type": "unix", "path": str(path)}
        options = {"type": "vhost-user-blk", "id": name, "node-name": "high", "writable": True, "addr": address}
        monitor.run("block-export-add", **options)

    def test_export_when_added_and_removed_while_drained_then_gone_afterwards(self):
        other = self.folder / "other"
        daemon, monitor = self.with_monitor(*self.windows(), *self.export("low"))
        with FrontEnd(self.socket) as front:
            used = front.set_up().start()
            used.put(WRITE, INSIDE, b"l" * 512)
            thread = self.begin_cut(monitor, used)
            self.add_export(monitor, "e1", other)
            with FrontEnd(other) as late:
                late.set_up().start().put(WRITE, 0, b"h" * 512)
                late.rings[0].kick()
                monitor.run("block-export-del", id="e1", mode="hard")
                self.finish_cut(thread)
            monitor.wait_event("BLOCK_EXPORT_DELETED", id="e1")
            self.assertEqual(self.file_size(), SMALL)
        self.assert_ends(daemon)

    def test_lun_when_added_while_its_disk_is_drained_then_held_and_refused(self):
        adapter = f"vhost-user-scsi,id=e0,addr.type=unix,addr.path={self.socket},num-queues=2"
        low = "scsi-hd,drive=low,bus=e0.0,scsi-id=0,lun=0"
        _, monitor = self.with_monitor(*self.windows(), "--export", adapter, "--device", low)
        write = [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        with ScsiFrontEnd(self.socket, queues=2) as front:
            used, late = front.start_all()
            used.settle()
            low = used.put_command(write, b"l" * 512)
            thread = self.begin_cut(monitor, used)
            monitor.run("device_add", driver="scsi-hd", id="late", drive="high", bus="e0.0", lun=1, **{"scsi-id": 0})
            numbers = [late.put_command(write, b"h" * 512, lun=1) for _ in range(IN_FLIGHT)]
            late.kick()
            self.finish_cut(thread)
            used.wait(used.next)
            late.wait(late.next)
            self.assertEqual(used.answer(low).outcome, (0, 0))
            # the attention of a LUN that is new, then MEDIUM or HARDWARE ERROR
            keys = [(late.answer(number).attention or [None])[0] for number in numbers]
            self.assertEqual((keys[0], set(keys[1:]) <= {3, 4}), (6, True), keys)
            self.assertEqual(self.file_size(), SMALL)
            resize(monitor, LARGE)
            late.settle(lun=1)
            self.assertEqual(late.write(0, b"h" * 512, lun=1).outcome, (0, 0))

    def test_lun_when_added_and_removed_while_drained_then_gone_afterwards(self):
        adapter = f"vhost-user-scsi,id=e0,addr.type=unix,addr.path={self.socket},num-queues=2"
        low = "scsi-hd,drive=low,bus=e0.0,scsi-id=0,lun=0"
        daemon, monitor = self.with_monitor(*self.windows(), "--export", adapter, "--device", low)
        with ScsiFrontEnd(self.socket, queues=2) as front:
            used, _ = front.start_all()
            used.settle()
            used.put_command([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], b"l" * 512)
            thread = self.begin_cut(monitor, used)
            monitor.run("device_add", driver="scsi-hd", id="late", drive="high", bus="e0.0")
            monitor.run("device_del", id="late")
            self.finish_cut(thread)
            monitor.wait_event("DEVICE_DELETED", device="late")
            monitor.run("blockdev-del", **{"node-name": "high"})
        self.assert_ends(daemon)

    def sanitize_progress(self, ring):
        """0 to 1, as REQUEST SENSE tells it."""
        sense = ring.command([3, 0, 0, 0, 18, 0], room=18).data
        self.assertEqual((sense[12], sense[13]), (4, 0x1B))
        return int.from_bytes(sense[16:18], "big") / 65536

    def test_disk_when_cut_while_it_goes_then_its_sanitize_ends_before(self):
        """What a disk does by itself is under way when its device has been removed."""
        adapter = f"vhost-user-scsi,id=e0,addr.type=unix,addr.path={self.socket},num-queues=1"
        device = "scsi-hd,id=d0,drive=slow,bus=e0.0"
        daemon, monitor = self.with_monitor(*self.disk(A_WHILE_NS), "--export", adapter, "--device", device)
        with ScsiFrontEnd(self.socket) as front:
            ring, = front.start_all()
            ring.settle()
            overwrite = [0x48, 0x81, 0, 0, 0, 0, 0, 0, 8, 0]
            self.assertEqual(ring.command(overwrite, bytes([1, 0, 0, 4]) + b"over").outcome, (0, 0))
            wait_until(lambda: self.sanitize_progress(ring) >= SMALL / LARGE, SECONDS, "it comes to what will be cut off")
            told = front.events.put_event()
            monitor.run("device_del", id="d0")
            self.assertEqual(front.events.event(told)[0], TRANSPORT_RESET)
            resize(monitor, SMALL)
            self.assertEqual(self.file_size(), SMALL)
            monitor.wait_event("DEVICE_DELETED", device="d0")
            self.assertEqual(self.file_size(), SMALL)
            with self.image.open("rb") as file:
                self.assertEqual(file.read(), b"over" * (SMALL // 4))
        self.assert_ends(daemon)

    def test_drain_when_client_and_export_go_then_it_ends_and_they_too(self):
        daemon, monitor = self.with_monitor(*self.disk(A_WHILE_NS), *self.export("slow"))
        for size in (SMALL, LARGE):
            with FrontEnd(self.socket) as front:
                ring = front.set_up().start()
                ring.put(WRITE, INSIDE, b"z" * 512)
                self.begin(monitor, ring)
                thread = self.begin_resize(size)
            thread.join()
            self.assertEqual(self.file_size(), size)
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            ring.put(WRITE, INSIDE, b"z" * 512)
            self.begin(monitor, ring)
            threads = [self.begin_resize(SMALL), self.begin_resize(SMALL)]
            monitor.run("block-export-del", id="e0", mode="hard")
            monitor.wait_event("BLOCK_EXPORT_DELETED", id="e0")
            for thread in threads:
                thread.join()
        self.assertEqual(self.file_size(), SMALL)
        monitor.run("blockdev-del", **{"node-name": "slow"})
        self.assert_ends(daemon)


if __name__ == "__main__":
    captive.main()
