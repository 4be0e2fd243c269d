/* Tapes and proofs of tapes: what needs no key, and for files no cluster. */
#include <inttypes.h>
#include <string.h>

#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/tape/proof.h"
#include "node/text/units.h"
#include "ops/cli/certificate.h"
#include "ops/cli/cli.h"

#define PROOF_BYTES_MAX (UINT64_C(4) << 30)

/* --root, --seal and --signer, as bytes. */
struct known {
	uint8_t root[32];
	uint8_t seal[32];
	uint8_t signer[32];
	struct et_tape_expect expect;
};

static int hash_option(struct et_cli *cli, const char *name, uint8_t bytes[32], const uint8_t **ret,
		       struct et_error *reterr)
{
	const char *text = et_cli_option(cli, name);
	if (text == NULL) {
		return 0;
	}
	if (!et_unhex(text, strlen(text), bytes, 32)) {
		return et_cli_usage(cli, reterr,
				    "--%s is 64 hexadecimal digits, as recording show -o json has "
				    "them, not \"%.70s\"",
				    name, text);
	}
	*ret = bytes;
	return 0;
}

static int known_read(struct et_cli *cli, struct known *k, struct et_error *reterr)
{
	int rc = hash_option(cli, "root", k->root, &k->expect.root, reterr);
	rc = rc < 0 ? rc : hash_option(cli, "seal", k->seal, &k->expect.seal_hash, reterr);
	return rc < 0 ? rc
		      : hash_option(cli, "signer", k->signer, &k->expect.signer_public, reterr);
}

static void set_tape(json_t *o, const struct et_tape_header *h, const struct et_tape_seal *s)
{
	char id[ET_UUID_TEXT_SIZE];
	char time[ET_TIME_TEXT_SIZE];

	et_uuid_format(h->recording, id);
	et_json_set(o, "recording", json_string(id));
	et_json_set(o, "generation", json_integer(h->generation));
	et_json_set(o, "segment", json_integer(h->segment));
	et_json_set(o, "node", et_json_u64(h->node));
	et_time_format(h->t0_us, time);
	et_json_set(o, "begins", json_string(time));
	et_json_set(o, "root", et_json_hex(s->root, 32));
	et_json_set(o, "seal_hash", et_json_hex(s->seal_hash, 32));
	et_json_set(o, "signer", et_json_hex(s->signer_public, 32));
	et_json_set(o, "signed_by_node", et_json_u64(s->signer));
	et_time_format(s->signed_us, time);
	et_json_set(o, "signed", json_string(time));
	et_json_set(o, "recovered", json_boolean((s->flags & ET_TAPE_RECOVERED) != 0));
	et_json_set(o, "unverified", json_boolean((s->flags & ET_TAPE_UNVERIFIED) != 0));
}

/* `recording verify --ciphertext FILE`: all that can be known of a tape without a key. */
int et_cli_tape_verify(struct et_cli *cli, struct et_error *reterr)
{
	struct et_tape_source source;
	struct et_tape_report report;
	struct et_error why = { 0 };
	struct known known = { 0 };

	int rc = known_read(cli, &known, reterr);
	rc = rc < 0 ? rc : et_tape_source_open(cli->args[0], &source, reterr);
	if (rc < 0) {
		return rc;
	}
	known.expect.hash_object = et_cli_option(cli, "sha256") != NULL;
	int verdict = et_tape_verify(&source, &known.expect, &report, &why);
	if (verdict == -ENOMEM || verdict == -EIO) { /* Not read: that says nothing of it. */
		et_tape_source_close(&source);
		return et_fail_plain(reterr, verdict, "%s", why.text);
	}
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "result",
		    json_string(verdict == 0		   ? "ok"
				: verdict == ET_ETRUNCATED ? "open"
							   : "bad"));
	et_json_set(o, "file", et_json_text(cli->args[0]));
	et_json_set(o, "size_bytes", et_json_u64(source.size));
	et_json_set(o, "good_records", et_json_u64(report.good_records));
	et_json_set(o, "good_bytes", et_json_u64(report.good_bytes));
	et_json_set(o, "block_bytes",
		    report.seal.block_bytes > 0 ? json_integer(report.seal.block_bytes)
						: json_null());
	et_json_set(o, "why", et_json_text(report.problem));
	et_tape_source_close(&source);
	if (verdict == 0) {
		set_tape(o, &report.header, &report.seal);
	}
	if (verdict == 0 && report.has_object_hash) {
		et_json_set(o, "sha256", et_json_hex(report.object_hash, 32));
	}
	rc = et_cli_print_object(cli, o, reterr);
	if (rc < 0 || verdict == 0) {
		return rc;
	}
	return et_fail_plain(reterr, verdict == ET_ETRUNCATED ? ET_EDEGRADED : ET_EINTEGRITY, "%s",
			     why.text);
}

