/* SPDX-License-Identifier: MIT */
/* The command line as a whole: tables of lines that are refused, each with its exact sentence, and of lines that hold. */
#include "daemon/blockdev.h"
#include "daemon/config.h"
#include "daemon/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 24

/* Words are separated by blanks. */
static int parse(struct config *config, const char *line, struct error *error)
{
	static char words[4096];
	char *argv[ARGS_MAX + 2] = { (char *)"ringlaned" }, *save = words;
	int argc = 1;

	snprintf(words, sizeof(words), "%s", line);
	while (save && argc <= ARGS_MAX)
		if (*(argv[argc] = strsep(&save, " ")))
			argc++;
	config_init(config);
	*error = (struct error){ 0 };
	return config_parse(config, argc, argv, error);
}

#define NODE "--blockdev null-co,node-name=n0 "
#define THREADS "--object iothread,id=t0 --object iothread,id=t1 "
#define EXPORT "--export vhost-user-blk,id=e0,node-name=n0,addr.type=unix,addr.path=/s"
#define MAP(n) ",iothread-vq-mapping." #n
#define TWO_NODES NODE "--blockdev null-co,node-name=n1 "
#define SCSI "--export vhost-user-scsi,id=s0,addr.type=unix,addr.path=/s0"
#define TWO_SCSI SCSI " --export vhost-user-scsi,id=s1,addr.type=unix,addr.path=/s1"
#define DEVICE(id, node, export) " --device scsi-hd,id=" #id ",drive=" #node ",bus=" #export ".0"
#define CHARDEV "--chardev socket,id=m,path=/m "

