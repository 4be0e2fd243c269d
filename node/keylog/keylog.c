#include "node/keylog/keylog.h"

#include <stdlib.h>
#include <unistd.h>

#include "node/base/secret.h"

/* The longest line is 31 + 1 + 64 + 1 + 128 and its end; comments may be longer, and are not kept.
 */
#define LINE_MAX_SIZE ET_SECRET_SIZE_MAX
#define SLOT_SIZE ET_KEYLOG_SECRET_MAX
#define SLAB_SLOTS (ET_SECRET_SIZE_MAX / SLOT_SIZE) /* secrets in one piece of secret memory */
#define READ_SIZE 4096
#define NONE UINT32_MAX

struct entry {
	uint8_t random[ET_KEYLOG_RANDOM_SIZE];
	uint32_t next; /* of its bucket, NONE at the end */
	uint8_t label; /* enum et_keylog_label */
	uint8_t size;  /* bytes of the secret, which lies in the slot of the same number */
};

struct et_keylog {
	uint64_t seed;
	uint32_t max;
	uint32_t used;		  /* entries, from the first */
	uint32_t oldest;	  /* the entry that gives way next, once all are used */
	uint32_t mask;		  /* buckets - 1 */
	uint32_t *heads;	  /* owned */
	struct entry *entries;	  /* owned; `max` of them */
	struct et_secret **slabs; /* owned; made as they are needed */

	struct et_secret *line; /* owned; what was read of the line that has not ended */
	size_t line_size;
	bool overlong; /* more than `line` takes: pass over the rest */
	struct et_keylog_counts counts;
};

static const struct {
	const char *name;
	uint8_t size_min;
	uint8_t size_max;
} labels[] = {
	[ET_KEYLOG_MASTER_SECRET] = { "CLIENT_RANDOM", 48, 48 },
	[ET_KEYLOG_CLIENT_HANDSHAKE] = { "CLIENT_HANDSHAKE_TRAFFIC_SECRET", 32, 64 },
	[ET_KEYLOG_SERVER_HANDSHAKE] = { "SERVER_HANDSHAKE_TRAFFIC_SECRET", 32, 64 },
	[ET_KEYLOG_CLIENT_TRAFFIC] = { "CLIENT_TRAFFIC_SECRET_0", 32, 64 },
	[ET_KEYLOG_SERVER_TRAFFIC] = { "SERVER_TRAFFIC_SECRET_0", 32, 64 },
	[ET_KEYLOG_EXPORTER] = { "EXPORTER_SECRET", 32, 64 },
};

static uint32_t slabs_of(uint32_t max)
{
	return (max + SLAB_SLOTS - 1) / SLAB_SLOTS;
}

int et_keylog_new(uint32_t max, uint64_t seed, struct et_keylog **ret, struct et_error *reterr)
{
	et_assert(max > 0 && max <= ET_KEYLOG_ENTRIES_MAX);

	ET_CLEANUP(et_keylog_freep) struct et_keylog *k = calloc(1, sizeof(*k));
	if (k == NULL) {
		return et_fail(reterr, -ENOMEM, "key log");
	}
	uint32_t buckets = 1;
	while (buckets < max) {
		buckets *= 2;
	}
	k->seed = seed;
	k->max = max;
	k->mask = buckets - 1;
	k->heads = malloc(buckets * sizeof(*k->heads));
	k->entries = calloc(max, sizeof(*k->entries));
	k->slabs = calloc(slabs_of(max), sizeof(struct et_secret *));
	k->line = et_secret_new(LINE_MAX_SIZE);
	if (k->heads == NULL || k->entries == NULL || k->slabs == NULL || k->line == NULL) {
		return et_fail(reterr, -ENOMEM, "key log of %u secrets", max);
	}
	memset(k->heads, 0xFF, buckets * sizeof(*k->heads));
	*ret = ET_TAKE(k);
	return 0;
}

struct et_keylog *et_keylog_free(struct et_keylog *k)
{
	if (k == NULL) {
		return NULL;
	}
	for (uint32_t i = 0; k->slabs != NULL && i < slabs_of(k->max); i++) {
		(void)et_secret_free(k->slabs[i]);
	}
	(void)et_secret_free(k->line);
	free(k->slabs);
	free(k->entries);
	free(k->heads);
	free(k);
	return NULL;
}

static uint32_t *bucket_of(const struct et_keylog *k, const uint8_t *random)
{
	uint64_t h = k->seed;

	for (size_t i = 0; i < ET_KEYLOG_RANDOM_SIZE; i += 8) {
		h = (h ^ et_get64(random + i)) * 0x9E3779B97F4A7C15U;
		h ^= h >> 32;
	}
	return &k->heads[(uint32_t)h & k->mask];
}

static uint8_t *slot_of(const struct et_keylog *k, uint32_t i)
{
	return et_secret_edit(k->slabs[i / SLAB_SLOTS]) + (size_t)(i % SLAB_SLOTS) * SLOT_SIZE;
}

static uint32_t entry_find(const struct et_keylog *k, enum et_keylog_label label,
			   const uint8_t *random)
{
	uint32_t i = *bucket_of(k, random);

	while (i != NONE && (k->entries[i].label != (uint8_t)label ||
			     memcmp(k->entries[i].random, random, ET_KEYLOG_RANDOM_SIZE) != 0)) {
		i = k->entries[i].next;
	}
	return i;
}

/* Take the oldest entry out of its bucket, and wipe its secret. */
static uint32_t entry_forget(struct et_keylog *k)
{
	uint32_t i = k->oldest;
	uint32_t *at = bucket_of(k, k->entries[i].random);

	while (*at != i) {
		et_assert(*at != NONE);
		at = &k->entries[*at].next;
	}
	*at = k->entries[i].next;
	explicit_bzero(slot_of(k, i), SLOT_SIZE);
	k->oldest = (i + 1) % k->max;
	k->counts.forgotten++;
	return i;
}

