// SPDX-License-Identifier: MIT
/*
 * The report in fio's JSON, layout of its version 3: times in nanoseconds where the key ends in _ns, bandwidth in KiB/s
 * ("bw") and bytes/s ("bw_bytes"), runtimes in milliseconds. There is no slat: submission is part of clat (see bench.h).
 * The main thread.
 */
#include "base/clock.h"
#include "tools/bench.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LAYOUT "fio-3.33"

static json_t *spread_of(const struct histogram *latency)
{
	return json_pack("{s:I, s:I, s:f, s:f, s:I}", "min", (json_int_t)latency->min, "max",
			 (json_int_t)latency->max, "mean", histogram_mean(latency), "stddev",
			 histogram_stddev(latency), "N", (json_int_t)latency->count);
}

static json_t *percentiles_of(const struct histogram *latency)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < bench_percentile_count; i++) {
		uint64_t value = histogram_percentile(latency, bench_percentiles[i]);
		char key[16];

		snprintf(key, sizeof(key), "%f", bench_percentiles[i]);
		json_object_set_new(object, key, json_integer((json_int_t)value));
	}
	return object;
}

static json_t *completion_of(const struct histogram *latency)
{
	json_t *object = spread_of(latency);

	if (latency->count)
		json_object_set_new(object, "percentile", percentiles_of(latency));
	return object;
}

static double per_second(uint64_t amount, uint64_t runtime_ns)
{
	return runtime_ns ? (double)amount * 1e9 / (double)runtime_ns : 0;
}

static json_int_t milliseconds(uint64_t ns)
{
	return (json_int_t)((ns + NS_PER_MS / 2) / NS_PER_MS);
}

/* There are no samples over time; fio says it like this when a run was too short for one. */
static void add_no_samples(json_t *object)
{
	json_t *none = json_pack("{s:i, s:i, s:f, s:f, s:f, s:i, s:i, s:i, s:f, s:f, s:i}",
				 "bw_min", 0, "bw_max", 0, "bw_agg", 0.0, "bw_mean", 0.0, "bw_dev",
				 0.0, "bw_samples", 0, "iops_min", 0, "iops_max", 0, "iops_mean",
				 0.0, "iops_stddev", 0.0, "iops_samples", 0);

	json_object_update_new(object, none);
}

static json_t *side_of(const struct bench_side *side)
{
	const struct histogram none = { 0 };
	double bytes_per_s = per_second(side->bytes, side->runtime_ns);
	json_t *object = json_pack("{s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:i, s:i}", "io_bytes",
				   (json_int_t)side->bytes, "io_kbytes",
				   (json_int_t)(side->bytes >> 10), "bw_bytes",
				   (json_int_t)bytes_per_s, "bw", (json_int_t)(bytes_per_s / 1024),
				   "iops", per_second(side->ios, side->runtime_ns), "runtime",
				   milliseconds(side->runtime_ns), "total_ios",
				   (json_int_t)side->ios, "short_ios", 0, "drop_ios", 0);

	add_no_samples(object);
	json_object_set_new(object, "slat_ns", spread_of(&none));
	json_object_set_new(object, "clat_ns", completion_of(&side->latency));
	json_object_set_new(object, "lat_ns", spread_of(&side->latency));
	return object;
}

/* Latencies of one unit: each key is the end of a step that begins at the key before. */
struct scale {
	const char *name;
	uint64_t unit_ns, begin_ns;
};

static const struct scale scales[] = {
	{ "latency_ns", 1, 0 },
	{ "latency_us", NS_PER_US, NS_PER_US },
	{ "latency_ms", NS_PER_MS, NS_PER_MS },
};

static uint64_t count_below(const struct bench_result *result, uint64_t ns)
{
	return histogram_count_below(&result->sides[BENCH_READ].latency, ns) +
	       histogram_count_below(&result->sides[BENCH_WRITE].latency, ns);
}

static uint64_t ios_of(const struct bench_result *result)
{
	return result->sides[BENCH_READ].ios + result->sides[BENCH_WRITE].ios;
}

static double share_of(uint64_t count, const struct bench_result *result)
{
	uint64_t ios = ios_of(result);

	return ios ? (double)count * 100 / (double)ios : 0;
}

