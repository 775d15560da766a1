/* SPDX-License-Identifier: MIT */
/*
 * Watches a SCSI adapter: shows the LUNs that are there, then each that comes, goes, or changes.
 *
 *     cc scsi_events.c $(pkg-config --cflags --libs ringlane) && ./a.out vhost-user-scsi:/run/scsi.sock [COUNT]
 *
 * Ends after COUNT events, or when the back end is gone.
 */
#include <poll.h>
#include <ringlane/scsi.h>
#include <stdio.h>
#include <stdlib.h>

#define UNITS_MAX 64

static const char *const names[] = {
	[RINGLANE_SCSI_MISSED] = "missed",        [RINGLANE_SCSI_RESCAN] = "came",
	[RINGLANE_SCSI_REMOVED] = "went",         [RINGLANE_SCSI_RESET_HARD] = "was reset",
	[RINGLANE_SCSI_PARAM_CHANGE] = "changed", [RINGLANE_SCSI_ASYNC_NOTIFY] = "notifies",
};

/* What a LUN is now, or why it cannot be told. */
static void show_lun(struct ringlane_device *device, unsigned target, unsigned number)
{
	struct ringlane_lun_info info;
	struct ringlane_error error;
	struct ringlane_lun *lun;

	/* NULL: a queue of the device's own, which ringlane_open leaves it by default */
	if (ringlane_lun_open(device, NULL, target, number, &lun, &error) < 0) {
		printf("%u:%u - %s\n", target, number, error.text);
		return;
	}
	ringlane_lun_get_info(lun, &info);
	printf("%u:%u %s %s, serial %s, %llu bytes\n", target, number, info.unit.vendor,
	       info.unit.product, info.serial, (unsigned long long)info.capacity);
	ringlane_lun_close(lun);
}

static int show_all(struct ringlane_device *device)
{
	struct ringlane_scsi_unit units[UNITS_MAX];
	struct ringlane_error error;
	int count = ringlane_scsi_scan(device, NULL, units, UNITS_MAX, &error);

	if (count < 0)
		fprintf(stderr, "scsi_events: %s\n", error.text);
	for (int i = 0; i < count && i < UNITS_MAX; i++)
		show_lun(device, units[i].target, units[i].lun);
	return count;
}

static void show_event(struct ringlane_device *device, const struct ringlane_scsi_event *event)
{
	if (event->type == RINGLANE_SCSI_MISSED) {
		printf("events were missed\n");
		show_all(device);
		return;
	}
	printf("%u:%u %s", event->target, event->lun, names[event->type]);
	if (event->type == RINGLANE_SCSI_PARAM_CHANGE)
		printf(" (%02x/%02x)", event->asc, event->ascq);
	printf("\n");
	show_lun(device, event->target, event->lun);
}

/* Returns how many there were, or -errno when there will be no more. */
static int show_events(struct ringlane_device *device)
{
	struct pollfd fd = { .fd = ringlane_event_fd(device), .events = POLLIN };
	struct ringlane_scsi_event event;
	int ret, count = 0;

	fflush(stdout);
	poll(&fd, 1, -1);
	ret = ringlane_event(device);
	if (ret < 0)
		return ret;
	while (ringlane_scsi_event(device, &event) == 1) {
		show_event(device, &event);
		count++;
	}
	return count;
}

int main(int argc, char **argv)
{
	long left = argc > 2 ? strtol(argv[2], NULL, 10) : 1000000;
	struct ringlane_device *device;
	struct ringlane_error error;

	if (argc < 2) {
		fprintf(stderr, "usage: scsi_events URI [COUNT]\n");
		return 1;
	}
	if (ringlane_open(argv[1], NULL, &device, &error) < 0) {
		fprintf(stderr, "scsi_events: %s\n", error.text);
		return 1;
	}
	for (int ret = show_all(device); ret >= 0 && left > 0; left -= ret)
		ret = show_events(device);
	ringlane_close(device);
	return 0;
}
