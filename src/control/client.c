/* SPDX-License-Identifier: MIT */
/* Time limits are the socket's (SO_RCVTIMEO, SO_SNDTIMEO), set anew before each call that may wait. See client.h. */
#include "control/client.h"

#include "base/clock.h"
#include "base/fd.h"
#include "control/json_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define GREETING_TIMEOUT_NS (10 * NS_PER_S)

struct qmp_client {
	int fd;
	uint64_t timeout_ns;
	struct json_stream input;
	json_t *events; /* that came while an answer was awaited */
};

static uint64_t deadline_after(uint64_t timeout_ns)
{
	return timeout_ns ? clock_ns() + timeout_ns : UINT64_MAX;
}

/* The next call on the socket waits no longer than to the deadline. */
static int set_limit(int fd, int option, uint64_t deadline)
{
	uint64_t now = clock_ns(), left = deadline - now;
	struct timeval limit = { 0 }; /* none */

	if (deadline <= now)
		return -ETIMEDOUT;
	if (deadline != UINT64_MAX) {
		limit.tv_sec = (time_t)(left / NS_PER_S);
		limit.tv_usec = (suseconds_t)(left % NS_PER_S / NS_PER_US + 1);
		limit.tv_usec = MIN(limit.tv_usec, 999999);
	}
	return setsockopt(fd, SOL_SOCKET, option, &limit, sizeof(limit)) < 0 ? -errno : 0;
}

/* ---- connecting ---- */

static int refuse_connection(const char *path, int code, struct error *error)
{
	switch (code) {
	case -ENOENT:
		return error_set(error, code, "there is no socket '%s'", path);
	case -ECONNREFUSED:
		return error_set(error, code, "nobody listens on '%s'", path);
	case -EAGAIN:
	case -ETIMEDOUT:
		return error_set(error, -ETIMEDOUT, "nobody accepts connections on '%s'", path);
	default:
		return error_set(error, code, "cannot connect to '%s': %s", path,
				 strerrordesc_np(-code));
	}
}

