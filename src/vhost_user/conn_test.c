// SPDX-License-Identifier: MIT
/* Framing: streams cut anywhere, descriptors kept or closed, peers that go or do not read. */
#include "vhost_user/conn.h"

#include "base/clock.h"
#include "base/fd.h"
#include "vhost_user/fake_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct link {
	struct vhu_conn a, b;
	unsigned fds_before;
};

static struct link the_link;

static int link_make(void **state)
{
	int pair[2];

	the_link.fds_before = fake_count_fds();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vhu_conn_init(&the_link.a, pair[0]);
	vhu_conn_init(&the_link.b, pair[1]);
	*state = &the_link;
	return 0;
}

static int link_close(void **state)
{
	vhu_conn_fini(&the_link.a);
	vhu_conn_fini(&the_link.b);
	return fake_count_fds() == the_link.fds_before ? 0 : -1;
}

/* Raw bytes with descriptors, as no honest peer sends them. */
static void send_raw(int socket, const void *bytes, size_t size, const int *fds, unsigned count)
{
	char control[CMSG_SPACE(32 * sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { (void *)bytes, size };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	assert_true(count <= 32);
	if (count > 0) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	assert_int_equal(sendmsg(socket, &header, MSG_NOSIGNAL), size);
}

static size_t message_bytes(const struct vhu_message *message, char bytes[sizeof(*message)])
{
	memcpy(bytes, &message->header, sizeof(message->header));
	memcpy(bytes + sizeof(message->header), &message->payload, message->header.size);
	return sizeof(message->header) + message->header.size;
}

static void test_message_when_dribbled_arrives_whole(void **state)
{
	struct link *link = *state;
	struct vhu_message message = fake_addr(3, FAKE_USER), got;
	char bytes[sizeof(message)];
	size_t size = message_bytes(&message, bytes);
	int fd = fake_event_fd();

	for (size_t i = 0; i < size; i++) {
		assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), 0);
		send_raw(link->a.fd, bytes + i, 1, &fd, i == 0);
	}
	assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), 1);
	assert_memory_equal(&got.header, &message.header, sizeof(got.header));
	assert_memory_equal(&got.payload, &message.payload, message.header.size);
	assert_int_equal(got.fd_count, 1);
	assert_true(fcntl(got.fds[0], F_GETFD) & FD_CLOEXEC);
	vhu_message_close_fds(&got);
	fd_close(&fd);
}

static void test_messages_when_in_one_segment_come_one_by_one(void **state)
{
	struct link *link = *state;
	char bytes[3 * sizeof(struct vhu_message)];
	size_t size = 0;
	struct vhu_message got;

	for (unsigned i = 0; i < 3; i++) {
		struct vhu_message message = fake_u64(VHU_SET_FEATURES, i + 10);

		size += message_bytes(&message, bytes + size);
	}
	send_raw(link->a.fd, bytes, size, NULL, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), 1);
		assert_int_equal(got.payload.u64, i + 10);
	}
	assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), 0);
}

static void test_descriptors_when_sent_back_to_back_stay_with_their_message(void **state)
{
	struct link *link = *state;
	struct vhu_message message, got;

	for (unsigned count = 0; count <= VHU_FDS_MAX; count++) {
		message = fake_u64(VHU_SET_FEATURES, count);
		for (unsigned i = 0; i < count; i++)
			message.fds[message.fd_count++] = fake_event_fd();
		assert_int_equal(vhu_conn_send(&link->a, &message, 0, NULL), 0);
		vhu_message_close_fds(&message);
	}
	for (unsigned count = 0; count <= VHU_FDS_MAX; count++) {
		assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), 1);
		assert_int_equal(got.payload.u64, count);
		assert_int_equal(got.fd_count, count);
		vhu_message_close_fds(&got);
	}
}

static void test_descriptors_when_too_many_end_the_stream_and_are_closed(void **state)
{
	struct link *link = *state;
	struct vhu_message message = fake_u64(VHU_SET_FEATURES, 1), got;
	struct error error = { 0 };
	char bytes[sizeof(message)];
	size_t size = message_bytes(&message, bytes);
	int fds[32];

	for (unsigned i = 0; i < 32; i++)
		fds[i] = fake_event_fd();
	send_raw(link->a.fd, bytes, size, fds, 32);
	for (unsigned i = 0; i < 32; i++)
		fd_close(&fds[i]);
	assert_int_equal(vhu_conn_receive(&link->b, &got, &error), -EPROTO);
	assert_non_null(strstr(error.text, "more file descriptors"));
}

static void test_descriptors_when_one_per_byte_end_the_stream_at_the_ninth(void **state)
{
	struct link *link = *state;
	struct vhu_message message = fake_u64(VHU_SET_FEATURES, 1), got;
	char bytes[sizeof(message)];
	int fd = fake_event_fd();

	message_bytes(&message, bytes);
	for (unsigned i = 0; i <= VHU_FDS_MAX; i++)
		send_raw(link->a.fd, bytes + i, 1, &fd, 1);
	fd_close(&fd);
	assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), -EPROTO);
}

