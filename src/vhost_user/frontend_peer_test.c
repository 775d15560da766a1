// SPDX-License-Identifier: MIT
/*
 * The front end against scripted back ends: each lacks a feature that real ones lack, refuses in a form that real ones use, or
 * goes wrong at one request.
 */
#include "vhost_user/frontend.h"

#include "base/clock.h"
#include "base/fd.h"
#include "vhost_user/fake_owner.h"
#include "vhost_user/fake_peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TIMEOUT_MS 10000u
#define SHORT_MS 50u
#define BIT(number) (1ull << (number))
#define PEER_FEATURES (BIT(32) | BIT(12) | BIT(30))
#define ALL_PROTOCOL                                                                          \
	(BIT(VHU_PROTOCOL_MQ) | BIT(VHU_PROTOCOL_REPLY_ACK) | BIT(VHU_PROTOCOL_BACKEND_REQ) | \
	 BIT(VHU_PROTOCOL_CONFIG) | BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS) |                   \
	 BIT(VHU_PROTOCOL_STATUS))

struct pairing {
	struct fake_peer peer;
	struct vhu_frontend *frontend;
	struct error error;
	struct dma_region memory;
	unsigned fds_before;
};

static int pairing_setup(void **state)
{
	struct pairing *pairing = calloc(1, sizeof(*pairing));

	assert_non_null(pairing);
	pairing->fds_before = fake_count_fds();
	assert_int_equal(dma_region_alloc(65536, &pairing->memory, NULL), 0);
	pairing->peer = (struct fake_peer){ .features = PEER_FEATURES,
					    .protocol_features = ALL_PROTOCOL,
					    .queue_num = 16,
					    .mem_slots = 32,
					    .config_size = 60 };
	*state = pairing;
	return 0;
}

static int pairing_teardown(void **state)
{
	struct pairing *pairing = *state;
	unsigned before = pairing->fds_before;

	dma_region_free(&pairing->memory);
	free(pairing);
	return fake_count_fds() == before ? 0 : -1;
}

static int pairing_attach(struct pairing *pairing, unsigned timeout_ms)
{
	int fd = fake_peer_start(&pairing->peer);

	return vhu_frontend_attach(fd, timeout_ms, &pairing->frontend, &pairing->error);
}

static void pairing_begin(struct pairing *pairing)
{
	if (pairing_attach(pairing, TIMEOUT_MS) != 0)
		fail_msg("%s", pairing->error.text);
}

static void pairing_end(struct pairing *pairing)
{
	vhu_frontend_close(pairing->frontend);
	pairing->frontend = NULL;
	fake_peer_join(&pairing->peer);
}

/* Everything a driver does from start to stop. Returns the first error. */
static int whole_life(struct pairing *pairing)
{
	struct vhu_frontend *frontend = pairing->frontend;
	struct error *error = &pairing->error;
	fd_auto kick = fake_event_fd();
	fd_auto call = fake_event_fd();
	uint64_t base = (uintptr_t)pairing->memory.addr;
	struct vhu_frontend_ring ring = { .size = 64,
					  .desc = base,
					  .avail = base + 4096,
					  .used = base + 8192,
					  .kick_fd = kick,
					  .call_fd = call };
	uint16_t index = 0;
	int ret = vhu_frontend_set_features(frontend, BIT(32), error);

	if (ret == 0)
		ret = vhu_frontend_set_mem(frontend, &pairing->memory, 1, error);
	if (ret == 0)
		ret = vhu_frontend_ring_start(frontend, 0, &ring, error);
	if (ret == 0)
		ret = vhu_frontend_set_status(frontend, 15, error);
	if (ret == 0)
		ret = vhu_frontend_ring_stop(frontend, 0, &index, error);
	if (ret == 0)
		assert_int_equal(index, 77);
	return ret;
}