static const struct {
	const char *line, *sentence;
} bad_lines[] = {
	/* the options */
	{ "--blockdev", "option '--blockdev' needs a value: KEYS|JSON" },
	{ "--daemonize=on", "option '--daemonize' takes no value" },
	{ "--frob", "unknown option '--frob'" },
	{ "--frob=1", "unknown option '--frob'" },
	{ "frob", "unexpected argument 'frob'" },
	{ "--nbd-server addr.type=unix",
	  "option '--nbd-server' of qemu-storage-daemon is not known: only vhost-user is served" },
	{ "--daemonize",
	  "nothing to serve: give --export, or --socket-path and --blk-file (see --help)" },
	/* IOThreads */
	{ "--object iothread", "--object iothread: Parameter 'id' is missing" },
	{ "--object id=t0", "--object t0: Parameter 'qom-type' is missing" },
	{ "--object secret,id=t0",
	  "--object t0: Parameter 'qom-type' does not accept 'secret', only: iothread" },
	{ "--object iothread,id=,poll=1", "--object iothread: Parameter 'poll' is unexpected" },
	{ "--object iothread,id=0",
	  "--object 0: Parameter 'id' expects an identifier: a letter, then letters, digits, '-', '.' and '_'" },
	{ "--object iothread,id=t0,poll=1", "--object t0: Parameter 'poll' is unexpected" },
	{ "--object iothread,id=t0,poll-max-ns=-1",
	  "--object t0: Parameter 'poll-max-ns' expects a number from 0 to 9223372036854775807" },
	{ "--object iothread,id=t0 --object iothread,id=t0",
	  "--object t0: attempt to add duplicate object 't0'" },
	{ "--object iothread,id=t0,cpus.0=x",
	  "--object t0: cpus: Parameter 'cpus.0' expects a CPU number below 1024" },
	{ "--object {\"qom-type\":\"iothread\",\"id\":\"t0\",\"cpus\":[]}",
	  "--object t0: Parameter 'cpus' names no CPU" },
	{ "--object iothread,id=t0,x", "--object: Expected '=' after parameter 'x'" },
	/* nodes */
	{ "--blockdev node-name=n0", "--blockdev n0: Parameter 'driver' is missing" },
	{ "--blockdev null-co", "--blockdev null-co: Parameter 'node-name' is missing" },
	{ "--blockdev qcow2,node-name=n0",
	  "--blockdev n0: Unknown driver 'qcow2', known are file, host_device, raw, null-co, ram, delay, error, log" },
	{ "--blockdev file,node-name=n0", "--blockdev n0: Parameter 'filename' is missing" },
	{ "--blockdev file,node-name=n0,filename=/f,frob=1",
	  "--blockdev n0: Parameter 'frob' is unexpected" },
	{ "--blockdev file,node-name=n0,filename=/f,cache.writeback=on",
	  "--blockdev n0: Parameter 'cache.writeback' is unexpected" },
	{ "--blockdev file,node-name=n0,filename=/f,cache.direct=maybe",
	  "--blockdev n0: Parameter 'cache.direct' expects 'on' or 'off'" },
	{ "--blockdev file,node-name=n0,filename=/f,aio=threads",
	  "--blockdev n0: Parameter 'aio' does not accept 'threads', only: io_uring" },
	{ "--blockdev file,node-name=n0,filename=/f,discard=yes",
	  "--blockdev n0: Parameter 'discard' does not accept 'yes', only: ignore, unmap, off, on" },
	{ "--blockdev file,node-name=n0,filename.x=1",
	  "--blockdev n0: Parameter 'filename' expects a string" },
	{ "--blockdev null-co,node-name=n0,size=1.5G",
	  "--blockdev n0: Parameter 'size' expects a size: a whole number, then nothing or one of K M G T P E" },
	{ "--blockdev null-co,node-name=n0,size=16E",
	  "--blockdev n0: Parameter 'size' expects a size: a whole number, then nothing or one of K M G T P E" },
	{ "--blockdev {\"driver\":\"null-co\",\"node-name\":\"n0\",\"size\":-1}",
	  "--blockdev n0: Parameter 'size' expects a size: a whole number, then nothing or one of K M G T P E" },
	{ "--blockdev null-co,node-name=n0,latency-ns=1K",
	  "--blockdev n0: Parameter 'latency-ns' expects a non-negative number below 2^64" },
	{ NODE NODE, "--blockdev n0: Duplicate nodes with node-name='n0'" },
	{ "--blockdev raw,node-name=r,file=n1",
	  "--blockdev r: Cannot find node-name 'n1' (a node is described before it is used)" },
	{ "--blockdev raw,node-name=r,file.driver=file",
	  "--blockdev r: file: Parameter 'filename' is missing" },
	{ "--blockdev raw,node-name=r,file.driver=null-co,file.node-name=r",
	  "--blockdev r: Duplicate nodes with node-name='r'" },
	{ NODE "--blockdev raw,node-name=r,file=n0,size=0",
	  "--blockdev r: Parameter 'size' must not be 0" },
	{ NODE "--blockdev raw,node-name=r,file=n0,cache.direct=on",
	  "--blockdev r: Parameter 'cache.direct' is unexpected" },
	{ NODE "--blockdev error,node-name=r,file=n0,error=EFROB",
	  "--blockdev r: Parameter 'error' expects the name of an error, such as EIO" },
	{ NODE "--blockdev error,node-name=r,file=n0,ops.0=read,ops.1=frob",
	  "--blockdev r: Parameter 'ops' does not accept 'frob', only: read, write, flush, discard, write-zeroes" },
	/* exports */
	{ NODE "--export nbd,id=e0,node-name=n0",
	  "--export e0: Parameter 'type' does not accept 'nbd', only: vhost-user-blk, vhost-user-scsi" },
	{ NODE "--export vhost-user-blk,node-name=n0",
	  "--export vhost-user-blk: Parameter 'id' is missing" },
	{ NODE "--export vhost-user-blk,id=e0,node-name=n0",
	  "--export e0: Parameter 'addr.type' is missing" },
	{ NODE "--export vhost-user-blk,id=e0,node-name=n0,addr.type=inet",
	  "--export e0: Parameter 'addr.type' does not accept 'inet', only: unix, fd" },
	{ NODE "--export vhost-user-blk,id=e0,node-name=n0,addr.type=unix",
	  "--export e0: Parameter 'addr.path' is missing" },
	{ NODE EXPORT ",addr.str=3",
	  "--export e0: Parameter 'addr.str' is unexpected with addr.type=unix" },
	{ NODE EXPORT ",num-queues=0",
	  "--export e0: Parameter 'num-queues' expects a number from 1 to 256" },
	{ NODE EXPORT ",num-queues=257",
	  "--export e0: Parameter 'num-queues' expects a number from 1 to 256" },
	{ NODE EXPORT ",writethrough=on",
	  "--export e0: Parameter 'writethrough' does not accept 'on', only: off" },
	{ NODE EXPORT ",serial=123456789012345678901",
	  "--export e0: Parameter 'serial' is 21 bytes long, a disk can tell 20" },
	{ EXPORT, "--export e0: Cannot find node-name 'n0'" },
	{ NODE EXPORT " " EXPORT, "--export e0: Export with ID 'e0' already exists" },
	{ NODE EXPORT " --export vhost-user-blk,id=e1,node-name=n0,addr.type=unix,addr.path=/s",
	  "--export e1: socket '/s' is that of export 'e0' already" },
	{ NODE "--export vhost-user-blk,id=e0,node-name=n0,addr.type=fd,addr.str=x",
	  "--export e0: Parameter 'addr.str' expects the number of an inherited file descriptor" },
	{ NODE "--export vhost-user-blk,id=e0,node-name=n0,addr.type=fd,addr.str=999",
	  "--export e0: file descriptor 999 is not open" },
	/* the mapping */
	{ NODE EXPORT ",iothread=t0", "--export e0: iothread 't0' not found" },
	{ NODE THREADS EXPORT ",iothread=t0" MAP(0) ".iothread=t1",
	  "--export e0: iothread and iothread-vq-mapping properties cannot be set at the same time" },
	{ NODE EXPORT MAP(0) ".iothread=t0", "--export e0: IOThread \"t0\" object does not exist" },
	{ NODE THREADS EXPORT MAP(0) ".iothread=t0" MAP(1) ".iothread=t0",
	  "--export e0: duplicate IOThread name \"t0\" in iothread-vq-mapping" },
	{ NODE THREADS EXPORT
	  ",num-queues=2" MAP(0) ".iothread=t0" MAP(0) ".vqs.0=0" MAP(1) ".iothread=t1",
	  "--export e0: either all items in iothread-vq-mapping must have vqs or none of them must have it" },
	{ NODE THREADS EXPORT ",num-queues=2" MAP(0) ".iothread=t0" MAP(0) ".vqs.0=2",
	  "--export e0: vq index 2 for IOThread \"t0\" must be less than num_queues 2 in iothread-vq-mapping" },
	{ NODE THREADS EXPORT
	  ",num-queues=2" MAP(0) ".iothread=t0" MAP(0) ".vqs.0=0" MAP(0) ".vqs.1=0",
	  "--export e0: cannot assign vq 0 to IOThread \"t0\" because it is already assigned" },
	{ NODE THREADS EXPORT ",num-queues=2" MAP(0) ".iothread=t0" MAP(0) ".vqs.0=1",
	  "--export e0: missing vq 0 IOThread assignment in iothread-vq-mapping" },
	{ NODE THREADS EXPORT MAP(0) ".vqs.0=1",
	  "--export e0: iothread-vq-mapping.0: Parameter 'iothread' is missing" },
	{ NODE THREADS EXPORT MAP(0) ".iothread=t0" MAP(0) ".vqs.0=65536",
	  "--export e0: Parameter 'iothread-vq-mapping.0.vqs.0' expects a number from 0 to 65535" },
	{ NODE THREADS EXPORT MAP(0) ".iothread=t0" MAP(0) ".vqs=1",
	  "--export e0: Parameter 'iothread-vq-mapping.0.vqs' expects a list" },
	{ NODE THREADS EXPORT ",iothread-vq-mapping=t0",
	  "--export e0: Parameter 'iothread-vq-mapping' expects a list" },
	/* who writes what */
	{ "--blockdev null-co,node-name=n0,read-only=on " EXPORT ",writable=on",
	  "--export e0: Cannot export read-only node 'n0' as writable" },
	{ "--blockdev raw,node-name=n0,read-only=on,file.driver=null-co " EXPORT ",writable=on",
	  "--export e0: Cannot export read-only node 'n0' as writable" },
	{ "--blockdev null-co,node-name=x,read-only=on --blockdev raw,node-name=n0,file=x " EXPORT
	  ",writable=on",
	  "--export e0: Cannot export read-only node 'x' as writable" },
	{ NODE EXPORT
	  ",writable=on --export vhost-user-blk,id=e1,node-name=n0,addr.type=unix,addr.path=/t",
	  "--export e1: node 'n0' is used by export 'e0' already, and only exports that do not write can share one" },
	{ NODE EXPORT
	  " --export vhost-user-blk,id=e1,node-name=n0,addr.type=unix,addr.path=/t,writable=on",
	  "--export e1: node 'n0' is used by export 'e0' already, and only exports that do not write can share one" },
	{ NODE
	  "--blockdev raw,node-name=a,file=n0,offset=1M,size=1M --blockdev raw,node-name=b,file=n0,size=1M "
	  "--blockdev raw,node-name=c,file=n0,offset=1536K "
	  "--export vhost-user-blk,id=a,node-name=a,addr.type=unix,addr.path=/a,writable=on "
	  "--export vhost-user-blk,id=b,node-name=b,addr.type=unix,addr.path=/b,writable=on "
	  "--export vhost-user-blk,id=c,node-name=c,addr.type=unix,addr.path=/c,writable=on",
	  "--export c: node 'n0' is used by export 'a' already, and only exports that do not write can share one" },
	/* adapters */
	{ "--export vhost-user-scsi,id=s0", "--export s0: Parameter 'addr.type' is missing" },
	{ SCSI ",node-name=n0", "--export s0: Parameter 'node-name' is unexpected" },
	{ SCSI ",num-queues=255",
	  "--export s0: Parameter 'num-queues' expects a number from 1 to 254" },
	{ SCSI ",cdb-size=65", "--export s0: Parameter 'cdb-size' expects a number from 16 to 64" },
	{ SCSI ",sense-size=97",
	  "--export s0: Parameter 'sense-size' expects a number from 18 to 96" },
	{ THREADS SCSI ",num-queues=2" MAP(0) ".iothread=t0" MAP(0) ".vqs.0=2",
	  "--export s0: vq index 2 for IOThread \"t0\" must be less than num_queues 2 in iothread-vq-mapping" },
	{ THREADS SCSI ",num-queues=2" MAP(0) ".iothread=t0" MAP(0) ".vqs.0=1",
	  "--export s0: missing vq 0 IOThread assignment in iothread-vq-mapping" },
	/* devices */
	{ "--device scsi-cd,id=d0",
	  "--device d0: Parameter 'driver' does not accept 'scsi-cd', only: scsi-hd" },
	{ "--device scsi-hd", "--device scsi-hd: Parameter 'drive' is missing" },
	{ "--device scsi-hd,drive=n0", "--device scsi-hd: Parameter 'bus' is missing" },
	{ NODE SCSI DEVICE(d0, n0, s1), "--device d0: Bus 's1.0' not found" },
	{ NODE SCSI " --device scsi-hd,id=d0,drive=n0,bus=s0", "--device d0: Bus 's0' not found" },
	{ NODE SCSI " --device scsi-hd,id=d0,drive=n0,bus=s0.1",
	  "--device d0: Bus 's0.1' not found" },
	{ NODE SCSI DEVICE(d0, n1, s0), "--device d0: Cannot find node-name 'n1'" },
	{ NODE EXPORT DEVICE(d0, n0, e0),
	  "--device d0: Bus 'e0.0': export 'e0' is no SCSI adapter (type=vhost-user-scsi)" },
	{ NODE SCSI DEVICE(0, n0, s0),
	  "--device 0: Parameter 'id' expects an identifier: a letter, then letters, digits, '-', '.' and '_'" },
	{ NODE SCSI DEVICE(d0, n0, s0) ",channel=1",
	  "--device d0: Parameter 'channel' expects 0, there is one" },
	{ NODE SCSI DEVICE(d0, n0, s0) ",scsi-id=256",
	  "--device d0: Parameter 'scsi-id' expects a number from 0 to 255" },
	{ NODE SCSI DEVICE(d0, n0, s0) ",lun=16384",
	  "--device d0: Parameter 'lun' expects a number from 0 to 16383" },
	{ NODE SCSI DEVICE(d0, n0, s0) ",wwn=0x",
	  "--device d0: Parameter 'wwn' expects a non-negative number below 2^64" },
	{ NODE SCSI DEVICE(d0, n0, s0) ",wwn=0x10000000000000000",
	  "--device d0: Parameter 'wwn' expects a non-negative number below 2^64" },
	{ NODE SCSI DEVICE(d0, n0, s0) ",logical_block_size=0",
	  "--device d0: Parameter 'logical_block_size' expects 512 or a larger power of two" },
	{ TWO_NODES SCSI DEVICE(d0, n0, s0) DEVICE(d0, n1, s0),
	  "--device d0: Duplicate device ID 'd0'" },
	/* who shares a disk */
	{ NODE SCSI DEVICE(d0, n0, s0) DEVICE(d1, n0, s0),
	  "--device d1: bus 's0.0' shows node 'n0' already, as device 'd0'" },
	{ NODE TWO_SCSI DEVICE(d0, n0, s0) DEVICE(d1, n0, s1),
	  "--device d1: node 'n0' is used by device 'd0' already, and only devices of the same node with share-rw=on can share one" },
	{ NODE TWO_SCSI DEVICE(d0, n0, s0) ",share-rw=on" DEVICE(d1, n0, s1),
	  "--device d1: node 'n0' is used by device 'd0' already, and only devices of the same node with share-rw=on can share one" },
	{ NODE TWO_SCSI DEVICE(d0, n0, s0) ",share-rw=on,serial=a" DEVICE(
		  d1, n0, s1) ",share-rw=on,serial=b",
	  "--device d1: node 'n0' is the disk of device 'd0' too, and their 'serial' differs" },
	{ NODE TWO_SCSI DEVICE(d0, n0, s0) ",share-rw=on" DEVICE(d1, n0, s1) ",share-rw=on,wwn=1",
	  "--device d1: node 'n0' is the disk of device 'd0' too, and their 'wwn' differs" },
	{ TWO_NODES SCSI DEVICE(d0, n0, s0) ",state=/x" DEVICE(d1, n1, s0) ",state=/x",
	  "--device d1: state file '/x' is that of device 'd0' already" },
	{ NODE EXPORT " " SCSI DEVICE(d0, n0, s0),
	  "--device d0: node 'n0' is used by export 'e0' already, and only exports that do not write can share one" },
	{ NODE "--blockdev raw,node-name=n1,file=n0 " TWO_SCSI DEVICE(
		  d0, n0, s0) ",share-rw=on" DEVICE(d1, n1, s1) ",share-rw=on",
	  "--device d1: node 'n0' is used by device 'd0' already, and only devices of the same node with share-rw=on can share one" },
	/* monitors */
	{ "--chardev socket,id=m", "--chardev m: Parameter 'path' is missing" },
	{ "--chardev file,id=m,path=/m",
	  "--chardev m: Parameter 'backend' does not accept 'file', only: socket" },
	{ "--chardev socket,id=m,path=/m,server=off",
	  "--chardev m: Parameter 'server' does not accept 'off', only: on" },
	{ "--chardev socket,id=m,path=/m,server,wait",
	  "--chardev m: Parameter 'wait' does not accept 'on', only: off" },
	{ CHARDEV CHARDEV, "--chardev m: Chardev with id 'm' already exists" },
	{ CHARDEV "--monitor n", "--monitor: chardev 'n' not found" },
	{ CHARDEV "--monitor m --monitor m", "--monitor: chardev 'm' is that of another monitor" },
	{ CHARDEV "--monitor m,mode=readline",
	  "--monitor m: Parameter 'mode' does not accept 'readline', only: control" },
	{ CHARDEV NODE EXPORT, "--chardev m: no monitor uses it" },
	/* the short form */
	{ "--socket-path /s", "--socket-path needs --blk-file" },
	{ "--blk-file /f", "--blk-file needs --socket-path or --fd" },
	{ "--read-only", "--read-only needs --blk-file" },
	{ "--socket-path /s --fd 3 --blk-file /f", "--socket-path and --fd exclude each other" },
	{ NODE "--socket-path /s --blk-file /f",
	  "--socket-path cannot be used together with --blockdev and --export" },
	{ "--fd x --blk-file /f",
	  "--export disk: Parameter 'addr.str' expects the number of an inherited file descriptor" },
};

