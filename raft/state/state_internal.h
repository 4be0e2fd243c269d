/* Inside raft/state: where records lie, and how apply reads and writes them.
 *
 * Keys are big-endian, so that byte order is the order of walks. `start` is inverted (UINT64_MAX
 * minus the time), so that newest comes first.
 *
 *   COLUMN FAMILY  KEY                                  VALUE
 *   default        "format"                             u32: ET_STATE_FORMAT
 *                  "applied"                            index 8, digest 32
 *                  "counts"                             struct et_state_counts, u64 each
 *                  "audit"                              last number 8, its hash 32
 *                  "cluster"                            Cluster
 *                  "ticked"                             u8: a Tick was applied
 *                  "copies-moved"                       u64: index at which a copy last went
 *                  "wraps"                              wrapped DEKs by KEK version (wraps.c)
 *                  "key-ring"                           KeyRing
 *                  "ca-ring"                            CaRing
 *   recording      id 16                                Recording
 *   segment        recording 16, generation 4, segment 4   Segment
 *   copy           recording 16, generation 4, segment 4, place  Copy
 *   hold           recording 16, id 16                  Hold; of a scope: zeros in place of the
 *                                                       recording while it stands, then ones
 *   site           name                                 Site
 *   node           id 8                                 Node
 *   kek            version 4                            Kek
 *   grant          secret, NUL, node 8                  Grant
 *   certificate    node 8                               Certificate
 *   token          id 16                                Token
 *   policy         name                                 Policy
 *   plan           id 16                                Plan
 *   job            id 16                                Job
 *   audit          number 8                             AuditEvent
 *   op             'n', node 8                          incarnations, oldest first, 16 each
 *                  'w', node 8, incarnation 16          window (window.c)
 *                  'r', node 8, incarnation 16, chunk 4  { seq 8, size 4, Result } at most 16
 *   index          'h', hold 16                         recording 16
 *                  'j', node 8, job 16                  jobs that are not done
 *   told           'r', recording 16                    Told
 *                  'c', call 16                         Told
 *                  's', SIP Call-ID, NUL                Told
 *                  'w', since 8, one of these keys      (empty): told of, not known yet
 *   agent          'a', id, NUL, from 8, index 8, position 4   Agent
 *                  'e', number, NUL, agent id           (empty): ever told to use it
 *   link           'i', SIP Call-ID, NUL, place 24      (empty)
 *                  'c', call 16, place 24               (empty)
 *                  'g', recording 16                    (empty): a newer generation is due
 *   find, live     what search reads: index.c has the table; in no digest but its own. In `live`
 *                  also what is not in there yet: tail.c
 *
 * A place is (inverted start 8, recording 16): the same order in every list, newest first. */
#ifndef ET_RAFT_STATE_STATE_INTERNAL_H
#define ET_RAFT_STATE_STATE_INTERNAL_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "node/crypto/hash.h"
#include "raft/state/newest_internal.h"
#include "raft/state/state.h"

#define ET_STATE_FORMAT 2 /* one format only: there is no migration yet */

/* The numbers go into the digest: never change one. */
enum state_cf {
	CF_META = 0,
	CF_RECORDING = 1,
	CF_SEGMENT = 2,
	CF_COPY = 3,
	CF_HOLD = 4,
	CF_SITE = 5,
	CF_NODE = 6,
	CF_KEK = 7,
	CF_GRANT = 8,
	CF_CERTIFICATE = 9,
	CF_TOKEN = 10,
	CF_POLICY = 11,
	CF_PLAN = 12,
	CF_JOB = 13,
	CF_AUDIT = 14,
	CF_OP = 15,
	CF_INDEX = 16,
	CF_TOLD = 17,
	CF_AGENT = 18,
	CF_LINK = 19,
	CF_LIVE = 20,
	CF_FIND = 21,
	CF_COUNT = 22,
};

