// SPDX-License-Identifier: MIT
/* The life of rings: started by whatever comes last, stopped and reset while the owner takes its time, maps that change. */
#include "vhost_user/fake_owner.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NUM, ADDR, BASE, KICK, ENABLE, TABLE, STEPS };

static void step(struct fake_bench *bench, unsigned what)
{
	struct vhu_message messages[] = {
		[NUM] = fake_state(VHU_SET_VRING_NUM, 2, 256),
		[ADDR] = fake_addr(2, FAKE_USER),
		[BASE] = fake_state(VHU_SET_VRING_BASE, 2, 7),
		[KICK] = fake_u64(VHU_SET_VRING_KICK, 2),
		[ENABLE] = fake_state(VHU_SET_VRING_ENABLE, 2, 1),
		[TABLE] = fake_table(bench),
	};

	if (what == KICK)
		messages[what].fds[messages[what].fd_count++] = fake_event_fd();
	assert_int_equal(fake_ack(bench, messages[what]), 0);
}

/* Whichever of the six comes last starts the ring, not earlier. */
static void test_ring_when_its_last_part_comes_starts(void **state)
{
	for (unsigned last = 0; last < STEPS; last++) {
		struct fake_bench *bench;

		fake_bench_setup(state);
		bench = *state;
		fake_negotiate(bench);
		for (unsigned i = 1; i < STEPS; i++)
			step(bench, (last + i) % STEPS);
		assert_int_equal(bench->owner.calls[FAKE_RING_START], 0);
		step(bench, last);
		assert_int_equal(bench->owner.calls[FAKE_RING_START], 1);
		assert_true(vhu_backend_ring_running(bench->backend, 2));
		assert_int_equal(bench->owner.rings[2].given.size, 256);
		assert_int_equal(bench->owner.rings[2].given.base, 7);
		assert_int_equal(fake_bench_teardown(state), 0);
	}
}

static void test_ring_when_started_lies_where_the_front_end_said(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_ring_memory *memory = &bench->owner.rings[2].given.memory;

	fake_negotiate(bench);
	for (unsigned i = 0; i < STEPS; i++)
		step(bench, i);
	assert_int_equal(pwrite(bench->memory_fd, "desc", 4, 0), 4);
	assert_int_equal(pwrite(bench->memory_fd, "avail", 5, 4096), 5);
	assert_int_equal(pwrite(bench->memory_fd, "used", 4, 8192), 4);
	assert_memory_equal(memory->desc, "desc", 4);
	assert_memory_equal(memory->avail, "avail", 5);
	assert_memory_equal(memory->used, "used", 4);
	assert_true(fcntl(bench->owner.rings[2].given.kick_fd, F_GETFL) & O_NONBLOCK);
}

static void test_rings_when_bit_30_is_not_negotiated_need_no_enable(void **state)
{
	struct fake_bench *bench = *state;

	assert_int_equal(fake_give(bench, fake_u64(VHU_SET_PROTOCOL_FEATURES, FAKE_PROTOCOL)), 0);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_set_up_ring(bench, 0);
	fake_set_up_ring(bench, 1);
	assert_int_equal(bench->owner.calls[FAKE_RING_START], 0);
	assert_int_equal(fake_ack(bench, fake_u64(VHU_SET_FEATURES, FAKE_FEATURES)), 0);
	assert_int_equal(bench->owner.calls[FAKE_RING_START], 2);
	fake_set_up_ring(bench, 2);
	assert_true(bench->owner.rings[2].running);
}

static void test_ring_when_bit_30_is_negotiated_later_is_disabled_again(void **state)
{
	struct fake_bench *bench = *state;

	assert_int_equal(fake_give(bench, fake_u64(VHU_SET_FEATURES, FAKE_FEATURES)), 0);
	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_set_up_ring(bench, 0);
	assert_int_equal(bench->owner.calls[FAKE_RING_START], 0);
}

