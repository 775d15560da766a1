// SPDX-License-Identifier: MIT
/*
 * The test's adapter: vhost_user/backend.h and the device's end of the rings on one thread; what it says is in fake_scsi_disk.c.
 * Other threads speak to it by an event fd and atomic fields.
 */
#include "driver/fake_scsi_internal.h"

#include "base/atomic.h"
#include "base/fd.h"
#include "base/iov.h"
#include "vhost_user/backend.h"
#include "vhost_user/wire.h"
#include "virtq/virtq.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RINGS_MAX 8
#define IOV_COUNT 1024
#define HEADER_BYTES 19u
#define RESPONSE_BYTES 12u

struct fake_ring {
	bool running;
	struct virtq_device q;
	int kick_fd, call_fd;
};

/* An event to be sent; `state` is handed to and fro. */
struct fake_event {
	unsigned state; /* atomic: 0 none, 1 to be sent, 2 sent, 3 no buffer */
	uint8_t bytes[64];
	unsigned size;
	uint32_t written;
};

struct fake_scsi {
	struct fake_disk_facts facts;
	char folder[64], uri[128];
	pthread_t thread;
	int listen_fd, wake_fd;
	/* the thread's */
	struct vhu_backend *backend;
	struct mem_map *map;
	struct fake_ring rings[RINGS_MAX];
	uint64_t acked;
	uint8_t last_request[HEADER_BYTES + 260];
	bool dead;
	unsigned tricks;
	struct fake_held held[FAKE_HELD_MAX];
	struct fake_scsi_tmf tmfs[FAKE_SCSI_TMFS]; /* read by the test up to managed */
	/* atomic */
	bool quit, release;
	unsigned trick, taken, managed;
	struct fake_event event;
};

/* ---- requests ---- */

static void used_put(struct fake_ring *ring, uint32_t id, uint32_t written)
{
	struct virtq_used_elem *elem = &ring->q.memory.used->ring[ring->q.used_next & ring->q.mask];

	store_relaxed(&elem->id.raw, htole32(id));
	store_relaxed(&elem->len.raw, htole32(written));
	ring->q.used_next++;
}

static void ring_call(struct fake_ring *ring)
{
	virtq_device_publish(&ring->q);
	if (virtq_device_should_call(&ring->q) && ring->call_fd >= 0)
		event_fd_signal(ring->call_fd);
}

static void response_put(struct fake_scsi *fake, const struct virtq_chain *chain, struct iovec *iov,
			 const struct fake_scsi_answer *answer)
{
	const struct iovec *in = iov + chain->readable_count;
	struct virtio_scsi_cmd_resp wire = {
		.sense_len = htole32(answer->sense_len),
		.resid = htole32(answer->residual),
		.status_qualifier = htole16(answer->qualifier),
		.status = answer->status,
		.response = answer->response,
	};
	unsigned sense = MIN(fake->facts.setup.sense_size, (unsigned)sizeof(answer->sense));

	iov_from_buffer(in, chain->writable_count, 0, &wire, RESPONSE_BYTES);
	iov_from_buffer(in, chain->writable_count, RESPONSE_BYTES, answer->sense, sense);
}

static void command_run(struct fake_scsi *fake, const struct virtq_chain *chain, struct iovec *iov)
{
	unsigned head = HEADER_BYTES + fake->facts.setup.cdb_size;
	unsigned response = RESPONSE_BYTES + fake->facts.setup.sense_size;
	struct fake_scsi_answer answer = { 0 };
	struct fake_task task = {
		.request = fake->last_request,
		.out_bytes = (uint32_t)(chain->readable_bytes - head),
		.in_bytes = (uint32_t)(chain->writable_bytes - response),
		.answer = &answer,
	};

	iov_to_buffer(iov, chain->readable_count, head, task.data,
		      MIN(task.out_bytes, sizeof(task.data)));
	fake_task_run(&fake->facts, &task);
	iov_from_buffer(iov + chain->readable_count, chain->writable_count, response, task.data,
			task.got);
	if (task.in_bytes)
		answer.residual = task.in_bytes - task.got;
	response_put(fake, chain, iov, &answer);
}