/* Each protocol feature missing, and all at once, and no bit 30 at all: a whole life works. */
static void test_front_end_when_a_feature_is_missing_works_without(void **state)
{
	static const uint64_t missing[] = { 0,
					    BIT(VHU_PROTOCOL_MQ),
					    BIT(VHU_PROTOCOL_REPLY_ACK),
					    BIT(VHU_PROTOCOL_BACKEND_REQ),
					    BIT(VHU_PROTOCOL_CONFIG),
					    BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS),
					    BIT(VHU_PROTOCOL_STATUS),
					    ALL_PROTOCOL };

	for (unsigned i = 0; i <= ARRAY_SIZE(missing); i++) {
		struct pairing *pairing;
		uint64_t lacks = i < ARRAY_SIZE(missing) ? missing[i] : ALL_PROTOCOL;
		bool acks = !(lacks & BIT(VHU_PROTOCOL_REPLY_ACK));

		pairing_setup(state);
		pairing = *state;
		pairing->peer.protocol_features &= ~lacks;
		if (i == ARRAY_SIZE(missing))
			pairing->peer.features &= ~BIT(30);
		pairing_begin(pairing);
		assert_int_equal(vhu_frontend_protocol_features(pairing->frontend),
				 ALL_PROTOCOL & ~lacks);
		assert_int_equal(vhu_frontend_queue_max(pairing->frontend),
				 lacks & BIT(VHU_PROTOCOL_MQ) ? 1 : 16);
		assert_int_equal(vhu_frontend_mem_slots(pairing->frontend),
				 lacks & BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS) ? 8 : 32);
		assert_int_equal(vhu_frontend_backend_fd(pairing->frontend) >= 0,
				 !(lacks & BIT(VHU_PROTOCOL_BACKEND_REQ)));
		if (whole_life(pairing) != 0)
			fail_msg("without 0x%x: %s", (unsigned)lacks, pairing->error.text);
		pairing_end(pairing);
		for (unsigned k = 0; k < pairing->peer.log_count; k++)
			if (!acks)
				assert_int_equal(pairing->peer.log[k].flags, VHU_VERSION);
		/* Without acknowledgements: one barrier per call that has no reply. */
		assert_int_equal(fake_peer_count(&pairing->peer, VHU_GET_FEATURES),
				 1 + (acks ? 0 : 3 + !(lacks & BIT(VHU_PROTOCOL_STATUS))));
		assert_int_equal(fake_peer_count(&pairing->peer, VHU_SET_VRING_ENABLE),
				 i < ARRAY_SIZE(missing));
		assert_int_equal(fake_peer_count(&pairing->peer, VHU_SET_MEM_TABLE),
				 !!(lacks & BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS)));
		assert_int_equal(pairing_teardown(state), 0);
	}
}

static void test_features_when_set_carry_bit_30_and_no_stranger(void **state)
{
	struct pairing *pairing = *state;

	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_features(pairing->frontend), PEER_FEATURES);
	assert_int_equal(vhu_frontend_set_features(pairing->frontend, BIT(33), &pairing->error),
			 -EINVAL);
	assert_int_equal(vhu_frontend_set_features(pairing->frontend, BIT(32), &pairing->error), 0);
	pairing_end(pairing);
	assert_int_equal(pairing->peer.last_features.payload.u64, BIT(32) | BIT(30));
	assert_int_equal(fake_peer_count(&pairing->peer, VHU_SET_FEATURES), 1);
}

