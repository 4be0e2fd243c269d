/* What a database that was just opened needs before it answers quickly: its tables opened, and the
 * parts of their indexes in the block cache. Left to the first questions, each of these waits for
 * the disk several times in a row for every record of its page; here all is asked for at once.
 *
 * Of what searches read: records, and the index. The newest first; at most so much that it stays in
 * the cache. Nothing depends on it: what cannot be read here is told by who needs it. */
#include "raft/state/search_internal.h"

#define PRELOAD_BYTES (6UL << 30) /* of tables: their indexes are about a hundredth of that */
#define PROBE_BYTES (1UL << 20)	  /* of a table of records: about half of what a part tells of */
#define FEW 8			  /* probes are not worth threads */
#define AT_ONCE 128		  /* then searches of a former database have the threads */

struct probe {
	enum state_cf cf;
	struct key key;
};

struct preload {
	const struct database *d;
	rocksdb_readoptions_t *options; /* owned */
	struct probe *list;		/* owned */
	size_t count;
	size_t capacity;
	size_t first; /* of those that are being read */
};

static bool probe_add(struct preload *p, enum state_cf cf, const void *key, size_t size)
{
	if (p->count == p->capacity) {
		size_t capacity = p->capacity > 0 ? p->capacity * 2 : 64;
		struct probe *list = realloc(p->list, capacity * sizeof(*list));
		if (list == NULL) {
			return false;
		}
		p->list = list;
		p->capacity = capacity;
	}
	if (size <= STATE_KEY_MAX) {
		p->list[p->count++] = (struct probe){ cf, key_of(key, size) };
	}
	return true;
}

/* A table that is opened late reads its index as a whole; those of records are among the few that
 * are opened with the database, and do not. Ids begin with a time: evenly spread keys will do. */
static bool probe_records(struct preload *p, const uint8_t *first, const uint8_t *last,
			  uint64_t bytes)
{
	uint64_t steps = bytes / PROBE_BYTES + 1;
	uint64_t from = et_get64(first);
	uint64_t to = et_get64(last);
	bool good = true;

	for (uint64_t i = 0; i < steps && good; i++) {
		uint8_t key[16];
		memcpy(key, first, sizeof(key));
		if (i > 0) {
			et_put64(key, from + (to - from) / steps * i);
		}
		good = probe_add(p, CF_RECORDING, key, sizeof(key));
	}
	return good;
}

static int family_of(const char *name, const char *const *names)
{
	static const enum state_cf wanted[] = { CF_RECORDING, CF_FIND, CF_LINK };

	for (size_t i = 0; i < ET_ARRAY_SIZE(wanted); i++) {
		if (strcmp(name, names[wanted[i]]) == 0) {
			return (int)wanted[i];
		}
	}
	return -1;
}

static void probes_make(struct preload *p, const char *const *names)
{
	const rocksdb_livefiles_t *files = rocksdb_livefiles(p->d->db);
	uint64_t bytes = 0;
	bool good = true;

	for (int i = rocksdb_livefiles_count(files); i-- > 0 && good && bytes < PRELOAD_BYTES;) {
		int cf = family_of(rocksdb_livefiles_column_family_name(files, i), names);
		size_t size;
		size_t last_size;
		const char *first = rocksdb_livefiles_smallestkey(files, i, &size);
		const char *last = rocksdb_livefiles_largestkey(files, i, &last_size);
		if (cf < 0) {
			continue;
		}
		bytes += rocksdb_livefiles_size(files, i);
		if (cf == CF_RECORDING && size == 16 && last_size == 16) {
			good = probe_records(p, (const uint8_t *)first, (const uint8_t *)last,
					     rocksdb_livefiles_size(files, i));
		} else {
			good = probe_add(p, (enum state_cf)cf, first, size);
		}
	}
	rocksdb_livefiles_destroy(files);
}

static void probe_run(void *arg, size_t i)
{
	const struct preload *p = arg;
	const struct probe *x = &p->list[p->first + i];
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(p->d->db, p->options, p->d->cf[x->cf]);

	rocksdb_iter_seek(it, (const char *)x->key.data, x->key.size);
	rocksdb_iter_destroy(it);
}

void database_preload(struct et_state *s, const struct database *d, const char *const *names)
{
	struct preload p = { .d = d, .options = read_options() };
	size_t count;

	probes_make(&p, names);
	for (; p.first < p.count; p.first += count) {
		count = p.count <= FEW ? 1 : p.count - p.first;
		count = count < AT_ONCE ? count : AT_ONCE;
		helpers_each(s, count, probe_run, &p);
	}
	rocksdb_readoptions_destroy(p.options);
	free(p.list);
}
