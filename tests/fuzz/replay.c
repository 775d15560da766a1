// SPDX-License-Identifier: MIT
/*
 * Runs a fuzz target over the files of a corpus, without a fuzzer: what was found once stays found.
 *
 *     TARGET FOLDER...
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *name)
{
	fprintf(stderr, "replay: %s: %s\n", name, what);
	exit(1);
}

static void replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = malloc(FUZZ_INPUT_MAX);
	size_t size;

	if (!file || !bytes)
		die("cannot be read", path);
	size = fread(bytes, 1, FUZZ_INPUT_MAX, file);
	fclose(file);
	/* exactly as long as the input, so that a sanitizer sees what is read behind it */
	bytes = realloc(bytes, size ? size : 1);
	LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
}

static unsigned replay_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	unsigned count = 0;
	char path[4096];

	if (!dir)
		die("cannot be read", folder);
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		replay_file(path);
		count++;
	}
	closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	unsigned count = 0;

	for (int i = 1; i < argc; i++)
		count += replay_folder(argv[i]);
	if (count == 0)
		die("no input at all", argv[0]);
	printf("%u inputs\n", count);
	return 0;
}
