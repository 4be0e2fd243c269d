/* Backups of the catalogue, and ledgers of erasures: two files that outlive a cluster.
 *
 * ops/doc/formats/backup.md has both byte by byte. A backup is sealed under a data key of its own,
 * which is wrapped to the active KEK's public half; who holds the KEK secret (a vault node by its
 * grant, which stands in the head; anybody by k escrow shares) opens it. The node that made it
 * signs all of it, so that damage and forgery show without any key.
 *
 *   file := head chunk* trailer             kind BASE: a checkpoint's files, as of one log index
 *                                           kind LOG: log entries, each as it was applied
 *
 * Failures: ET_EMALFORMED: not such a file; ET_ETRUNCATED: it ends too early; ET_EINTEGRITY: bytes
 * were changed, or the key is another one; ET_EVERSION: a newer format.
 *
 * Memory is bounded: a chunk (64 KiB) and the head (256 KiB).
 *
 * Threads: pure, but for what reads and writes files, which waits for the disk. */
#ifndef ET_RAFT_BACKUP_BACKUP_H
#define ET_RAFT_BACKUP_BACKUP_H

#include <stdbool.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_BACKUP_CHUNK_MAX 65536 /* bytes of a chunk's content */
#define ET_BACKUP_HEAD_MAX 262144
#define ET_BACKUP_GRANTS_MAX 64
#define ET_BACKUP_NAME_MAX 63

enum et_backup_kind { ET_BACKUP_BASE = 1, ET_BACKUP_LOG = 2 };

enum et_backup_type {
	ET_BACKUP_FILE = 1, /* size64 name: its bytes follow in DATA */
	ET_BACKUP_DATA = 2,
	ET_BACKUP_ENTRIES = 3, /* (index64 size32 bytes)*: size 0 is an index without commands */
	ET_BACKUP_END = 4,     /* last index 64, running digest there 32 */
};

struct et_backup_head {
	enum et_backup_kind kind;
	char cluster[ET_BACKUP_NAME_MAX + 1];
	uint8_t cluster_id[16];
	uint64_t node; /* who made it */
	int64_t made_us;
	uint64_t index;	    /* BASE: of the state; LOG: of the state before its first entry */
	uint8_t digest[32]; /* running digest there */
	uint32_t schema;
	uint32_t epoch;
	uint8_t sign_public[32];
	uint32_t kek_version;
	uint8_t kek_public[32];
	uint8_t enc[32]; /* the data key, wrapped: filled in by the writer */
	uint8_t wrapped[48];
	struct et_view ca;	/* certificates of the cluster's CA, DER, newest first */
	struct et_view members; /* the CA-signed list that names the maker */
	struct et_view grants[ET_BACKUP_GRANTS_MAX]; /* packed Grants of KEK and CA key */
	size_t grant_count;
};

/* A head from its bytes; *ret_size is its length in the file. Views point into `bytes`.
 * ET_ETRUNCATED: more bytes are needed (at most ET_BACKUP_HEAD_MAX). */
int et_backup_head_parse(struct et_view bytes, struct et_backup_head *ret, size_t *ret_size,
			 struct et_error *reterr) ET_MUST_CHECK;

/* Takes the next bytes of the file; a negative result ends it and is returned. */
typedef int (*et_backup_sink)(void *arg, const void *data, size_t size);

struct et_backup_writer;

/* Begin: makes the data key and writes the head (all of `head` but enc and wrapped). `sign_key` is
 * borrowed until the end. */
int et_backup_writer_new(const struct et_backup_head *head, const struct et_secret *sign_key,
			 et_backup_sink sink, void *arg, struct et_backup_writer **ret,
			 struct et_error *reterr) ET_MUST_CHECK;
int et_backup_write(struct et_backup_writer *w, enum et_backup_type type, const void *data,
		    size_t size, struct et_error *reterr) ET_MUST_CHECK;
