/* Seeded random commands of every kind, over few ids, so that they meet: some sound, some hostile.
 */
#ifndef ET_RAFT_STATE_TEST_RANDOM_H
#define ET_RAFT_STATE_TEST_RANDOM_H

#include "raft/state/test/dice.h"

/* The media of calls. false: not one of these. */
static inline bool dice_media(struct dice *d, struct dice_room *m, uint64_t kind)
{
	Et__Command *c = &m->c;

	switch (kind) {
	case ET__COMMAND__BODY_RECORDING_OPEN:
		et__recording_open__init(&m->recording_open);
		m->recording_open.recording = dice_recording(d, m);
		c->recording_open = &m->recording_open;
		return true;
	case ET__COMMAND__BODY_RECORDING_UPDATE:
		et__recording_update__init(&m->recording_update);
		m->recording_update.recording = dice_recording(d, m);
		c->recording_update = &m->recording_update;
		return true;
	case ET__COMMAND__BODY_RECORDING_CLOSE:
		et__recording_close__init(&m->recording_close);
		m->recording_close.recording = dice_recording(d, m);
		c->recording_close = &m->recording_close;
		return true;
	case ET__COMMAND__BODY_SEGMENT_OPEN:
		et__segment_open__init(&m->segment_open);
		et__segment__init(&m->segment);
		et__wrap__init(&m->wrap);
		m->wrap.kek_version = 1;
		m->wrap.enc = kit_hash(dice_below(d, 3));
		m->wrap.ciphertext = kit_bytes(48, dice_below(d, 3));
		m->wrap.erased = dice_one_in(d, 10);
		m->segment.recording = dice_id(d, DICE_RECORDING);
		m->segment.generation = 1;
		m->segment.segment = 1 + (uint32_t)dice_below(d, 2);
		m->segment.wrap = &m->wrap;
		m->segment.file = dice_text(d);
		m->segment.state = (Et__SegmentState)dice_below(d, 5);
		m->segment_open.segment = &m->segment;
		c->segment_open = &m->segment_open;
		return true;
	case ET__COMMAND__BODY_SEGMENT_SEAL:
		et__segment_seal__init(&m->segment_seal);
		m->segment_seal.recording = dice_id(d, DICE_RECORDING);
		m->segment_seal.generation = 1;
		m->segment_seal.segment = 1 + (uint32_t)dice_below(d, 2);
		m->segment_seal.state = (Et__SegmentState)dice_below(d, 5);
		if (!dice_one_in(d, 8)) {
			m->segment_seal.root = kit_hash(dice_below(d, 3));
		}
		m->segment_seal.records = dice_below(d, 5);
		m->segment_seal.size_bytes = dice_below(d, 4) * 100;
		if (dice_one_in(d, 3)) {
			m->segment_seal.seal_hash = kit_hash(dice_below(d, 3));
		}
		c->segment_seal = &m->segment_seal;
		return true;
	case ET__COMMAND__BODY_COPY_ADD:
		et__copy_add__init(&m->copy_add);
		m->copy_add.n_copies = dice_copies(d, m, m->op.node);
		m->copy_add.copies = m->copy_list;
		c->copy_add = &m->copy_add;
		return true;
	case ET__COMMAND__BODY_COPY_EVICT:
		et__copy_evict__init(&m->copy_evict);
		m->copy_evict.n_copies = dice_copies(d, m, m->op.node);
		m->copy_evict.copies = m->copy_list;
		if (dice_one_in(d, 3)) {
			m->copy_evict.job = dice_id(d, DICE_JOB);
		}
		c->copy_evict = &m->copy_evict;
		return true;
	case ET__COMMAND__BODY_COPY_BAD:
		et__copy_bad__init(&m->copy_bad);
		while (dice_copies(d, m, m->op.node) == 0) {
		}
		m->copy_bad.copy = &m->copies[0];
		m->copy_bad.why = dice_text(d);
		c->copy_bad = &m->copy_bad;
		return true;
	default:
		return false;
	}
}

