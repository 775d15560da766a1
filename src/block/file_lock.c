/* SPDX-License-Identifier: MIT */
/*
 * Locks on images that QEMU and its tools respect, and whose locks we respect.
 *
 * Theory of operation. Per permission there are two bytes in the file: LOCK_HAS + bit says "I use it", LOCK_DENIES + bit
 * says "nobody else may". Whoever opens an image puts shared locks on the bytes that describe him, and then asks the
 * kernel whether somebody else's shared lock stands on an opposite byte: on LOCK_DENIES of what he uses, on LOCK_HAS of what
 * he does not allow. Two that come at the same time may both be refused, but never both be let in. The locks belong to
 * the open file description, so they go away with the fd, and two nodes of one process are as foreign as two processes.
 *
 * A daemon that was killed with requests in flight keeps its locks until the kernel is done with them, which is a little after
 * its end. So that it can be started again at once, a lock that is held is waited for, for a second. lock_now is for those who
 * serve others meanwhile.
 *
 * A writer lets others read what stays unchanged and nothing else; a reader lets nobody write or resize. That is what a
 * disk in a virtual machine means to its guest.
 *
 * Main thread.
 */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

enum { LOCK_HAS = 100, LOCK_DENIES = 200 };
enum { LOCK_TRIES = 50, LOCK_STEP_MS = 20 };

enum permission {
	PERMISSION_CONSISTENT_READ,
	PERMISSION_WRITE,
	PERMISSION_WRITE_UNCHANGED,
	PERMISSION_RESIZE,
	PERMISSION_COUNT
};

static const char *const permission_names[PERMISSION_COUNT] = {
	[PERMISSION_CONSISTENT_READ] = "consistent read",
	[PERMISSION_WRITE] = "write",
	[PERMISSION_WRITE_UNCHANGED] = "write unchanged",
	[PERMISSION_RESIZE] = "resize",
};

#define READER_HAS (1u << PERMISSION_CONSISTENT_READ)
#define WRITER_HAS (READER_HAS | 1u << PERMISSION_WRITE)
#define DENIES (1u << PERMISSION_WRITE | 1u << PERMISSION_RESIZE)

static int lock_byte(int fd, int command, short type, off_t byte, struct flock *ret_lock)
{
	*ret_lock = (struct flock){
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};
	return fcntl(fd, command, ret_lock) < 0 ? -errno : 0;
}

static int lock_put(int fd, const char *filename, unsigned base, unsigned set, struct error *error)
{
	struct flock lock;
	int ret;

	for (unsigned i = 0; i < PERMISSION_COUNT; i++) {
		if (!(set & 1u << i))
			continue;
		ret = lock_byte(fd, F_OFD_SETLK, F_RDLCK, base + i, &lock);
		if (ret < 0)
			return error_set(error, ret,
					 "Failed to lock byte %u of '%s': %s. Is another process "
					 "using the image [%s]?",
					 base + i, filename, strerrordesc_np(-ret), filename);
	}
	return 0;
}

/* what: "" or "shared ", as the opposite bytes mean. */
static int lock_test(int fd, const char *filename, unsigned base, unsigned set, const char *what,
		     struct error *error)
{
	struct flock lock;
	int ret;

	for (unsigned i = 0; i < PERMISSION_COUNT; i++) {
		if (!(set & 1u << i))
			continue;
		ret = lock_byte(fd, F_OFD_GETLK, F_WRLCK, base + i, &lock);
		if (ret < 0)
			return error_set(error, ret, "Cannot test locks of '%s': %s", filename,
					 strerrordesc_np(-ret));
		if (lock.l_type != F_UNLCK)
			return error_set(
				error, -EAGAIN,
				"Failed to get %s\"%s\" lock. Is another process using the "
				"image [%s]?",
				what, permission_names[i], filename);
	}
	return 0;
}

/* Network file systems may have no locks at all. */
static int lock_probe(int fd)
{
	struct flock lock;

	return lock_byte(fd, F_OFD_GETLK, F_WRLCK, LOCK_HAS, &lock);
}

static int lock_try(int fd, const char *filename, unsigned has, struct error *error)
{
	int ret = lock_put(fd, filename, LOCK_HAS, has, error);

	if (ret == 0)
		ret = lock_put(fd, filename, LOCK_DENIES, DENIES, error);
	if (ret == 0)
		ret = lock_test(fd, filename, LOCK_DENIES, has, "", error);
	if (ret == 0)
		ret = lock_test(fd, filename, LOCK_HAS, DENIES, "shared ", error);
	return ret;
}

static void lock_release(int fd)
{
	struct flock all = {
		.l_type = F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = LOCK_HAS,
		.l_len = LOCK_DENIES + PERMISSION_COUNT - LOCK_HAS,
	};

	fcntl(fd, F_OFD_SETLK, &all);
}

int file_lock_take(int fd, const struct block_file_config *config, struct error *error)
{
	unsigned has = config->read_only ? READER_HAS : WRITER_HAS;
	unsigned tries = config->lock_now ? 0 : LOCK_TRIES;
	const char *filename = config->filename;
	int ret;

	if (config->locking == BLOCK_LOCK_OFF)
		return 0;
	ret = lock_probe(fd);
	if (ret < 0 && config->locking == BLOCK_LOCK_AUTO)
		return 0;
	if (ret < 0)
		return error_set(error, ret, "Cannot lock '%s' (locking=on): %s", filename,
				 strerrordesc_np(-ret));
	ret = lock_try(fd, filename, has, error);
	for (unsigned i = 0; i < tries && (ret == -EAGAIN || ret == -EACCES); i++) {
		lock_release(fd);
		poll(NULL, 0, LOCK_STEP_MS);
		ret = lock_try(fd, filename, has, error);
	}
	return ret;
}