/* ---- Proofs ---- */

static int span_option(struct et_cli *cli, const char *name, uint32_t missing, uint32_t *ret,
		       struct et_error *reterr)
{
	const char *text = et_cli_option(cli, name);
	int64_t us;

	*ret = missing;
	if (text == NULL) {
		return 0;
	}
	if (!et_duration_parse(text, &us) || us < 0 || us / 1000 >= UINT32_MAX) {
		return et_cli_usage(cli, reterr,
				    "--%s is a time since the beginning, such as 190s or 3m10s, "
				    "not \"%.40s\"",
				    name, text);
	}
	*ret = (uint32_t)(us / 1000);
	return 0;
}

int et_cli_span(struct et_cli *cli, uint32_t *ret_from_ms, uint32_t *ret_to_ms,
		struct et_error *reterr)
{
	int rc = span_option(cli, "from", 0, ret_from_ms, reterr);
	rc = rc < 0 ? rc : span_option(cli, "to", UINT32_MAX, ret_to_ms, reterr);
	if (rc == 0 && *ret_from_ms >= *ret_to_ms) {
		rc = et_cli_usage(cli, reterr, "--to is to be later than --from");
	}
	return rc;
}

/* ---- Redaction ---- */

static int redact_body(struct et_cli *cli, bool plan, json_t *body, struct et_error *reterr)
{
	const char *needed[] = { "from", "to", "reason", "confirm" };
	struct et_proof_span span;

	for (size_t i = 0; i < (plan ? 2 : ET_ARRAY_SIZE(needed)); i++) {
		if (et_cli_option(cli, needed[i]) == NULL) {
			return et_cli_usage(cli, reterr, "recording redact needs --%s%s", needed[i],
					    i >= 2 ? ": it is for good" : "");
		}
	}
	int rc = et_cli_span(cli, &span.from_ms, &span.to_ms, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(body, "from_ms", json_integer(span.from_ms));
	et_json_set(body, "to_ms", json_integer(span.to_ms));
	if (plan) {
		et_json_set(body, "plan", json_true());
		return 0;
	}
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	et_json_set(body, "confirm", et_json_text(et_cli_option(cli, "confirm")));
	return 0;
}

int et_cli_recording_redact(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const bool plan = et_cli_option(cli, "plan") != NULL;
	char text[ET_UUID_TEXT_SIZE];
	char path[128];

	int rc = et_cli_id(cli, cli->args[0], "recording id", text, reterr);
	rc = rc < 0 ? rc : redact_body(cli, plan, body, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/redact", text);
	rc = et_cli_send(cli, "POST", path, body, &answer, reterr);
	rc = rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
	if (rc == 0 && !plan) {
		et_cli_note(cli,
			    "it is done when `evertape recording show %s` says so in "
			    "redactions",
			    text);
	}
	return rc < 0 ? rc : plan ? ET_EXIT_CHANGES : 0;
}

static int proof_of_file(struct et_cli *cli, const struct et_proof_span *span, const char *out,
			 struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct et_tape_source source;
	uint8_t head[ET_PROOF_FILE_HEAD_SIZE];

	int rc = et_tape_source_open(cli->args[0], &source, reterr);
	if (rc < 0) {
		return rc;
	}
	et_proof_head(1, head);
	et_buffer_add(&b, head, sizeof(head));
	rc = et_tape_prove(&source, span, NULL, &b, reterr);
	et_tape_source_close(&source);
	return rc < 0 ? rc : et_file_publish(out, b.data, b.size, 0600, reterr);
}

static int proof_of_recording(struct et_cli *cli, const uint8_t id[16],
			      const struct et_proof_span *span, const char *out,
			      struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	struct et_cli_audio ignored;
	char text[ET_UUID_TEXT_SIZE];

	et_uuid_format(id, text);
	et_buffer_printf(&path, "/v1/recordings/%s/proof?from_ms=%u&to_ms=%u&leaves=%s", text,
			 span->from_ms, span->to_ms, span->leaves ? "true" : "false");
	et_cli_query(&path, "reason", et_cli_option(cli, "reason"));
	et_buffer_add8(&path, '\0');
	if (path.failed) {
		return et_fail(reterr, -ENOMEM, "proof");
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	return et_cli_download_file(cli, (char *)path.data, out, &ignored, reterr);
}

int et_cli_proof(struct et_cli *cli, struct et_error *reterr)
{
	const char *out = et_cli_option(cli, "out");
	struct et_proof_span span;
	uint8_t id[16];

	if (out == NULL) {
		return et_cli_usage(cli, reterr, "proof needs --out FILE");
	}
	int rc = et_cli_span(cli, &span.from_ms, &span.to_ms, reterr);
	span.leaves = et_cli_option(cli, "leaves") != NULL;
	if (rc < 0) {
		return rc;
	}
	rc = et_uuid_parse(cli->args[0], id) ? proof_of_recording(cli, id, &span, out, reterr)
					     : proof_of_file(cli, &span, out, reterr);
	if (rc == 0) {
		et_cli_note(cli, "proof written to %s; anyone checks it: evertape verify-proof %s",
			    out, out);
	}
	return rc;
}

static const struct et_cli_column part_columns[] = {
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "SEGMENT", "segment", ET_CLI_NUMBER, false },
	{ "FIRST", "first_record", ET_CLI_NUMBER, false },
	{ "RECORDS", "records", ET_CLI_NUMBER, false },
	{ "OF", "records_of_tape", ET_CLI_NUMBER, false },
	{ "FROM", "from_ms", ET_CLI_MS, false },
	{ "TO", "to_ms", ET_CLI_MS, false },
	{ "SIGNED", "signed", ET_CLI_TIME, false },
	{ "BY NODE", "signed_by_node", ET_CLI_TEXT, false },
	{ "ROOT", "root", ET_CLI_TEXT, true },
	{ "KEY", "signer", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static json_t *part_json(const struct et_proof *p)
{
	json_t *o = json_object();

	set_tape(o, &p->header, &p->seal);
	et_json_set(o, "first_record", json_integer(p->first));
	et_json_set(o, "records", json_integer(p->count));
	et_json_set(o, "records_of_tape", et_json_u64(p->seal.records));
	et_json_set(o, "with_records", json_boolean(!p->leaves));
	et_json_set(o, "from_ms", p->leaves ? json_null() : json_integer(p->from_ms));
	et_json_set(o, "to_ms", p->leaves ? json_null() : json_integer(p->to_ms));
	return o;
}

/* All parts of a proof; the recording of the first is that of all. */
static int proof_check(struct et_view bytes, const struct et_tape_expect *expect, json_t *list,
		       struct et_error *reterr)
{
	struct et_tape_expect e = *expect;
	struct et_proof p = { .count = 0 };
	uint8_t recording[16];
	uint32_t parts = 0;
	size_t at = ET_PROOF_FILE_HEAD_SIZE;

	int rc = et_proof_head_parse(bytes, &parts, reterr);
	for (uint32_t i = 0; i < parts && rc == 0; i++) {
		const struct et_view rest = { bytes.data + at, bytes.size - at };
		rc = et_tape_proof_check(rest, &e, &p, reterr);
		if (rc == 0) {
			memcpy(recording, p.header.recording, sizeof(recording));
			e.recording = recording;
			at += p.size_bytes;
			et_json_add(list, part_json(&p));
		}
	}
	if (rc == 0 && (parts == 0 || at != bytes.size)) {
		rc = et_fail_plain(reterr, ET_EINTEGRITY,
				   "the proof is longer or shorter than it says");
	}
	return rc;
}

/* ---- Certificates of erasure ---- */

static const struct et_cli_column erasure_columns[] = {
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "ERASED", "erased", ET_CLI_TIME, false },
	{ "AUDIT EVENT", "audit", ET_CLI_NUMBER, false },
	{ "INDEX", "index", ET_CLI_NUMBER, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int certificate_verdict(struct et_cli *cli, const json_t *certificate, struct et_error *why)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer log = { 0 };
	const char *signer_text = et_cli_option(cli, "signer");
	const char *audit = et_cli_option(cli, "audit");
	uint8_t signer[32];

	if (signer_text != NULL &&
	    !et_unhex(signer_text, strlen(signer_text), signer, sizeof(signer))) {
		return et_cli_usage(cli, why, "--signer is a key, 64 hex digits");
	}
	int rc = et_certificate_check(certificate, signer_text != NULL ? signer : NULL, why);
	if (rc < 0 || audit == NULL) {
		return rc;
	}
	rc = et_file_read(audit, PROOF_BYTES_MAX, &log, why);
	return rc < 0 ? rc
		      : et_certificate_in_log(certificate, audit,
					      log.data != NULL ? (const char *)log.data : "",
					      log.size, why);
}

static int certificate_verify(struct et_cli *cli, const struct et_buffer *bytes,
			      struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *certificate = NULL;
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	struct et_error why = { 0 };

	int rc = et_json_parse(cli->args[0], bytes->data, bytes->size, PROOF_BYTES_MAX,
			       &certificate, &why);
	rc = rc == ET_EMALFORMED ? ET_EINTEGRITY : rc;
	rc = rc < 0 ? rc : certificate_verdict(cli, certificate, &why);
	if (rc < 0 && rc != ET_EINTEGRITY) {
		*reterr = why;
		return rc;
	}
	const json_t *body = json_object_get(certificate, "body");
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "result", json_string(rc == 0 ? "ok" : "bad"));
	et_json_set(o, "why", et_json_text(why.text));
	if (rc < 0) {
		int printed = et_cli_is_json(cli) ? et_cli_print_object(cli, o, reterr) : 0;
		return printed < 0 ? printed : et_fail_plain(reterr, ET_EINTEGRITY, "%s", why.text);
	}
	et_json_set(o, "cluster", json_incref(json_object_get(body, "cluster")));
	et_json_set(o, "issued", json_incref(json_object_get(body, "issued")));
	et_json_set(o, "signer",
		    json_incref(json_object_get(json_object_get(certificate, "signed"), "key")));
	et_json_set(o, "erasures", json_incref(json_object_get(body, "erasures")));
	return et_cli_print(cli, o, "erasures", erasure_columns, reterr);
}

int et_cli_verify_proof(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer bytes = { 0 };
	struct known known = { 0 };
	struct et_error why = { 0 };

	int rc = known_read(cli, &known, reterr);
	rc = rc < 0 ? rc : et_file_read(cli->args[0], PROOF_BYTES_MAX, &bytes, reterr);
	if (rc < 0) {
		return rc;
	}
	if (bytes.size > 0 && bytes.data[0] == '{') {
		return certificate_verify(cli, &bytes, reterr);
	}
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	json_t *list = json_array();
	int verdict =
		proof_check((struct et_view){ bytes.data, bytes.size }, &known.expect, list, &why);
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "result", json_string(verdict == 0 ? "ok" : "bad"));
	et_json_set(o, "why", et_json_text(why.text));
	et_json_set(o, "parts", list);
	if (verdict == -ENOMEM) {
		return et_fail(reterr, verdict, "proof '%s'", cli->args[0]);
	}
	if (verdict < 0) { /* What is not a proof, or of another version, proves nothing either. */
		rc = et_cli_is_json(cli) ? et_cli_print_object(cli, o, reterr) : 0;
		return rc < 0 ? rc : et_fail_plain(reterr, ET_EINTEGRITY, "%s", why.text);
	}
	return et_cli_print(cli, o, "parts", part_columns, reterr);
}