static void test_ring_when_outside_of_the_table_is_refused_or_waits(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	/* Its descriptors, available and used ring need pages 0, 1 and 2; the table grows page by page around it. */
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, 0)), 0);
	fake_set_up_ring(bench, 0);
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, 0, 1)), EFAULT);
	assert_non_null(strstr(vhu_backend_reason(bench->backend),
			       "SET_VRING_ENABLE: ring 0 does not lie"));
	assert_int_equal(bench->owner.calls[FAKE_RING_START], 0);
	/* The kick is gone with the refusal; sent again before memory is there it waits for memory. */
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_REM_MEM_REG, 0)), 0);
	fake_set_up_ring(bench, 0);
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, 0)), 0);
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, 1)), 0);
	assert_int_equal(bench->owner.calls[FAKE_RING_START], 0);
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, 2)), 0);
	assert_int_equal(bench->owner.calls[FAKE_RING_START], 1);
}

static void test_ring_when_a_byte_too_long_for_its_region_is_refused(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message addr = fake_addr(0, FAKE_USER);

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	/* 128 used elements and two words at each end: 1030 bytes. */
	addr.payload.addr.used = FAKE_USER + FAKE_MEMORY_SIZE - 1028;
	fake_set_up_ring(bench, 0);
	assert_int_equal(fake_ack(bench, addr), 0);
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, 0, 1)), EFAULT);
	addr.payload.addr.used -= 4;
	fake_set_up_ring(bench, 0);
	assert_true(bench->owner.rings[0].running);
	assert_int_equal(fake_ack(bench, addr), EBUSY);
}

static uint32_t stop_ring(struct fake_bench *bench, unsigned index)
{
	struct vhu_message reply;

	assert_int_equal(fake_give(bench, fake_state(VHU_GET_VRING_BASE, index, 0)), 0);
	assert_true(fake_receive(bench, &reply));
	assert_int_equal(reply.header.request, VHU_GET_VRING_BASE);
	assert_int_equal(reply.header.size, sizeof(struct vhu_vring_state));
	assert_int_equal(reply.payload.state.index, index);
	return reply.payload.state.num;
}

static void test_stop_when_the_ring_runs_answers_its_base(void **state)
{
	static const uint16_t bases[] = { 0, 1, 2, 65535 };
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
		fake_start_ring(bench, 1);
		bench->owner.rings[1].base = bases[i];
		assert_int_equal(stop_ring(bench, 1), bases[i]);
		assert_false(vhu_backend_ring_running(bench->backend, 1));
		assert_int_equal(stop_ring(bench, 1), bases[i]);
	}
	assert_int_equal(bench->owner.calls[FAKE_RING_STOP], ARRAY_SIZE(bases));
}

static void test_stop_when_the_ring_never_ran_answers_the_stored_base(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(stop_ring(bench, 3), 0);
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_BASE, 3, 1234)), 0);
	assert_int_equal(stop_ring(bench, 3), 1234);
	assert_int_equal(bench->owner.calls[FAKE_RING_STOP], 0);
}

static void test_stop_when_the_index_is_wrong_ends_the_connection(void **state)
{
	assert_int_equal(fake_give(*state, fake_state(VHU_GET_VRING_BASE, FAKE_QUEUES, 0)),
			 -EINVAL);
}

static void test_ring_when_stopped_needs_everything_again(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	stop_ring(bench, 0);
	assert_int_equal(fake_ack(bench, fake_vring_fd(VHU_SET_VRING_KICK, 0, fake_event_fd())), 0);
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_NUM, 0, 128)), 0);
	assert_int_equal(fake_ack(bench, fake_addr(0, FAKE_USER)), 0);
	assert_false(bench->owner.rings[0].running);
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_BASE, 0, 9)), 0);
	assert_true(bench->owner.rings[0].running); /* it was still enabled */
}

static void test_kick_when_given_before_a_stop_or_reset_is_forgotten(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	for (unsigned round = 0; round < 2; round++) {
		fake_set_up_ring(bench, 0);
		if (round == 0)
			stop_ring(bench, 0);
		else
			assert_int_equal(fake_ack(bench, vhu_message_make(VHU_RESET_DEVICE, 0)), 0);
		assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_NUM, 0, 128)), 0);
		assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_BASE, 0, 0)), 0);
		assert_int_equal(fake_ack(bench, fake_addr(0, FAKE_USER)), 0);
		assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, 0, 1)), 0);
		assert_int_equal(bench->owner.calls[FAKE_RING_START], 0);
		assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, 0, 0)), 0);
	}
}

