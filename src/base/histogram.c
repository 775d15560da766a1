// SPDX-License-Identifier: MIT
/*
 * Group 0 holds 0 to 63 exactly; group g holds [2^(g+5), 2^(g+6)) in 64 equal steps. What lies past the last group
 * (2^41 ns, 36 minutes) is counted in the last bucket; min, max and the mean stay exact.
 */
#include "base/histogram.h"

#include "base/compiler.h"

#include <math.h>
#include <string.h>

#define BUCKETS ((unsigned)ARRAY_SIZE(((struct histogram *)0)->buckets))
#define STEP_BITS 6

static_assert(1u << STEP_BITS == HISTOGRAM_STEPS, "steps are a power of two");

static unsigned bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < HISTOGRAM_STEPS)
		return (unsigned)value;
	shift = 63u - (unsigned)__builtin_clzll(value) - STEP_BITS;
	if (shift + 2 > HISTOGRAM_GROUPS)
		return BUCKETS - 1;
	return shift * HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

/* The largest value that bucket_of() puts there. */
static uint64_t bucket_last(unsigned bucket)
{
	unsigned group = bucket / HISTOGRAM_STEPS, shift;

	if (group == 0)
		return bucket;
	shift = group - 1;
	return ((uint64_t)(bucket - shift * HISTOGRAM_STEPS + 1) << shift) - 1;
}

void histogram_init(struct histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
}

void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
	double value = (double)value_ns;

	if (!histogram->count || value_ns < histogram->min)
		histogram->min = value_ns;
	if (value_ns > histogram->max)
		histogram->max = value_ns;
	histogram->count++;
	histogram->sum += value;
	histogram->sum_squares += value * value;
	histogram->buckets[bucket_of(value_ns)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (!from->count)
		return;
	into->min = into->count ? MIN(into->min, from->min) : from->min;
	into->max = MAX(into->max, from->max);
	into->count += from->count;
	into->sum += from->sum;
	into->sum_squares += from->sum_squares;
	for (unsigned i = 0; i < BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
	uint64_t rank, seen = 0;
	unsigned last = BUCKETS - 1;

	if (!histogram->count)
		return 0;
	percent = MAX(0.0, MIN(100.0, percent));
	rank = (uint64_t)ceil(percent / 100.0 * (double)histogram->count);
	rank = MIN(MAX(rank, 1), histogram->count);
	for (unsigned i = 0; i < last; i++) {
		seen += histogram->buckets[i];
		if (seen >= rank)
			return MAX(histogram->min, MIN(bucket_last(i), histogram->max));
	}
	return histogram->max;
}

uint64_t histogram_count_below(const struct histogram *histogram, uint64_t value)
{
	unsigned end = bucket_of(value);
	uint64_t count = 0;

	for (unsigned i = 0; i < end; i++)
		count += histogram->buckets[i];
	return count;
}

double histogram_mean(const struct histogram *histogram)
{
	return histogram->count ? histogram->sum / (double)histogram->count : 0;
}

double histogram_stddev(const struct histogram *histogram)
{
	double mean = histogram_mean(histogram), variance;

	if (!histogram->count)
		return 0;
	variance = histogram->sum_squares / (double)histogram->count - mean * mean;
	return variance > 0 ? sqrt(variance) : 0;
}
