/* SPDX-License-Identifier: MIT */
/*
 * What outlives the process: registrations and the reservation when an initiator asked for it (APTPL), saved mode pages.
 *
 * Theory of operation. The file is always whole. A new one is written beside it, made stable, and takes its name; the directory is
 * made stable too; only then what depends on it changes in memory, and the command is answered. Whatever dies in between leaves the
 * old file or the new one, and perhaps a file "….new" that nobody reads and the next write replaces.
 *
 * A thread of its own writes, one file after another. What it writes is how the unit is when its turn comes: the saved mode pages,
 * and the table of reservations that is pending, or else the one in force.
 *
 * The file belongs to one process: it is locked as long as it has the name, and a new file is locked before it gets the name. A
 * daemon that was killed may keep its lock until the kernel is done with it, so a lock is waited for, for a second.
 *
 * scsi_state_open() and _free(): main thread. scsi_state_save(): any thread.
 */
#include "scsi/state_internal.h"

#include "base/fd.h"
#include "block/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_TRIES = 50, LOCK_STEP_MS = 20 };
enum { OPEN_TRIES = 10 }; /* each time the file was replaced meanwhile */

struct scsi_state {
	struct worker *worker;
	int directory, fd; /* fd: the file that has the name, locked */
	char *path;        /* as it was given, for sentences */
	char *name, *name_new;

	/* under the unit's lock */
	unsigned saving;
	void (*ended)(void *opaque);
	void *ended_opaque;
	struct loop_message ended_message;
};

struct state_save {
	struct worker_job job;
	struct scsi_task *task;
	struct scsi_unit *unit;
	void (*settled)(struct scsi_unit *unit, struct scsi_task *task, int result);
	void (*next)(struct scsi_task *task, int result);
	int result;
	char text[STATE_BYTES_MAX];
};

/* ---- the file ---- */

static int state_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static int write_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t written = write(fd, bytes, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		bytes += written;
		size -= (size_t)written;
	}
	return 0;
}

/* What was left there by somebody who died is emptied. */
static int fill_new(int fd, const char *text, size_t size)
{
	int result;

	if (ftruncate(fd, 0) < 0)
		return -errno;
	result = write_all(fd, text, size);
	if (result < 0)
		return result;
	return fsync(fd) < 0 ? -errno : 0;
}

/* flags: RENAME_NOREPLACE where the file system can do that. */
static int take_name(const struct scsi_state *state, unsigned flags)
{
	int result =
		renameat2(state->directory, state->name_new, state->directory, state->name, flags);

	if (result < 0 && errno == EINVAL && flags)
		result = renameat(state->directory, state->name_new, state->directory, state->name);
	return result < 0 ? -errno : 0;
}

/* Not every file system can make a directory stable by itself (EINVAL). */
static int sync_directory(const struct scsi_state *state)
{
	return fsync(state->directory) < 0 && errno != EINVAL ? -errno : 0;
}