/* An open database. Views keep it open when the state goes over to another one. */
struct database {
	atomic_uint users; /* the state, and views */
	rocksdb_t *db;
	rocksdb_options_t *family_options[CF_COUNT];
	rocksdb_cache_t *cache;
	rocksdb_column_family_handle_t *cf[CF_COUNT];
	struct rows *rows; /* owned: records that pages had lately (rows.c) */
};

struct tail; /* tail_internal.h */
struct tail_chunk;

/* What a group has written so far (overlay.c). */
struct overlay_entry;
struct overlay_list {
	struct overlay_entry **entries; /* owned; the entries are views */
	size_t count;
	size_t capacity;
	size_t sorted; /* so many at the beginning are in order */
};
struct overlay {
	struct overlay_entry **slots; /* owned; a power of two of them, at most half are taken */
	size_t slot_count;
	size_t count;
	struct overlay_list lists[CF_COUNT];
	struct overlay_block *block; /* owned: the one that is being filled, then full ones */
	size_t used;		     /* of the first */
	struct overlay_block *spare; /* owned */
	size_t spare_count;
	bool failed; /* no memory: sticky */
};

/* With `overlay` it is apply's own view: the database and what the group has written so far. */
struct gone;

struct et_state_view {
	struct et_state *state;		/* borrowed */
	struct database *database;	/* a share, but of apply's own view: borrowed */
	rocksdb_readoptions_t *options; /* owned */
	rocksdb_readoptions_t *cached;	/* owned: what is in memory alone; NULL with `overlay` */
	const rocksdb_snapshot_t *snapshot; /* owned; NULL with `overlay` */
	struct overlay *overlay;	    /* borrowed */
	uint64_t index;
	uint64_t
		needs; /* search misses nothing up to here, or says so; UINT64_MAX: of all it has */
	uint64_t in_index; /* groups up to here are in its index for sure; 0: look at the rows */
	uint8_t digest[32];
	_Atomic(struct gone *) gone; /* owned: made when it is first needed (read.c) */
};

/* ---- Op window (window.c) ---- */

#define WINDOW_RESULTS 1024 /* results kept per incarnation */
#define WINDOW_CHUNK 16	    /* of them in one value */
#define WINDOW_CHUNKS (WINDOW_RESULTS / WINDOW_CHUNK)
#define WINDOW_RANGES_MAX 128  /* islands of applied ops above the watermark */
#define WINDOW_INCARNATIONS 64 /* per node */
#define WINDOW_CACHED 64       /* incarnations in memory, of all nodes */

struct window {
	uint64_t watermark; /* all up to it are applied, or given up by their sender, or forced */
	uint64_t forced;    /* up to here holes were closed because there were too many */
	size_t count;
	struct {
		uint64_t first, last;
	} ranges[WINDOW_RANGES_MAX + 1];
	bool is_new; /* not in the database */
};

struct result_slot {
	uint64_t seq;
	uint8_t *packed; /* owned: a Result */
	uint32_t size;
	uint32_t capacity;
	bool taken;
};

/* What apply has in memory of one start of a node's process. */
struct incarnation {
	uint64_t node;
	uint8_t id[16];
	struct window window;
	bool dirty; /* there is something to write at the end of the group */
	struct {
		bool loaded, dirty;
	} chunks[WINDOW_CHUNKS];
	struct result_slot slots[WINDOW_RESULTS];
};

/* The index as it stands on disk (index.c). */
struct find_state {
	bool known;
	bool complete; /* the generation that searches read is whole */
	bool rebuilding;
	uint8_t generation;
	uint8_t reached[16]; /* recordings up to this id are in the other generation */
	uint64_t done;
};

/* What apply said of one command of the group. */
struct outcome {
	uint64_t index;
	uint32_t position;
	Et__Command *command; /* owned; NULL: it did not even unpack */
	Et__Result result;    /* text and id point below, refused is owned */
	Et__Result *first;    /* owned: the stored result of a command seen before; else NULL */
	uint8_t id[16];
	char text[256];
};

