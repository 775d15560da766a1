// SPDX-License-Identifier: MIT
/*
 * Contracts of the back end: send one message, expect an errno, one line each. Every line is tried with NEED_REPLY, where a
 * refusal is answered and the connection lives, and without, where it ends the connection unless the line says otherwise.
 */
#include "vhost_user/fake_owner.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum fds { NO_FD, EVENT, TWO_EVENTS, MEMORY, TWO_MEMORIES, SOCKET, PIPE };

/* Ring 0 runs, ring 1 is set up and not enabled, the whole memory is shared. */
struct contract {
	const char *what;
	enum vhu_request request;
	uint32_t size;
	union vhu_payload payload;
	enum fds fds;
	int expected;  /* 0, or the refusal */
	bool survives; /* a refusal nobody is told of does not end the connection */
};

#define U64(value)             \
	8,                     \
	{                      \
		.u64 = (value) \
	}
#define STATE(index, value)                  \
	8,                                   \
	{                                    \
		.state = {(index), (value) } \
	}
#define ADDR(index, where_desc, where_avail, where_used)                            \
	40,                                                                         \
	{                                                                           \
		.addr = {(index), 0, (where_desc), (where_used), (where_avail), 0 } \
	}
#define REGION(guest, bytes, user, offset)                                    \
	40,                                                                   \
	{                                                                     \
		.region = {.region = { (guest), (bytes), (user), (offset) } } \
	}
#define TABLE(length, regions_count, ...)                                         \
	(length),                                                                 \
	{                                                                         \
		.memory = {.count = (regions_count), .regions = { __VA_ARGS__ } } \
	}
#define CONFIG(length, where, bytes_count)                            \
	(length),                                                     \
	{                                                             \
		.config = {.offset = (where), .size = (bytes_count) } \
	}
#define NONE             \
	0,               \
	{                \
		.u64 = 0 \
	}

#define FEATURES (FAKE_FEATURES | 1ull << 30)