static const char *const good_lines[] = {
	NODE EXPORT,
	NODE EXPORT ",writable=on,num-queues=4,logical-block-size=4096,serial=12345678901234567890",
	NODE EXPORT " --export vhost-user-blk,id=e1,node-name=n0,addr.type=unix,addr.path=/t",
	NODE THREADS EXPORT ",iothread=t1,fixed-iothread=on,writethrough=off",
	NODE THREADS EXPORT MAP(0) ".iothread=t0" MAP(1) ".iothread=t1",
	/* options may come before what they speak of */
	EXPORT ",iothread=t0 " NODE THREADS,
	"--pidfile=/p --daemonize " NODE EXPORT,
	"--blockdev driver=file,node-name=n0,filename=/f,,g,discard=unmap,locking=off,aio=io_uring,cache.direct=on,cache.no-flush=off,auto-read-only=on,detect-zeroes=off " EXPORT,
	"--blockdev {\"driver\":\"raw\",\"node-name\":\"n0\",\"offset\":512,\"file\":{\"driver\":\"ram\",\"size\":1048576}} " EXPORT,
	NODE
	"--blockdev raw,node-name=a,file=n0,offset=1M,size=1M --blockdev raw,node-name=b,file=n0,size=1M "
	"--export vhost-user-blk,id=a,node-name=a,addr.type=unix,addr.path=/a,writable=on "
	"--export vhost-user-blk,id=b,node-name=b,addr.type=unix,addr.path=/b,writable=on",
	"--socket-path /s --blk-file /f --read-only",
	SCSI,
	THREADS SCSI
	",num-queues=2,cdb-size=16,sense-size=18" MAP(0) ".iothread=t0" MAP(1) ".iothread=t1",
	NODE SCSI DEVICE(
		d0, n0,
		s0) ",scsi-id=255,lun=16383,serial=a,wwn=0x5000c500a1b2c3d4,vendor=V,product=P,ver=1,device_id=x,share-rw=off,logical_block_size=4096,rotation_rate=1,state=/x,channel=0",
	/* one disk on two adapters */
	NODE TWO_SCSI DEVICE(d0, n0, s0) ",share-rw=on,serial=a,wwn=16" DEVICE(
		d1, n0, s1) ",share-rw=on,serial=a,wwn=0x10",
	"--blockdev null-co,node-name=n0,read-only=on " TWO_SCSI DEVICE(d0, n0, s0)
		DEVICE(d1, n0, s1),
	"--blockdev null-co,node-name=n0,read-only=on " EXPORT " " SCSI DEVICE(d0, n0, s0),
	CHARDEV "--monitor m",
	"--monitor chardev=m,mode=control,pretty=on " CHARDEV,
	"--chardev socket,id=m,path=/m,server=on,wait=off --monitor m,pretty",
	"--chardev socket,path=/m,,server,server,nowait,id=m --monitor m",
};