static void test_get_config_when_sizes_are_refused_descends(void **state)
{
	static const struct {
		enum peer_config form;
		uint32_t has, asked, expected;
	} cases[] = {
		{ CONFIG_NO_PAYLOAD, 60, 96, 60 },  { CONFIG_NO_PAYLOAD, 60, 60, 60 },
		{ CONFIG_NO_PAYLOAD, 60, 256, 60 }, { CONFIG_NO_PAYLOAD, 36, 96, 36 },
		{ CONFIG_NO_PAYLOAD, 72, 96, 72 },  { CONFIG_NO_PAYLOAD, 8, 96, 8 },
		{ CONFIG_ZERO_SIZE, 60, 96, 60 },   { CONFIG_ZERO_SIZE, 36, 60, 36 },
		{ CONFIG_SHORT, 57, 96, 57 },       { CONFIG_SHORT, 60, 60, 60 },
		{ CONFIG_AS_ASKED, 60, 96, 96 },    { CONFIG_NO_PAYLOAD, 96, 300, 96 },
		{ CONFIG_NO_PAYLOAD, 60, 50, 50 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[300];
		uint32_t got = 0;
		struct pairing *pairing;

		pairing_setup(state);
		pairing = *state;
		pairing->peer.config = cases[i].form;
		pairing->peer.config_size = cases[i].has;
		pairing_begin(pairing);
		memset(bytes, 0xee, sizeof(bytes));
		assert_int_equal(vhu_frontend_get_config(pairing->frontend, bytes, cases[i].asked,
							 &got, &pairing->error),
				 0);
		assert_int_equal(got, cases[i].expected);
		for (uint32_t k = 0; k < cases[i].asked; k++)
			assert_int_equal(bytes[k],
					 k < MIN(got, cases[i].has) ? PEER_CONFIG_BYTE(k) : 0);
		pairing_end(pairing);
		assert_int_equal(pairing_teardown(state), 0);
	}
}

static void test_get_config_when_refused_in_every_size_says_so_and_lives(void **state)
{
	struct pairing *pairing = *state;
	uint8_t bytes[96];
	uint32_t got = 12345;

	pairing->peer.config_size = 4;
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_get_config(pairing->frontend, bytes, sizeof(bytes), &got,
						 &pairing->error),
			 -EREMOTEIO);
	assert_int_equal(got, 12345);
	assert_int_equal(whole_life(pairing), 0);
	pairing_end(pairing);
}

static void test_get_config_when_the_back_end_closes_over_it_is_a_reset(void **state)
{
	struct pairing *pairing = *state;
	uint8_t bytes[96];
	uint32_t got;

	pairing->peer.config = CONFIG_CLOSES;
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_get_config(pairing->frontend, bytes, sizeof(bytes), &got,
						 &pairing->error),
			 -ECONNRESET);
	assert_string_equal(pairing->error.text, "GET_CONFIG: the peer closed the connection");
	pairing_end(pairing);
}

static void test_config_when_the_feature_is_missing_is_not_asked(void **state)
{
	struct pairing *pairing = *state;
	uint8_t bytes[96];
	uint32_t got;

	pairing->peer.protocol_features &= ~BIT(VHU_PROTOCOL_CONFIG);
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_get_config(pairing->frontend, bytes, 96, &got, NULL),
			 -ENOTSUP);
	assert_int_equal(vhu_frontend_set_config(pairing->frontend, 32, bytes, 1, NULL), -ENOTSUP);
	pairing_end(pairing);
	assert_int_equal(fake_peer_count(&pairing->peer, VHU_GET_CONFIG), 0);
}

static void test_memory_when_slots_are_missing_is_sent_as_a_whole(void **state)
{
	struct pairing *pairing = *state;
	struct dma_region regions[3];

	for (unsigned i = 0; i < 3; i++)
		regions[i] = (struct dma_region){ (char *)pairing->memory.addr + 4096 * i, 4096,
						  pairing->memory.fd, 4096 * i };
	pairing->peer.protocol_features &= ~BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS);
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_set_mem(pairing->frontend, regions, 1, &pairing->error), 0);
	assert_int_equal(vhu_frontend_add_mem(pairing->frontend, &regions[1], &pairing->error), 0);
	assert_int_equal(vhu_frontend_add_mem(pairing->frontend, &regions[2], &pairing->error), 0);
	assert_int_equal(vhu_frontend_remove_mem(pairing->frontend, &regions[0], &pairing->error),
			 0);
	assert_int_equal(vhu_frontend_remove_mem(pairing->frontend, &regions[0], &pairing->error),
			 -ENOENT);
	pairing_end(pairing);
	assert_int_equal(fake_peer_count(&pairing->peer, VHU_SET_MEM_TABLE), 4);
	assert_int_equal(pairing->peer.fds_count,
			 1 + 1 + 2 + 3 + 2); /* the first is the channel's */
	assert_int_equal(pairing->peer.last_table.payload.memory.count, 2);
	assert_int_equal(pairing->peer.last_table.payload.memory.regions[0].guest_addr,
			 (uintptr_t)regions[1].addr);
	assert_int_equal(pairing->peer.last_table.payload.memory.regions[1].user_addr,
			 (uintptr_t)regions[2].addr);
	assert_int_equal(pairing->peer.last_table.payload.memory.regions[1].mmap_offset, 8192);
}

