// SPDX-License-Identifier: MIT
/*
 * The round robin against sources made of numbers: what the device has completed and nobody has handled, whether its
 * interrupt is on, and a log of who was polled. The clock moves only when a test or a turn moves it.
 */
#include "driver/iopoll.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SOURCES 8
#define LOG_MAX 256
#define TURN_NS 100
#define SKIP_NONE UINT32_MAX

struct bed;

struct fake {
	struct iopoll_source source;
	struct bed *bed;
	unsigned index;
	unsigned pending, handled, outstanding;
	unsigned skip;        /* completions before the interrupt; SKIP_NONE: it is off */
	unsigned at_rearm;    /* that come just before the interrupt is asked for */
	unsigned per_turn;    /* that come after each turn */
	unsigned off_at_turn; /* the mode is set to OFF in this turn, counted from 1 */
	unsigned switched;
	bool dead;
};

struct bed {
	struct iopoll iopoll;
	struct fake fakes[SOURCES];
	uint64_t now_ns, turn_ns;
	unsigned log[LOG_MAX], log_count; /* index of the source, for each turn */
};

static struct fake *fake_of(struct iopoll_source *source)
{
	return container_of(source, struct fake, source);
}

static uint64_t fake_clock(void *opaque)
{
	return ((struct bed *)opaque)->now_ns;
}

static int fake_poll(struct iopoll_source *source, unsigned budget)
{
	struct fake *fake = fake_of(source);
	struct bed *bed = fake->bed;
	unsigned count = MIN(budget, fake->pending);

	assert_int_equal(fake->skip, SKIP_NONE); /* no interrupts while it is polled */
	assert_true(source->scheduled);
	if (bed->log_count < LOG_MAX)
		bed->log[bed->log_count++] = fake->index;
	bed->now_ns += bed->turn_ns;
	if (fake->dead)
		return -71;
	fake->pending -= count;
	fake->handled += count;
	fake->pending += fake->per_turn;
	if (fake->off_at_turn && --fake->off_at_turn == 0)
		assert_false(iopoll_set_mode(source, IOPOLL_OFF));
	return (int)count;
}

static void fake_disarm(struct iopoll_source *source)
{
	fake_of(source)->skip = SKIP_NONE;
}

static bool fake_rearm(struct iopoll_source *source, unsigned skip)
{
	struct fake *fake = fake_of(source);

	fake->pending += fake->at_rearm;
	fake->at_rearm = 0;
	fake->skip = skip;
	return fake->pending > skip;
}

static unsigned fake_in_flight(struct iopoll_source *source)
{
	return fake_of(source)->outstanding;
}

static void fake_switched(struct iopoll_source *source)
{
	assert_false(source->scheduled);
	fake_of(source)->switched++;
}

static const struct iopoll_ops fake_ops = {
	.poll = fake_poll,
	.disarm = fake_disarm,
	.rearm = fake_rearm,
	.in_flight = fake_in_flight,
	.switched = fake_switched,
};

static void bed_init(struct bed *bed, const struct iopoll_params *params, unsigned sources,
		     enum iopoll_mode mode)
{
	struct iopoll_params full = *params;

	full.clock = fake_clock;
	full.opaque = bed;
	*bed = (struct bed){ .now_ns = 1000000, .turn_ns = TURN_NS };
	iopoll_init(&bed->iopoll, &full);
	for (unsigned i = 0; i < sources; i++) {
		bed->fakes[i] = (struct fake){ .bed = bed, .index = i };
		iopoll_add(&bed->iopoll, &bed->fakes[i].source, &fake_ops, mode);
	}
}

/* The device completes count requests; it interrupts as it was asked to, once. */
static void complete(struct bed *bed, unsigned index, unsigned count)
{
	struct fake *fake = &bed->fakes[index];
	unsigned before = fake->pending;

	fake->pending += count;
	if (fake->skip != SKIP_NONE && before <= fake->skip && fake->pending > fake->skip) {
		fake->skip = SKIP_NONE;
		iopoll_schedule(&bed->iopoll, &fake->source);
	}
}

/* An interrupt, whatever was asked for. */
static void wake(struct bed *bed, unsigned index, unsigned pending)
{
	bed->fakes[index].pending = pending;
	iopoll_schedule(&bed->iopoll, &bed->fakes[index].source);
}

/* As a reaper does it; the number of passes. */
static unsigned run_until_idle(struct bed *bed)
{
	for (unsigned passes = 1; passes < 10000; passes++)
		if (iopoll_run(&bed->iopoll) == IOPOLL_IDLE)
			return passes;
	fail_msg("never idle");
	return 0;
}

