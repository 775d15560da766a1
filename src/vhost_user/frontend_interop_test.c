// SPDX-License-Identifier: MIT
/*
 * A driver's whole life on each well-known back end, as far as its control messages go: what it offers, how it answers a
 * question for more configuration than it has, how much memory it takes. Modelled on what is known of them, not recorded.
 */
#include "vhost_user/frontend.h"

#include "base/fd.h"
#include "vhost_user/fake_owner.h"
#include "vhost_user/fake_peer.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TIMEOUT_MS 10000u
#define BIT(number) (1ull << (number))
#define CONFIG_ASKED 96u
#define PEER_BASE 77 /* of the fake peer's rings */

#define MQ BIT(VHU_PROTOCOL_MQ)
#define LOG BIT(VHU_PROTOCOL_LOG_SHMFD)
#define ACK BIT(VHU_PROTOCOL_REPLY_ACK)
#define CHANNEL (BIT(VHU_PROTOCOL_BACKEND_REQ) | BIT(VHU_PROTOCOL_BACKEND_SEND_FD))
#define CONFIG BIT(VHU_PROTOCOL_CONFIG)
#define INFLIGHT BIT(VHU_PROTOCOL_INFLIGHT_SHMFD)
#define SLOTS BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS)
#define STATUS BIT(VHU_PROTOCOL_STATUS)
#define PAGEFAULT BIT(8)
#define HOST_NOTIFIER BIT(11)
#define DEVICE_STATE BIT(19)
#define BASE_INFLIGHT BIT(20)
#define RTE_VHOST (MQ | LOG | ACK | CHANNEL | PAGEFAULT | HOST_NOTIFIER | STATUS)

#define MODERN BIT(VIRTIO_F_VERSION_1)
#define INDIRECT BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX BIT(VIRTIO_RING_F_EVENT_IDX)

struct back_end {
	const char *name;
	uint64_t features, protocol_features; /* bit 30 comes of itself when the latter are not 0 */
	uint64_t queue_num, mem_slots;
	uint32_t config_size;
	enum peer_config config;
	/* what a driver gets to see */
	uint32_t config_read; /* 0: -ENOTSUP */
};

static const struct back_end back_ends[] = {
	{ "libvhost-user", MODERN | INDIRECT | EVENT_IDX,
	  MQ | LOG | ACK | CHANNEL | HOST_NOTIFIER | SLOTS | CONFIG, 16, 509, 60, CONFIG_NO_PAYLOAD,
	  60 },
	{ "vhost-user-scsi of QEMU", MODERN | INDIRECT | EVENT_IDX,
	  MQ | LOG | ACK | CHANNEL | HOST_NOTIFIER | SLOTS, 8, 509, 0, CONFIG_NO_PAYLOAD, 0 },
	{ "SPDK vhost-blk", MODERN | INDIRECT, RTE_VHOST | CONFIG | INFLIGHT, 256, 8, 60,
	  CONFIG_AS_ASKED, CONFIG_ASKED },
	{ "SPDK vhost-scsi", MODERN | INDIRECT, RTE_VHOST | INFLIGHT, 128, 8, 0, CONFIG_NO_PAYLOAD,
	  0 },
	{ "rte_vhost with memory slots", MODERN | INDIRECT, RTE_VHOST | CONFIG | SLOTS, 128, 64, 60,
	  CONFIG_AS_ASKED, CONFIG_ASKED },
	{ "vhost-user-backend of rust-vmm", MODERN | INDIRECT | EVENT_IDX, MQ | ACK | CONFIG, 4, 8,
	  60, CONFIG_ZERO_SIZE, 60 },
	{ "vhost-device-scsi", MODERN | INDIRECT | EVENT_IDX, MQ | ACK | CONFIG, 3, 8, 36,
	  CONFIG_ZERO_SIZE, 36 },
	{ "vhost_user_block of Cloud Hypervisor", MODERN | EVENT_IDX,
	  MQ | ACK | CONFIG | SLOTS | DEVICE_STATE, 4, 32, 60, CONFIG_ZERO_SIZE, 60 },
	{ "yc-libvhost-server", MODERN | INDIRECT | EVENT_IDX,
	  MQ | LOG | ACK | CONFIG | INFLIGHT | SLOTS | BASE_INFLIGHT, 16, 32, 60, CONFIG_SHORT,
	  60 },
	{ "one from before protocol features", MODERN, 0, 16, 8, 0, CONFIG_NO_PAYLOAD, 0 },
};

static void check_ok(int ret, const struct back_end *back_end, const struct error *error)
{
	if (ret != 0)
		fail_msg("%s: %s", back_end->name, error->text);
}

