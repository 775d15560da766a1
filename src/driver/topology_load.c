// SPDX-License-Identifier: MIT
/*
 * Where a view of a machine comes from: hwloc, and for this machine what only Linux tells, in /sys/devices/system/cpu. Blocking,
 * control path, any thread; nothing of hwloc's is kept.
 *
 * Linux says "cluster" to what shares an L2 on x86 and to what the firmware calls so elsewhere; it is read from
 * cpuN/topology/cluster_cpus_list. In a description they are the L2 caches, else groups inside of nodes; without either there
 * are none. The last-level cache is the L3, else the L2, else what a package has, else what a node has.
 */
#include "driver/topology.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CPU_FOLDER "/sys/devices/system/cpu"

static int out_of_memory(struct error *error)
{
	return error_set(error, -ENOMEM, "out of memory");
}

/* ---- hwloc's objects ---- */

/* A set for each object of a depth; count 0 when there is no such depth. */
static int sets_of_depth(hwloc_topology_t machine, int depth, struct topology_sets *sets)
{
	hwloc_obj_t object = NULL;

	while ((object = hwloc_get_next_obj_by_depth(machine, depth, object)))
		if (topology_sets_add(sets, object->os_index, object->cpuset) < 0)
			return -ENOMEM;
	return 0;
}

static int sets_of_type(hwloc_topology_t machine, hwloc_obj_type_t type, struct topology_sets *sets)
{
	int depth = hwloc_get_type_depth(machine, type);

	if (depth == HWLOC_TYPE_DEPTH_UNKNOWN || depth == HWLOC_TYPE_DEPTH_MULTIPLE)
		return 0;
	return sets_of_depth(machine, depth, sets);
}

static int domains_fill(hwloc_topology_t machine, struct topology *topology)
{
	static const hwloc_obj_type_t types[] = { HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE,
						  HWLOC_OBJ_PACKAGE, HWLOC_OBJ_NUMANODE };
	int ret = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(types) && ret == 0 && !topology->domains.count; i++)
		ret = sets_of_type(machine, types[i], &topology->domains);
	return ret;
}

/* Does an object of this depth lie inside of a node, and is smaller? */
static bool depth_is_below_nodes(hwloc_topology_t machine, int depth)
{
	hwloc_obj_t object = hwloc_get_obj_by_depth(machine, depth, 0), node = NULL;

	while ((node = hwloc_get_next_obj_by_type(machine, HWLOC_OBJ_NUMANODE, node)))
		if (hwloc_bitmap_isincluded(object->cpuset, node->cpuset) &&
		    !hwloc_bitmap_isequal(object->cpuset, node->cpuset))
			return true;
	return false;
}

/* Of a description. */
static int clusters_fill(hwloc_topology_t machine, struct topology *topology)
{
	int ret = sets_of_type(machine, HWLOC_OBJ_L2CACHE, &topology->clusters);

	for (int depth = hwloc_topology_get_depth(machine) - 1;
	     depth > 0 && ret == 0 && !topology->clusters.count; depth--)
		if (hwloc_get_depth_type(machine, depth) == HWLOC_OBJ_GROUP &&
		    depth_is_below_nodes(machine, depth))
			ret = sets_of_depth(machine, depth, &topology->clusters);
	return ret;
}

static int machine_fill(hwloc_topology_t machine, struct topology *topology, struct error *error)
{
	int failed =
		hwloc_bitmap_copy(topology->possible, hwloc_topology_get_complete_cpuset(machine));

	failed |= hwloc_bitmap_copy(topology->present, topology->possible);
	failed |= hwloc_bitmap_copy(topology->allowed, hwloc_topology_get_allowed_cpuset(machine));
	failed |= sets_of_type(machine, HWLOC_OBJ_NUMANODE, &topology->nodes);
	failed |= sets_of_type(machine, HWLOC_OBJ_CORE, &topology->cores);
	failed |= domains_fill(machine, topology);
	if (failed)
		return out_of_memory(error);
	if (hwloc_bitmap_last(topology->possible) >= (int)TOPOLOGY_CPUS_MAX)
		return error_set(error, -ERANGE, "CPU %d: CPUs go from 0 to %u",
				 hwloc_bitmap_last(topology->possible), TOPOLOGY_CPUS_MAX - 1);
	return 0;
}

/* ---- a description ---- */

static int list_apply(const char *name, const char *text, hwloc_bitmap_t cpus,
		      hwloc_const_bitmap_t among, struct error *error)
{
	int ret;

	if (!text)
		return 0;
	ret = topology_list_parse(text, cpus, error);
	if (ret < 0)
		return error_prefix(error, "%s", name);
	if (among && !hwloc_bitmap_isincluded(cpus, among))
		return error_set(error, -EINVAL, "%s: the machine has no such CPU as some of '%s'",
				 name, text);
	return 0;
}

static int description_load(const struct topology_options *options, hwloc_topology_t machine,
			    struct topology *topology, struct error *error)
{
	hwloc_bitmap_t all;
	int ret;

	hwloc_topology_set_type_filter(machine, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_ALL);
	if (hwloc_topology_set_synthetic(machine, options->description) < 0 ||
	    hwloc_topology_load(machine) < 0)
		return error_set(
			error, -EINVAL,
			"'%s' is no description of a machine such as \"numa:2 core:4 pu:2\"",
			options->description);
	ret = machine_fill(machine, topology, error);
	if (ret < 0)
		return ret;
	all = hwloc_bitmap_dup(topology->possible);
	if (!all || clusters_fill(machine, topology) < 0) {
		hwloc_bitmap_free(all);
		return out_of_memory(error);
	}
	ret = list_apply("possible CPUs", options->possible, topology->possible, all, error);
	if (ret == 0 && options->possible &&
	    hwloc_bitmap_copy(topology->present, topology->possible))
		ret = out_of_memory(error);
	if (ret == 0)
		ret = list_apply("present CPUs", options->present, topology->present,
				 topology->possible, error);
	hwloc_bitmap_free(all);
	return ret;
}

