// SPDX-License-Identifier: MIT
/*
 * Hostile front ends: sequences of plausible and of random messages from fixed seeds, with random answers of the owner. Nothing
 * may crash, hang, leak a descriptor or break what the bench's owner asserts (a ring that runs is not started again, one that
 * does not run is not stopped).
 */
#include "vhost_user/fake_owner.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CONNECTIONS 300
#define MESSAGES 120

static uint64_t seed;

/* splitmix64 */
static uint64_t draw(void)
{
	uint64_t z = (seed += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint64_t below(uint64_t limit)
{
	return draw() % limit;
}

static bool one_in(unsigned count)
{
	return below(count) == 0;
}

/* Numbers at the edges of what is allowed. */
static uint64_t edge(void)
{
	static const uint64_t edges[] = { 0,          1,           2,          3,
					  4,          FAKE_QUEUES, 255,        256,
					  257,        1024,        1025,       65535,
					  65536,      1 << 30,     1ull << 30, FAKE_USER,
					  FAKE_GUEST, UINT32_MAX,  UINT64_MAX };

	return edges[below(ARRAY_SIZE(edges))];
}

static int random_fd(struct fake_bench *bench)
{
	int pair[2];

	switch (below(4)) {
	case 0:
		return fcntl(bench->memory_fd, F_DUPFD_CLOEXEC, 0);
	case 1:
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		fd_close(&pair[1]);
		return pair[0];
	default:
		return fake_event_fd();
	}
}

static struct vhu_message plausible(struct fake_bench *bench)
{
	unsigned ring = (unsigned)below(FAKE_QUEUES);
	unsigned page = (unsigned)below(16);

	switch (below(18)) {
	case 0:
		return fake_state(VHU_SET_VRING_NUM, ring, 64);
	case 1:
		return fake_state(VHU_SET_VRING_BASE, ring, (uint32_t)below(65536));
	case 2:
		return fake_addr(ring, FAKE_USER + 4096 * below(14));
	case 3:
	case 4:
		return fake_vring_fd(VHU_SET_VRING_KICK, ring, fake_event_fd());
	case 5:
		return fake_vring_fd(VHU_SET_VRING_CALL, ring, one_in(2) ? -1 : fake_event_fd());
	case 6:
		return fake_vring_fd(VHU_SET_VRING_ERR, ring, fake_event_fd());
	case 7:
	case 8:
		return fake_state(VHU_SET_VRING_ENABLE, ring, !one_in(4));
	case 9:
	case 10:
		return fake_table(bench);
	case 11:
		return fake_region(bench, VHU_ADD_MEM_REG, page);
	case 12:
		return fake_region(bench, VHU_REM_MEM_REG, page);
	case 13:
		return fake_state(VHU_GET_VRING_BASE, ring, 0);
	case 14:
		return fake_u64(VHU_SET_STATUS, below(2) * 15);
	case 15:
		return fake_u64(VHU_SET_FEATURES, FAKE_FEATURES | (one_in(3) ? 0 : 1ull << 30));
	case 16:
		return vhu_message_make(VHU_GET_FEATURES, 0);
	default:
		return vhu_message_make(VHU_RESET_DEVICE, 0);
	}
}

static struct vhu_message nonsense(struct fake_bench *bench)
{
	struct vhu_message message = vhu_message_make((uint32_t)below(VHU_REQUEST_MAX + 4), 0);
	uint64_t *words = (uint64_t *)&message.payload;
	static const uint32_t sizes[] = { 0, 4, 8, 12, 40, 72, 264, 268 };

	message.header.size = one_in(3) ? (uint32_t)below(VHU_PAYLOAD_MAX + 1) :
					  sizes[below(ARRAY_SIZE(sizes))];
	for (unsigned i = 0; i < sizeof(message.payload) / sizeof(*words); i++)
		words[i] = one_in(2) ? edge() : draw();
	if (one_in(2))
		message.payload.state.index = (uint32_t)below(FAKE_QUEUES + 1);
	for (uint64_t count = one_in(2) ? 0 : below(VHU_FDS_MAX + 1); count > 0; count--)
		message.fds[message.fd_count++] = random_fd(bench);
	return message;
}

static int random_answer(void)
{
	return one_in(24) ? -ENOMEM : one_in(3) ? VHU_PENDING : 0;
}

/* The owner ends what is pending, perhaps with an error, until nothing is. */
static int complete_all(struct fake_bench *bench)
{
	int ret = 0;

	while (ret == 0 && vhu_backend_pending(bench->backend)) {
		struct fake_owner *owner = &bench->owner;
		struct fake_ring *ring = NULL;
		int result = one_in(24) ? -EIO : 0;

		for (unsigned i = 0; i < FAKE_QUEUES && owner->last == FAKE_RING_START; i++)
			if (owner->rings[i].running && !vhu_backend_ring_running(bench->backend, i))
				ring = &owner->rings[i];
		if (ring && result < 0) {
			ring->running = false;
			fd_close(&ring->given.kick_fd);
			fd_close(&ring->given.call_fd);
			fd_close(&ring->given.err_fd);
		}
		if (owner->last == FAKE_RING_STOP)
			result = (int)below(65536);
		ret = vhu_backend_complete(bench->backend, result);
	}
	return ret;
}

static void drain_client(struct fake_bench *bench)
{
	struct vhu_message reply;

	for (int i = 0; i < 4 * MESSAGES && vhu_conn_receive(&bench->client, &reply, NULL) == 1;
	     i++)
		vhu_message_close_fds(&reply);
}

static int give(struct fake_bench *bench, struct vhu_message message)
{
	int ret;

	if (!one_in(20))
		message.header.flags |= VHU_FLAG_NEED_REPLY;
	if (one_in(1000))
		message.header.flags ^= (uint32_t)below(16);
	for (enum fake_op op = 0; op < FAKE_OPS; op++)
		bench->owner.answers[op] = random_answer();
	ret = fake_give(bench, message);
	if (ret >= 0)
		ret = complete_all(bench);
	drain_client(bench);
	return ret;
}

/* What honest front ends do, so that the sequences get somewhere; a step may be missing or refused. */
static int give_ring(struct fake_bench *bench)
{
	unsigned ring = (unsigned)below(FAKE_QUEUES);
	int ret = 0;

	for (unsigned i = 0; i < 6 && ret >= 0; i++) {
		struct vhu_message messages[] = {
			fake_table(bench),
			fake_state(VHU_SET_VRING_NUM, ring, 64),
			fake_state(VHU_SET_VRING_BASE, ring, 0),
			fake_addr(ring, FAKE_USER),
			fake_state(VHU_SET_VRING_ENABLE, ring, 1),
			fake_u64(VHU_SET_VRING_KICK, ring),
		};

		if (i == 5)
			messages[i].fds[messages[i].fd_count++] = fake_event_fd();
		if (i > 0 || !bench->owner.map)
			ret = give(bench, messages[i]);
	}
	return ret;
}

static int give_random(struct fake_bench *bench, unsigned nonsense_one_in)
{
	if (one_in(nonsense_one_in))
		return give(bench, nonsense(bench));
	return one_in(8) ? give_ring(bench) : give(bench, plausible(bench));
}

/* Both sides must agree on which rings run, whatever happened. */
static void check_rings(struct fake_bench *bench)
{
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		assert_int_equal(vhu_backend_ring_running(bench->backend, i),
				 bench->owner.rings[i].running);
}

static unsigned play(uint64_t number, unsigned nonsense_one_in, bool with_acks)
{
	struct fake_bench *bench;
	unsigned started;
	void *state;
	int ret = 0;

	seed = number;
	fake_bench_setup(&state);
	bench = state;
	if (with_acks)
		fake_negotiate(bench);
	for (unsigned i = 0; i < MESSAGES && ret >= 0; i++) {
		ret = give_random(bench, nonsense_one_in);
		if (ret >= 0)
			check_rings(bench);
	}
	if (ret < 0)
		assert_true(vhu_backend_reason(bench->backend)[0]);
	started = bench->owner.calls[FAKE_RING_START];
	if (fake_bench_teardown(&state) != 0)
		fail_msg("seed %u: a descriptor was left over", (unsigned)number);
	return started;
}

static void test_backend_when_given_random_sequences_stays_sound(void **state)
{
	unsigned started = 0;

	for (unsigned i = 0; i < CONNECTIONS; i++)
		started += play(i, 10, true);
	assert_true(started > CONNECTIONS); /* the sequences got somewhere */
}

static void test_backend_when_given_nonsense_stays_sound(void **state)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		play(1000 + i, 1, i % 2);
}

static void test_backend_when_given_random_bytes_ends_with_a_reason(void **state)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		uint32_t words[64];
		struct fake_bench *bench;

		seed = 2000 + i;
		fake_bench_setup(state);
		bench = *state;
		for (unsigned k = 0; k < ARRAY_SIZE(words); k++)
			words[k] = one_in(2) ? (uint32_t)edge() : (uint32_t)draw();
		words[0] = (uint32_t)below(VHU_REQUEST_MAX);
		assert_int_equal(send(bench->client.fd, words, sizeof(words), MSG_NOSIGNAL),
				 sizeof(words));
		fd_close(&bench->client.fd);
		assert_true(vhu_backend_readable(bench->backend) < 0);
		assert_true(vhu_backend_reason(bench->backend)[0]);
		assert_int_equal(fake_bench_teardown(state), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backend_when_given_random_sequences_stays_sound),
		cmocka_unit_test(test_backend_when_given_nonsense_stays_sound),
		cmocka_unit_test(test_backend_when_given_random_bytes_ends_with_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
