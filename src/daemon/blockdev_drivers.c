/* SPDX-License-Identifier: MIT */
/*
 * The drivers of `--blockdev`: for each one a table of keys and the function that opens it. Names of drivers and keys are those of
 * qemu-storage-daemon where it has them; ram, delay, error and log are ours. A key that we could only ignore is not accepted,
 * or only with the value that is true anyway.
 */
#include "daemon/blockdev.h"

#include <errno.h>
#include <string.h>

#define AT(member) offsetof(struct blockdev_values, member)

/* Indices of choices; two words may mean the same. */
#define DISCARD_CHOICES "ignore|unmap|off|on"
#define DISCARD_UNMAPS(index) (((index)&1) != 0)

#define FIELDS_OF_ALL                                                           \
	{ "driver", SCHEMA_STRING, AT(driver), "the driver", SCHEMA_REQUIRED }, \
	{                                                                       \
		"node-name", SCHEMA_STRING, AT(node_name),                      \
			"name of the node; an inline node may go without"       \
	}

#define FIELD_READ_ONLY                                                                     \
	{                                                                                   \
		"read-only", SCHEMA_BOOL, AT(read_only), "refuse writes", .fallback = "off" \
	}

#define FIELDS_OF_FILES                                                                      \
	{ "filename", SCHEMA_STRING, AT(filename), "path of the image or device",            \
	  SCHEMA_REQUIRED },                                                                 \
		FIELD_READ_ONLY,                                                             \
		{ "auto-read-only", SCHEMA_BOOL, AT(auto_read_only),                         \
		  "open for reading where writing is not possible", .fallback = "on" },      \
		{ "cache.direct", SCHEMA_BOOL, AT(direct), "bypass the host's page cache",   \
		  .fallback = "off" },                                                       \
		{ "cache.no-flush", SCHEMA_BOOL, AT(no_flush), "ignore flushes: unsafe",     \
		  .fallback = "off" },                                                       \
		{ "discard",                                                                 \
		  SCHEMA_CHOICE,                                                             \
		  AT(discard),                                                               \
		  "what to do with discards",                                                \
		  .fallback = "ignore",                                                      \
		  .choices = DISCARD_CHOICES },                                              \
		{ "locking",          SCHEMA_CHOICE,                                         \
		  AT(locking),        "lock the image against other programs",               \
		  .fallback = "auto", .choices = "auto|on|off" },                            \
		{ "aio",                                                                     \
		  SCHEMA_CHOICE,                                                             \
		  AT(aio),                                                                   \
		  "how I/O is done",                                                         \
		  .fallback = "io_uring",                                                    \
		  .choices = "io_uring" },                                                   \
	{                                                                                    \
		"detect-zeroes", SCHEMA_CHOICE, AT(only_off), "not done", .fallback = "off", \
									  .choices = "off"   \
	}

#define FIELD_CHILD                                                                             \
	{                                                                                       \
		"file", SCHEMA_TREE, AT(file),                                                  \
			"the node under it: a name, or file.driver=... inline", SCHEMA_REQUIRED \
	}

static const struct schema_field file_fields[] = { FIELDS_OF_ALL, FIELDS_OF_FILES };

static const struct schema_field raw_fields[] = {
	FIELDS_OF_ALL,
	FIELD_CHILD,
	FIELD_READ_ONLY,
	{ "offset", SCHEMA_SIZE, AT(offset), "where the window begins", .fallback = "0" },
	{ "size", SCHEMA_SIZE, AT(size), "how long it is; to the end when not given" },
};

static const struct schema_field null_fields[] = {
	FIELDS_OF_ALL,
	FIELD_READ_ONLY,
	{ "size", SCHEMA_SIZE, AT(size), "size of the disk", .fallback = "1G" },
	{ "latency-ns", SCHEMA_NUMBER, AT(latency_ns), "how long each request takes",
	  .fallback = "0" },
	{ "read-zeroes", SCHEMA_BOOL, AT(read_zeroes), "reads give zeroes, not what was in memory",
	  .fallback = "off" },
};

static const struct schema_field ram_fields[] = {
	FIELDS_OF_ALL,
	FIELD_READ_ONLY,
	{ "size", SCHEMA_SIZE, AT(size), "size of the disk; memory is taken as it is written",
	  SCHEMA_REQUIRED },
};

