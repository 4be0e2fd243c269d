#include "node/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048 };

static atomic_int log_level = ET_LOG_INFO;

void et_log_set_level(enum et_log_level level)
{
	atomic_store(&log_level, (int)level);
}

void et_log(enum et_log_level level, const char *event, const char *fmt, ...)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };

	if ((int)level < atomic_load_explicit(&log_level, memory_order_relaxed)) {
		return;
	}

	struct timespec now;
	struct tm tm;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);

	char line[LINE_MAX_BYTES];
	size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	used += (size_t)snprintf(line + used, sizeof(line) - used, ".%06ldZ %s %s ",
				 now.tv_nsec / 1000, names[level], event);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line + used, sizeof(line) - used, fmt, ap);
	va_end(ap);
	used += n < 0 ? 0 : (size_t)n;
	if (used > sizeof(line) - 2) {
		used = sizeof(line) - 2;
	}
	for (size_t i = 0; i < used; i++) {
		if (line[i] == '\n' || line[i] == '\r') {
			line[i] = ' ';
		}
	}
	line[used++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, used);
	(void)written; /* There is nowhere else to say it. */
}

const char *et_log_quote(const char *text, char *buffer, size_t size)
{
	size_t used = 0;

	et_assert(size >= 8);
	buffer[used++] = '"';
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		if (used + 6 > size) {
			break;
		}
		if (*p == '"' || *p == '\\') {
			buffer[used++] = '\\';
			buffer[used++] = (char)*p;
		} else if (*p < 0x20 || *p == 0x7F) {
			used += (size_t)snprintf(buffer + used, size - used, "\\x%02x", *p);
		} else {
			buffer[used++] = (char)*p;
		}
	}
	buffer[used++] = '"';
	buffer[used] = '\0';
	return buffer;
}
