/* SPDX-License-Identifier: MIT */
/*
 * The life of a lane: commands from the main loop, and how a ring breaks.
 *
 * Theory of operation. A command is one message that travels to the lane's loop and back; its struct lies in the lane, so there is
 * one at a time. Most are answered where they run. Two wait: a stop until nothing is in flight and the kernel has let go of the
 * kick and of the signals, a new kick until the kernel has let go of the old one. What waits is looked at only at the end of a turn, so that no
 * device is stopped below its own completion.
 *
 * Kicks. While a lane waits, runs or is stopped the driver is asked for kicks, so that none is missing when the ring starts again.
 * The counter of the event fd is not read while the lane runs. At stop it is cleared, and signalled again when the ring holds
 * chains that nobody took: the next owner of the ring sees exactly one kick, and only if there is something to do.
 *
 * The poller is with the loop exactly in the state RUNNING, unless the lane is held or the device takes its chains itself.
 */
#include "base/fd.h"
#include "device/lane_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LANE_PENDING 0x10000 /* answered later; above every result */

static void command_answer(struct lane_impl *lane, int result);

/* ---- memory maps ---- */

static struct lane_map *lane_map_new(struct mem_map *map)
{
	struct lane_map *lane_map = malloc(sizeof(*lane_map));

	if (!lane_map)
		return NULL;
	*lane_map = (struct lane_map){ .map = mem_map_ref(map) };
	return lane_map;
}

void lane_map_free(struct lane_map *map)
{
	if (!map)
		return;
	mem_map_unref(map->map);
	free(map);
}

/* ---- slots ---- */

/* An odd number of cache lines, so that the beginnings of slots do not fall on each other in the cache. */
static size_t slot_bytes(const struct lane_impl *lane)
{
	size_t bytes = lane->ops->request_size + LANE_IOV_MAX * sizeof(struct iovec);

	return ((bytes + CACHE_LINE - 1) / CACHE_LINE | 1) * CACHE_LINE;
}

/* Anonymous pages: zeroed, and there only once they are touched. */
static int slots_alloc(struct lane_impl *lane, unsigned count)
{
	size_t bytes = count * slot_bytes(lane);
	void *slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (slots == MAP_FAILED)
		return -ENOMEM;
	lane->taken = calloc(count, sizeof(*lane->taken));
	if (!lane->taken) {
		munmap(slots, bytes);
		return -ENOMEM;
	}
	lane->slots = slots;
	lane->slots_bytes = bytes;
	lane->slots_used = 0;
	lane->free = NULL;
	return 0;
}

static void slots_free(struct lane_impl *lane)
{
	munmap(lane->slots, lane->slots_bytes);
	free(lane->taken);
	lane->slots = NULL;
	lane->taken = NULL;
	lane->free = NULL;
}

struct lane_request *lane_slot_new(struct lane_impl *lane)
{
	struct lane_request *request;

	if (lane->slots_used == lane->q.size)
		return NULL;
	request = (void *)((char *)lane->slots + lane->slots_used++ * slot_bytes(lane));
	request->lane = &lane->lane;
	request->iov = (void *)((char *)request + lane->ops->request_size);
	if (lane->ops->prepare)
		lane->ops->prepare(&lane->lane, request);
	lane->free = request;
	return request;
}

unsigned lane_slot_count(const struct lane *lane)
{
	return ((const struct lane_impl *)lane)->slots_used;
}

struct lane_request *lane_slot(const struct lane *base, unsigned index)
{
	const struct lane_impl *lane = (const struct lane_impl *)base;

	return (void *)((char *)lane->slots + index * slot_bytes(lane));
}

/* ---- running or not ---- */

static void lane_run(struct lane_impl *lane)
{
	lane->state = LANE_RUNNING;
	if (lane->ops->kicked)
		lane->ops->kicked(&lane->lane);
	else if (!lane->held)
		loop_poller_add(lane->loop, &lane->poller);
}

void lane_rest(struct lane_impl *lane)
{
	if (lane->state == LANE_RUNNING && !lane->ops->kicked && !lane->held)
		loop_poller_remove(lane->loop, &lane->poller);
}

/* ---- breaking ---- */

static void broken_told(struct loop_message *message)
{
	struct lane_impl *lane = container_of(message, struct lane_impl, broken_message);

	lane->broken(lane->opaque, lane->index, lane->broken_reason);
}

