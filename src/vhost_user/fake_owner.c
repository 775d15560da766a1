// SPDX-License-Identifier: MIT
/* The owner and the bench of the back end's tests. */
#include "vhost_user/fake_owner.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- the owner ---- */

static int owner_answer(struct fake_owner *owner, enum fake_op op)
{
	owner->last = op;
	owner->calls[op]++;
	return owner->answers[op];
}

static uint64_t owner_get_features(void *opaque)
{
	return FAKE_FEATURES;
}

static int owner_set_features(void *opaque, uint64_t features)
{
	struct fake_owner *owner = opaque;

	owner->features = features;
	return owner_answer(owner, FAKE_SET_FEATURES);
}

static unsigned owner_queue_max(void *opaque)
{
	return FAKE_QUEUES;
}

static int owner_get_config(void *opaque, uint32_t offset, void *bytes, uint32_t size)
{
	struct fake_owner *owner = opaque;

	memset(bytes, 0, size);
	if (offset < FAKE_CONFIG_SIZE)
		memcpy(bytes, owner->config + offset, MIN(size, FAKE_CONFIG_SIZE - offset));
	return 0;
}

static int owner_set_config(void *opaque, uint32_t offset, const void *bytes, uint32_t size,
			    uint32_t flags)
{
	struct fake_owner *owner = opaque;

	if (offset >= FAKE_CONFIG_SIZE || size > FAKE_CONFIG_SIZE - offset)
		return -EINVAL;
	memcpy(owner->config + offset, bytes, size);
	return owner_answer(owner, FAKE_SET_CONFIG);
}

static int owner_set_map(void *opaque, struct mem_map *map)
{
	struct fake_owner *owner = opaque;
	int ret = owner_answer(owner, FAKE_SET_MAP);

	if (ret < 0)
		return ret;
	mem_map_ref(map);
	mem_map_unref(owner->map);
	owner->map = map;
	return ret;
}

static void fake_ring_close(struct fake_ring *ring)
{
	fd_close(&ring->given.kick_fd);
	fd_close(&ring->given.call_fd);
	fd_close(&ring->given.err_fd);
	ring->running = false;
}

static int owner_ring_start(void *opaque, unsigned index, const struct vhu_ring *given)
{
	struct fake_owner *owner = opaque;
	struct fake_ring *ring = &owner->rings[index];
	int ret = owner_answer(owner, FAKE_RING_START);

	assert_false(ring->running);
	assert_true(given->kick_fd >= 0);
	ring->given = *given;
	ring->running = true;
	ring->enabled = true;
	if (ret < 0)
		fake_ring_close(ring);
	return ret;
}

static int owner_ring_stop(void *opaque, unsigned index, uint16_t *ret_base)
{
	struct fake_owner *owner = opaque;
	struct fake_ring *ring = &owner->rings[index];
	int ret = owner_answer(owner, FAKE_RING_STOP);

	assert_true(ring->running);
	owner->pending_ring = index;
	if (ret == 0)
		*ret_base = ring->base;
	if (ret >= 0)
		fake_ring_close(ring);
	return ret;
}

static int owner_take_fd(struct fake_owner *owner, int *slot, int fd, enum fake_op op)
{
	fd_close(slot);
	*slot = fd;
	return owner_answer(owner, op);
}

static int owner_set_call(void *opaque, unsigned index, int fd)
{
	struct fake_owner *owner = opaque;

	return owner_take_fd(owner, &owner->rings[index].given.call_fd, fd, FAKE_SET_CALL);
}

static int owner_set_kick(void *opaque, unsigned index, int fd)
{
	struct fake_owner *owner = opaque;

	return owner_take_fd(owner, &owner->rings[index].given.kick_fd, fd, FAKE_SET_KICK);
}

static int owner_set_err(void *opaque, unsigned index, int fd)
{
	struct fake_owner *owner = opaque;

	return owner_take_fd(owner, &owner->rings[index].given.err_fd, fd, FAKE_SET_ERR);
}

