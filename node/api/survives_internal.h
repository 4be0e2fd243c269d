/* Which losses the cluster survives now. Pure: a table of members, of the keys and of where
 * segments lie, in; a verdict for each loss, out.
 *
 * Survived is a loss after which, with no more machines than those that answer now,
 *   votes    the voters that are left are a majority of all voters: changes go on;
 *   keys     every living KEK version and the CA key can be opened by a vault node that is left;
 *   copies   every sealed segment has a verified copy at a node that is left, or in the archive.
 * A machine that does not answer is counted as if it were lost too, and what is not known counts
 * as not survived: "yes" never says more than is true. What a call has not sealed yet lies on its
 * recorder alone, whatever is said here; the sentence of the loss says so.
 *
 * Threads: pure functions; nothing is kept. */
#ifndef ET_NODE_API_SURVIVES_INTERNAL_H
#define ET_NODE_API_SURVIVES_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SURVIVE_NODES_MAX 256
#define SURVIVE_SECRETS_MAX 64
#define SURVIVE_SETS_MAX 4096
#define SURVIVE_WHY_SIZE 400
#define SURVIVE_NAME_SIZE 64

struct survive_node {
	uint64_t id;
	char name[SURVIVE_NAME_SIZE];
	char site[SURVIVE_NAME_SIZE];
	bool votes;	/* in Raft's configuration as it is now */
	bool answers;	/* is heard by the node that is asked */
	bool stores;	/* keeps media */
	uint64_t opens; /* bit i: it holds a grant of secret i and a catalogue to use it with */
	uint32_t live_calls; /* that it records now */
};

/* Nodes by their position in `nodes`. */
struct survive_set {
	uint64_t bits[SURVIVE_NODES_MAX / 64];
};

static inline void survive_set_add(struct survive_set *s, size_t i)
{
	s->bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline bool survive_set_has(const struct survive_set *s, size_t i)
{
	return (s->bits[i / 64] >> (i % 64) & 1) != 0;
}

/* Segments that lie on exactly these nodes, and not in the archive. */
struct survive_place {
	struct survive_set at;
	uint64_t segments;
};

/* What a site lacks of what was sealed lately. */
struct survive_site {
	char name[SURVIVE_NAME_SIZE];
	uint64_t pending;
};

struct survive_view {
	const struct survive_node *nodes; /* borrowed; members, and voters that are to go */
	size_t node_count;

	char secrets[SURVIVE_SECRETS_MAX][16]; /* "kek:1", "ca" */
	size_t secret_count;

	bool copies_known;		    /* `places` is a whole count */
	const struct survive_place *places; /* borrowed */
	size_t place_count;
	uint64_t newer; /* segments that were opened after the count */
	bool pending_known;
	const struct survive_site *sites; /* borrowed */
	size_t site_count;
};

struct survive_verdict {
	bool votes;
	bool keys;
	bool copies;
	bool copies_known;
	unsigned voters_up; /* left and answering */
	unsigned voters;
	char secret[16];     /* the first that nobody could open, or "" */
	uint64_t segments;   /* that would lie nowhere, as far as they were counted */
	uint64_t newer;	     /* that were not counted, and may lie nowhere */
	uint32_t live_calls; /* of the machines that are lost */
};

/* The loss of `lost`; an empty set: what holds as it is. */
void survive_judge(const struct survive_view *v, const struct survive_set *lost,
		   struct survive_verdict *ret);
bool survive_is_survived(const struct survive_verdict *d);

/* Any one node, any one site, each site: what `status` shows. `loss` is "any one node", "any one
 * site" or "site NAME". */
#define SURVIVE_LOSSES_MAX (SURVIVE_NODES_MAX + 2)
struct survive_loss {
	char loss[SURVIVE_NAME_SIZE + 16];
	bool survives;
	bool votes, keys, copies; /* which of the three hold */
	char why[SURVIVE_WHY_SIZE];
};
size_t survive_losses(const struct survive_view *v, struct survive_loss *ret, size_t max);

#endif
