/* SPDX-License-Identifier: MIT */
/* The IOThreads of the daemon: see iothreads.h. Main thread. */
#include "daemon/iothreads.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct iothreads {
	struct iothread **named; /* in the order of their making */
	unsigned named_count;
	struct iothread **automatic;
	unsigned automatic_count, automatic_max;
	unsigned next_number; /* of the next automatic id */
};

static unsigned count_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

static bool is_automatic(const struct iothreads *iothreads, const char *id)
{
	unsigned i;

	for (i = 0; i < iothreads->automatic_count; i++)
		if (!strcmp(iothread_id(iothreads->automatic[i]), id))
			return true;
	return false;
}

int iothreads_add(struct iothreads *iothreads, const struct iothread_spec *spec,
		  struct error *error)
{
	struct iothread_config wanted = {
		.id = spec->id,
		.poll = { spec->poll_max_ns, spec->poll_grow, spec->poll_shrink },
		.pinned = spec->pinned,
		.cpus = spec->cpus,
	};
	struct iothread **named =
		reallocarray(iothreads->named, iothreads->named_count + 1, sizeof(*named));
	int result;

	if (!named)
		return error_set(error, -ENOMEM, "out of memory");
	iothreads->named = named;
	if (is_automatic(iothreads, spec->id))
		return error_set(error, -EEXIST, "'%s' is the name of an automatic IOThread",
				 spec->id);
	result = iothread_new(&wanted, &named[iothreads->named_count], error);
	if (result == 0)
		iothreads->named_count++;
	return result;
}

void iothreads_remove(struct iothreads *iothreads, struct iothread *iothread)
{
	unsigned i;

	for (i = 0; iothreads->named[i] != iothread; i++)
		;
	iothread_free(iothread);
	iothreads->named_count--;
	memmove(&iothreads->named[i], &iothreads->named[i + 1],
		(iothreads->named_count - i) * sizeof(iothreads->named[0]));
}

static int start_named(struct iothreads *iothreads, const struct config *config,
		       struct error *error)
{
	const struct iothread_spec *spec;

	STAILQ_FOREACH(spec, &config->iothreads, next)
	if (iothreads_add(iothreads, spec, error))
		return error_prefix(error, "--object %s", spec->id);
	return 0;
}

int iothreads_new(const struct config *config, struct iothreads **ret_iothreads,
		  struct error *error)
{
	struct iothreads *iothreads = calloc(1, sizeof(*iothreads));
	unsigned cpus = count_cpus();
	int result;

	if (!iothreads)
		return error_set(error, -ENOMEM, "out of memory");
	iothreads->automatic_max = cpus;
	iothreads->automatic = calloc(cpus, sizeof(*iothreads->automatic));
	if (!iothreads->automatic)
		result = error_set(error, -ENOMEM, "out of memory");
	else
		result = start_named(iothreads, config, error);
	if (result) {
		iothreads_free(iothreads);
		return result;
	}
	*ret_iothreads = iothreads;
	return 0;
}

void iothreads_free(struct iothreads *iothreads)
{
	if (!iothreads)
		return;
	while (iothreads->automatic_count)
		iothread_free(iothreads->automatic[--iothreads->automatic_count]);
	while (iothreads->named_count)
		iothread_free(iothreads->named[--iothreads->named_count]);
	free(iothreads->automatic);
	free(iothreads->named);
	free(iothreads);
}

struct iothread *iothreads_find(const struct iothreads *iothreads, const char *id)
{
	unsigned i;

	for (i = 0; i < iothreads->named_count; i++)
		if (!strcmp(iothread_id(iothreads->named[i]), id))
			return iothreads->named[i];
	return NULL;
}

static struct iothread *find_least_used(const struct iothreads *iothreads)
{
	struct iothread *best = NULL;
	unsigned i;

	for (i = 0; i < iothreads->automatic_count; i++)
		if (!best || iothread_refs(iothreads->automatic[i]) < iothread_refs(best))
			best = iothreads->automatic[i];
	return best;
}

/* A user may have called an IOThread auto0. */
static void make_id(struct iothreads *iothreads, char *id, size_t size)
{
	do {
		snprintf(id, size, "auto%u", iothreads->next_number++);
	} while (iothreads_find(iothreads, id));
}

int iothreads_pick(struct iothreads *iothreads, struct iothread **ret_iothread, struct error *error)
{
	struct iothread *best = find_least_used(iothreads), *made;
	struct iothread_config wanted = { .poll = { .max_ns = POLL_MAX_NS_DEFAULT } };
	char id[IOTHREAD_ID_MAX + 1];
	int result;

	*ret_iothread = best;
	if (best &&
	    (iothread_refs(best) == 0 || iothreads->automatic_count == iothreads->automatic_max))
		return 0;
	make_id(iothreads, id, sizeof(id));
	wanted.id = id;
	result = iothread_new(&wanted, &made, error);
	if (result)
		return best ? 0 : result; /* no room for another thread: share */
	iothreads->automatic[iothreads->automatic_count++] = made;
	*ret_iothread = made;
	return 0;
}

struct iothread *iothreads_get(const struct iothreads *iothreads, unsigned index)
{
	if (index < iothreads->named_count)
		return iothreads->named[index];
	index -= iothreads->named_count;
	return index < iothreads->automatic_count ? iothreads->automatic[index] : NULL;
}
