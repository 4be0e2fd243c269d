#include "raft/command/command_internal.h"

/* One row a field, in the order of command.proto. Where a limit is not that of a format (hash, key,
 * id), it is far above what is honest and far below what hurts: a hostile SIP header is cut by
 * capture before it comes here (et_command_text()). */
#define ANY(f)                                                                                     \
	{                                                                                          \
		.field = #f, .kind = RULE_ANY                                                      \
	}
#define TIME(f)                                                                                    \
	{                                                                                          \
		.field = #f, .kind = RULE_TIME                                                     \
	}
#define NUMBER(f, lo, hi)                                                                          \
	{                                                                                          \
		.field = #f, .kind = RULE_NUMBER, .min = (lo), .max = (hi)                         \
	}
#define TEXT(f, most)                                                                              \
	{                                                                                          \
		.field = #f, .kind = RULE_TEXT, .min = 0, .max = (most)                            \
	}
#define WORD(f, most)                                                                              \
	{                                                                                          \
		.field = #f, .kind = RULE_TEXT, .min = 1, .max = (most)                            \
	}
#define BYTES(f, lo, hi)                                                                           \
	{                                                                                          \
		.field = #f, .kind = RULE_BYTES, .min = (lo), .max = (hi)                          \
	}
#define BYTES_OPT(f, lo, hi)                                                                       \
	{                                                                                          \
		.field = #f, .kind = RULE_BYTES, .min = (lo), .max = (hi), .or_empty = true        \
	}
#define ID(f) BYTES(f, 16, 16)
#define ID_OPT(f) BYTES_OPT(f, 16, 16)
#define HASH(f) BYTES(f, 32, 32)
#define HASH_OPT(f) BYTES_OPT(f, 32, 32)
#define ONE(f)                                                                                     \
	{                                                                                          \
		.field = #f, .kind = RULE_ONE, .min = 1                                            \
	}
#define ONE_OPT(f)                                                                                 \
	{                                                                                          \
		.field = #f, .kind = RULE_ONE, .min = 0                                            \
	}
#define MANY(f, most)                                                                              \
	{                                                                                          \
		.field = #f, .kind = RULE_ONE, .min = 1, .count_max = (most)                       \
	}
#define WORDS(f, size, most)                                                                       \
	{                                                                                          \
		.field = #f, .kind = RULE_TEXT, .min = 1, .max = (size), .count_max = (most)       \
	}
#define BLOBS(f, size, most)                                                                       \
	{                                                                                          \
		.field = #f, .kind = RULE_BYTES, .min = 1, .max = (size), .count_max = (most)      \
	}

#define NAME_MAX_ 64	  /* of a site, node, policy, target, role */
#define ADDRESS_MAX 64	  /* "[ipv6]:port" */
#define NUMBER_MAX 256	  /* a telephone number or SIP user */
#define URI_MAX 512	  /* SIP URI, SIP Call-ID */
#define SENTENCE_MAX 1024 /* why, reason, problem */
#define PATH_MAX_ 512	  /* relative file names, object keys */
#define DER_MAX 8192	  /* a certificate */
#define POLICY_MAX 262144 /* a policy file */
#define GRANTS_MAX 256	  /* several secrets for each node */
#define COPIES_MAX 4096	  /* in one command */
#define ITEMS_MAX 16384	  /* in one plan or job */
#define JOBS_MAX 4096	  /* of one plan */
#define ERASURES_MAX 4096 /* in one step of a restore */
#define SEAL_KEYS_MAX 64  /* of one node: its living KEK versions */
#define REWRAPS_MAX 1024  /* in one command */
#define BLOCK_MAX 131072  /* of a padded tape */
#define LINK_MAX 65536	  /* of one generation to the one before */
#define RETENTION_RULES_MAX 256
#define SEGMENTS_MAX 64 /* of one recording that is imported */
#define SELECT_MAX 64	/* values of one condition */