/* Wrapped DEKs by KEK version (wraps.c). */
struct wraps {
	struct wrap_count {
		uint32_t version;
		uint64_t wraps;
	} * list; /* owned; in order of version, none of them zero */
	size_t count;
	size_t capacity;
};

#define NODES_CACHED 64
#define STATE_DIGESTS 8192 /* recent running digests that are kept, in entries */

struct et_state {
	char *path;		   /* owned */
	pthread_mutex_t mutex;	   /* of `database`: views against et_state_replace(), `helpers` */
	struct database *database; /* a share */
	struct helpers *helpers;   /* owned: threads that read for searches; NULL: none yet */
	rocksdb_writeoptions_t *write_options;
	_Atomic uint64_t applied;
	atomic_uint views;

	/* The writer's, as of the group that is being built. */
	struct et_state_view own;
	struct overlay overlay;
	rocksdb_writebatch_t *batch; /* empty but in a commit */
	struct index *index;	     /* owned */
	struct tail *tail;	     /* owned */
	bool erased;		     /* the group erases a recording */
	struct find_state find;
	atomic_bool find_pending; /* a rebuild is under way */
	bool in_group;
	int failed; /* a final error: nothing is applied any more */
	struct et_sha256 *sha;
	uint64_t write_sum; /* over the puts and deletes of the entry */
	struct et_state_counts counts;
	struct newest newest; /* recordings of the database */
	struct wraps wraps;
	uint64_t audit_number;
	uint8_t audit_hash[32];
	Et__Cluster *cluster; /* owned; NULL: no ClusterInit yet */
	bool ticked;
	struct incarnation *incarnations[WINDOW_CACHED]; /* owned; the one met last first */
	size_t incarnation_count;
	struct {
		uint64_t id;
		Et__Node *node; /* owned */
	} nodes[NODES_CACHED];	/* as they stand in the group; NODE records change rarely */
	size_t node_count;
	struct outcome *outcomes; /* owned */
	struct outcome *telling;  /* the one whose result is being told; else NULL */
	size_t outcome_count;
	size_t outcome_capacity;
	struct {
		uint64_t index;
		uint8_t digest[32];
	} digests[STATE_DIGESTS]; /* the last ones, at index modulo their number */
};

void state_tsan_note(void); /* tsan.c */
struct helpers;
void helpers_stop(struct helpers *h); /* helpers.c; NULL is allowed */

/* Write all memtables out, all families as one. `path` is free to be made and removed again, beside
 * the database. Any thread, one at a time for each path. */
int database_flush(struct database *d, const char *path, struct et_error *reterr) ET_MUST_CHECK;

/* Bring into memory what the first searches would wait for; `names` are the families' (preload.c).
 */
void database_preload(struct et_state *s, const struct database *d, const char *const *names);

/* ---- Keys ---- */

#define STATE_KEY_MAX 640

struct key {
	size_t size;
	uint8_t data[STATE_KEY_MAX];
};

struct key key_of(const void *data, size_t size);
struct key key_u32(uint32_t v);
struct key key_u64(uint64_t v);
struct key key_text(const char *text); /* without NUL */
struct key key_tag(char tag);
void key_add(struct key *k, const void *data, size_t size);
void key_add8(struct key *k, uint8_t v);
void key_add32(struct key *k, uint32_t v);
void key_add64(struct key *k, uint64_t v);
void key_add_text(struct key *k, const char *text); /* with NUL */
void key_add_place(struct key *k, const Et__Recording *r);
struct key key_segment(const uint8_t recording[16], uint32_t generation, uint32_t segment);
struct key key_copy(const Et__Copy *c);
struct key key_grant(const char *secret, uint64_t node);
struct key key_policy_at(const char *name, uint32_t revision); /* no longer in force */
struct key key_meta(const char *name);