static void held_end(struct fake_scsi *fake, struct fake_held *held, uint8_t response)
{
	const struct fake_scsi_answer answer = { .response = response };
	struct fake_ring *ring = &fake->rings[held->ring];

	response_put(fake, &held->chain, held->iov, &answer);
	used_put(ring, held->chain.head, (uint32_t)held->chain.writable_bytes);
	ring_call(ring);
	held->ring = 0;
}

static void held_release(struct fake_scsi *fake)
{
	if (!load_acquire(&fake->release))
		return;
	for (unsigned i = 0; i < FAKE_HELD_MAX; i++)
		if (fake->held[i].ring)
			held_end(fake, &fake->held[i], VIRTIO_SCSI_S_OK);
	store_release(&fake->release, false);
}

static void command_end(struct fake_scsi *fake, struct fake_ring *ring,
			const struct virtq_chain *chain, struct iovec *iov,
			enum fake_scsi_trick trick)
{
	static const struct fake_scsi_answer attention = { .sense_len = 18,
							   .status = 2,
							   .sense = { 0x70, 0, 6, [12] = 0x29 } };

	switch (trick) {
	case FAKE_SCSI_HOLDS:
		fake_held_add(fake->held, (unsigned)(ring - fake->rings), fake->last_request, chain,
			      iov);
		return;
	case FAKE_SCSI_DIES:
		fake->dead = true;
		return;
	case FAKE_SCSI_RESPONDS:
		response_put(fake, chain, iov, &fake->facts.setup.answer);
		break;
	case FAKE_SCSI_ATTENTION:
		response_put(fake, chain, iov, &attention);
		break;
	case FAKE_SCSI_NO_RESPONSE:
		break;
	default:
		command_run(fake, chain, iov);
	}
	used_put(ring, trick == FAKE_SCSI_BAD_ID ? ring->q.size : chain->head,
		 (uint32_t)chain->writable_bytes);
	if (trick == FAKE_SCSI_TWICE)
		used_put(ring, chain->head, 0);
}

static void control_run(struct fake_scsi *fake, struct fake_ring *ring,
			const struct virtq_chain *chain, const struct iovec *iov)
{
	struct fake_scsi_tmf *tmf = &fake->tmfs[fake->managed % FAKE_SCSI_TMFS];
	struct virtio_scsi_ctrl_tmf_req request = { 0 };
	uint8_t response;

	iov_to_buffer(iov, chain->readable_count, 0, &request, sizeof(request));
	fake_tmf_parse(&request, tmf);
	store_release(&fake->managed, fake->managed + 1);
	if (fake->facts.setup.silent_control)
		return;
	for (unsigned i = 0; i < FAKE_HELD_MAX; i++)
		if (fake->held[i].ring &&
		    fake_tmf_ends(fake->facts.setup.lets_go, tmf, &fake->held[i], &response))
			held_end(fake, &fake->held[i], response);
	store_relaxed(chain->last_writable, fake->facts.setup.tmf_response);
	used_put(ring, chain->head, 1);
}

static void chain_run(struct fake_scsi *fake, struct fake_ring *ring,
		      const struct virtq_chain *chain, struct iovec *iov)
{
	enum fake_scsi_trick trick = FAKE_SCSI_HONEST;

	if (ring == &fake->rings[0]) {
		control_run(fake, ring, chain, iov);
		return;
	}
	iov_to_buffer(iov, chain->readable_count, 0, fake->last_request,
		      sizeof(fake->last_request));
	if (add_relaxed(&fake->taken, 1) >= fake->facts.setup.honest_first)
		trick = load_acquire(&fake->trick);
	if (trick != FAKE_SCSI_HONEST && fake->facts.setup.tricks_max &&
	    fake->tricks++ >= fake->facts.setup.tricks_max)
		trick = FAKE_SCSI_HONEST;
	command_end(fake, ring, chain, iov, trick);
}