/* Members, tokens, keys. */
static inline bool dice_cluster(struct dice *d, struct dice_room *m, uint64_t kind)
{
	Et__Command *c = &m->c;

	switch (kind) {
	case ET__COMMAND__BODY_TOKEN_ADD:
		et__token_add__init(&m->token_add);
		et__token__init(&m->token);
		m->token.id = dice_id(d, DICE_TOKEN);
		m->token.kind = DICE_WORD(d, "join", "join", "api", "x");
		m->token.public_key = kit_hash(1);
		m->token.secret_hash = kit_hash(2);
		m->token.roles = m->roles;
		m->token.n_roles = 2;
		m->roles[0] = DICE_WORD(d, "voter", "capture");
		m->roles[1] = DICE_WORD(d, "vault");
		m->token.expires_us = dice_time(d) + 1000000000;
		m->token.uses_left = (uint32_t)dice_below(d, 3);
		m->token_add.token = &m->token;
		c->token_add = &m->token_add;
		return true;
	case ET__COMMAND__BODY_TOKEN_REVOKE:
		et__token_revoke__init(&m->token_revoke);
		m->token_revoke.id = dice_id(d, DICE_TOKEN);
		c->token_revoke = &m->token_revoke;
		return true;
	case ET__COMMAND__BODY_NODE_JOIN:
		et__node_join__init(&m->node_join);
		m->node_join.node = dice_node(d, m);
		m->node_join.token = dice_id(d, DICE_TOKEN);
		m->node_join.request_hash = kit_hash(dice_below(d, 20));
		m->node_join.n_grants = dice_one_in(d, 3) ? dice_grants(d, m) : 0;
		m->node_join.grants = m->grant_list;
		c->node_join = &m->node_join;
		return true;
	case ET__COMMAND__BODY_NODE_UPDATE:
		et__node_update__init(&m->node_update);
		m->node_update.node = dice_node(d, m);
		c->node_update = &m->node_update;
		return true;
	case ET__COMMAND__BODY_NODE_REMOVE:
		et__node_remove__init(&m->node_remove);
		m->node_remove.node = 1 + dice_below(d, 7);
		m->node_remove.revoked = dice_one_in(d, 2);
		m->node_remove.loss_accepted = dice_one_in(d, 2);
		m->node_remove.force = dice_one_in(d, 2);
		m->node_remove.seen_index = dice_below(d, 2000);
		c->node_remove = &m->node_remove;
		return true;
	case ET__COMMAND__BODY_NODE_ROLES:
		et__node_roles__init(&m->node_roles);
		m->node_roles.node = 1 + dice_below(d, 7);
		m->node_roles.add = m->roles;
		m->node_roles.n_add = dice_below(d, 3);
		m->roles[0] = DICE_WORD(d, "voter", "standby", "spare", "witness", "vault");
		m->roles[1] = DICE_WORD(d, "vault", "capture", "store", "api", "x");
		m->node_roles.remove = m->more_roles;
		m->node_roles.n_remove = dice_below(d, 3);
		m->more_roles[0] = DICE_WORD(d, "vault", "capture", "voter");
		m->more_roles[1] = DICE_WORD(d, "api", "store", "x");
		m->node_roles.seen_index = dice_below(d, 2000);
		m->node_roles.force = dice_one_in(d, 4);
		c->node_roles = &m->node_roles;
		return true;
	case ET__COMMAND__BODY_NODE_DRAIN:
		et__node_drain__init(&m->node_drain);
		m->node_drain.node = 1 + dice_below(d, 7);
		m->node_drain.draining = dice_one_in(d, 2);
		m->node_drain.stop_capture = dice_one_in(d, 2);
		c->node_drain = &m->node_drain;
		return true;
	case ET__COMMAND__BODY_CERTIFICATE_ADD:
		et__certificate_add__init(&m->certificate_add);
		et__certificate__init(&m->certificate);
		m->certificate.node = 1 + dice_below(d, 5);
		m->certificate.spki_hash = kit_hash(dice_below(d, 4));
		m->certificate.der = kit_bytes(100, dice_roll(d));
		m->certificate_add.certificate = &m->certificate;
		m->certificate_add.spki_hash = kit_hash(dice_below(d, 4));
		c->certificate_add = &m->certificate_add;
		return true;
	case ET__COMMAND__BODY_GRANT_ADD:
		et__grant_add__init(&m->grant_add);
		m->grant_add.n_grants = dice_grants(d, m);
		m->grant_add.grants = m->grant_list;
		c->grant_add = &m->grant_add;
		return true;
	case ET__COMMAND__BODY_KEK_ADD:
		et__kek_add__init(&m->kek_add);
		et__kek__init(&m->kek);
		m->kek.version = 1 + (uint32_t)dice_below(d, 6);
		m->kek.public_key = kit_hash(dice_roll(d));
		m->kek.state = (Et__KekState)dice_below(d, 6);
		m->kek_add.kek = &m->kek;
		m->kek_add.n_grants = dice_grants(d, m);
		m->kek_add.grants = m->grant_list;
		c->kek_add = &m->kek_add;
		return true;
	case ET__COMMAND__BODY_SITE_SET:
		et__site_set__init(&m->site_set);
		et__site__init(&m->site);
		m->site.name = DICE_WORD(d, "prg", "brn", "lon");
		m->site.description = dice_text(d);
		m->site_set.site = &m->site;
		c->site_set = &m->site_set;
		return true;
	case ET__COMMAND__BODY_TICK:
		et__tick__init(&m->tick);
		m->tick.time_us = dice_time(d);
		c->tick = &m->tick;
		return true;
	default:
		return false;
	}
}