/* clang-format off: one line each */
static const struct contract contracts[] = {
	{ "the same features while a ring runs", VHU_SET_FEATURES, U64(FEATURES), NO_FD, 0 },
	{ "other features while a ring runs", VHU_SET_FEATURES, U64(1ull << 32), NO_FD, -EBUSY },
	{ "a feature that was not offered", VHU_SET_FEATURES, U64(FEATURES | 1), NO_FD, -EINVAL },
	{ "features of 4 bytes", VHU_SET_FEATURES, 4, { .u64 = 0 }, NO_FD, -EINVAL },
	{ "features of 16 bytes", VHU_SET_FEATURES, 16, { .u64 = 0 }, NO_FD, -EINVAL },
	{ "features with a descriptor", VHU_SET_FEATURES, U64(FEATURES), EVENT, -EINVAL },
	{ "fewer protocol features", VHU_SET_PROTOCOL_FEATURES, U64(1 << VHU_PROTOCOL_REPLY_ACK),
	  NO_FD, 0 },
	{ "a protocol feature that was not offered", VHU_SET_PROTOCOL_FEATURES,
	  U64(FAKE_PROTOCOL | 2), NO_FD, -EINVAL },
	{ "owner", VHU_SET_OWNER, NONE, NO_FD, 0 },
	{ "owner with a payload", VHU_SET_OWNER, U64(0), NO_FD, -EINVAL },
	{ "reset owner is nothing", VHU_RESET_OWNER, NONE, NO_FD, 0 },

	{ "an empty table", VHU_SET_MEM_TABLE, TABLE(8, 0, { 0 }), NO_FD, 0 },
	{ "a table without a count", VHU_SET_MEM_TABLE, 4, { .u64 = 0 }, NO_FD, -EINVAL },
	{ "one region", VHU_SET_MEM_TABLE, TABLE(40, 1, { 0, 4096, FAKE_USER, 0 }), MEMORY, 0 },
	{ "one region, room for eight", VHU_SET_MEM_TABLE, TABLE(264, 1, { 0, 4096, FAKE_USER, 0 }),
	  MEMORY, 0 },
	{ "two regions", VHU_SET_MEM_TABLE,
	  TABLE(72, 2, { 0, 4096, 0, 0 }, { 8192, 4096, 8192, 4096 }), TWO_MEMORIES, 0 },
	{ "two regions in the size of one", VHU_SET_MEM_TABLE, TABLE(40, 2, { 0, 4096, 0, 0 }),
	  TWO_MEMORIES, -EINVAL },
	{ "two regions that overlap", VHU_SET_MEM_TABLE,
	  TABLE(72, 2, { 0, 4096, 0, 0 }, { 4095, 4096, 8192, 0 }), TWO_MEMORIES, -EINVAL },
	{ "two regions, one descriptor", VHU_SET_MEM_TABLE,
	  TABLE(72, 2, { 0, 4096, 0, 0 }, { 8192, 4096, 8192, 0 }), MEMORY, -EINVAL },
	{ "one region, two descriptors", VHU_SET_MEM_TABLE, TABLE(40, 1, { 0, 4096, 0, 0 }),
	  TWO_MEMORIES, -EINVAL },
	{ "one region, no descriptor", VHU_SET_MEM_TABLE, TABLE(40, 1, { 0, 4096, 0, 0 }), NO_FD,
	  -EINVAL },
	{ "nine regions", VHU_SET_MEM_TABLE, TABLE(264, 9, { 0, 4096, 0, 0 }), MEMORY, -E2BIG },
	{ "4294967295 regions", VHU_SET_MEM_TABLE, TABLE(264, UINT32_MAX, { 0, 4096, 0, 0 }),
	  MEMORY, -E2BIG },
	{ "a region of no bytes", VHU_SET_MEM_TABLE, TABLE(40, 1, { 0, 0, 0, 0 }), MEMORY,
	  -EINVAL },
	{ "a region that wraps around", VHU_SET_MEM_TABLE, TABLE(40, 1, { UINT64_MAX, 4096, 0, 0 }),
	  MEMORY, -EINVAL },
	{ "a region behind the end of its file", VHU_SET_MEM_TABLE,
	  TABLE(40, 1, { 0, 4096, 0, FAKE_MEMORY_SIZE }), MEMORY, -EINVAL },
	{ "a region that is no file", VHU_SET_MEM_TABLE, TABLE(40, 1, { 0, 4096, 0, 0 }), SOCKET,
	  -EINVAL },

	{ "one more region", VHU_ADD_MEM_REG, REGION(0, 4096, 4096, 0), MEMORY, 0 },
	{ "one more region that overlaps", VHU_ADD_MEM_REG, REGION(FAKE_GUEST, 4096, 0, 0), MEMORY,
	  -EINVAL },
	{ "one more region without a descriptor", VHU_ADD_MEM_REG, REGION(0, 4096, 0, 0), NO_FD,
	  -EINVAL },
	{ "one more region with two", VHU_ADD_MEM_REG, REGION(0, 4096, 0, 0), TWO_MEMORIES,
	  -EINVAL },
	{ "one more region, short", VHU_ADD_MEM_REG, 32, { .u64 = 0 }, MEMORY, -EINVAL },
	{ "the region less", VHU_REM_MEM_REG, REGION(FAKE_GUEST, FAKE_MEMORY_SIZE, FAKE_USER, 0),
	  NO_FD, 0 },
	{ "the region less, with a descriptor", VHU_REM_MEM_REG,
	  REGION(FAKE_GUEST, FAKE_MEMORY_SIZE, FAKE_USER, 0), MEMORY, 0 },
	{ "the region less, by another size", VHU_REM_MEM_REG,
	  REGION(FAKE_GUEST, 4096, FAKE_USER, 0), NO_FD, -ENOENT },
	{ "the region less, by another address", VHU_REM_MEM_REG,
	  REGION(FAKE_GUEST, FAKE_MEMORY_SIZE, 0, 0), NO_FD, -ENOENT },

	{ "size", VHU_SET_VRING_NUM, STATE(1, 1024), NO_FD, 0 },
	{ "size 1", VHU_SET_VRING_NUM, STATE(1, 1), NO_FD, 0 },
	{ "size 0", VHU_SET_VRING_NUM, STATE(1, 0), NO_FD, -EINVAL },
	{ "size 100", VHU_SET_VRING_NUM, STATE(1, 100), NO_FD, -EINVAL },
	{ "size 2048", VHU_SET_VRING_NUM, STATE(1, 2048), NO_FD, -EINVAL },
	{ "size 65536 + 128", VHU_SET_VRING_NUM, STATE(1, 65536 + 128), NO_FD, -EINVAL },
	{ "size of a running ring", VHU_SET_VRING_NUM, STATE(0, 128), NO_FD, -EBUSY },
	{ "size of a ring too many", VHU_SET_VRING_NUM, STATE(FAKE_QUEUES, 128), NO_FD, -EINVAL },
	{ "size of ring 256", VHU_SET_VRING_NUM, STATE(256, 128), NO_FD, -EINVAL },
	{ "size of ring 4294967295", VHU_SET_VRING_NUM, STATE(UINT32_MAX, 128), NO_FD, -EINVAL },
	{ "size with half a payload", VHU_SET_VRING_NUM, 4, { .state = { 1, 128 } }, NO_FD, -EINVAL },
	{ "base", VHU_SET_VRING_BASE, STATE(1, 65535), NO_FD, 0 },
	{ "base 65536", VHU_SET_VRING_BASE, STATE(1, 65536), NO_FD, -EINVAL },
	{ "base of a running ring", VHU_SET_VRING_BASE, STATE(0, 0), NO_FD, -EBUSY },
	{ "addresses", VHU_SET_VRING_ADDR, ADDR(1, 16, 2, 4), NO_FD, 0 },
	{ "descriptors at 8", VHU_SET_VRING_ADDR, ADDR(1, 8, 2, 4), NO_FD, -EINVAL },
	{ "available ring at 1", VHU_SET_VRING_ADDR, ADDR(1, 16, 1, 4), NO_FD, -EINVAL },
	{ "used ring at 2", VHU_SET_VRING_ADDR, ADDR(1, 16, 2, 2), NO_FD, -EINVAL },
	{ "addresses of a running ring", VHU_SET_VRING_ADDR, ADDR(0, 16, 2, 4), NO_FD, -EBUSY },
	{ "addresses, short", VHU_SET_VRING_ADDR, 32, { .u64 = 1 }, NO_FD, -EINVAL },

	{ "kick", VHU_SET_VRING_KICK, U64(2), EVENT, 0 },
	{ "kick of a running ring", VHU_SET_VRING_KICK, U64(0), EVENT, 0 },
	{ "kick by polling", VHU_SET_VRING_KICK, U64(2 | VHU_VRING_NOFD), NO_FD, -ENOTSUP },
	{ "kick by polling, of a running ring", VHU_SET_VRING_KICK, U64(0 | VHU_VRING_NOFD), NO_FD,
	  -ENOTSUP },
	{ "kick taken back", VHU_SET_VRING_KICK, U64(1 | VHU_VRING_NOFD), NO_FD, 0 },
	{ "kick without descriptor", VHU_SET_VRING_KICK, U64(2), NO_FD, -EINVAL },
	{ "kick with two", VHU_SET_VRING_KICK, U64(2), TWO_EVENTS, -EINVAL },
	{ "kick by a file", VHU_SET_VRING_KICK, U64(2), MEMORY, -EINVAL },
	{ "kick by a pipe", VHU_SET_VRING_KICK, U64(2), PIPE, -EINVAL },
	{ "kick by a socket", VHU_SET_VRING_KICK, U64(2), SOCKET, -EINVAL },
	{ "kick of a ring too many", VHU_SET_VRING_KICK, U64(FAKE_QUEUES), EVENT, -EINVAL },
	{ "call", VHU_SET_VRING_CALL, U64(2), EVENT, 0 },
	{ "call of a running ring", VHU_SET_VRING_CALL, U64(0), EVENT, 0 },
	{ "no call", VHU_SET_VRING_CALL, U64(1 | VHU_VRING_NOFD), NO_FD, 0 },
	{ "no call of a running ring", VHU_SET_VRING_CALL, U64(0 | VHU_VRING_NOFD), NO_FD, 0 },
	{ "no call, with a descriptor", VHU_SET_VRING_CALL, U64(1 | VHU_VRING_NOFD), EVENT,
	  -EINVAL },
	{ "call without descriptor", VHU_SET_VRING_CALL, U64(2), NO_FD, -EINVAL },
	{ "call by a file", VHU_SET_VRING_CALL, U64(2), MEMORY, -EINVAL },
	{ "err", VHU_SET_VRING_ERR, U64(2), EVENT, 0 },
	{ "err of a running ring", VHU_SET_VRING_ERR, U64(0), EVENT, 0 },
	{ "err by a pipe", VHU_SET_VRING_ERR, U64(2), PIPE, -EINVAL, true },
	{ "enable", VHU_SET_VRING_ENABLE, STATE(1, 1), NO_FD, 0 },
	{ "enable twice", VHU_SET_VRING_ENABLE, STATE(0, 1), NO_FD, 0 },
	{ "disable", VHU_SET_VRING_ENABLE, STATE(0, 0), NO_FD, 0 },
	{ "enable by 2", VHU_SET_VRING_ENABLE, STATE(1, 2), NO_FD, -EINVAL },
	{ "enable a ring too many", VHU_SET_VRING_ENABLE, STATE(FAKE_QUEUES, 1), NO_FD, -EINVAL },

	{ "channel", VHU_SET_BACKEND_REQ_FD, NONE, SOCKET, 0 },
	{ "channel with a payload", VHU_SET_BACKEND_REQ_FD, U64(0), SOCKET, 0 },
	{ "channel that is no socket", VHU_SET_BACKEND_REQ_FD, NONE, EVENT, -EINVAL, true },
	{ "channel without descriptor", VHU_SET_BACKEND_REQ_FD, NONE, NO_FD, -EINVAL, true },
	{ "configuration", VHU_SET_CONFIG, CONFIG(13, 32, 1), NO_FD, 0 },
	{ "configuration, to the last byte", VHU_SET_CONFIG, CONFIG(72, 0, 60), NO_FD, 0 },
	{ "configuration, behind the end", VHU_SET_CONFIG, CONFIG(14, 59, 2), NO_FD, -EINVAL,
	  true },
	{ "configuration, no bytes", VHU_SET_CONFIG, CONFIG(12, 0, 0), NO_FD, -EINVAL, true },
	{ "configuration, more than came", VHU_SET_CONFIG, CONFIG(13, 0, 2), NO_FD, -EINVAL, true },
	{ "configuration, 4294967295 bytes", VHU_SET_CONFIG, CONFIG(13, 0, UINT32_MAX), NO_FD,
	  -EINVAL, true },
	{ "configuration, no head", VHU_SET_CONFIG, 8, { .u64 = 0 }, NO_FD, -EINVAL, true },
	{ "reset", VHU_RESET_DEVICE, NONE, NO_FD, 0 },
	{ "status", VHU_SET_STATUS, U64(15), NO_FD, 0 },
	{ "status 0", VHU_SET_STATUS, U64(0), NO_FD, 0 },
	{ "status 256", VHU_SET_STATUS, U64(256), NO_FD, -EINVAL },

	{ "request 0", 0, NONE, NO_FD, -EOPNOTSUPP },
	{ "request 41", 41, U64(0), NO_FD, -EOPNOTSUPP },
	{ "request 41 with descriptors", 41, U64(0), TWO_EVENTS, -EOPNOTSUPP },
	{ "request 4294967295", UINT32_MAX, NONE, NO_FD, -EOPNOTSUPP },
	{ "log", VHU_SET_LOG_FD, NONE, EVENT, -EOPNOTSUPP },
	{ "postcopy", VHU_POSTCOPY_LISTEN, NONE, NO_FD, -EOPNOTSUPP },
	{ "inflight", VHU_SET_INFLIGHT_FD, 24, { .u64 = 0 }, MEMORY, -EOPNOTSUPP },
};
/* clang-format on */