/* ---- Reading: 0, ET_ENOTFOUND, ET_ECORRUPT, -EIO, -ENOMEM ---- */

int state_status(char *error, struct et_error *reterr, const char *what); /* frees `error` */

int view_get(const struct et_state_view *v, enum state_cf cf, const struct key *key,
	     struct et_buffer *ret);
/* The caller owns *ret: protobuf_c_message_free_unpacked(). */
int view_get_message(const struct et_state_view *v, enum state_cf cf, const struct key *key,
		     const ProtobufCMessageDescriptor *d, void *ret);

typedef int (*view_walk_fn)(void *arg, struct et_view key, struct et_view value);
/* Each key that begins with `prefix`, in order, from `from` on (NULL: the first). A result of `fn`
 * that is not 0 ends the walk and is returned. `fn` must not write: collect first. */
int view_walk(const struct et_state_view *v, enum state_cf cf, const struct key *prefix,
	      const struct key *from, view_walk_fn fn, void *arg);

/* How RocksDB keeps a family (options.c). The caller owns it. */
rocksdb_options_t *family_options(rocksdb_cache_t *cache, enum state_cf cf);

/* Options with which iterators see the whole of any family, of such with filters by prefix, too.
 * The caller owns them. */
rocksdb_readoptions_t *read_options(void);

/* The same by an iterator of the family, for who walks often. `fn` must not use it. */
rocksdb_iterator_t *view_iterator(const struct et_state_view *v, enum state_cf cf);
int iterator_status(const rocksdb_iterator_t *it); /* what ended it: 0 the end, or an error */
int view_walk_by(const struct et_state_view *v, rocksdb_iterator_t *it, enum state_cf cf,
		 const struct key *prefix, const struct key *from, view_walk_fn fn, void *arg);

typedef int (*view_message_fn)(void *arg, const void *message);
int view_walk_messages(const struct et_state_view *v, enum state_cf cf, const struct key *prefix,
		       const ProtobufCMessageDescriptor *d, view_message_fn fn, void *arg);

void message_freep(void *message); /* for ET_CLEANUP(): a pointer to any message pointer */

/* ---- Writing, by apply only: into the overlay and the running digest ---- */

void state_put(struct et_state *s, enum state_cf cf, const struct key *key, const void *value,
	       size_t size);
int state_put_message(struct et_state *s, enum state_cf cf, const struct key *key,
		      const void *message);
void state_delete(struct et_state *s, enum state_cf cf, const struct key *key);
/* Something that follows from the entry and is written later. */
void digest_note(struct et_state *s, const uint8_t *data, size_t size);

/* ---- Apply ---- */

/* One command being applied. A body function first checks all, then writes. It returns 0, or a
 * refusal (ET_E*), or a final error (-errno, ET_ECORRUPT), which stops the process. */
struct apply {
	struct et_state *s;
	const struct et_state_view *v; /* s->own */
	uint64_t index;
	const Et__Command *c;
	struct outcome *o;
	bool from_draining; /* whose op it is drains */
};

int refuse(struct apply *a, int code, const char *fmt, ...) ET_PRINTF(3, 4);
void result_id(struct apply *a, ProtobufCBinaryData id);
int result_refused(struct apply *a, uint32_t position);
bool code_is_final(int code);
bool schema_has(const struct apply *a, uint32_t schema); /* the committed one */
int64_t apply_time(const struct apply *a);		 /* cluster time; never 0 */
bool node_is_member(const Et__Node *n);
/* The node of a place "node:N"; 0: it is a target. */
uint64_t place_node(const char *place);
/* A node, borrowed until a NODE record is written. ET_ENOTFOUND. */
int apply_node(struct apply *a, uint64_t id, const Et__Node **ret);
void nodes_forget(struct et_state *s);
/* The node, or a refusal that names it. */
int apply_member(struct apply *a, uint64_t id, Et__Node **ret);
bool bytes_equal(ProtobufCBinaryData a, ProtobufCBinaryData b);

