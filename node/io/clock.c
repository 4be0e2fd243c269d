#include "node/io/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "node/base/bytes.h"

static int64_t clock_us(clockid_t id)
{
	struct timespec now;
	(void)clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t et_clock_now_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

int64_t et_clock_mono_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

void et_random(void *ret, size_t size)
{
	uint8_t *p = ret;
	while (size > 0) {
		ssize_t n = getrandom(p, size, 0);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		et_assert(n > 0);
		p += n;
		size -= (size_t)n;
	}
}

void et_uuid7(uint8_t ret[16])
{
	uint64_t ms = (uint64_t)et_clock_now_us() / 1000;

	et_random(ret, 16);
	for (int i = 0; i < 6; i++) {
		ret[i] = (uint8_t)(ms >> (40 - 8 * i));
	}
	ret[6] = (uint8_t)(0x70 | (ret[6] & 0x0F));
	ret[8] = (uint8_t)(0x80 | (ret[8] & 0x3F));
}

void et_uuid_format(const uint8_t uuid[16], char text[ET_UUID_TEXT_SIZE])
{
	char hex[33];

	et_hex(uuid, 16, hex);
	(void)snprintf(text, ET_UUID_TEXT_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
		       hex + 16, hex + 20);
}

bool et_uuid_parse(const char *text, uint8_t ret[16])
{
	char hex[33];
	size_t used = 0;
	size_t size = strnlen(text, 40);

	if (size != 36 && size != 32) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		bool dash = size == 36 && (i == 8 || i == 13 || i == 18 || i == 23);
		if (dash != (text[i] == '-')) {
			return false;
		}
		if (!dash) {
			hex[used++] = text[i];
		}
	}
	return et_unhex(hex, 32, ret, 16);
}

void et_time_format(int64_t us, char text[ET_TIME_TEXT_SIZE])
{
	int64_t seconds = us / 1000000;
	int64_t rest = us % 1000000;
	if (rest < 0) {
		rest += 1000000;
		seconds--;
	}
	time_t t = (time_t)seconds;
	struct tm tm;
	if (gmtime_r(&t, &tm) == NULL || tm.tm_year + 1900 < 0 || tm.tm_year + 1900 > 9999) {
		(void)snprintf(text, ET_TIME_TEXT_SIZE, "0000-00-00T00:00:00.000000Z");
		return;
	}
	size_t used = strftime(text, ET_TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text + used, ET_TIME_TEXT_SIZE - used, ".%06dZ", (int)rest);
}

/* Exactly `count` digits at *p, moving it on; -1 if they are not there. */
static int digits(const char **p, int count)
{
	int v = 0;
	for (int i = 0; i < count; i++, (*p)++) {
		if (**p < '0' || **p > '9') {
			return -1;
		}
		v = v * 10 + (**p - '0');
	}
	return v;
}

static bool expect(const char **p, char c)
{
	if (**p != c) {
		return false;
	}
	(*p)++;
	return true;
}

/* "Z", "+02:00", or nothing more. */
static bool time_parse_zone(const char **p, int *ret_minutes)
{
	*ret_minutes = 0;
	if (expect(p, 'Z') || expect(p, 'z')) {
		return true;
	}
	int sign = **p == '-' ? -1 : 1;
	if (**p != '+' && **p != '-') {
		return false;
	}
	(*p)++;
	int hours = digits(p, 2);
	if (hours < 0 || hours > 23 || !expect(p, ':')) {
		return false;
	}
	int minutes = digits(p, 2);
	*ret_minutes = sign * (hours * 60 + minutes);
	return minutes >= 0 && minutes < 60;
}

bool et_time_parse(const char *text, int64_t *ret_us)
{
	const char *p = text;
	struct tm tm = { 0 };
	int64_t fraction = 0;
	int zone = 0;

	int year = digits(&p, 4);
	int month = expect(&p, '-') ? digits(&p, 2) : -1;
	int day = expect(&p, '-') ? digits(&p, 2) : -1;
	if (year < 0 || month < 1 || month > 12 || day < 1 || day > 31) {
		return false;
	}
	if (*p != '\0') {
		if (!expect(&p, 'T') && !expect(&p, 't') && !expect(&p, ' ')) {
			return false;
		}
		tm.tm_hour = digits(&p, 2);
		tm.tm_min = expect(&p, ':') ? digits(&p, 2) : -1;
		tm.tm_sec = expect(&p, ':') ? digits(&p, 2) : -1;
		if (tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 ||
		    tm.tm_sec < 0 || tm.tm_sec > 60) {
			return false;
		}
		if (expect(&p, '.')) {
			int64_t scale = 1000000;
			if (*p < '0' || *p > '9') {
				return false;
			}
			for (; *p >= '0' && *p <= '9'; p++) {
				scale /= 10;
				fraction += scale * (*p - '0');
			}
		}
		if (!time_parse_zone(&p, &zone) || *p != '\0') {
			return false;
		}
	}
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	*ret_us = ((int64_t)timegm(&tm) - zone * 60) * 1000000 + fraction;
	return true;
}
