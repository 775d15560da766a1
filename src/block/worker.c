/* SPDX-License-Identifier: MIT */
/*
 * See worker.h. A mutex and a condition are good enough here: a call that needs this thread takes as long as a disk does.
 */
#include "block/worker.h"

#include "base/compiler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct worker {
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	struct worker_job *first, **last;
	bool stopping;
};

/* Waits for the next job; NULL when there will be none. */
static struct worker_job *worker_take(struct worker *worker)
{
	struct worker_job *job;

	pthread_mutex_lock(&worker->lock);
	while (!worker->first && !worker->stopping)
		pthread_cond_wait(&worker->changed, &worker->lock);
	job = worker->first;
	if (job) {
		worker->first = job->next;
		if (!worker->first)
			worker->last = &worker->first;
	}
	pthread_mutex_unlock(&worker->lock);
	return job;
}

static void worker_deliver(struct loop_message *message)
{
	struct worker_job *job = container_of(message, struct worker_job, message);

	job->done(job);
}

static void *worker_main(void *opaque)
{
	struct worker *worker = opaque;
	struct worker_job *job;

	while ((job = worker_take(worker))) {
		job->run(job);
		job->message.fn = worker_deliver;
		loop_post(job->loop, &job->message);
	}
	return NULL;
}

/* Signals are the main thread's business. */
static int worker_start(struct worker *worker)
{
	sigset_t all, before;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&worker->thread, NULL, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret == 0)
		pthread_setname_np(worker->thread, "block-worker");
	return -ret;
}

static void worker_destroy(struct worker *worker)
{
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

int worker_new(struct worker **ret_worker)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int ret;

	if (!worker)
		return -ENOMEM;
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->changed, NULL);
	worker->last = &worker->first;
	ret = worker_start(worker);
	if (ret < 0) {
		worker_destroy(worker);
		return ret;
	}
	*ret_worker = worker;
	return 0;
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	pthread_mutex_lock(&worker->lock);
	assert(!worker->first);
	worker->stopping = true;
	pthread_cond_signal(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	worker_destroy(worker);
}

void worker_post(struct worker *worker, struct worker_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&worker->lock);
	*worker->last = job;
	worker->last = &job->next;
	pthread_cond_signal(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}