static const struct et_rule stream_rules[] = {
	ANY(ssrc),
	TEXT(src, ADDRESS_MAX),
	TEXT(dst, ADDRESS_MAX),
	TEXT(codec, NAME_MAX_),
	TEXT(association, 16),
	ANY(packets),
	ANY(lost),
	ANY(duplicate),
	ANY(late),
	TIME(first_us),
	TIME(last_us),
	ANY(party),
	ANY(stream),
	ANY(jitter_us),
	ANY(silenced),
};

static const struct et_rule gap_rules[] = {
	TIME(from_us),
	TIME(to_us),
	TEXT(cause, NAME_MAX_),
};

static const struct et_rule participant_rules[] = {
	TEXT(id, NAME_MAX_),	TEXT(aor, URI_MAX),    TEXT(number, NUMBER_MAX),
	TEXT(name, NUMBER_MAX), TEXT(labels, URI_MAX), ANY(party),
	TIME(joined_us),	TIME(left_us),	       ANY(gone),
};

static const struct et_rule session_rules[] = {
	TEXT(id, NAME_MAX_),
	TEXT(group, NAME_MAX_),
	TEXT(sip_session, NUMBER_MAX),
	TIME(start_us),
	TIME(stop_us),
	ANY(revision),
	MANY(participants, ET_COMMAND_PARTICIPANTS_MAX),
};

static const struct et_rule recording_rules[] = {
	ID(id),
	ID_OPT(call),
	ANY(node),
	TEXT(site, NAME_MAX_),
	ANY(state),
	TIME(start_us),
	TIME(answer_us),
	TIME(end_us),
	TEXT(from, NUMBER_MAX),
	TEXT(to, NUMBER_MAX),
	TEXT(from_uri, URI_MAX),
	TEXT(to_uri, URI_MAX),
	TEXT(sip_call_id, URI_MAX),
	TEXT(direction, 16),
	TEXT(call_state, 16),
	MANY(streams, ET_COMMAND_STREAMS_MAX),
	MANY(gaps, ET_COMMAND_GAPS_MAX),
	TEXT(rule, 128),
	TEXT(problem, SENTENCE_MAX),
	ANY(capture_drops),
	ANY(opened_index),
	TIME(erased_us),
	ANY(erased_index),
	ONE_OPT(session),
	TIME(ended_us),
	ANY(erased_audit),
	MANY(redactions, ET_COMMAND_REDACTIONS_MAX),
	ANY(keys),
	TEXT(joined, NAME_MAX_),
	ONE_OPT(imported),
	TEXT(kept, NUMBER_MAX),
	TIME(kept_us),
	ANY(tones),
	ONE_OPT(hand),
};

static const struct et_rule imported_rules[] = {
	HASH(sha256),
	ANY(size_bytes),
	TEXT(name, NUMBER_MAX),
	TEXT(format, 32),
	NUMBER(part, 1, UINT32_MAX),
	NUMBER(parts, 1, UINT32_MAX),
	ANY(untimed),
	TEXT(principal, NUMBER_MAX),
	TIME(imported_us),
	ANY(left_out),
};

static const struct et_rule wrap_rules[] = {
	ANY(dek), ANY(kek_version), HASH_OPT(enc), BYTES_OPT(ciphertext, 16, 128), ANY(erased),
};

static const struct et_rule segment_rules[] = {
	ID(recording),
	NUMBER(generation, 1, UINT32_MAX),
	NUMBER(segment, 1, UINT32_MAX),
	ANY(node),
	ONE(wrap),
	HASH_OPT(header_hash),
	TIME(t0_us),
	ANY(state),
	HASH_OPT(root),
	ANY(records),
	ANY(size_bytes),
	TIME(sealed_us),
	TEXT(file, PATH_MAX_),
	HASH_OPT(object_hash),
	ANY(made_index),
	ANY(replaced_by),
	BYTES_OPT(link, 1, LINK_MAX),
	ANY(redacted),
	ANY(keys),
	HASH_OPT(seal_hash),
	NUMBER(block_bytes, 0, BLOCK_MAX),
};