int apply_recording_open(struct apply *a);
int apply_recording_update(struct apply *a);
int apply_recording_close(struct apply *a);
int apply_segment_open(struct apply *a);
int apply_segment_seal(struct apply *a);
int apply_copy_add(struct apply *a);
int apply_copy_bad(struct apply *a);
int apply_copy_evict(struct apply *a);
int apply_cluster_init(struct apply *a);
int apply_token_add(struct apply *a);
int apply_token_revoke(struct apply *a);
int apply_node_join(struct apply *a);
int apply_node_update(struct apply *a);
int apply_node_remove(struct apply *a);
int apply_node_roles(struct apply *a);
int apply_node_drain(struct apply *a);
int apply_certificate_add(struct apply *a);
int apply_grant_add(struct apply *a);
int apply_kek_add(struct apply *a);
int apply_policy_set(struct apply *a);
int apply_hold_add(struct apply *a);
int apply_hold_release(struct apply *a);
int apply_plan_put(struct apply *a);
int apply_plan_apply(struct apply *a);
int apply_job_update(struct apply *a);
int apply_tick(struct apply *a);
int apply_site_set(struct apply *a);
int apply_site_remove(struct apply *a); /* sites.c */
int apply_fact_add(struct apply *a);
int apply_tag_set(struct apply *a);
int apply_note_add(struct apply *a);
int apply_agent_set(struct apply *a);
int apply_digest_check(struct apply *a);
int apply_cluster_upgrade(struct apply *a);
int apply_recording_erase(struct apply *a);
int apply_restore_step(struct apply *a);
int apply_recording_redact(struct apply *a); /* generations.c */
int apply_generation_put(struct apply *a);
int apply_generation_finish(struct apply *a);
/* Nothing is due of it any more. */
int generations_drop(struct apply *a, const uint8_t recording[16]);
/* A segment of it (NULL: it is not known yet) came, sealed, and is written: a redaction may have
 * been done without it. */
int generations_late(struct apply *a, const Et__Recording *r);

int apply_kek_rotate(struct apply *a);
int apply_kek_set(struct apply *a);
int apply_kek_report(struct apply *a);
int apply_kek_rewrap(struct apply *a);
int apply_key_schedule(struct apply *a);
int apply_kek_escrow(struct apply *a);
/* A vault node was stolen: what its grants open (0: every living version) is compromised, and
 * another version is wanted. */
int keks_compromise(struct apply *a, uint64_t node);

int apply_recordings_join(struct apply *a); /* legs.c */
int apply_recording_split(struct apply *a);
int apply_ca_rotate(struct apply *a); /* ca.c */
int apply_ca_step(struct apply *a);
int apply_ca_report(struct apply *a);
int apply_ca_sign(struct apply *a);
int apply_recording_import(struct apply *a); /* import.c */
/* 0, or the refusal: the CA of a certificate or signature that comes in is not trusted. */
int ca_welcome(struct apply *a, uint32_t told);
int ca_secret_check(struct apply *a, const char *secret, bool *ret);
int ca_force(struct apply *a);
int ca_restore(struct apply *a, Et__Grant *const *grants, size_t count, Et__Cluster *after);

/* All records of one kind, to be changed: that must not be while they are walked (restore.c).
 * Release it in any case. */
struct found {
	const ProtobufCMessageDescriptor *d;
	ProtobufCMessage **list; /* owned, and what it points to */
	size_t count;
};
int found_all(struct apply *a, enum state_cf cf, struct found *f);
void found_release(struct found *f);

/* While a restore is made only its own steps are admitted, and they at no other time. */
int restore_admit(struct apply *a);

int cluster_put(struct apply *a, const Et__Cluster *c);
int segment_put(struct apply *a, const Et__Segment *g);
int site_ensure(struct apply *a, const char *name);