static const struct schema_field delay_fields[] = {
	FIELDS_OF_ALL,
	FIELD_CHILD,
	{ "latency-ns", SCHEMA_NUMBER, AT(latency_ns), "how much later each request ends",
	  .fallback = "0" },
	{ "busy-ns", SCHEMA_NUMBER, AT(busy_ns), "how long the IOThread spins for each",
	  .fallback = "0", .max = 1000000000 },
};

static const struct schema_field error_fields[] = {
	FIELDS_OF_ALL,
	FIELD_CHILD,
	{ "ops", SCHEMA_TREE, AT(ops),
	  "what fails: read, write, flush, discard, write-zeroes (all)" },
	{ "error", SCHEMA_STRING, AT(error_name), "with which error, as in EIO",
	  .fallback = "EIO" },
	{ "every", SCHEMA_NUMBER, AT(every), "only each n-th request that matches", .fallback = "1",
	  .min = 1, .max = INT64_MAX },
	{ "offset", SCHEMA_SIZE, AT(offset), "only requests that touch this place on",
	  .fallback = "0" },
	{ "bytes", SCHEMA_SIZE, AT(bytes), "and so many bytes; to the end when not given" },
};

static const struct schema_field log_fields[] = {
	FIELDS_OF_ALL,
	FIELD_CHILD,
	{ "filename", SCHEMA_STRING, AT(filename), "where to write a line per request",
	  SCHEMA_REQUIRED },
};

/* ---- checks ---- */

static int check_raw(struct blockdev_spec *spec, struct error *error)
{
	if (spec->has_size && spec->values.size == 0)
		return error_set(error, -EINVAL, "Parameter 'size' must not be 0");
	return 0;
}

static int add_op(struct blockdev_spec *spec, const json_t *item, struct error *error)
{
	static const char *const words[] = { [BLOCK_READ] = "read",
					     [BLOCK_WRITE] = "write",
					     [BLOCK_FLUSH] = "flush",
					     [BLOCK_DISCARD] = "discard",
					     [BLOCK_WRITE_ZEROES] = "write-zeroes" };
	const char *word = json_string_value(item);
	unsigned i;

	for (i = 0; word && i < ARRAY_SIZE(words); i++) {
		if (!strcmp(word, words[i])) {
			spec->op_mask |= 1u << i;
			return 0;
		}
	}
	return error_set(
		error, -EINVAL,
		"Parameter 'ops' does not accept '%s', only: read, write, flush, discard, write-zeroes",
		word ? word : "a value of this type");
}

static int check_error(struct blockdev_spec *spec, struct error *error)
{
	size_t index;
	json_t *item;
	int number, result;

	for (number = 1; number < 134; number++)
		if (strerrorname_np(number) &&
		    !strcmp(strerrorname_np(number), spec->values.error_name))
			spec->error_number = number;
	if (!spec->error_number)
		return error_set(error, -EINVAL,
				 "Parameter 'error' expects the name of an error, such as EIO");
	if (!json_is_array(spec->values.ops))
		return spec->values.ops ? add_op(spec, spec->values.ops, error) : 0;
	json_array_foreach(spec->values.ops, index, item)
	{
		result = add_op(spec, item, error);
		if (result)
			return result;
	}
	return 0;
}

/* ---- openers ---- */

static int open_some_file(struct block_graph *graph, const struct blockdev_spec *spec,
			  bool host_device, struct block_node **ret_node, struct error *error)
{
	static const enum block_locking locking[] = { BLOCK_LOCK_AUTO, BLOCK_LOCK_ON,
						      BLOCK_LOCK_OFF };
	struct block_file_config config = {
		.name = spec->name,
		.filename = spec->values.filename,
		.host_device = host_device,
		.read_only = spec->values.read_only || !spec->written,
		.direct = spec->values.direct,
		.no_flush = spec->values.no_flush,
		.discard_unmap = DISCARD_UNMAPS(spec->values.discard),
		.locking = locking[spec->values.locking],
		.lock_now = spec->lock_now,
	};
	int result = block_file_open(graph, &config, ret_node, error);
	bool denied = result == -EACCES || result == -EROFS || result == -EPERM;

	if (config.read_only || !denied || !spec->optional || !spec->values.auto_read_only)
		return result;
	config.read_only = true;
	return block_file_open(graph, &config, ret_node, error);
}