static void test_message_when_an_operation_is_pending_waits(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message reply;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	bench->owner.answers[FAKE_RING_STOP] = VHU_PENDING;
	assert_int_equal(fake_give(bench, fake_state(VHU_GET_VRING_BASE, 0, 0)), 0);
	assert_int_equal(fake_give(bench, vhu_message_make(VHU_GET_QUEUE_NUM, 0)), 0);
	assert_true(vhu_backend_pending(bench->backend));
	assert_false(fake_receive(bench, &reply));
	assert_int_equal(vhu_backend_complete(bench->backend, 1), 0);
	assert_false(vhu_backend_pending(bench->backend));
	assert_true(fake_receive(bench, &reply));
	assert_int_equal(reply.header.request, VHU_GET_VRING_BASE);
	assert_int_equal(reply.payload.state.num, 1);
	assert_false(fake_receive(bench, &reply));
	assert_int_equal(vhu_backend_readable(bench->backend), 0);
	assert_true(fake_receive(bench, &reply));
	assert_int_equal(reply.header.request, VHU_GET_QUEUE_NUM);
}

static void test_peer_when_gone_while_pending_ends_after_completion(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	bench->owner.answers[FAKE_RING_STOP] = VHU_PENDING;
	assert_int_equal(fake_give(bench, fake_state(VHU_GET_VRING_BASE, 0, 0)), 0);
	fd_close(&bench->client.fd);
	assert_int_equal(vhu_backend_readable(bench->backend), 0);
	assert_int_equal(vhu_backend_complete(bench->backend, 5), -ECONNRESET);
	assert_int_equal(vhu_backend_readable(bench->backend), -ECONNRESET);
}

static void test_backend_when_freed_while_pending_leaves_nothing(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	bench->owner.answers[FAKE_SET_MAP] = VHU_PENDING;
	assert_int_equal(fake_give(bench, fake_table(bench)), 0);
	assert_true(vhu_backend_pending(bench->backend)); /* the tear-down frees */
}

/* Each operation pending, then succeeding and failing: the acknowledgement comes afterwards and says which. */
static void test_operation_when_pending_is_acknowledged_when_complete(void **state)
{
	const struct {
		enum fake_op op;
		struct vhu_message message;
	} cases[] = {
		{ FAKE_SET_FEATURES, fake_u64(VHU_SET_FEATURES, 1ull << 30) },
		{ FAKE_SET_ENABLED, fake_state(VHU_SET_VRING_ENABLE, 0, 0) },
		{ FAKE_SET_CALL, fake_vring_fd(VHU_SET_VRING_CALL, 0, -1) },
		{ FAKE_RESET, vhu_message_make(VHU_RESET_DEVICE, 0) },
		{ FAKE_SET_CONFIG, vhu_message_make(VHU_SET_CONFIG, 16) },
		{ FAKE_SET_MAP, vhu_message_make(VHU_SET_MEM_TABLE, 8) },
	};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		enum fake_op op = cases[i / 2].op;
		struct vhu_message message = cases[i / 2].message, reply;
		struct fake_bench *bench;
		int result = i % 2 ? -EIO : 0;

		fake_bench_setup(state);
		bench = *state;
		fake_negotiate(bench);
		assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
		if (op == FAKE_SET_ENABLED || op == FAKE_SET_CALL)
			fake_start_ring(bench, 0);
		bench->owner.answers[op] = VHU_PENDING;
		message.header.flags |= VHU_FLAG_NEED_REPLY;
		message.payload.config.size = op == FAKE_SET_CONFIG ? 4 :
								      message.payload.config.size;
		assert_int_equal(fake_give(bench, message), 0);
		assert_int_equal(bench->owner.last, op);
		assert_false(fake_receive(bench, &reply));
		assert_int_equal(vhu_backend_complete(bench->backend, result), 0);
		assert_true(fake_receive(bench, &reply));
		assert_int_equal(reply.payload.u64, -result);
		assert_int_equal(fake_bench_teardown(state), 0);
	}
}

