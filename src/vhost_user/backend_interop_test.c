// SPDX-License-Identifier: MIT
/*
 * What well-known front ends send, in their order and with their habits. QEMU's part was recorded from version 7.2; the others
 * are modelled on what is known of them, not recorded.
 */
#include "vhost_user/fake_owner.h"

#include "base/fd.h"

#include <string.h>
#include <sys/socket.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BIT(number) (1ull << (number))

/* A request without reply: accepted, and nothing comes back. */
static void tell(struct fake_bench *bench, struct vhu_message message)
{
	struct vhu_message reply;

	if (fake_give(bench, message) != 0)
		fail_msg("request %u: %s", message.header.request,
			 vhu_backend_reason(bench->backend));
	assert_false(fake_receive(bench, &reply));
}

static void tell_event(struct fake_bench *bench, enum vhu_request request, unsigned ring)
{
	tell(bench, fake_vring_fd(request, ring, fake_event_fd()));
}

static uint32_t get_base(struct fake_bench *bench, unsigned ring)
{
	struct vhu_message reply;

	assert_int_equal(fake_give(bench, fake_state(VHU_GET_VRING_BASE, ring, 0)), 0);
	assert_true(fake_receive(bench, &reply));
	return reply.payload.state.num;
}

static void get_config(struct fake_bench *bench, uint32_t size, uint32_t flags)
{
	struct vhu_message message = vhu_message_make(VHU_GET_CONFIG, 12 + size), reply;

	message.payload.config.size = size;
	message.payload.config.flags = flags;
	assert_int_equal(fake_give(bench, message), 0);
	assert_true(fake_receive(bench, &reply));
	assert_int_equal(reply.header.size, message.header.size);
	assert_int_equal(reply.payload.config.offset, 0);
	assert_int_equal(reply.payload.config.size, size);
	assert_int_equal(reply.payload.config.flags, flags);
	assert_int_equal(reply.payload.config.bytes[MIN(size, FAKE_CONFIG_SIZE) - 1],
			 MIN(size, FAKE_CONFIG_SIZE));
}

static uint64_t ask_features(struct fake_bench *bench)
{
	uint64_t features = fake_ask(bench, VHU_GET_FEATURES);

	assert_true(features & BIT(30));
	assert_true(fake_ask(bench, VHU_GET_PROTOCOL_FEATURES) & BIT(VHU_PROTOCOL_CONFIG));
	return features;
}

/* ---- QEMU ---- */

static void qemu_add_status(struct fake_bench *bench, uint8_t bits)
{
	uint64_t status = fake_ask(bench, VHU_GET_STATUS);

	if ((status & bits) != bits)
		tell(bench, fake_u64(VHU_SET_STATUS, status | bits));
}

static void qemu_connect(struct fake_bench *bench)
{
	struct vhu_message channel = vhu_message_make(VHU_SET_BACKEND_REQ_FD, 0);
	int pair[2];

	ask_features(bench);
	tell(bench, fake_u64(VHU_SET_PROTOCOL_FEATURES, FAKE_PROTOCOL));
	assert_int_equal(fake_ask(bench, VHU_GET_QUEUE_NUM), FAKE_QUEUES);
	assert_int_equal(fake_ask(bench, VHU_GET_MAX_MEM_SLOTS), 512);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	channel.fds[channel.fd_count++] = pair[0];
	assert_int_equal(fake_ack(bench, channel), 0);
	fd_close(&pair[1]);
	tell(bench, vhu_message_make(VHU_SET_OWNER, 0));
	fake_ask(bench, VHU_GET_FEATURES);
	for (unsigned i = 0; i < 2; i++) {
		tell_event(bench, VHU_SET_VRING_CALL, i);
		tell_event(bench, VHU_SET_VRING_ERR, i);
	}
	get_config(bench, 57, 0);
}

static void qemu_start(struct fake_bench *bench, uint32_t base, bool first)
{
	for (unsigned i = 0; i < 2; i++) {
		tell(bench, fake_u64(VHU_SET_FEATURES, FAKE_FEATURES | BIT(30)));
		qemu_add_status(bench, 8);
	}
	tell_event(bench, VHU_SET_VRING_CALL, 0);
	for (unsigned i = 0; first && i < 3; i++)
		assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, i)), 0);
	tell(bench, fake_state(VHU_SET_VRING_NUM, 0, 128));
	tell(bench, fake_state(VHU_SET_VRING_BASE, 0, base));
	tell(bench, fake_addr(0, FAKE_USER));
	tell_event(bench, VHU_SET_VRING_KICK, 0);
	for (unsigned i = 0; i < 2; i++)
		tell(bench, fake_state(VHU_SET_VRING_ENABLE, i, 1));
	qemu_add_status(bench, 15);
	assert_true(bench->owner.rings[0].running);
	assert_true(bench->owner.rings[0].given.call_fd >= 0);
	assert_false(
		bench->owner.rings[1].running); /* the guest's firmware set up one queue only */
}