void lane_break(struct lane_impl *lane, const char *reason)
{
	lane_flush(lane); /* what was completed before, unless the ring itself broke */
	lane->q.broken = reason;
	if (lane->reported)
		return;
	lane->reported = true;
	lane->broken_reason = reason;
	lane_rest(lane);
	if (lane->state != LANE_DRAINING)
		lane->state = LANE_BROKEN;
	loop_signal_raise(&lane->err);
	lane->broken_message.fn = broken_told;
	loop_post(lane->main_loop, &lane->broken_message);
}

/* ---- kicks ---- */

static void kick_taken(struct lane_impl *lane)
{
	if (lane->state == LANE_RUNNING && lane->ops->kicked)
		lane->ops->kicked(&lane->lane);
	else if (lane->state == LANE_RUNNING && !lane->held)
		loop_poller_hit(lane->loop, &lane->poller);
	else if (lane->state == LANE_WAITING && lane->enabled)
		lane_run(lane);
	else if (lane->state == LANE_WAITING)
		lane->state = LANE_PAUSED;
}

static void kick_ready(struct loop_fd *source, unsigned revents)
{
	struct lane_impl *lane = container_of(source, struct lane_impl, kick);

	if (!(revents & POLLIN)) {
		lane_break(lane, "the kick file descriptor cannot be waited for");
		return;
	}
	lane_count(lane, kicks, 1);
	kick_taken(lane);
}

static void kick_add(struct lane_impl *lane, int fd)
{
	lane->kick = (struct loop_fd){ .fd = fd, .events = POLLIN, .ready = kick_ready };
	lane->has_kick = fd >= 0;
	if (lane->has_kick)
		loop_fd_add(lane->loop, &lane->kick);
}

/* Nothing that the driver told is lost: it is asked for kicks, the old ones are taken back, then the ring is looked at. */
static void kick_hand_back(struct lane_impl *lane)
{
	bool work;

	loop_signal_init(lane->loop, &lane->kick_back, lane->kick.fd);
	lane->kick.fd = -1;
	if (lane->kick_back.fd < 0 || lane->q.broken)
		return;
	event_fd_clear(lane->kick_back.fd);
	work = virtq_device_kicks_enable(&lane->q);
	if (work || virtq_device_has_work(&lane->q))
		loop_signal_raise(&lane->kick_back);
}

/* ---- start ---- */

static int lane_setup(struct lane_impl *lane, const struct lane_start *start)
{
	int ret;

	lane->lane.features = start->features;
	ret = virtq_device_init(&lane->q, &start->virtq, start->map);
	if (ret < 0)
		return ret;
	ret = slots_alloc(lane, start->virtq.size);
	if (ret < 0)
		return ret;
	ret = lane->ops->start(&lane->lane);
	if (ret < 0)
		slots_free(lane);
	return ret;
}

static void start_refuse(struct lane_command *command)
{
	lane_map_free(command->map);
	fd_close(&command->start.kick_fd);
	fd_close(&command->start.call_fd);
	fd_close(&command->start.err_fd);
}

static int run_start(struct lane_impl *lane, struct lane_command *command)
{
	const struct lane_start *start = &command->start;
	int ret = -EALREADY;

	if (lane->state == LANE_STOPPED)
		ret = command->map ? lane_setup(lane, start) : -ENOMEM;
	if (ret < 0) {
		start_refuse(command);
		return ret;
	}
	lane->map = command->map;
	loop_signal_init(lane->loop, &lane->call, start->call_fd);
	loop_signal_init(lane->loop, &lane->err, start->err_fd);
	lane->enabled = start->enabled;
	lane->reported = lane->stopping = false;
	lane->pushed = 0;
	lane->state = LANE_WAITING;
	virtq_device_kicks_enable(&lane->q);
	kick_add(lane, start->kick_fd);
	return 0;
}

/* ---- stop ---- */

static void stop_finish(struct lane_impl *lane)
{
	lane->ops->stop(&lane->lane);
	lane_map_free(lane->map);
	lane->map = NULL;
	slots_free(lane);
	lane->state = LANE_STOPPED;
	command_answer(lane, lane->q.avail_next);
}

