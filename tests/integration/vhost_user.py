# SPDX-License-Identifier: MIT
"""A small vhost-user front end with drivers of virtio-blk and virtio-scsi, for tests: every message and every ring entry can be
made wrong.

Each request in flight has a slot of its own: header, status byte and 4 KiB of data, and three descriptors.
"""

import array
import mmap
import os
import select
import socket
import struct
import time

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SET_BACKEND_REQ_FD, GET_CONFIG, RESET_DEVICE = 21, 24, 34

VERSION, REPLY, NEED_REPLY = 1, 4, 8
MQ, REPLY_ACK, BACKEND_REQ, CONFIG, RESET, MEM_SLOTS = (1 << bit for bit in (0, 3, 5, 9, 13, 15))
VERSION_1, PROTOCOL_FEATURES, RING_FEATURES = 1 << 32, 1 << 30, 3 << 28

READ, WRITE, FLUSH, GET_ID = 0, 1, 4, 8

# virtio-scsi
CTRL, EVENT, FIRST = 0, 1, 2  # virtqueues
CDB_BYTES, SENSE_BYTES = 32, 96
S_OK, S_OVERRUN, S_ABORTED, S_BAD_TARGET, S_RESET = range(5)
FUNCTION_COMPLETE, FUNCTION_SUCCEEDED, FUNCTION_REJECTED, INCORRECT_LUN = 0, 10, 11, 12
ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET, NEXUS_RESET, LUN_RESET, QUERY_TASK, QUERY_TASK_SET = range(8)
NO_EVENT, TRANSPORT_RESET, ASYNC_NOTIFY, PARAM_CHANGE, EVENTS_MISSED = 0, 1, 2, 3, 0x80000000
RESCAN, REMOVED = 1, 2
GOOD, CHECK_CONDITION = 0, 2
NEXT, WRITABLE = 1, 2

GUEST, USER = 0x40000000, 0x10000000
RING_BYTES, SLOT_BYTES, SIZE = 4096, 8192, 32
RING_STEP = RING_BYTES + SIZE * SLOT_BYTES
SECONDS = 60


class Memory:
    """What the guest has: one file, mapped here and there."""

    def __init__(self, rings):
        self.size = rings * RING_STEP
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, self.size)
        self.bytes = mmap.mmap(self.fd, self.size)

    def close(self):
        self.bytes.close()
        os.close(self.fd)


