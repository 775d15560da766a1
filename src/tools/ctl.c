// SPDX-License-Identifier: MIT
/* `ringlane ctl`: one command to a control socket, or those that come on the standard input; events. The main thread. */
#include "base/clock.h"
#include "control/client.h"
#include "control/json_stream.h"
#include "tools/ctl_arguments.h"
#include "tools/options.h"
#include "tools/tools.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_NS (30 * NS_PER_S)
#define INPUT_MAX (1u << 20)

struct ctl_options {
	bool events;
	const char *wait_event;
	uint64_t timeout_ns;
};

static const struct option_spec specs[] = {
	{ .name = "events",
	  .help = "print events as they come, a line for each, until interrupted",
	  .kind = OPTION_FLAG,
	  .offset = offsetof(struct ctl_options, events) },
	{ .name = "wait-event",
	  .value = "NAME",
	  .help = "end with this event, and print it",
	  .kind = OPTION_TEXT,
	  .offset = offsetof(struct ctl_options, wait_event) },
	{ .name = "timeout",
	  .value = "SECONDS",
	  .help = "longest wait for an answer or an awaited event, 0: for ever (30)",
	  .kind = OPTION_SECONDS,
	  .offset = offsetof(struct ctl_options, timeout_ns) },
	{ .name = NULL },
};

static const struct option_table table = {
	.command = "ringlane ctl",
	.positional = "SOCKET [COMMAND [KEY=VALUE...]]",
	.words_max = OPTIONS_WORDS_MAX,
	.summary =
		"Sends a command to the control socket of ringlaned and prints what it returns, as JSON. Without one,\n"
		"commands are read from the standard input: {\"execute\": COMMAND, \"arguments\": {...}}.",
	.specs = specs,
	.notes =
		"A key may have dots (addr.path=...) and numbers of list elements (vqs.0=...); a value may be JSON.\n"
		"ringlane ctl SOCKET query-commands shows the commands.",
};

/* ---- printing ---- */

static int print_value(const json_t *value, size_t flags, struct error *error)
{
	if (json_dumpf(value, stdout, flags | JSON_ENCODE_ANY) < 0 || putchar('\n') == EOF ||
	    fflush(stdout) != 0)
		return error_set(error, -EIO, "cannot write");
	return 0;
}

static bool is_event(const json_t *event, const char *name)
{
	const char *word = json_string_value(json_object_get(event, "event"));

	return name && word && !strcmp(word, name);
}

static uint64_t left_until(uint64_t deadline)
{
	uint64_t now = clock_ns();

	return deadline > now ? deadline - now : 1;
}

/* Until the awaited one has come; none: for ever. */
static int print_events(struct qmp_client *client, const struct ctl_options *options,
			struct error *error)
{
	bool is_limited = options->wait_event && options->timeout_ns;
	uint64_t deadline = clock_ns() + options->timeout_ns;
	bool is_awaited = false;
	json_t *event;
	int result = 0;

	while (result == 0 && !is_awaited) {
		result = qmp_client_event(client, is_limited ? left_until(deadline) : 0, &event,
					  error);
		if (result == -ETIMEDOUT)
			return error_set(error, result, "no event %s in time", options->wait_event);
		if (result)
			return result;
		is_awaited = is_event(event, options->wait_event);
		if (is_awaited || options->events)
			result = print_value(event, 0, error);
		json_decref(event);
	}
	return result;
}

/* ---- one command ---- */

/* A server that does not answer query-qmp-schema is no reason to give up: types are guessed. */
static int make_arguments(struct qmp_client *client, const struct options_parsed *parsed,
			  json_t **ret_arguments, struct error *error)
{
	const char *command = parsed->words[0];
	json_t *schema = NULL;
	int result = 0;

	*ret_arguments = NULL;
	if (parsed->word_count < 2)
		return 0;
	result = qmp_client_execute(client, "query-qmp-schema", NULL, &schema, error);
	if (result && result != -EREMOTEIO)
		return result;
	result = ctl_arguments_make(schema, command, parsed->words + 1, parsed->word_count - 1,
				    ret_arguments, error);
	json_decref(schema);
	return result;
}

static int run_command(struct qmp_client *client, const struct options_parsed *parsed,
		       struct error *error)
{
	json_t *arguments, *value;
	int result = make_arguments(client, parsed, &arguments, error);

	if (result)
		return result;
	result = qmp_client_execute(client, parsed->words[0], arguments, &value, error);
	if (result)
		return result;
	result = print_value(value, JSON_INDENT(2), error);
	json_decref(value);
	return result;
}

/* ---- commands from the standard input ---- */

/* Prints the answer, an error too. */
static int run_request(struct qmp_client *client, json_t *request, bool *ret_refused,
		       struct error *error)
{
	json_t *answer;
	int result = qmp_client_call(client, request, &answer, error);

	if (result)
		return result;
	if (json_object_get(answer, "error"))
		*ret_refused = true;
	result = print_value(answer, 0, error);
	json_decref(answer);
	return result;
}

static int run_requests(struct qmp_client *client, struct json_stream *input, bool *ret_refused,
			struct error *error)
{
	json_t *request;
	int result = json_stream_next(input, &request, error);

	while (result > 0) {
		result = run_request(client, request, ret_refused, error);
		if (result == 0)
			result = json_stream_next(input, &request, error);
	}
	return result;
}

static int run_input(struct qmp_client *client, struct json_stream *input, struct error *error)
{
	bool is_refused = false;
	char bytes[4096];
	ssize_t got = 1;
	int result = 0;

	while (got && result == 0) {
		got = read(STDIN_FILENO, bytes, sizeof(bytes));
		if (got < 0)
			return error_set(error, -errno, "cannot read the standard input: %s",
					 strerrordesc_np(errno));
		/* A last line may have no end. */
		result = got ? json_stream_append(input, bytes, (size_t)got) :
			       json_stream_append(input, "\n", 1);
		if (result)
			return error_set(error, result, "out of memory");
		result = run_requests(client, input, &is_refused, error);
	}
	if (result == 0 && json_stream_pending(input))
		return error_set(error, -EINVAL, "the standard input ends within a command");
	if (result == 0 && is_refused)
		return error_set(error, -EREMOTEIO, "a command was refused");
	return result;
}

static int run_stdin(struct qmp_client *client, struct error *error)
{
	struct json_stream input;
	int result;

	json_stream_init(&input, INPUT_MAX);
	result = run_input(client, &input, error);
	json_stream_fini(&input);
	return result;
}

/* ---- all of it ---- */

static int run(const struct options_parsed *parsed, const struct ctl_options *options,
	       struct error *error)
{
	bool wants_events = options->events || options->wait_event;
	struct qmp_client *client;
	int result = qmp_client_open(parsed->positional, options->timeout_ns, &client, error);

	if (result)
		return result;
	if (parsed->word_count)
		result = run_command(client, parsed, error);
	else if (!wants_events)
		result = run_stdin(client, error);
	if (result == 0 && wants_events)
		result = print_events(client, options, error);
	qmp_client_close(client);
	return result;
}

int tool_ctl(int argc, char **argv)
{
	struct ctl_options options = { .timeout_ns = TIMEOUT_NS };
	struct options_parsed parsed;
	struct error error = { 0 };
	int result = options_parse(&table, argc, argv, &options, &parsed, &error);

	if (result == 1) {
		options_print_help(&table);
		return 0;
	}
	if (result == 0 && !parsed.positional)
		result = error_set(&error, -EINVAL, "a SOCKET is wanted, see --help");
	if (result == 0)
		result = run(&parsed, &options, &error);
	return result ? tool_fail(table.command, &error) : 0;
}