/* When only the last step fails the new file has the name, and says what was refused until it is written again. */
static int replace_file(struct scsi_state *state, const char *text, size_t size, unsigned flags)
{
	fd_auto fd = openat(state->directory, state->name_new,
			    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	int result;

	if (fd < 0)
		return -errno;
	result = state_lock(fd);
	if (result < 0)
		return result;
	result = fill_new(fd, text, size);
	if (result == 0)
		result = take_name(state, flags);
	if (result < 0) {
		unlinkat(state->directory, state->name_new, 0);
		return result;
	}
	fd_close(&state->fd);
	state->fd = fd;
	fd = -1;
	return sync_directory(state);
}

/* ---- saving ---- */

static void snapshot(struct scsi_unit *unit, struct state_content *content)
{
	const struct scsi_reservations *reservations = unit->reservations;
	const struct pr_table *table = reservations->pending ? &reservations->pending->table :
							       &reservations->table;

	*content = (struct state_content){ .wwn = unit->wwn, .mode = unit->mode_saved };
	if (table->aptpl)
		content->table = *table;
}

static void state_ended(struct loop_message *message)
{
	struct scsi_state *state = container_of(message, struct scsi_state, ended_message);

	state->ended(state->ended_opaque);
}

/* Under the unit's lock. */
static void save_settle(struct state_save *save)
{
	struct scsi_unit *unit = save->unit;
	struct scsi_state *state = unit->state;

	if (save->settled)
		save->settled(unit, save->task, save->result);
	if (--state->saving == 0 && state->ended) {
		state->ended_message.fn = state_ended;
		loop_post(unit->loop, &state->ended_message);
	}
}

static void save_run(struct worker_job *job)
{
	struct state_save *save = container_of(job, struct state_save, job);
	struct scsi_unit *unit = save->unit;
	struct state_content content;
	size_t size;

	scsi_unit_lock(unit);
	snapshot(unit, &content);
	scsi_unit_unlock(unit);
	size = state_encode(&content, save->text);
	save->result = replace_file(unit->state, save->text, size, 0);
	scsi_unit_lock(unit);
	save_settle(save);
	scsi_unit_unlock(unit);
}

static void save_done(struct worker_job *job)
{
	struct state_save *save = container_of(job, struct state_save, job);
	void (*next)(struct scsi_task * task, int result) = save->next;
	struct scsi_task *task = save->task;
	int result = save->result;

	free(save);
	next(task, result);
}

/* -ESHUTDOWN: nothing is begun any more. */
static int save_begin(struct state_save *save)
{
	struct scsi_state *state = save->unit->state;
	bool ended;

	scsi_unit_lock(save->unit);
	ended = state->ended;
	if (!ended)
		state->saving++;
	scsi_unit_unlock(save->unit);
	if (ended)
		return -ESHUTDOWN;
	worker_post(state->worker, &save->job);
	return 0;
}

static void save_refuse(struct scsi_task *task,
			void (*settled)(struct scsi_unit *unit, struct scsi_task *task, int result),
			void (*next)(struct scsi_task *task, int result), int result)
{
	struct scsi_unit *unit = scsi_task_unit(task);

	if (settled) {
		scsi_unit_lock(unit);
		settled(unit, task, result);
		scsi_unit_unlock(unit);
	}
	next(task, result);
}

void scsi_state_save_change(struct scsi_task *task,
			    void (*settled)(struct scsi_unit *unit, struct scsi_task *task,
					    int result),
			    void (*next)(struct scsi_task *task, int result))
{
	struct state_save *save = malloc(sizeof(*save));
	int result;

	if (!save) {
		save_refuse(task, settled, next, -ENOMEM);
		return;
	}
	*save = (struct state_save){
		.job = { .run = save_run, .done = save_done, .loop = task->loop },
		.task = task,
		.unit = scsi_task_unit(task),
		.settled = settled,
		.next = next,
	};
	result = save_begin(save);
	if (result < 0) {
		free(save);
		save_refuse(task, settled, next, result);
	}
}

void scsi_state_save(struct scsi_task *task, void (*next)(struct scsi_task *task, int result))
{
	scsi_state_save_change(task, NULL, next);
}

void scsi_state_end(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque)
{
	struct scsi_state *state = unit->state;
	bool saving = false;

	if (state) {
		scsi_unit_lock(unit);
		state->ended_opaque = opaque;
		state->ended = done;
		saving = state->saving > 0;
		scsi_unit_unlock(unit);
	}
	if (!saving)
		done(opaque);
}

/* ---- opening ---- */

static int state_names(struct scsi_state *state, const char *path, struct error *error)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *directory;

	if (!*name)
		return error_set(error, -EINVAL, "'%s' does not name a state file", path);
	state->path = strdup(path);
	state->name = strdup(name);
	directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!state->path || !state->name || !directory ||
	    asprintf(&state->name_new, "%s.new", name) < 0) {
		state->name_new = NULL;
		free(directory);
		return error_set(error, -ENOMEM, "no memory for a state file");
	}
	state->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(directory);
	if (state->directory < 0)
		return error_set(error, -errno, "cannot open the directory of state file '%s': %s",
				 path, strerrordesc_np(errno));
	return 0;
}

static int wait_for_lock(int fd)
{
	int result = state_lock(fd);

	for (unsigned i = 0; i < LOCK_TRIES && (result == -EAGAIN || result == -EACCES); i++) {
		poll(NULL, 0, LOCK_STEP_MS);
		result = state_lock(fd);
	}
	return result;
}

