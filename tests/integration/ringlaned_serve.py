#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ringlaned with clients: good ones, bad ones, several, vanishing ones, and signals while requests are in flight.

usage: tests/integration/ringlaned_serve.py PATH-OF-RINGLANED
"""

import fcntl
import json
import os
import random
import select
import signal
import struct

import captive
from captive import SECONDS, Case
from process import wait_until
from vhost_user import (
    CONFIG,
    GET_FEATURES,
    GET_ID,
    GET_VRING_BASE,
    NEED_REPLY,
    PROTOCOL_FEATURES,
    READ,
    REPLY_ACK,
    RESET_DEVICE,
    SET_VRING_ENABLE,
    SET_VRING_NUM,
    SIZE,
    VERSION,
    WRITABLE,
    WRITE,
    FrontEnd,
    connect,
)

CONFIG_CHANGE = 2
QUIET = "more of this is left out for some seconds"  # after some lines of the same kind in some seconds
TURNS_MAX = 600


def slow(milliseconds=2000, name="n0"):
    """By default slow enough that a request which has been taken is in flight a little later, mostly."""
    return ["--blockdev", f"null-co,node-name={name},size=1M,latency-ns={milliseconds * 1000000}"]


RAM = ["--blockdev", "ram,node-name=n0,size=1M"]


class Rings(Case):
    def test_all_queues_when_written_then_read_back(self):
        self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket, rings=4) as front:
            front.set_up()
            rings = [front.start(index) for index in range(4)]
            for index, ring in enumerate(rings):
                self.assertEqual(ring.run(WRITE, index, bytes([65 + index]) * 512)[0], 0)
            for index, ring in enumerate(rings):
                other = (index + 1) % 4
                self.assertEqual(ring.run(READ, other, room=512), (0, bytes([65 + other]) * 512))

    def test_serial_when_not_given_then_the_id(self):
        self.daemon(*RAM, *self.export(name="disk-7"))
        with FrontEnd(self.socket) as front:
            status, name = front.set_up().start().run(GET_ID, room=20)
            self.assertEqual((status, name.rstrip(b"\0")), (0, b"disk-7"))

    def test_ring_when_stopped_and_started_then_goes_on(self):
        self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket, rings=2) as front:
            front.set_up()
            ring, other = front.start(0), front.start(1)
            for sector in range(5):
                self.assertEqual(ring.run(WRITE, sector, bytes([sector]) * 512)[0], 0)
            base = front.stop(0)
            self.assertEqual(base, 5)
            self.assertEqual(other.run(READ, 3, room=512), (0, bytes([3]) * 512))
            front.start(0, base)
            self.assertEqual(ring.run(READ, 4, room=512), (0, bytes([4]) * 512))

    def test_stop_when_requests_are_in_flight_then_answers_after_them(self):
        daemon = self.daemon(*slow(), *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            numbers = [ring.put(READ, 0, room=512) for _ in range(SIZE // 4)]
            ring.kick()
            wait_until(lambda: daemon.count_taken() == SIZE // 4, SECONDS, "the requests are taken")
            base = front.stop(0)
            self.assertEqual((ring.used_count(), base), (SIZE // 4, SIZE // 4))
            self.assertEqual([ring.status(number) for number in numbers], [0] * base)

    def test_ring_when_disabled_then_waits_and_loses_nothing(self):
        self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            self.assertEqual(ring.run(WRITE, 0, b"a" * 512)[0], 0)
            front.must(SET_VRING_ENABLE, struct.pack("=II", 0, 0))
            ring.put(READ, 0, room=512)
            ring.kick()
            front.must(SET_VRING_ENABLE, struct.pack("=II", 0, 1))
            ring.wait(2)

    def test_memory_when_replaced_while_running_then_rings_go_on(self):
        self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket, rings=2) as front:
            front.set_up()
            rings = [front.start(0), front.start(1)]
            for turn in range(20):
                self.assertEqual(rings[turn % 2].run(WRITE, turn, bytes([turn]) * 512)[0], 0)
                front.set_memory()
                self.assertEqual(rings[turn % 2].run(READ, turn, room=512), (0, bytes([turn]) * 512))

    def test_memory_when_it_leaves_a_ring_out_then_only_that_ring_breaks(self):
        daemon = self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket, rings=2) as front:
            front.set_up()
            first, second = front.start(0), front.start(1)
            self.assertEqual(first.run(READ, 0, room=512)[0], 0)
            self.assertEqual(second.run(READ, 0, room=512)[0], 0)
            front.set_memory(second.start)
            daemon.wait_line("export e0: queue 1: ")
            self.assertEqual(first.run(READ, 0, room=512)[0], 0)

    def test_device_when_reset_then_can_be_set_up_again(self):
        self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket, rings=2) as front:
            front.set_up()
            for _ in range(3):
                rings = [front.start(0), front.start(1)]
                for ring in rings:
                    self.assertEqual(ring.run(READ, 0, room=512)[0], 0)
                front.must(RESET_DEVICE)
                for ring in rings:
                    ring.clear()

    def test_config_when_asked_for_all_then_padded_with_zeroes(self):
        self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket) as front:
            config = front.set_up().get_config(0, 256)
            self.assertEqual(len(config), 256)
            self.assertEqual(struct.unpack_from("<Q", config)[0], 2048)
            self.assertEqual(config[128:], bytes(128))
            self.assertEqual(front.get_config(32, 4), config[32:36])


class FrontEnds(Case):
    """What front ends are known to leave out."""

    def setUp(self):
        super().setUp()
        self.started = self.daemon(*RAM, *self.export())

    def use(self, ring):
        self.assertEqual(ring.run(WRITE, 1, b"a" * 512)[0], 0)
        self.assertEqual(ring.run(READ, 1, room=512), (0, b"a" * 512))

    def test_front_end_when_it_only_knows_config_then_served(self):
        with FrontEnd(self.socket) as front:
            front.set_up(protocol=CONFIG)
            self.assertEqual(front.capacity(), 1 << 20)
            self.use(front.start())

    def test_front_end_when_it_knows_no_protocol_features_then_rings_need_no_enable(self):
        with FrontEnd(self.socket, rings=2) as front:
            front.set_up(features=~PROTOCOL_FEATURES)
            self.use(front.start(0, enable=False))
            self.use(front.start(1, enable=False))

    def test_front_end_when_it_disconnects_at_any_step_then_next_is_served(self):
        steps = [
            lambda front: None,
            lambda front: front.ask(GET_FEATURES),
            lambda front: front.send(SET_VRING_NUM, struct.pack("=II", 0, SIZE)),
            lambda front: front.set_up(),
            lambda front: front.set_up().start(),
            lambda front: front.set_up().start(enable=False),
            lambda front: front.set_up().start().kick(),
            lambda front: front.set_up().start() and front.send(GET_VRING_BASE, struct.pack("=II", 0, 0)),
            lambda front: front.set_up().start() and front.send(RESET_DEVICE),
        ]
        for step in steps:
            with FrontEnd(self.socket) as front:
                step(front)
        with FrontEnd(self.socket) as front:
            self.use(front.set_up().start())
        self.assertEqual(self.started.lines(), [])
        self.assert_ends(self.started)


class Layers(Case):
    def serve(self, *options):
        self.daemon(*options, *self.export("top"))
        front = FrontEnd(self.socket)
        self.addCleanup(front.close)
        return front.set_up().start()

    def test_error_when_it_matches_then_only_that_fails(self):
        ring = self.serve(*RAM, "--blockdev", "error,node-name=top,file=n0,ops.0=write,offset=512,bytes=512,error=ENOSPC")
        self.assertEqual(ring.run(WRITE, 0, b"a" * 512)[0], 0)
        self.assertEqual(ring.run(WRITE, 1, b"b" * 512)[0], 1)
        self.assertEqual(ring.run(READ, 1, room=512)[0], 0)
        self.assertEqual(ring.run(WRITE, 2, b"c" * 512)[0], 0)

    def test_error_when_every_third_then_of_any_kind(self):
        ring = self.serve(*RAM, "--blockdev", "error,node-name=top,file=n0,every=3")
        self.assertEqual([ring.run(READ, 0, room=512)[0] for _ in range(6)], [0, 0, 1, 0, 0, 1])

    def test_log_when_requests_come_then_a_line_for_each(self):
        path = self.folder / "log"
        ring = self.serve(*RAM, "--blockdev", f"log,node-name=top,file=n0,filename={path}")
        self.assertEqual(ring.run(WRITE, 3, b"a" * 512)[0], 0)
        wait_until(lambda: "1536" in path.read_text(), SECONDS, "the request is written down")

    def test_window_when_read_then_at_its_offset(self):
        path = self.make_image()
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(b"w" * 512)
        node = {
            "driver": "raw",
            "node-name": "top",
            "offset": 4096,
            "size": 8192,
            "file": {"driver": "file", "filename": str(path), "cache": {"direct": False}},
        }
        ring = self.serve("--blockdev", json.dumps(node))
        self.assertEqual(ring.front.capacity(), 8192)
        self.assertEqual(ring.run(READ, 8, room=512), (0, b"w" * 512))
        self.assertEqual(ring.run(READ, 16, room=512)[0], 1)
        self.assertEqual(ring.run(WRITE, 15, b"e" * 512)[0], 0)
        self.assertEqual(path.read_bytes()[4096 + 15 * 512 :][:512], b"e" * 512)

    def test_delay_when_busy_then_done_all_the_same(self):
        ring = self.serve(*RAM, "--blockdev", "delay,node-name=top,file=n0,busy-ns=1000,latency-ns=1000")
        self.assertEqual(ring.run(WRITE, 0, b"a" * 512)[0], 0)
        self.assertEqual(ring.run(READ, 0, room=512), (0, b"a" * 512))


class Lanes(Case):
    THREADS = ["--object", "iothread,id=t0", "--object", "iothread,id=t1,cpus=0"]

    def map_of(self, daemon, queues=4):
        """{queue: IOThread} of those that run, as the daemon prints it."""
        with FrontEnd(self.socket, rings=queues) as front:
            front.set_up()
            for index in range(queues):
                front.start(index).run(READ, 0, room=512)
            lines = daemon.map(queues)
        self.assertEqual(len(lines), queues, lines)
        return [(line.split("iothread ")[1].split(",")[0]) for line in lines], lines

    def test_mapping_when_given_then_queues_are_there(self):
        keys = (
            "num-queues=4,iothread-vq-mapping.0.iothread=t1,iothread-vq-mapping.0.vqs.0=0,"
            "iothread-vq-mapping.0.vqs.1=3,iothread-vq-mapping.1.iothread=t0,"
            "iothread-vq-mapping.1.vqs.0=2,iothread-vq-mapping.1.vqs.1=1"
        )
        daemon = self.daemon(*self.THREADS, *RAM, *self.export(more=keys))
        threads, lines = self.map_of(daemon)
        self.assertEqual(threads, ["t1", "t0", "t0", "t1"])
        self.assertRegex(lines[0], r"^export e0: queue 0: iothread t1, tid \d+, cpus 0, running, requests 1, in flight 0, ")

    def test_mapping_when_round_robin_then_in_turn(self):
        keys = "num-queues=4,iothread-vq-mapping.0.iothread=t0,iothread-vq-mapping.1.iothread=t1"
        daemon = self.daemon(*self.THREADS, *RAM, *self.export(more=keys))
        self.assertEqual(self.map_of(daemon)[0], ["t0", "t1", "t0", "t1"])

    def test_iothread_when_given_then_all_queues_are_there(self):
        daemon = self.daemon(*self.THREADS, *RAM, *self.export(more="num-queues=4,iothread=t1"))
        self.assertEqual(self.map_of(daemon)[0], ["t1"] * 4)

    def test_nothing_given_then_automatic_threads_in_turn(self):
        daemon = self.daemon(*RAM, *self.export(more="writable=on"))
        cpus = len(os.sched_getaffinity(0))
        for _ in range(2):
            self.assertEqual(self.map_of(daemon)[0], [f"auto{queue % cpus}" for queue in range(4)])

    def test_map_when_no_client_then_said(self):
        daemon = self.daemon(*RAM, *self.export())
        self.assertEqual(daemon.map(), ["export e0: no queue is set up"])


class Clients(Case):
    def test_client_when_it_vanishes_in_flight_then_next_is_served(self):
        daemon = self.daemon(*slow(50), *self.export())
        counts = []
        for _ in range(6):
            with FrontEnd(self.socket, rings=2) as front:
                front.set_up()
                for index in range(2):
                    ring = front.start(index)
                    for _ in range(SIZE // 4):
                        ring.put(READ, 0, room=512)
                    ring.kick()
                front.rings[0].wait(1)
            with FrontEnd(self.socket) as front:
                self.assertEqual(front.set_up().start().run(READ, 0, room=512)[0], 0)
                counts.append(daemon.count_fds())
        self.assertEqual(len(set(counts)), 1, counts)
        self.assertEqual(daemon.lines(), [])
        self.assert_ends(daemon)

    def test_second_client_when_one_is_served_then_waits(self):
        self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket) as first, FrontEnd(self.socket) as second:
            first.set_up()
            second.send(GET_FEATURES)
            self.assertEqual(first.capacity(), 1 << 20)
            self.assertEqual(select.select([second.socket], [], [], 0)[0], [])
            first.socket.close()
            self.assertEqual(second.receive()[0], GET_FEATURES)

    def test_many_clients_when_in_a_row_then_all_served(self):
        daemon = self.daemon(*RAM, *self.export())
        for _ in range(50):
            connect(self.socket).close()
        with FrontEnd(self.socket) as front:
            self.assertEqual(front.set_up().capacity(), 1 << 20)
        self.assert_ends(daemon)

    def test_garbage_when_sent_then_another_export_goes_on(self):
        bad = self.folder / "bad"
        daemon = self.daemon(
            *RAM, "--blockdev", "null-co,node-name=n1", *self.export(), *self.export("n1", bad, "e1", "num-queues=2")
        )
        choose = random.Random(7)
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            for turn in range(TURNS_MAX):
                if turn >= 60 and QUIET in daemon.lines():
                    break
                with FrontEnd(bad) as garbage:
                    self.send_garbage(garbage, choose, turn % 3)
                self.assertEqual(ring.run(WRITE, turn, bytes([turn % 256]) * 512)[0], 0)
                self.assertEqual(ring.run(READ, turn, room=512), (0, bytes([turn % 256]) * 512))
        with FrontEnd(bad) as front:
            self.assertEqual(front.set_up().capacity(), 1 << 30)
        lines = daemon.lines()
        self.assertIn(QUIET, lines)
        self.assertTrue(all(line.startswith("export e1: client dropped: ") for line in lines if line != QUIET), lines)
        self.assert_ends(daemon)

    def send_garbage(self, front, choose, kind):
        try:
            if kind == 0:
                front.socket.sendall(choose.randbytes(choose.randrange(1, 2000)))
            elif kind == 1:
                front.set_up()
                for _ in range(30):
                    request, size = choose.randrange(1, 45), choose.choice([0, 8, 8, 8, 12, 40])
                    payload = bytes(choose.choice([0, 0, 1, 2, 255]) for _ in range(size))
                    fds = [front.memory.fd] if choose.random() < 0.2 else []
                    front.send(request, payload, fds, VERSION | choose.choice([0, NEED_REPLY]))
            else:
                front.set_up().send(SET_VRING_NUM, struct.pack("=II", 0, 3))
                self.assertTrue(front.is_closed())
        except (BrokenPipeError, ConnectionResetError):
            pass

    def test_memory_when_taken_away_then_only_that_client_is_dropped(self):
        bad = self.folder / "bad"
        daemon = self.daemon(
            *RAM, "--blockdev", "ram,node-name=n1,size=1M", *self.export(), *self.export("n1", bad, "e1", "num-queues=2")
        )
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            for size in (0, 4096):
                with FrontEnd(bad) as cut:
                    lost = cut.set_up().start()
                    self.assertEqual(lost.run(READ, 0, room=512)[0], 0)
                    os.ftruncate(cut.memory.fd, size)
                    if size:
                        lost.make_available(0)  # its descriptors are there, what they name is not
                    lost.kick()
                    self.assertTrue(cut.is_closed())
                self.assertEqual(ring.run(READ, 0, room=512)[0], 0)
        self.assertIn("export e1: client dropped: it took away memory that it had shared", daemon.lines())
        self.assert_ends(daemon)

    def test_call_when_its_counter_is_full_and_blocks_then_others_go_on(self):
        thread = ["--object", "iothread,id=t0"]
        other = self.folder / "other.sock"
        exports = [*self.export(more="iothread=t0"), *self.export("n0", other, "e2", "iothread=t0")]
        daemon = self.daemon(*RAM, *thread, *exports)
        with FrontEnd(self.socket) as bad, FrontEnd(other) as good:
            ring, victim = bad.set_up().start(), good.set_up().start()
            for fd in (ring.call_fd, ring.kick_fd):
                fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR)
            os.eventfd_write(ring.call_fd, 2**64 - 2)
            for _ in range(3):
                ring.put(READ, 0, room=512)
                ring.kick()
                self.assertEqual(victim.run(READ, 0, room=512)[0], 0)
            bad.stop()
            self.assertEqual(victim.run(READ, 0, room=512)[0], 0)
        self.assert_ends(daemon)

    def test_half_a_message_when_sent_then_others_go_on(self):
        bad = self.folder / "bad"
        daemon = self.daemon(
            *RAM, "--blockdev", "null-co,node-name=n1", *self.export(), *self.export("n1", bad, "e1", "num-queues=2")
        )
        with FrontEnd(bad) as half, FrontEnd(self.socket) as front:
            half.socket.sendall(b"\1\0\0\0\1\0")
            self.assertEqual(front.set_up().start().run(READ, 0, room=512)[0], 0)
        self.assert_ends(daemon)

    def test_ring_when_broken_then_said_once_and_others_live(self):
        daemon = self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket, rings=3) as front:
            front.set_up()
            rings = [front.start(index) for index in range(3)]
            self.assertEqual(rings[2].run(READ, 0, room=512)[0], 0)
            rings[2].make_available(SIZE + 5)
            rings[2].kick()
            line = daemon.wait_line("export e0: queue 2: ")
            self.assertTrue(select.select([rings[2].err_fd], [], [], SECONDS)[0])
            rings[2].kick()
            for ring in rings[:2]:
                self.assertEqual(ring.run(READ, 0, room=512)[0], 0)
            self.assertEqual(daemon.lines(), [line])
            self.assertEqual(front.stop(1), 1)
            front.stop(2)
        self.assert_ends(daemon)

    def test_chain_when_without_status_then_queue_breaks_with_reason(self):
        daemon = self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            ring.describe(0, ring.slot(0), 16, 0)
            ring.make_available(0)
            ring.kick()
            daemon.wait_line("export e0: queue 0: a request without a writable byte for its status")
        with FrontEnd(self.socket) as front:
            self.assertEqual(front.set_up().start().run(READ, 0, room=512)[0], 0)

    def test_descriptor_when_outside_memory_then_queue_breaks(self):
        daemon = self.daemon(*RAM, *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            ring.describe(0, 1 << 40, 16, WRITABLE)
            ring.make_available(0)
            ring.kick()
            daemon.wait_line("export e0: queue 0: ")


class Signals(Case):
    def test_sigterm_when_requests_are_in_flight_then_they_end_first(self):
        daemon = self.daemon(*slow(), *self.export())
        with FrontEnd(self.socket, rings=4) as front:
            front.set_up()
            for index in range(4):
                ring = front.start(index)
                for _ in range(SIZE // 4):
                    ring.put(READ, 0, room=512)
                ring.kick()
            wait_until(lambda: daemon.count_taken(4) == SIZE, SECONDS, "all requests are taken")
            self.assert_ends(daemon)
            self.assertEqual([ring.used_count() for ring in front.rings], [SIZE // 4] * 4)
            for ring in front.rings:
                self.assertEqual([ring.status(number) for number in range(SIZE // 4)], [0] * (SIZE // 4))
            self.assertTrue(front.is_closed())
        self.assertFalse(self.socket.exists())

    def test_sigterm_when_a_ring_is_being_stopped_then_ends(self):
        daemon = self.daemon(*slow(), *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            ring.put(READ, 0, room=512)
            ring.kick()
            wait_until(lambda: daemon.count_taken() == 1, SECONDS, "the request is taken")
            front.send(GET_VRING_BASE, struct.pack("=II", 0, 0))
            self.assert_ends(daemon)
            self.assertEqual(ring.status(0), 0)

    def test_sigterm_when_sent_twice_then_does_not_wait(self):
        daemon = self.daemon(*slow(100000), *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            ring.put(READ, 0, room=512)
            ring.kick()
            wait_until(lambda: daemon.count_taken() == 1, SECONDS, "the request is taken")
            daemon.send(signal.SIGTERM)
            wait_until(lambda: not self.socket.exists(), SECONDS, "the daemon is ending")
            daemon.send(signal.SIGTERM)
            self.assertEqual(daemon.wait(SECONDS), 1)
        self.assertFalse(self.socket.exists())
        self.assertEqual(daemon.lines()[-1], "ended with requests in flight")

    def test_sighup_when_image_grew_then_client_is_told(self):
        path = self.make_image()
        daemon = self.daemon("--blockdev", f"raw,node-name=n0,file.driver=file,file.filename={path}", *self.export())
        with FrontEnd(self.socket) as front:
            ring = front.set_up().start()
            self.assertEqual(front.capacity(), 1 << 20)
            self.assertEqual(ring.run(WRITE, 2048, b"x" * 512)[0], 1)
            os.truncate(path, 2 << 20)
            daemon.send(signal.SIGHUP)
            request, = struct.unpack_from("=I", front.channel.recv(64))
            self.assertEqual(request, CONFIG_CHANGE)
            self.assertEqual(front.capacity(), 2 << 20)
            self.assertEqual(ring.run(WRITE, 2048, b"x" * 512)[0], 0)
        self.assertEqual(daemon.lines(), [])

    def test_sighup_when_client_has_no_channel_then_said(self):
        path = self.make_image()
        daemon = self.daemon("--blockdev", f"file,node-name=n0,filename={path}", *self.export())
        with FrontEnd(self.socket) as front:
            front.set_up(protocol=CONFIG | REPLY_ACK)
            os.truncate(path, 2 << 20)
            daemon.send(signal.SIGHUP)
            daemon.wait_line("export e0: the size is now 2097152 bytes, but the client has no channel to be told so")
            self.assertEqual(front.capacity(), 2 << 20)

    def test_sighup_when_nothing_changed_then_client_is_not_told(self):
        path = self.make_image()
        daemon = self.daemon("--blockdev", f"file,node-name=n0,filename={path}", *self.export())
        with FrontEnd(self.socket) as front:
            front.set_up().capacity()
            daemon.send(signal.SIGHUP)
            daemon.map()
            self.assertEqual(select.select([front.channel], [], [], 0)[0], [])

    def test_sighup_when_size_is_odd_then_disk_keeps_its_size(self):
        path = self.make_image()
        daemon = self.daemon("--blockdev", f"file,node-name=n0,filename={path}", *self.export())
        with FrontEnd(self.socket) as front:
            front.set_up()
            os.truncate(path, (1 << 20) + 1)
            daemon.send(signal.SIGHUP)
            line = daemon.wait_line("node n0: ")
            self.assertIn("1048577", line)
            self.assertEqual(front.capacity(), 1 << 20)


if __name__ == "__main__":
    captive.main()
