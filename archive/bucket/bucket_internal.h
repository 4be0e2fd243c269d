/* What the stores share. Threads: as bucket.h. */
#ifndef ET_ARCHIVE_BUCKET_BUCKET_INTERNAL_H
#define ET_ARCHIVE_BUCKET_BUCKET_INTERNAL_H

#include <stdatomic.h>

#include "archive/bucket/bucket.h"
#include "archive/bucket/credentials.h"

#define BUCKET_NAME_MAX (2 * ET_BUCKET_KEY_MAX + 1) /* prefix, '/', key */
#define BUCKET_CHUNK_SIZE ((size_t)256 * 1024)	    /* bytes moved at a time */
#define BUCKET_OBJECT_SIZE_MAX (5ULL << 30)	    /* bytes: the limit of a single PUT */

/* A checked copy of the configuration. All text is owned. */
struct bucket_settings {
	enum et_bucket_type type;
	char *path;
	char *host; /* "name" or "[v6]", with ":port" where it is not the scheme's own */
	char *host_name;
	uint16_t port;
	bool tls;
	char *region;
	char *bucket;
	char *prefix; /* "" or "a/b/" */
	bool virtual_host;
	bool insecure_tls;
	char *ca_file; /* or NULL */
	char *credentials;
	char *storage_class; /* or NULL */
	uint32_t connect_ms;
	uint32_t stall_ms;
	uint32_t attempts;
	uint32_t pause_ms;
};

struct bucket_ops {
	int (*put_many)(struct et_bucket *b, struct et_bucket_put *puts, size_t count,
			uint32_t parallel);
	int (*get)(struct et_bucket *b, const char *name, uint64_t offset, uint64_t length,
		   et_bucket_sink sink, void *arg, struct et_error *reterr);
	int (*head)(struct et_bucket *b, const char *name, struct et_bucket_object *ret,
		    struct et_error *reterr);
	/* Names with the prefix; a name that is no key of ours is left out by the caller. */
	int (*list)(struct et_bucket *b, const char *prefix, const char *after,
		    int (*fn)(void *arg, const char *name, uint64_t size), void *arg,
		    struct et_error *reterr);
	int (*remove)(struct et_bucket *b, const char *name, struct et_error *reterr);
	/* Of versions. May be NULL: the store has none. */
	int (*remove_version)(struct et_bucket *b, const char *name, const char *version,
			      struct et_error *reterr);
	/* May be NULL: the store tells no time. */
	bool (*apart)(struct et_bucket *b, int64_t *ret_us);
	/* Make the next read come from the medium. May be NULL. */
	void (*drop_cache)(struct et_bucket *b, const char *name);
	void (*wake)(struct et_bucket *b);  /* after `cancelled` was set; any thread; may be NULL */
	void (*close)(struct et_bucket *b); /* releases what the store added, then nothing */
};

/* The first member of each store's struct. */
struct et_bucket {
	const struct bucket_ops *ops;
	struct bucket_settings settings;
	atomic_bool cancelled;
};

static inline bool bucket_is_cancelled(struct et_bucket *b)
{
	return atomic_load_explicit(&b->cancelled, memory_order_relaxed);
}

/* Each takes over `settings` on success. */
int bucket_dir_open(struct bucket_settings *settings, struct et_bucket **ret,
		    struct et_error *reterr) ET_MUST_CHECK;
int bucket_s3_open(struct bucket_settings *settings, struct et_bucket **ret,
		   struct et_error *reterr) ET_MUST_CHECK;
int bucket_s3v2_open(struct bucket_settings *settings, struct et_bucket **ret,
		     struct et_error *reterr) ET_MUST_CHECK;

/* Make the bucket itself; `b` is open. */
int bucket_s3_make(struct et_bucket *b, bool with_lock, struct et_error *reterr) ET_MUST_CHECK;
int bucket_s3v2_make(struct et_bucket *b, struct et_error *reterr) ET_MUST_CHECK;

/* The name of `put` in the store. false: too long (cannot be for a key that is ok). */
void bucket_name(const struct et_bucket *b, const char *key, char ret[BUCKET_NAME_MAX + 1]);

/* Pause before attempt `attempt` (from 2): doubled each time, with up to a quarter of chance. */
int64_t bucket_pause_us(const struct bucket_settings *s, uint32_t attempt);

/* Is what lies at `name` exactly this? 0; ET_EEXISTS: no, it is something else. */
int bucket_compare(struct et_bucket *b, const char *name, uint64_t size, const uint8_t sha256[32],
		   struct et_error *reterr) ET_MUST_CHECK;

#endif
