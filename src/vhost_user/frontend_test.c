// SPDX-License-Identifier: MIT
/* The front end against our own back end, which runs on a thread with the fake owner; and what has to do with sockets. */
#include "vhost_user/frontend.h"

#include "base/clock.h"
#include "base/fd.h"
#include "vhost_user/fake_owner.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TIMEOUT_MS 10000u
#define DEADLINE_MS 20000

/* A served connection. `poke` makes the thread tell the front end of a new configuration. */
struct served {
	struct fake_owner owner;
	struct vhu_backend *backend;
	pthread_t thread;
	int poke;
	struct vhu_frontend *frontend;
	struct dma_region memory;
	struct error error;
	unsigned fds_before;
};

/* Ends what the owner left pending, as a lane would a little later. */
static void served_settle(struct served *served)
{
	while (vhu_backend_pending(served->backend)) {
		bool stop = served->owner.last == FAKE_RING_STOP;

		vhu_backend_complete(served->backend,
				     stop ? served->owner.rings[served->owner.pending_ring].base :
					    0);
	}
}

static void *served_run(void *opaque)
{
	struct served *served = opaque;
	int ret = 0;

	while (ret >= 0) {
		struct pollfd entries[] = { { vhu_backend_fd(served->backend), POLLIN, 0 },
					    { served->poke, POLLIN, 0 } };

		if (poll(entries, 2, DEADLINE_MS) <= 0)
			break;
		if (entries[1].revents && event_fd_clear(served->poke))
			vhu_backend_config_changed(served->backend);
		ret = vhu_backend_readable(served->backend);
		served_settle(served);
	}
	vhu_backend_free(served->backend);
	fake_owner_fini(&served->owner);
	return NULL;
}

