/* Newer generations: what generations.c (whose turn it is, and rounds), generations_look.c (what is
 * due) and generations_make.c (files) share. */
#ifndef ET_NODE_KEEPER_GENERATIONS_INTERNAL_H
#define ET_NODE_KEEPER_GENERATIONS_INTERNAL_H

#include "node/keeper/keeper_internal.h"
#include "node/tape/rewrite.h"
#include "node/tape/wrap.h"

#define TASKS_MAX 32		    /* that one look finds */
#define PUT_OFF_US (10LL * 1000000) /* after a failure */
#define NAME_BYTES 96

/* Something that could be done here. */
struct task {
	uint8_t recording[16];
	uint32_t generation; /* the one that is there */
	uint32_t segment;
	enum et_state_due due;
	uint64_t redaction; /* Redaction.asked_index; 0: its KEK version */
	int64_t from_us;
	int64_t to_us;
	uint64_t ahead[VAULTS_MAX]; /* vault nodes of lower numbers that could do it, too */
	size_t ahead_count;
	int64_t since_us; /* monotonic: seen first */
	int64_t again_us; /* not before */
};

struct generations {
	struct et_keeper *k;
	bool busy;
	int64_t next_us; /* monotonic: not before */
	int64_t sweep_us;
	bool swept; /* since the start */

	/* The look. */
	uv_work_t work;
	bool did_any; /* of what was found: something else may be due now */
	struct task found[TASKS_MAX];
	size_t found_count;
	size_t at;		      /* found[at] is next */
	struct task known[TASKS_MAX]; /* of the look before, with their times */
	size_t known_count;
	uint8_t after[16]; /* recordings up to this one were looked at */
	bool goes_on;
	struct et_state_place wrapped_at;

	/* The task under way. */
	struct task task;
	Et__Segment *old;		       /* owned */
	uint32_t next;			       /* the generation that is made */
	struct et_secret *old_dek, *dek, *kek; /* owned */
	uint32_t kek_version;
	uint64_t dek_id;
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
	char reason[256];
	char name[NAME_BYTES];
	char file[PATH_BYTES]; /* relative to the media folder */
	char store_uuid[64];
	struct et_tape_header header;
	struct et_tape_seal seal;
	uint8_t object_hash[32]; /* under a schema before seal hashes: of the file */
	bool has_object_hash;
	struct et_buffer link;
	int code;
	struct et_error why;
	int64_t begun_us;
};

/* ---- generations_look.c ---- */

bool generations_task_is(const struct task *a, const struct task *b);
/* What is due, and can be done here: found[]. On a thread. */
void generations_look(uv_work_t *work);

/* ---- generations_make.c ---- */

/* Nothing is under way here: what lies there was left by a death, or by no answer. */
void generations_sweep(struct generations *g, const struct et_state_view *v);
/* It ends with generations_task_end(). */
void generations_task_make(struct generations *g);

/* ---- generations.c ---- */

void generations_task_end(struct generations *g, int code);
void generations_task_propose(struct generations *g, Et__Command *command, et_catalog_cb cb);

#endif