static void test_config_when_line_is_bad_then_one_sentence(void **state)
{
	struct config config;
	struct error error;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_lines); i++) {
		if (parse(&config, bad_lines[i].line, &error) == 0)
			fail_msg("accepted: %s", bad_lines[i].line);
		assert_true(error.code < 0);
		assert_string_equal(error.text, bad_lines[i].sentence);
		config_fini(&config);
	}
}

static void test_config_when_line_is_good_then_accepted(void **state)
{
	struct config config;
	struct error error;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good_lines); i++) {
		if (parse(&config, good_lines[i], &error))
			fail_msg("%s: %s", good_lines[i], error.text);
		assert_int_equal(config.action, CONFIG_RUN);
		config_fini(&config);
	}
}

static void test_config_when_json_then_same_as_keys(void **state)
{
	struct config config;
	struct error error;
	struct export_spec *export;

	assert_int_equal(
		parse(&config,
		      NODE THREADS
		      "--export {\"type\":\"vhost-user-blk\",\"id\":\"e0\",\"node-name\":\"n0\",\"num-queues\":3,\"writable\":true,"
		      "\"addr\":{\"type\":\"unix\",\"path\":\"/s\"},\"iothread-vq-mapping\":"
		      "[{\"iothread\":\"t0\",\"vqs\":[0,2]},{\"iothread\":\"t1\",\"vqs\":[1]}]}",
		      &error),
		0);
	export = STAILQ_FIRST(&config.exports);
	assert_int_equal(export->num_queues, 3);
	assert_true(export->writable);
	assert_int_equal(export->map.count, 2);
	assert_string_equal(export->map.entries[0].iothread, "t0");
	assert_int_equal(export->map.entries[0].vq_count, 2);
	assert_int_equal(export->map.entries[0].vqs[1], 2);
	assert_int_equal(export->map.entries[1].vqs[0], 1);
	assert_string_equal(export->serial_text, "e0");
	config_fini(&config);
}