static inline Et__Subject *dice_subject(struct dice *d, struct dice_room *m)
{
	Et__Subject *s = &m->subject;

	et__subject__init(s);
	switch (dice_below(d, 4)) {
	case 0:
		s->call = dice_id(d, DICE_CALL);
		break;
	case 1:
		s->sip_call_id = DICE_WORD(d, "a", "prg", "brn", "voter", "later", "never");
		break;
	default:
		s->recording = dice_id(d, DICE_RECORDING);
		break;
	}
	return s;
}

static inline void dice_fact(struct dice *d, Et__Fact *f)
{
	et__fact__init(f);
	f->key = DICE_WORD(d, "order", "queue", "agent", "team");
	f->type = (Et__FactType)dice_below(d, 5);
	f->text = DICE_WORD(d, "", "7", "Blue Moon", "agent-1", "team-1", "blue");
	f->number = (int64_t)dice_below(d, 3) - 1;
	f->source = DICE_WORD(d, "", "crm");
	f->withdrawn = dice_one_in(d, 6);
	f->valid_from_us = dice_one_in(d, 5) ? dice_time(d) : 0;
	f->valid_to_us = dice_one_in(d, 5) ? dice_time(d) : 0;
}

/* What is told of calls. false: not one of these. */
static inline bool dice_told(struct dice *d, struct dice_room *m, uint64_t kind)
{
	Et__Command *c = &m->c;

	switch (kind) {
	case ET__COMMAND__BODY_FACT_ADD:
		et__fact_add__init(&m->fact_add);
		m->fact_add.about = dice_subject(d, m);
		m->fact_add.facts = m->fact_list;
		m->fact_add.n_facts = dice_below(d, 4);
		for (size_t i = 0; i < m->fact_add.n_facts; i++) {
			m->fact_list[i] = &m->facts[i];
			dice_fact(d, &m->facts[i]);
		}
		c->fact_add = &m->fact_add;
		return true;
	case ET__COMMAND__BODY_TAG_SET:
		et__tag_set__init(&m->tag_set);
		m->tag_set.about = dice_subject(d, m);
		m->tag_set.tags = m->tag_list;
		m->tag_set.n_tags = dice_below(d, 3);
		for (size_t i = 0; i < m->tag_set.n_tags; i++) {
			m->tag_list[i] = &m->tags[i];
			et__tag__init(&m->tags[i]);
			m->tags[i].name = DICE_WORD(d, "vip", "Complaint", "blue");
			m->tags[i].cleared = dice_one_in(d, 3);
		}
		c->tag_set = &m->tag_set;
		return true;
	case ET__COMMAND__BODY_NOTE_ADD:
		et__note_add__init(&m->note_add);
		et__note__init(&m->note);
		m->note_add.about = dice_subject(d, m);
		m->note.id = dice_id(d, DICE_NOTE);
		m->note.text = DICE_WORD(d, "", "the moon", "Moon, blue",
					 "\xc5\xbd\xc3\x81"
					 "BA blue");
		m->note.withdrawn = dice_one_in(d, 4);
		m->note_add.note = &m->note;
		c->note_add = &m->note_add;
		return true;
	case ET__COMMAND__BODY_AGENT_SET:
		et__agent_set__init(&m->agent_set);
		et__agent__init(&m->agent);
		m->agent.id = DICE_WORD(d, "agent-1", "agent-2", "agent-3");
		m->agent.team = DICE_WORD(d, "", "team-1", "team-2");
		m->agent.numbers = m->numbers;
		m->agent.n_numbers = dice_below(d, 3);
		m->numbers[0] = DICE_WORD(d, "a", "prg", "brn", "+420777123456");
		m->numbers[1] = DICE_WORD(d, "a", "prg", "capture");
		m->agent.valid_from_us = dice_one_in(d, 5) ? 0 : dice_time(d);
		m->agent.valid_to_us = dice_one_in(d, 3) ? dice_time(d) : 0;
		m->agent.withdrawn = dice_one_in(d, 5);
		m->agent_set.agent = &m->agent;
		c->agent_set = &m->agent_set;
		return true;
	default:
		return false;
	}
}

