#include "ops/cli/untar.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/fd.h"
#include "node/io/file.h"

#define BLOCK 512
#define FILES_MAX 100000

/* ustar header: name 0..100, size 124..136 (octal), checksum 148..156, type 156, magic 257. */
static bool octal(const uint8_t *p, size_t size, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;
	while (i < size && p[i] == ' ') {
		i++;
	}
	size_t first = i;
	for (; i < size && p[i] >= '0' && p[i] <= '7'; i++) {
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	*ret = v;
	return i > first && (i == size || p[i] == '\0' || p[i] == ' ');
}

static bool header_check(const uint8_t h[BLOCK])
{
	uint64_t want;
	uint64_t sum = 0;
	for (size_t i = 0; i < BLOCK; i++) {
		sum += i >= 148 && i < 156 ? ' ' : h[i];
	}
	return memcmp(h + 257, "ustar", 5) == 0 && octal(h + 148, 8, &want) && want == sum;
}

static bool name_is_plain(const char *name)
{
	if (name[0] == '\0' || name[0] == '.') {
		return false;
	}
	for (const char *p = name; *p != '\0'; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || strchr("-_.", *p) != NULL;
		if (!plain) {
			return false;
		}
	}
	return true;
}

static int copy_file(FILE *f, int folder, const char *name, uint64_t size, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep)
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		return et_fail(reterr, -errno, "create '%s'", name);
	}
	uint8_t block[64 * BLOCK];
	for (uint64_t done = 0; done < size;) {
		uint64_t left = size - done;
		size_t want = left < sizeof(block) ? (size_t)left : sizeof(block);
		size_t padded = (want + BLOCK - 1) / BLOCK * BLOCK;
		if (fread(block, 1, padded, f) != padded) {
			return et_fail(reterr, ET_ETRUNCATED, "the export ends inside '%s'", name);
		}
		int rc = et_file_pwrite(fd, block, want, (int64_t)done);
		if (rc < 0) {
			return et_fail(reterr, rc, "write '%s'", name);
		}
		done += want;
	}
	return fsync(fd) != 0 ? et_fail(reterr, -errno, "sync '%s'", name) : 0;
}

static int untar_into(FILE *f, int folder, struct et_error *reterr)
{
	uint8_t h[BLOCK];
	static const uint8_t zeros[BLOCK];
	for (unsigned files = 0; files <= FILES_MAX; files++) {
		if (fread(h, 1, BLOCK, f) != BLOCK) {
			return et_fail_plain(reterr, ET_ETRUNCATED, "the export has no end mark");
		}
		if (memcmp(h, zeros, BLOCK) == 0) {
			return 0;
		}
		char name[101];
		uint64_t size;
		memcpy(name, h, 100);
		name[100] = '\0';
		if (!header_check(h) || (h[156] != '0' && h[156] != '\0') ||
		    !octal(h + 124, 12, &size) || !name_is_plain(name)) {
			return et_fail_plain(reterr, ET_EMALFORMED,
					     "the export is not what a node sends");
		}
		int rc = copy_file(f, folder, name, size, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return et_fail_plain(reterr, ET_ELIMIT, "more than %d files", FILES_MAX);
}

int et_untar(FILE *f, const char *out, struct et_error *reterr)
{
	if (mkdir(out, 0700) != 0 && errno != EEXIST) {
		return et_fail(reterr, -errno, "make folder '%s'", out);
	}
	ET_CLEANUP(et_fd_closep) int folder = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0) {
		return et_fail(reterr, -errno, "open folder '%s'", out);
	}
	return untar_into(f, folder, reterr);
}