/* Erase for good (erase.c). `known` NULL: nothing is known of it yet. */
int recording_erase(struct apply *a, const uint8_t id[16], const Et__Recording *known,
		    int64_t erased_us, uint64_t erased_index);
/* Plans to erase. Check: when it is put; item_check: when it is applied, ET_ESTALE if the world has
 * moved; carry_out: after all checks. */
bool plan_erases(const Et__Plan *plan);
int erase_plan_check(struct apply *a, const Et__Plan *plan);
int erase_item_check(struct apply *a, const Et__Plan *plan, const Et__PlanItem *item);
int erase_plan_carry_out(struct apply *a, Et__Plan *plan);
/* Does either party's number fit "4930*", "*4711" or an exact one? (holds.c) */
bool state_number_fits(const char *pattern, const Et__Recording *r);
/* 0 and the recording, or NULL: nothing is known of it yet. Or the refusal that it is erased. The
 * caller frees *ret in any case. */
int recording_not_erased(struct apply *a, ProtobufCBinaryData id, Et__Recording **ret);
/* 0, or the refusal that a hold stands. */
int recording_not_held(struct apply *a, const Et__Recording *known);
/* The wrapped key of one segment goes. */
int segment_erase(struct apply *a, const Et__Segment *g);
bool segment_is_sealed(const Et__Segment *g);
bool segment_has_hash(const Et__Segment *g); /* that says which object it is, byte for byte */

/* All segments of a recording: of every generation, in order. */
struct segment_list {
	const struct et_state_view *v;
	Et__Segment **list; /* owned, and what it points to */
	size_t count;
};

/* On success the caller releases it; a failure leaves nothing. */
int segment_list_load(const struct et_state_view *v, const uint8_t recording[16],
		      struct segment_list *ret) ET_MUST_CHECK;
void segment_list_release(struct segment_list *l);

/* The node that sealed it has it; copies of what was sealed before, elsewhere, are no good now. */
int copy_of_sealer(struct apply *a, const Et__Segment *g, const char *store_uuid, bool was_sealed);

/* Refuse what is not of a vault node. keys.c */
int vault_speaks(struct apply *a);
int grants_check(struct apply *a, Et__Grant *const *grants, size_t count, const Et__Node *joining);
/* The same, while a KEK version is being added. */
int grants_check_adding(struct apply *a, Et__Grant *const *grants, size_t count,
			const Et__Node *joining, uint32_t adding_kek);
int grants_put(struct apply *a, Et__Grant *const *grants, size_t count);
int grants_drop_node(struct apply *a, uint64_t node); /* keys.c: all that it has */
/* Grants of one secret (NULL: any) to one node (0: any) go. */
int grants_drop(struct apply *a, const char *secret, uint64_t node);
int kek_put(struct apply *a, const Et__Kek *kek);
int wrap_welcome(struct apply *a, const Et__Wrap *wrap);
int certificate_put(struct apply *a, const Et__Certificate *c);
int node_put(struct apply *a, const Et__Node *n);
bool node_has_role(const Et__Node *n, const char *role);
/* Does it hold media by its roles? capture, vault or store; never a witness, and never a spare:
 * that hears nothing of the catalogue. */
bool node_stores(const Et__Node *n);
/* May a verified copy at this node stand in for another that goes? Not while it drains. */
bool node_keeps(const Et__Node *n);
/* After this command a node may hold something alone that it did not before: a removal that looked
 * at the copies earlier is refused. */
int copies_moved(struct apply *a); /* returns 0 */

/* Write a copy and keep the counters: `before` NULL when it is new. */
int copy_put(struct apply *a, const Et__Copy *before, const Et__Copy *after);

/* ---- Links: from a SIP Call-ID and from a call to their recordings (links.c) ---- */

#define LINKED_MAX 64 /* recordings that one link is asked for */