/* Policies, holds, plans, jobs, audit. */
static inline void dice_work(struct dice *d, struct dice_room *m, uint64_t kind)
{
	Et__Command *c = &m->c;

	switch (kind) {
	case ET__COMMAND__BODY_POLICY_SET:
		et__policy_set__init(&m->policy_set);
		et__policy__init(&m->policy);
		m->policy.name = DICE_WORD(d, "archive", "placement", "retention");
		m->policy.text = dice_text(d);
		if (dice_one_in(d, 2)) {
			et__retention_rule__init(&m->retention);
			m->retention.name = DICE_WORD(d, "mifid", "all");
			m->retention.keep_us = (int64_t)dice_below(d, 1000000000);
			m->retention_list[0] = &m->retention;
			m->policy.retention = m->retention_list;
			m->policy.n_retention = 1;
		}
		m->policy_set.policy = &m->policy;
		m->policy_set.expect_revision = (uint32_t)dice_below(d, 4);
		c->policy_set = &m->policy_set;
		break;
	case ET__COMMAND__BODY_HOLD_ADD:
		et__hold_add__init(&m->hold_add);
		et__hold__init(&m->hold);
		m->hold.id = dice_id(d, DICE_HOLD);
		if (dice_one_in(d, 3)) {
			et__hold_scope__init(&m->hold_scope);
			m->hold_scope.number = dice_text(d);
			m->hold_scope.site = DICE_WORD(d, "", "prg", "brq");
			m->hold_scope.agent = DICE_WORD(d, "", "a1");
			m->hold.scope = &m->hold_scope;
		} else {
			m->hold.recording = dice_id(d, DICE_RECORDING);
		}
		m->hold.matter = dice_text(d);
		m->hold_add.hold = &m->hold;
		c->hold_add = &m->hold_add;
		break;
	case ET__COMMAND__BODY_HOLD_RELEASE:
		et__hold_release__init(&m->hold_release);
		m->hold_release.id = dice_id(d, DICE_HOLD);
		c->hold_release = &m->hold_release;
		break;
	case ET__COMMAND__BODY_PLAN_PUT:
		et__plan_put__init(&m->plan_put);
		et__plan__init(&m->plan);
		m->plan.id = dice_id(d, DICE_PLAN);
		m->plan.kind = DICE_WORD(d, "archive", "archive", "erase");
		m->plan.policy = DICE_WORD(d, "", "archive");
		m->plan.policy_revision = (uint32_t)dice_below(d, 3);
		m->plan.items = m->item_list;
		m->plan.n_items = dice_items(d, m);
		for (size_t i = 0; i < m->plan.n_items && strcmp(m->plan.kind, "erase") == 0; i++) {
			m->items[i].action = DICE_WORD(d, "erase", "exempt");
		}
		m->plan_put.plan = &m->plan;
		c->plan_put = &m->plan_put;
		break;
	case ET__COMMAND__BODY_PLAN_APPLY:
		et__plan_apply__init(&m->plan_apply);
		et__job__init(&m->job);
		et__plan__init(&m->plan);
		m->plan.items = m->item_list;
		m->plan.n_items = dice_items(d, m);
		assert_int_equal(et_state_plan_hash(&m->plan, m->plan_hash), 0);
		m->plan_apply.plan = dice_id(d, DICE_PLAN);
		m->plan_apply.hash = (ProtobufCBinaryData){ 32, m->plan_hash };
		m->job.id = dice_id(d, DICE_JOB);
		m->job.kind = DICE_WORD(d, "evict", "archive-upload");
		m->job.node = 1 + dice_below(d, 3);
		m->job_list[0] = &m->job;
		m->plan_apply.jobs = m->job_list;
		m->plan_apply.n_jobs = dice_below(d, 2);
		c->plan_apply = &m->plan_apply;
		break;
	case ET__COMMAND__BODY_JOB_UPDATE:
		et__job_update__init(&m->job_update);
		m->job_update.job = dice_id(d, DICE_JOB);
		m->job_update.state = DICE_WORD(d, "ready", "running", "done", "failed", "x");
		c->job_update = &m->job_update;
		break;
	case ET__COMMAND__BODY_AUDIT_ADD:
		et__audit_add__init(&m->audit_add);
		m->audit_add.action = DICE_WORD(d, "recording.play", "recording.export");
		m->audit_add.target = dice_text(d);
		c->audit_add = &m->audit_add;
		break;
	default:
		et__noop__init(&m->noop);
		c->body_case = ET__COMMAND__BODY_NOOP;
		c->noop = &m->noop;
		break;
	}
}

