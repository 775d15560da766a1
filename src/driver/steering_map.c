// SPDX-License-Identifier: MIT
/*
 * The map of CPUs to queues, and the life of a steering object. Owner's thread; readers are in steer_enter meanwhile.
 *
 * A map that has been published is neither changed nor freed: a reader may hold it for as long as it likes. What keeps
 * their number small is that an equal map is found again instead of made anew.
 */
#include "driver/steering.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AWAY_NS 10000000ull
#define AWAY_REQUESTS 1024u
#define HOLD_NS 5000000ull
#define REST_NS 250000000ull
#define LIMIT_NS_MAX (UINT64_MAX / 8) /* the sum of two and a time are still ordered; for ever */

static bool spec_is_valid(const struct steer_map_spec *spec, unsigned queue_count)
{
	for (unsigned cpu = 0; cpu < spec->cpu_count; cpu++)
		if (spec->queue_of_cpu[cpu] >= queue_count && spec->queue_of_cpu[cpu] != STEER_NONE)
			return false;
	return true;
}

static struct steer_map *map_new(const struct steer_map_spec *spec, unsigned queue_count)
{
	size_t cells = (size_t)spec->cpu_count + queue_count;
	struct steer_map *map = calloc(1, sizeof(*map) + cells * sizeof(map->queue_of_cpu[0]));

	if (!map)
		return NULL;
	map->cpu_count = spec->cpu_count;
	map->queue_count = queue_count;
	map->domain_of_queue = map->queue_of_cpu + spec->cpu_count;
	if (spec->cpu_count)
		memcpy(map->queue_of_cpu, spec->queue_of_cpu,
		       spec->cpu_count * sizeof(map->queue_of_cpu[0]));
	if (spec->domain_of_queue)
		memcpy(map->domain_of_queue, spec->domain_of_queue,
		       queue_count * sizeof(map->queue_of_cpu[0]));
	return map;
}

/* All maps of one object have the same number of queues. */
static bool map_equals(const struct steer_map *a, const struct steer_map *b)
{
	size_t cells = (size_t)a->cpu_count + a->queue_count;

	return a->cpu_count == b->cpu_count &&
	       memcmp(a->queue_of_cpu, b->queue_of_cpu, cells * sizeof(a->queue_of_cpu[0])) == 0;
}

static struct steer_map *maps_find(struct steering *steering, const struct steer_map *wanted)
{
	struct steer_map *map = steering->maps;

	while (map && !map_equals(map, wanted))
		map = map->next;
	return map;
}

/* What is written in the map is seen by who loads its address: pairs with steer_enter. */
static void map_publish(struct steering *steering, const struct steer_map *map)
{
	store_release(&steering->map, map);
}

int steering_set_map(struct steering *steering, const struct steer_map_spec *spec)
{
	struct steer_map *map, *same;

	if (!spec_is_valid(spec, steering->queue_count))
		return -EINVAL;
	map = map_new(spec, steering->queue_count);
	if (!map)
		return -ENOMEM;
	same = maps_find(steering, map);
	if (same || steering->map_count == STEER_MAPS_MAX) {
		free(map);
		if (!same)
			return -ENOSPC;
		map_publish(steering, same);
		return 0;
	}
	map->next = steering->maps;
	steering->maps = map;
	steering->map_count++;
	map_publish(steering, map);
	return 0;
}

void steering_trim_maps(struct steering *steering)
{
	struct steer_map **link = &steering->maps;

	while (*link) {
		struct steer_map *map = *link;

		if (map == steering->map) {
			link = &map->next;
			continue;
		}
		*link = map->next;
		steering->map_count--;
		free(map);
	}
}

static uint64_t limit_fill(uint64_t limit_ns, uint64_t usual_ns)
{
	return limit_ns ? MIN(limit_ns, LIMIT_NS_MAX) : usual_ns;
}

static struct steer_limits limits_fill(struct steer_limits limits)
{
	return (struct steer_limits){
		.away_ns = limit_fill(limits.away_ns, AWAY_NS),
		.away_requests = limits.away_requests ? limits.away_requests : AWAY_REQUESTS,
		.hold_ns = limit_fill(limits.hold_ns, HOLD_NS),
		.rest_ns = limit_fill(limits.rest_ns, REST_NS),
	};
}

int steering_init(struct steering *steering, const struct steering_config *config)
{
	size_t bytes = config->queue_count * sizeof(struct gate);
	int ret;

	if (config->queue_count == 0 || config->queue_count > STEER_QUEUES_MAX)
		return -EINVAL;
	*steering = (struct steering){
		.policy = config->policy,
		.queue_count = config->queue_count,
		.limits = limits_fill(config->limits),
		.gates = aligned_alloc(2 * CACHE_LINE, bytes),
	};
	if (!steering->gates)
		return -ENOMEM;
	memset(steering->gates, 0, bytes);
	ret = steering_set_map(steering, &config->map);
	if (ret < 0)
		steering_fini(steering);
	return ret;
}

void steering_fini(struct steering *steering)
{
	steering->map = NULL;
	steering_trim_maps(steering);
	free(steering->gates);
	steering->gates = NULL;
}