static int new_fd(struct fake_bench *bench, enum fds kind)
{
	int pair[2];

	if (kind == EVENT || kind == TWO_EVENTS)
		return fake_event_fd();
	if (kind == MEMORY || kind == TWO_MEMORIES)
		return fcntl(bench->memory_fd, F_DUPFD_CLOEXEC, 0);
	if (kind == SOCKET)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	else
		assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	fd_close(&pair[1]);
	return pair[0];
}

static struct vhu_message contract_message(struct fake_bench *bench,
					   const struct contract *contract)
{
	struct vhu_message message = vhu_message_make(contract->request, contract->size);

	message.payload = contract->payload;
	if (contract->fds != NO_FD)
		message.fds[message.fd_count++] = new_fd(bench, contract->fds);
	if (contract->fds == TWO_EVENTS || contract->fds == TWO_MEMORIES)
		message.fds[message.fd_count++] = new_fd(bench, contract->fds);
	return message;
}

static struct fake_bench *contract_bench(void)
{
	struct fake_bench *bench;
	void *state;

	fake_bench_setup(&state);
	bench = state;
	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	fake_set_up_ring(bench, 1);
	return bench;
}

static void contract_bench_close(struct fake_bench *bench, const char *what)
{
	void *state = bench;

	if (fake_bench_teardown(&state) != 0)
		fail_msg("%s: a descriptor was left over", what);
}