/* Divergence, upgrade, erasure, restore. false: not one of these. */
static inline bool dice_rare(struct dice *d, struct dice_room *m, uint64_t kind)
{
	Et__Command *c = &m->c;

	switch (kind) {
	case ET__COMMAND__BODY_DIGEST_CHECK:
		et__digest_check__init(&m->digest_check);
		m->digest_check.index = dice_below(d, 200);
		m->digest_check.digest = kit_hash(dice_roll(d));
		c->digest_check = &m->digest_check;
		return true;
	case ET__COMMAND__BODY_CLUSTER_UPGRADE:
		et__cluster_upgrade__init(&m->cluster_upgrade);
		m->cluster_upgrade.to = 1 + (uint32_t)dice_below(d, 3);
		m->cluster_upgrade.expect_from = 1 + (uint32_t)dice_below(d, 2);
		c->cluster_upgrade = &m->cluster_upgrade;
		return true;
	case ET__COMMAND__BODY_RECORDING_ERASE:
		et__recording_erase__init(&m->recording_erase);
		/* What is erased is found no more: most of it must stay, or nothing is left. */
		m->recording_erase.recording =
			dice_one_in(d, 4) ? dice_id(d, DICE_RECORDING) : kit_id(dice_roll(d) | 1);
		c->recording_erase = &m->recording_erase;
		return true;
	case ET__COMMAND__BODY_RECORDING_REDACT:
		et__recording_redact__init(&m->recording_redact);
		m->recording_redact.recording = dice_id(d, DICE_RECORDING);
		m->recording_redact.from_us = dice_time(d);
		m->recording_redact.to_us = dice_time(d);
		c->recording_redact = &m->recording_redact;
		return true;
	case ET__COMMAND__BODY_GENERATION_PUT:
		et__generation_put__init(&m->generation_put);
		et__segment__init(&m->segment);
		et__wrap__init(&m->wrap);
		m->wrap.kek_version = 1;
		m->wrap.enc = kit_hash(dice_below(d, 3));
		m->wrap.ciphertext = kit_bytes(48, dice_below(d, 3));
		m->segment.recording = dice_id(d, DICE_RECORDING);
		m->segment.generation = 1 + (uint32_t)dice_below(d, 3);
		m->segment.segment = 1 + (uint32_t)dice_below(d, 2);
		m->segment.node = m->op.node;
		m->segment.wrap = &m->wrap;
		m->segment.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
		m->segment.root = kit_hash(dice_below(d, 3));
		m->segment.header_hash = kit_hash(1);
		*(dice_one_in(d, 2) ? &m->segment.object_hash : &m->segment.seal_hash) =
			kit_hash(1);
		m->segment.link = kit_bytes(64, 2);
		m->segment.size_bytes = 100;
		m->segment.file = dice_text(d);
		m->generation_put.segment = &m->segment;
		m->generation_put.old_root = kit_hash(dice_below(d, 3));
		m->generation_put.redaction = dice_below(d, 3);
		m->generation_put.made_of = 1 + (uint32_t)dice_below(d, 2);
		c->generation_put = &m->generation_put;
		return true;
	case ET__COMMAND__BODY_GENERATION_FINISH:
		et__generation_finish__init(&m->generation_finish);
		m->generation_finish.recording = dice_id(d, DICE_RECORDING);
		m->generation_finish.generation = 1 + (uint32_t)dice_below(d, 3);
		m->generation_finish.segment = 1 + (uint32_t)dice_below(d, 2);
		c->generation_finish = &m->generation_finish;
		return true;
	case ET__COMMAND__BODY_RESTORE_STEP:
		et__restore_step__init(&m->restore_step);
		/* After a BEGIN nothing else is applied: rarely. */
		m->restore_step.kind =
			(Et__RestoreStep__Kind)(dice_one_in(d, 50) ? 0 : 1 + dice_below(d, 2));
		m->restore_step.node = dice_node(d, m);
		m->restore_step.expect_epoch = (uint32_t)dice_below(d, 2);
		et__erasure__init(&m->erasure);
		m->erasure.recording = dice_id(d, DICE_RECORDING);
		m->erasure_list[0] = &m->erasure;
		m->restore_step.n_erasures = 1;
		m->restore_step.erasures = m->erasure_list;
		c->restore_step = &m->restore_step;
		return true;
	case ET__COMMAND__BODY_SCHEMA_PROBE:
		et__schema_probe__init(&m->schema_probe);
		m->schema_probe.text = dice_text(d);
		c->schema_probe = &m->schema_probe;
		return true;
	case ET__COMMAND__BODY_SITE_REMOVE:
		et__site_remove__init(&m->site_remove);
		m->site_remove.name = DICE_WORD(d, "prg", "brn", "lon");
		m->site_remove.archive_revision = (uint32_t)dice_below(d, 3);
		c->site_remove = &m->site_remove;
		return true;
	default:
		return false;
	}
}