static void ring_process(struct fake_scsi *fake, struct fake_ring *ring)
{
	struct iovec iov[IOV_COUNT];
	struct virtq_chain chain;

	event_fd_clear(ring->kick_fd);
	if (ring == &fake->rings[1]) /* buffers for events: taken when there is one */
		return;
	do {
		while (!fake->dead && virtq_device_pop(&ring->q, iov, IOV_COUNT, &chain) == 1)
			chain_run(fake, ring, &chain, iov);
	} while (!fake->dead && virtq_device_kicks_enable(&ring->q));
	if (!fake->dead)
		ring_call(ring);
}

static void event_send(struct fake_scsi *fake)
{
	struct fake_ring *ring = &fake->rings[1];
	struct fake_event *event = &fake->event;
	struct virtq_chain chain;
	struct iovec iov[4];

	if (load_acquire(&event->state) != 1)
		return;
	if (!ring->running || virtq_device_pop(&ring->q, iov, 4, &chain) != 1) {
		store_release(&event->state, 3);
		return;
	}
	iov_from_buffer(iov, chain.writable_count, 0, event->bytes, event->size);
	used_put(ring, chain.head, event->written);
	ring_call(ring);
	store_release(&event->state, 2);
}

/* ---- vhost-user ---- */

static uint64_t get_features(void *opaque)
{
	return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
	       1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_SCSI_F_HOTPLUG |
	       1ull << VIRTIO_SCSI_F_CHANGE;
}

static int set_features(void *opaque, uint64_t features)
{
	((struct fake_scsi *)opaque)->acked = features;
	return 0;
}

static unsigned queue_max(void *opaque)
{
	return ((struct fake_scsi *)opaque)->facts.setup.ring_max;
}

static int get_config(void *opaque, uint32_t offset, void *bytes, uint32_t size)
{
	const struct virtio_scsi_config *config = &((struct fake_scsi *)opaque)->facts.setup.config;

	if (offset + size > sizeof(*config))
		return -EINVAL;
	memcpy(bytes, (const uint8_t *)config + offset, size);
	return 0;
}

static int set_config(void *opaque, uint32_t offset, const void *bytes, uint32_t size,
		      uint32_t flags)
{
	struct fake_scsi_setup *setup = &((struct fake_scsi *)opaque)->facts.setup;
	uint32_t value;

	if (size != sizeof(value))
		return -EINVAL;
	memcpy(&value, bytes, sizeof(value));
	if (offset == offsetof(struct virtio_scsi_config, cdb_size))
		setup->cdb_size = le32toh(value);
	else if (offset == offsetof(struct virtio_scsi_config, sense_size))
		setup->sense_size = le32toh(value);
	else
		return -EINVAL;
	return 0;
}

static int set_map(void *opaque, struct mem_map *map)
{
	struct fake_scsi *fake = opaque;

	for (unsigned i = 0; i < RINGS_MAX; i++) {
		struct vhu_ring_memory memory;
		struct virtq_memory where;

		if (!fake->rings[i].running)
			continue;
		if (vhu_backend_ring_memory(fake->backend, i, map, &memory) < 0)
			return -EFAULT;
		where = (struct virtq_memory){ memory.desc, memory.avail, memory.used };
		virtq_device_remap(&fake->rings[i].q, &where, map);
	}
	mem_map_unref(fake->map);
	fake->map = mem_map_ref(map);
	return 0;
}

static void ring_forget(struct fake_ring *ring)
{
	if (!ring->running)
		return;
	fd_close(&ring->kick_fd);
	fd_close(&ring->call_fd);
	ring->running = false;
}

static int ring_start(void *opaque, unsigned index, const struct vhu_ring *given)
{
	struct fake_scsi *fake = opaque;
	struct fake_ring *ring = &fake->rings[index];
	const struct virtq_config config = {
		.size = given->size,
		.base = given->base,
		.indirect = fake->acked >> VIRTIO_RING_F_INDIRECT_DESC & 1,
		.event_idx = fake->acked >> VIRTIO_RING_F_EVENT_IDX & 1,
		.memory = { given->memory.desc, given->memory.avail, given->memory.used },
	};
	int err_fd = given->err_fd;

	fd_close(&err_fd);
	ring->kick_fd = given->kick_fd;
	ring->call_fd = given->call_fd;
	ring->running = true;
	return virtq_device_init(&ring->q, &config, fake->map);
}

