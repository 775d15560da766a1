// SPDX-License-Identifier: MIT
/*
 * The public face of topologies and spreads: lists in, lists out. Control path; what is made is never changed, so any thread may
 * read it.
 */
#include "driver/spread.h"

#include <errno.h>
#include <stdlib.h>

static_assert(sizeof(struct ringlane_error) == sizeof(struct error) &&
		      offsetof(struct ringlane_error, text) == offsetof(struct error, text),
	      "the library's error object is the internal one");

static struct error *internal_error(struct ringlane_error *error)
{
	return (struct error *)error;
}

static int out_of_memory(struct error *error)
{
	return error_set(error, -ENOMEM, "out of memory");
}

/* ---- topologies ---- */

int ringlane_topology_open(const struct ringlane_topology_options *options,
			   struct ringlane_topology **ret_topology,
			   struct ringlane_error *public_error)
{
	static const struct ringlane_topology_options none;
	struct ringlane_topology *topology = calloc(1, sizeof(*topology));
	struct error *error = internal_error(public_error);
	int ret;

	if (!topology)
		return out_of_memory(error);
	if (!options)
		options = &none;
	ret = topology_open(&(struct topology_options){ .description = options->description,
							.possible = options->possible,
							.present = options->present,
							.isolated = options->isolated },
			    &topology->view, error);
	if (ret < 0) {
		free(topology);
		return ret;
	}
	*ret_topology = topology;
	return 0;
}

void ringlane_topology_close(struct ringlane_topology *topology)
{
	if (topology)
		topology_fini(&topology->view);
	free(topology);
}

unsigned ringlane_topology_cpu_count(const struct ringlane_topology *topology)
{
	return topology->view.cpu_count;
}

int ringlane_topology_get_cpu(const struct ringlane_topology *topology, unsigned cpu,
			      struct ringlane_cpu *ret_cpu)
{
	const struct topology *view = &topology->view;
	const struct topology_cpu *place;

	if (cpu >= view->cpu_count || !hwloc_bitmap_isset(view->possible, cpu))
		return -ENOENT;
	place = &view->cpus[cpu];
	*ret_cpu = (struct ringlane_cpu){
		.node = (int)view->nodes.sets[place->node].id,
		.cluster = place->cluster,
		.core = place->core,
		.cache = place->domain,
		.present = hwloc_bitmap_isset(view->present, cpu),
		.allowed = hwloc_bitmap_isset(view->allowed, cpu),
		.isolated = hwloc_bitmap_isset(view->isolated, cpu),
	};
	return 0;
}

/* ---- making a spread ---- */

/* One class of queues that is asked for. */
struct request {
	const char *name; /* of the list, in sentences */
	unsigned queues;  /* 0: one for each CPU */
	const char *allowed;
	const char *const *cpus;
	bool keep_isolated;
};

static int spread_by_rule(const struct topology *view, const struct request *request,
			  struct affinity_spread *ret_spread, struct error *error)
{
	struct affinity_options options = { .queues = request->queues,
					    .keep_isolated = request->keep_isolated };
	hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
	int ret = allowed ? 0 : out_of_memory(error);

	if (options.queues == 0)
		options.queues = MIN(view->cpu_count, AFFINITY_QUEUES_MAX);
	if (ret == 0 && request->allowed) {
		ret = topology_list_parse(request->allowed, allowed, error);
		if (ret < 0)
			error_prefix(error, "%s", request->name);
		options.allowed = allowed;
	}
	if (ret == 0)
		ret = affinity_spread_evenly(view, &options, ret_spread, error);
	hwloc_bitmap_free(allowed);
	return ret;
}

static void masks_free(hwloc_bitmap_t *masks, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		hwloc_bitmap_free(masks[i]);
	free(masks);
}

static int masks_parse(const char *const *lists, unsigned count, hwloc_bitmap_t **ret_masks,
		       struct error *error)
{
	hwloc_bitmap_t *masks = calloc(count, sizeof(*masks));
	int ret = masks ? 0 : out_of_memory(error);

	for (unsigned i = 0; i < count && ret == 0; i++) {
		masks[i] = hwloc_bitmap_alloc();
		ret = masks[i] ? topology_list_parse(lists[i], masks[i], error) :
				 out_of_memory(error);
	}
	if (ret < 0) {
		if (masks)
			masks_free(masks, count);
		return ret;
	}
	*ret_masks = masks;
	return 0;
}

int spread_by_lists(const struct topology *topology, const char *const *lists, unsigned count,
		    struct affinity_spread *ret_spread, struct error *error)
{
	hwloc_bitmap_t *masks;
	int ret = masks_parse(lists, count, &masks, error);

	if (ret < 0)
		return ret;
	ret = affinity_spread_explicit(topology, (const hwloc_const_bitmap_t *)masks, count,
				       ret_spread, error);
	masks_free(masks, count);
	return ret;
}