static void qemu_disable(struct fake_bench *bench)
{
	for (unsigned i = 0; i < 2; i++)
		tell(bench, fake_state(VHU_SET_VRING_ENABLE, i, 0));
}

/* The guest is paused and goes on: its ring must go on where it was. Version 7 resets before it asks for the index. */
static void test_qemu_when_the_guest_is_paused_and_continued_goes_on(void **state)
{
	struct fake_bench *bench = *state;

	qemu_connect(bench);
	qemu_start(bench, 0, true);
	for (uint32_t base = 172; base < 900; base += 129) {
		bench->owner.rings[0].base = (uint16_t)base;
		if (base % 2) { /* version 8 and later: the other way round */
			qemu_disable(bench);
			assert_int_equal(get_base(bench, 0), base);
			tell(bench, fake_u64(VHU_SET_STATUS, 0));
		} else {
			tell(bench, fake_u64(VHU_SET_STATUS, 0));
			qemu_disable(bench);
			assert_int_equal(get_base(bench, 0), base);
		}
		qemu_start(bench, base, false);
		assert_int_equal(bench->owner.rings[0].given.base, base);
	}
}

static void test_qemu_when_notifications_are_masked_changes_the_call(void **state)
{
	struct fake_bench *bench = *state;

	qemu_connect(bench);
	qemu_start(bench, 0, true);
	tell_event(bench, VHU_SET_VRING_CALL, 0);
	tell_event(bench, VHU_SET_VRING_CALL, 1);
	assert_int_equal(bench->owner.calls[FAKE_SET_CALL], 1);
	tell(bench, vhu_message_make(VHU_RESET_OWNER, 0));
	assert_true(bench->owner.rings[0].running);
}

/* ---- the others ---- */

/* One queue, CONFIG and nothing else, nothing is acknowledged. */
static void test_firecracker_when_it_starts_a_disk_gets_it(void **state)
{
	struct fake_bench *bench = *state;

	tell(bench, vhu_message_make(VHU_SET_OWNER, 0));
	ask_features(bench);
	tell(bench, fake_u64(VHU_SET_PROTOCOL_FEATURES, BIT(VHU_PROTOCOL_CONFIG)));
	get_config(bench, 60, 1);
	tell(bench, fake_u64(VHU_SET_FEATURES, BIT(32) | BIT(29) | BIT(30)));
	tell(bench, fake_table(bench));
	tell(bench, fake_state(VHU_SET_VRING_NUM, 0, 256));
	tell(bench, fake_addr(0, FAKE_USER));
	tell(bench, fake_state(VHU_SET_VRING_BASE, 0, 0));
	tell_event(bench, VHU_SET_VRING_CALL, 0);
	tell_event(bench, VHU_SET_VRING_KICK, 0);
	assert_false(bench->owner.rings[0].running);
	tell(bench, fake_state(VHU_SET_VRING_ENABLE, 0, 1));
	assert_true(bench->owner.rings[0].running);
	get_config(bench, 60, 1); /* how it learns of another size */
}

/* Everything is acknowledged; the configuration is written with flag 1; memory is plugged in later. */
static void test_cloud_hypervisor_when_it_starts_pauses_and_plugs_gets_it(void **state)
{
	struct fake_bench *bench = *state;
	struct vhu_message wce = vhu_message_make(VHU_SET_CONFIG, 13), table = fake_table(bench);

	tell(bench, vhu_message_make(VHU_SET_OWNER, 0));
	ask_features(bench);
	tell(bench,
	     fake_u64(VHU_SET_PROTOCOL_FEATURES, BIT(VHU_PROTOCOL_CONFIG) | BIT(VHU_PROTOCOL_MQ) |
							 BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS) |
							 BIT(VHU_PROTOCOL_REPLY_ACK)));
	assert_int_equal(fake_ask(bench, VHU_GET_QUEUE_NUM), FAKE_QUEUES);
	get_config(bench, 60, 1);
	wce.payload.config.offset = 32;
	wce.payload.config.size = 1;
	wce.payload.config.flags = 1;
	assert_int_equal(fake_ack(bench, wce), 0);
	assert_int_equal(fake_ack(bench, fake_u64(VHU_SET_FEATURES, FAKE_FEATURES | BIT(30))), 0);
	table.payload.memory.regions[0].size = FAKE_MEMORY_SIZE - 4096;
	assert_int_equal(fake_ack(bench, table), 0);
	for (unsigned i = 0; i < 2; i++)
		fake_start_ring(bench, i);
	assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, 15)), 0);
	assert_int_equal(bench->owner.map->count, 2);
	for (unsigned i = 0; i < 2; i++) { /* pause and resume are ENABLE */
		assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, i, 0)), 0);
		assert_false(bench->owner.rings[i].enabled);
		assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, i, 1)), 0);
		assert_true(bench->owner.rings[i].enabled);
		assert_int_equal(get_base(bench, i), 0);
	}
}