static void assert_log(const struct bed *bed, const char *expected)
{
	char text[LOG_MAX + 1] = "";

	for (unsigned i = 0; i < bed->log_count; i++)
		text[i] = (char)('0' + bed->log[i]);
	assert_string_equal(text, expected);
}

/* ---- turns ---- */

struct order_case {
	const char *name;
	unsigned weight, budget;
	unsigned pending[4];
	const char *turns;
	unsigned passes;
};

/* A turn that handled exactly its weight is a full one: there is another, which finds nothing. */
static const struct order_case order_cases[] = {
	{ "one, short", 4, 16, { 3 }, "0", 1 },
	{ "one, exactly its weight", 4, 16, { 4 }, "00", 1 },
	{ "one, several turns", 4, 16, { 10 }, "000", 1 },
	{ "round robin", 2, 64, { 5, 3, 1 }, "012010", 1 },
	{ "a long one keeps nobody waiting", 2, 64, { 9, 1, 1 }, "0120000", 1 },
	{ "the budget ends a pass, the order goes on", 4, 8, { 8, 8, 8 }, "012012012", 4 },
	{ "weight 1", 1, 64, { 2, 2 }, "010101", 1 },
	{ "a weight above the budget is the budget", 64, 4, { 6, 2 }, "010", 3 },
	{ "nothing there: a spurious interrupt", 4, 16, { 0, 1 }, "01", 1 },
};

static void test_run_when_sources_are_ready_then_they_take_turns(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(order_cases); i++) {
		const struct order_case *it = &order_cases[i];
		const struct iopoll_params params = { .weight = it->weight,
						      .pass_budget = it->budget };
		struct bed bed;
		unsigned passes;

		print_message("%s\n", it->name);
		bed_init(&bed, &params, 4, IOPOLL_ON);
		for (unsigned k = 0; k < 4; k++) {
			bed.fakes[k].pending = it->pending[k];
			if (k < strlen(it->turns) && strchr(it->turns, (char)('0' + k)))
				iopoll_schedule(&bed.iopoll, &bed.fakes[k].source);
		}
		passes = run_until_idle(&bed);
		assert_log(&bed, it->turns);
		assert_int_equal(passes, it->passes);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(bed.fakes[k].handled, it->pending[k]);
	}
}

static void test_schedule_when_scheduled_already_then_nothing_changes(void **state)
{
	const struct iopoll_params params = { .weight = 4 };
	struct bed bed;

	bed_init(&bed, &params, 1, IOPOLL_ON);
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_IDLE);
	bed.fakes[0].pending = 1;
	for (unsigned i = 0; i < 5; i++)
		iopoll_schedule(&bed.iopoll, &bed.fakes[0].source);
	assert_int_equal(bed.iopoll.ready, 1);
	run_until_idle(&bed);
	assert_log(&bed, "0");
	assert_int_equal(bed.fakes[0].source.counts.interrupts, 1);
}

static void test_run_when_sources_never_get_empty_then_shares_are_equal(void **state)
{
	const struct iopoll_params params = { .weight = 8, .pass_budget = 100 };
	struct bed bed;

	bed_init(&bed, &params, SOURCES, IOPOLL_ON);
	for (unsigned i = 0; i < SOURCES; i++) {
		bed.fakes[i].pending = 8 + i * 1000;
		bed.fakes[i].per_turn = 8;
		iopoll_schedule(&bed.iopoll, &bed.fakes[i].source);
	}
	for (unsigned pass = 0; pass < 500; pass++) {
		unsigned least = UINT32_MAX, most = 0;

		assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_MORE);
		for (unsigned i = 0; i < SOURCES; i++) {
			least = MIN(least, bed.fakes[i].handled);
			most = MAX(most, bed.fakes[i].handled);
		}
		assert_in_range(most - least, 0, 8); /* one turn */
	}
}

static void test_run_when_the_slice_is_over_then_the_pass_ends(void **state)
{
	const struct iopoll_params params = { .weight = 1,
					      .pass_budget = 1000,
					      .slice_ns = 10 * TURN_NS };
	struct bed bed;

	bed_init(&bed, &params, 2, IOPOLL_ON);
	for (unsigned i = 0; i < 2; i++) {
		wake(&bed, i, 100);
	}
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_MORE);
	assert_int_equal(bed.log_count, 10);
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_MORE);
	assert_int_equal(bed.log_count, 20);
	assert_int_equal(bed.fakes[0].handled, 10);
	assert_int_equal(bed.fakes[1].handled, 10);
}

