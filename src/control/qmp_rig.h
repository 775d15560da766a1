/* SPDX-License-Identifier: MIT */
/* For tests: a QMP server with handlers for all commands, and clients in memory. */
#ifndef RINGLANE_CONTROL_QMP_RIG_H
#define RINGLANE_CONTROL_QMP_RIG_H

#include "control/qmp.h"

#define RIG_HANDLERS_MAX 64

/* Commands and answers. LATER is answered by the test, CLOSE closes rig.victim, ECHO returns its value, the others return {}. */
#define HELLO "{\"execute\": \"qmp_capabilities\"}"
#define QUIT "{\"execute\": \"quit\"}"
#define DONE "{\"return\": {}}\r\n"
#define ERROR(class, sentence) \
	"{\"error\": {\"class\": \"" class "\", \"desc\": \"" sentence "\"}}\r\n"
#define ECHO(value)                                                                                          \
	"{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"p\", \"property\": \"q\", \"value\": " value \
	"}}"
#define LATER \
	"{\"execute\": \"blockdev-add\", \"id\": \"later\", \"arguments\": {\"driver\": \"null-co\"}}"
#define CLOSE \
	"{\"execute\": \"object-add\", \"arguments\": {\"qom-type\": \"iothread\", \"id\": \"t\"}}"

struct client {
	struct qmp_session *session;
	unsigned outputs; /* how often it was told of output */
	bool closes;      /* when told */
};

struct rig {
	struct qmp_server *server;
	struct qmp_handler handlers[RIG_HANDLERS_MAX];
	unsigned count;
	struct qmp_call *waiting[8]; /* answered by the test */
	unsigned waits, ran;         /* calls to answer; calls answered at once */
	struct client *victim;
};

extern struct rig rig;

int rig_setup(void **state);
int rig_teardown(void **state);
#define RIG_TEST(name) cmocka_unit_test_setup_teardown(test_##name, rig_setup, rig_teardown)

/* open: negotiated, connect: not yet. */
void connect_client(struct client *client);
void open_client(struct client *client);
void close_client(struct client *client);
void feed(struct client *client, const char *text);
/* All that waits, at once; valid until the next call. */
const char *receive(struct client *client);
void expect(struct client *client, const char *command, const char *answer);

#endif
