#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/playback/fit.h"
#include "node/playback/test/playback_fixture.h"
#include "node/srtp/dtls.h"

/* ---- A recording with a segment of late keys ---- */

struct late {
	struct fixture *f;
	struct et_playback_segment segments[SEGMENTS + 1];
	struct et_view tape; /* of the keys */
	struct et_buffer file;
	struct et_secret *dek;
	bool missing;
};

static int late_open(void *arg, const struct et_playback_segment *segment,
		     struct et_tape_source *ret, struct et_error *reterr)
{
	struct late *l = arg;
	if (!et_keys_segment(segment->segment)) {
		return open_segment(l->f, segment, ret, reterr);
	}
	if (l->missing) {
		return et_fail(reterr, ET_ENOTFOUND, "copy of the keys");
	}
	l->tape = (struct et_view){ l->file.data, l->file.size };
	*ret = et_tape_source_memory(&l->tape);
	l->f->open++;
	return 0;
}

static void late_close(void *arg, struct et_tape_source *source)
{
	struct late *l = arg;
	l->f->open--;
	if (source->arg != &l->tape) {
		et_tape_source_close(source);
	}
}

static int late_key(void *arg, const struct et_tape_header *header, struct et_secret **ret,
		    struct et_error *reterr)
{
	struct late *l = arg;
	if (!et_keys_segment(header->segment)) {
		return open_key(l->f, header, ret, reterr);
	}
	*ret = et_secret_copy(et_secret_bytes(l->dek), 32);
	return 0;
}

static struct et_playback_config late_make(struct late *l, struct fixture *f, struct et_view plain)
{
	struct et_tape *t = NULL;
	char path[128];
	struct et_tape_header header = { .recording = { 9 },
					 .generation = 1,
					 .segment = ET_KEYS_SEGMENT_FIRST + 3 * 256,
					 .t0_us = T0_US + 3600 * INT64_C(1000000) };
	const struct et_tape_signer signer = { .node = 3, .seed = f->seed, .now_us = T0_US };
	struct et_tape_seal seal;

	*l = (struct late){ .f = f };
	(void)snprintf(path, sizeof(path), "%s/keys.evtm", f->dir);
	assert_int_equal(et_secret_random(32, &l->dek, NULL), 0);
	assert_int_equal(et_tape_create(path, &header, l->dek, &t, NULL), 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_KEYS, 0, plain.data, plain.size, NULL), 0);
	assert_int_equal(et_tape_finish(t, &signer, &seal, NULL), 0);
	t = et_tape_close(t);
	assert_int_equal(et_file_read(path, 1 << 20, &l->file, NULL), 0);
	assert_int_equal(unlink(path), 0);
	memcpy(l->segments, f->segments, sizeof(f->segments));
	struct et_playback_segment *s = &l->segments[SEGMENTS];
	*s = (struct et_playback_segment){
		.generation = 1, .segment = header.segment, .t0_us = header.t0_us, .has_root = true
	};
	memcpy(s->root, seal.root, 32);
	struct et_playback_config config = f->config;
	config.segments = l->segments;
	config.segment_count = SEGMENTS + 1;
	config.supply = (struct et_playback_supply){ late_open, late_close, late_key, l };
	return config;
}

static void late_free(struct late *l)
{
	l->dek = et_secret_free(l->dek);
	et_buffer_release(&l->file);
}

/* ---- Offers ---- */

/* A line of the table for that party, with one bit changed if `wrong`. */
static void line_of(unsigned party, bool wrong, char ret[128])
{
	uint8_t material[30];
	char text[64];

	srtp_key(party, material);
	material[20] ^= wrong;
	et_base64(material, sizeof(material), text);
	(void)snprintf(ret, 128, "0x%x\tAES_CM_128_HMAC_SHA1_80\t%s\n", 0x1000 + party, text);
}

static int offer(struct fixture *f, const char *table, const char *keylog, struct et_buffer *plain,
		 struct et_fit *fit, struct et_error *e)
{
	const struct et_fit_offer o = { .table = et_view_of(table),
					.keylog = et_view_of(keylog),
					.now_us = T0_US };
	return et_playback_fit(&f->config, &o, plain, fit, e);
}

static void release(struct et_buffer *plain)
{
	explicit_bzero(plain->data, plain->size);
	et_buffer_release(plain);
}