/* Legs by hand. false: not one of these. */
static inline bool dice_legs(struct dice *d, struct dice_room *m, uint64_t kind)
{
	Et__Command *c = &m->c;

	switch (kind) {
	case ET__COMMAND__BODY_RECORDINGS_JOIN:
		et__recordings_join__init(&m->recordings_join);
		m->recordings_join.n_recordings = 1 + dice_below(d, 3);
		m->recordings_join.recordings = m->joined;
		for (size_t i = 0; i < m->recordings_join.n_recordings; i++) {
			m->joined[i] = dice_id(d, DICE_RECORDING);
		}
		c->recordings_join = &m->recordings_join;
		return true;
	case ET__COMMAND__BODY_RECORDING_SPLIT:
		et__recording_split__init(&m->recording_split);
		m->recording_split.recording = dice_id(d, DICE_RECORDING);
		c->recording_split = &m->recording_split;
		return true;
	default:
		return false;
	}
}

/* A file, mostly of an id that no recorder has. */
static inline void dice_import(struct dice *d, struct dice_room *m)
{
	Et__RecordingImport *to = &m->recording_import;

	et__recording_import__init(to);
	et__imported__init(&m->imported);
	to->recording = dice_recording(d, m);
	to->recording->id = dice_id(d, dice_one_in(d, 4) ? DICE_RECORDING : DICE_FILE);
	to->recording->imported = &m->imported;
	m->imported.sha256 = kit_hash(1);
	m->imported.name = DICE_WORD(d, "a.wav", "b.mp3");
	m->imported.part = m->imported.parts = 1;
	m->imported.untimed = dice_one_in(d, 3);
	et__wrap__init(&m->wrap);
	m->wrap.kek_version = 1;
	m->wrap.enc = kit_hash(dice_below(d, 3));
	m->wrap.ciphertext = kit_bytes(48, dice_below(d, 3));
	to->segments = m->imported_list;
	to->n_segments = 1 + dice_below(d, 2);
	for (size_t i = 0; i < to->n_segments; i++) {
		Et__Segment *g = m->imported_list[i] = &m->imported_segments[i];
		et__segment__init(g);
		g->recording = to->recording->id;
		g->generation = 1;
		g->segment = dice_one_in(d, 8) ? 1 : 1 + (uint32_t)i; /* twice the same */
		g->wrap = &m->wrap;
		g->root = g->header_hash = kit_hash(dice_below(d, 3));
		*(dice_one_in(d, 2) ? &g->object_hash : &g->seal_hash) = kit_hash(1);
		g->size_bytes = 100;
	}
	to->facts = m->fact_list;
	to->n_facts = dice_below(d, 3);
	for (size_t i = 0; i < to->n_facts; i++) {
		m->fact_list[i] = &m->facts[i];
		dice_fact(d, &m->facts[i]);
	}
	m->c.recording_import = to;
}

