/* A site that is given up.
 *
 * A site is a name with a description; nodes, join tokens and policies name it. It goes when
 * nobody is there any more and no policy in force says what happens there. Recordings, copies and
 * holds keep the name: where something was recorded stays true. Apply reads no YAML: the archive
 * policy was read by who asks, and is still at that revision. Open join tokens for the site are
 * revoked with it, else one of them would bring it back. */
#include <string.h>

#include "raft/state/state_internal.h"

struct site_users {
	struct apply *a;
	const char *name;
};

static int member_look(void *arg, const void *message)
{
	const struct site_users *u = arg;
	const Et__Node *n = message;

	if (!node_is_member(n) || strcmp(n->site, u->name) != 0) {
		return 0;
	}
	return refuse(u->a, ET_EPOLICY, "node '%.64s' is there", n->name);
}

static int retention_look(struct apply *a, const char *name)
{
	ET_CLEANUP(message_freep) Et__Policy *policy = NULL;

	int rc = et_state_get_policy(a->v, ET_STATE_RETENTION, &policy);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	for (size_t i = 0; i < policy->n_retention; i++) {
		const Et__RetentionRule *r = policy->retention[i];
		for (size_t s = 0; s < r->n_sites; s++) {
			if (strcmp(r->sites[s], name) == 0) {
				return refuse(a, ET_EPOLICY,
					      "rule '%.64s' of the retention policy names it",
					      r->name);
			}
		}
	}
	return 0;
}

static int archive_check(struct apply *a, uint32_t seen)
{
	ET_CLEANUP(message_freep) Et__Policy *policy = NULL;

	int rc = et_state_get_policy(a->v, "archive", &policy);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	uint32_t revision = policy != NULL ? policy->revision : 0;
	if (revision != seen) {
		return refuse(a, ET_ESTALE, "the archive policy is at revision %u, not at %u",
			      revision, seen);
	}
	return 0;
}

static int tokens_revoke(struct apply *a, const char *name)
{
	ET_CLEANUP(found_release) struct found f = { .d = &et__token__descriptor };

	int rc = found_all(a, CF_TOKEN, &f);
	for (size_t i = 0; i < f.count && rc == 0; i++) {
		Et__Token after = *(const Et__Token *)f.list[i];
		struct key key = key_of(after.id.data, 16);
		if (strcmp(after.kind, "join") == 0 && !after.revoked && after.uses_left > 0 &&
		    strcmp(after.site, name) == 0) {
			after.revoked = true;
			rc = state_put_message(a->s, CF_TOKEN, &key, &after);
		}
	}
	return rc;
}

int apply_site_remove(struct apply *a)
{
	const Et__SiteRemove *told = a->c->site_remove;
	ET_CLEANUP(et_buffer_release) struct et_buffer known = { 0 };
	struct site_users users = { .a = a, .name = told->name };
	struct key key = key_text(told->name);
	struct key all = { 0 };

	int rc = view_get(a->v, CF_SITE, &key, &known);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "there is no site '%.64s'", told->name);
	}
	rc = rc < 0 ? rc
		    : view_walk_messages(a->v, CF_NODE, &all, &et__node__descriptor, member_look,
					 &users);
	rc = rc < 0 ? rc : retention_look(a, told->name);
	rc = rc < 0 ? rc : archive_check(a, told->archive_revision);
	rc = rc < 0 ? rc : tokens_revoke(a, told->name);
	if (rc == 0) {
		state_delete(a->s, CF_SITE, &key);
	}
	return rc;
}
