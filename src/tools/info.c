// SPDX-License-Identifier: MIT
/* `ringlane info`: connects, asks for the serial, and says what the back end offers. The main thread. */
#include "tools/info_names.h"
#include "tools/info_scsi.h"
#include "tools/options.h"
#include "tools/tools.h"

#include <errno.h>
#include <jansson.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>

#define ID_BYTES 20
#define ID_TIMEOUT_MS 5000

struct info_options {
	unsigned format;
};

static const char *const format_names[] = { "normal", "json", NULL };

static const struct option_spec specs[] = {
	{ .name = "output-format",
	  .value = "FORMAT",
	  .help = "how to say it (normal)",
	  .kind = OPTION_CHOICE,
	  .offset = offsetof(struct info_options, format),
	  .choices = format_names },
	{ .name = NULL },
};

static const struct option_table table = {
	.command = "ringlane info",
	.positional = "URI",
	.summary = "Shows what the back end of the disk at URI (see ringlane --help) offers.",
	.specs = specs,
};

typedef const char *name_fn(unsigned bit, char *buffer, size_t size);

struct facts {
	const char *uri;
	struct ringlane_info info;
	char serial[ID_BYTES + 1];
	bool has_serial;
	bool is_scsi, has_disk; /* of a SCSI device: the URI's LUN is there */
	struct info_luns luns;
};

/* ---- asking ---- */

/* A back end without an answer, or with an error, has no serial; that is no failure. */
static void serial_read(struct ringlane_device *disk, struct facts *facts)
{
	struct ringlane_queue *queue = ringlane_queue_get(disk, 0);
	char *id = ringlane_mem_alloc(disk, ID_BYTES, NULL);
	struct ringlane_completion completion;

	if (!id || ringlane_get_id(queue, id, NULL) < 0)
		return;
	if (ringlane_wait(queue, &completion, 1, 1, ID_TIMEOUT_MS, 0) != 1 || completion.result)
		return;
	memcpy(facts->serial, id, ID_BYTES);
	facts->has_serial = true;
	for (unsigned char *c = (unsigned char *)facts->serial; *c; c++)
		if (*c < ' ' || *c >= 0x7f)
			*c = '?';
}

static int facts_read(struct facts *facts, struct error *error)
{
	const struct ringlane_options options = { .queues = 1 };
	struct ringlane_device *disk;
	int ret = ringlane_open(facts->uri, &options, &disk, public_error(error));

	if (ret < 0)
		return ret;
	ringlane_get_info(disk, &facts->info);
	facts->is_scsi = facts->info.device_id == VIRTIO_ID_SCSI;
	facts->has_disk = !facts->is_scsi || ringlane_lun_default(disk);
	if (facts->is_scsi)
		ret = info_luns_read(disk, &facts->luns, error);
	if (facts->has_disk)
		serial_read(disk, facts);
	ringlane_close(disk);
	return ret;
}

/* ---- saying ---- */

static void print_bits(const char *title, uint64_t bits, uint64_t used, name_fn *name)
{
	const char *separator = " ";
	char buffer[16];

	printf("%-22s", title);
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(bits >> bit & 1))
			continue;
		printf("%s%s%s", separator, name(bit, buffer, sizeof(buffer)),
		       used >> bit & 1 ? "" : " (not used)");
		separator = ", ";
	}
	putchar('\n');
}

static void print_ranges(const char *title, uint64_t max, unsigned ranges, const char *more)
{
	if (max)
		printf("%-22s up to %u ranges of %llu bytes%s\n", title, ranges,
		       (unsigned long long)max, more);
	else
		printf("%-22s no\n", title);
}

static void print_disk(const struct facts *facts)
{
	const struct ringlane_info *info = &facts->info;
	char alignment[64];

	printf("%-22s %llu bytes (%.1f GiB)\n", "capacity", (unsigned long long)info->capacity,
	       (double)info->capacity / (1 << 30));
	printf("%-22s %s\n", "serial", facts->has_serial ? facts->serial : "(none)");
	printf("%-22s %s, write cache %s\n", "access", info->read_only ? "read-only" : "read-write",
	       info->write_cache ? "on" : "off");
	printf("%-22s %u bytes logical, %u physical, %llu optimal\n", "blocks",
	       info->logical_block_size, info->physical_block_size,
	       (unsigned long long)info->optimal_io_size);
	snprintf(alignment, sizeof(alignment), ", aligned to %llu",
		 (unsigned long long)info->discard_alignment);
	print_ranges("discard", info->discard_max, info->discard_ranges, alignment);
	print_ranges("write zeroes", info->write_zeroes_max, info->write_zeroes_ranges,
		     info->write_zeroes_may_unmap ? ", may unmap" : "");
}