/* The life of keys. false: not one of these. */
static inline bool dice_keys(struct dice *d, struct dice_room *m, uint64_t kind)
{
	Et__Command *c = &m->c;

	switch (kind) {
	case ET__COMMAND__BODY_KEK_ROTATE:
		et__kek_rotate__init(&m->kek_rotate);
		m->kek_rotate.expect_newest = (uint32_t)dice_below(d, 4);
		c->kek_rotate = &m->kek_rotate;
		return true;
	case ET__COMMAND__BODY_KEK_SET:
		et__kek_set__init(&m->kek_set);
		m->kek_set.version = 1 + (uint32_t)dice_below(d, 4);
		m->kek_set.state = (Et__KekState)dice_below(d, 6);
		m->kek_set.expect = (Et__KekState)dice_below(d, 6);
		c->kek_set = &m->kek_set;
		return true;
	case ET__COMMAND__BODY_KEK_REPORT:
		et__kek_report__init(&m->kek_report);
		et__seal_key__init(&m->seal_key);
		m->kek_report.drained = (uint32_t)dice_below(d, 5);
		m->seal_key.version = 1 + (uint32_t)dice_below(d, 4);
		m->seal_key.public_key = kit_hash(dice_below(d, 4));
		m->seal_key_list[0] = &m->seal_key;
		m->kek_report.seal_keys = m->seal_key_list;
		m->kek_report.n_seal_keys = dice_below(d, 2);
		m->kek_report.has_seal_keys = dice_one_in(d, 2);
		c->kek_report = &m->kek_report;
		return true;
	case ET__COMMAND__BODY_KEK_REWRAP:
		et__kek_rewrap__init(&m->kek_rewrap);
		et__rewrap__init(&m->rewrap);
		et__wrap__init(&m->wrap);
		et__wrap__init(&m->new_wrap);
		m->kek_rewrap.from = 1 + (uint32_t)dice_below(d, 2);
		m->kek_rewrap.to = 1 + (uint32_t)dice_below(d, 4);
		m->wrap.kek_version = m->kek_rewrap.from;
		m->wrap.enc = kit_hash(dice_below(d, 3));
		m->wrap.ciphertext = kit_bytes(48, dice_below(d, 3));
		et_state_wrap_hash(&m->wrap, m->old_hash);
		m->new_wrap.kek_version = m->kek_rewrap.to;
		m->new_wrap.enc = kit_hash(dice_below(d, 3));
		m->new_wrap.ciphertext = kit_bytes(48, dice_below(d, 3));
		m->rewrap.recording = dice_id(d, DICE_RECORDING);
		m->rewrap.generation = 1;
		m->rewrap.segment = 1 + (uint32_t)dice_below(d, 2);
		m->rewrap.old_hash = (ProtobufCBinaryData){ 32, m->old_hash };
		m->rewrap.wrap = &m->new_wrap;
		m->rewrap_list[0] = &m->rewrap;
		m->kek_rewrap.items = m->rewrap_list;
		m->kek_rewrap.n_items = 1;
		c->kek_rewrap = &m->kek_rewrap;
		return true;
	case ET__COMMAND__BODY_KEY_SCHEDULE:
		et__key_schedule__init(&m->key_schedule);
		m->key_schedule.destroy_after_us = dice_one_in(d, 2) ? -1 : 1000000;
		m->key_schedule.rewrap_rate = (uint32_t)dice_below(d, 3);
		c->key_schedule = &m->key_schedule;
		return true;
	case ET__COMMAND__BODY_KEK_ESCROW:
		et__kek_escrow__init(&m->kek_escrow);
		m->kek_escrow.version = 1 + (uint32_t)dice_below(d, 4);
		m->kek_escrow.threshold = 2 + (uint32_t)dice_below(d, 3);
		m->kek_escrow.shares = 3;
		c->kek_escrow = &m->kek_escrow;
		return true;
	default:
		return false;
	}
}