static void test_starts_when_pending_go_one_after_the_other(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message table = fake_table(bench), reply;

	fake_negotiate(bench);
	for (unsigned i = 0; i < 3; i++) {
		fake_set_up_ring(bench, i);
		assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, i, 1)), 0);
	}
	bench->owner.answers[FAKE_RING_START] = VHU_PENDING;
	bench->owner.answers[FAKE_SET_MAP] = VHU_PENDING;
	table.header.flags |= VHU_FLAG_NEED_REPLY;
	assert_int_equal(fake_give(bench, table), 0);
	for (unsigned started = 0; started <= 3; started++) {
		assert_int_equal(bench->owner.calls[FAKE_RING_START], started);
		assert_false(fake_receive(bench, &reply));
		assert_int_equal(vhu_backend_complete(bench->backend, 0), 0);
	}
	assert_false(vhu_backend_pending(bench->backend));
	assert_true(fake_receive(bench, &reply));
	assert_int_equal(reply.payload.u64, 0);
	assert_true(vhu_backend_ring_running(bench->backend, 2));
}

static void test_start_when_the_owner_refuses_is_answered_and_may_be_tried_again(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_set_up_ring(bench, 0);
	bench->owner.answers[FAKE_RING_START] = -ENOMEM;
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, 0, 1)), ENOMEM);
	assert_string_equal(vhu_backend_reason(bench->backend),
			    "SET_VRING_ENABLE: Cannot allocate memory");
	bench->owner.answers[FAKE_RING_START] = 0;
	assert_int_equal(fake_ack(bench, fake_vring_fd(VHU_SET_VRING_KICK, 0, fake_event_fd())), 0);
	assert_false(
		vhu_backend_ring_running(bench->backend, 0)); /* the rest must come again, too */
	fake_set_up_ring(bench, 0);
	assert_true(vhu_backend_ring_running(bench->backend, 0));
}

static void test_reset_when_rings_run_stops_each_and_keeps_their_bases(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message message = fake_u64(VHU_SET_STATUS, 0), reply;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	fake_start_ring(bench, 2);
	bench->owner.answers[FAKE_RING_STOP] = VHU_PENDING;
	bench->owner.answers[FAKE_RESET] = VHU_PENDING;
	message.header.flags |= VHU_FLAG_NEED_REPLY;
	assert_int_equal(fake_give(bench, message), 0);
	assert_int_equal(bench->owner.pending_ring, 0);
	assert_int_equal(vhu_backend_complete(bench->backend, 100), 0);
	assert_int_equal(bench->owner.pending_ring, 2);
	assert_int_equal(bench->owner.calls[FAKE_RESET], 0);
	assert_int_equal(vhu_backend_complete(bench->backend, 102), 0);
	assert_int_equal(bench->owner.calls[FAKE_RESET], 1);
	assert_false(fake_receive(bench, &reply));
	assert_int_equal(vhu_backend_complete(bench->backend, 0), 0);
	assert_true(fake_receive(bench, &reply));
	assert_int_equal(reply.payload.u64, 0);
	assert_int_equal(stop_ring(bench, 0), 100);
	assert_int_equal(stop_ring(bench, 1), 0);
	assert_int_equal(stop_ring(bench, 2), 102);
}

static void test_reset_when_done_keeps_memory_but_no_ring_is_enabled(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	assert_int_equal(fake_ack(bench, vhu_message_make(VHU_RESET_DEVICE, 0)), 0);
	fake_set_up_ring(bench, 0);
	assert_false(vhu_backend_ring_running(bench->backend, 0));
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, 0, 1)), 0);
	assert_true(vhu_backend_ring_running(bench->backend, 0));
	assert_int_equal(bench->owner.calls[FAKE_SET_MAP], 1);
}

static void test_ring_memory_when_the_map_changes_moves_or_is_lost(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message other = fake_table(bench);
	struct vhu_ring_memory memory;
	struct mem_map *old;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	old = mem_map_ref(bench->owner.map);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	assert_int_equal(vhu_backend_ring_memory(bench->backend, 0, bench->owner.map, &memory), 0);
	assert_ptr_not_equal(memory.desc, bench->owner.rings[0].given.memory.desc);
	assert_int_equal(vhu_backend_ring_memory(bench->backend, 0, old, &memory), 0);
	assert_ptr_equal(memory.desc, bench->owner.rings[0].given.memory.desc);
	other.payload.memory.regions[0].user_addr += FAKE_MEMORY_SIZE;
	assert_int_equal(fake_ack(bench, other), 0);
	assert_int_equal(vhu_backend_ring_memory(bench->backend, 0, bench->owner.map, &memory),
			 -EFAULT);
	mem_map_unref(old);
}