static const struct et_rule copy_rules[] = {
	ID(recording),
	NUMBER(generation, 1, UINT32_MAX),
	NUMBER(segment, 1, UINT32_MAX),
	WORD(place, ET_COMMAND_PLACE_MAX),
	TEXT(site, NAME_MAX_),
	ANY(state),
	TIME(verified_us),
	TEXT(object, PATH_MAX_),
	ANY(offset),
	ANY(size_bytes),
	HASH_OPT(object_hash),
	TEXT(lock, NAME_MAX_),
	TEXT(store_uuid, NAME_MAX_),
	HASH_OPT(member_hash),
};

static const struct et_rule site_rules[] = {
	WORD(name, NAME_MAX_),
	TEXT(description, SENTENCE_MAX),
};

static const struct et_rule node_rules[] = {
	ANY(id),
	TEXT(name, NAME_MAX_),
	TEXT(site, NAME_MAX_),
	WORDS(roles, 32, 16),
	TEXT(address, ADDRESS_MAX),
	ANY(state),
	HASH_OPT(spki_hash),
	HASH_OPT(sign_public),
	HASH_OPT(seal_public),
	TEXT(version, NAME_MAX_),
	TIME(joined_us),
	TEXT(store_uuid, NAME_MAX_),
	ANY(schema),
	TEXT(api_address, ADDRESS_MAX),
	TEXT(reason, SENTENCE_MAX),
	HASH_OPT(join_request_hash),
	ANY(capture_stopped),
	ANY(force),
	ANY(changed_index),
	MANY(seal_keys, SEAL_KEYS_MAX),
	ANY(kek_drained),
	ANY(ca_trusted),
};

static const struct et_rule seal_key_rules[] = { NUMBER(version, 1, UINT32_MAX), HASH(public_key) };

static const struct et_rule kek_rules[] = {
	NUMBER(version, 1, UINT32_MAX),
	HASH(public_key),
	BYTES_OPT(signature, 1, 256),
	ANY(state),
	TIME(made_us),
	ANY(escrow_threshold),
	ANY(escrow_shares),
	TIME(activated_us),
	TIME(retired_us),
	TIME(destroy_us),
	TIME(destroyed_us),
	TEXT(reason, SENTENCE_MAX),
	ANY(rewrap_total),
	ANY(rewrap_node),
	TIME(rewrapped_us),
	ANY(compromised),
	TIME(escrow_us),
	ANY(ca),
};

static const struct et_rule key_ring_rules[] = {
	ANY(rotate_us), ANY(destroy_after_us), ANY(rewrap_rate),
	ANY(wanted),	TIME(wanted_us),       TEXT(reason, SENTENCE_MAX),
};

static const struct et_rule kek_rotate_rules[] = { ANY(expect_newest) };
static const struct et_rule kek_set_rules[] = {
	NUMBER(version, 1, UINT32_MAX),
	ANY(state),
	ANY(expect),
};
static const struct et_rule kek_report_rules[] = {
	ANY(drained),
	HASH_OPT(seal_public),
	MANY(seal_keys, SEAL_KEYS_MAX),
	ANY(has_seal_keys),
};
static const struct et_rule rewrap_rules[] = {
	ID(recording),
	NUMBER(generation, 1, UINT32_MAX),
	NUMBER(segment, 1, UINT32_MAX),
	HASH(old_hash),
	ONE(wrap),
};
static const struct et_rule kek_rewrap_rules[] = {
	NUMBER(from, 1, UINT32_MAX),
	NUMBER(to, 1, UINT32_MAX),
	MANY(items, REWRAPS_MAX),
};
static const struct et_rule key_schedule_rules[] = {
	ANY(rotate_us),
	ANY(destroy_after_us),
	ANY(rewrap_rate),
};
static const struct et_rule kek_escrow_rules[] = {
	NUMBER(version, 1, UINT32_MAX),
	NUMBER(threshold, 2, 255),
	NUMBER(shares, 2, 255),
};