static void test_config_when_no_export_writes_then_node_is_not_written(void **state)
{
	struct config config;
	struct error error;

	assert_int_equal(parse(&config, "--blockdev raw,node-name=n0,file.driver=null-co " EXPORT,
			       &error),
			 0);
	assert_false(config_find_blockdev(&config, "n0")->written);
	assert_false(config_find_blockdev(&config, "n0.file")->written);
	config_fini(&config);
	assert_int_equal(parse(&config,
			       "--blockdev raw,node-name=n0,file.driver=null-co " EXPORT
			       ",writable=on",
			       &error),
			 0);
	assert_true(config_find_blockdev(&config, "n0")->written);
	assert_true(config_find_blockdev(&config, "n0.file")->written);
	config_fini(&config);
}

static void test_config_when_device_writes_then_its_node_is_written(void **state)
{
	struct config config;
	struct error error;
	struct device_spec *device;

	assert_int_equal(parse(&config,
			       "--blockdev raw,node-name=n0,file.driver=null-co "
			       "--blockdev null-co,node-name=n1,read-only=on " SCSI DEVICE(
				       d0, n0, s0) " --device scsi-hd,drive=n1,bus=s0.0",
			       &error),
			 0);
	assert_true(config_find_blockdev(&config, "n0.file")->written);
	assert_false(config_find_device(&config, "d0")->read_only);
	assert_false(config_find_device(&config, "d0")->has_scsi_id);
	device = config_find_device(&config, "scsi-hd0");
	assert_true(device->read_only);
	assert_false(config_find_blockdev(&config, "n1")->written);
	assert_ptr_equal(device->export, config_find_export(&config, "s0"));
	config_fini(&config);
}

