/* SPDX-License-Identifier: MIT */
/*
 * STATUS of a regular file: where its data and its holes are, as SEEK_DATA and SEEK_HOLE tell.
 *
 * Theory of operation. The ring has no lseek, and lseek may have to read the file system's maps. So the node's worker thread calls
 * it, which is made when the first such request comes; on tmpfs there is nothing to wait for. The file's position, which lseek
 * moves, is used by nobody. A file system that has no answer says that all of the file is data, and so do we when a call fails.
 *
 * Everything but status_run() belongs to the channel's loop.
 */
#include "block/file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct status_job {
	struct worker_job job;
	struct block_request *request;
	int fd;
};

static void status_ask(int fd, struct block_request *request)
{
	uint64_t end = request->offset + request->bytes;
	off_t edge = lseek(fd, (off_t)request->offset, SEEK_DATA);

	request->extent.hole = edge < 0 ? errno == ENXIO : (uint64_t)edge > request->offset;
	if (edge >= 0 && !request->extent.hole)
		edge = lseek(fd, (off_t)request->offset, SEEK_HOLE);
	/* Another thread may have moved the edge between the two calls. */
	if (edge < 0 || (uint64_t)edge <= request->offset || (uint64_t)edge > end)
		request->extent.bytes = request->bytes;
	else
		request->extent.bytes = (uint64_t)edge - request->offset;
}

static void status_run(struct worker_job *base)
{
	struct status_job *job = container_of(base, struct status_job, job);

	status_ask(job->fd, job->request);
}

static void status_done(struct worker_job *base)
{
	struct status_job *job = container_of(base, struct status_job, job);
	struct block_request *request = job->request;

	free(job);
	file_io_finish(request, 0);
}

/* Several loops may want the first one at the same time. */
static int status_worker(struct file_node *file, struct worker **ret_worker)
{
	struct worker *worker = load_acquire(&file->worker); /* pairs with cas_release below */
	struct worker *fresh;
	int ret;

	if (!worker) {
		ret = worker_new(&fresh);
		if (ret < 0)
			return ret;
		while (!worker && !cas_release(&file->worker, &worker, fresh))
			;
		if (worker)
			worker_free(fresh);
	}
	*ret_worker = load_acquire(&file->worker);
	return 0;
}

static int status_post(struct file_node *file, struct block_request *request)
{
	struct status_job *job;
	struct worker *worker;
	int ret;

	ret = status_worker(file, &worker);
	if (ret < 0)
		return ret;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	*job = (struct status_job){
		.job = { .run = status_run, .done = status_done, .loop = request->channel->loop },
		.request = request,
		.fd = file->fd,
	};
	worker_post(worker, &job->job);
	return 0;
}

void file_status_submit(struct block_channel *channel, struct block_request *request)
{
	struct file_node *file = file_node_of(channel->node);
	int ret = 0;

	if (!file->in_memory) {
		ret = status_post(file, request);
		if (ret == 0)
			return;
	} else {
		status_ask(file->fd, request);
	}
	file_io_finish(request, ret);
}