static const struct et_rule ca_ring_rules[] = {
	ANY(newest),	ANY(phase),	  ANY(from),	ANY(to),
	ANY(forced),	ANY(finish),	  ANY(aborted), TEXT(reason, SENTENCE_MAX),
	TIME(begun_us), TIME(changed_us),
};
static const struct et_rule ca_rotate_rules[] = { ANY(ask), ANY(expect_newest) };
static const struct et_rule ca_step_rules[] = {
	ANY(expect),
	NUMBER(number, 1, UINT32_MAX),
	BYTES_OPT(certificate, 1, DER_MAX),
	MANY(grants, GRANTS_MAX),
};
static const struct et_rule ca_report_rules[] = { NUMBER(trusted, 1, UINT32_MAX) };
static const struct et_rule ca_sign_rules[] = {
	NUMBER(number, 1, UINT32_MAX),
	MANY(keks, SEAL_KEYS_MAX),
};
static const struct et_rule kek_signature_rules[] = {
	NUMBER(version, 1, UINT32_MAX),
	BYTES(signature, 1, 256),
};

static const struct et_rule grant_rules[] = {
	WORD(secret, NAME_MAX_),     NUMBER(node, 1, UINT32_MAX), HASH(enc),
	BYTES(ciphertext, 16, 1024), HASH_OPT(seal_public),
};

static const struct et_rule certificate_rules[] = {
	ANY(node),
	BYTES_OPT(serial, 1, 64),
	HASH_OPT(spki_hash),
	TIME(not_before_us),
	TIME(not_after_us),
	BYTES(der, 1, DER_MAX),
	ANY(ca),
};

static const struct et_rule token_rules[] = {
	ID(id),
	WORD(kind, 16),
	HASH_OPT(public_key),
	HASH_OPT(secret_hash),
	TEXT(name, NAME_MAX_),
	WORDS(roles, 32, 16),
	TEXT(site, NAME_MAX_),
	TIME(expires_us),
	ANY(uses_left),
	ANY(revoked),
};

static const struct et_rule policy_rules[] = {
	WORD(name, NAME_MAX_),
	ANY(revision),
	TEXT(text, POLICY_MAX),
	HASH_OPT(hash),
	TIME(applied_us),
	TEXT(principal, NUMBER_MAX),
	MANY(retention, RETENTION_RULES_MAX),
};

static const struct et_rule retention_rule_rules[] = {
	WORD(name, NAME_MAX_),
	WORDS(sites, NUMBER_MAX, SELECT_MAX),
	WORDS(directions, NUMBER_MAX, SELECT_MAX),
	WORDS(numbers, NUMBER_MAX, SELECT_MAX),
	WORDS(recorded_by, NUMBER_MAX, SELECT_MAX),
	TIME(min_duration_us),
	TIME(keep_us),
	TIME(erase_after_us),
};

static const struct et_rule hold_scope_rules[] = {
	TEXT(number, NUMBER_MAX),   TEXT(agent, NAME_MAX_), TEXT(site, NAME_MAX_),
	TEXT(sip_call_id, URI_MAX), TIME(from_us),	    TIME(to_us),
};

static const struct et_rule hold_rules[] = {
	ID(id),
	TEXT(matter, NUMBER_MAX),
	ID_OPT(recording),
	TEXT(reason, SENTENCE_MAX),
	TEXT(principal, NUMBER_MAX),
	TIME(placed_us),
	TIME(released_us),
	ANY(changed_index),
	ONE_OPT(scope),
	TEXT(released_by, NUMBER_MAX),
	TEXT(release_reason, SENTENCE_MAX),
};

static const struct et_rule plan_item_rules[] = {
	WORD(action, 16), ID(recording),       ANY(generation),
	ANY(segment),	  TEXT(rule, 128),     TEXT(target, NAME_MAX_),
	ANY(node),	  ANY(size_bytes),     TEXT(why, SENTENCE_MAX),
	ANY(pack),	  TIME(lock_until_us),
};

static const struct et_rule plan_rules[] = {
	ID(id),		 WORD(kind, 16),   TEXT(policy, NAME_MAX_), ANY(policy_revision),
	ANY(made_index), TIME(made_us),	   MANY(items, ITEMS_MAX),  HASH_OPT(hash),
	TEXT(state, 16), TIME(applied_us), ANY(applied_index),	    ANY(audit_first),
	ANY(audit_last),
};

