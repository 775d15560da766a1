/* SPDX-License-Identifier: MIT */
/* See fixture.h. */
#include "scsi/fixture.h"

#include "base/clock.h"
#include "base/iov.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_NS (20 * NS_PER_S)
#define DISK_BYTES (1u << 20)

/* ---- waiting ---- */

/* Short: what is waited for may come as a message, before the turn goes to sleep. */
void scsi_fixture_turn(struct scsi_fixture *fixture)
{
	loop_turn(fixture->loop, NS_PER_MS);
}

void scsi_fixture_wait(struct scsi_fixture *fixture, const bool *flag)
{
	uint64_t deadline_ns = clock_ns() + DEADLINE_NS;

	while (!*flag) {
		assert_true(clock_ns() < deadline_ns);
		scsi_fixture_turn(fixture);
	}
}

static void set_flag(void *opaque)
{
	*(bool *)opaque = true;
}

/* ---- units ---- */

static uint64_t initiator_of(unsigned who)
{
	return 0x3000000000000100ull + who;
}

static struct scsi_nexus *nexus_make(struct scsi_unit *unit, unsigned index, unsigned who)
{
	struct scsi_nexus *nexus = NULL;
	struct scsi_nexus_config config = {
		.unit = unit,
		.ports = { .initiator = initiator_of(who),
			   .target = 0x3000000000000200ull + who,
			   .relative_target_port = (uint16_t)(who + 1) },
		.target = 0,
		.lun = (uint16_t)index,
	};

	assert_int_equal(scsi_nexus_new(&config, &nexus, NULL), 0);
	return nexus;
}

static void unit_open(struct scsi_fixture *fixture, unsigned index,
		      const struct scsi_unit_config *config)
{
	struct scsi_fixture_unit *u = &fixture->units[index];
	struct scsi_unit_config full = config ? *config : (struct scsi_unit_config){ 0 };
	struct error error = { 0 };

	full.node = u->node;
	full.loop = fixture->loop;
	if (scsi_unit_new(&full, &u->unit, &error) < 0)
		fail_msg("%s", error.text);
	for (unsigned who = 0; who < SCSI_INITIATORS; who++)
		u->nexuses[who] = nexus_make(u->unit, index, who);
	assert_int_equal(block_channel_open(u->node, fixture->loop, &u->channel), 0);
	if (index > 0)
		return;
	fixture->node = u->node;
	fixture->unit = u->unit;
	memcpy(fixture->nexuses, u->nexuses, sizeof(u->nexuses));
}

static void unit_close(struct scsi_fixture *fixture, unsigned index)
{
	struct scsi_fixture_unit *u = &fixture->units[index];
	bool ended = false;

	scsi_unit_end_jobs(u->unit, set_flag, &ended);
	scsi_fixture_wait(fixture, &ended);
	for (unsigned who = 0; who < SCSI_INITIATORS; who++)
		scsi_nexus_free(u->nexuses[who]);
	block_channel_close(u->channel);
	scsi_unit_free(u->unit);
}

unsigned scsi_fixture_add(struct scsi_fixture *fixture, struct block_node *node,
			  const struct scsi_unit_config *config)
{
	unsigned index = fixture->unit_count++;

	assert_true(index < SCSI_FIXTURE_UNITS);
	fixture->units[index].node = node;
	unit_open(fixture, index, config);
	return index;
}

void scsi_fixture_restart(struct scsi_fixture *fixture, unsigned index,
			  const struct scsi_unit_config *config)
{
	unit_close(fixture, index);
	unit_open(fixture, index, config);
}

struct block_node *scsi_fixture_ram(struct scsi_fixture *fixture, const char *name, uint64_t size)
{
	struct block_node *node = NULL;
	struct block_ram_config config = { .name = name, .size = size };

	assert_int_equal(block_ram_open(fixture->graph, &config, &node, NULL), 0);
	return node;
}