/* A command with an op id of its own; sequences have holes, and come late, now and then. */
static inline const Et__Command *dice_command(struct dice *d, struct dice_room *m,
					      uint8_t incarnations[8][16], uint64_t seqs[8])
{
	uint64_t kind = ET__COMMAND__BODY_NOOP + dice_below(d, 31);
	uint64_t who = dice_below(d, 8);

	if (kind > ET__COMMAND__BODY_SITE_SET) {
		kind = ET__COMMAND__BODY_FACT_ADD + dice_below(d, 4);
	}
	et__command__init(&m->c);
	et__op_id__init(&m->op);
	m->c.op = &m->op;
	m->op.node = dice_one_in(d, 20) ? 1 + dice_below(d, 7) : 1 + who % 3;
	m->op.incarnation = (ProtobufCBinaryData){ 16, incarnations[who] };
	seqs[who] += 1 + (dice_one_in(d, 6) ? dice_below(d, 4) : 0);
	m->op.seq = seqs[who];
	if (dice_one_in(d, 8) && m->op.seq > 10) {
		m->op.seq -= dice_below(d, 10);
	}
	if (dice_one_in(d, 4)) {
		m->op.floor = dice_below(d, m->op.seq + 2);
	}
	if (dice_one_in(d, 12)) {
		static const uint64_t rare[] = {
			ET__COMMAND__BODY_DIGEST_CHECK,	     ET__COMMAND__BODY_CLUSTER_UPGRADE,
			ET__COMMAND__BODY_RECORDING_ERASE,   ET__COMMAND__BODY_RESTORE_STEP,
			ET__COMMAND__BODY_RECORDING_REDACT,  ET__COMMAND__BODY_GENERATION_PUT,
			ET__COMMAND__BODY_GENERATION_FINISH, ET__COMMAND__BODY_SCHEMA_PROBE,
			ET__COMMAND__BODY_SITE_REMOVE,	     ET__COMMAND__BODY_RECORDING_IMPORT,
			ET__COMMAND__BODY_RECORDINGS_JOIN,   ET__COMMAND__BODY_RECORDING_SPLIT,
		};
		kind = rare[dice_below(d, ET_ARRAY_SIZE(rare))];
	}
	if (kind == ET__COMMAND__BODY_CLUSTER_INIT) {
		kind = ET__COMMAND__BODY_RECORDING_CLOSE;
	}
	if (kind == ET__COMMAND__BODY_NODE_REMOVE && !dice_one_in(d, 12)) {
		kind = ET__COMMAND__BODY_COPY_ADD;
	}
	if (dice_one_in(d, 16)) {
		kind = ET__COMMAND__BODY_NODE_ROLES + dice_below(d, 2);
	}
	if (dice_one_in(d, 10)) {
		kind = ET__COMMAND__BODY_KEK_ROTATE + dice_below(d, 6);
	}
	m->c.body_case = (Et__Command__BodyCase)kind;
	m->c.principal = dice_text(d);
	m->c.reason = dice_text(d);
	if (kind == ET__COMMAND__BODY_RECORDING_IMPORT) {
		dice_import(d, m);
		return &m->c;
	}
	if (!dice_media(d, m, kind) && !dice_legs(d, m, kind) && !dice_cluster(d, m, kind) &&
	    !dice_rare(d, m, kind) && !dice_told(d, m, kind) && !dice_keys(d, m, kind)) {
		dice_work(d, m, kind);
	}
	return &m->c;
}

struct dice_game {
	struct dice dice;
	struct dice_room room;
	uint8_t incarnations[8][16];
	uint64_t seqs[8];
};

static inline void dice_begin(struct dice_game *g, uint64_t seed)
{
	memset(g, 0, sizeof(*g));
	g->dice.state = seed * 2 + 1;
	for (size_t i = 0; i < ET_ARRAY_SIZE(g->incarnations); i++) {
		memset(g->incarnations[i], (int)(0x20 + i), 16);
	}
}

/* An entry: commands, or nothing, or one that was there before, or bytes that are no entry. */
static inline void dice_entry(struct dice_game *g, const struct kit *k, struct et_buffer *entry)
{
	struct dice *d = &g->dice;

	entry->size = 0;
	if (dice_one_in(d, 25)) {
		return;
	}
	if (dice_one_in(d, 12) && k->log_count > 10) {
		const struct kit_entry *e = &k->log[dice_below(d, k->log_count)];
		et_buffer_add(entry, e->data, e->size);
		return;
	}
	uint64_t count = dice_one_in(d, 3) ? dice_below(d, 6) : 1;
	et_entry_begin(entry);
	for (uint64_t i = 0; i < count; i++) {
		struct et_buffer packed = { 0 };
		const Et__Command *c = dice_command(d, &g->room, g->incarnations, g->seqs);
		assert_int_equal(et_command_pack(c, &packed), 0);
		if (dice_one_in(d, 40)) { /* what a fault may make of a command */
			packed.data[dice_below(d, packed.size)] ^=
				(uint8_t)(1 + dice_below(d, 255));
			if (et_command_schema((struct et_view){ packed.data, packed.size }) >
			    ET_COMMAND_SCHEMA) {
				packed.size = 1; /* a newer schema stops a node: not here */
			}
		}
		et_entry_add(entry, packed.data, packed.size);
		et_buffer_release(&packed);
	}
	et_entry_end(entry);
	assert_false(entry->failed);
	if (dice_one_in(d, 30)) {
		entry->data[dice_below(d, entry->size < 12 ? entry->size : 12)] ^= 1;
	}
}

#endif