static const struct et_rule job_rules[] = {
	ID(id),
	WORD(kind, 32),
	ANY(node),
	ID_OPT(plan),
	MANY(items, ITEMS_MAX),
	TEXT(state, 16),
	TEXT(error, SENTENCE_MAX),
	ANY(done_bytes),
	TIME(updated_us),
};

static const struct et_rule subject_rules[] = {
	ID_OPT(recording),
	ID_OPT(call),
	TEXT(sip_call_id, URI_MAX),
};

static const struct et_rule fact_rules[] = {
	WORD(key, NAME_MAX_),
	ANY(type),
	TEXT(text, ET_COMMAND_TOLD_TEXT_MAX),
	ANY(number),
	ANY(set),
	TEXT(source, NAME_MAX_),
	TIME(valid_from_us),
	TIME(valid_to_us),
	ANY(withdrawn),
	TEXT(principal, NUMBER_MAX),
	TIME(told_us),
	ANY(index),
};

static const struct et_rule tag_rules[] = {
	WORD(name, NAME_MAX_), ANY(cleared), TEXT(principal, NUMBER_MAX), TIME(told_us), ANY(index),
};

static const struct et_rule note_rules[] = {
	ID(id),	       ANY(version),   TEXT(text, ET_COMMAND_TOLD_TEXT_MAX),
	TIME(at_us),   ANY(withdrawn), TEXT(principal, NUMBER_MAX),
	TIME(told_us), ANY(index),
};

static const struct et_rule told_rules[] = {
	ONE(about),
	MANY(facts, ET_COMMAND_TOLD_MAX),
	MANY(tags, ET_COMMAND_TOLD_MAX),
	MANY(notes, ET_COMMAND_TOLD_MAX),
	ANY(waiting),
	TIME(waiting_us),
};

static const struct et_rule attribute_rules[] = {
	WORD(key, NAME_MAX_),
	TEXT(value, SENTENCE_MAX),
};

static const struct et_rule agent_rules[] = {
	WORD(id, NAME_MAX_),
	TEXT(name, NUMBER_MAX),
	TEXT(team, NAME_MAX_),
	WORDS(numbers, NUMBER_MAX, ET_COMMAND_AGENT_NUMBERS_MAX),
	TIME(valid_from_us),
	TIME(valid_to_us),
	ANY(withdrawn),
	MANY(attributes, 64),
	TEXT(principal, NUMBER_MAX),
	TIME(told_us),
	ANY(index),
};

static const struct et_rule cluster_rules[] = {
	WORD(name, NAME_MAX_),
	ID(id),
	BLOBS(ca_certs, DER_MAX, 8),
	TIME(created_us),
	ANY(schema),
	ANY(next_node_id),
	TIME(cluster_time_us),
	ANY(kek_id),
	ANY(epoch),
	ANY(restoring),
	TIME(restored_us),
	ANY(restored_index),
	ANY(erasures_missing),
	ANY(ca_first),
	ANY(ca_second),
};

static const struct et_rule op_id_rules[] = {
	NUMBER(node, 1, UINT32_MAX),
	ID(incarnation),
	NUMBER(seq, 1, UINT32_MAX),
	ANY(floor),
};

static const struct et_rule segment_seal_rules[] = {
	ID(recording),
	NUMBER(generation, 1, UINT32_MAX),
	NUMBER(segment, 1, UINT32_MAX),
	ANY(state),
	HASH_OPT(root),
	ANY(records),
	ANY(size_bytes),
	TIME(sealed_us),
	HASH_OPT(object_hash),
	TEXT(store_uuid, NAME_MAX_),
	HASH_OPT(seal_hash),
	NUMBER(block_bytes, 0, BLOCK_MAX),
};

static const struct et_rule recording_body_rules[] = { ONE(recording) };
static const struct et_rule segment_open_rules[] = { ONE(segment) };
static const struct et_rule copy_add_rules[] = { MANY(copies, COPIES_MAX) };
static const struct et_rule copy_bad_rules[] = { ONE(copy), TEXT(why, SENTENCE_MAX) };
static const struct et_rule copy_evict_rules[] = { MANY(copies, COPIES_MAX), ID_OPT(job) };