static void contract_with_reply(const struct contract *contract)
{
	struct fake_bench *bench = contract_bench();
	uint64_t answer = fake_ack(bench, contract_message(bench, contract));

	if (answer != (uint64_t)-contract->expected)
		fail_msg("%s: answered %d instead of %d", contract->what, (int)answer,
			 -contract->expected);
	if (contract->expected && !strstr(vhu_backend_reason(bench->backend), ": "))
		fail_msg("%s: no reason is named: '%s'", contract->what,
			 vhu_backend_reason(bench->backend));
	assert_int_equal(fake_ask(bench, VHU_GET_QUEUE_NUM), FAKE_QUEUES);
	contract_bench_close(bench, contract->what);
}

static void contract_without_reply(const struct contract *contract)
{
	struct fake_bench *bench = contract_bench();
	int expected = contract->survives ? 0 : contract->expected;
	int got = fake_give(bench, contract_message(bench, contract));
	struct vhu_message reply;

	if (got != expected)
		fail_msg("%s: %d instead of %d", contract->what, got, expected);
	assert_false(fake_receive(bench, &reply));
	/* What ended stays ended, whatever else comes. */
	assert_int_equal(fake_give(bench, vhu_message_make(VHU_SET_OWNER, 0)), expected);
	contract_bench_close(bench, contract->what);
}