class Ring:
    """One virtqueue in the memory, from its beginning: descriptors, available ring, used ring, slots."""

    def __init__(self, front, index):
        self.front, self.index, self.start = front, index, index * RING_STEP
        self.memory = front.memory.bytes
        self.avail, self.used = self.start + 1024, self.start + 2048
        self.kick_fd, self.call_fd, self.err_fd = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3))
        self.next = self.seen = 0
        self.clear()

    def clear(self):
        self.memory[self.start : self.start + RING_BYTES] = bytes(RING_BYTES)
        self.next = self.seen = 0

    def close(self):
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            os.close(fd)

    def slot(self, number):
        return self.start + RING_BYTES + (number % SIZE) * SLOT_BYTES

    def describe(self, descriptor, offset, size, flags, following=0):
        place = self.start + 16 * descriptor
        self.memory[place : place + 16] = struct.pack("<QIHH", GUEST + offset, size, flags, following)

    def make_available(self, head):
        place = self.avail + 4 + 2 * (self.next % SIZE)
        self.memory[place : place + 2] = struct.pack("<H", head)
        self.next += 1
        self.memory[self.avail + 2 : self.avail + 4] = struct.pack("<H", self.next & 0xFFFF)

    def kick(self):
        os.eventfd_write(self.kick_fd, 1)

    def put(self, kind, sector=0, data=b"", room=0):
        """One request; at most SIZE // 4 may be in flight. Returns its number."""
        number = self.next
        slot, head = self.slot(number), 4 * (number % (SIZE // 4))
        self.memory[slot : slot + 16] = struct.pack("<IIQ", kind, 0, sector)
        self.memory[slot + 16] = 0xFF
        self.memory[slot + 4096 : slot + 4096 + len(data)] = data
        size = len(data) or room
        self.describe(head, slot, 16, NEXT, head + 1 if size else head + 2)
        self.describe(head + 1, slot + 4096, size, NEXT | (WRITABLE if room else 0), head + 2)
        self.describe(head + 2, slot + 16, 1, WRITABLE)
        self.make_available(head)
        return number

    def used_count(self):
        return struct.unpack_from("<H", self.memory, self.used + 2)[0]

    def wait(self, count, seconds=SECONDS):
        """Until so many requests in all have been completed."""
        end = time.monotonic() + seconds
        while self.used_count() < count:
            left = max(0, end - time.monotonic())
            ready = select.select([self.call_fd, self.front.socket], [], [], left)[0]
            if not ready:
                raise TimeoutError(f"ring {self.index}: {self.used_count()} of {count} requests are done")
            if self.call_fd in ready:
                os.eventfd_read(self.call_fd)
            else:  # nothing is said there but what was asked for
                raise ConnectionResetError("the back end has closed the connection")

    def status(self, number):
        return self.memory[self.slot(number) + 16]

    def data(self, number, size):
        place = self.slot(number) + 4096
        return bytes(self.memory[place : place + size])

    def run(self, kind, sector=0, data=b"", room=0):
        """One request from beginning to end; its status and what was read."""
        number = self.put(kind, sector, data, room)
        self.kick()
        self.wait(self.next)
        return self.status(number), self.data(number, room)


class Answer:
    """What the device said to a SCSI command."""

    def __init__(self, response, data):
        sense_bytes, self.residual, _, self.status, self.response = struct.unpack_from("<IIHBB", response)
        self.sense, self.data = response[12 : 12 + sense_bytes], data

    @property
    def outcome(self):
        return self.response, self.status

    @property
    def attention(self):
        """(key, asc, ascq) of fixed sense."""
        return (self.sense[2] & 15, self.sense[12], self.sense[13]) if len(self.sense) >= 14 else None


def make_lun(target, lun):
    return bytes([1, target]) + struct.pack(">H", 0x4000 | lun) + bytes(4)


class ScsiRing(Ring):
    """A ring of an adapter: the control, the event or a request queue."""

    def put_command(self, cdb, data=b"", room=0, target=0, lun=0, attribute=0):
        """One command; its number is its tag. At most SIZE // 4 may be in flight."""
        number = self.next
        slot, head = self.slot(number), 4 * (number % (SIZE // 4))
        header = make_lun(target, lun) + struct.pack("<QBBB", number, attribute, 0, 0) + bytes(cdb).ljust(CDB_BYTES, b"\0")
        self.memory[slot : slot + len(header)] = header
        self.memory[slot + 1024 : slot + 1024 + 12 + SENSE_BYTES] = b"\xff" * (12 + SENSE_BYTES)
        self.memory[slot + 4096 : slot + 4096 + len(data)] = data
        chain = [(slot, len(header), 0)]
        if data:
            chain.append((slot + 4096, len(data), 0))
        chain.append((slot + 1024, 12 + SENSE_BYTES, WRITABLE))
        if room:
            chain.append((slot + 4096, room, WRITABLE))
        for index, (offset, size, flags) in enumerate(chain):
            last = index + 1 == len(chain)
            self.describe(head + index, offset, size, flags | (0 if last else NEXT), 0 if last else head + index + 1)
        self.make_available(head)
        return number

    def answer(self, number, room=0):
        place = self.slot(number) + 1024
        return Answer(bytes(self.memory[place : place + 12 + SENSE_BYTES]), self.data(number, room))

    def command(self, cdb, data=b"", room=0, **where):
        number = self.put_command(cdb, data, room, **where)
        self.kick()
        self.wait(self.next)
        return self.answer(number, room)

    def settle(self, cdb=bytes(6), **where):
        """Takes the unit attentions that are there; they are returned."""
        found = []
        for _ in range(16):
            answer = self.command(cdb, **where)
            if answer.status != CHECK_CONDITION or answer.attention[0] != 6:
                return found
            found.append(answer.attention[1:])
        raise AssertionError(f"attentions without end: {found}")

    def read(self, lba, blocks=1, **where):
        return self.command(struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0), room=512 * blocks, **where)

    def write(self, lba, data, **where):
        return self.command(struct.pack(">BBIBHB", 0x2A, 0, lba, 0, len(data) // 512, 0), data, **where)

    def inquiry(self, page=None, **where):
        return self.command([0x12, page is not None, page or 0, 0, 255, 0], room=255, **where).data

    def capacity(self, **where):
        answer = self.command([0x25] + [0] * 9, room=8, **where)
        last, size = struct.unpack(">II", answer.data)
        return (last + 1) * size

    def put_management(self, subtype, tag=0, target=0, lun=0):
        number = self.next
        slot, head = self.slot(number), 4 * (number % (SIZE // 4))
        self.memory[slot : slot + 24] = struct.pack("<II", 0, subtype) + make_lun(target, lun) + struct.pack("<Q", tag)
        self.memory[slot + 1024] = 0xFF
        self.describe(head, slot, 24, NEXT, head + 1)
        self.describe(head + 1, slot + 1024, 1, WRITABLE)
        self.make_available(head)
        return number

    def manage(self, subtype, **what):
        number = self.put_management(subtype, **what)
        self.kick()
        self.wait(self.next)
        return self.memory[self.slot(number) + 1024]

    def put_event(self):
        number = self.next
        slot, head = self.slot(number), 4 * (number % (SIZE // 4))
        self.memory[slot : slot + 16] = b"\xff" * 16
        self.describe(head, slot, 16, WRITABLE)
        self.make_available(head)
        self.kick()
        return number

    def event(self, number):
        """Waits for that one: (event, target, lun, reason)."""
        self.wait(number + 1)
        slot = self.slot(number)
        event, _, target, lun, reason = struct.unpack("<IBB2s4xI", bytes(self.memory[slot : slot + 16]))
        return event, target, struct.unpack(">H", lun)[0] & 0x3FFF, reason


class FrontEnd:
    ring_class = Ring

    def __init__(self, where, rings=1):
        self.socket = where if isinstance(where, socket.socket) else connect(where)
        self.socket.settimeout(SECONDS)
        self.channel = None
        self.protocol = 0  # negotiated features of the protocol
        self.memory = Memory(rings)
        self.rings = [self.ring_class(self, index) for index in range(rings)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        if self.channel:
            self.channel.close()
        for ring in self.rings:
            ring.close()
        self.memory.close()

    def send(self, request, payload=b"", fds=(), flags=VERSION):
        message = struct.pack("=III", request, flags, len(payload)) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([message], rights)

    def receive_bytes(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the back end has closed the connection")
            data += part
        return data

    def receive(self):
        request, flags, size = struct.unpack("=III", self.receive_bytes(12))
        assert flags & REPLY, hex(flags)
        return request, self.receive_bytes(size)

    def ask(self, request, payload=b"", fds=()):
        """A request that has a reply of its own."""
        self.send(request, payload, fds)
        answered, reply = self.receive()
        assert answered == request, (answered, request)
        return reply

    def order(self, request, payload=b"", fds=()):
        """A request that is acknowledged, if that was negotiated; the code that came, 0 = done."""
        if not self.protocol & REPLY_ACK:
            self.send(request, payload, fds)
            return 0
        self.send(request, payload, fds, VERSION | NEED_REPLY)
        answered, reply = self.receive()
        assert answered == request, (answered, request)
        return struct.unpack("=Q", reply)[0]

    def must(self, request, payload=b"", fds=()):
        code = self.order(request, payload, fds)
        assert code == 0, f"request {request} was refused: {code}"

    def set_up(self, protocol=~0, features=~0):
        """All that comes before the rings; the masks leave features out."""
        offered, = struct.unpack("=Q", self.ask(GET_FEATURES))
        # events by index are left out: a call for each request is simpler to wait for
        features &= offered & ~RING_FEATURES
        if features & PROTOCOL_FEATURES:
            self.protocol = protocol & struct.unpack("=Q", self.ask(GET_PROTOCOL_FEATURES))[0]
            self.send(SET_PROTOCOL_FEATURES, struct.pack("=Q", self.protocol))
        self.send(SET_OWNER)
        self.must(SET_FEATURES, struct.pack("=Q", features))
        self.set_memory()
        if self.protocol & BACKEND_REQ:
            self.channel, theirs = socket.socketpair()
            with theirs:
                self.must(SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
            self.channel.settimeout(SECONDS)
        return self

    def set_memory(self, size=None):
        table = struct.pack("=II", 1, 0) + struct.pack("=QQQQ", GUEST, size or self.memory.size, USER, 0)
        self.must(SET_MEM_TABLE, table, [self.memory.fd])

    def start(self, index=0, base=0, enable=True):
        ring = self.rings[index]
        place = [USER + offset for offset in (ring.start, ring.used, ring.avail)]
        self.must(SET_VRING_NUM, struct.pack("=II", index, SIZE))
        self.must(SET_VRING_ADDR, struct.pack("=IIQQQQ", index, 0, *place, 0))
        self.must(SET_VRING_BASE, struct.pack("=II", index, base))
        for request, fd in ((SET_VRING_KICK, ring.kick_fd), (SET_VRING_CALL, ring.call_fd), (SET_VRING_ERR, ring.err_fd)):
            self.must(request, struct.pack("=Q", index), [fd])
        if enable:
            self.must(SET_VRING_ENABLE, struct.pack("=II", index, 1))
        return ring

    def stop(self, index=0):
        """The next available index."""
        return struct.unpack("=II", self.ask(GET_VRING_BASE, struct.pack("=II", index, 0)))[1]

    def get_config(self, offset=0, size=60):
        reply = self.ask(GET_CONFIG, struct.pack("=III", offset, size, 0) + bytes(size))
        return reply[12:]

    def capacity(self):
        return 512 * struct.unpack_from("<Q", self.get_config())[0]

    def is_closed(self):
        """Whether the back end closes the connection; what it still says is dropped."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


class ScsiFrontEnd(FrontEnd):
    """With request queues and the two that come before them."""

    ring_class = ScsiRing

    def __init__(self, where, queues=1):
        super().__init__(where, FIRST + queues)

    def start_all(self):
        """Sets everything up; the request queues, after the attentions that each disk begins with are left for the test."""
        self.set_up()
        return [self.start(index) for index in range(len(self.rings))][FIRST:]

    @property
    def control(self):
        return self.rings[CTRL]

    @property
    def events(self):
        return self.rings[EVENT]


def connect(path):
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.connect(str(path))  # waits while the backlog is full
    except OSError:
        channel.close()
        raise
    channel.settimeout(SECONDS)
    return channel
