#include "node/rule/zone.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/bytes.h"
#include "node/base/fd.h"

#define FOLDER "/usr/share/zoneinfo"
#define FAT_UNTIL_S INT64_C(2051222400) /* 2035: a file of explicit changes reaches to 2037 */
#define OFFSET_MAX_S (26 * 3600)	/* POSIX allows up to 24 h and a change */

struct counts {
	uint32_t isut, isstd, leap, times, types, chars;
};

static bool read_head(struct et_reader *r, uint8_t *ret_version, struct counts *ret)
{
	const uint8_t *magic = et_read_bytes(r, 4);
	*ret_version = et_read8(r);
	(void)et_read_bytes(r, 15);
	ret->isut = et_read32(r);
	ret->isstd = et_read32(r);
	ret->leap = et_read32(r);
	ret->times = et_read32(r);
	ret->types = et_read32(r);
	ret->chars = et_read32(r);
	/* Small enough that nothing below overflows. */
	return !r->failed && memcmp(magic, "TZif", 4) == 0 && ret->isut <= 256 &&
	       ret->isstd <= 256 && ret->leap <= 4096 && ret->times <= 4096 && ret->types >= 1 &&
	       ret->types <= 256 && ret->chars <= 4096;
}

static size_t block_size(const struct counts *c, size_t time_size)
{
	return c->times * (time_size + 1) + c->types * 6 + c->chars + c->leap * (time_size + 4) +
	       c->isstd + c->isut;
}

static int32_t type_offset(const uint8_t *types, uint32_t i)
{
	return (int32_t)et_get32(types + (size_t)i * 6);
}

static bool offset_is_sane(int32_t s)
{
	return s >= -OFFSET_MAX_S && s <= OFFSET_MAX_S;
}

static bool read_changes(struct et_reader *r, const struct counts *c, struct et_zone *ret)
{
	const uint8_t *times = et_read_bytes(r, (size_t)c->times * 8);
	const uint8_t *which = et_read_bytes(r, c->times);
	const uint8_t *types = et_read_bytes(r, (size_t)c->types * 6);
	(void)et_read_bytes(r, c->chars + (size_t)c->leap * 12 + c->isstd + c->isut);
	if (r->failed || !offset_is_sane(type_offset(types, 0))) {
		return false;
	}
	uint32_t skip = c->times > ET_ZONE_CHANGES_MAX ? c->times - ET_ZONE_CHANGES_MAX : 0;
	int64_t last_s = INT64_MIN;
	ret->first_s = type_offset(types, 0);
	for (uint32_t i = 0; i < c->times; i++) {
		int64_t at_s = (int64_t)et_get64(times + (size_t)i * 8);
		if (which[i] >= c->types || (i > 0 && at_s <= last_s) ||
		    !offset_is_sane(type_offset(types, which[i]))) {
			return false;
		}
		last_s = at_s;
		if (i < skip) {
			ret->first_s = type_offset(types, which[i]);
			continue;
		}
		ret->changes[ret->count].at_s = at_s;
		ret->changes[ret->count++].offset_s = type_offset(types, which[i]);
	}
	return true;
}

/* A footer with a comma has a rule for summer time. */
static bool footer_changes(struct et_reader *r)
{
	size_t left = et_reader_left(r);
	const uint8_t *p = et_read_bytes(r, left);
	return p != NULL && memchr(p, ',', left) != NULL;
}

int et_zone_read(const char *name, const void *data, size_t size, struct et_zone *ret,
		 struct et_error *reterr)
{
	struct et_reader r = et_reader_of(data, size);
	struct et_zone z = { .count = 0 };
	struct counts c;
	uint8_t version = 0;

	(void)snprintf(z.name, sizeof(z.name), "%s", name);
	bool sound = read_head(&r, &version, &c) && version >= '2';
	if (sound) {
		(void)et_read_bytes(&r, block_size(&c, 4)); /* the 32-bit block */
		sound = read_head(&r, &version, &c) && read_changes(&r, &c, &z);
	}
	if (!sound) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the file of time zone %.63s is no TZif", name);
	}
	if (footer_changes(&r) && (z.count == 0 || z.changes[z.count - 1].at_s < FAT_UNTIL_S)) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED,
				     "the file of time zone %.63s lists no changes up to 2037: "
				     "install Debian's tzdata",
				     name);
	}
	*ret = z;
	return 0;
}

static bool name_is_valid(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_+-/";
	size_t size = strlen(name);
	return size > 0 && size <= ET_ZONE_NAME_MAX && strspn(name, allowed) == size &&
	       name[0] != '/' && name[size - 1] != '/';
}

int et_zone_load(const char *name, struct et_zone *ret, struct et_error *reterr)
{
	static uint8_t zero[1];
	char path[sizeof(FOLDER) + ET_ZONE_NAME_MAX + 2];
	if (strcmp(name, "UTC") == 0) {
		*ret = (struct et_zone){ .name = "UTC" };
		return 0;
	}
	if (!name_is_valid(name)) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "a time zone is UTC or a name such as Europe/Prague, not "
				     "\"%.63s\"",
				     name);
	}
	(void)snprintf(path, sizeof(path), "%s/%s", FOLDER, name);
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return et_fail_plain(reterr, ET_ENOTFOUND, "there is no time zone \"%.63s\" in %s",
				     name, FOLDER);
	}
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { .data = NULL };
	ssize_t n = 1;
	while (n > 0 && b.size <= ET_ZONE_FILE_MAX) {
		uint8_t chunk[4096];
		n = read(fd, chunk, sizeof(chunk));
		et_buffer_add(&b, chunk, n > 0 ? (size_t)n : 0);
	}
	if (n < 0 || b.failed || b.size > ET_ZONE_FILE_MAX) {
		return et_fail_plain(reterr, ET_ENOTFOUND, "'%s' cannot be read", path);
	}
	return et_zone_read(name, b.data != NULL ? b.data : zero, b.size, ret, reterr);
}

int et_zone_among(struct et_zone *zones, uint32_t *count, uint32_t max, const char *name,
		  uint32_t *ret, struct et_error *reterr)
{
	uint32_t i = 0;

	while (i < *count && strcmp(zones[i].name, name) != 0) {
		i++;
	}
	if (i == max) {
		return et_fail_plain(reterr, ET_ELIMIT, "more than %u time zones", max);
	}
	int rc = i == *count ? et_zone_load(name, &zones[i], reterr) : 0;
	if (rc == 0) {
		*count += i == *count;
		*ret = i;
	}
	return rc;
}

int32_t et_zone_offset(const struct et_zone *z, int64_t time_us)
{
	int64_t s = time_us / 1000000;
	uint32_t low = 0;
	uint32_t high =
		z->count; /* changes before `low` are at or before s, those from `high` on not */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (z->changes[middle].at_s <= s) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low > 0 ? z->changes[low - 1].offset_s : z->first_s;
}