static int ring_stop(void *opaque, unsigned index, uint16_t *ret_base)
{
	struct fake_ring *ring = &((struct fake_scsi *)opaque)->rings[index];

	fake_held_forget(((struct fake_scsi *)opaque)->held, index);
	*ret_base = ring->q.avail_next;
	ring_forget(ring);
	return 0;
}

static int ring_set_call(void *opaque, unsigned index, int fd)
{
	struct fake_ring *ring = &((struct fake_scsi *)opaque)->rings[index];

	fd_close(&ring->call_fd);
	ring->call_fd = fd;
	return 0;
}

static int ring_set_kick(void *opaque, unsigned index, int fd)
{
	struct fake_ring *ring = &((struct fake_scsi *)opaque)->rings[index];

	fd_close(&ring->kick_fd);
	ring->kick_fd = fd;
	return 0;
}

static int ring_set_err(void *opaque, unsigned index, int fd)
{
	fd_close(&fd);
	return 0;
}

static int ring_set_enabled(void *opaque, unsigned index, bool enabled)
{
	return 0;
}

static int reset(void *opaque)
{
	return 0;
}

static const struct vhu_backend_ops ops = {
	.get_features = get_features,
	.set_features = set_features,
	.queue_max = queue_max,
	.get_config = get_config,
	.set_config = set_config,
	.set_map = set_map,
	.ring_start = ring_start,
	.ring_stop = ring_stop,
	.ring_set_call = ring_set_call,
	.ring_set_kick = ring_set_kick,
	.ring_set_err = ring_set_err,
	.ring_set_enabled = ring_set_enabled,
	.reset = reset,
};

/* ---- the thread ---- */

static void client_accept(struct fake_scsi *fake)
{
	uint64_t features = 1ull << VHU_PROTOCOL_MQ | 1ull << VHU_PROTOCOL_REPLY_ACK |
			    1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS | 1ull << VHU_PROTOCOL_STATUS;
	int fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (fake->facts.setup.has_config)
		features |= 1ull << VHU_PROTOCOL_CONFIG;
	fake->dead = false;
	if (vhu_backend_new(fd, features, &ops, fake, &fake->backend) < 0)
		fake->backend = NULL;
}

static void client_forget(struct fake_scsi *fake)
{
	for (unsigned i = 0; i < RINGS_MAX; i++) {
		ring_forget(&fake->rings[i]);
		fake_held_forget(fake->held, i);
	}
	if (fake->backend)
		vhu_backend_free(fake->backend);
	fake->backend = NULL;
	mem_map_unref(fake->map);
	fake->map = NULL;
}

static void turn(struct fake_scsi *fake)
{
	struct pollfd fds[2 + RINGS_MAX] = { { .fd = fake->wake_fd, .events = POLLIN } };
	int status = 0;

	fds[1].fd = fake->backend ? vhu_backend_fd(fake->backend) : fake->listen_fd;
	fds[1].events = POLLIN;
	for (unsigned i = 0; i < RINGS_MAX; i++) {
		fds[2 + i].fd = fake->rings[i].running ? fake->rings[i].kick_fd : -1;
		fds[2 + i].events = POLLIN;
	}
	poll(fds, ARRAY_SIZE(fds), -1);
	event_fd_clear(fake->wake_fd);
	event_send(fake);
	held_release(fake);
	if (fds[1].revents && !fake->backend)
		client_accept(fake);
	else if (fds[1].revents)
		status = vhu_backend_readable(fake->backend);
	for (unsigned i = 0; i < RINGS_MAX; i++)
		if (fds[2 + i].revents && fake->rings[i].running)
			ring_process(fake, &fake->rings[i]);
	if (status < 0 || fake->dead)
		client_forget(fake);
}