struct linked {
	uint8_t ids[LINKED_MAX][16];
	size_t count;
	bool too_many;
};

struct key link_of_call(ProtobufCBinaryData call);
struct key link_of_sip(const char *sip_call_id);
/* Whom the link names, the newest first, behind those that are in *ret already; each once. */
int linked_read(const struct et_state_view *v, const struct key *link, struct linked *ret);
/* true: it has a link that it had not. `before` NULL: it is new. */
bool links_update(struct et_state *s, const Et__Recording *before, const Et__Recording *after);
/* A link without its place: what filters of tables are made of. The caller owns it. */
rocksdb_slicetransform_t *links_filter(void);

/* Write a recording, its index entries and the counters. `before` NULL when it is new. */
int recording_put(struct apply *a, const Et__Recording *before, const Et__Recording *after);
/* One that is not known yet, as it is when its recorder has closed it. */
int recording_import(struct apply *a, const Et__Recording *told);

/* ---- Legs by hand (legs.c) ---- */

/* The call that a new recording goes to because others went there from its own. */
struct followed {
	uint8_t call[16];
	Et__Hand hand; /* its texts are the command's, `was` is the recording's own call */
};

/* 1: it follows, and *ret says where. 0: it does not. */
int legs_follow(struct apply *a, const Et__Recording *r, struct followed *ret) ET_MUST_CHECK;

/* ---- Wrapped DEKs by KEK version (wraps.c) ---- */

bool wrap_counts(const Et__Wrap *wrap); /* a key that is there; NULL is allowed */
int wraps_add(struct et_state *s, const Et__Wrap *wrap) ET_MUST_CHECK;
int wraps_remove(struct et_state *s, const Et__Wrap *wrap) ET_MUST_CHECK;
void wraps_write(struct et_state *s); /* into the batch */
/* As the view has them. wraps_release() after success. */
int wraps_read(const struct et_state_view *v, struct wraps *ret) ET_MUST_CHECK;
void wraps_release(struct wraps *w);

/* ---- What is told of calls (told.c), agents (agents.c) ---- */

#define TOLD_SUBJECTS                                                                              \
	4		/* a recording is told of by its id, its call, the call that it was moved  \
			 * from by hand, its SIP Call-ID */
#define AGENT_ID_MAX 64 /* bytes */
#define NUMBER_TEXT_MAX 256 /* bytes of a number */

size_t told_subjects(const Et__Recording *r, Et__Subject subjects[TOLD_SUBJECTS]);
/* What is told of a recording; NULL where nothing is. told_free() after success. */
int told_load(const struct et_state_view *v, const Et__Recording *r,
	      Et__Told *told[TOLD_SUBJECTS]) ET_MUST_CHECK;
void told_free(Et__Told *told[TOLD_SUBJECTS]);
/* Nothing of this subject stays, unless another recording carries its call or SIP Call-ID. */
int told_forget(struct apply *a, const Et__Subject *about);
/* A recording is there: what waited for it waits no more. */
int told_claim(struct apply *a, const Et__Recording *r);
/* Facts and tags of an import: all of them, or a refusal. */
int told_import(struct apply *a, Et__Subject *about, const Et__RecordingImport *told);

typedef int (*agent_number_fn)(void *arg, const char *number, int64_t from_us, int64_t to_us);
/* The numbers of an agent or a team (the other is NULL), and each stretch of time [from, to) in
 * which it was theirs. */
int agent_numbers(const struct et_state_view *v, const char *agent, const char *team,
		  agent_number_fn fn, void *arg);

/* ---- Indexes (index.c) ---- */

#define WORD_SIZE 49 /* of a word, with its NUL; longer words are cut */
#define PLACE_SIZE 24

/* A recording with all that search knows it by. */
struct indexed {
	const Et__Recording *r;
	const Et__Told *const *told; /* TOLD_SUBJECTS of them, NULL where nothing is told */
};