/* Between open and lock the name may have gone to another file. */
static bool has_the_name(const struct scsi_state *state, int fd)
{
	struct stat mine, named;

	return fstat(fd, &mine) == 0 &&
	       fstatat(state->directory, state->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

static int make_file(struct scsi_unit *unit, struct error *error)
{
	struct scsi_state *state = unit->state;
	char text[STATE_BYTES_MAX];
	struct state_content content;
	int result;

	snapshot(unit, &content);
	result = replace_file(state, text, state_encode(&content, text), RENAME_NOREPLACE);
	if (result == -EEXIST)
		return -EAGAIN;
	if (result < 0)
		return error_set(error, result, "cannot make state file '%s': %s", state->path,
				 strerrordesc_np(-result));
	return 0;
}

static int check_size(const struct scsi_state *state, int fd, size_t *ret_size, struct error *error)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return error_set(error, -errno, "cannot look at state file '%s': %s", state->path,
				 strerrordesc_np(errno));
	if (!S_ISREG(status.st_mode) || status.st_size >= (off_t)STATE_BYTES_MAX)
		return error_set(error, -EINVAL,
				 "state file '%s': it is not a state file of a SCSI disk",
				 state->path);
	*ret_size = (size_t)status.st_size;
	return 0;
}

static int read_file(struct scsi_unit *unit, int fd, struct state_content *content,
		     struct error *error)
{
	const struct scsi_state *state = unit->state;
	char text[STATE_BYTES_MAX];
	struct error why = { 0 };
	size_t size = 0;
	ssize_t got;
	int result = check_size(state, fd, &size, error);

	if (result < 0)
		return result;
	got = pread(fd, text, size, 0);
	if (got != (ssize_t)size)
		return error_set(error, got < 0 ? -errno : -EIO, "cannot read state file '%s': %s",
				 state->path, strerrordesc_np(got < 0 ? errno : EIO));
	text[size] = 0;
	result = state_decode(text, size, content, &why);
	if (result < 0)
		return error_set(error, result, "state file '%s': %s", state->path, why.text);
	if (content->wwn != unit->wwn)
		return error_set(error, -EINVAL,
				 "state file '%s' belongs to the disk with wwn 0x%" PRIx64
				 ", not to this one, which is 0x%" PRIx64,
				 state->path, content->wwn, unit->wwn);
	return 0;
}

/* -EAGAIN without a sentence: the name went to another file meanwhile. */
static int open_file(struct scsi_unit *unit, struct state_content *content, struct error *error)
{
	struct scsi_state *state = unit->state;
	fd_auto fd = openat(state->directory, state->name,
			    O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	int result;

	if (fd < 0)
		return error_set(error, -errno, "cannot open state file '%s': %s", state->path,
				 strerrordesc_np(errno));
	result = wait_for_lock(fd);
	if (result == -EAGAIN || result == -EACCES)
		return error_set(error, -EBUSY, "state file '%s' is in use already", state->path);
	if (result < 0)
		return error_set(error, result, "cannot lock state file '%s': %s", state->path,
				 strerrordesc_np(-result));
	if (!has_the_name(state, fd))
		return -EAGAIN;
	result = read_file(unit, fd, content, error);
	if (result < 0)
		return result;
	state->fd = fd;
	fd = -1;
	return 0;
}

static int open_or_make(struct scsi_unit *unit, struct error *error)
{
	struct scsi_state *state = unit->state;
	struct state_content content;
	int result = -EAGAIN;

	for (unsigned i = 0; i < OPEN_TRIES && result == -EAGAIN; i++) {
		if (faccessat(state->directory, state->name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
		    errno == ENOENT) {
			result = make_file(unit, error);
			if (result == 0)
				return 0;
		} else {
			result = open_file(unit, &content, error);
		}
	}
	if (result == -EAGAIN)
		return error_set(error, -EBUSY, "state file '%s' is in use already", state->path);
	if (result < 0)
		return result;
	unit->mode = unit->mode_saved = content.mode;
	unit->reservations->table = content.table;
	return 0;
}

int scsi_state_open(struct scsi_unit *unit, const char *path, struct error *error)
{
	struct scsi_state *state = calloc(1, sizeof(*state));
	int result;

	if (!state)
		return error_set(error, -ENOMEM, "no memory for a state file");
	state->directory = state->fd = -1;
	unit->state = state;
	result = state_names(state, path, error);
	if (result == 0)
		result = open_or_make(unit, error);
	if (result == 0 && worker_new(&state->worker) < 0)
		result = error_set(error, -EAGAIN, "no thread to write state file '%s'", path);
	if (result < 0)
		scsi_state_free(unit);
	return result;
}

void scsi_state_free(struct scsi_unit *unit)
{
	struct scsi_state *state = unit->state;

	if (!state)
		return;
	assert(state->saving == 0);
	worker_free(state->worker);
	fd_close(&state->fd);
	fd_close(&state->directory);
	free(state->path);
	free(state->name);
	free(state->name_new);
	free(state);
	unit->state = NULL;
}