static const struct et_rule cluster_init_rules[] = {
	ONE(cluster),	      ONE(node),      ONE(kek),		MANY(grants, GRANTS_MAX),
	ONE_OPT(certificate), ONE_OPT(admin), MANY(sites, 256),
};

static const struct et_rule token_add_rules[] = { ONE(token) };
static const struct et_rule id_rules[] = { ID(id) };

static const struct et_rule node_join_rules[] = {
	ONE(node), ID(token), ONE_OPT(certificate), MANY(grants, GRANTS_MAX), HASH(request_hash),
};

static const struct et_rule node_update_rules[] = { ONE(node) };
static const struct et_rule node_remove_rules[] = {
	NUMBER(node, 1, UINT32_MAX),
	TEXT(reason, SENTENCE_MAX),
	ANY(revoked),
	ANY(seen_index),
	ANY(loss_accepted),
	ANY(force),
};
static const struct et_rule node_roles_rules[] = {
	NUMBER(node, 1, UINT32_MAX), WORDS(add, 32, 16), WORDS(remove, 32, 16),
	WORDS(expect, 32, 16),	     ANY(force),	 ANY(seen_index),
};
static const struct et_rule node_drain_rules[] = {
	NUMBER(node, 1, UINT32_MAX),
	ANY(draining),
	ANY(stop_capture),
};
static const struct et_rule certificate_add_rules[] = { ONE(certificate), HASH_OPT(spki_hash) };
static const struct et_rule grant_add_rules[] = { MANY(grants, GRANTS_MAX) };
static const struct et_rule kek_add_rules[] = { ONE(kek), MANY(grants, GRANTS_MAX) };
static const struct et_rule policy_set_rules[] = { ONE(policy), ANY(expect_revision) };
static const struct et_rule hold_add_rules[] = { ONE(hold) };
static const struct et_rule plan_put_rules[] = { ONE(plan) };
static const struct et_rule plan_apply_rules[] = { ID(plan), HASH(hash), MANY(jobs, JOBS_MAX) };
static const struct et_rule job_update_rules[] = {
	ID(job),
	WORD(state, 16),
	TEXT(error, SENTENCE_MAX),
	ANY(done_bytes),
};
static const struct et_rule audit_add_rules[] = {
	WORD(action, NAME_MAX_),
	TEXT(target, PATH_MAX_),
	TEXT(detail, SENTENCE_MAX),
};
static const struct et_rule tick_rules[] = { TIME(time_us) };
static const struct et_rule site_set_rules[] = { ONE(site) };
static const struct et_rule site_remove_rules[] = { WORD(name, NAME_MAX_), ANY(archive_revision) };

static const struct et_rule fact_add_rules[] = { ONE(about), MANY(facts, 64) };
static const struct et_rule tag_set_rules[] = { ONE(about), MANY(tags, 64) };
static const struct et_rule note_add_rules[] = { ONE(about), ONE(note) };
static const struct et_rule agent_set_rules[] = { ONE(agent) };
static const struct et_rule digest_check_rules[] = { ANY(index), HASH(digest) };
static const struct et_rule cluster_upgrade_rules[] = {
	NUMBER(to, 1, UINT32_MAX),
	NUMBER(expect_from, 1, UINT32_MAX),
};
static const struct et_rule recording_erase_rules[] = { ID(recording), HASH_OPT(plan_hash) };
static const struct et_rule erasure_rules[] = { ID(recording), ANY(index), TIME(time_us) };
static const struct et_rule restore_step_rules[] = {
	ANY(kind),
	ONE_OPT(node),
	ONE_OPT(certificate),
	MANY(grants, GRANTS_MAX),
	MANY(erasures, ERASURES_MAX),
	ANY(erasures_missing),
	ANY(expect_epoch),
	TEXT(detail, SENTENCE_MAX),
};
static const struct et_rule schema_probe_rules[] = { TEXT(text, NAME_MAX_) };
static const struct et_rule redaction_rules[] = {
	TIME(from_us),
	TIME(to_us),
	TEXT(reason, SENTENCE_MAX),
	TEXT(principal, NUMBER_MAX),
	TIME(asked_us),
	ANY(asked_index),
	TIME(done_us),
	ANY(done_index),
};
static const struct et_rule hand_rules[] = {
	ANY(what),   ID_OPT(was),   TEXT(principal, NUMBER_MAX), TEXT(reason, SENTENCE_MAX),
	TIME(at_us), ANY(at_index),
};
static const struct et_rule recordings_join_rules[] = {
	{ .field = "recordings",
	  .kind = RULE_BYTES,
	  .min = 16,
	  .max = 16,
	  .count_max = ET_COMMAND_JOIN_MAX },
};
static const struct et_rule recording_split_rules[] = { ID(recording) };
static const struct et_rule recording_redact_rules[] = {
	ID(recording),
	TIME(from_us),
	TIME(to_us),
};
static const struct et_rule generation_put_rules[] = {
	ONE(segment),
	HASH(old_root),
	ANY(redaction),
	TEXT(store_uuid, NAME_MAX_),
	NUMBER(made_of, 1, UINT32_MAX),
};
static const struct et_rule generation_finish_rules[] = {
	ID(recording),
	NUMBER(generation, 1, UINT32_MAX),
	NUMBER(segment, 1, UINT32_MAX),
};

