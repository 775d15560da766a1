/* SPDX-License-Identifier: MIT */
/*
 * A log-linear histogram of nanoseconds: 64 steps per power of two, so that a percentile is at most 1.6 % too high.
 * Fixed size, no allocation on add; one owner thread; histograms of several threads are merged afterwards.
 */
#ifndef RINGLANE_BASE_HISTOGRAM_H
#define RINGLANE_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 64
#define HISTOGRAM_GROUPS 36

struct histogram {
	uint64_t count, min, max;
	double sum, sum_squares;
	uint64_t buckets[HISTOGRAM_GROUPS * HISTOGRAM_STEPS];
};

void histogram_init(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t value_ns);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value under which `percent` (0 to 100) of the samples lie; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);
/* The samples below value, those that share its bucket not among them. */
uint64_t histogram_count_below(const struct histogram *histogram, uint64_t value);
double histogram_mean(const struct histogram *histogram);
double histogram_stddev(const struct histogram *histogram);

#endif
