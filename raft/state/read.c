/* Point reads and walks: what everybody else sees of the state. */
#include "raft/state/state_internal.h"

/* ---- Point reads ---- */

int et_state_get_cluster(const struct et_state_view *v, Et__Cluster **ret)
{
	struct key key = key_meta("cluster");

	return view_get_message(v, CF_META, &key, &et__cluster__descriptor, ret);
}

int et_state_get_recording(const struct et_state_view *v, const uint8_t id[16], Et__Recording **ret)
{
	struct key key = key_of(id, 16);

	return view_get_message(v, CF_RECORDING, &key, &et__recording__descriptor, ret);
}

int et_state_get_segment(const struct et_state_view *v, const uint8_t recording[16],
			 uint32_t generation, uint32_t segment, Et__Segment **ret)
{
	struct key key = key_segment(recording, generation, segment);

	return view_get_message(v, CF_SEGMENT, &key, &et__segment__descriptor, ret);
}

int et_state_get_node(const struct et_state_view *v, uint64_t id, Et__Node **ret)
{
	struct key key = key_u64(id);

	return view_get_message(v, CF_NODE, &key, &et__node__descriptor, ret);
}

int et_state_get_kek(const struct et_state_view *v, uint32_t version, Et__Kek **ret)
{
	struct key key = key_u32(version);

	return view_get_message(v, CF_KEK, &key, &et__kek__descriptor, ret);
}

/* Names that are longer than any that was stored are not there. */
#define NAME_SIZE_MAX 255

int et_state_get_grant(const struct et_state_view *v, const char *secret, uint64_t node,
		       Et__Grant **ret)
{
	if (strlen(secret) > NAME_SIZE_MAX) {
		return ET_ENOTFOUND;
	}
	struct key key = key_grant(secret, node);
	return view_get_message(v, CF_GRANT, &key, &et__grant__descriptor, ret);
}

int et_state_get_certificate(const struct et_state_view *v, uint64_t node, Et__Certificate **ret)
{
	struct key key = key_u64(node);

	return view_get_message(v, CF_CERTIFICATE, &key, &et__certificate__descriptor, ret);
}

int et_state_get_token(const struct et_state_view *v, const uint8_t id[16], Et__Token **ret)
{
	struct key key = key_of(id, 16);

	return view_get_message(v, CF_TOKEN, &key, &et__token__descriptor, ret);
}

int et_state_get_policy(const struct et_state_view *v, const char *name, Et__Policy **ret)
{
	if (strlen(name) > NAME_SIZE_MAX) {
		return ET_ENOTFOUND;
	}
	struct key key = key_text(name);
	return view_get_message(v, CF_POLICY, &key, &et__policy__descriptor, ret);
}

int et_state_get_plan(const struct et_state_view *v, const uint8_t id[16], Et__Plan **ret)
{
	struct key key = key_of(id, 16);

	return view_get_message(v, CF_PLAN, &key, &et__plan__descriptor, ret);
}

int et_state_get_job(const struct et_state_view *v, const uint8_t id[16], Et__Job **ret)
{
	struct key key = key_of(id, 16);

	return view_get_message(v, CF_JOB, &key, &et__job__descriptor, ret);
}

/* ---- Walks ---- */

/* Each walk has its own type of callback; this makes one of view_walk_messages() of it. */
#define WALKER(name, Type)                                                                         \
	struct name##_walk {                                                                       \
		int (*fn)(void *arg, const Type *record);                                          \
		void *arg;                                                                         \
	};                                                                                         \
	static int name##_walk_each(void *arg, const void *message)                                \
	{                                                                                          \
		const struct name##_walk *w = arg;                                                 \
		return w->fn(w->arg, message);                                                     \
	}                                                                                          \
	static int name##_walk(const struct et_state_view *v, enum state_cf cf,                    \
			       const struct key *prefix, int (*fn)(void *arg, const Type *record), \
			       void *arg)                                                          \
	{                                                                                          \
		struct name##_walk w = { fn, arg };                                                \
		return view_walk_messages(v, cf, prefix, &et__##name##__descriptor,                \
					  name##_walk_each, &w);                                   \
	}

#define EACH(name, Type, cf)                                                                       \
	WALKER(name, Type)                                                                         \
	ET_STATE_EACH(name, Type)                                                                  \
	{                                                                                          \
		struct key all = { 0 };                                                            \
		return name##_walk(v, cf, &all, fn, arg);                                          \
	}

EACH(node, Et__Node, CF_NODE)
EACH(site, Et__Site, CF_SITE)
EACH(kek, Et__Kek, CF_KEK)
EACH(grant, Et__Grant, CF_GRANT)
EACH(certificate, Et__Certificate, CF_CERTIFICATE)
EACH(token, Et__Token, CF_TOKEN)
EACH(policy, Et__Policy, CF_POLICY)
EACH(plan, Et__Plan, CF_PLAN)
EACH(job, Et__Job, CF_JOB)
EACH(segment, Et__Segment, CF_SEGMENT)
EACH(copy, Et__Copy, CF_COPY)
EACH(hold, Et__Hold, CF_HOLD)

int et_state_each_segment_of(const struct et_state_view *v, const uint8_t recording[16],
			     int (*fn)(void *arg, const Et__Segment *record), void *arg)
{
	struct key prefix = key_of(recording, 16);

	return segment_walk(v, CF_SEGMENT, &prefix, fn, arg);
}

int et_state_each_copy_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Copy *record), void *arg)
{
	struct key prefix = key_of(recording, 16);

	return copy_walk(v, CF_COPY, &prefix, fn, arg);
}

int et_state_each_hold_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Hold *record), void *arg)
{
	struct key prefix = key_of(recording, 16);

	return hold_walk(v, CF_HOLD, &prefix, fn, arg);
}

struct job_of {
	const struct et_state_view *v;
	int (*fn)(void *arg, const Et__Job *record);
	void *arg;
};

static int job_of_each(void *arg, struct et_view key, struct et_view value)
{
	const struct job_of *w = arg;
	ET_CLEANUP(message_freep) Et__Job *job = NULL;

	(void)value;
	if (key.size != 1 + 8 + 16) {
		return ET_ECORRUPT;
	}
	int rc = et_state_get_job(w->v, key.data + 9, &job);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? ET_ECORRUPT : rc;
	}
	return w->fn(w->arg, job);
}

int et_state_each_job_of(const struct et_state_view *v, uint64_t node,
			 int (*fn)(void *arg, const Et__Job *record), void *arg)
{
	struct job_of w = { v, fn, arg };
	struct key prefix = key_tag('j');

	key_add64(&prefix, node);
	return view_walk(v, CF_INDEX, &prefix, NULL, job_of_each, &w);
}