/* The calls come first for all queues, the configuration is asked for in its greatest size, memory may come again. */
static void test_spdk_when_it_attaches_a_disk_gets_it(void **state)
{
	struct fake_bench *bench = *state;

	tell(bench, vhu_message_make(VHU_SET_OWNER, 0));
	ask_features(bench);
	tell(bench,
	     fake_u64(VHU_SET_PROTOCOL_FEATURES, BIT(VHU_PROTOCOL_CONFIG) | BIT(VHU_PROTOCOL_MQ)));
	get_config(bench, 256, 0);
	assert_int_equal(fake_ask(bench, VHU_GET_QUEUE_NUM), FAKE_QUEUES);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		tell_event(bench, VHU_SET_VRING_CALL, i);
	tell(bench, fake_u64(VHU_SET_FEATURES, BIT(32) | BIT(30)));
	tell(bench, fake_table(bench));
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		tell(bench, fake_state(VHU_SET_VRING_NUM, i, 128));
		tell(bench, fake_state(VHU_SET_VRING_BASE, i, 0));
		tell(bench, fake_addr(i, FAKE_USER + 12288ull * i));
		tell_event(bench, VHU_SET_VRING_KICK, i);
		tell(bench, fake_state(VHU_SET_VRING_ENABLE, i, 1));
		assert_true(bench->owner.rings[i].running);
	}
	tell(bench, fake_table(bench));
	assert_int_equal(bench->owner.calls[FAKE_SET_MAP], 2);
	assert_int_equal(get_base(bench, 3), 0);
}

/* Memory region by region, some after rings were started. */
static void test_libblkio_when_it_maps_memory_later_gets_it(void **state)
{
	struct fake_bench *bench = *state;

	tell(bench, vhu_message_make(VHU_SET_OWNER, 0));
	ask_features(bench);
	tell(bench, fake_u64(VHU_SET_PROTOCOL_FEATURES, FAKE_PROTOCOL & ~BIT(VHU_PROTOCOL_STATUS) &
								~BIT(VHU_PROTOCOL_BACKEND_REQ)));
	assert_int_equal(fake_ask(bench, VHU_GET_MAX_MEM_SLOTS), 512);
	get_config(bench, 60, 0);
	assert_int_equal(fake_ack(bench, fake_u64(VHU_SET_FEATURES, FAKE_FEATURES | BIT(30))), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, i)), 0);
	fake_start_ring(bench, 0);
	for (unsigned i = 3; i < 16; i++)
		assert_int_equal(fake_ack(bench, fake_region(bench, VHU_ADD_MEM_REG, i)), 0);
	for (unsigned i = 3; i < 16; i++)
		assert_int_equal(fake_ack(bench, fake_region(bench, VHU_REM_MEM_REG, i)), 0);
	assert_int_equal(bench->owner.map->count, 3);
	assert_true(bench->owner.rings[0].running);
}

/* Nothing but the original protocol: no bit 30, one ring, enabled by itself. */
static void test_old_front_end_when_it_knows_no_protocol_features_gets_its_ring(void **state)
{
	struct fake_bench *bench = *state;

	tell(bench, vhu_message_make(VHU_SET_OWNER, 0));
	fake_ask(bench, VHU_GET_FEATURES);
	tell(bench, fake_u64(VHU_SET_FEATURES, BIT(32)));
	tell(bench, fake_table(bench));
	tell(bench, fake_state(VHU_SET_VRING_NUM, 0, 256));
	tell(bench, fake_state(VHU_SET_VRING_BASE, 0, 0));
	tell(bench, fake_addr(0, FAKE_USER));
	tell_event(bench, VHU_SET_VRING_KICK, 0);
	assert_true(bench->owner.rings[0].running);
	tell_event(bench, VHU_SET_VRING_CALL, 0);
	assert_int_equal(get_base(bench, 0), 0);
}

#define ON_BENCH(function) \
	cmocka_unit_test_setup_teardown(function, fake_bench_setup, fake_bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BENCH(test_qemu_when_the_guest_is_paused_and_continued_goes_on),
		ON_BENCH(test_qemu_when_notifications_are_masked_changes_the_call),
		ON_BENCH(test_firecracker_when_it_starts_a_disk_gets_it),
		ON_BENCH(test_cloud_hypervisor_when_it_starts_pauses_and_plugs_gets_it),
		ON_BENCH(test_spdk_when_it_attaches_a_disk_gets_it),
		ON_BENCH(test_libblkio_when_it_maps_memory_later_gets_it),
		ON_BENCH(test_old_front_end_when_it_knows_no_protocol_features_gets_its_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