static name_fn *feature_name_of(const struct facts *facts)
{
	return facts->is_scsi ? info_scsi_feature_name : info_feature_name;
}

static void print_normal(const struct facts *facts)
{
	const struct ringlane_info *info = &facts->info;

	printf("%-22s %s\n", facts->is_scsi ? "adapter" : "disk", facts->uri);
	if (facts->has_disk)
		print_disk(facts);
	printf("%-22s %u\n", "queues", info->queue_max);
	printf("%-22s %u segments", "request", info->seg_max);
	printf(info->size_max ? " of %u bytes\n" : "\n", info->size_max);
	printf("%-22s %u regions\n", "memory", info->mem_slots);
	print_bits("features", info->features, info->features_acked | 1ull << 30,
		   feature_name_of(facts));
	print_bits("protocol features", info->protocol_features, UINT64_MAX,
		   info_protocol_feature_name);
	if (facts->is_scsi)
		info_luns_print(&facts->luns);
}

static json_t *bits_array(uint64_t bits, name_fn *name)
{
	json_t *array = json_array();
	char buffer[16];

	for (unsigned bit = 0; bit < 64; bit++)
		if (bits >> bit & 1)
			json_array_append_new(array,
					      json_string(name(bit, buffer, sizeof(buffer))));
	return array;
}

static int print_json(const struct facts *facts)
{
	const struct ringlane_info *info = &facts->info;
	json_t *object = json_pack("{s:s, s:I, s:b, s:b, s:b}", "uri", facts->uri, "capacity",
				   (json_int_t)info->capacity, "read-only", info->read_only,
				   "flush", info->flush, "write-cache", info->write_cache);
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "logical-block-size", info->logical_block_size },
		{ "physical-block-size", info->physical_block_size },
		{ "optimal-io-size", info->optimal_io_size },
		{ "queues", info->queue_max },
		{ "seg-max", info->seg_max },
		{ "size-max", info->size_max },
		{ "discard-max", info->discard_max },
		{ "discard-ranges", info->discard_ranges },
		{ "discard-alignment", info->discard_alignment },
		{ "write-zeroes-max", info->write_zeroes_max },
		{ "write-zeroes-ranges", info->write_zeroes_ranges },
		{ "mem-slots", info->mem_slots },
	};
	int ret;

	json_object_set_new(object, "serial",
			    facts->has_serial ? json_string(facts->serial) : json_null());
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		json_object_set_new(object, numbers[i].name,
				    json_integer((json_int_t)numbers[i].value));
	json_object_set_new(object, "write-zeroes-may-unmap",
			    json_boolean(info->write_zeroes_may_unmap));
	json_object_set_new(object, "features", bits_array(info->features, feature_name_of(facts)));
	json_object_set_new(object, "features-acked",
			    bits_array(info->features_acked, feature_name_of(facts)));
	json_object_set_new(object, "protocol-features",
			    bits_array(info->protocol_features, info_protocol_feature_name));
	if (facts->is_scsi)
		json_object_set_new(object, "luns", info_luns_json(&facts->luns));
	ret = json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	json_decref(object);
	putchar('\n');
	return ret < 0 ? -EIO : 0;
}

int tool_info(int argc, char **argv)
{
	struct info_options options = { 0 };
	struct options_parsed parsed;
	struct facts facts = { 0 };
	struct error error = { 0 };
	int ret = options_parse(&table, argc, argv, &options, &parsed, &error);

	if (ret == 1) {
		options_print_help(&table);
		return 0;
	}
	facts.uri = parsed.positional;
	if (ret == 0 && !facts.uri)
		ret = error_set(&error, -EINVAL, "a URI is wanted, see --help");
	if (ret == 0)
		ret = facts_read(&facts, &error);
	if (ret < 0)
		return tool_fail(table.command, &error);
	if (options.format == 0)
		print_normal(&facts);
	else
		ret = print_json(&facts);
	if (ret < 0 || fflush(stdout) != 0)
		return tool_fail(table.command, &(struct error){ .text = "cannot write" });
	return 0;
}