static void test_contract_when_a_reply_is_wanted_answers(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(contracts); i++)
		contract_with_reply(&contracts[i]);
}

static void test_contract_when_no_reply_is_wanted_lives_or_ends(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(contracts); i++)
		contract_without_reply(&contracts[i]);
}

/* Requests of a protocol feature, before it is negotiated: questions are answered, the rest is refused. */
static void test_request_when_its_feature_is_not_negotiated_is_refused(void **state)
{
	static const enum vhu_request requests[] = { VHU_ADD_MEM_REG, VHU_REM_MEM_REG,
						     VHU_RESET_DEVICE, VHU_SET_STATUS };

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		fake_bench_setup(state);
		assert_int_equal(fake_ask(*state, VHU_GET_QUEUE_NUM), FAKE_QUEUES);
		assert_int_equal(fake_ask(*state, VHU_GET_MAX_MEM_SLOTS), 512);
		assert_int_equal(fake_ask(*state, VHU_GET_STATUS), 0);
		assert_int_equal(fake_give(*state, vhu_message_make(requests[i], 0)), -EPERM);
		assert_int_equal(fake_bench_teardown(state), 0);
	}
}

static void test_reply_when_ack_is_not_negotiated_is_not_sent(void **state)
{
	struct vhu_message message = vhu_message_make(VHU_SET_OWNER, 0), reply;

	message.header.flags |= VHU_FLAG_NEED_REPLY;
	assert_int_equal(fake_give(*state, message), 0);
	assert_false(fake_receive(*state, &reply));
}