static int served_setup(void **state)
{
	struct served *served = calloc(1, sizeof(*served));
	int pair[2];

	assert_non_null(served);
	served->fds_before = fake_count_fds();
	fake_owner_init(&served->owner);
	served->poke = fake_event_fd();
	assert_int_equal(dma_region_alloc(65536, &served->memory, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vhu_backend_new(pair[1], FAKE_PROTOCOL, &fake_owner_ops, &served->owner,
					 &served->backend),
			 0);
	for (enum fake_op op = 0; op < FAKE_OPS; op++)
		served->owner.answers[op] = VHU_PENDING;
	assert_int_equal(pthread_create(&served->thread, NULL, served_run, served), 0);
	assert_int_equal(
		vhu_frontend_attach(pair[0], TIMEOUT_MS, &served->frontend, &served->error), 0);
	*state = served;
	return 0;
}

static int served_teardown(void **state)
{
	struct served *served = *state;
	unsigned before = served->fds_before;

	vhu_frontend_close(served->frontend);
	pthread_join(served->thread, NULL);
	fd_close(&served->poke);
	dma_region_free(&served->memory);
	free(served);
	return fake_count_fds() == before ? 0 : -1;
}

static void start_ring(struct served *served, unsigned index, int kick, int call)
{
	uint64_t base = (uintptr_t)served->memory.addr + index * 12288ull;
	struct vhu_frontend_ring ring = { .size = 128,
					  .base = 5,
					  .desc = base,
					  .avail = base + 4096,
					  .used = base + 8192,
					  .kick_fd = kick,
					  .call_fd = call };

	if (vhu_frontend_ring_start(served->frontend, index, &ring, &served->error) != 0)
		fail_msg("%s", served->error.text);
}

static void test_rings_when_started_reach_the_owner_and_stop_with_their_base(void **state)
{
	struct served *served = *state;
	struct fake_ring *ring = &served->owner.rings[1];
	fd_auto kick = fake_event_fd();
	fd_auto call = fake_event_fd();
	uint16_t base = 0;

	assert_int_equal(vhu_frontend_queue_max(served->frontend), FAKE_QUEUES);
	assert_int_equal(vhu_frontend_mem_slots(served->frontend), 512);
	assert_int_equal(vhu_frontend_set_features(served->frontend, FAKE_FEATURES, NULL), 0);
	assert_int_equal(vhu_frontend_set_mem(served->frontend, &served->memory, 1, NULL), 0);
	start_ring(served, 1, kick, call);
	assert_int_equal(vhu_frontend_set_status(served->frontend, 15, NULL), 0);
	/* The answer to the last request orders what the other thread wrote before what is read here. */
	assert_true(ring->running && ring->enabled);
	assert_int_equal(ring->given.size, 128);
	assert_int_equal(ring->given.base, 5);
	event_fd_signal(kick);
	assert_true(event_fd_clear(ring->given.kick_fd));
	event_fd_signal(ring->given.call_fd);
	assert_true(event_fd_clear(call));
	memcpy(served->memory.addr, "same", 4);
	memcpy((char *)served->memory.addr + 12288, "ring", 4);
	assert_memory_equal(ring->given.memory.desc, "ring", 4);
	assert_memory_equal(mem_map_guest(served->owner.map, (uintptr_t)served->memory.addr, 4),
			    "same", 4);
	ring->base = 1;
	assert_int_equal(vhu_frontend_ring_stop(served->frontend, 1, &base, NULL), 0);
	assert_int_equal(base, 1);
	start_ring(served, 1, kick, -1);
	assert_int_equal(ring->given.call_fd, -1);
}

static void test_memory_when_added_and_removed_reaches_the_owner(void **state)
{
	struct served *served = *state;
	struct dma_region second;

	assert_int_equal(dma_region_alloc(4096, &second, NULL), 0);
	assert_int_equal(vhu_frontend_set_mem(served->frontend, &served->memory, 1, NULL), 0);
	assert_int_equal(vhu_frontend_add_mem(served->frontend, &second, NULL), 0);
	assert_int_equal(served->owner.map->count, 2);
	assert_int_equal(vhu_frontend_add_mem(served->frontend, &second, &served->error),
			 -EREMOTEIO);
	assert_int_equal(vhu_frontend_remove_mem(served->frontend, &served->memory, NULL), 0);
	assert_int_equal(served->owner.map->count, 1);
	assert_int_equal(served->owner.map->regions[0].guest_addr, (uintptr_t)second.addr);
	dma_region_free(&second);
}

static void test_config_when_written_is_read_back(void **state)
{
	struct served *served = *state;
	uint8_t bytes[FAKE_CONFIG_SIZE], value = 200;
	uint32_t size;

	assert_int_equal(vhu_frontend_set_config(served->frontend, 32, &value, 1, NULL), 0);
	assert_int_equal(
		vhu_frontend_get_config(served->frontend, bytes, sizeof(bytes), &size, NULL), 0);
	assert_int_equal(size, sizeof(bytes));
	assert_int_equal(bytes[31], 32);
	assert_int_equal(bytes[32], 200);
	assert_int_equal(bytes[59], 60);
	assert_int_equal(vhu_frontend_set_config(served->frontend, 200, &value, 1, &served->error),
			 -EREMOTEIO);
	assert_int_equal(vhu_frontend_set_config(served->frontend, 0, bytes, 0, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_set_config(served->frontend, 0, bytes, 257, NULL), -EINVAL);
}

static bool wait_readable(int fd)
{
	struct pollfd entry = { fd, POLLIN, 0 };

	return poll(&entry, 1, DEADLINE_MS) == 1;
}

static void test_config_change_when_told_arrives_once(void **state)
{
	struct served *served = *state;
	int fd = vhu_frontend_backend_fd(served->frontend);

	assert_int_equal(vhu_frontend_backend_event(served->frontend), 0);
	event_fd_signal(served->poke);
	assert_true(wait_readable(fd));
	assert_int_equal(vhu_frontend_backend_event(served->frontend), 1);
	assert_int_equal(vhu_frontend_backend_event(served->frontend), 0);
}

/* ---- sockets ---- */

struct place {
	char dir[64];
	struct sockaddr_un address;
	unsigned fds_before;
};

static int place_setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	assert_non_null(place);
	place->fds_before = fake_count_fds();
	snprintf(place->dir, sizeof(place->dir), "/tmp/vhu-test-XXXXXX");
	assert_non_null(mkdtemp(place->dir));
	place->address.sun_family = AF_UNIX;
	snprintf(place->address.sun_path, sizeof(place->address.sun_path), "%s/sock", place->dir);
	*state = place;
	return 0;
}

static int place_teardown(void **state)
{
	struct place *place = *state;
	unsigned before = place->fds_before;

	unlink(place->address.sun_path);
	rmdir(place->dir);
	free(place);
	return fake_count_fds() == before ? 0 : -1;
}

static int place_listen(struct place *place, int backlog)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&place->address, sizeof(place->address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void test_open_when_nobody_is_there_names_the_path(void **state)
{
	struct place *place = *state;
	struct vhu_frontend *frontend;
	struct error error;

	assert_int_equal(vhu_frontend_open(place->address.sun_path, TIMEOUT_MS, &frontend, &error),
			 -ENOENT);
	assert_non_null(strstr(error.text, place->address.sun_path));
	fd_auto listener = place_listen(place, 1);
	fd_close(&listener);
	assert_int_equal(vhu_frontend_open(place->address.sun_path, TIMEOUT_MS, &frontend, &error),
			 -ECONNREFUSED);
	assert_int_equal(vhu_frontend_open("", TIMEOUT_MS, &frontend, &error), -EINVAL);
	char long_path[200];
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(vhu_frontend_open(long_path, TIMEOUT_MS, &frontend, &error),
			 -ENAMETOOLONG);
}

/* A server that is stuck: the first connections wait for an answer, later ones for the backlog. Neither longer than told. */
static void test_open_when_the_server_is_stuck_gives_up(void **state)
{
	struct place *place = *state;
	fd_auto listener = place_listen(place, 0);
	struct vhu_frontend *frontend;
	struct error error;
	int waiting[4];
	unsigned count = 0;

	assert_int_equal(vhu_frontend_open(place->address.sun_path, 20, &frontend, &error),
			 -ETIMEDOUT);
	assert_non_null(strstr(error.text, place->address.sun_path));
	assert_non_null(strstr(error.text, "another client"));
	for (; count < ARRAY_SIZE(waiting); count++) {
		waiting[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(waiting[count], (struct sockaddr *)&place->address,
			    sizeof(place->address)) < 0)
			break;
	}
	assert_true(count < ARRAY_SIZE(waiting)); /* the backlog is full */
	assert_int_equal(vhu_frontend_open(place->address.sun_path, 20, &frontend, &error),
			 -ETIMEDOUT);
	assert_non_null(strstr(error.text, place->address.sun_path));
	for (unsigned i = 0; i <= count; i++)
		fd_close(&waiting[i]);
}

/* ---- the channel ---- */

static void *answer_open(void *opaque)
{
	struct vhu_conn *conn = opaque;
	struct vhu_message message;
	int channel = -1;

	while (channel < 0 &&
	       vhu_conn_receive_until(conn, clock_ns() + 20 * NS_PER_S, &message, NULL) == 1) {
		bool asks = message.header.request != VHU_SET_OWNER &&
			    message.header.request != VHU_SET_PROTOCOL_FEATURES;
		struct vhu_message reply = fake_u64(message.header.request, 0);

		channel = vhu_message_take_fd(&message, 0);
		if (message.header.request == VHU_GET_FEATURES)
			reply.payload.u64 = 1ull << 30;
		if (message.header.request == VHU_GET_PROTOCOL_FEATURES)
			reply.payload.u64 = 1ull << VHU_PROTOCOL_BACKEND_REQ;
		reply.header.flags |= VHU_FLAG_REPLY;
		if (asks && channel < 0)
			vhu_conn_send(conn, &reply, clock_ns() + 20 * NS_PER_S, NULL);
	}
	return (void *)(intptr_t)channel;
}

static void test_channel_when_used_by_the_back_end_is_answered(void **state)
{
	struct vhu_message strange = vhu_message_make(99, 8), change, reply;
	struct vhu_frontend *frontend;
	struct vhu_conn conn, channel;
	pthread_t thread;
	void *result;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vhu_conn_init(&conn, pair[1]);
	assert_int_equal(pthread_create(&thread, NULL, answer_open, &conn), 0);
	assert_int_equal(vhu_frontend_attach(pair[0], TIMEOUT_MS, &frontend, NULL), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	vhu_conn_init(&channel, (int)(intptr_t)result);

	strange.header.flags |= VHU_FLAG_NEED_REPLY;
	strange.fds[strange.fd_count++] = fake_event_fd();
	change = vhu_message_make(VHU_BACKEND_CONFIG_CHANGE_MSG, 0);
	change.header.flags |= VHU_FLAG_NEED_REPLY;
	assert_int_equal(vhu_conn_send(&channel, &strange, 0, NULL), 0);
	vhu_message_close_fds(&strange);
	assert_int_equal(vhu_frontend_backend_event(frontend), 0);
	assert_int_equal(vhu_conn_receive(&channel, &reply, NULL), 1);
	assert_int_equal(reply.header.request, 99);
	assert_int_not_equal(reply.payload.u64, 0);
	assert_int_equal(vhu_conn_send(&channel, &change, 0, NULL), 0);
	assert_int_equal(vhu_conn_send(&channel, &change, 0, NULL), 0);
	assert_int_equal(vhu_frontend_backend_event(frontend), 1);
	assert_int_equal(vhu_conn_receive(&channel, &reply, NULL), 1);
	assert_int_equal(reply.payload.u64, 0);
	assert_true(reply.header.flags & VHU_FLAG_REPLY);
	/* A last message, then the end: both are seen. */
	assert_int_equal(vhu_conn_send(&channel, &change, 0, NULL), 0);
	vhu_conn_fini(&channel);
	assert_true(vhu_frontend_backend_event(frontend) != 0);
	assert_true(vhu_frontend_backend_event(frontend) < 0);
	assert_int_equal(vhu_frontend_backend_fd(frontend), -1);
	vhu_frontend_close(frontend);
	vhu_conn_fini(&conn);
}

#define SERVED(function) cmocka_unit_test_setup_teardown(function, served_setup, served_teardown)
#define PLACED(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(test_rings_when_started_reach_the_owner_and_stop_with_their_base),
		SERVED(test_memory_when_added_and_removed_reaches_the_owner),
		SERVED(test_config_when_written_is_read_back),
		SERVED(test_config_change_when_told_arrives_once),
		PLACED(test_open_when_nobody_is_there_names_the_path),
		PLACED(test_open_when_the_server_is_stuck_gives_up),
		PLACED(test_channel_when_used_by_the_back_end_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