static void test_run_when_a_pass_ends_then_it_took_no_more_than_the_budget(void **state)
{
	const struct iopoll_params params = { .weight = 7, .pass_budget = 30 };
	struct bed bed;

	bed_init(&bed, &params, 3, IOPOLL_ON);
	for (unsigned i = 0; i < 3; i++) {
		wake(&bed, i, 1000);
	}
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_MORE);
	assert_int_equal(bed.fakes[0].handled + bed.fakes[1].handled + bed.fakes[2].handled, 28);
}

/* ---- the way to sleep ---- */

static void test_rearm_when_completions_come_just_then_then_they_are_found(void **state)
{
	static const enum iopoll_mode modes[] = { IOPOLL_OFF, IOPOLL_ON, IOPOLL_ADAPTIVE };

	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		const struct iopoll_params params = { .weight = 4 };
		struct bed bed;

		bed_init(&bed, &params, 1, modes[i]);
		bed.fakes[0].pending = 1;
		bed.fakes[0].at_rearm = 6;
		iopoll_schedule(&bed.iopoll, &bed.fakes[0].source);
		run_until_idle(&bed);
		assert_int_equal(bed.fakes[0].handled, 7);
		assert_int_equal(bed.fakes[0].source.counts.rearm_races, 1);
		assert_int_equal(bed.fakes[0].skip, 0); /* armed */
		complete(&bed, 0, 1);
		run_until_idle(&bed);
		assert_int_equal(bed.fakes[0].handled, 8);
	}
}

static void test_poll_when_the_source_is_dead_then_it_leaves_the_round(void **state)
{
	const struct iopoll_params params = { .weight = 4 };
	struct bed bed;

	bed_init(&bed, &params, 2, IOPOLL_ON);
	bed.fakes[0].dead = true;
	bed.fakes[1].pending = 9;
	iopoll_schedule(&bed.iopoll, &bed.fakes[0].source);
	iopoll_schedule(&bed.iopoll, &bed.fakes[1].source);
	run_until_idle(&bed);
	assert_log(&bed, "0111");
	assert_false(bed.fakes[0].source.scheduled);
	assert_int_equal(bed.fakes[0].skip, SKIP_NONE); /* and is not armed */
}

static void test_remove_when_scheduled_then_the_others_keep_their_order(void **state)
{
	const struct iopoll_params params = { .weight = 4 };
	struct bed bed;

	bed_init(&bed, &params, 4, IOPOLL_ON);
	for (unsigned i = 0; i < 4; i++)
		iopoll_schedule(&bed.iopoll, &bed.fakes[i].source);
	iopoll_remove(&bed.iopoll, &bed.fakes[2].source);
	run_until_idle(&bed);
	assert_log(&bed, "013");
	iopoll_remove(&bed.iopoll, &bed.fakes[0].source);
	iopoll_schedule(&bed.iopoll, &bed.fakes[3].source);
	run_until_idle(&bed);
	assert_log(&bed, "0133");
}

/* ---- modes ---- */

static void test_schedule_when_off_then_it_drains_at_once(void **state)
{
	const struct iopoll_params params = { .weight = 4, .pass_budget = 8 };
	struct bed bed;

	bed_init(&bed, &params, 2, IOPOLL_OFF);
	wake(&bed, 0, 30);
	assert_int_equal(bed.fakes[0].handled, 30);
	assert_false(bed.fakes[0].source.scheduled);
	assert_int_equal(bed.fakes[0].skip, 0);
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_IDLE);
}

static void test_schedule_when_off_and_endless_then_the_thread_gets_away(void **state)
{
	const struct iopoll_params params = { .weight = 4 };
	struct bed bed;

	bed_init(&bed, &params, 1, IOPOLL_OFF);
	bed.fakes[0].pending = 4;
	bed.fakes[0].per_turn = 4;
	iopoll_schedule(&bed.iopoll, &bed.fakes[0].source);
	assert_true(bed.fakes[0].source.scheduled);
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_MORE);
	bed.fakes[0].per_turn = 0;
	assert_int_equal(run_until_idle(&bed), 1);
	assert_int_equal(bed.fakes[0].pending, 0);
	assert_int_equal(bed.fakes[0].skip, 0);
}