static const struct et_rule recording_import_rules[] = {
	ONE(recording), MANY(segments, SEGMENTS_MAX), TEXT(store_uuid, NAME_MAX_), MANY(facts, 64),
	MANY(tags, 64),
};

static const struct et_rule command_rules[] = {
	ONE(op),
	TIME(proposed_us),
	TEXT(principal, NUMBER_MAX),
	TEXT(reason, SENTENCE_MAX),
	ANY(schema),
	ONE(noop),
	ONE(recording_open),
	ONE(segment_open),
	ONE(segment_seal),
	ONE(recording_update),
	ONE(recording_close),
	ONE(copy_add),
	ONE(copy_bad),
	ONE(copy_evict),
	ONE(cluster_init),
	ONE(token_add),
	ONE(token_revoke),
	ONE(node_join),
	ONE(node_update),
	ONE(node_remove),
	ONE(certificate_add),
	ONE(grant_add),
	ONE(kek_add),
	ONE(policy_set),
	ONE(hold_add),
	ONE(hold_release),
	ONE(plan_put),
	ONE(plan_apply),
	ONE(job_update),
	ONE(audit_add),
	ONE(tick),
	ONE(site_set),
	ONE(fact_add),
	ONE(tag_set),
	ONE(note_add),
	ONE(agent_set),
	ONE(node_roles),
	ONE(node_drain),
	ONE(digest_check),
	ONE(cluster_upgrade),
	ONE(recording_erase),
	ONE(restore_step),
	ONE(recording_redact),
	ONE(generation_put),
	ONE(schema_probe),
	ONE(kek_rotate),
	ONE(kek_set),
	ONE(kek_report),
	ONE(kek_rewrap),
	ONE(key_schedule),
	ONE(kek_escrow),
	ONE(generation_finish),
	ONE(ca_rotate),
	ONE(ca_step),
	ONE(ca_report),
	ONE(ca_sign),
	ONE(recording_import),
	ONE(recordings_join),
	ONE(recording_split),
	ONE(site_remove),
};