static void keys_that_fit_are_accepted_and_heard(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_buffer plain = { 0 };
	struct late late;
	struct et_fit fit;
	char table[300] = "# of the SBC\n";

	line_of(0, false, table + strlen(table));
	line_of(1, false, table + strlen(table));
	assert_int_equal(offer(f, table, "", &plain, &fit, NULL), 0);
	assert_int_equal(fit.streams, 2);
	assert_int_equal(fit.opened_before, 0);
	assert_int_equal(fit.opened_now, 2);
	assert_int_equal(fit.keys, 2);
	assert_int_equal(fit.refused, 0);
	assert_int_equal(fit.state, ET_KEYS_COMPLETE);

	struct et_playback_config config =
		late_make(&late, f, (struct et_view){ plain.data, plain.size });
	assert_int_equal(et_playback_render(&config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(s.streams_closed, 0);
	assert_int_equal(s.segments, SEGMENTS + 1);
	assert_string_equal(s.problem, "");
	assert_int_equal(s.frames, SEGMENTS * SECONDS * 8000 + 80); /* none of an hour of silence */
	assert_int_not_equal(f->heard[0], 0);

	struct et_buffer again = { 0 };
	struct et_fit second;
	struct et_error e;
	const struct et_fit_offer o = { .table = et_view_of(table), .now_us = T0_US };
	assert_int_equal(et_playback_fit(&config, &o, &again, &second, &e), ET_EREFUSED);
	assert_non_null(strstr(e.text, "already"));
	assert_int_equal(second.opened_before, 2);

	late.missing = true; /* what it opens is silent, and it is said why */
	f->frames = 0;
	assert_int_equal(et_playback_render(&config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(s.segments_missing, 1);
	assert_int_equal(s.streams_closed, SEGMENTS * 2);
	assert_non_null(strstr(s.problem, "copy of the keys"));
	late_free(&late);
	release(&plain);
}

static void a_wrong_key_is_refused_and_named(void **state)
{
	struct fixture *f = *state;
	struct et_buffer plain = { 0 };
	struct et_fit fit;
	struct et_error e;
	char table[300] = "ssrc\tsuite\tkey\n";

	line_of(0, true, table + strlen(table));
	assert_int_equal(offer(f, table, "", &plain, &fit, &e), ET_EREFUSED);
	assert_non_null(strstr(e.text, "that of line 2 opens none of the 2 streams"));
	assert_int_equal(plain.size, 0);
	line_of(1, false, table + strlen(table));
	assert_int_equal(offer(f, table, "", &plain, &fit, NULL), 0);
	assert_int_equal(fit.opened_now, 1);
	assert_int_equal(fit.keys, 1);
	assert_int_equal(fit.refused, 1);
	assert_int_equal(fit.refused_lines[0], 2);
	assert_int_equal(fit.state, ET_KEYS_PARTLY);
	release(&plain);
}

/* Whoever may give keys cannot hold a worker with them: no more is tried than was agreed on. */
static void what_is_tried_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct et_buffer plain = { 0 };
	struct et_fit fit;
	struct et_error e;
	char table[600] = "";

	line_of(0, true, table);
	line_of(1, true, table + strlen(table));
	struct et_fit_offer o = { .table = et_view_of(table), .now_us = T0_US, .tries_max = 3 };
	assert_int_equal(et_playback_fit(&f->config, &o, &plain, &fit, &e), ET_ELIMIT);
	assert_non_null(strstr(e.text, "ssrc"));
	assert_int_equal(plain.size, 0);
	o.tries_max = 100;
	assert_int_equal(et_playback_fit(&f->config, &o, &plain, &fit, &e), ET_EREFUSED);
}

static void what_cannot_be_read_is_named(void **state)
{
	struct fixture *f = *state;
	struct et_buffer plain = { 0 };
	struct et_fit fit;
	struct et_error e;
	char table[300] = "";

	line_of(0, false, table);
	(void)strcat(table, "0x1001\tAES_CM_128_HMAC_SHA1_80\tS3CRETS3CRET\n");
	assert_int_equal(offer(f, table, "", &plain, &fit, &e), ET_EMALFORMED);
	assert_non_null(strstr(e.text, "line 2: "));
	assert_null(strstr(e.text, "S3CRET"));
	assert_int_equal(plain.size, 0);
}

static void an_empty_offer_is_refused(void **state)
{
	struct fixture *f = *state;
	struct et_buffer plain = { 0 };
	struct et_fit fit;
	struct et_error e;

	assert_int_equal(offer(f, "", "CLIENT_RANDOM 00 11\n", &plain, &fit, &e), ET_EREFUSED);
	assert_non_null(strstr(e.text, "no DTLS handshake"));
}

static void plain_media_has_no_use_for_keys(void **state)
{
	struct fixture *f = *state;
	struct et_buffer plain = { 0 };
	struct et_fit fit;
	struct et_error e;
	char table[300] = "";

	line_of(0, false, table);
	assert_int_equal(offer(f, table, "", &plain, &fit, &e), ET_EREFUSED);
	assert_non_null(strstr(e.text, "nothing in the recording is protected"));
	assert_int_equal(fit.refused, 1);
}

/* ---- A handshake whose secret comes later ---- */

/* Tags of 32 bits: one in some hundred thousand packets fits a wrong key under some rollover
 * counter, and many keys are tried. Here the caller's first packet does. */
static int set_up_short_tags(void **state)
{
	struct fixture *f = fixture_new(true, true);

	for (unsigned party = 0; party < 3; party++) {
		struct et_srtp **s = party < 2 ? &f->senders[party] : &f->first;
		uint8_t material[30];
		srtp_key(party, material);
		const struct et_srtp_key key = {
			.suite = ET_SRTP_AES_CM_128_HMAC_SHA1_32,
			.material = { material, sizeof(material) },
		};
		(void)et_srtp_free(*s);
		assert_int_equal(et_srtp_new(&key, 0x1000 + party % 2, s, NULL), 0);
	}
	return fixture_fill(f, state);
}

static void of_short_tags_two_are_needed(void **state)
{
	struct fixture *f = *state;
	struct et_buffer plain = { 0 };
	struct et_fit fit;
	struct et_error e;
	char table[300] = "";
	char text[64];
	uint8_t material[30];

	for (unsigned party = 2; party < 4; party++) { /* the first packet's; then all others' */
		srtp_key(party % 3, material);
		et_base64(material, sizeof(material), text);
		(void)snprintf(table + strlen(table), 100, "*\tAES_CM_128_HMAC_SHA1_32\t%s\n",
			       text);
		int rc = offer(f, table, "", &plain, &fit, &e);
		assert_int_equal(rc, party == 2 ? ET_EREFUSED : 0);
	}
	assert_int_equal(fit.opened_now, 1);
	assert_int_equal(fit.refused, 1);
	assert_int_equal(fit.refused_lines[0], 1);
	release(&plain);
}

static int set_up_handshake(void **state)
{
	static const uint8_t master[48];
	const struct et_keys_item item = handshake_item();
	struct et_dtls_hello client = { .is_client = true };
	struct et_dtls_hello server = { .version = item.version,
					.cipher = item.cipher,
					.suite = (enum et_srtp_suite)item.suite };
	struct et_secret *keys = NULL;
	struct fixture *f = fixture_new(true, true);

	memcpy(client.random, item.client_random, sizeof(client.random));
	memcpy(server.random, item.server_random, sizeof(server.random));
	assert_int_equal(et_dtls_srtp_keys(&client, &server,
					   (struct et_view){ master, sizeof(master) }, &keys, NULL),
			 0);
	for (unsigned party = 0; party < 2; party++) {
		const struct et_srtp_key key = {
			.suite = server.suite,
			.material = { et_secret_bytes(keys) + (size_t)party * 30, 30 },
		};
		f->senders[party] = et_srtp_free(f->senders[party]);
		assert_int_equal(et_srtp_new(&key, 0x1000 + party, &f->senders[party], NULL), 0);
	}
	(void)et_secret_free(keys);
	f->handshake = true;
	return fixture_fill(f, state);
}

static void the_secret_of_a_recorded_handshake_opens_both_sides(void **state)
{
	struct fixture *f = *state;
	struct et_buffer plain = { 0 };
	struct et_fit fit;
	struct et_error e;
	char line[256];
	char random[65];
	uint8_t bytes[32];

	memset(bytes, 0xC1, sizeof(bytes));
	et_hex(bytes, sizeof(bytes), random);
	(void)snprintf(line, sizeof(line), "CLIENT_RANDOM %s %096d\n", random, 1);
	assert_int_equal(offer(f, "", line, &plain, &fit, &e), ET_EREFUSED); /* another secret */
	assert_non_null(strstr(e.text, "open none of its streams"));
	assert_int_equal(offer(f, "", "", &plain, &fit, &e), ET_EREFUSED);
	assert_non_null(strstr(e.text, "none of its 1 DTLS handshakes"));

	(void)snprintf(line, sizeof(line), "CLIENT_RANDOM %s %096d", random, 0);
	assert_int_equal(offer(f, "", line, &plain, &fit, NULL), 0);
	assert_int_equal(fit.handshakes, 1); /* though each segment says it */
	assert_int_equal(fit.handshakes_open, 1);
	assert_int_equal(fit.opened_now, 2);
	assert_int_equal(fit.keys, 2);
	assert_int_equal(fit.state, ET_KEYS_COMPLETE);
	release(&plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_that_fit_are_accepted_and_heard,
						set_up_keyless, tear_down),
		cmocka_unit_test_setup_teardown(a_wrong_key_is_refused_and_named, set_up_keyless,
						tear_down),
		cmocka_unit_test_setup_teardown(what_is_tried_is_bounded, set_up_keyless,
						tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_named, set_up_keyless,
						tear_down),
		cmocka_unit_test_setup_teardown(of_short_tags_two_are_needed, set_up_short_tags,
						tear_down),
		cmocka_unit_test_setup_teardown(an_empty_offer_is_refused, set_up_keyless,
						tear_down),
		cmocka_unit_test_setup_teardown(plain_media_has_no_use_for_keys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_secret_of_a_recorded_handshake_opens_both_sides,
						set_up_handshake, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