static void test_questions_when_asked_are_answered(void **state)
{
	struct fake_bench *bench = *state;

	assert_int_equal(fake_ask(bench, VHU_GET_FEATURES), FAKE_FEATURES | 1ull << 30);
	assert_int_equal(fake_ask(bench, VHU_GET_PROTOCOL_FEATURES), FAKE_PROTOCOL);
	fake_negotiate(bench);
	assert_int_equal(bench->owner.features, FAKE_FEATURES);
	assert_int_equal(fake_ack(bench, fake_u64(VHU_SET_STATUS, 11)), 0);
	assert_int_equal(fake_ask(bench, VHU_GET_STATUS), 11);
	assert_int_equal(fake_give(bench, vhu_message_make(VHU_RESET_DEVICE, 0)), 0);
	assert_int_equal(fake_ask(bench, VHU_GET_STATUS), 0);
	assert_int_equal(bench->owner.features, 0);
}

/* Asks for size bytes, sending sent of them along; 0 = the error form. */
static uint32_t read_config(struct fake_bench *bench, uint32_t offset, uint32_t size, uint32_t sent,
			    uint8_t *bytes)
{
	struct vhu_message message = vhu_message_make(VHU_GET_CONFIG, 12 + sent), reply;

	memset(message.payload.config.bytes, 0xee, VHU_CONFIG_MAX);
	message.payload.config.offset = offset;
	message.payload.config.size = size;
	message.payload.config.flags = 1;
	assert_int_equal(fake_give(bench, message), 0);
	assert_true(fake_receive(bench, &reply));
	if (reply.header.size == 0)
		return 0;
	assert_int_equal(reply.payload.config.offset, offset);
	assert_int_equal(reply.payload.config.size, size);
	assert_int_equal(reply.payload.config.flags, 1);
	memcpy(bytes, reply.payload.config.bytes, size);
	return reply.header.size - 12;
}

static void test_get_config_when_in_range_gives_bytes_padded_with_zeros(void **state)
{
	static const struct {
		uint32_t offset, size, sent;
	} cases[] = { { 0, 60, 60 },        { 0, 256, 256 }, { 0, 256, 0 },
		      { 59, 2, 2 },         { 60, 4, 4 },    { 255, 256, 0 },
		      { UINT32_MAX, 8, 8 }, { 0, 1, 0 },     { 8, 4, 256 } };
	uint8_t bytes[VHU_CONFIG_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t offset = cases[i].offset, size = cases[i].size;

		assert_int_equal(read_config(*state, offset, size, cases[i].sent, bytes), size);
		for (uint32_t k = 0; k < size; k++)
			assert_int_equal(bytes[k], (uint64_t)offset + k < FAKE_CONFIG_SIZE ?
							   offset + k + 1 :
							   0);
	}
}