/* The owner of the memory closes the file; its number may be that of a secret by the time of the next table. */
static void test_memory_when_its_removal_is_refused_is_not_sent_again(void **state)
{
	struct pairing *pairing = *state;
	struct dma_region regions[3];

	for (unsigned i = 0; i < 3; i++)
		regions[i] = (struct dma_region){ (char *)pairing->memory.addr + 4096 * i, 4096,
						  pairing->memory.fd, 4096 * i };
	pairing->peer.protocol_features &= ~BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS);
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_set_mem(pairing->frontend, regions, 2, &pairing->error), 0);
	pairing->peer.when = VHU_SET_MEM_TABLE;
	pairing->peer.trick = TRICK_REFUSE;
	assert_int_equal(vhu_frontend_remove_mem(pairing->frontend, &regions[1], &pairing->error),
			 -EREMOTEIO);
	pairing->peer.trick = TRICK_NONE;
	assert_int_equal(vhu_frontend_add_mem(pairing->frontend, &regions[2], &pairing->error), 0);
	pairing_end(pairing);
	assert_int_equal(pairing->peer.last_table.payload.memory.count, 2);
	assert_int_equal(pairing->peer.last_table.payload.memory.regions[1].guest_addr,
			 (uintptr_t)regions[2].addr);
}

static void test_memory_when_there_are_slots_goes_one_by_one(void **state)
{
	struct pairing *pairing = *state;
	struct dma_region regions[16], one_more = pairing->memory;

	for (unsigned i = 0; i < 16; i++)
		regions[i] = (struct dma_region){ (char *)pairing->memory.addr + 4096 * i, 4096,
						  pairing->memory.fd, 4096 * i };
	pairing->peer.mem_slots = 16;
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_set_mem(pairing->frontend, regions, 16, &pairing->error), 0);
	assert_int_equal(vhu_frontend_add_mem(pairing->frontend, &one_more, &pairing->error),
			 -E2BIG);
	assert_int_equal(vhu_frontend_remove_mem(pairing->frontend, &regions[3], &pairing->error),
			 0);
	assert_int_equal(vhu_frontend_set_mem(pairing->frontend, regions, 2, &pairing->error), 0);
	pairing_end(pairing);
	assert_int_equal(fake_peer_count(&pairing->peer, VHU_ADD_MEM_REG), 18);
	assert_int_equal(fake_peer_count(&pairing->peer, VHU_REM_MEM_REG), 16);
	assert_int_equal(pairing->peer.fds_count, 1 + 18); /* removing sends none */
	assert_int_equal(pairing->peer.last_region.payload.region.region.guest_addr,
			 (uintptr_t)regions[1].addr);
}

static void test_memory_when_it_cannot_be_shared_is_refused_here(void **state)
{
	struct pairing *pairing = *state;
	struct dma_region nine[9] = { 0 };

	pairing->peer.protocol_features &= ~BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS);
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_set_mem(pairing->frontend, nine, 9, &pairing->error), -E2BIG);
	assert_int_equal(vhu_frontend_set_mem(pairing->frontend, nine, 8, &pairing->error),
			 -EINVAL);
	nine[0] = pairing->memory;
	nine[0].fd = -1;
	assert_int_equal(vhu_frontend_add_mem(pairing->frontend, nine, &pairing->error), -EINVAL);
	pairing_end(pairing);
	assert_int_equal(fake_peer_count(&pairing->peer, VHU_SET_MEM_TABLE), 0);
}