/* ---- this machine ---- */

/* -errno; what is longer than size is -EFBIG. */
static int file_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = read(fd, text, size - 1);
	if (got < 0)
		got = -errno;
	close(fd);
	if (got < 0)
		return (int)got;
	text[got] = '\0';
	return got == (ssize_t)size - 1 ? -EFBIG : 0;
}

/* A list of the kernel's. A file that is not there (old kernel) or empty leaves cpus as they are. */
static int system_list_read(const char *root, const char *name, hwloc_bitmap_t cpus,
			    struct error *error)
{
	char path[512], text[8192];
	int ret;

	snprintf(path, sizeof(path), "%s" CPU_FOLDER "/%s", root, name);
	ret = file_read(path, text, sizeof(text));
	if (ret == -ENOENT || (ret == 0 && strcspn(text, "\n") == 0))
		return 0;
	if (ret == 0)
		ret = topology_list_parse(text, cpus, error);
	else
		error_set(error, ret, "cannot be read: %s", strerrordesc_np(-ret));
	return ret < 0 ? error_prefix(error, "%s", path) : 0;
}

int topology_online_read(const char *root, hwloc_bitmap_t ret_cpus, struct error *error)
{
	struct error unseen;

	return system_list_read(root ? root : "", "online", ret_cpus, error ? error : &unseen);
}

static int system_clusters_fill(const char *root, struct topology *topology, struct error *error)
{
	hwloc_bitmap_t cluster = hwloc_bitmap_alloc(), left = hwloc_bitmap_dup(topology->present);
	int ret = cluster && left ? 0 : out_of_memory(error);

	while (ret == 0 && !hwloc_bitmap_iszero(left)) {
		int cpu = hwloc_bitmap_first(left);
		char name[64];

		snprintf(name, sizeof(name), "cpu%d/topology/cluster_cpus_list", cpu);
		hwloc_bitmap_zero(cluster);
		ret = system_list_read(root, name, cluster, error);
		if (ret == 0 && !hwloc_bitmap_iszero(cluster) &&
		    topology_sets_add(&topology->clusters, topology->clusters.count, cluster) < 0)
			ret = out_of_memory(error);
		if (ret == 0 && (hwloc_bitmap_andnot(left, left, cluster) ||
				 hwloc_bitmap_clr(left, (unsigned)cpu)))
			ret = out_of_memory(error);
	}
	hwloc_bitmap_free(cluster);
	hwloc_bitmap_free(left);
	return ret;
}

/* hwloc leaves out CPUs that are offline; their folders say which node they are of. */
static int system_nodes_complete(const char *root, struct topology *topology)
{
	char path[512];
	int failed = 0;

	for (unsigned i = 0; i < topology->nodes.count; i++) {
		struct topology_set *node = &topology->nodes.sets[i];

		TOPOLOGY_FOREACH(cpu, topology->possible)
		{
			snprintf(path, sizeof(path), "%s" CPU_FOLDER "/cpu%d/node%u", root, cpu,
				 node->id);
			if (access(path, F_OK) == 0)
				failed |= hwloc_bitmap_set(node->cpus, (unsigned)cpu);
		}
	}
	return failed ? -ENOMEM : 0;
}

static int system_load(const char *root, hwloc_topology_t machine, struct topology *topology,
		       struct error *error)
{
	int ret;

	/* The x86 back end would visit each CPU, isolated ones too, and tells nothing that Linux does not. */
	hwloc_topology_set_components(machine, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
	hwloc_topology_set_flags(machine, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
	if (hwloc_topology_load(machine) < 0)
		return error_set(error, -EIO, "hwloc cannot tell what this machine is: %s",
				 strerrordesc_np(errno));
	ret = machine_fill(machine, topology, error);
	if (ret == 0)
		ret = system_list_read(root, "possible", topology->possible, error);
	if (ret == 0)
		ret = system_list_read(root, "present", topology->present, error);
	if (ret == 0)
		ret = system_list_read(root, "isolated", topology->isolated, error);
	if (ret == 0)
		ret = system_clusters_fill(root, topology, error);
	if (ret == 0 && system_nodes_complete(root, topology) < 0)
		ret = out_of_memory(error);
	return ret;
}

/* ---- either ---- */

static int options_check(const struct topology_options *options, struct error *error)
{
	if (!options->description && (options->possible || options->present))
		return error_set(
			error, -EINVAL,
			"which CPUs there are can be said of a description only, not of this machine");
	return 0;
}

int topology_open(const struct topology_options *options, struct topology *ret_topology,
		  struct error *error)
{
	struct error unseen;
	struct topology topology;
	hwloc_topology_t machine;
	int ret;

	if (!error)
		error = &unseen;
	ret = options_check(options, error);
	if (ret < 0)
		return ret;
	if (topology_init(&topology) < 0)
		return out_of_memory(error);
	if (hwloc_topology_init(&machine) < 0) {
		topology_fini(&topology);
		return out_of_memory(error);
	}
	if (options->description)
		ret = description_load(options, machine, &topology, error);
	else
		ret = system_load(options->root ? options->root : "", machine, &topology, error);
	hwloc_topology_destroy(machine);
	if (ret == 0)
		ret = list_apply("isolated CPUs", options->isolated, topology.isolated, NULL,
				 error);
	if (ret == 0)
		ret = topology_finish(&topology, error);
	if (ret < 0) {
		topology_fini(&topology);
		return ret;
	}
	*ret_topology = topology;
	return 0;
}