struct block_node *scsi_fixture_file(struct scsi_fixture *fixture, const char *name, uint64_t size)
{
	struct block_node *node = NULL;
	struct block_file_config config = {
		.name = name,
		.filename = scsi_fixture_path(fixture, name),
		.discard_unmap = true,
	};
	int fd = open(config.filename, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
	assert_int_equal(block_file_open(fixture->graph, &config, &node, NULL), 0);
	return node;
}

void scsi_fixture_clear_attentions(struct scsi_fixture *fixture)
{
	for (unsigned i = 0; i < fixture->unit_count; i++) {
		for (unsigned who = 0; who < SCSI_INITIATORS; who++) {
			while (scsi_nexus_take_attention(fixture->units[i].nexuses[who]))
				;
		}
	}
}

const char *scsi_fixture_path(struct scsi_fixture *fixture, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
	return path;
}

/* ---- the fixture ---- */

struct scsi_fixture *scsi_fixture_new(void)
{
	struct scsi_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	assert_int_equal(loop_new(&fixture->loop, NULL), 0);
	loop_adopt(fixture->loop);
	fixture->graph = block_graph_new();
	assert_non_null(fixture->graph);
	snprintf(fixture->dir, sizeof(fixture->dir), "scsi-test-XXXXXX");
	assert_non_null(mkdtemp(fixture->dir));
	return fixture;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	return remove(path);
}

void scsi_fixture_free(struct scsi_fixture *fixture)
{
	for (unsigned i = 0; i < fixture->unit_count; i++)
		unit_close(fixture, i);
	assert_int_equal(fixture->peers_out, 0);
	block_graph_free(fixture->graph);
	loop_free(fixture->loop);
	nftw(fixture->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(fixture);
}

int scsi_fixture_setup(void **state)
{
	struct scsi_fixture *fixture = scsi_fixture_new();

	scsi_fixture_add(fixture, scsi_fixture_ram(fixture, "disk", DISK_BYTES), NULL);
	scsi_fixture_clear_attentions(fixture);
	*state = fixture;
	return 0;
}

int scsi_fixture_teardown(void **state)
{
	scsi_fixture_free(*state);
	return 0;
}

/* ---- what tasks ask of others ---- */

static struct scsi_run *run_of(struct scsi_task *task)
{
	return container_of(task, struct scsi_run, task);
}

static void run_park(struct scsi_run *run)
{
	struct scsi_run **last = &run->fixture->waiting;

	while (*last)
		last = &(*last)->next_waiting;
	run->next_waiting = NULL;
	*last = run;
}

static struct scsi_run *run_unpark(struct scsi_fixture *fixture)
{
	struct scsi_run *run = fixture->waiting;

	assert_non_null(run);
	fixture->waiting = run->next_waiting;
	return run;
}

void scsi_fixture_grant(struct scsi_fixture *fixture)
{
	scsi_task_resume(&run_unpark(fixture)->task);
}

void scsi_fixture_abandon(struct scsi_fixture *fixture)
{
	scsi_task_abandon(&run_unpark(fixture)->task);
}

static void fixture_exclusive(struct scsi_task *task)
{
	struct scsi_run *run = run_of(task);

	run->fixture->exclusive_count++;
	if (run->fixture->hold_exclusive)
		run_park(run);
	else
		scsi_task_resume(task);
}

static void fixture_abort_marked(struct scsi_task *task)
{
	struct scsi_run *run = run_of(task);
	struct scsi_fixture *fixture = run->fixture;

	fixture->abort_count++;
	for (unsigned i = 0; i < fixture->unit_count; i++) {
		for (unsigned who = 0; who < SCSI_INITIATORS; who++) {
			if (fixture->units[i].unit == task->nexus->unit)
				fixture->aborted[who] |=
					scsi_nexus_take_abort(fixture->units[i].nexuses[who]);
		}
	}
	if (fixture->hold_abort)
		run_park(run);
	else
		scsi_task_resume(task);
}

static unsigned fixture_list_luns(struct scsi_task *task, uint64_t *luns, unsigned max)
{
	const struct scsi_fixture *fixture = run_of(task)->fixture;

	memcpy(luns, fixture->luns, MIN(max, fixture->lun_count) * sizeof(*luns));
	return fixture->lun_count;
}

static void fixture_luns_reported(struct scsi_task *task)
{
	if (task->nexus)
		scsi_nexus_clear_attention(task->nexus, SCSI_ASC_REPORTED_LUNS_CHANGED);
}

static int fixture_peer_get(struct scsi_task *task, uint64_t naa, struct scsi_peer *ret_peer)
{
	struct scsi_fixture *fixture = run_of(task)->fixture;
	unsigned who = task->nexus->ports.relative_target_port - 1u;

	for (unsigned i = 0; i < fixture->unit_count; i++) {
		struct scsi_fixture_unit *u = &fixture->units[i];

		if (scsi_unit_wwn(u->unit) != naa)
			continue;
		*ret_peer = (struct scsi_peer){ .nexus = u->nexuses[who], .channel = u->channel };
		fixture->peers_out++;
		return 0;
	}
	return -ENOENT;
}

static void fixture_peer_put(struct scsi_task *task, struct scsi_peer *peer)
{
	assert_non_null(peer->nexus);
	assert_true(run_of(task)->fixture->peers_out-- > 0);
}

static const struct scsi_task_ops fixture_ops = {
	.exclusive = fixture_exclusive,
	.abort_marked = fixture_abort_marked,
	.list_luns = fixture_list_luns,
	.luns_reported = fixture_luns_reported,
	.peer_get = fixture_peer_get,
	.peer_put = fixture_peer_put,
};

/* ---- commands ---- */

static void run_done(struct scsi_task *task)
{
	struct scsi_run *run = run_of(task);
	size_t first = run->in_memory[0] ? task->in_bytes / 3 : 0;

	run->done_count++;
	if (!run->in_copy || task->in_bytes == 0)
		return;
	memcpy(run->in_copy, run->in_memory[0], first);
	memcpy((uint8_t *)run->in_copy + first, run->in_memory[1], task->in_bytes - first);
}

/* Two pieces, the first a third of the whole. */
static unsigned split(struct iovec iov[2], uint8_t *memory[2], const void *bytes, size_t size)
{
	size_t sizes[2] = { size / 3, size - size / 3 };
	size_t offset = 0;

	if (size == 0)
		return 0;
	for (unsigned i = 0; i < 2; i++) {
		memory[i] = malloc(MAX(sizes[i], 1u));
		assert_non_null(memory[i]);
		if (bytes)
			memcpy(memory[i], (const uint8_t *)bytes + offset, sizes[i]);
		iov[i] = (struct iovec){ .iov_base = memory[i], .iov_len = sizes[i] };
		offset += sizes[i];
	}
	return 2;
}

void scsi_run_start(struct scsi_fixture *fixture, struct scsi_run *run, enum scsi_who who,
		    const uint8_t *cdb, size_t cdb_bytes, const struct scsi_run_data *data)
{
	struct scsi_task *task = &run->task;
	struct scsi_fixture_unit *u = &fixture->units[fixture->target_unit];

	assert_true(cdb_bytes <= sizeof(task->cdb));
	run->fixture = fixture;
	run->in_copy = data->in;
	task->ops = &fixture_ops;
	task->well_known = fixture->well_known;
	task->nexus = fixture->well_known || fixture->without_unit ? NULL : u->nexuses[who];
	task->channel = task->nexus ? u->channel : NULL;
	task->loop = fixture->loop;
	memcpy(task->cdb, cdb, cdb_bytes);
	task->cdb_length = 32;
	task->attribute = fixture->attribute;
	task->out = run->out;
	task->in = run->in;
	/* what is read before it is written is to be seen: the buffer for data in has what the caller's has */
	task->out_count = split(run->out, run->out_memory, data->out, data->out_bytes);
	task->in_count = split(run->in, run->in_memory, data->in, data->in_bytes);
	task->out_bytes = data->out_bytes;
	task->in_bytes = data->in_bytes;
	task->done = run_done;
	scsi_fixture_execute(run);
}

void scsi_run_wait(struct scsi_run *run)
{
	uint64_t deadline_ns = clock_ns() + DEADLINE_NS;

	while (run->done_count == 0) {
		assert_true(clock_ns() < deadline_ns);
		scsi_fixture_turn(run->fixture);
	}
	assert_int_equal(run->done_count, 1);
}

void scsi_run_fini(struct scsi_run *run)
{
	for (unsigned i = 0; i < 2; i++) {
		free(run->in_memory[i]);
		free(run->out_memory[i]);
		run->in_memory[i] = run->out_memory[i] = NULL;
	}
}

static void do_command(struct scsi_fixture *fixture, enum scsi_who who, const uint8_t *cdb,
		       size_t cdb_bytes, const struct scsi_run_data *data)
{
	struct scsi_run *run = &fixture->run;

	memset(run, 0, sizeof(*run));
	scsi_run_start(fixture, run, who, cdb, cdb_bytes, data);
	scsi_run_wait(run);
	assert_null(run->task.buffer);
	assert_null(run->task.state);
	scsi_run_fini(run);
}

void scsi_do(struct scsi_fixture *fixture, enum scsi_who who, const uint8_t *cdb, size_t cdb_bytes)
{
	do_command(fixture, who, cdb, cdb_bytes, &(struct scsi_run_data){ 0 });
}

void scsi_do_in(struct scsi_fixture *fixture, enum scsi_who who, const uint8_t *cdb,
		size_t cdb_bytes, void *in, size_t in_bytes)
{
	do_command(fixture, who, cdb, cdb_bytes,
		   &(struct scsi_run_data){ .in = in, .in_bytes = in_bytes });
}

void scsi_do_out(struct scsi_fixture *fixture, enum scsi_who who, const uint8_t *cdb,
		 size_t cdb_bytes, const void *out, size_t out_bytes)
{
	do_command(fixture, who, cdb, cdb_bytes,
		   &(struct scsi_run_data){ .out = out, .out_bytes = out_bytes });
}

/* ---- what came of it ---- */

static bool is_descriptor(const struct scsi_task *task)
{
	return task->sense[0] == 0x72;
}

enum scsi_sense_key scsi_sense_key_of(const struct scsi_task *task)
{
	return task->sense[is_descriptor(task) ? 1 : 2] & 0x0f;
}

enum scsi_asc scsi_sense_asc_of(const struct scsi_task *task)
{
	return be16_get(task->sense + (is_descriptor(task) ? 2 : 12));
}

/* A descriptor of this type and length, or NULL. */
static const uint8_t *find_descriptor(const struct scsi_task *task, uint8_t type, uint8_t length)
{
	for (unsigned at = 8; at + 2u <= task->sense_length; at += 2u + task->sense[at + 1]) {
		if (task->sense[at] == type) {
			assert_int_equal(task->sense[at + 1], length);
			assert_true(at + 2u + length <= task->sense_length);
			return task->sense + at;
		}
	}
	return NULL;
}

bool scsi_sense_information_of(const struct scsi_task *task, uint64_t *ret_information)
{
	const uint8_t *bytes;

	if (!is_descriptor(task)) {
		*ret_information = be32_get(task->sense + 3);
		return task->sense[0] & 0x80;
	}
	bytes = find_descriptor(task, 0x00, 10);
	if (bytes)
		*ret_information = be64_get(bytes + 4);
	return bytes && bytes[2] & 0x80;
}

const uint8_t *scsi_sense_specific_of(const struct scsi_task *task)
{
	const uint8_t *bytes;

	if (!is_descriptor(task))
		return task->sense + 15;
	bytes = find_descriptor(task, 0x02, 6);
	return bytes ? bytes + 4 : (const uint8_t *)"\0\0";
}

void scsi_assert_good(struct scsi_fixture *fixture)
{
	const struct scsi_task *task = &fixture->run.task;

	if (task->status != SCSI_GOOD)
		print_message("status %02x, sense %x/%04x\n", task->status, scsi_sense_key_of(task),
			      scsi_sense_asc_of(task));
	scsi_assert_status(fixture, SCSI_GOOD);
}

void scsi_assert_status(struct scsi_fixture *fixture, enum scsi_status status)
{
	assert_int_equal(fixture->run.task.status, status);
	assert_int_equal(fixture->run.task.sense_length, 0);
}

void scsi_assert_sense(struct scsi_fixture *fixture, enum scsi_sense_key key, enum scsi_asc asc)
{
	const struct scsi_task *task = &fixture->run.task;

	assert_int_equal(task->status, SCSI_CHECK_CONDITION);
	assert_true(task->sense_length >= 8);
	assert_int_equal(scsi_sense_key_of(task), key);
	assert_int_equal(scsi_sense_asc_of(task), asc);
}

static void assert_field(struct scsi_fixture *fixture, uint8_t in_cdb, unsigned byte, int bit)
{
	const uint8_t *specific = scsi_sense_specific_of(&fixture->run.task);
	uint8_t flags = (uint8_t)(0x80 | in_cdb);

	if (bit >= 0)
		flags |= (uint8_t)(0x08 | bit);
	assert_int_equal(specific[0], flags);
	assert_int_equal(be16_get(specific + 1), byte);
}

void scsi_assert_bad_cdb(struct scsi_fixture *fixture, unsigned byte, int bit)
{
	scsi_assert_sense(fixture, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	assert_field(fixture, 0x40, byte, bit);
}

void scsi_assert_bad_parameter(struct scsi_fixture *fixture, unsigned byte, int bit)
{
	scsi_assert_sense(fixture, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_PARAMETER_LIST);
	assert_field(fixture, 0, byte, bit);
}

void scsi_assert_information(struct scsi_fixture *fixture, uint64_t information)
{
	uint64_t found = 0;

	assert_true(scsi_sense_information_of(&fixture->run.task, &found));
	assert_int_equal(found, information);
}

void scsi_assert_residual(struct scsi_fixture *fixture, enum scsi_fit fit, uint64_t residual)
{
	assert_int_equal(fixture->run.task.fit, fit);
	assert_int_equal(fixture->run.task.residual, residual);
}

/* ---- past the target ---- */

struct direct_io {
	struct block_request request;
	struct iovec iov;
	bool done;
	int result;
};

static void direct_done(struct block_request *request, int result)
{
	struct direct_io *io = container_of(request, struct direct_io, request);

	io->done = true;
	io->result = result;
}

static void direct(struct scsi_fixture *fixture, unsigned unit, const struct block_request *request,
		   void *bytes)
{
	struct direct_io io = { .request = *request };

	io.iov = (struct iovec){ .iov_base = bytes, .iov_len = request->bytes };
	io.request.iov = &io.iov;
	io.request.iov_count = 1;
	io.request.done = direct_done;
	block_submit(fixture->units[unit].channel, &io.request);
	scsi_fixture_wait(fixture, &io.done);
	assert_int_equal(io.result, 0);
}

void scsi_fixture_peek(struct scsi_fixture *fixture, unsigned unit, uint64_t offset, void *bytes,
		       size_t size)
{
	direct(fixture, unit,
	       &(struct block_request){ .op = BLOCK_READ, .offset = offset, .bytes = size }, bytes);
}

void scsi_fixture_poke(struct scsi_fixture *fixture, unsigned unit, uint64_t offset,
		       const void *bytes, size_t size)
{
	uint8_t *copy = malloc(size);

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	direct(fixture, unit,
	       &(struct block_request){ .op = BLOCK_WRITE, .offset = offset, .bytes = size }, copy);
	free(copy);
}