/* The END chunk and the signature. */
int et_backup_end(struct et_backup_writer *w, uint64_t index, const uint8_t digest[32],
		  struct et_error *reterr) ET_MUST_CHECK;
struct et_backup_writer *et_backup_writer_free(struct et_backup_writer *w); /* returns NULL */

/* Write a folder of plain files as FILE and DATA chunks. */
int et_backup_write_folder(struct et_backup_writer *w, const char *folder,
			   struct et_error *reterr) ET_MUST_CHECK;

struct et_backup_reader;

/* Open a file and read its head. */
int et_backup_open(const char *path, struct et_backup_reader **ret,
		   struct et_error *reterr) ET_MUST_CHECK;
struct et_backup_reader *
et_backup_close(struct et_backup_reader *r); /* NULL is fine; returns NULL */
static inline void et_backup_closep(struct et_backup_reader **r)
{
	*r = et_backup_close(*r);
}
const struct et_backup_head *et_backup_head(const struct et_backup_reader *r);

/* Hash and signature of the whole file, by the key that its head names; no secret is needed. That
 * the key is a member's is for who has the CA to check (head->members). Reading begins anew after
 * it. */
int et_backup_check(struct et_backup_reader *r, struct et_error *reterr) ET_MUST_CHECK;

/* Unwrap the data key. ET_EINTEGRITY: another KEK. */
int et_backup_unlock(struct et_backup_reader *r, const struct et_secret *kek,
		     struct et_error *reterr) ET_MUST_CHECK;
/* The next chunk; the view holds until the next call. After ET_BACKUP_END: the end, with the
 * signature checked. */
int et_backup_next(struct et_backup_reader *r, enum et_backup_type *ret_type, struct et_view *ret,
		   struct et_error *reterr) ET_MUST_CHECK;
/* Put the files of a BASE into the new folder `folder`, synced; the end's index and digest. */
int et_backup_extract(struct et_backup_reader *r, const char *folder, uint64_t *ret_index,
		      uint8_t ret_digest[32], struct et_error *reterr) ET_MUST_CHECK;

/* ---- The ledger of erasures ---- */

struct et_ledger_head {
	uint8_t cluster_id[16];
	uint64_t node;
	uint8_t sign_public[32];
	struct et_view members; /* the CA-signed list that names the node */
};

struct et_ledger_info {
	uint64_t node;
	uint8_t sign_public[32];
	uint8_t cluster_id[16];
	uint64_t index;	 /* all erasures up to this log index are in it */
	int64_t time_us; /* cluster time of the last record */
	uint64_t erasures;
};

struct et_ledger;

/* Open for appending, or make it; a record that a crash has cut is removed. ET_EREFUSED: it is of
 * another node or cluster. */
int et_ledger_open(const char *path, const struct et_ledger_head *head,
		   const struct et_secret *sign_key, struct et_ledger **ret,
		   struct et_error *reterr) ET_MUST_CHECK;
struct et_ledger *et_ledger_close(struct et_ledger *l); /* NULL is fine; returns NULL */
bool et_ledger_has(const struct et_ledger *l, const uint8_t recording[16]);
/* Append an erasure, or (recording NULL) a mark: all erasures up to `index` are in it. Durable when
 * it returns. */
int et_ledger_add(struct et_ledger *l, const uint8_t recording[16], uint64_t index, int64_t time_us,
		  struct et_error *reterr) ET_MUST_CHECK;
/* Bytes of the file so far: for who copies it elsewhere. */
uint64_t et_ledger_size(const struct et_ledger *l);

/* Read one, checking every signature; `fn` gets each erasure, a negative result ends it. `members`
 * is a view that is valid during the call of `trust`, which says whether the signer is one of ours.
 */
int et_ledger_read(struct et_view file,
		   int (*trust)(void *arg, const struct et_ledger_head *head,
				struct et_error *reterr),
		   int (*fn)(void *arg, const uint8_t recording[16], uint64_t index,
			     int64_t time_us),
		   void *arg, struct et_ledger_info *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