static int connect_to(const char *path, uint64_t timeout_ns, int *ret_fd, struct error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	fd_auto fd = -1;
	int result;

	if (!*path || strlen(path) >= sizeof(address.sun_path))
		return error_set(error, -ENAMETOOLONG, "a socket's path has 1 to %zu bytes",
				 sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, -errno, "cannot make a socket: %s", strerrordesc_np(errno));
	result = set_limit(fd, SO_SNDTIMEO, deadline_after(timeout_ns));
	if (result == 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		result = -errno;
	if (result)
		return refuse_connection(path, result, error);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* ---- one message ---- */

static int send_all(struct qmp_client *client, const char *bytes, size_t size, struct error *error)
{
	uint64_t deadline = deadline_after(client->timeout_ns);
	ssize_t sent;
	int result;

	while (size) {
		result = set_limit(client->fd, SO_SNDTIMEO, deadline);
		sent = result ? -1 : send(client->fd, bytes, size, MSG_NOSIGNAL);
		if (sent < 0 && !result && errno == EINTR)
			continue;
		if (sent < 0)
			result = result ? result : -errno;
		if (result == -EAGAIN || result == -ETIMEDOUT)
			return error_set(error, -ETIMEDOUT, "the server does not read");
		if (result)
			return error_set(error, result, "cannot send: %s",
					 strerrordesc_np(-result));
		bytes += sent;
		size -= (size_t)sent;
	}
	return 0;
}

/* 1: there is more input. */
static int receive_some(struct qmp_client *client, uint64_t deadline, struct error *error)
{
	char bytes[16384];
	int result = set_limit(client->fd, SO_RCVTIMEO, deadline);
	ssize_t got = result ? -1 : recv(client->fd, bytes, sizeof(bytes), 0);

	if (got < 0 && !result && errno == EINTR)
		return 1;
	if (got < 0)
		result = result ? result : -errno;
	if (result == -EAGAIN || result == -ETIMEDOUT)
		return error_set(error, -ETIMEDOUT, "no answer in time");
	if (got == 0 || result == -ECONNRESET)
		return error_set(error, -ECONNRESET, "the server has closed the connection");
	if (result)
		return error_set(error, result, "cannot receive: %s", strerrordesc_np(-result));
	result = json_stream_append(&client->input, bytes, (size_t)got);
	if (result)
		return error_set(error, result, "out of memory");
	if (json_stream_pending(&client->input) > QMP_CLIENT_VALUE_MAX)
		return error_set(error, -EPROTO, "the answer is too long");
	return 1;
}

/* An object, the caller's. */
static int receive_message(struct qmp_client *client, uint64_t deadline, json_t **ret_message,
			   struct error *error)
{
	json_t *message = NULL;
	int result;

	while ((result = json_stream_next(&client->input, &message, error)) == 0) {
		result = receive_some(client, deadline, error);
		if (result < 0)
			return result;
	}
	if (result < 0 || !json_is_object(message)) {
		json_decref(result < 0 ? NULL : message);
		return error_set(error, -EPROTO, "what listens there does not speak QMP");
	}
	*ret_message = message;
	return 0;
}

/* ---- commands ---- */

static void keep_event(struct qmp_client *client, json_t *event)
{
	if (json_array_size(client->events) < QMP_CLIENT_EVENTS_MAX)
		json_array_append_new(client->events, event);
	else
		json_decref(event);
}

static int receive_answer(struct qmp_client *client, json_t **ret_answer, struct error *error)
{
	uint64_t deadline = deadline_after(client->timeout_ns);
	json_t *message;
	int result;

	while ((result = receive_message(client, deadline, &message, error)) == 0) {
		if (json_object_get(message, "return") || json_object_get(message, "error")) {
			*ret_answer = message;
			return 0;
		}
		keep_event(client, message);
	}
	return result;
}

int qmp_client_call(struct qmp_client *client, json_t *request, json_t **ret_answer,
		    struct error *error)
{
	char *text = json_dumps(request, JSON_COMPACT | JSON_ENCODE_ANY);
	size_t size = text ? strlen(text) : 0;
	int result;

	json_decref(request);
	if (!text)
		return error_set(error, -ENOMEM, "out of memory");
	text[size] = '\n'; /* in the place of the terminator */
	result = send_all(client, text, size + 1, error);
	free(text);
	return result ? result : receive_answer(client, ret_answer, error);
}

int qmp_client_execute(struct qmp_client *client, const char *command, json_t *arguments,
		       json_t **ret_value, struct error *error)
{
	json_t *request = json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments);
	json_t *answer, *refusal;
	const char *sentence;
	int result;

	if (!request)
		return error_set(error, -EINVAL, "the command is no UTF-8");
	result = qmp_client_call(client, request, &answer, error);
	if (result)
		return result;
	refusal = json_object_get(answer, "error");
	sentence = json_string_value(json_object_get(refusal, "desc"));
	if (refusal)
		result = error_set(error, -EREMOTEIO, "%s",
				   sentence ? sentence : "an error without a sentence");
	else
		*ret_value = json_incref(json_object_get(answer, "return"));
	json_decref(answer);
	return result;
}

int qmp_client_event(struct qmp_client *client, uint64_t timeout_ns, json_t **ret_event,
		     struct error *error)
{
	uint64_t deadline = deadline_after(timeout_ns);
	json_t *message;
	int result;

	if (json_array_size(client->events)) {
		*ret_event = json_incref(json_array_get(client->events, 0));
		json_array_remove(client->events, 0);
		return 0;
	}
	while ((result = receive_message(client, deadline, &message, error)) == 0) {
		if (json_object_get(message, "event")) {
			*ret_event = message;
			return 0;
		}
		json_decref(message);
	}
	return result;
}

/* ---- life ---- */

static int negotiate(struct qmp_client *client, struct error *error)
{
	uint64_t limit = client->timeout_ns ? MIN(client->timeout_ns, GREETING_TIMEOUT_NS) :
					      GREETING_TIMEOUT_NS;
	json_t *greeting, *value;
	int result = receive_message(client, deadline_after(limit), &greeting, error);
	bool is_qmp = result == 0 && json_is_object(json_object_get(greeting, "QMP"));

	if (result == -ETIMEDOUT)
		return error_set(error, result, "no greeting; is that a control socket?");
	if (result)
		return result;
	json_decref(greeting);
	if (!is_qmp)
		return error_set(error, -EPROTO, "what listens there does not speak QMP");
	result = qmp_client_execute(client, "qmp_capabilities", NULL, &value, error);
	if (result == 0)
		json_decref(value);
	return result;
}

int qmp_client_open(const char *path, uint64_t timeout_ns, struct qmp_client **ret_client,
		    struct error *error)
{
	struct qmp_client *client;
	fd_auto fd = -1;
	int result = connect_to(path, timeout_ns, &fd, error);

	if (result)
		return result;
	client = calloc(1, sizeof(*client));
	if (!client)
		return error_set(error, -ENOMEM, "out of memory");
	*client = (struct qmp_client){ fd, timeout_ns, .events = json_array() };
	fd = -1;
	json_stream_init(&client->input, QMP_CLIENT_VALUE_MAX);
	result = negotiate(client, error);
	if (result) {
		qmp_client_close(client);
		return error_prefix(error, "%s", path);
	}
	*ret_client = client;
	return 0;
}

void qmp_client_close(struct qmp_client *client)
{
	if (!client)
		return;
	fd_close(&client->fd);
	json_stream_fini(&client->input);
	json_decref(client->events);
	free(client);
}