/* What a monitor adds later may want to write it. */
static void test_config_when_there_is_a_monitor_then_unused_nodes_are_open_for_all(void **state)
{
	struct config config;
	struct error error;

	assert_int_equal(parse(&config,
			       CHARDEV "--monitor m --blockdev null-co,node-name=n1 " NODE EXPORT,
			       &error),
			 0);
	assert_false(config_find_blockdev(&config, "n0")->written);
	assert_true(config_find_blockdev(&config, "n1")->written);
	assert_true(config_find_blockdev(&config, "n1")->optional);
	config_fini(&config);
	assert_int_equal(parse(&config, "--blockdev null-co,node-name=n1 " NODE EXPORT, &error), 0);
	assert_false(config_find_blockdev(&config, "n1")->written);
	config_fini(&config);
}

static void test_config_when_what_uses_a_node_goes_then_it_is_free(void **state)
{
	struct config config;
	struct error error;
	json_t *tree;

	assert_int_equal(parse(&config, NODE EXPORT ",writable=on", &error), 0);
	tree = json_pack("{s:s, s:s, s:s, s:{s:s, s:s}, s:b}", "type", "vhost-user-blk", "id", "e1",
			 "node-name", "n0", "addr", "type", "unix", "path", "/t", "writable", 1);
	assert_int_equal(export_spec_add(&config, tree, &error), 0);
	assert_int_equal(export_spec_check(&config, config_find_export(&config, "e1"), &error),
			 -EPERM);
	config_remove_export(&config, config_find_export(&config, "e0"));
	assert_int_equal(export_spec_check(&config, config_find_export(&config, "e1"), &error), 0);
	config_fini(&config);
}

