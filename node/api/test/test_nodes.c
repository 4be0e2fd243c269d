/* The API of a member: roles, draining, removal, leadership. */
#include <errno.h>
#include <semaphore.h>

#include "node/api/test/member.h"

struct remote {
	sem_t done;
	int code;
	char text[512];
};

static void on_remote(void *arg, int code, const Et__Result *result)
{
	struct remote *r = arg;
	r->code = code;
	(void)snprintf(r->text, sizeof(r->text), "%s", result != NULL ? result->text : "");
	(void)sem_post(&r->done);
}

/* From this thread, while the loop runs on its own. */
static void commit(Et__Command *command)
{
	struct remote r = { 0 };
	command->principal = (char *)(uintptr_t) "local:uid=0";
	command->schema = ET_COMMAND_SCHEMA;
	assert_int_equal(sem_init(&r.done, 0, 0), 0);
	assert_int_equal(et_catalog_propose_from(the->catalog, command, 20000, on_remote, &r), 0);
	while (sem_wait(&r.done) < 0) { /* it always answers: 20 s at most */
		assert_int_equal(errno, EINTR);
	}
	(void)sem_destroy(&r.done);
	if (r.code != 0) {
		fail_msg("%d %s", r.code, r.text);
	}
}

/* What this node knows of members beside the catalogue: changed between two requests. */
static _Atomic(const char *) known = "[{\"id\":1,\"reachable\":false},"
				     "{\"id\":2,\"reachable\":false}]";

static json_t *fake_nodes(void *arg)
{
	(void)arg;
	return json_loads(atomic_load(&known), 0, NULL);
}

static int set_up_nodes(void **state)
{
	static const struct et_api_backend backend = { .nodes = fake_nodes };
	member_backend = &backend;
	return group_set_up(state);
}

/* A member that nobody hears: it is in the catalogue only. `roles` ends with NULL. */
static void member_join(uint64_t id, const char *name, const char *site, const char *const *roles,
			uint8_t token_id[16])
{
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Token token = ET__TOKEN__INIT;
	Et__NodeJoin join = ET__NODE_JOIN__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__Command made = ET__COMMAND__INIT;
	Et__Command joined = ET__COMMAND__INIT;
	uint8_t key[32] = { (uint8_t)id, 1 };
	uint8_t hash[32] = { (uint8_t)id, 2 };
	char *words[8];

	et_uuid7(token_id);
	token.id = (ProtobufCBinaryData){ 16, token_id };
	token.kind = (char *)(uintptr_t) "join";
	token.public_key = (ProtobufCBinaryData){ 32, key };
	token.name = (char *)(uintptr_t)name;
	token.site = (char *)(uintptr_t)site;
	token.uses_left = 3;
	token.expires_us = et_clock_now_us() + 3600 * INT64_C(1000000);
	for (; roles[token.n_roles] != NULL; token.n_roles++) {
		words[token.n_roles] = (char *)(uintptr_t)roles[token.n_roles];
	}
	token.roles = words;
	add.token = &token;
	made.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	made.token_add = &add;
	commit(&made);

	node.id = id;
	node.name = token.name;
	node.site = token.site;
	node.address = (char *)(uintptr_t) "127.0.0.1:2";
	node.state = ET__NODE_STATE__ACTIVE;
	node.schema = ET_COMMAND_SCHEMA;
	node.spki_hash = (ProtobufCBinaryData){ 32, hash };
	join.node = &node;
	join.token = token.id;
	join.request_hash = (ProtobufCBinaryData){ 32, hash };
	joined.body_case = ET__COMMAND__BODY_NODE_JOIN;
	joined.node_join = &join;
	commit(&joined);
}

/* What is refused, how, and a part of what is said. */
static void refused(const char *path, const char *body, const char *code, const char *part)
{
	ASK(a, "POST", path, body, NULL, false);
	et_buffer_add8(&a.body, '\0');
	if (a.status < 400 || strcmp(et_json_get_text(a.json, "code", ""), code) != 0 ||
	    strstr((const char *)a.body.data, part) == NULL) {
		fail_msg("%s %s: want %s \"%s\", got %ld %s", path, body, code, part, a.status,
			 (const char *)a.body.data);
	}
}

static void node_becomes(const char *path, const char *body, const char *key, const char *value)
{
	ASK(a, "POST", path, body, NULL, false);
	et_buffer_add8(&a.body, '\0');
	if (a.status != 200 || strcmp(et_json_get_text(a.json, key, ""), value) != 0) {
		fail_msg("%s %s: want %s %s, got %ld %s", path, body, key, value, a.status,
			 (const char *)a.body.data);
	}
}