static void test_switch_off_when_scheduled_then_it_is_drained_and_told_once(void **state)
{
	const struct iopoll_params params = { .weight = 4, .pass_budget = 8 };
	struct bed bed;

	bed_init(&bed, &params, 2, IOPOLL_ON);
	for (unsigned i = 0; i < 2; i++) {
		wake(&bed, i, 50);
	}
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_MORE);
	bed.fakes[0].at_rearm = 5;
	assert_false(iopoll_set_mode(&bed.fakes[0].source, IOPOLL_OFF));
	assert_int_equal(bed.fakes[0].switched, 0);
	iopoll_run(&bed.iopoll);
	assert_int_equal(bed.fakes[0].switched, 1);
	assert_int_equal(bed.fakes[0].handled, 55);
	assert_int_equal(bed.fakes[0].skip, 0);
	run_until_idle(&bed);
	assert_int_equal(bed.fakes[1].handled, 50);
	assert_int_equal(bed.fakes[0].switched, 1);
}

static void test_switch_off_when_in_its_turn_then_that_turn_drains(void **state)
{
	const struct iopoll_params params = { .weight = 4 };
	struct bed bed;

	bed_init(&bed, &params, 1, IOPOLL_ADAPTIVE);
	bed.fakes[0].pending = 50;
	bed.fakes[0].off_at_turn = 2;
	iopoll_schedule(&bed.iopoll, &bed.fakes[0].source);
	assert_int_equal(run_until_idle(&bed), 1);
	assert_int_equal(bed.fakes[0].handled, 50);
	assert_int_equal(bed.fakes[0].switched, 1);
	assert_int_equal(bed.fakes[0].skip, 0);
}

static void test_switch_on_when_off_then_interrupts_schedule(void **state)
{
	const struct iopoll_params params = { .weight = 4 };
	struct bed bed;

	bed_init(&bed, &params, 1, IOPOLL_OFF);
	iopoll_schedule(&bed.iopoll, &bed.fakes[0].source); /* arms */
	assert_true(iopoll_set_mode(&bed.fakes[0].source, IOPOLL_ON));
	assert_true(iopoll_set_mode(&bed.fakes[0].source, IOPOLL_OFF)); /* not scheduled: at once */
	assert_true(iopoll_set_mode(&bed.fakes[0].source, IOPOLL_ON));
	assert_int_equal(bed.fakes[0].switched, 0);
	complete(&bed, 0, 3);
	assert_int_equal(bed.fakes[0].handled, 0);
	run_until_idle(&bed);
	assert_int_equal(bed.fakes[0].handled, 3);
}

/* ---- adaptive ---- */

static const struct iopoll_params adaptive = {
	.weight = 4,
	.window = { .spin_ns_max = 10000, .coalesce_ns_max = 50000, .coalesce_max = 8 },
};

static void test_adaptive_when_completions_are_dense_then_it_polls_on(void **state)
{
	struct bed bed;

	bed_init(&bed, &adaptive, 1, IOPOLL_ADAPTIVE);
	bed.fakes[0].outstanding = 16;
	wake(&bed, 0, 2);
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_SPIN);
	assert_int_equal(bed.fakes[0].skip, SKIP_NONE);
	bed.fakes[0].pending = bed.fakes[0].per_turn = 1; /* no interrupt, and no end */
	for (unsigned i = 1; i < 9; i++) {
		assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_SPIN);
		assert_int_equal(bed.fakes[0].handled, 2 + i); /* others are looked at after each */
	}
}

static void test_adaptive_when_polling_on_was_in_vain_then_it_sleeps_with_a_deadline(void **state)
{
	struct bed bed;
	uint64_t deadline;

	bed_init(&bed, &adaptive, 2, IOPOLL_ADAPTIVE);
	bed.fakes[0].outstanding = 16;
	wake(&bed, 0, 2);
	run_until_idle(&bed);
	assert_int_equal(bed.fakes[0].skip, 7);
	deadline = iopoll_deadline_ns(&bed.iopoll);
	assert_in_range(deadline, bed.now_ns + 1, bed.now_ns + 50000);
	complete(&bed, 0, 3); /* too few for an interrupt */
	iopoll_expire(&bed.iopoll, deadline - 1);
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_IDLE);
	bed.now_ns = deadline;
	iopoll_expire(&bed.iopoll, deadline);
	run_until_idle(&bed);
	assert_int_equal(bed.fakes[0].handled, 5);
	assert_int_equal(bed.fakes[0].source.counts.deadlines, 1);
}

static void test_adaptive_when_nothing_is_in_flight_then_it_sleeps_at_once(void **state)
{
	struct bed bed;

	bed_init(&bed, &adaptive, 1, IOPOLL_ADAPTIVE);
	wake(&bed, 0, 2);
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_IDLE);
	assert_log(&bed, "0");
	assert_int_equal(bed.fakes[0].skip, 0);
	assert_true(iopoll_deadline_ns(&bed.iopoll) == UINT64_MAX);
}

