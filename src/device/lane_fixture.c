/* SPDX-License-Identifier: MIT */
/* For tests: see lane_fixture.h. */
#include "device/lane_fixture.h"

#include "base/clock.h"
#include "base/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define RING_BYTES 65536u /* desc, avail and used of the largest ring, each at a place of its own */

static void told_broken(void *opaque, unsigned index, const char *reason)
{
	struct lane_fixture *fixture = opaque;

	fixture->broken_count++;
	fixture->broken_reason = reason;
}

static void place_ring(struct lane_fixture *fixture, uint16_t size)
{
	fixture->ring.size = size;
	fixture->ring.memory = (struct virtq_memory){
		.desc = (void *)fixture->memory,
		.avail = (void *)(fixture->memory + 0x4000),
		.used = (void *)(fixture->memory + 0x8000),
	};
}

void fixture_restart_ring(struct lane_fixture *fixture, uint16_t size)
{
	struct virtq_driver_tables tables = { .slots = fixture->slots };

	memset(fixture->memory, 0, RING_BYTES);
	memset(fixture->slots, 0, sizeof(fixture->slots));
	fixture->ring.base = 0;
	place_ring(fixture, size);
	assert_int_equal(virtq_driver_init(&fixture->driver, &fixture->ring, &tables), 0);
}

static void open_lane(struct lane_fixture *fixture, const struct lane_fixture_config *config)
{
	struct lane_config lane = {
		.ops = config->ops,
		.device = config->device,
		.index = 3,
		.loop = config->lane_loop ? config->lane_loop : fixture->loop,
		.main_loop = fixture->loop,
		.broken = told_broken,
		.opaque = fixture,
	};

	assert_int_equal(lane_new(&lane, &fixture->lane), 0);
}

void fixture_open(struct lane_fixture *fixture, const struct lane_fixture_config *config)
{
	struct error error = { 0 };

	memset(fixture, 0, sizeof(*fixture));
	if (loop_new(&fixture->loop, &error) < 0)
		fail_msg("%s", error.text);
	loop_adopt(fixture->loop);
	fixture->memory = mmap(NULL, FIXTURE_MEMORY, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(fixture->memory, MAP_FAILED);
	assert_int_equal(mem_map_build_local(fixture->memory, FIXTURE_GUEST, FIXTURE_MEMORY,
					     &fixture->map),
			 0);
	fixture->ring = (struct virtq_config){ .layout = VIRTQ_SPLIT,
					       .indirect = true,
					       .event_idx = config->event_idx };
	fixture_restart_ring(fixture, config->ring_size ? config->ring_size : 64);
	fixture_free_all(fixture);
	fixture->kick_fd = event_fd_new();
	fixture->call_fd = event_fd_new();
	fixture->err_fd = event_fd_new();
	open_lane(fixture, config);
}

void fixture_close(struct lane_fixture *fixture)
{
	lane_free(fixture->lane);
	fd_close(&fixture->kick_fd);
	fd_close(&fixture->call_fd);
	fd_close(&fixture->err_fd);
	assert_int_equal(fixture->map->refs, 1);
	mem_map_unref(fixture->map);
	munmap(fixture->memory, FIXTURE_MEMORY);
	loop_free(fixture->loop);
}

/* ---- turns and commands ---- */

void fixture_turn(struct lane_fixture *fixture, uint64_t deadline_ns)
{
	if (clock_ns() > deadline_ns)
		fail_msg("deadline: waited %d s in vain", FIXTURE_DEADLINE_S);
	loop_turn(fixture->loop, NS_PER_MS);
}

void fixture_turns(struct lane_fixture *fixture, unsigned count)
{
	while (count-- > 0)
		loop_turn(fixture->loop, 0);
}

void fixture_answered(void *opaque, struct lane *lane, int result)
{
	struct lane_fixture *fixture = opaque;

	assert_ptr_equal(lane, fixture->lane);
	assert_true(loop_is_mine(fixture->loop));
	fixture->answers++;
	fixture->result = result;
}

int fixture_wait_answer(struct lane_fixture *fixture)
{
	unsigned answers = fixture->answers;

	fixture_wait(fixture, fixture->answers != answers);
	assert_int_equal(fixture->answers, answers + 1);
	return fixture->result;
}

struct lane_start fixture_start_args(struct lane_fixture *fixture)
{
	return (struct lane_start){
		.virtq = fixture->ring,
		.map = fixture->map,
		.kick_fd = fcntl(fixture->kick_fd, F_DUPFD_CLOEXEC, 0),
		.call_fd = fcntl(fixture->call_fd, F_DUPFD_CLOEXEC, 0),
		.err_fd = fcntl(fixture->err_fd, F_DUPFD_CLOEXEC, 0),
		.enabled = true,
	};
}

int fixture_start(struct lane_fixture *fixture, uint64_t features)
{
	struct lane_start start = fixture_start_args(fixture);

	start.features = features;
	lane_command_start(fixture->lane, &start, fixture_answered, fixture);
	return fixture_wait_answer(fixture);
}

int fixture_stop(struct lane_fixture *fixture)
{
	lane_command_stop(fixture->lane, fixture_answered, fixture);
	return fixture_wait_answer(fixture);
}

/* ---- guest memory ---- */

void *fixture_alloc(struct lane_fixture *fixture, size_t size)
{
	uint8_t *host = fixture->memory + fixture->allocated;

	fixture->allocated += (size + 15) / 16 * 16;
	assert_true(fixture->allocated <= FIXTURE_MEMORY);
	memset(host, 0, size);
	return host;
}

void fixture_free_all(struct lane_fixture *fixture)
{
	fixture->allocated = RING_BYTES;
}

uint64_t fixture_guest(const struct lane_fixture *fixture, const void *host)
{
	return FIXTURE_GUEST + (uint64_t)((const uint8_t *)host - fixture->memory);
}

/* ---- the driver ---- */

uint16_t fixture_add(struct lane_fixture *fixture, const struct virtq_sg *sg, unsigned out,
		     unsigned in)
{
	uint16_t head;

	assert_int_equal(virtq_driver_add(&fixture->driver, sg, out, in, &head), 0);
	virtq_driver_publish(&fixture->driver);
	return head;
}

uint16_t fixture_add_small(struct lane_fixture *fixture)
{
	uint8_t *byte = fixture->memory + RING_BYTES;
	struct virtq_sg sg[] = { { fixture_guest(fixture, byte), 1 },
				 { fixture_guest(fixture, byte + 1), 1 } };

	return fixture_add(fixture, sg, 1, 1);
}

void fixture_kick(struct lane_fixture *fixture)
{
	if (virtq_driver_should_kick(&fixture->driver))
		event_fd_signal(fixture->kick_fd);
}

void fixture_kick_always(struct lane_fixture *fixture)
{
	event_fd_signal(fixture->kick_fd);
}

unsigned fixture_take(struct lane_fixture *fixture)
{
	unsigned count = 0;
	uint16_t head;

	for (int rc; (rc = virtq_driver_take(&fixture->driver, &head, &fixture->written)); count++)
		assert_int_equal(rc, 1);
	fixture->taken += count;
	return count;
}

void fixture_wait_taken(struct lane_fixture *fixture, unsigned taken)
{
	fixture_wait(fixture, (fixture_take(fixture), fixture->taken >= taken));
	assert_int_equal(fixture->taken, taken);
}

/* ---- file descriptors ---- */

uint64_t fixture_signals(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

unsigned fixture_fd_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}