static json_t *distribution_of(const struct bench_result *result, const struct scale *scale)
{
	static const unsigned ends[] = { 2, 4, 10, 20, 50, 100, 250, 500, 750, 1000, 2000 };
	unsigned count = ARRAY_SIZE(ends) - (scale->unit_ns != NS_PER_MS);
	uint64_t before = count_below(result, scale->begin_ns);
	json_t *object = json_object();
	char key[16];

	for (unsigned i = 0; i < count; i++) {
		uint64_t below = count_below(result, ends[i] * scale->unit_ns);

		snprintf(key, sizeof(key), "%u", ends[i]);
		json_object_set_new(object, key, json_real(share_of(below - before, result)));
		before = below;
	}
	if (scale->unit_ns == NS_PER_MS)
		json_object_set_new(object, ">=2000",
				    json_real(share_of(ios_of(result) - before, result)));
	return object;
}

static double percent_of(double seconds, uint64_t runtime_ns)
{
	return runtime_ns ? seconds * 1e11 / (double)runtime_ns : 0;
}

static void add_cpu(json_t *object, const struct bench_result *result)
{
	uint64_t ios = ios_of(result);
	double seconds = result->user_s + result->system_s;

	json_object_set_new(object, "job_runtime", json_integer(milliseconds(result->runtime_ns)));
	json_object_set_new(object, "usr_cpu",
			    json_real(percent_of(result->user_s, result->runtime_ns)));
	json_object_set_new(object, "sys_cpu",
			    json_real(percent_of(result->system_s, result->runtime_ns)));
	json_object_set_new(object, "ctx", json_integer((json_int_t)result->switches));
	json_object_set_new(object, "majf", json_integer((json_int_t)result->major_faults));
	json_object_set_new(object, "minf", json_integer((json_int_t)result->minor_faults));
	json_object_set_new(object, "cpu_seconds_per_million",
			    json_real(ios ? seconds * 1e6 / (double)ios : 0));
}

static json_t *options_of(const struct bench_report *report)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_string(report->options->name));
	json_object_set_new(object, "filename", json_string(report->options->uri));
	for (unsigned i = 0; i < report->given->count; i++)
		json_object_set_new(object, report->given->given[i].spec->name,
				    json_string(report->given->given[i].value));
	return object;
}

static json_t *job_of(const struct bench_report *report, const struct bench_result *result)
{
	const struct bench_side none = { 0 };
	json_t *object = json_pack("{s:s, s:i, s:i, s:i, s:I}", "jobname", report->options->name,
				   "groupid", 0, "error", result->error, "eta", 0, "elapsed",
				   (json_int_t)(report->elapsed_ns / NS_PER_S));

	json_object_set_new(object, "job options", options_of(report));
	json_object_set_new(object, "read", side_of(&result->sides[BENCH_READ]));
	json_object_set_new(object, "write", side_of(&result->sides[BENCH_WRITE]));
	json_object_set_new(object, "trim", side_of(&none));
	add_cpu(object, result);
	for (unsigned i = 0; i < ARRAY_SIZE(scales); i++)
		json_object_set_new(object, scales[i].name, distribution_of(result, &scales[i]));
	json_object_set_new(object, "latency_depth",
			    json_integer((json_int_t)report->options->depth));
	json_object_set_new(object, "latency_target", json_integer(0));
	json_object_set_new(object, "latency_percentile", json_real(100));
	json_object_set_new(object, "latency_window", json_integer(0));
	return object;
}

static json_t *jobs_of(const struct bench_report *report)
{
	struct bench_result *sum = calloc(1, sizeof(*sum));
	json_t *jobs = json_array();

	for (unsigned i = 0; sum && i < report->job_count; i++) {
		const struct bench_result *result = &report->jobs[i]->result;

		if (report->options->group_reporting)
			bench_result_merge(sum, result);
		else
			json_array_append_new(jobs, job_of(report, result));
	}
	if (sum && report->options->group_reporting)
		json_array_append_new(jobs, job_of(report, sum));
	free(sum);
	return jobs;
}

/* As ctime does, without the line's end. */
static void add_time(json_t *object)
{
	struct timespec now;
	struct tm local;
	char text[64];

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &local);
	json_object_set_new(object, "timestamp", json_integer(now.tv_sec));
	json_object_set_new(object, "timestamp_ms",
			    json_integer((json_int_t)now.tv_sec * 1000 + now.tv_nsec / 1000000));
	json_object_set_new(object, "time", json_string(text));
}

int bench_report_json(const struct bench_report *report, FILE *stream)
{
	json_t *object = json_pack("{s:s, s:s}", "fio version", LAYOUT, "ringlane version",
				   ringlane_version());
	int ret;

	add_time(object);
	json_object_set_new(object, "jobs", jobs_of(report));
	json_object_set_new(object, "disk_util", json_array());
	ret = json_dumpf(object, stream, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	json_decref(object);
	if (ret < 0 || fputc('\n', stream) == EOF)
		return -EIO;
	return 0;
}