static const struct {
	const ProtobufCMessageDescriptor *message;
	const struct et_rule *rules;
	size_t count;
} table[] = {
#define ROW(m, r)                                                                                  \
	{                                                                                          \
		&et__##m##__descriptor, r, ET_ARRAY_SIZE(r)                                        \
	}
	ROW(command, command_rules),
	ROW(op_id, op_id_rules),
	ROW(recording_open, recording_body_rules),
	ROW(recording, recording_rules),
	ROW(segment_open, segment_open_rules),
	ROW(segment, segment_rules),
	ROW(wrap, wrap_rules),
	ROW(segment_seal, segment_seal_rules),
	ROW(recording_close, recording_body_rules),
	ROW(recording_update, recording_body_rules),
	ROW(participant, participant_rules),
	ROW(session, session_rules),
	ROW(stream, stream_rules),
	ROW(gap, gap_rules),
	ROW(copy_add, copy_add_rules),
	ROW(copy, copy_rules),
	ROW(copy_bad, copy_bad_rules),
	ROW(copy_evict, copy_evict_rules),
	ROW(plan_item, plan_item_rules),
	ROW(plan, plan_rules),
	ROW(job, job_rules),
	ROW(plan_put, plan_put_rules),
	ROW(plan_apply, plan_apply_rules),
	ROW(job_update, job_update_rules),
	ROW(tick, tick_rules),
	ROW(audit_add, audit_add_rules),
	ROW(cluster_init, cluster_init_rules),
	ROW(cluster, cluster_rules),
	ROW(node, node_rules),
	ROW(site, site_rules),
	ROW(kek, kek_rules),
	ROW(grant, grant_rules),
	ROW(certificate, certificate_rules),
	ROW(token, token_rules),
	ROW(policy, policy_rules),
	ROW(retention_rule, retention_rule_rules),
	ROW(hold_scope, hold_scope_rules),
	ROW(hold, hold_rules),
	ROW(token_add, token_add_rules),
	ROW(token_revoke, id_rules),
	ROW(node_join, node_join_rules),
	ROW(node_update, node_update_rules),
	ROW(node_remove, node_remove_rules),
	ROW(certificate_add, certificate_add_rules),
	ROW(grant_add, grant_add_rules),
	ROW(kek_add, kek_add_rules),
	ROW(policy_set, policy_set_rules),
	ROW(hold_add, hold_add_rules),
	ROW(hold_release, id_rules),
	ROW(site_set, site_set_rules),
	ROW(site_remove, site_remove_rules),
	ROW(subject, subject_rules),
	ROW(fact, fact_rules),
	ROW(tag, tag_rules),
	ROW(note, note_rules),
	ROW(told, told_rules),
	ROW(attribute, attribute_rules),
	ROW(agent, agent_rules),
	ROW(fact_add, fact_add_rules),
	ROW(tag_set, tag_set_rules),
	ROW(note_add, note_add_rules),
	ROW(agent_set, agent_set_rules),
	ROW(node_roles, node_roles_rules),
	ROW(node_drain, node_drain_rules),
	ROW(digest_check, digest_check_rules),
	ROW(cluster_upgrade, cluster_upgrade_rules),
	ROW(recording_erase, recording_erase_rules),
	ROW(erasure, erasure_rules),
	ROW(restore_step, restore_step_rules),
	ROW(schema_probe, schema_probe_rules),
	ROW(seal_key, seal_key_rules),
	ROW(key_ring, key_ring_rules),
	ROW(kek_rotate, kek_rotate_rules),
	ROW(kek_set, kek_set_rules),
	ROW(kek_report, kek_report_rules),
	ROW(rewrap, rewrap_rules),
	ROW(kek_rewrap, kek_rewrap_rules),
	ROW(key_schedule, key_schedule_rules),
	ROW(kek_escrow, kek_escrow_rules),
	ROW(redaction, redaction_rules),
	ROW(recording_redact, recording_redact_rules),
	ROW(hand, hand_rules),
	ROW(recordings_join, recordings_join_rules),
	ROW(recording_split, recording_split_rules),
	ROW(generation_put, generation_put_rules),
	ROW(generation_finish, generation_finish_rules),
	ROW(ca_ring, ca_ring_rules),
	ROW(ca_rotate, ca_rotate_rules),
	ROW(ca_step, ca_step_rules),
	ROW(ca_report, ca_report_rules),
	ROW(ca_sign, ca_sign_rules),
	ROW(kek_signature, kek_signature_rules),
	ROW(imported, imported_rules),
	ROW(recording_import, recording_import_rules),
#undef ROW
};

const struct et_rule *et_rules_of(const ProtobufCMessageDescriptor *d)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(table); i++) {
		if (table[i].message == d) {
			et_assert(table[i].count == d->n_fields);
			return table[i].rules;
		}
	}
	return NULL;
}