static void bad_wishes_about_roles_are_refused(void **state)
{
	static const char *const standby[] = { "standby", "capture", NULL };
	uint8_t token[16];
	const char *roles = "/v1/nodes/brq-1/roles";

	(void)state;
	member_join(2, "brq-1", "brq", standby, token);
	refused("/v1/nodes/none/roles", "{\"add\":[\"voter\"]}", "ET_ENOTFOUND", "no node");
	refused("/v1/nodes/99/roles", "{\"add\":[\"voter\"]}", "ET_ENOTFOUND", "no node");
	refused(roles, "{}", "ET_EUSAGE", "which roles");
	refused(roles, "{\"add\":[]}", "ET_EUSAGE", "which roles");
	refused(roles, "{\"add\":[1]}", "ET_EUSAGE", "a list of roles");
	refused(roles, "{\"ad\":[\"voter\"]}", "ET_EMALFORMED", "did you mean");
	refused(roles, "[]", "ET_EMALFORMED", "");
	refused(roles, "{\"add\":[\"king\"]}", "ET_EREFUSED", "no role 'king'");
	refused(roles, "{\"add\":[\"voter\"],\"expect\":[\"spare\"]}", "ET_ESTALE",
		"changed meanwhile");
	refused(roles, "{\"remove\":[\"standby\"]}", "ET_EREFUSED", "exactly one of");
	refused(roles, "{\"add\":[\"witness\"]}", "ET_EREFUSED", "neither media nor keys");
	refused(roles, "{\"add\":[\"spare\"]}", "ET_EPOLICY", "was not drained");
	node_becomes(roles, "{\"add\":[\"voter\"],\"expect\":[\"capture\",\"standby\"]}",
		     "wanted_role", "voter");
	node_becomes(roles, "{\"add\":[\"standby\"]}", "wanted_role", "standby");
	node_becomes("/v1/nodes/2/roles", "{\"add\":[\"standby\"]}", "name", "brq-1"); /* again */
}

static void a_vote_is_not_given_away_lightly(void **state)
{
	const char *roles = "/v1/nodes/prg-1/roles";
	(void)state;
	refused(roles, "{\"add\":[\"standby\"]}", "ET_EPOLICY", "no majority");
	refused(roles, "{\"add\":[\"standby\"]}", "ET_EPOLICY", "--force");
	refused(roles, "{\"add\":[\"standby\"],\"force\":true}", "ET_EPOLICY",
		"needs the name of the cluster");
	refused(roles, "{\"add\":[\"standby\"],\"force\":true,\"confirm\":\"acne\"}", "ET_EPOLICY",
		"not \\\"acne\\\"");
	refused(roles, "{\"add\":[\"standby\"],\"force\":true,\"confirm\":\"acme \"}", "ET_EPOLICY",
		"--confirm acme");
	refused(roles, "{\"add\":[\"standby\"],\"force\":true,\"confirm\":\"acme\"}", "ET_EREFUSED",
		"the last voter");
	refused(roles, "{\"remove\":[\"vault\"]}", "ET_EPOLICY", "no other vault node");
	/* Force is for votes: it does not open what only this node can open. */
	refused(roles, "{\"remove\":[\"vault\"],\"force\":true,\"confirm\":\"acme\"}", "ET_EPOLICY",
		"no other vault node");
	refused("/v1/nodes/prg-1/remove",
		"{\"cause\":\"dead\",\"confirm\":\"acme\",\"force\":true}", "ET_EREFUSED",
		"the last voter");
}

static void draining_has_its_rules(void **state)
{
	const char *path = "/v1/nodes/brq-1/drain";

	(void)state;
	refused("/v1/nodes/none/drain", "{}", "ET_ENOTFOUND", "no node");
	refused(path, "{\"stop\":true}", "ET_EMALFORMED", "unknown key");
	refused(path, "{}", "ET_EPOLICY", "--stop-capture");
	node_becomes(path, "{\"stop_capture\":true,\"reason\":\"CHG-1\"}", "state", "draining");
	GET(holdings, "/v1/nodes/brq-1/holdings");
	assert_true(et_json_get_bool(holdings.json, "draining", false));
	assert_false(et_json_get_bool(holdings.json, "drained", true)); /* it cannot be asked */
	assert_non_null(strstr(et_json_get_text(holdings.json, "why", ""), "journal"));
	refused("/v1/nodes/brq-1/remove", "{}", "ET_EPOLICY", "is not drained");
	node_becomes(path, "{\"draining\":false}", "state", "active");
	node_becomes(path, "{\"draining\":false}", "state", "active"); /* again */
	GET(none, "/v1/nodes/none/holdings");
	assert_code(&none, 404, "ET_ENOTFOUND");
}

