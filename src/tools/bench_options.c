// SPDX-License-Identifier: MIT
/* The options of `ringlane bench`: fio's words where fio has one. One table for parsing, --help and the JSON report. */
#include "tools/bench.h"

#include <errno.h>

static const char *const rw_names[] = { "read", "write",  "randread", "randwrite",
					"rw",   "randrw", NULL };
static const char *const format_names[] = { "normal", "json", NULL };
static const char *const verify_names[] = { "none", "crc32c", NULL };
/* In the order of <ringlane/managed.h>. */
static const char *const policy_names[] = { "default",      "sticky", "per-cpu",
					    "least-loaded", "single", NULL };
static const char *const iopoll_names[] = { "on", "off", "adaptive", NULL };
static const char *const replay_names[] = { "safe", "none", "all", NULL };

#define AT(field) offsetof(struct bench_options, field)

static const struct option_spec specs[] = {
	{ .name = "rw",
	  .value = "KIND",
	  .help = "what to do (read)",
	  .kind = OPTION_CHOICE,
	  .offset = AT(rw),
	  .choices = rw_names },
	{ .name = "bs",
	  .value = "SIZE",
	  .help = "bytes of a request (4k)",
	  .kind = OPTION_SIZE,
	  .offset = AT(block_size),
	  .min = 512,
	  .max = 1 << 30 },
	{ .name = "iodepth",
	  .value = "N",
	  .help = "requests that a job keeps in flight (1)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(depth),
	  .min = 1,
	  .max = 341 },
	{ .name = "numjobs",
	  .value = "N",
	  .help = "threads; job i uses queue i modulo their number (1)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(jobs),
	  .min = 1,
	  .max = 1024 },
	{ .name = "queues",
	  .value = "N",
	  .help = "queues to use (one per job, if the device has them)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(queues),
	  .min = 1,
	  .max = 256 },
	{ .name = "queue-size",
	  .value = "N",
	  .help = "entries of a ring, a power of two (256, or what the depth needs)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(queue_size),
	  .min = 4,
	  .max = 1024 },
	{ .name = "runtime",
	  .value = "TIME",
	  .help = "end after this time: 10, 500ms, 2m (when --size is done)",
	  .kind = OPTION_SECONDS,
	  .offset = AT(runtime_ns),
	  .min = 1000000 },
	{ .name = "time_based",
	  .help = "begin again when --size is done, until --runtime is over",
	  .kind = OPTION_FLAG,
	  .offset = AT(time_based) },
	{ .name = "ramp_time",
	  .value = "TIME",
	  .help = "run this long before measuring",
	  .kind = OPTION_SECONDS,
	  .offset = AT(ramp_ns) },
	{ .name = "size",
	  .value = "SIZE",
	  .help = "bytes that each job goes through (the whole disk)",
	  .kind = OPTION_SIZE,
	  .offset = AT(size),
	  .min = 512 },
	{ .name = "offset",
	  .value = "SIZE",
	  .help = "where the region begins (0)",
	  .kind = OPTION_SIZE,
	  .offset = AT(offset) },
	{ .name = "rwmixread",
	  .value = "PERCENT",
	  .help = "share of reads with rw and randrw (50)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(read_percent),
	  .max = 100 },
	{ .name = "randseed",
	  .value = "N",
	  .help = "seed of the order of blocks (1)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(seed),
	  .min = 1,
	  .max = UINT32_MAX },
	{ .name = "verify",
	  .value = "KIND",
	  .help = "write checkable blocks, read them back and check",
	  .kind = OPTION_CHOICE,
	  .offset = AT(verify),
	  .choices = verify_names },
	{ .name = "verify_only",
	  .help = "write nothing, check what the same options wrote before",
	  .kind = OPTION_FLAG,
	  .offset = AT(verify_only) },
	{ .name = "hipri",
	  .help = "poll for completions, never sleep",
	  .kind = OPTION_FLAG,
	  .offset = AT(hipri) },
	{ .name = "poll-ns",
	  .value = "N",
	  .help = "poll this long before sleeping (0)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(poll_ns),
	  .max = 1000000000 },
	{ .name = "managed",
	  .help = "submit from any CPU, completions by the library's reapers",
	  .kind = OPTION_FLAG,
	  .offset = AT(managed) },
	{ .name = "policy",
	  .value = "NAME",
	  .help = "managed: which queue a request goes to (default)",
	  .kind = OPTION_CHOICE,
	  .offset = AT(policy),
	  .choices = policy_names },
	{ .name = "iopoll",
	  .value = "MODE",
	  .help = "managed: polling with a budget (on)",
	  .kind = OPTION_CHOICE,
	  .offset = AT(iopoll),
	  .choices = iopoll_names },
	{ .name = "weight",
	  .value = "N",
	  .help = "managed: completions that a turn of polling handles (32)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(weight),
	  .min = 1,
	  .max = 256 },
	{ .name = "poll-queues",
	  .value = "N",
	  .help = "managed: the last N queues have no interrupt, jobs poll them (0)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(poll_queues),
	  .max = 255 },
	{ .name = "reapers",
	  .value = "N",
	  .help = "managed: threads that take completions (one per queue, at most one per CPU)",
	  .kind = OPTION_NUMBER,
	  .offset = AT(reapers),
	  .min = 1,
	  .max = 256 },
	{ .name = "timeout",
	  .value = "TIME",
	  .help = "managed: of a request, before it is looked after (none)",
	  .kind = OPTION_SECONDS,
	  .offset = AT(timeout_ns),
	  .min = 1000000 },
	{ .name = "replay",
	  .value = "WHAT",
	  .help = "managed: what is sent again to a back end that has come back (safe)",
	  .kind = OPTION_CHOICE,
	  .offset = AT(replay),
	  .choices = replay_names },
	{ .name = "cpus_allowed",
	  .value = "LIST",
	  .help = "CPUs such as 0-3,8: each job on one, in turn",
	  .kind = OPTION_TEXT,
	  .offset = AT(cpus_allowed) },
	{ .name = "name",
	  .value = "NAME",
	  .help = "name of the jobs in the report (bench)",
	  .kind = OPTION_TEXT,
	  .offset = AT(name) },
	{ .name = "group_reporting",
	  .help = "report all jobs as one",
	  .kind = OPTION_FLAG,
	  .offset = AT(group_reporting) },
	{ .name = "output-format",
	  .value = "FORMAT",
	  .help = "report (normal)",
	  .kind = OPTION_CHOICE,
	  .offset = AT(format),
	  .choices = format_names },
	{ .name = "output",
	  .value = "FILE",
	  .help = "write the report there",
	  .kind = OPTION_TEXT,
	  .offset = AT(output) },
	{ .name = "no-progress",
	  .help = "no progress line on a terminal",
	  .kind = OPTION_FLAG,
	  .offset = AT(no_progress) },
	{ .name = NULL },
};