static void stop_kick_removed(struct loop_fd *source)
{
	struct lane_impl *lane = container_of(source, struct lane_impl, kick);

	lane->has_kick = false;
	loop_defer(lane->loop, &lane->turn_end);
}

static int run_stop(struct lane_impl *lane)
{
	if (lane->state == LANE_STOPPED)
		return -EALREADY;
	lane_rest(lane);
	lane->state = LANE_DRAINING;
	lane->stopping = true;
	loop_defer(lane->loop, &lane->turn_end);
	if (lane->has_kick)
		loop_fd_remove(&lane->kick, stop_kick_removed);
	return LANE_PENDING;
}

static void signal_ended(struct lane_impl *lane)
{
	if (--lane->signals == 0)
		stop_finish(lane);
}

static void call_ended(struct loop_signal *signal)
{
	signal_ended(container_of(signal, struct lane_impl, call));
}

static void err_ended(struct loop_signal *signal)
{
	signal_ended(container_of(signal, struct lane_impl, err));
}

static void kick_back_ended(struct loop_signal *signal)
{
	signal_ended(container_of(signal, struct lane_impl, kick_back));
}

/* The last calls are out before the stop is answered. */
void lane_turn_end(struct loop_defer *defer)
{
	struct lane_impl *lane = container_of(defer, struct lane_impl, turn_end);

	lane_flush(lane);
	lane_hold_turn_end(lane);
	if (!lane->stopping || lane->in_flight > 0 || lane->has_kick)
		return;
	lane->stopping = false;
	lane->signals = 3;
	kick_hand_back(lane);
	loop_signal_end(&lane->call, call_ended);
	loop_signal_end(&lane->err, err_ended);
	loop_signal_end(&lane->kick_back, kick_back_ended);
}

/* ---- the other commands ---- */

static int run_enable(struct lane_impl *lane)
{
	lane->enabled = true;
	if (lane->state == LANE_PAUSED)
		lane_run(lane);
	return 0;
}

static int run_disable(struct lane_impl *lane)
{
	lane->enabled = false;
	if (lane->state != LANE_RUNNING)
		return 0;
	lane_rest(lane);
	lane->state = LANE_PAUSED;
	return 0;
}

/* That the ring is broken is a state: whoever listens now is told too. */
static int run_set_err(struct lane_impl *lane, int fd)
{
	loop_signal_replace(&lane->err, fd);
	if (lane->reported && !lane->err.busy)
		loop_signal_raise(&lane->err);
	return 0;
}

/* A kick that went to the old descriptor may not have been seen: look. A lane that waits has seen none, so a counter is one. */
static void kick_replace(struct lane_impl *lane)
{
	bool kicked = lane->state == LANE_RUNNING ||
		      (lane->kick.fd >= 0 && event_fd_clear(lane->kick.fd));

	fd_close(&lane->kick.fd);
	kick_add(lane, lane->command.fd);
	if (kicked)
		kick_taken(lane);
}

static void replaced_kick_removed(struct loop_fd *source)
{
	struct lane_impl *lane = container_of(source, struct lane_impl, kick);

	kick_replace(lane);
	command_answer(lane, 0);
}

static int run_set_kick(struct lane_impl *lane)
{
	if (!lane->has_kick) {
		kick_replace(lane);
		return 0;
	}
	loop_fd_remove(&lane->kick, replaced_kick_removed);
	return LANE_PENDING;
}

static bool memory_is_complete(const struct virtq_memory *memory)
{
	return memory->desc && memory->avail && memory->used;
}

static int run_set_map(struct lane_impl *lane, struct lane_map *map,
		       const struct virtq_memory *memory)
{
	struct lane_map *old = lane->map;

	if (!map)
		return -ENOMEM;
	lane_flush(lane);
	if (memory_is_complete(memory))
		virtq_device_remap(&lane->q, memory, map->map);
	else
		lane_break(lane, "the ring does not lie in guest memory any more");
	lane->map = map;
	if (old->in_flight == 0)
		lane_map_free(old);
	return 0;
}

/* ---- commands, on the lane's loop ---- */

static void command_told(struct loop_message *message)
{
	struct lane_impl *lane = container_of(message, struct lane_impl, command.message);

	lane->command.busy = false;
	lane->command.done(lane->command.opaque, &lane->lane, lane->command.result);
}

