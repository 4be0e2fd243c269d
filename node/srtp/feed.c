#include "node/srtp/feed.h"

#include <stdlib.h>
#include <string.h>

#include "node/srtp/given.h"

struct et_key_feed {
	struct et_secret *line; /* owned */
	size_t size;
	bool overlong;
	uint64_t number;	  /* of the line */
	struct et_keylog *keylog; /* owned, as the next: to judge a line by */
	struct et_srtp_ring *ring;
};

int et_key_feed_new(struct et_key_feed **ret, struct et_error *reterr)
{
	struct et_key_feed *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		return et_fail(reterr, -ENOMEM, "keys");
	}
	f->number = 1;
	f->line = et_secret_new(ET_SECRET_SIZE_MAX);
	int rc = f->line == NULL ? et_fail(reterr, -ENOMEM, "keys") : 0;
	rc = rc < 0 ? rc : et_keylog_new(1, 0, &f->keylog, reterr);
	rc = rc < 0 ? rc : et_srtp_ring_new(1, &f->ring, reterr);
	if (rc < 0) {
		(void)et_key_feed_free(f);
		return rc;
	}
	*ret = f;
	return 0;
}

struct et_key_feed *et_key_feed_free(struct et_key_feed *f)
{
	if (f != NULL) {
		(void)et_secret_free(f->line);
		(void)et_keylog_free(f->keylog);
		(void)et_srtp_ring_free(f->ring);
		free(f);
	}
	return NULL;
}

static bool is_table(struct et_view line)
{
	return line.size > 0 && memchr(line.data, '\t', line.size) != NULL;
}

/* What given_read() says of "line 1", without that. */
static const char *behind_colon(const struct et_error *why)
{
	const char *text = strstr(why->text, ": ");

	return text != NULL ? text + 2 : "no key";
}

static const char *judge(struct et_key_feed *f, struct et_view line, struct et_error *why)
{
	if (f->overlong) {
		return "it is longer than 480 bytes";
	}
	if (line.size == 0 || line.data[0] == '#') {
		return "";
	}
	if (is_table(line)) {
		uint64_t before = et_srtp_ring_serial(f->ring);
		int rc = et_srtp_given_read(line, f->ring, why);
		/* The same line again is a key, too: the ring had it. */
		return rc < 0 ? behind_colon(why)
		       : et_srtp_ring_serial(f->ring) > before ||
				       (line.data[0] != 's' && line.data[0] != 'S')
			       ? NULL
			       : "";
	}
	struct et_keylog_counts before = et_keylog_counts(f->keylog);
	if (et_keylog_add(f->keylog, line.data, line.size) < 0 || et_keylog_end(f->keylog) < 0) {
		return "no memory for it";
	}
	struct et_keylog_counts after = et_keylog_counts(f->keylog);
	return after.kept > before.kept ? NULL
	       : after.malformed > before.malformed
		       ? "its label needs a client random of 64 hexadecimal digits and a secret"
		       : "";
}

static int line_end(struct et_key_feed *f,
		    int (*each)(void *arg, uint64_t number, struct et_view line, const char *wrong),
		    void *arg)
{
	struct et_error why = { .text = "" };
	struct et_view line = { et_secret_bytes(f->line), f->size };

	while (line.size > 0 && line.data[line.size - 1] == '\r') {
		line.size--;
	}
	const char *wrong = judge(f, line, &why);
	int rc = each(arg, f->number, wrong == NULL ? line : (struct et_view){ NULL, 0 }, wrong);
	explicit_bzero(et_secret_edit(f->line), f->size);
	f->size = 0;
	f->overlong = false;
	f->number++;
	return rc;
}

int et_key_feed_add(struct et_key_feed *f, const void *data, size_t size,
		    int (*each)(void *arg, uint64_t number, struct et_view line, const char *wrong),
		    void *arg)
{
	const uint8_t *p = data;
	const uint8_t *end = p + size;

	while (p < end) {
		const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
		const size_t n = (size_t)((newline != NULL ? newline : end) - p);
		if (n > ET_KEY_LINE_MAX - f->size) {
			f->overlong = true;
		} else if (n > 0) {
			memcpy(et_secret_edit(f->line) + f->size, p, n);
			f->size += n;
		}
		if (newline == NULL) {
			return 0;
		}
		int rc = line_end(f, each, arg);
		if (rc < 0) {
			return rc;
		}
		p = newline + 1;
	}
	return 0;
}

bool et_key_lines_take(struct et_view lines, struct et_keylog *keylog, struct et_srtp_ring *ring)
{
	bool any = false;

	while (lines.size > 0) {
		const uint8_t *end = memchr(lines.data, '\n', lines.size);
		const size_t n = end != NULL ? (size_t)(end - lines.data) + 1 : lines.size;
		const struct et_view line = { lines.data, n };
		if (is_table(line)) {
			any = et_srtp_given_read(line, ring, NULL) == 0 || any;
		} else if (et_keylog_add(keylog, line.data, line.size) < 0) {
			break; /* no memory: as a key log that is read */
		}
		lines.data += n;
		lines.size -= n;
	}
	return any;
}