static int owner_set_enabled(void *opaque, unsigned index, bool enabled)
{
	struct fake_owner *owner = opaque;

	owner->rings[index].enabled = enabled;
	return owner_answer(owner, FAKE_SET_ENABLED);
}

static int owner_reset(void *opaque)
{
	struct fake_owner *owner = opaque;

	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		assert_false(owner->rings[i].running);
	owner->features = 0;
	return owner_answer(owner, FAKE_RESET);
}

const struct vhu_backend_ops fake_owner_ops = {
	.get_features = owner_get_features,
	.set_features = owner_set_features,
	.queue_max = owner_queue_max,
	.get_config = owner_get_config,
	.set_config = owner_set_config,
	.set_map = owner_set_map,
	.ring_start = owner_ring_start,
	.ring_stop = owner_ring_stop,
	.ring_set_call = owner_set_call,
	.ring_set_kick = owner_set_kick,
	.ring_set_err = owner_set_err,
	.ring_set_enabled = owner_set_enabled,
	.reset = owner_reset,
};

void fake_owner_init(struct fake_owner *owner)
{
	memset(owner, 0, sizeof(*owner));
	for (unsigned i = 0; i < FAKE_CONFIG_SIZE; i++)
		owner->config[i] = (uint8_t)(i + 1);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		owner->rings[i].given =
			(struct vhu_ring){ .kick_fd = -1, .call_fd = -1, .err_fd = -1 };
}

void fake_owner_fini(struct fake_owner *owner)
{
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		fake_ring_close(&owner->rings[i]);
	mem_map_unref(owner->map);
	owner->map = NULL;
}

/* ---- the bench ---- */

unsigned fake_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

int fake_event_fd(void)
{
	int fd = event_fd_new();

	assert_true(fd >= 0);
	return fd;
}

int fake_bench_setup(void **state)
{
	struct fake_bench *bench = calloc(1, sizeof(*bench));
	int pair[2];

	assert_non_null(bench);
	bench->fds_before = fake_count_fds();
	fake_owner_init(&bench->owner);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vhu_conn_init(&bench->client, pair[0]);
	assert_int_equal(vhu_backend_new(pair[1], FAKE_PROTOCOL, &fake_owner_ops, &bench->owner,
					 &bench->backend),
			 0);
	bench->memory_fd = memfd_create("fake-guest", MFD_CLOEXEC);
	assert_true(bench->memory_fd >= 0);
	assert_int_equal(ftruncate(bench->memory_fd, FAKE_MEMORY_SIZE), 0);
	*state = bench;
	return 0;
}

int fake_bench_teardown(void **state)
{
	struct fake_bench *bench = *state;
	unsigned before = bench->fds_before;

	vhu_backend_free(bench->backend);
	fake_owner_fini(&bench->owner);
	vhu_conn_fini(&bench->client);
	fd_close(&bench->memory_fd);
	free(bench);
	return fake_count_fds() == before ? 0 : -1;
}

void fake_send(struct fake_bench *bench, struct vhu_message *message)
{
	assert_int_equal(vhu_conn_send(&bench->client, message, 0, NULL), 0);
	for (unsigned i = 0; i < message->fd_count; i++)
		if (message->fds[i] == bench->memory_fd)
			vhu_message_take_fd(message, i);
	vhu_message_close_fds(message);
}

int fake_give(struct fake_bench *bench, struct vhu_message message)
{
	fake_send(bench, &message);
	return vhu_backend_readable(bench->backend);
}

bool fake_receive(struct fake_bench *bench, struct vhu_message *ret_message)
{
	int ret = vhu_conn_receive(&bench->client, ret_message, NULL);

	if (ret <= 0)
		return false;
	assert_int_equal(ret_message->header.flags, VHU_VERSION | VHU_FLAG_REPLY);
	return true;
}

uint64_t fake_ack(struct fake_bench *bench, struct vhu_message message)
{
	struct vhu_message reply;

	message.header.flags |= VHU_FLAG_NEED_REPLY;
	assert_int_equal(fake_give(bench, message), 0);
	assert_true(fake_receive(bench, &reply));
	assert_int_equal(reply.header.request, message.header.request);
	assert_int_equal(reply.header.size, sizeof(uint64_t));
	return reply.payload.u64;
}

