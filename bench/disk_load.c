// SPDX-License-Identifier: MIT
/*
 * The same load on a virtio-blk or a virtio-scsi disk, over vhost-user: 4 KiB random reads, a thread and a queue for each job.
 *
 *     disk_load [--scsi=T:L]... [--jobs=N] [--depth=N] [--seconds=S] [--cpus=A,B,…] [--size=BYTES] [--sleep] [--tolerate]
 *               [--reset=T:L] SOCKET
 *
 * Without --scsi the disk is virtio-blk. With several, job i reads LUN i modulo their number. --sleep waits for interrupts
 * instead of polling. --tolerate counts failed reads instead of ending (a LUN that is reset or unplugged). --reset sends LOGICAL UNIT
 * RESET after LOGICAL UNIT RESET to that LUN through the control queue meanwhile.
 *
 * Prints one JSON object: for each job reads per second, latency in microseconds, failed reads; and how many resets were answered.
 */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/fd.h"
#include "base/histogram.h"
#include "driver/transport.h"
#include "virtq/virtq.h"

#include <getopt.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_scsi.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_SIZE 256u
#define DATA_BYTES 4096u
#define JOBS_MAX 16u
#define FIRST_SCSI_QUEUE 2u
#define GIVE_UP_NS (30 * NS_PER_S)

struct lun {
	unsigned target, lun;
};

union request {
	struct virtio_blk_outhdr blk;
	struct virtio_scsi_cmd_req scsi;
	struct virtio_scsi_ctrl_tmf_req tmf;
} cache_aligned;

union answer {
	uint8_t blk;
	struct virtio_scsi_cmd_resp scsi;
	struct virtio_scsi_ctrl_tmf_resp tmf;
} cache_aligned;

/* What the device sees of one queue. */
struct shared {
	struct virtq_desc desc[RING_SIZE] cache_aligned;
	uint8_t avail[6 + 2 * RING_SIZE] cache_aligned;
	uint8_t used[6 + 8 * RING_SIZE] cache_aligned;
	struct virtq_desc tables[RING_SIZE * 4] cache_aligned;
	union request requests[RING_SIZE];
	union answer answers[RING_SIZE];
	uint8_t data[RING_SIZE][DATA_BYTES] cache_aligned;
};

struct job {
	struct shared *shared;
	struct virtq_driver ring;
	struct virtq_driver_slot shadow[RING_SIZE];
	int kick_fd, call_fd;
	pthread_t thread;
	int cpu; /* -1: anywhere */
	bool scsi;
	struct lun lun;
	uint64_t random, end_ns;
	uint64_t begun_ns[RING_SIZE]; /* by id */
	unsigned in_flight;
	uint64_t reads, failed, elapsed_ns;
	struct histogram latency;
} cache_aligned;

static struct {
	struct lun luns[JOBS_MAX];
	unsigned lun_count, jobs, depth, cpu_count;
	int cpus[JOBS_MAX];
	uint64_t seconds, size;
	bool sleeps, tolerate, resets;
	struct lun reset;
	const char *socket;
	struct transport *transport;
	bool stop;
} load = { .jobs = 1, .depth = 64, .seconds = 2, .size = 1ull << 30 };

static void die(const char *what)
{
	fprintf(stderr, "disk_load: %s\n", what);
	exit(1);
}

/* ---- set-up ---- */

static uint64_t features(void)
{
	return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
	       1ull << VIRTIO_RING_F_EVENT_IDX |
	       (load.lun_count ? 1ull << VIRTIO_SCSI_F_HOTPLUG :
				 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_MQ);
}

static void open_device(void)
{
	struct transport_facts facts;
	struct error error;

	if (transport_vhost_user_open(load.socket, 5000, &load.transport, &error) < 0)
		die(error.text);
	load.transport->ops->get_facts(load.transport, &facts);
	if (features() & ~facts.features)
		die("the device is of another kind");
	if (load.transport->ops->set_features(load.transport, features(), &error) < 0)
		die(error.text);
}