/* Who has only begun to ask does not know whether there will be an answer. */
static void who_was_hardly_asked_is_not_called_dead(void **state)
{
	static const char *const early[] = {
		"[{\"id\":1}]", /* not at all yet */
		"[{\"id\":2,\"reachable\":false,\"known_ms\":4999}]",
	};
	const char *before = atomic_load(&known);

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(early); i++) {
		atomic_store(&known, early[i]);
		refused("/v1/nodes/brq-1/remove", "{\"cause\":\"dead\",\"confirm\":\"acme\"}",
			"ET_EBUSY", "again in 5 s");
	}
	atomic_store(&known, "[{\"id\":2,\"reachable\":true}]");
	refused("/v1/nodes/brq-1/remove", "{\"cause\":\"dead\",\"confirm\":\"acme\"}", "ET_EPOLICY",
		"it answers");
	atomic_store(&known, "[{\"id\":2,\"reachable\":false,\"known_ms\":5000}]");
	refused("/v1/nodes/brq-1/remove", "{\"cause\":\"dead\"}", "ET_EPOLICY", "nowhere else");
	atomic_store(&known, before);
}

static void a_loss_is_said_and_confirmed(void **state)
{
	const char *path = "/v1/nodes/brq-1/remove";

	(void)state;
	refused("/v1/nodes/none/remove", "{}", "ET_ENOTFOUND", "no node");
	refused(path, "{\"cause\":\"bored\"}", "ET_EUSAGE", "dead or stolen");
	refused(path, "{\"couse\":\"dead\"}", "ET_EMALFORMED", "did you mean");
	refused(path, "{}", "ET_EPOLICY", "evertape node drain brq-1");
	refused(path, "{\"confirm\":\"acme\"}", "ET_EPOLICY", "is not drained");
	refused(path, "{\"cause\":\"dead\"}", "ET_EPOLICY", "nowhere else");
	refused(path, "{\"cause\":\"dead\",\"confirm\":\"brq-1\"}", "ET_EPOLICY",
		"not \\\"brq-1\\\"");
	ASK(gone, "POST", path, "{\"cause\":\"dead\",\"confirm\":\"acme\",\"reason\":\"fire\"}",
	    NULL, false);
	assert_int_equal(gone.status, 200);
	assert_string_equal(et_json_get_text(gone.json, "state", ""), "removed");
	assert_true(json_is_object(json_object_get(gone.json, "loss")));
	assert_memory_equal(et_json_get_text(gone.json, "reason", ""), "dead: fire", 10);
	ASK(again, "POST", path, "{}", NULL, false);
	assert_int_equal(again.status, 200);
	assert_true(et_json_get_bool(again.json, "already", false));
	refused("/v1/nodes/brq-1/roles", "{\"add\":[\"voter\"]}", "ET_EREFUSED", "");
	refused("/v1/nodes/brq-1/drain", "{}", "ET_EREFUSED", "");
}

struct token_state {
	const uint8_t *id;
	bool revoked;
};

static int token_find(void *arg, const Et__Token *t)
{
	struct token_state *s = arg;
	if (memcmp(t->id.data, s->id, 16) == 0) {
		s->revoked = t->revoked;
	}
	return 0;
}

static bool token_is_revoked(const uint8_t id[16])
{
	struct token_state s = { .id = id };
	struct et_state_view *v = et_state_view_open(et_catalog_state(the->catalog));
	assert_int_equal(et_state_each_token(v, token_find, &s), 0);
	(void)et_state_view_close(v);
	return s.revoked;
}