uint64_t fake_ask(struct fake_bench *bench, enum vhu_request request)
{
	struct vhu_message reply;

	assert_int_equal(fake_give(bench, vhu_message_make(request, 0)), 0);
	assert_true(fake_receive(bench, &reply));
	assert_int_equal(reply.header.request, request);
	assert_int_equal(reply.header.size, sizeof(uint64_t));
	return reply.payload.u64;
}

struct vhu_message fake_u64(enum vhu_request request, uint64_t value)
{
	struct vhu_message message = vhu_message_make(request, sizeof(value));

	message.payload.u64 = value;
	return message;
}

struct vhu_message fake_state(enum vhu_request request, unsigned index, uint32_t value)
{
	struct vhu_message message = vhu_message_make(request, sizeof(struct vhu_vring_state));

	message.payload.state = (struct vhu_vring_state){ index, value };
	return message;
}

struct vhu_message fake_addr(unsigned index, uint64_t user_addr)
{
	struct vhu_message message =
		vhu_message_make(VHU_SET_VRING_ADDR, sizeof(struct vhu_vring_addr));

	message.payload.addr = (struct vhu_vring_addr){ .index = index,
							.desc = user_addr,
							.avail = user_addr + 4096,
							.used = user_addr + 8192 };
	return message;
}

struct vhu_message fake_vring_fd(enum vhu_request request, unsigned index, int fd)
{
	struct vhu_message message = fake_u64(request, index);

	if (fd >= 0)
		message.fds[message.fd_count++] = fd;
	else
		message.payload.u64 |= VHU_VRING_NOFD;
	return message;
}

struct vhu_message fake_table(struct fake_bench *bench)
{
	struct vhu_message message = vhu_message_make(
		VHU_SET_MEM_TABLE, (uint32_t)offsetof(struct vhu_memory, regions[1]));

	message.payload.memory.count = 1;
	message.payload.memory.regions[0] =
		(struct vhu_region){ FAKE_GUEST, FAKE_MEMORY_SIZE, FAKE_USER, 0 };
	message.fds[message.fd_count++] = bench->memory_fd;
	return message;
}

struct vhu_message fake_region(struct fake_bench *bench, enum vhu_request request, unsigned page)
{
	struct vhu_message message = vhu_message_make(request, sizeof(struct vhu_single_region));
	uint64_t offset = page * 4096ull;

	message.payload.region.region =
		(struct vhu_region){ FAKE_GUEST + offset, 4096, FAKE_USER + offset, offset };
	if (request == VHU_ADD_MEM_REG)
		message.fds[message.fd_count++] = bench->memory_fd;
	return message;
}

void fake_negotiate(struct fake_bench *bench)
{
	assert_int_equal(fake_give(bench, fake_u64(VHU_SET_PROTOCOL_FEATURES, FAKE_PROTOCOL)), 0);
	assert_int_equal(fake_ack(bench, fake_u64(VHU_SET_FEATURES, FAKE_FEATURES | 1ull << 30)),
			 0);
}

void fake_set_up_ring(struct fake_bench *bench, unsigned index)
{
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_NUM, index, 128)), 0);
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_BASE, index, 0)), 0);
	assert_int_equal(fake_ack(bench, fake_addr(index, FAKE_USER + index * 12288ull)), 0);
	assert_int_equal(fake_ack(bench, fake_vring_fd(VHU_SET_VRING_CALL, index, fake_event_fd())),
			 0);
	assert_int_equal(fake_ack(bench, fake_vring_fd(VHU_SET_VRING_KICK, index, fake_event_fd())),
			 0);
}

void fake_start_ring(struct fake_bench *bench, unsigned index)
{
	fake_set_up_ring(bench, index);
	assert_int_equal(fake_ack(bench, fake_state(VHU_SET_VRING_ENABLE, index, 1)), 0);
	assert_true(bench->owner.rings[index].running);
}