static void open_queue(struct job *job, struct shared *shared, unsigned index)
{
	struct virtq_config config = {
		.layout = VIRTQ_SPLIT,
		.size = RING_SIZE,
		.indirect = true,
		.event_idx = true,
		.memory = { shared->desc, (struct virtq_avail *)shared->avail,
			    (struct virtq_used *)shared->used },
	};
	struct virtq_driver_tables tables = { job->shadow, shared->tables,
					      (uintptr_t)shared->tables, 4 };
	struct transport_ring ring = { RING_SIZE, shared->desc, shared->avail, shared->used };
	struct error error;

	job->shared = shared;
	job->kick_fd = ring.kick_fd = event_fd_new();
	job->call_fd = ring.call_fd = event_fd_new();
	if (virtq_driver_init(&job->ring, &config, &tables) < 0)
		die("the ring was refused");
	if (!load.sleeps)
		virtq_driver_calls_suppress(&job->ring);
	if (load.transport->ops->queue_start(load.transport, index, &ring, &error) < 0)
		die(error.text);
}

/* ---- one request ---- */

static void lun_encode(struct lun lun, uint8_t bytes[8])
{
	memset(bytes, 0, 8);
	bytes[0] = 1;
	bytes[1] = (uint8_t)lun.target;
	bytes[2] = (uint8_t)(0x40 | lun.lun >> 8);
	bytes[3] = (uint8_t)lun.lun;
}

static size_t fill_blk(union request *request, uint64_t block)
{
	request->blk = (struct virtio_blk_outhdr){
		.type = htole32(VIRTIO_BLK_T_IN),
		.sector = htole64(block * (DATA_BYTES / 512)),
	};
	return sizeof(request->blk);
}

/* READ (10) of blocks of 512 bytes. */
static size_t fill_scsi(union request *request, struct lun lun, uint64_t block, unsigned id)
{
	uint32_t lba = htobe32((uint32_t)(block * (DATA_BYTES / 512)));
	uint8_t *cdb = request->scsi.cdb;

	memset(&request->scsi, 0, sizeof(request->scsi));
	lun_encode(lun, request->scsi.lun);
	request->scsi.tag = id;
	cdb[0] = 0x28;
	memcpy(cdb + 2, &lba, sizeof(lba));
	cdb[8] = DATA_BYTES / 512;
	return sizeof(request->scsi);
}

static uint64_t random_next(struct job *job)
{
	job->random ^= job->random << 13;
	job->random ^= job->random >> 7;
	job->random ^= job->random << 17;
	return job->random;
}

static void begin(struct job *job, uint64_t now_ns)
{
	unsigned id = job->ring.free_head;
	union request *request = &job->shared->requests[id];
	union answer *answer = &job->shared->answers[id];
	uint64_t block = random_next(job) % (load.size / DATA_BYTES);
	size_t size = job->scsi ? fill_scsi(request, job->lun, block, id) :
				  fill_blk(request, block);
	struct virtq_sg data = { (uintptr_t)job->shared->data[id], DATA_BYTES };
	struct virtq_sg status = { (uintptr_t)answer,
				   job->scsi ? sizeof(answer->scsi) : sizeof(answer->blk) };
	struct virtq_sg sg[3] = { { (uintptr_t)request, (uint32_t)size },
				  job->scsi ? status : data,
				  job->scsi ? data : status };
	uint16_t head;

	if (job->scsi)
		answer->scsi.response = 0xff;
	else
		answer->blk = 0xff;
	if (virtq_driver_add(&job->ring, sg, 1, 2, &head) < 0 || head != id)
		die("the ring is full");
	job->begun_ns[id] = now_ns;
	job->in_flight++;
}

static bool succeeded(const struct job *job, unsigned id)
{
	const union answer *answer = &job->shared->answers[id];

	return job->scsi ? answer->scsi.response == VIRTIO_SCSI_S_OK && answer->scsi.status == 0 :
			   answer->blk == VIRTIO_BLK_S_OK;
}

static void end(struct job *job, unsigned id, uint64_t now_ns)
{
	job->in_flight--;
	if (succeeded(job, id)) {
		job->reads++;
		histogram_add(&job->latency, now_ns - job->begun_ns[id]);
		return;
	}
	if (!load.tolerate)
		die("a read failed");
	job->failed++;
}

static unsigned reap(struct job *job)
{
	uint64_t now_ns = 0;
	unsigned count = 0;
	uint32_t written;
	uint16_t id;
	int taken;

	while ((taken = virtq_driver_take(&job->ring, &id, &written)) > 0) {
		if (count++ == 0)
			now_ns = clock_ns();
		end(job, id, now_ns);
	}
	if (taken < 0)
		die("the device broke the ring");
	return count;
}

/* ---- jobs ---- */