/* Its join token could let the thief in again; those of other sites stand. */
static void a_stolen_node_is_revoked_with_the_tokens_of_its_site(void **state)
{
	static const char *const recorder[] = { "standby", "capture", NULL };
	static const char *const witness[] = { "witness", NULL };
	const char *stolen = "{\"cause\":\"stolen\",\"confirm\":\"acme\"}";
	uint8_t there[16];
	uint8_t elsewhere[16];

	(void)state;
	member_join(3, "ost-1", "ost", recorder, there);
	member_join(4, "wit-1", "wit", witness, elsewhere);
	refused("/v1/nodes/wit-1/roles", "{\"add\":[\"vault\"]}", "ET_EREFUSED",
		"neither media nor keys");
	refused("/v1/nodes/wit-1/roles", "{\"add\":[\"capture\"]}", "ET_EREFUSED",
		"neither media nor keys");
	refused("/v1/nodes/ost-1/remove", "{\"cause\":\"stolen\"}", "ET_EPOLICY", "--confirm acme");
	assert_false(token_is_revoked(there));
	ASK(gone, "POST", "/v1/nodes/ost-1/remove", stolen, NULL, false);
	assert_int_equal(gone.status, 200);
	assert_string_equal(et_json_get_text(gone.json, "state", ""), "revoked");
	assert_true(token_is_revoked(there));
	assert_false(token_is_revoked(elsewhere));
	bool said = false;
	size_t i;
	json_t *note;
	json_array_foreach(json_object_get(gone.json, "notes"), i, note)
	{
		said |= strstr(json_string_value(note), "1 join tokens for its site") != NULL;
	}
	assert_true(said);
	ASK(again, "POST", "/v1/nodes/ost-1/remove", stolen, NULL, false);
	assert_true(et_json_get_bool(again.json, "already", false));
	/* One that was removed as dead, and turns out to be stolen. */
	node_becomes("/v1/nodes/2/remove", stolen, "state", "revoked");
	node_becomes("/v1/nodes/2/remove", "{\"cause\":\"dead\",\"confirm\":\"acme\"}", "state",
		     "revoked"); /* it stays so */
}

static void leadership_goes_to_voters_only(void **state)
{
	(void)state;
	refused("/v1/raft/transfer", "{\"to\":\"none\"}", "ET_ENOTFOUND", "no node");
	refused("/v1/raft/transfer", "{\"two\":\"prg-1\"}", "ET_EMALFORMED", "did you mean");
	refused("/v1/raft/transfer", "{\"to\":\"wit-1\"}", "ET_EREFUSED", "no voter");
	ASK(self, "POST", "/v1/raft/transfer", "{\"to\":\"prg-1\"}", NULL, false);
	assert_int_equal(self.status, 200);
	assert_string_equal(et_json_get_text(self.json, "leader", ""), "prg-1");
	ASK(snapshot, "POST", "/v1/raft/snapshot", NULL, NULL, false);
	assert_int_equal(snapshot.status, 200);
	assert_true(et_json_get_int(snapshot.json, "index", 0) > 0);
	/* Nobody says what it sees here: after its time it says what to do. */
	GET(peers, "/v1/raft");
	assert_int_equal(peers.status, 200);
	assert_false(et_json_get_bool(peers.json, "complete", true));
	assert_non_null(strstr(et_json_get_text(peers.json, "why", ""), "ask at another"));
}

/* Who may not change nodes is refused before anything is looked at. */
static void members_are_for_administrators(void **state)
{
	static const char *const paths[] = { "/v1/nodes/wit-1/roles",  "/v1/nodes/wit-1/drain",
					     "/v1/nodes/wit-1/remove", "/v1/nodes/none/remove",
					     "/v1/nodes/token",	       "/v1/raft/transfer",
					     "/v1/raft/snapshot" };
	char reader[160];

	(void)state;
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"watch\",\"roles\":[\"reader\",\"operator\"]}",
	    NULL, false);
	assert_int_equal(made.status, 201);
	(void)snprintf(reader, sizeof(reader), "%s", et_json_get_text(made.json, "token", ""));
	for (size_t i = 0; i < ET_ARRAY_SIZE(paths); i++) {
		ASK(denied, "POST", paths[i], "{}", bearer(reader), true);
		assert_code(&denied, 403, "ET_EDENIED");
	}
	ASK(nodes, "GET", "/v1/nodes", NULL, bearer(reader), true);
	assert_int_equal(nodes.status, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_wishes_about_roles_are_refused),
		cmocka_unit_test(a_vote_is_not_given_away_lightly),
		cmocka_unit_test(draining_has_its_rules),
		cmocka_unit_test(who_was_hardly_asked_is_not_called_dead),
		cmocka_unit_test(a_loss_is_said_and_confirmed),
		cmocka_unit_test(a_stolen_node_is_revoked_with_the_tokens_of_its_site),
		cmocka_unit_test(leadership_goes_to_voters_only),
		cmocka_unit_test(members_are_for_administrators),
	};
	return cmocka_run_group_tests(tests, set_up_nodes, group_tear_down);
}