const struct option_table bench_table = {
	.command = "ringlane bench",
	.positional = "URI",
	.summary = "Measures the disk at URI (see ringlane --help). Without --rw it only reads.",
	.specs = specs,
	.notes = "Sizes count in 1024. Writing kinds overwrite the disk.",
};

void bench_options_init(struct bench_options *options)
{
	*options = (struct bench_options){
		.name = "bench",
		.block_size = 4096,
		.depth = 1,
		.jobs = 1,
		.read_percent = 50,
		.seed = 1,
	};
}

int bench_options_check(struct bench_options *options, struct error *error)
{
	bool verifies = options->verify != VERIFY_NONE;

	if (options->block_size % 512)
		return error_set(error, -EINVAL, "--bs=%llu is no multiple of 512",
				 (unsigned long long)options->block_size);
	if (options->offset % options->block_size)
		return error_set(error, -EINVAL, "--offset is no multiple of --bs");
	if (options->time_based && !options->runtime_ns)
		return error_set(error, -EINVAL, "--time_based needs --runtime");
	if (options->verify_only && !verifies)
		return error_set(error, -EINVAL, "--verify_only needs --verify");
	if (options->verify_only && !rw_has_writes(options->rw))
		return error_set(error, -EINVAL, "--verify_only needs the --rw that wrote");
	if (verifies && options->ramp_ns)
		return error_set(error, -EINVAL, "--verify and --ramp_time do not go together");
	if (!options->managed &&
	    (options->policy || options->iopoll || options->weight || options->reapers ||
	     options->timeout_ns || options->replay || options->poll_queues))
		return error_set(error, -EINVAL,
				 "--policy, --iopoll, --weight, --reapers, --timeout, --replay and "
				 "--poll-queues are for --managed");
	if (options->hipri && options->poll_ns)
		return error_set(error, -EINVAL,
				 "--hipri polls for ever, --poll-ns has no place beside it");
	return 0;
}
