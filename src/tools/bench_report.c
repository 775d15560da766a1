// SPDX-License-Identifier: MIT
/* The report for a person, laid out as fio's is, and what both reports share. The main thread. */
#include "tools/bench.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const double bench_percentiles[] = { 1,  5,  10, 20, 30,   40,   50,    60,   70,
				     80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99 };
const unsigned bench_percentile_count = ARRAY_SIZE(bench_percentiles);

void bench_result_merge(struct bench_result *into, const struct bench_result *from)
{
	for (unsigned i = 0; i < BENCH_DIRECTIONS; i++) {
		struct bench_side *side = &into->sides[i];

		side->ios += from->sides[i].ios;
		side->bytes += from->sides[i].bytes;
		side->runtime_ns = MAX(side->runtime_ns, from->sides[i].runtime_ns);
		histogram_merge(&side->latency, &from->sides[i].latency);
	}
	into->runtime_ns += from->runtime_ns; /* as fio does: CPU use stays a share of one CPU */
	into->user_s += from->user_s;
	into->system_s += from->system_s;
	into->switches += from->switches;
	into->major_faults += from->major_faults;
	into->minor_faults += from->minor_faults;
	into->error = into->error ? into->error : from->error;
}

/* ---- numbers ---- */

struct scaled {
	char text[32];
};

static struct scaled scale(double value, double base, const char *const *units)
{
	struct scaled scaled;

	while (value >= base && units[1]) {
		value /= base;
		units++;
	}
	snprintf(scaled.text, sizeof(scaled.text), value < 100 && units[0][0] ? "%.1f%s" : "%.0f%s",
		 value, units[0]);
	return scaled;
}

static struct scaled scale_count(double value)
{
	static const char *const units[] = { "", "k", "M", "G", NULL };

	return scale(value, 1000, units);
}

static struct scaled scale_bytes(double value)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", NULL };

	return scale(value, 1024, units);
}

static double per_second(double amount, uint64_t runtime_ns)
{
	return runtime_ns ? amount * 1e9 / (double)runtime_ns : 0;
}

/* ---- one job ---- */

static const char *const names[] = { "read", "write" };

struct unit {
	const char *name;
	double ns;
};

/* The one in which a usual request has two to five digits. */
static struct unit unit_for(const struct histogram *latency)
{
	uint64_t median = histogram_percentile(latency, 50);

	if (median >= 100 * NS_PER_MS)
		return (struct unit){ "msec", 1e6 };
	if (median >= 100 * NS_PER_US)
		return (struct unit){ "usec", 1e3 };
	return (struct unit){ "nsec", 1 };
}

static void print_percentiles(const struct histogram *latency, struct unit unit, FILE *stream)
{
	fprintf(stream, "    clat percentiles (%s):\n", unit.name);
	for (unsigned i = 0; i < bench_percentile_count; i++) {
		double value = (double)histogram_percentile(latency, bench_percentiles[i]);
		bool last = i + 1 == bench_percentile_count;

		fprintf(stream, "%s%5.2fth=[%8.0f]%s", i % 3 ? " " : "     | ",
			bench_percentiles[i], value / unit.ns,
			last       ? "\n" :
			i % 3 == 2 ? ",\n" :
				     ",");
	}
}

static void print_side(const struct bench_side *side, const char *name, FILE *stream)
{
	const struct histogram *latency = &side->latency;
	struct unit unit = unit_for(latency);

	if (!side->ios)
		return;
	fprintf(stream, "  %5s: IOPS=%s, BW=%s/s (%s/%.0fmsec)\n", name,
		scale_count(per_second((double)side->ios, side->runtime_ns)).text,
		scale_bytes(per_second((double)side->bytes, side->runtime_ns)).text,
		scale_bytes((double)side->bytes).text, (double)side->runtime_ns / 1e6);
	fprintf(stream, "    clat (%s): min=%.1f, max=%.1f, avg=%.2f, stdev=%.2f\n", unit.name,
		(double)latency->min / unit.ns, (double)latency->max / unit.ns,
		histogram_mean(latency) / unit.ns, histogram_stddev(latency) / unit.ns);
	print_percentiles(latency, unit, stream);
}

static double percent_of(double seconds, uint64_t runtime_ns)
{
	return runtime_ns ? seconds * 1e11 / (double)runtime_ns : 0;
}

static double cpu_cost(const struct bench_result *result)
{
	uint64_t ios = result->sides[BENCH_READ].ios + result->sides[BENCH_WRITE].ios;

	return ios ? (result->user_s + result->system_s) * 1e6 / (double)ios : 0;
}

static void print_job(const struct bench_report *report, const struct bench_result *result,
		      unsigned group, unsigned jobs, FILE *stream)
{
	fprintf(stream, "%s: (job=%u, jobs=%u): err=%2d%s%s\n", report->options->name, group, jobs,
		result->error, result->error ? ": " : "",
		result->error ? strerrordesc_np(result->error) : "");
	for (unsigned i = 0; i < BENCH_DIRECTIONS; i++)
		print_side(&result->sides[i], names[i], stream);
	fprintf(stream, "  cpu          : usr=%.2f%%, sys=%.2f%%, ctx=%llu, majf=%llu, minf=%llu\n",
		percent_of(result->user_s, result->runtime_ns),
		percent_of(result->system_s, result->runtime_ns),
		(unsigned long long)result->switches, (unsigned long long)result->major_faults,
		(unsigned long long)result->minor_faults);
	fprintf(stream, "  cpu cost     : %.3f CPU seconds per million requests\n",
		cpu_cost(result));
}

/* ---- all of it ---- */

static void print_head(const struct bench_report *report, FILE *stream)
{
	const struct bench_options *options = report->options;

	fprintf(stream, "%s: bs=%s, iodepth=%llu, jobs=%u, queues=%u, %s\n", options->name,
		scale_bytes((double)options->block_size).text, (unsigned long long)options->depth,
		report->job_count, report->queues, options->uri);
}

static void print_sum(const struct bench_result *sum, FILE *stream)
{
	static const char *const titles[] = { "READ", "WRITE" };

	fprintf(stream, "\nRun status (all jobs):\n");
	for (unsigned i = 0; i < BENCH_DIRECTIONS; i++) {
		const struct bench_side *side = &sum->sides[i];

		if (!side->ios)
			continue;
		fprintf(stream, "  %5s: IOPS=%s, bw=%s/s, io=%s (%llu requests), run=%.0fmsec\n",
			titles[i],
			scale_count(per_second((double)side->ios, side->runtime_ns)).text,
			scale_bytes(per_second((double)side->bytes, side->runtime_ns)).text,
			scale_bytes((double)side->bytes).text, (unsigned long long)side->ios,
			(double)side->runtime_ns / 1e6);
	}
	fprintf(stream, "    CPU: %.3f seconds per million requests\n", cpu_cost(sum));
}

int bench_report_normal(const struct bench_report *report, FILE *stream)
{
	struct bench_result *sum = calloc(1, sizeof(*sum));

	if (!sum)
		return -ENOMEM;
	for (unsigned i = 0; i < report->job_count; i++)
		bench_result_merge(sum, &report->jobs[i]->result);
	print_head(report, stream);
	for (unsigned i = 0; i < report->job_count && !report->options->group_reporting; i++)
		print_job(report, &report->jobs[i]->result, i, 1, stream);
	if (report->options->group_reporting)
		print_job(report, sum, 0, report->job_count, stream);
	print_sum(sum, stream);
	free(sum);
	return ferror(stream) ? -EIO : 0;
}