static int class_init(struct spread_class *class, const struct topology *view,
		      const struct request *request, unsigned first_queue, struct error *error)
{
	int ret = request->cpus ? spread_by_lists(view, request->cpus, request->queues,
						  &class->spread, error) :
				  spread_by_rule(view, request, &class->spread, error);

	if (ret < 0)
		return ret;
	if (first_queue + class->spread.count > AFFINITY_QUEUES_MAX)
		return error_set(error, -EINVAL, "%u queues: there can be 1 to %u",
				 first_queue + class->spread.count, AFFINITY_QUEUES_MAX);
	class->queue_of_cpu = calloc(view->cpu_count, sizeof(class->queue_of_cpu[0]));
	if (!class->queue_of_cpu || affinity_map_fill(view, &class->spread, first_queue,
						      class->queue_of_cpu, view->cpu_count) < 0)
		return out_of_memory(error);
	return 0;
}

static int options_check(const struct ringlane_spread_options *options, struct error *error)
{
	if (options->queues > AFFINITY_QUEUES_MAX)
		return error_set(error, -EINVAL, "%u queues: there can be 1 to %u", options->queues,
				 AFFINITY_QUEUES_MAX);
	if (options->queues && options->poll_queues >= options->queues)
		return error_set(error, -EINVAL,
				 "%u poll queues of %u: at least one must have an interrupt",
				 options->poll_queues, options->queues);
	if (options->poll_queues > AFFINITY_QUEUES_MAX)
		return error_set(error, -EINVAL, "%u poll queues: there can be up to %u",
				 options->poll_queues, AFFINITY_QUEUES_MAX - 1);
	if (options->cpus && !options->queues)
		return error_set(error, -EINVAL, "lists of CPUs for no queue");
	return 0;
}

static int classes_init(struct ringlane_spread *spread, const struct topology *view,
			const struct ringlane_spread_options *options, struct error *error)
{
	unsigned first = options->queues ? options->queues - options->poll_queues : 0;
	struct request request = { .name = "allowed CPUs",
				   .queues = first,
				   .allowed = options->allowed,
				   .cpus = options->cpus,
				   .keep_isolated = options->keep_isolated };
	int ret = class_init(&spread->classes[RINGLANE_INTERRUPT_QUEUES], view, &request, 0, error);

	if (ret < 0 || !options->poll_queues)
		return ret;
	request.queues = options->poll_queues;
	if (options->cpus)
		request.cpus = options->cpus + first;
	if (options->poll_allowed) {
		request.name = "CPUs allowed for poll queues";
		request.allowed = options->poll_allowed;
	}
	first = spread->classes[RINGLANE_INTERRUPT_QUEUES].spread.count;
	ret = class_init(&spread->classes[RINGLANE_POLL_QUEUES], view, &request, first, error);
	return ret < 0 ? error_prefix(error, "poll queues") : 0;
}

int ringlane_spread_new(const struct ringlane_topology *topology,
			const struct ringlane_spread_options *options,
			struct ringlane_spread **ret_spread, struct ringlane_error *public_error)
{
	struct error scratch, *error = public_error ? internal_error(public_error) : &scratch;
	struct ringlane_spread *spread;
	int ret = options_check(options, error);

	if (ret < 0)
		return ret;
	spread = calloc(1, sizeof(*spread));
	if (!spread)
		return out_of_memory(error);
	spread->cpu_count = topology->view.cpu_count;
	ret = classes_init(spread, &topology->view, options, error);
	if (ret < 0) {
		ringlane_spread_free(spread);
		return ret;
	}
	*ret_spread = spread;
	return 0;
}

void ringlane_spread_free(struct ringlane_spread *spread)
{
	for (unsigned i = 0; spread && i < ARRAY_SIZE(spread->classes); i++) {
		affinity_spread_fini(&spread->classes[i].spread);
		free(spread->classes[i].queue_of_cpu);
	}
	free(spread);
}

/* ---- reading it ---- */

unsigned ringlane_spread_queue_count(const struct ringlane_spread *spread,
				     enum ringlane_queue_class queue_class)
{
	return spread->classes[queue_class].spread.count;
}

int ringlane_spread_cpus(const struct ringlane_spread *spread, unsigned queue, char *text,
			 size_t size)
{
	for (unsigned i = 0; i < ARRAY_SIZE(spread->classes); i++) {
		const struct affinity_spread *class = &spread->classes[i].spread;

		if (queue < class->count)
			return topology_list_format(class->masks[queue], text, size);
		queue -= class->count;
	}
	return -ENOENT;
}

int ringlane_spread_queue_of_cpu(const struct ringlane_spread *spread,
				 enum ringlane_queue_class queue_class, unsigned cpu)
{
	const struct spread_class *class = &spread->classes[queue_class];

	if (!class->queue_of_cpu)
		return -ENOENT;
	return class->queue_of_cpu[cpu % spread->cpu_count];
}

void ringlane_spread_get_figures(const struct ringlane_spread *spread,
				 enum ringlane_queue_class queue_class,
				 struct ringlane_spread_figures *ret_figures)
{
	const struct affinity_figures *figures = &spread->classes[queue_class].spread.figures;

	*ret_figures = (struct ringlane_spread_figures){
		.largest = figures->largest,
		.smallest = figures->smallest,
		.cores = figures->cores,
		.split_cores = figures->split_cores,
		.cluster_crossings = figures->cluster_crossings,
		.cache_crossings = figures->domain_crossings,
		.node_crossings = figures->node_crossings,
		.cpus_without = figures->cpus_without,
	};
}