static void test_get_config_when_impossible_gives_an_empty_reply(void **state)
{
	static const uint32_t sizes[] = { 0, 257, UINT32_MAX };
	uint8_t bytes[VHU_CONFIG_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(read_config(*state, 0, sizes[i], 0, bytes), 0);
}

static void test_config_change_when_there_is_a_channel_is_told(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message message = vhu_message_make(VHU_SET_BACKEND_REQ_FD, 0), told;
	struct vhu_conn channel;
	int pair[2];

	fake_negotiate(bench);
	assert_int_equal(vhu_backend_config_changed(bench->backend), -ENOTCONN);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vhu_conn_init(&channel, pair[0]);
	message.fds[message.fd_count++] = pair[1];
	assert_int_equal(fake_ack(bench, message), 0);
	assert_int_equal(vhu_backend_config_changed(bench->backend), 0);
	assert_int_equal(vhu_conn_receive(&channel, &told, NULL), 1);
	assert_int_equal(told.header.request, VHU_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(told.header.flags, VHU_VERSION);
	assert_int_equal(told.header.size, 0);
	/* Nobody reads: told often enough already. Nobody is there any more: forgotten. */
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(vhu_backend_config_changed(bench->backend), 0);
	vhu_conn_fini(&channel);
	assert_int_equal(vhu_backend_config_changed(bench->backend), -ENOTCONN);
	assert_int_equal(fake_ask(bench, VHU_GET_QUEUE_NUM), FAKE_QUEUES);
}

static void test_table_when_too_short_for_its_count_is_refused_unread(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message table = fake_table(bench);

	fake_negotiate(bench);
	table.payload.memory.count = 2;
	table.fds[table.fd_count++] = fcntl(bench->memory_fd, F_DUPFD_CLOEXEC, 0);
	assert_int_equal(fake_ack(bench, table), EINVAL);
	assert_string_equal(vhu_backend_reason(bench->backend),
			    "SET_MEM_TABLE: a payload of 40 bytes is too short for 2 regions");
}

static void test_channel_when_given_twice_is_replaced(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_conn ends[2];
	struct vhu_message told;

	fake_negotiate(bench);
	for (unsigned i = 0; i < 2; i++) {
		struct vhu_message message = vhu_message_make(VHU_SET_BACKEND_REQ_FD, 0);
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		vhu_conn_init(&ends[i], pair[0]);
		message.fds[message.fd_count++] = pair[1];
		assert_int_equal(fake_ack(bench, message), 0);
	}
	assert_int_equal(vhu_backend_config_changed(bench->backend), 0);
	assert_int_equal(vhu_conn_receive(&ends[0], &told, NULL), -ECONNRESET);
	assert_int_equal(vhu_conn_receive(&ends[1], &told, NULL), 1);
	vhu_conn_fini(&ends[0]);
	vhu_conn_fini(&ends[1]);
}

static void test_front_end_when_it_reads_no_replies_is_ended(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message message = vhu_message_make(VHU_GET_CONFIG, 12);
	int ret = 0;

	message.payload.config.size = VHU_CONFIG_MAX;
	for (unsigned i = 0; i < 1000000 && ret == 0; i++)
		ret = fake_give(bench, message);
	assert_int_equal(ret, -ENOBUFS);
	assert_non_null(strstr(vhu_backend_reason(bench->backend), "does not read"));
}

static void test_front_end_when_it_sends_without_end_is_interrupted(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_header owner = { VHU_SET_OWNER, VHU_VERSION, 0 };
	static struct vhu_header many[2 * VHU_BUDGET];
	int room = sizeof(many) * 2;

	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = owner;
	setsockopt(bench->client.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	assert_int_equal(write(bench->client.fd, many, sizeof(many)), sizeof(many));
	assert_int_equal(vhu_backend_readable(bench->backend), 1);
	assert_int_equal(vhu_backend_readable(bench->backend), 1);
	assert_int_equal(vhu_backend_readable(bench->backend), 0);
}

static void test_front_end_when_it_closes_ends_in_order(void **state)
{
	struct fake_bench *bench = *state;

	fd_close(&bench->client.fd);
	assert_int_equal(vhu_backend_readable(bench->backend), -ECONNRESET);
	assert_int_equal(vhu_backend_readable(bench->backend), -ECONNRESET);
}

#define ON_BENCH(function) \
	cmocka_unit_test_setup_teardown(function, fake_bench_setup, fake_bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contract_when_a_reply_is_wanted_answers),
		cmocka_unit_test(test_contract_when_no_reply_is_wanted_lives_or_ends),
		cmocka_unit_test(test_request_when_its_feature_is_not_negotiated_is_refused),
		ON_BENCH(test_reply_when_ack_is_not_negotiated_is_not_sent),
		ON_BENCH(test_questions_when_asked_are_answered),
		ON_BENCH(test_get_config_when_in_range_gives_bytes_padded_with_zeros),
		ON_BENCH(test_get_config_when_impossible_gives_an_empty_reply),
		ON_BENCH(test_config_change_when_there_is_a_channel_is_told),
		ON_BENCH(test_table_when_too_short_for_its_count_is_refused_unread),
		ON_BENCH(test_channel_when_given_twice_is_replaced),
		ON_BENCH(test_front_end_when_it_reads_no_replies_is_ended),
		ON_BENCH(test_front_end_when_it_sends_without_end_is_interrupted),
		ON_BENCH(test_front_end_when_it_closes_ends_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