/* An entry for this handshake, in its bucket; NONE without memory. */
static uint32_t entry_take(struct et_keylog *k, enum et_keylog_label label, const uint8_t *random)
{
	uint32_t i = entry_find(k, label, random);
	if (i != NONE) {
		return i;
	}
	if (k->used == k->max) {
		i = entry_forget(k);
	} else {
		struct et_secret **slab = &k->slabs[k->used / SLAB_SLOTS];
		if (*slab == NULL) {
			*slab = et_secret_new(ET_SECRET_SIZE_MAX);
		}
		if (*slab == NULL) {
			return NONE;
		}
		i = k->used++;
	}
	struct entry *e = &k->entries[i];
	uint32_t *head = bucket_of(k, random);
	memcpy(e->random, random, sizeof(e->random));
	e->label = (uint8_t)label;
	e->next = *head;
	*head = i;
	return i;
}

/* The word up to the next blank; `text` goes on behind it. */
static struct et_view word_take(struct et_view *text)
{
	const uint8_t *blank = memchr(text->data, ' ', text->size);
	struct et_view word = *text;

	if (blank == NULL) {
		text->data += text->size;
		text->size = 0;
		return word;
	}
	word.size = (size_t)(blank - text->data);
	text->data += word.size + 1;
	text->size -= word.size + 1;
	return word;
}

static int label_of(struct et_view word)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(labels); i++) {
		if (word.size == strlen(labels[i].name) &&
		    memcmp(word.data, labels[i].name, word.size) == 0) {
			return (int)i;
		}
	}
	return -1;
}

static int line_take(struct et_keylog *k, struct et_view text)
{
	while (text.size > 0 &&
	       (text.data[text.size - 1] == '\r' || text.data[text.size - 1] == ' ')) {
		text.size--;
	}
	int label = label_of(word_take(&text));
	if (label < 0) {
		k->counts.other++;
		return 0;
	}
	uint8_t random[ET_KEYLOG_RANDOM_SIZE];
	uint8_t secret[ET_KEYLOG_SECRET_MAX];
	struct et_view word = word_take(&text);
	size_t size = text.size / 2;
	if (!et_unhex((const char *)word.data, word.size, random, sizeof(random)) ||
	    size < labels[label].size_min || size > labels[label].size_max ||
	    !et_unhex((const char *)text.data, text.size, secret, size)) {
		explicit_bzero(secret, sizeof(secret));
		k->counts.malformed++;
		return 0;
	}
	uint32_t i = entry_take(k, (enum et_keylog_label)label, random);
	if (i != NONE) {
		uint8_t *slot = slot_of(k, i);
		memcpy(slot, secret, size);
		explicit_bzero(slot + size, SLOT_SIZE - size);
		k->entries[i].size = (uint8_t)size;
		k->counts.kept++;
	}
	explicit_bzero(secret, sizeof(secret));
	return i != NONE ? 0 : -ENOMEM;
}

/* The line has ended: take it, and begin the next. */
static int line_end(struct et_keylog *k)
{
	int rc = 0;

	if (k->overlong) {
		k->counts.malformed++;
	} else {
		rc = line_take(k, (struct et_view){ et_secret_bytes(k->line), k->line_size });
	}
	explicit_bzero(et_secret_edit(k->line), k->line_size);
	k->line_size = 0;
	k->overlong = false;
	return rc;
}

static void line_append(struct et_keylog *k, const uint8_t *data, size_t size)
{
	if (size > LINE_MAX_SIZE - k->line_size) {
		k->overlong = true;
		return;
	}
	if (size > 0) {
		memcpy(et_secret_edit(k->line) + k->line_size, data, size);
		k->line_size += size;
	}
}

int et_keylog_add(struct et_keylog *k, const void *data, size_t size)
{
	const uint8_t *p = data;
	const uint8_t *end = p + size;
	int ret = 0;

	while (p < end) {
		const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
		line_append(k, p, (size_t)((newline != NULL ? newline : end) - p));
		if (newline == NULL) {
			break;
		}
		int rc = line_end(k);
		if (rc < 0) {
			ret = rc; /* The lines behind it may be of handshakes that are known. */
		}
		p = newline + 1;
	}
	return ret;
}

int et_keylog_end(struct et_keylog *k)
{
	return k->line_size > 0 || k->overlong ? line_end(k) : 0;
}

int et_keylog_read(struct et_keylog *k, int fd, struct et_error *reterr)
{
	uint8_t piece[READ_SIZE];
	int ret = 0;

	for (;;) {
		ssize_t n = read(fd, piece, sizeof(piece));
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			ret = et_fail(reterr, -errno, "read the key log");
			break;
		}
		if (n == 0) {
			break;
		}
		ret = et_keylog_add(k, piece, (size_t)n);
		if (ret < 0) {
			ret = et_fail(reterr, ret, "key log");
			break;
		}
	}
	explicit_bzero(piece, sizeof(piece));
	return ret;
}

bool et_keylog_find(const struct et_keylog *k, enum et_keylog_label label,
		    const uint8_t random[ET_KEYLOG_RANDOM_SIZE], struct et_view *ret)
{
	uint32_t i = entry_find(k, label, random);
	if (i == NONE) {
		return false;
	}
	*ret = (struct et_view){ slot_of(k, i), k->entries[i].size };
	return true;
}

struct et_keylog_counts et_keylog_counts(const struct et_keylog *k)
{
	return k->counts;
}
