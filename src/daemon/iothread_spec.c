/* SPDX-License-Identifier: MIT */
/* `--object iothread,…`: its keys and their checks. Pure; main thread. */
#include "daemon/config.h"

#include "base/cpu_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct iothread_spec, member)

static const struct schema_field fields[] = {
	{ "qom-type", SCHEMA_CHOICE, AT(type), "what to make", SCHEMA_REQUIRED,
	  .choices = "iothread" },
	{ "id", SCHEMA_STRING, AT(id), "its name", SCHEMA_REQUIRED },
	{ "poll-max-ns", SCHEMA_NUMBER, AT(poll_max_ns),
	  "longest time to poll before it sleeps; 0: never", .fallback = "32768",
	  .max = INT64_MAX },
	{ "poll-grow", SCHEMA_NUMBER, AT(poll_grow), "factor by which the polling time grows; 0: 2",
	  .fallback = "0", .max = INT64_MAX },
	{ "poll-shrink", SCHEMA_NUMBER, AT(poll_shrink),
	  "divisor by which it shrinks; 0: at once to nothing", .fallback = "0", .max = INT64_MAX },
	{ "cpus", SCHEMA_TREE, AT(cpus_value), "where the thread may run: 0-3, or a list" },
};

static const struct schema schema = { "iothread", "a thread that serves virtqueues", fields,
				      ARRAY_SIZE(fields) };

static int read_cpu_numbers(const json_t *list, cpu_set_t *ret_set, struct error *error)
{
	size_t index;
	json_t *item;

	CPU_ZERO(ret_set);
	json_array_foreach((json_t *)list, index, item)
	{
		uint64_t cpu = UINT64_MAX;

		if (json_is_integer(item) && json_integer_value(item) >= 0)
			cpu = (uint64_t)json_integer_value(item);
		else if (json_is_string(item))
			schema_parse_number(json_string_value(item), &cpu);
		if (cpu >= CPU_SETSIZE)
			return error_set(error, -EINVAL,
					 "Parameter 'cpus.%zu' expects a CPU number below %d",
					 index, CPU_SETSIZE);
		CPU_SET(cpu, ret_set);
	}
	return 0;
}

static int read_cpus(struct iothread_spec *spec, struct error *error)
{
	int result;

	if (!spec->cpus_value)
		return 0;
	if (json_is_array(spec->cpus_value))
		result = read_cpu_numbers(spec->cpus_value, &spec->cpus, error);
	else if (json_is_string(spec->cpus_value))
		result = cpu_list_parse(json_string_value(spec->cpus_value), &spec->cpus, error);
	else
		result = error_set(error, -EINVAL, "Parameter 'cpus' expects a list of CPUs");
	if (result)
		return error_prefix(error, "cpus");
	if (CPU_COUNT(&spec->cpus) == 0)
		return error_set(error, -EINVAL, "Parameter 'cpus' names no CPU");
	spec->pinned = true;
	return 0;
}

static int read_spec(struct config *config, struct iothread_spec *spec, struct error *error)
{
	int result = schema_read(&schema, spec->tree, spec, error);

	if (result == 0)
		result = config_check_id("id", spec->id, error);
	if (result == 0)
		result = read_cpus(spec, error);
	if (result == 0 && config_find_iothread(config, spec->id))
		result =
			error_set(error, -EEXIST, "attempt to add duplicate object '%s'", spec->id);
	return result;
}

int iothread_spec_add(struct config *config, json_t *tree, struct error *error)
{
	struct iothread_spec *spec = calloc(1, sizeof(*spec));

	if (!spec) {
		json_decref(tree);
		return error_set(error, -ENOMEM, "out of memory");
	}
	spec->tree = tree;
	if (read_spec(config, spec, error)) {
		iothread_spec_free(spec);
		return error->code;
	}
	STAILQ_INSERT_TAIL(&config->iothreads, spec, next);
	return 0;
}

void iothread_spec_free(struct iothread_spec *spec)
{
	json_decref(spec->tree);
	free(spec);
}

void iothread_spec_print_help(FILE *file)
{
	schema_print(&schema, file);
}