static void test_adaptive_when_one_is_watched_then_a_busy_one_is_served(void **state)
{
	struct bed bed;

	bed_init(&bed, &adaptive, 2, IOPOLL_ADAPTIVE);
	bed.fakes[0].outstanding = bed.fakes[1].outstanding = 16;
	bed.fakes[0].pending = 1;
	bed.fakes[1].pending = 12;
	for (unsigned i = 0; i < 2; i++)
		iopoll_schedule(&bed.iopoll, &bed.fakes[i].source);
	assert_int_equal(iopoll_run(&bed.iopoll), IOPOLL_SPIN);
	assert_int_equal(bed.fakes[1].handled, 12);
}

/* ---- everything at once ---- */

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* Completions at any moment, also during re-arming, deadlines, and modes that change: all of them are handled. */
static void play(uint32_t seed)
{
	const struct iopoll_params params = { .weight = 1 + seed % 9,
					      .pass_budget = 1 + seed % 50,
					      .window = adaptive.window };
	unsigned given[SOURCES] = { 0 };
	struct bed bed;

	bed_init(&bed, &params, SOURCES, (enum iopoll_mode)(seed % 3));
	for (unsigned i = 0; i < SOURCES; i++)
		iopoll_schedule(&bed.iopoll, &bed.fakes[i].source);
	for (unsigned step = 0; step < 400; step++) {
		unsigned index = next_random(&seed) % SOURCES, some = next_random(&seed) % 12;
		struct fake *fake = &bed.fakes[index];

		fake->outstanding = next_random(&seed) % 40;
		switch (next_random(&seed) % 6) {
		case 0:
		case 1:
			given[index] += some;
			complete(&bed, index, some);
			break;
		case 2:
			given[index] += some;
			fake->at_rearm += some;
			break;
		case 3:
			iopoll_set_mode(&fake->source, (enum iopoll_mode)(some % 3));
			break;
		case 4:
			bed.now_ns += 10000 * (uint64_t)some;
			iopoll_expire(&bed.iopoll, bed.now_ns);
			break;
		default:
			iopoll_run(&bed.iopoll);
		}
	}
	run_until_idle(&bed);
	bed.now_ns += 1000000;
	iopoll_expire(&bed.iopoll, bed.now_ns);
	run_until_idle(&bed);
	for (unsigned i = 0; i < SOURCES; i++) {
		unsigned late = bed.fakes[i].at_rearm; /* nobody re-armed in between */

		bed.fakes[i].at_rearm = 0;
		complete(&bed, i, late);
	}
	run_until_idle(&bed);
	bed.now_ns += 1000000;
	iopoll_expire(&bed.iopoll, bed.now_ns);
	run_until_idle(&bed);
	for (unsigned i = 0; i < SOURCES; i++)
		assert_int_equal(bed.fakes[i].handled, given[i]);
}

static void test_run_when_anything_happens_then_nothing_is_lost(void **state)
{
	for (uint32_t seed = 1; seed <= 3000; seed++)
		play(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_when_sources_are_ready_then_they_take_turns),
		cmocka_unit_test(test_schedule_when_scheduled_already_then_nothing_changes),
		cmocka_unit_test(test_run_when_sources_never_get_empty_then_shares_are_equal),
		cmocka_unit_test(test_run_when_the_slice_is_over_then_the_pass_ends),
		cmocka_unit_test(test_run_when_a_pass_ends_then_it_took_no_more_than_the_budget),
		cmocka_unit_test(test_rearm_when_completions_come_just_then_then_they_are_found),
		cmocka_unit_test(test_poll_when_the_source_is_dead_then_it_leaves_the_round),
		cmocka_unit_test(test_remove_when_scheduled_then_the_others_keep_their_order),
		cmocka_unit_test(test_schedule_when_off_then_it_drains_at_once),
		cmocka_unit_test(test_schedule_when_off_and_endless_then_the_thread_gets_away),
		cmocka_unit_test(test_switch_off_when_scheduled_then_it_is_drained_and_told_once),
		cmocka_unit_test(test_switch_off_when_in_its_turn_then_that_turn_drains),
		cmocka_unit_test(test_switch_on_when_off_then_interrupts_schedule),
		cmocka_unit_test(test_adaptive_when_completions_are_dense_then_it_polls_on),
		cmocka_unit_test(
			test_adaptive_when_polling_on_was_in_vain_then_it_sleeps_with_a_deadline),
		cmocka_unit_test(test_adaptive_when_nothing_is_in_flight_then_it_sleeps_at_once),
		cmocka_unit_test(test_adaptive_when_one_is_watched_then_a_busy_one_is_served),
		cmocka_unit_test(test_run_when_anything_happens_then_nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
