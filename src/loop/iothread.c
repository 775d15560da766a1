// SPDX-License-Identifier: MIT
/*
 * A named thread that runs one loop. The main thread makes, reads and frees it; the thread itself
 * only runs the loop. All signals are blocked in it: they belong to the main thread.
 *
 * System calls: clone, sched_setaffinity, sched_getaffinity, prctl (the name), futex.
 */
#include "loop/iothread.h"

#include "base/cpu_list.h"
#include "loop/loop_internal.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREAD_NAME_SIZE 16 /* the kernel's limit */

struct iothread {
	char id[IOTHREAD_ID_MAX + 1];
	struct poll_params poll;
	struct loop *loop;
	pthread_t thread;
	pid_t tid;
	sem_t started;
	unsigned refs;
	struct loop_message start, stop;
};

static void iothread_started(struct loop_message *message)
{
	struct iothread *iothread = container_of(message, struct iothread, start);

	cpu_set_t cpus;

	loop_set_poll_params(iothread->loop, &iothread->poll);
	iothread_get_cpus(iothread, &cpus);
	loop_ring_confine_workers(iothread->loop, &cpus);
	sem_post(&iothread->started);
}

static void iothread_stopped(struct loop_message *message)
{
	loop_stop(container_of(message, struct iothread, stop)->loop);
}

static void *iothread_main(void *opaque)
{
	struct iothread *iothread = opaque;

	iothread->tid = gettid();
	loop_run(iothread->loop);
	return NULL;
}

static void iothread_name(const struct iothread *iothread)
{
	char name[THREAD_NAME_SIZE];

	snprintf(name, sizeof(name), "IO %.12s", iothread->id);
	pthread_setname_np(iothread->thread, name);
}

/* The thread inherits the mask that its creator has at that moment. */
static int iothread_spawn(struct iothread *iothread, struct error *error)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* shared memory that its owner took away: mem/fault.h */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&iothread->thread, NULL, iothread_main, iothread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return error_set(error, -ret, "cannot start iothread '%s': %s", iothread->id,
				 strerrordesc_np(ret));
	iothread_name(iothread);
	return 0;
}

/* When this returns, the thread runs its loop and has set up what only it can. */
static void iothread_wait_started(struct iothread *iothread)
{
	loop_post(iothread->loop, &iothread->start);
	while (sem_wait(&iothread->started) < 0)
		;
}

static void iothread_join(struct iothread *iothread)
{
	loop_post(iothread->loop, &iothread->stop);
	pthread_join(iothread->thread, NULL);
}

static int cpus_refuse(const struct iothread *iothread, const cpu_set_t *cpus, struct error *error)
{
	char text[256];

	return error_set(error, -EINVAL, "iothread '%s' cannot run on CPU %s", iothread->id,
			 cpu_list_format(cpus, text, sizeof(text)));
}

/* The kernel drops CPUs that do not exist without a word, unless none is left. */
static int iothread_pin(struct iothread *iothread, const cpu_set_t *cpus, struct error *error)
{
	cpu_set_t got, missing;

	if (CPU_COUNT(cpus) == 0)
		return error_set(error, -EINVAL, "iothread '%s' has no CPU to run on",
				 iothread->id);
	if (pthread_setaffinity_np(iothread->thread, sizeof(*cpus), cpus))
		return cpus_refuse(iothread, cpus, error);
	iothread_get_cpus(iothread, &got);
	CPU_AND(&got, &got, cpus);
	CPU_XOR(&missing, &got, cpus);
	return CPU_COUNT(&missing) ? cpus_refuse(iothread, &missing, error) : 0;
}

static void iothread_discard(struct iothread *iothread)
{
	loop_free(iothread->loop);
	sem_destroy(&iothread->started);
	free(iothread);
}

static int iothread_start(struct iothread *iothread, const struct iothread_config *config,
			  struct error *error)
{
	int ret = loop_new(&iothread->loop, error);

	if (ret < 0)
		return error_prefix(error, "iothread '%s'", iothread->id), ret;
	ret = iothread_spawn(iothread, error);
	if (ret < 0)
		return ret;
	if (config->pinned)
		ret = iothread_pin(iothread, &config->cpus, error);
	if (ret < 0)
		iothread_join(iothread);
	else
		iothread_wait_started(iothread);
	return ret;
}

int iothread_new(const struct iothread_config *config, struct iothread **ret_iothread,
		 struct error *error)
{
	struct iothread *iothread;
	int ret;

	if (config->id[0] == '\0' || strlen(config->id) > IOTHREAD_ID_MAX)
		return error_set(error, -EINVAL, "an iothread's id has 1 to %d characters",
				 IOTHREAD_ID_MAX);
	iothread = calloc(1, sizeof(*iothread));
	if (!iothread)
		return error_set(error, -ENOMEM, "not enough memory for iothread '%s'", config->id);
	memcpy(iothread->id, config->id, strlen(config->id) + 1);
	iothread->poll = config->poll;
	iothread->start.fn = iothread_started;
	iothread->stop.fn = iothread_stopped;
	sem_init(&iothread->started, 0, 0);
	ret = iothread_start(iothread, config, error);
	if (ret < 0) {
		iothread_discard(iothread);
		return ret;
	}
	*ret_iothread = iothread;
	return 0;
}

void iothread_free(struct iothread *iothread)
{
	if (!iothread)
		return;
	assert(iothread->refs == 0);
	iothread_join(iothread);
	iothread_discard(iothread);
}

const char *iothread_id(const struct iothread *iothread)
{
	return iothread->id;
}

struct loop *iothread_loop(struct iothread *iothread)
{
	return iothread->loop;
}

pid_t iothread_tid(const struct iothread *iothread)
{
	return iothread->tid;
}

void iothread_get_cpus(const struct iothread *iothread, cpu_set_t *ret_cpus)
{
	CPU_ZERO(ret_cpus);
	pthread_getaffinity_np(iothread->thread, sizeof(*ret_cpus), ret_cpus);
}

void iothread_get_poll(const struct iothread *iothread, struct poll_params *ret_params)
{
	*ret_params = iothread->poll;
}

struct poll_change {
	struct loop_message message;
	struct loop *loop;
	struct poll_params params;
};

static void poll_changed(struct loop_message *message)
{
	struct poll_change *change = container_of(message, struct poll_change, message);

	loop_set_poll_params(change->loop, &change->params);
	free(change);
}

/* Messages of one sender arrive in order: the last change holds, and none comes after the stop. */
int iothread_set_poll(struct iothread *iothread, const struct poll_params *params)
{
	struct poll_change *change = calloc(1, sizeof(*change));

	if (!change)
		return -ENOMEM;
	*change = (struct poll_change){ { .fn = poll_changed }, iothread->loop, *params };
	iothread->poll = *params;
	loop_post(iothread->loop, &change->message);
	return 0;
}

void iothread_ref(struct iothread *iothread)
{
	iothread->refs++;
}

void iothread_unref(struct iothread *iothread)
{
	assert(iothread->refs > 0);
	iothread->refs--;
}

unsigned iothread_refs(const struct iothread *iothread)
{
	return iothread->refs;
}