static void test_descriptors_when_the_message_never_ends_are_closed(void **state)
{
	struct link *link = *state;
	int fds[2] = { fake_event_fd(), fake_event_fd() };
	struct vhu_message got;

	send_raw(link->a.fd, "\5\0\0", 3, fds, 2);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), 0);
	assert_int_equal(link->b.in.fd_count, 2); /* closed by link_close, which counts */
}

static void test_header_when_wrong_is_refused_before_the_payload(void **state)
{
	static const struct {
		struct vhu_header header;
		int expected;
	} cases[] = {
		{ { 1, 0, 0 }, -EPROTO },
		{ { 1, 2, 0 }, -EPROTO },
		{ { 1, 3, 0 }, -EPROTO },
		{ { 1, VHU_VERSION, VHU_PAYLOAD_MAX + 1 }, -EMSGSIZE },
		{ { 1, VHU_VERSION, UINT32_MAX }, -EMSGSIZE },
		{ { UINT32_MAX, VHU_VERSION, 0 }, 1 },
		{ { 1, VHU_VERSION | 0xfffffff0, 0 }, 1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vhu_message got;
		struct error error = { 0 };
		int ret;

		link_make(state);
		send_raw(the_link.a.fd, &cases[i].header, sizeof(cases[i].header), NULL, 0);
		ret = vhu_conn_receive(&the_link.b, &got, &error);
		assert_int_equal(ret, cases[i].expected);
		assert_int_equal(error.code, MIN(ret, 0));
		if (i + 1 < ARRAY_SIZE(cases))
			assert_int_equal(link_close(state), 0);
	}
}

static void test_peer_when_it_closes_is_told_by_where(void **state)
{
	struct link *link = *state;
	struct vhu_message got;

	assert_int_equal(write(link->a.fd, "\1", 1), 1);
	fd_close(&link->a.fd);
	assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), -EPROTO);
	link_close(state);
	link_make(state);
	fd_close(&link->a.fd);
	assert_int_equal(vhu_conn_receive(&link->b, &got, NULL), -ECONNRESET);
}

static void test_send_when_the_peer_is_gone_returns_without_a_signal(void **state)
{
	struct link *link = *state;
	struct vhu_message message = fake_u64(VHU_SET_FEATURES, 1);

	fd_close(&link->b.fd);
	assert_int_equal(vhu_conn_send(&link->a, &message, 0, NULL), -ECONNRESET);
}

static void test_send_when_the_peer_does_not_read_gives_up(void **state)
{
	struct link *link = *state;
	struct vhu_message message = vhu_message_make(VHU_GET_CONFIG, VHU_PAYLOAD_MAX), got;
	unsigned sent = 0, received = 0;
	int ret;

	do {
		ret = vhu_conn_send(&link->a, &message, 0, NULL);
	} while (ret == 0 && ++sent < 1000000);
	assert_int_equal(ret, -EAGAIN);
	assert_int_equal(vhu_conn_send(&link->a, &message, clock_ns() + NS_PER_MS, NULL),
			 -ETIMEDOUT);
	/* Nothing of a refused message went out: the stream is still in step. */
	while (vhu_conn_receive(&link->b, &got, NULL) == 1)
		received++;
	assert_int_equal(received, sent);
	assert_int_equal(vhu_conn_send(&link->a, &message, 0, NULL), 0);
}

static void test_receive_until_when_nothing_comes_returns_at_the_deadline(void **state)
{
	struct link *link = *state;
	uint64_t deadline = clock_ns() + 5 * NS_PER_MS;
	struct error error = { 0 };
	struct vhu_message got;

	assert_int_equal(vhu_conn_receive_until(&link->a, deadline, &got, &error), -ETIMEDOUT);
	assert_true(clock_ns() >= deadline);
	assert_int_equal(error.code, -ETIMEDOUT);
}

static void test_request_name_when_unknown_is_null(void **state)
{
	assert_string_equal(vhu_request_name(VHU_REM_MEM_REG), "REM_MEM_REG");
	assert_string_equal(vhu_request_name(VHU_GET_FEATURES), "GET_FEATURES");
	assert_null(vhu_request_name(0));
	assert_null(vhu_request_name(VHU_REQUEST_MAX));
	assert_null(vhu_request_name(UINT32_MAX));
}

#define LINKED(function) cmocka_unit_test_setup_teardown(function, link_make, link_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LINKED(test_message_when_dribbled_arrives_whole),
		LINKED(test_messages_when_in_one_segment_come_one_by_one),
		LINKED(test_descriptors_when_sent_back_to_back_stay_with_their_message),
		LINKED(test_descriptors_when_too_many_end_the_stream_and_are_closed),
		LINKED(test_descriptors_when_one_per_byte_end_the_stream_at_the_ninth),
		LINKED(test_descriptors_when_the_message_never_ends_are_closed),
		LINKED(test_header_when_wrong_is_refused_before_the_payload),
		LINKED(test_peer_when_it_closes_is_told_by_where),
		LINKED(test_send_when_the_peer_is_gone_returns_without_a_signal),
		LINKED(test_send_when_the_peer_does_not_read_gives_up),
		LINKED(test_receive_until_when_nothing_comes_returns_at_the_deadline),
		cmocka_unit_test(test_request_name_when_unknown_is_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