static void command_answer(struct lane_impl *lane, int result)
{
	lane->command.result = result;
	lane->command.message.fn = command_told;
	loop_post(lane->main_loop, &lane->command.message);
}

/*
 * QEMU gives another event fd while the guest masks the queue's interrupt, and looks at the one that it takes back as soon as it has
 * sent the message: a call that is written there before the message is heard is lost. So the new one is always called once.
 */
static int run_set_call(struct lane_impl *lane, int fd)
{
	loop_signal_renew(&lane->call, fd);
	return 0;
}

/* A stopped lane keeps nothing of what it was given. */
static int command_run_stopped(struct lane_command *command)
{
	fd_close(&command->fd);
	lane_map_free(command->map);
	return 0;
}

static int command_run(struct lane_impl *lane, struct lane_command *command)
{
	if (command->verb == LANE_START)
		return run_start(lane, command);
	if (command->verb == LANE_STOP)
		return run_stop(lane);
	if (lane->state == LANE_STOPPED)
		return command_run_stopped(command);
	switch (command->verb) {
	case LANE_ENABLE:
		return run_enable(lane);
	case LANE_DISABLE:
		return run_disable(lane);
	case LANE_SET_CALL:
		return run_set_call(lane, command->fd);
	case LANE_SET_KICK:
		return run_set_kick(lane);
	case LANE_SET_ERR:
		return run_set_err(lane, command->fd);
	case LANE_SET_MAP:
		return run_set_map(lane, command->map, &command->memory);
	default:
		return -EINVAL;
	}
}

static void command_arrived(struct loop_message *message)
{
	struct lane_impl *lane = container_of(message, struct lane_impl, command.message);
	int result;

	assert(loop_is_mine(lane->loop));
	result = command_run(lane, &lane->command);
	if (result != LANE_PENDING)
		command_answer(lane, result);
}

/* ---- commands, on the main thread ---- */

static struct lane_command *command_prepare(struct lane *base, enum lane_verb verb,
					    lane_done_fn *done, void *opaque)
{
	struct lane_impl *lane = lane_impl(base);

	assert(loop_is_mine(lane->main_loop));
	assert(!lane->command.busy);
	lane->command = (struct lane_command){
		.message = { .fn = command_arrived },
		.verb = verb,
		.busy = true,
		.fd = -1,
		.done = done,
		.opaque = opaque,
	};
	return &lane->command;
}

static void command_send(struct lane *lane)
{
	loop_post(lane_impl(lane)->loop, &lane_impl(lane)->command.message);
}

void lane_command_start(struct lane *lane, const struct lane_start *start, lane_done_fn *done,
			void *opaque)
{
	struct lane_command *command = command_prepare(lane, LANE_START, done, opaque);

	command->start = *start;
	command->map = lane_map_new(start->map);
	command_send(lane);
}

void lane_command_stop(struct lane *lane, lane_done_fn *done, void *opaque)
{
	command_prepare(lane, LANE_STOP, done, opaque);
	command_send(lane);
}

void lane_command_enable(struct lane *lane, bool enabled, lane_done_fn *done, void *opaque)
{
	command_prepare(lane, enabled ? LANE_ENABLE : LANE_DISABLE, done, opaque);
	command_send(lane);
}

static void command_send_fd(struct lane *lane, enum lane_verb verb, int fd, lane_done_fn *done,
			    void *opaque)
{
	command_prepare(lane, verb, done, opaque)->fd = fd;
	command_send(lane);
}

void lane_command_set_call(struct lane *lane, int fd, lane_done_fn *done, void *opaque)
{
	command_send_fd(lane, LANE_SET_CALL, fd, done, opaque);
}

void lane_command_set_kick(struct lane *lane, int fd, lane_done_fn *done, void *opaque)
{
	command_send_fd(lane, LANE_SET_KICK, fd, done, opaque);
}

void lane_command_set_err(struct lane *lane, int fd, lane_done_fn *done, void *opaque)
{
	command_send_fd(lane, LANE_SET_ERR, fd, done, opaque);
}

void lane_command_set_map(struct lane *lane, struct mem_map *map, const struct virtq_memory *memory,
			  lane_done_fn *done, void *opaque)
{
	struct lane_command *command = command_prepare(lane, LANE_SET_MAP, done, opaque);

	command->map = lane_map_new(map);
	command->memory = *memory;
	command_send(lane);
}