static void wait_for_call(struct job *job)
{
	struct pollfd fd = { job->call_fd, POLLIN, 0 };

	if (virtq_driver_calls_enable(&job->ring, 0))
		return;
	if (poll(&fd, 1, (int)(GIVE_UP_NS / NS_PER_MS)) == 0)
		die("a read was never answered");
	event_fd_clear(job->call_fd);
}

static void submit(struct job *job, uint64_t now_ns)
{
	while (job->in_flight < load.depth)
		begin(job, now_ns);
	virtq_driver_publish(&job->ring);
	if (virtq_driver_should_kick(&job->ring))
		event_fd_signal(job->kick_fd);
}

/* The commands that a fresh nexus refuses once (a unit attention) are not measured. */
static void warm_up(struct job *job)
{
	bool tolerate = load.tolerate;

	load.tolerate = true;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t limit = clock_ns() + GIVE_UP_NS;

		begin(job, clock_ns());
		virtq_driver_publish(&job->ring);
		if (virtq_driver_should_kick(&job->ring))
			event_fd_signal(job->kick_fd);
		while (reap(job) == 0 && clock_ns() < limit)
			cpu_relax();
	}
	load.tolerate = tolerate;
	job->reads = job->failed = 0;
	histogram_init(&job->latency);
}

static void *job_run(void *opaque)
{
	struct job *job = opaque;
	uint64_t start = clock_ns(), last = start, now;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	if (job->cpu >= 0)
		CPU_SET((unsigned)job->cpu, &cpus);
	if (job->cpu >= 0)
		sched_setaffinity(0, sizeof(cpus), &cpus);
	for (now = start; now < job->end_ns || job->in_flight > 0; now = clock_ns()) {
		if (now < job->end_ns)
			submit(job, now);
		if (reap(job) > 0)
			last = now;
		else if (load.sleeps)
			wait_for_call(job);
		else if (now - last > GIVE_UP_NS)
			die("a read was never answered");
	}
	job->elapsed_ns = clock_ns() - start;
	return NULL;
}

/* ---- resets ---- */

static void reset_once(struct job *ctrl)
{
	union request *request = &ctrl->shared->requests[0];
	union answer *answer = &ctrl->shared->answers[0];
	struct virtq_sg sg[2] = { { (uintptr_t)request, sizeof(request->tmf) },
				  { (uintptr_t)answer, sizeof(answer->tmf) } };
	uint64_t limit = clock_ns() + GIVE_UP_NS;
	uint32_t written;
	uint16_t id;

	request->tmf = (struct virtio_scsi_ctrl_tmf_req){
		.type = htole32(VIRTIO_SCSI_T_TMF),
		.subtype = htole32(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET),
	};
	lun_encode(load.reset, request->tmf.lun);
	answer->tmf.response = 0xff;
	if (virtq_driver_add(&ctrl->ring, sg, 1, 1, &id) < 0)
		die("the control queue is full");
	virtq_driver_publish(&ctrl->ring);
	event_fd_signal(ctrl->kick_fd);
	while (virtq_driver_take(&ctrl->ring, &id, &written) == 0)
		if (clock_ns() > limit)
			die("a reset was never answered");
		else
			sched_yield();
	if (answer->tmf.response != VIRTIO_SCSI_S_OK)
		ctrl->failed++;
	else
		ctrl->reads++;
}

static void *resets_run(void *opaque)
{
	struct job *ctrl = opaque;

	while (!load_relaxed(&load.stop))
		reset_once(ctrl);
	return NULL;
}

/* ---- the whole ---- */

static struct lun parse_lun(const char *text)
{
	struct lun lun;

	if (sscanf(text, "%u:%u", &lun.target, &lun.lun) != 2)
		die("a LUN is TARGET:LUN");
	return lun;
}

static void parse_cpus(const char *text)
{
	for (;;) {
		char *end;
		unsigned long cpu = strtoul(text, &end, 10);

		if (end == text || cpu >= CPU_SETSIZE || load.cpu_count == JOBS_MAX)
			die("--cpus takes numbers of CPUs with commas between");
		load.cpus[load.cpu_count++] = (int)cpu;
		if (!*end)
			return;
		text = end + 1;
	}
}