static void test_config_when_inline_node_was_read_and_its_parent_is_bad_then_both_go(void **state)
{
	struct config config;
	struct error error;
	json_t *tree = json_pack("{s:s, s:s, s:{s:s, s:s}, s:s}", "driver", "error", "node-name",
				 "top", "file", "driver", "null-co", "node-name", "under", "error",
				 "EIO");

	assert_int_equal(parse(&config, NODE EXPORT, &error), 0);
	json_object_set_new(tree, "node-name", json_string("under"));
	assert_int_equal(blockdev_spec_add(&config, tree, &error), -EEXIST);
	assert_string_equal(error.text, "Duplicate nodes with node-name='under'");
	assert_null(config_find_blockdev(&config, "under"));
	assert_non_null(config_find_blockdev(&config, "n0"));
	config_fini(&config);
}

static void test_config_when_raw_has_inline_file_then_it_inherits(void **state)
{
	struct config config;
	struct error error;
	const struct blockdev_spec *file;

	assert_int_equal(
		parse(&config,
		      "--blockdev raw,node-name=n0,cache.direct=on,discard=unmap,file.driver=file,file.filename=/f " EXPORT,
		      &error),
		0);
	file = config_find_blockdev(&config, "n0.file");
	assert_true(file->values.direct);
	assert_int_equal(file->values.discard & 1, 1);
	config_fini(&config);
}