static void test_map_when_the_owner_refuses_stays_the_old_one(void **state)
{
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, 0)), 0);
	bench->owner.answers[FAKE_SET_MAP] = -ENOMEM;
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, 1)), ENOMEM);
	bench->owner.answers[FAKE_SET_MAP] = 0;
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, 2)), 0);
	assert_int_equal(bench->owner.map->count, 2);
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_REM_MEM_REG, 1)), ENOENT);
}

static void test_ring_when_enabled_twice_tells_the_owner_of_changes_only(void **state)
{
	static const unsigned values[] = { 1, 0, 0, 1, 1 }, told[] = { 0, 1, 1, 2, 2 };
	struct fake_bench *bench = *state;

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, 0, values[i])),
				 0);
		assert_int_equal(bench->owner.calls[FAKE_SET_ENABLED], told[i]);
		assert_int_equal(bench->owner.rings[0].enabled, values[i]);
	}
}

static void test_ring_when_running_gets_new_descriptors(void **state)
{
	struct fake_bench *bench = *state;
	int fd = fake_event_fd();

	fake_negotiate(bench);
	assert_int_equal(fake_ack(bench, fake_table(bench)), 0);
	fake_start_ring(bench, 0);
	event_fd_signal(fd);
	assert_int_equal(fake_ack(bench, fake_vring_fd(VHU_SET_VRING_KICK, 0,
						       fcntl(fd, F_DUPFD_CLOEXEC, 0))),
			 0);
	assert_int_equal(bench->owner.calls[FAKE_SET_KICK], 1);
	assert_true(event_fd_clear(bench->owner.rings[0].given.kick_fd));
	event_fd_signal(fd);
	assert_int_equal(fake_ack(bench, fake_vring_fd(VHU_SET_VRING_CALL, 0, fd)), 0);
	assert_true(event_fd_clear(bench->owner.rings[0].given.call_fd));
	assert_int_equal(fake_ack(bench, fake_vring_fd(VHU_SET_VRING_CALL, 0, -1)), 0);
	assert_int_equal(bench->owner.rings[0].given.call_fd, -1);
}

#define ON_BENCH(function) \
	cmocka_unit_test_setup_teardown(function, fake_bench_setup, fake_bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_when_its_last_part_comes_starts),
		ON_BENCH(test_ring_when_started_lies_where_the_front_end_said),
		ON_BENCH(test_rings_when_bit_30_is_not_negotiated_need_no_enable),
		ON_BENCH(test_ring_when_bit_30_is_negotiated_later_is_disabled_again),
		ON_BENCH(test_ring_when_outside_of_the_table_is_refused_or_waits),
		ON_BENCH(test_ring_when_a_byte_too_long_for_its_region_is_refused),
		ON_BENCH(test_stop_when_the_ring_runs_answers_its_base),
		ON_BENCH(test_stop_when_the_ring_never_ran_answers_the_stored_base),
		ON_BENCH(test_stop_when_the_index_is_wrong_ends_the_connection),
		ON_BENCH(test_ring_when_stopped_needs_everything_again),
		ON_BENCH(test_kick_when_given_before_a_stop_or_reset_is_forgotten),
		ON_BENCH(test_message_when_an_operation_is_pending_waits),
		ON_BENCH(test_peer_when_gone_while_pending_ends_after_completion),
		ON_BENCH(test_backend_when_freed_while_pending_leaves_nothing),
		cmocka_unit_test(test_operation_when_pending_is_acknowledged_when_complete),
		ON_BENCH(test_starts_when_pending_go_one_after_the_other),
		ON_BENCH(test_start_when_the_owner_refuses_is_answered_and_may_be_tried_again),
		ON_BENCH(test_reset_when_rings_run_stops_each_and_keeps_their_bases),
		ON_BENCH(test_reset_when_done_keeps_memory_but_no_ring_is_enabled),
		ON_BENCH(test_ring_memory_when_the_map_changes_moves_or_is_lost),
		ON_BENCH(test_map_when_the_owner_refuses_stays_the_old_one),
		ON_BENCH(test_ring_when_enabled_twice_tells_the_owner_of_changes_only),
		ON_BENCH(test_ring_when_running_gets_new_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