static void check_config(struct vhu_frontend *frontend, const struct back_end *back_end)
{
	uint8_t bytes[CONFIG_ASKED];
	struct error error;
	uint32_t size = 0;
	int ret = vhu_frontend_get_config(frontend, bytes, sizeof(bytes), &size, &error);

	if (!back_end->config_read) {
		assert_int_equal(ret, -ENOTSUP);
		return;
	}
	check_ok(ret, back_end, &error);
	assert_int_equal(size, back_end->config_read);
	assert_int_equal(bytes[35], PEER_CONFIG_BYTE(35));
}

/* Rings run, a region comes and goes meanwhile, the rings stop. */
static void check_rings(struct vhu_frontend *frontend, const struct back_end *back_end,
			const struct dma_region regions[2])
{
	uint64_t base = (uintptr_t)regions[0].addr;
	fd_auto kick = fake_event_fd();
	fd_auto call = fake_event_fd();
	const struct vhu_frontend_ring ring = { .size = 64,
						.desc = base,
						.avail = base + 4096,
						.used = base + 8192,
						.kick_fd = kick,
						.call_fd = call };
	struct error error;
	uint16_t index;

	check_ok(vhu_frontend_set_mem(frontend, regions, 1, &error), back_end, &error);
	check_ok(vhu_frontend_ring_start(frontend, 0, &ring, &error), back_end, &error);
	check_ok(vhu_frontend_set_status(frontend, 15, &error), back_end, &error);
	check_ok(vhu_frontend_add_mem(frontend, &regions[1], &error), back_end, &error);
	check_ok(vhu_frontend_remove_mem(frontend, &regions[1], &error), back_end, &error);
	check_ok(vhu_frontend_ring_stop(frontend, 0, &index, &error), back_end, &error);
	assert_int_equal(index, PEER_BASE);
}

/* What went over the socket is what this back end understands, and nothing else. */
static void check_log(const struct fake_peer *peer, const struct back_end *back_end)
{
	bool slots = back_end->protocol_features & SLOTS;

	assert_int_equal(fake_peer_count(peer, VHU_SET_MEM_TABLE), slots ? 0 : 3);
	assert_int_equal(fake_peer_count(peer, VHU_ADD_MEM_REG), slots ? 2 : 0);
	assert_int_equal(fake_peer_count(peer, VHU_REM_MEM_REG), slots ? 1 : 0);
	assert_int_equal(fake_peer_count(peer, VHU_GET_QUEUE_NUM),
			 !!(back_end->protocol_features & MQ));
	assert_int_equal(fake_peer_count(peer, VHU_SET_STATUS) > 0,
			 !!(back_end->protocol_features & STATUS));
	/* libvhost-user enables rings by itself only when the bits that it takes for bit 30 are not set. */
	assert_int_equal(fake_peer_count(peer, VHU_SET_VRING_ENABLE) > 0,
			 !!back_end->protocol_features);
	for (unsigned i = 0; i < peer->log_count; i++)
		if (!(back_end->protocol_features & ACK))
			assert_int_equal(peer->log[i].flags, VHU_VERSION);
}

static void check_back_end(const struct back_end *back_end)
{
	uint64_t bit_30 = back_end->protocol_features ? BIT(VHU_F_PROTOCOL_FEATURES) : 0;
	struct fake_peer peer = { .features = back_end->features | bit_30,
				  .protocol_features = back_end->protocol_features,
				  .queue_num = back_end->queue_num,
				  .mem_slots = back_end->mem_slots,
				  .config_size = back_end->config_size,
				  .config = back_end->config };
	struct vhu_frontend *frontend;
	struct dma_region regions[2];
	struct error error;

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(dma_region_alloc(65536, &regions[i], NULL), 0);
	check_ok(vhu_frontend_attach(fake_peer_start(&peer), TIMEOUT_MS, &frontend, &error),
		 back_end, &error);
	assert_int_equal(vhu_frontend_queue_max(frontend),
			 back_end->protocol_features & MQ ? back_end->queue_num : 1);
	assert_int_equal(vhu_frontend_mem_slots(frontend), back_end->mem_slots);
	check_ok(vhu_frontend_set_features(frontend, back_end->features, &error), back_end, &error);
	check_config(frontend, back_end);
	check_rings(frontend, back_end, regions);
	vhu_frontend_close(frontend);
	fake_peer_join(&peer);
	check_log(&peer, back_end);
	for (unsigned i = 0; i < 2; i++)
		dma_region_free(&regions[i]);
}

static void test_front_end_when_a_back_end_is_known_lives_with_its_habits(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(back_ends); i++)
		check_back_end(&back_ends[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_front_end_when_a_back_end_is_known_lives_with_its_habits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