static void *thread_run(void *opaque)
{
	struct fake_scsi *fake = opaque;

	while (!load_acquire(&fake->quit))
		turn(fake);
	client_forget(fake);
	return NULL;
}

/* ---- the test's side ---- */

static void setup_complete(struct fake_scsi_setup *setup)
{
	setup->ring_max = setup->ring_max ? setup->ring_max : 4;
	setup->cdb_size = setup->cdb_size ? setup->cdb_size : 32;
	setup->sense_size = setup->sense_size ? setup->sense_size : 96;
	setup->luns = setup->luns ? setup->luns : 1;
	setup->last_block = setup->last_block ? setup->last_block : FAKE_SCSI_BLOCKS - 1;
}

struct fake_scsi *fake_scsi_new(const struct fake_scsi_setup *setup)
{
	struct fake_scsi *fake = calloc(1, sizeof(*fake));
	char path[96];
	bool made;

	assert(fake);
	fake->facts.setup = *setup;
	setup_complete(&fake->facts.setup);
	fake->facts.last_block = fake->facts.setup.last_block;
	fake->trick = setup->trick;
	snprintf(fake->folder, sizeof(fake->folder), "/tmp/fake-scsi-XXXXXX");
	made = mkdtemp(fake->folder) != NULL;
	assert(made);
	snprintf(path, sizeof(path), "%s/socket", fake->folder);
	snprintf(fake->uri, sizeof(fake->uri), "vhost-user-scsi:%s", path);
	fake->listen_fd = unix_listen(path, NULL);
	fake->wake_fd = event_fd_new();
	assert(fake->listen_fd >= 0 && fake->wake_fd >= 0);
	for (unsigned i = 0; i < RINGS_MAX; i++)
		fake->rings[i].kick_fd = fake->rings[i].call_fd = -1;
	made = pthread_create(&fake->thread, NULL, thread_run, fake) == 0;
	assert(made);
	return fake;
}

void fake_scsi_free(struct fake_scsi *fake)
{
	char path[96];

	store_release(&fake->quit, true);
	event_fd_signal(fake->wake_fd);
	pthread_join(fake->thread, NULL);
	fd_close(&fake->listen_fd);
	fd_close(&fake->wake_fd);
	snprintf(path, sizeof(path), "%s/socket", fake->folder);
	unlink(path);
	rmdir(fake->folder);
	free(fake);
}

const char *fake_scsi_uri(const struct fake_scsi *fake)
{
	return fake->uri;
}

void fake_scsi_set_trick(struct fake_scsi *fake, enum fake_scsi_trick trick)
{
	store_release(&fake->trick, trick);
}

void fake_scsi_resize(struct fake_scsi *fake, uint32_t last_block)
{
	store_release(&fake->facts.last_block, last_block);
}

bool fake_scsi_send_event(struct fake_scsi *fake, const void *bytes, unsigned size,
			  uint32_t written)
{
	struct fake_event *event = &fake->event;
	unsigned state;

	assert(size <= sizeof(event->bytes));
	memcpy(event->bytes, bytes, size);
	event->size = size;
	event->written = written;
	store_release(&event->state, 1);
	event_fd_signal(fake->wake_fd);
	while ((state = load_acquire(&event->state)) == 1)
		cpu_relax();
	store_relaxed(&event->state, 0);
	return state == 2;
}

unsigned fake_scsi_taken(const struct fake_scsi *fake)
{
	return load_relaxed(&fake->taken);
}

unsigned fake_scsi_managed(const struct fake_scsi *fake)
{
	return load_acquire(&fake->managed);
}

struct fake_scsi_tmf fake_scsi_tmf(const struct fake_scsi *fake, unsigned index)
{
	assert(index < fake_scsi_managed(fake) && index < FAKE_SCSI_TMFS);
	return fake->tmfs[index];
}

void fake_scsi_release(struct fake_scsi *fake)
{
	store_release(&fake->release, true);
	event_fd_signal(fake->wake_fd);
	while (load_acquire(&fake->release))
		cpu_relax();
}

const uint8_t *fake_scsi_last_request(const struct fake_scsi *fake)
{
	return fake->last_request;
}