/* A back end that goes wrong at one request, for each request of a whole life. */
static bool is_named(const struct pairing *pairing, enum vhu_request request)
{
	const char *name = vhu_request_name(request);

	return strncmp(pairing->error.text, name, strlen(name)) == 0;
}

struct trick_case {
	enum peer_trick trick;
	int expected;
};

/* False: the peer is so slow that the time was over before it came to its trick. */
static bool trick_check(void **state, enum vhu_request request, const struct trick_case *it)
{
	const char *name = vhu_request_name(request);
	bool mute = it->expected == -ETIMEDOUT, came = true;
	struct pairing *pairing;
	int ret;

	pairing_setup(state);
	pairing = *state;
	pairing->peer.when = request;
	pairing->peer.trick = it->trick;
	ret = pairing_attach(pairing, mute ? SHORT_MS : TIMEOUT_MS);
	if (ret == 0)
		ret = whole_life(pairing);
	if (ret != it->expected)
		fail_msg("%s, trick %u: %d instead of %d: %s", name, it->trick, ret, it->expected,
			 pairing->error.text);
	if (it->expected)
		came = is_named(pairing, request);
	if (!came && !mute)
		fail_msg("%s is not named: %s", name, pairing->error.text);
	/* Out of step is out of step: every further call fails at once, the same way. */
	if (it->expected && pairing->frontend)
		assert_int_equal(vhu_frontend_set_features(pairing->frontend, 0, NULL),
				 it->expected);
	pairing_end(pairing);
	assert_int_equal(pairing_teardown(state), 0);
	return came;
}

static void test_front_end_when_the_back_end_goes_wrong_says_where(void **state)
{
	static const enum vhu_request requests[] = {
		VHU_SET_BACKEND_REQ_FD, VHU_GET_FEATURES,      VHU_GET_PROTOCOL_FEATURES,
		VHU_GET_QUEUE_NUM,      VHU_GET_MAX_MEM_SLOTS, VHU_SET_FEATURES,
		VHU_ADD_MEM_REG,        VHU_SET_VRING_NUM,     VHU_SET_VRING_BASE,
		VHU_SET_VRING_ADDR,     VHU_SET_VRING_CALL,    VHU_SET_VRING_KICK,
		VHU_SET_VRING_ENABLE,   VHU_SET_STATUS,        VHU_GET_VRING_BASE,
	};
	static const struct trick_case tricks[] = {
		{ TRICK_CLOSE, -ECONNRESET },
		{ TRICK_CLOSE_IN_REPLY, -EPROTO },
		{ TRICK_MUTE, -ETIMEDOUT },
		{ TRICK_OTHER_REQUEST, -EPROTO },
		{ TRICK_NO_REPLY_FLAG, -EPROTO },
		{ TRICK_WRONG_SIZE, -EPROTO },
		{ TRICK_WRONG_VERSION, -EPROTO },
		{ TRICK_SEND_FDS, 0 },
		{ TRICK_DRIBBLE, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(requests) * ARRAY_SIZE(tricks); i++) {
		enum vhu_request request = requests[i / ARRAY_SIZE(tricks)];
		uint64_t end = clock_ns() + TIMEOUT_MS * NS_PER_MS;

		while (!trick_check(state, request, &tricks[i % ARRAY_SIZE(tricks)]))
			if (clock_ns() > end)
				fail_msg("%s is never named", vhu_request_name(request));
	}
}

static void test_front_end_when_refused_lives(void **state)
{
	static const enum vhu_request requests[] = { VHU_SET_FEATURES, VHU_ADD_MEM_REG,
						     VHU_SET_VRING_NUM, VHU_SET_VRING_KICK,
						     VHU_SET_VRING_ENABLE };

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		struct pairing *pairing;
		uint16_t base;

		pairing_setup(state);
		pairing = *state;
		pairing->peer.when = requests[i];
		pairing->peer.trick = TRICK_REFUSE;
		pairing_begin(pairing);
		assert_int_equal(whole_life(pairing), -EREMOTEIO);
		assert_non_null(strstr(pairing->error.text, vhu_request_name(requests[i])));
		assert_int_equal(vhu_frontend_ring_stop(pairing->frontend, 3, &base, NULL), 0);
		pairing_end(pairing);
		assert_int_equal(pairing_teardown(state), 0);
	}
}