/* The one place that changes indexes: from what was to what is (`before` NULL: it is new). The
 * changes go to the tail, which writes them behind apply. Apply never reads them. -ENOMEM. */
int index_update(struct et_state *s, const struct indexed *before,
		 const struct indexed *after) ET_MUST_CHECK;
struct index *index_new(void); /* room to work in; NULL: no memory */
void index_free(struct index *x);

/* The entries that a recording has by the view's records, whatever its index has. ET_ENOTFOUND. */
int index_of(struct index *x, const struct et_state_view *v, const uint8_t id[16]) ET_MUST_CHECK;
/* Does `list` (a key without its place) have one of them, at `place`? */
bool index_has(const struct index *x, const struct key *list, const uint8_t place[PLACE_SIZE]);

/* What the time index has of each recording. Texts are views. */
struct cover {
	int state;
	uint64_t node;
	int64_t duration_us; /* -1: not ended */
	const char *site, *from, *to;
};
int cover_read(struct et_view value, struct cover *ret) ET_MUST_CHECK;

/* What a word's list has of each recording. */
struct word_cover {
	uint8_t bits[16]; /* of all its words */
};
void word_cover_add(struct word_cover *c, const char *word);

/* Spans of 76 hours, newest first, of the inverted start. */
static inline uint32_t place_span(uint64_t time_inverted)
{
	return (uint32_t)(time_inverted >> 38);
}

struct key find_key(uint8_t generation, char tag);
void find_key_add_number(struct key *k, const char *number, size_t size, bool backwards);
void find_key_add_fact(struct key *k, const char *key, int type, const char *text, int64_t number);
uint8_t duration_class(int64_t us);
int64_t recording_duration(const Et__Recording *r); /* -1: not ended */

int find_state_read(const struct et_state_view *v, struct find_state *ret) ET_MUST_CHECK;
/* What a database that was just opened has; starts a rebuild where it has nothing. */
int find_open(struct et_state *s, const struct et_state_view *v, struct find_state *ret,
	      struct et_error *reterr) ET_MUST_CHECK;

/* The first word of a text, folded; returns where to go on, or NULL: there is none. */
const char *word_next(const char *text, char word[WORD_SIZE]);

/* Append to the audit chain; *ret_number (may be NULL) gets the event's number. */
int audit_append(struct apply *a, const char *action, const char *target, const char *detail,
		 int code, uint64_t *ret_number);

/* ---- Op window (window.c) ---- */

bool window_has(const struct window *w, uint64_t seq);
void window_add(struct window *w, uint64_t seq, uint64_t floor);
/* The incarnation of the command's op id; borrowed until the next call. */
int window_of(struct apply *a, struct incarnation **ret);
/* Its stored result. ET_ENOTFOUND: no longer there. */
int window_result(struct apply *a, struct incarnation *n, Et__Result **ret);
/* The command is applied, with this result. */
int window_store(struct apply *a, struct incarnation *n, const Et__Result *r);
void windows_write(struct et_state *s);	 /* what the group changed, into the overlay */
void windows_forget(struct et_state *s); /* the database is another one */

/* ---- Merging what is told of a recording (merge.c): pure ---- */

enum merge {
	MERGE_OPEN,   /* fills only what is empty */
	MERGE_UPDATE, /* replaces, while it is capturing; afterwards fills */
	MERGE_CLOSE,  /* as MERGE_UPDATE, and ends it */
};

/* Fold `told` into `r` (unpacked, the caller's, changed in place; what is told is copied). Streams
 * and gaps are never lost; the start never changes once known. -ENOMEM. */
int recording_merge(Et__Recording *r, const Et__Recording *told, enum merge how);

/* What recording_merge() makes of an empty recording, when nothing of `told` must be folded: its
 * parts stay where they are. false: it must be. */
bool recording_begin(const Et__Recording *told, enum merge how, Et__Recording *ret);

#endif
