/* What rotate.c (which step is due, and new versions), rotate_keys.c (this node's own keys) and
 * rotate_escrow.c (shares) have in common. */
#ifndef ET_NODE_KEEPER_ROTATE_INTERNAL_H
#define ET_NODE_KEEPER_ROTATE_INTERNAL_H

#include "node/keeper/keeper_internal.h"

struct row {
	uint32_t version;
	Et__KekState state;
	bool compromised;
	bool is_signed; /* by a CA of ours; looked at where something may be sealed to it */
	int64_t activated_us;
	uint8_t public_key[32];
};

/* The catalogue at one look. */
struct look {
	struct et_keeper *k;
	struct et_state_view *v;
	Et__Node *self;		   /* owned */
	Et__KeyRing *ring;	   /* owned */
	Et__Cluster *cluster;	   /* owned */
	struct row rows[KEYS_MAX]; /* those that live */
	size_t count;
	const struct row *active;
	const struct row *pending;
	bool vault; /* this node is one */
	bool holds; /* and holds the active version */
	unsigned ahead;
	unsigned silent; /* vault nodes without a key for the version that is wanted */
};

/* ---- rotate.c ---- */

/* ET_ENOTFOUND: no version is active yet. What was opened is closed. */
int rotate_look_open(struct et_keeper *k, struct look *ret) ET_MUST_CHECK;
void rotate_look_close(struct look *l);

/* ---- rotate_keys.c: each true when there was something to do, and it is being done ---- */

/* The folder gets what it lacks, and loses what is over. */
bool rotate_keys_order(struct look *l);
/* The catalogue hears of this node's keys, and that all is drained. */
bool rotate_report(struct look *l);
/* Each of its grants is sealed to the key of its version. */
bool rotate_reseal(struct look *l);

#endif