static void parse_one(int option)
{
	switch (option) {
	case 's':
		if (load.lun_count < JOBS_MAX)
			load.luns[load.lun_count++] = parse_lun(optarg);
		break;
	case 'j':
		load.jobs = (unsigned)strtoul(optarg, NULL, 10);
		break;
	case 'd':
		load.depth = (unsigned)strtoul(optarg, NULL, 10);
		break;
	case 't':
		load.seconds = strtoull(optarg, NULL, 10);
		break;
	case 'b':
		load.size = strtoull(optarg, NULL, 10);
		break;
	case 'c':
		parse_cpus(optarg);
		break;
	case 'S':
		load.sleeps = true;
		break;
	case 'T':
		load.tolerate = true;
		break;
	case 'r':
		load.resets = true;
		load.reset = parse_lun(optarg);
		break;
	default:
		exit(1);
	}
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "scsi", required_argument, NULL, 's' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "depth", required_argument, NULL, 'd' },
		{ "seconds", required_argument, NULL, 't' },
		{ "size", required_argument, NULL, 'b' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "sleep", no_argument, NULL, 'S' },
		{ "tolerate", no_argument, NULL, 'T' },
		{ "reset", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		parse_one(c);
	if (optind + 1 != argc || load.jobs < 1 || load.jobs > JOBS_MAX || load.depth < 1 ||
	    load.depth > RING_SIZE || load.size < DATA_BYTES)
		die("one SOCKET, 1 to 16 jobs, a depth of 1 to 256, at least 4096 bytes");
	if (load.resets && !load.lun_count)
		die("--reset needs --scsi");
	load.socket = argv[optind];
}

static void print_results(const struct job *jobs, const struct job *ctrl)
{
	printf("{\"resets\": %llu, \"failed_resets\": %llu, \"jobs\": [",
	       (unsigned long long)ctrl->reads, (unsigned long long)ctrl->failed);
	for (unsigned i = 0; i < load.jobs; i++) {
		const struct job *job = &jobs[i];

		printf("%s{\"iops\": %.0f, \"failed\": %llu, \"mean_us\": %.3f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f}",
		       i ? ", " : "", (double)job->reads * 1e9 / (double)job->elapsed_ns,
		       (unsigned long long)job->failed, histogram_mean(&job->latency) / 1e3,
		       (double)histogram_percentile(&job->latency, 50) / 1e3,
		       (double)histogram_percentile(&job->latency, 99) / 1e3,
		       (double)job->latency.max / 1e3);
	}
	printf("]}\n");
}

static void open_all(struct job *jobs, struct job *ctrl)
{
	unsigned first = load.lun_count ? FIRST_SCSI_QUEUE : 0;
	struct dma_region region;
	struct shared *shared;
	struct error error;

	open_device();
	if (dma_region_alloc((load.jobs + 1) * sizeof(*shared), &region, &error) < 0 ||
	    load.transport->ops->mem_add(load.transport, &region, &error) < 0)
		die(error.text);
	shared = region.addr;
	if (load.resets)
		open_queue(ctrl, &shared[load.jobs], 0);
	for (unsigned i = 0; i < load.jobs; i++) {
		open_queue(&jobs[i], &shared[i], first + i);
		jobs[i].scsi = load.lun_count > 0;
		if (jobs[i].scsi)
			jobs[i].lun = load.luns[i % load.lun_count];
		jobs[i].random = 88172645463325252ull + i;
		jobs[i].cpu = load.cpu_count ? load.cpus[i % load.cpu_count] : -1;
	}
	if (load.transport->ops->start(load.transport, &error) < 0)
		die(error.text);
}

int main(int argc, char **argv)
{
	static struct job jobs[JOBS_MAX], ctrl;
	uint64_t now;
	pthread_t resetter;

	parse(argc, argv);
	open_all(jobs, &ctrl);
	for (unsigned i = 0; i < load.jobs; i++)
		warm_up(&jobs[i]);
	now = clock_ns();
	for (unsigned i = 0; i < load.jobs; i++) {
		jobs[i].end_ns = now + load.seconds * NS_PER_S;
		if (pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i]))
			die("no thread");
	}
	if (load.resets && pthread_create(&resetter, NULL, resets_run, &ctrl))
		die("no thread");
	for (unsigned i = 0; i < load.jobs; i++)
		pthread_join(jobs[i].thread, NULL);
	store_relaxed(&load.stop, true);
	if (load.resets)
		pthread_join(resetter, NULL);
	print_results(jobs, &ctrl);
	return 0;
}