static void test_channel_when_refused_is_done_without(void **state)
{
	struct pairing *pairing = *state;

	pairing->peer.when = VHU_SET_BACKEND_REQ_FD;
	pairing->peer.trick = TRICK_REFUSE;
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_backend_fd(pairing->frontend), -1);
	assert_int_equal(vhu_frontend_backend_event(pairing->frontend), -ENOTCONN);
	assert_int_equal(whole_life(pairing), 0);
	pairing_end(pairing);
}

static void test_stop_when_the_answer_is_for_another_ring_is_nonsense(void **state)
{
	struct pairing *pairing = *state;
	uint16_t base;

	pairing->peer.when = VHU_GET_VRING_BASE;
	pairing->peer.trick = TRICK_WRONG_INDEX;
	pairing_begin(pairing);
	assert_int_equal(vhu_frontend_ring_stop(pairing->frontend, 0, &base, &pairing->error),
			 -EPROTO);
	assert_int_equal(vhu_frontend_ring_stop(pairing->frontend, 0, &base, &pairing->error),
			 -EPROTO);
	pairing_end(pairing);
	assert_int_equal(fake_peer_count(&pairing->peer, VHU_GET_VRING_BASE), 1);
}

static void test_limits_when_absurd_are_bounded_or_refused(void **state)
{
	static const struct {
		uint64_t queues, slots;
		int expected;
		unsigned queue_max, mem_slots;
	} cases[] = { { UINT64_MAX, UINT64_MAX, 0, 256, 512 },
		      { 1ull << 32, 1ull << 32, 0, 256, 512 },
		      { 1, 1, 0, 1, 1 },
		      { 0, 8, -EPROTO, 0, 0 },
		      { 8, 0, -EPROTO, 0, 0 } };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pairing *pairing;

		pairing_setup(state);
		pairing = *state;
		pairing->peer.queue_num = cases[i].queues;
		pairing->peer.mem_slots = cases[i].slots;
		assert_int_equal(pairing_attach(pairing, TIMEOUT_MS), cases[i].expected);
		if (pairing->frontend) {
			assert_int_equal(vhu_frontend_queue_max(pairing->frontend),
					 cases[i].queue_max);
			assert_int_equal(vhu_frontend_mem_slots(pairing->frontend),
					 cases[i].mem_slots);
		}
		pairing_end(pairing);
		assert_int_equal(pairing_teardown(state), 0);
	}
}

#define PAIRED(function) cmocka_unit_test_setup_teardown(function, pairing_setup, pairing_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_front_end_when_a_feature_is_missing_works_without),
		PAIRED(test_features_when_set_carry_bit_30_and_no_stranger),
		cmocka_unit_test(test_get_config_when_sizes_are_refused_descends),
		PAIRED(test_get_config_when_refused_in_every_size_says_so_and_lives),
		PAIRED(test_get_config_when_the_back_end_closes_over_it_is_a_reset),
		PAIRED(test_config_when_the_feature_is_missing_is_not_asked),
		PAIRED(test_memory_when_slots_are_missing_is_sent_as_a_whole),
		PAIRED(test_memory_when_its_removal_is_refused_is_not_sent_again),
		PAIRED(test_memory_when_there_are_slots_goes_one_by_one),
		PAIRED(test_memory_when_it_cannot_be_shared_is_refused_here),
		cmocka_unit_test(test_front_end_when_the_back_end_goes_wrong_says_where),
		cmocka_unit_test(test_front_end_when_refused_lives),
		PAIRED(test_channel_when_refused_is_done_without),
		PAIRED(test_stop_when_the_answer_is_for_another_ring_is_nonsense),
		cmocka_unit_test(test_limits_when_absurd_are_bounded_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