static void test_config_when_id_is_long_then_serial_is_stable_and_differs(void **state)
{
	static const char first[] =
		"--blockdev null-co,node-name=n0 --export vhost-user-blk,id=a-name-longer-than-20-x,node-name=n0,addr.type=unix,addr.path=/s";
	char line[256], serial[2][BLK_ID_BYTES + 1];
	struct config config;
	struct error error;
	int i;

	snprintf(line, sizeof(line), "%s", first);
	for (i = 0; i < 2; i++) {
		assert_int_equal(parse(&config, line, &error), 0);
		memcpy(serial[i], STAILQ_FIRST(&config.exports)->serial_text, sizeof(serial[i]));
		assert_int_equal(strlen(serial[i]), 20);
		config_fini(&config);
		strchr(strstr(line, "20-"), 'x')[0] = 'y';
	}
	assert_string_not_equal(serial[0], serial[1]);
	assert_memory_equal(serial[0], "a-name-long-", 12);
}

static void test_config_when_fd_is_a_pair_then_it_is_connected(void **state)
{
	char line[256];
	struct config config;
	struct error error;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	snprintf(line, sizeof(line), "--fd=%d --blk-file /f", ends[0]);
	assert_int_equal(parse(&config, line, &error), 0);
	assert_false(STAILQ_FIRST(&config.exports)->fd_listens);
	assert_int_equal(STAILQ_FIRST(&config.exports)->fd, ends[0]);
	config_fini(&config);
	assert_int_equal(listen(ends[1], 1), -1);
	close(ends[0]);
	assert_int_equal(parse(&config, line, &error), -EBADF);
	config_fini(&config);
	close(ends[1]);
}

static void test_config_when_asked_for_help_then_nothing_else_counts(void **state)
{
	static const struct {
		const char *line;
		enum config_action action;
	} lines[] = {
		{ "--help", CONFIG_HELP },
		{ "-h --frob", CONFIG_HELP },
		{ "-V", CONFIG_VERSION },
		{ "--version", CONFIG_VERSION },
		{ "--print-capabilities", CONFIG_CAPABILITIES },
		{ "--object help", CONFIG_OBJECT_HELP },
		{ "--blockdev help", CONFIG_BLOCKDEV_HELP },
		{ "--export help", CONFIG_EXPORT_HELP },
		{ "--device help", CONFIG_DEVICE_HELP },
		{ "--chardev help", CONFIG_CHARDEV_HELP },
		{ "--monitor ?", CONFIG_MONITOR_HELP },
	};
	struct config config;
	struct error error;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(parse(&config, lines[i].line, &error), 0);
		assert_int_equal(config.action, lines[i].action);
		config_fini(&config);
	}
}

static void test_help_when_printed_then_names_each_key(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	options_print_help(file);
	fclose(file);
	assert_non_null(strstr(text, "--print-capabilities"));
	assert_non_null(strstr(text, "-h, --help"));
	assert_non_null(strstr(text, "poll-max-ns=N"));
	assert_non_null(strstr(text, "locking=auto|on|off"));
	assert_non_null(strstr(text, "iothread-vq-mapping="));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_when_line_is_bad_then_one_sentence),
		cmocka_unit_test(test_config_when_line_is_good_then_accepted),
		cmocka_unit_test(test_config_when_json_then_same_as_keys),
		cmocka_unit_test(test_config_when_no_export_writes_then_node_is_not_written),
		cmocka_unit_test(test_config_when_device_writes_then_its_node_is_written),
		cmocka_unit_test(
			test_config_when_there_is_a_monitor_then_unused_nodes_are_open_for_all),
		cmocka_unit_test(test_config_when_what_uses_a_node_goes_then_it_is_free),
		cmocka_unit_test(
			test_config_when_inline_node_was_read_and_its_parent_is_bad_then_both_go),
		cmocka_unit_test(test_config_when_raw_has_inline_file_then_it_inherits),
		cmocka_unit_test(test_config_when_id_is_long_then_serial_is_stable_and_differs),
		cmocka_unit_test(test_config_when_fd_is_a_pair_then_it_is_connected),
		cmocka_unit_test(test_config_when_asked_for_help_then_nothing_else_counts),
		cmocka_unit_test(test_help_when_printed_then_names_each_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