static int open_file(struct block_graph *graph, const struct blockdev_spec *spec,
		     struct block_node **ret_node, struct error *error)
{
	return open_some_file(graph, spec, false, ret_node, error);
}

static int open_host_device(struct block_graph *graph, const struct blockdev_spec *spec,
			    struct block_node **ret_node, struct error *error)
{
	return open_some_file(graph, spec, true, ret_node, error);
}

static struct block_node *child_of(struct block_graph *graph, const struct blockdev_spec *spec)
{
	return block_graph_find(graph, spec->child->name);
}

static int open_raw(struct block_graph *graph, const struct blockdev_spec *spec,
		    struct block_node **ret_node, struct error *error)
{
	struct block_raw_config config = {
		.name = spec->name,
		.child = child_of(graph, spec),
		.offset = spec->values.offset,
		.size = spec->values.size,
		.has_size = spec->has_size,
		.read_only = spec->values.read_only || !spec->written,
	};

	return block_raw_open(graph, &config, ret_node, error);
}

static int open_null(struct block_graph *graph, const struct blockdev_spec *spec,
		     struct block_node **ret_node, struct error *error)
{
	struct block_null_config config = {
		.name = spec->name,
		.size = spec->values.size,
		.latency_ns = spec->values.latency_ns,
		.read_zeroes = spec->values.read_zeroes,
		.read_only = spec->values.read_only || !spec->written,
	};

	return block_null_open(graph, &config, ret_node, error);
}

static int open_ram(struct block_graph *graph, const struct blockdev_spec *spec,
		    struct block_node **ret_node, struct error *error)
{
	struct block_ram_config config = {
		.name = spec->name,
		.size = spec->values.size,
		.read_only = spec->values.read_only || !spec->written,
	};

	return block_ram_open(graph, &config, ret_node, error);
}

static int open_delay(struct block_graph *graph, const struct blockdev_spec *spec,
		      struct block_node **ret_node, struct error *error)
{
	struct block_delay_config config = {
		.name = spec->name,
		.child = child_of(graph, spec),
		.latency_ns = spec->values.latency_ns,
		.busy_ns = spec->values.busy_ns,
	};

	return block_delay_open(graph, &config, ret_node, error);
}

static int open_error(struct block_graph *graph, const struct blockdev_spec *spec,
		      struct block_node **ret_node, struct error *error)
{
	struct block_error_config config = {
		.name = spec->name,
		.child = child_of(graph, spec),
		.op_mask = spec->op_mask,
		.error = -spec->error_number,
		.every = spec->values.every,
		.offset = spec->values.offset,
		.bytes = spec->values.bytes,
	};

	return block_error_open(graph, &config, ret_node, error);
}

static int open_log(struct block_graph *graph, const struct blockdev_spec *spec,
		    struct block_node **ret_node, struct error *error)
{
	struct block_log_config config = {
		.name = spec->name,
		.child = child_of(graph, spec),
		.filename = spec->values.filename,
	};

	return block_log_open(graph, &config, ret_node, error);
}

#define SCHEMA(name, help, fields)                     \
	{                                              \
		name, help, fields, ARRAY_SIZE(fields) \
	}

const struct blockdev_driver blockdev_drivers[] = {
	{ SCHEMA("file", "a regular file", file_fields), .open = open_file },
	{ SCHEMA("host_device", "a block device", file_fields), .open = open_host_device },
	{ SCHEMA("raw", "a window on another node", raw_fields), .has_child = true,
	  .is_window = true, .check = check_raw, .open = open_raw },
	{ SCHEMA("null-co", "nothing behind it", null_fields), .open = open_null },
	{ SCHEMA("ram", "memory of this process", ram_fields), .open = open_ram },
	{ SCHEMA("delay", "makes another node slower", delay_fields), .has_child = true,
	  .open = open_delay },
	{ SCHEMA("error", "makes requests fail", error_fields), .has_child = true,
	  .check = check_error, .open = open_error },
	{ SCHEMA("log", "writes down each request", log_fields), .has_child = true,
	  .open = open_log },
};

const unsigned blockdev_driver_count = ARRAY_SIZE(blockdev_drivers);
