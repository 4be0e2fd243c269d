/* Metadata of recording sessions: the RFC's example, changes, what drafts wrote, and what nobody
 * should send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "node/siprec/metadata.h"

static struct et_siprec_metadata m;

static struct et_view view(const char *text)
{
	return (struct et_view){ (const uint8_t *)text, strlen(text) };
}

static int read_xml(const char *xml)
{
	struct et_error error;
	return et_siprec_parse(view(xml), &m, &error);
}

static void reads_the_example_of_the_rfc(void **state)
{
	(void)state;
	static char xml[8192];
	FILE *file = fopen("../fuzz/corpus-metadata/rfc7865-complete.xml", "re");
	assert_non_null(file);
	size_t n = fread(xml, 1, sizeof(xml) - 1, file);
	(void)fclose(file);
	xml[n] = '\0';
	assert_int_equal(read_xml(xml), 0);
	assert_false(m.partial);
	assert_false(m.clipped);
	assert_string_equal(m.session, "hVpd7YQgRW2nD22h7q60JQ==");
	assert_string_equal(m.group, "7+OTCyoxTmqmqyA/1weDAg==");
	assert_string_equal(m.start, "2010-12-16T23:41:07Z");
	assert_string_equal(
		m.sip_session,
		"ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2");
	assert_int_equal(m.participant_count, 2);
	assert_string_equal(m.participants[0].aor, "sip:bob@biloxi.example.com");
	assert_string_equal(m.participants[0].name, "Bob");
	assert_string_equal(m.participants[0].joined, "2010-12-16T23:41:07Z");
	assert_false(m.participants[0].gone);
	assert_int_equal(m.stream_count, 2);
	assert_string_equal(m.streams[0].label, "96");
	assert_int_equal(m.participants[0].sends, 2);
	assert_int_equal(m.participants[0].receives, 1);
	assert_int_equal(et_siprec_sender(&m, view("97")), 0);
	assert_int_equal(et_siprec_sender(&m, view("96")), 1);
	assert_int_equal(et_siprec_sender(&m, view("9")), -1);
}

#define NS "xmlns='urn:ietf:params:xml:ns:recording:1'"

static void a_change_keeps_what_it_does_not_name(void **state)
{
	struct et_siprec_metadata known = { .partial = false };
	(void)state;
	assert_int_equal(
		read_xml("<recording " NS "><datamode>complete</datamode><session session_id='s'/>"
			 "<stream stream_id='x'><label>1</label></stream>"
			 "<stream stream_id='y'><label>2</label></stream>"
			 "<participant participant_id='a'><nameID aor='sip:1@h'/></participant>"
			 "<participant participant_id='b'><nameID aor='sip:2@h'/></participant>"
			 "<participantstreamassoc participant_id='a'><send>x</send>"
			 "</participantstreamassoc><participantstreamassoc participant_id='b'>"
			 "<send>y</send></participantstreamassoc></recording>"),
		0);
	et_siprec_merge(&known, &m);
	/* b leaves, c comes and is heard where b was; streams stand in another order */
	assert_int_equal(
		read_xml("<recording " NS "><datamode>partial</datamode>"
			 "<stream stream_id='y'><label>2</label></stream>"
			 "<participantsessionassoc participant_id='b' session_id='s'>"
			 "<disassociate-time>2026-01-01T00:00:00Z</disassociate-time>"
			 "</participantsessionassoc>"
			 "<participant participant_id='c'><nameID aor='sip:3@h'/></participant>"
			 "<participantstreamassoc participant_id='c'><send>y</send>"
			 "</participantstreamassoc></recording>"),
		0);
	assert_true(m.partial);
	et_siprec_merge(&known, &m);
	assert_int_equal(known.participant_count, 3);
	assert_string_equal(known.participants[1].aor, "sip:2@h");
	assert_true(known.participants[1].gone);
	assert_string_equal(known.participants[1].left, "2026-01-01T00:00:00Z");
	assert_int_equal(known.participants[2].sends, 2);
	assert_int_equal(et_siprec_sender(&known, view("1")), 0);

	/* a complete description without a: it has left, and is remembered */
	assert_int_equal(read_xml("<recording " NS "><participant participant_id='c'>"
				  "<nameID aor='sip:3@h'/></participant></recording>"),
			 0);
	et_siprec_merge(&known, &m);
	assert_int_equal(known.participant_count, 3);
	assert_true(known.participants[0].gone);
	assert_string_equal(known.participants[0].aor, "sip:1@h");
	assert_false(known.participants[2].gone);
	assert_int_equal(et_siprec_sender(&known, view("1")), -1);
}

static void reads_what_drafts_wrote(void **state)
{
	(void)state;
	assert_int_equal(read_xml("<recording xmlns='urn:ietf:params:xml:ns:recording'>"
				  "<dataMode>complete</dataMode><session id='s'/>"
				  "<participant id='a' session='s'><nameID aor='tel:+42077'/>"
				  "<send>x</send></participant>"
				  "<stream id='x' session='s'><label>1</label></stream>"
				  "</recording>"),
			 0);
	assert_string_equal(m.session, "s");
	assert_int_equal(m.participants[0].sends, 1);
	assert_int_equal(et_siprec_sender(&m, view("1")), 0);
}

static void other_namespaces_do_not_count(void **state)
{
	(void)state;
	assert_int_equal(read_xml("<r:recording xmlns:r='urn:ietf:params:xml:ns:recording:1' "
				  "xmlns:v='urn:vendor'><r:stream stream_id='x'>"
				  "<v:label>9</v:label><r:label>1</r:label></r:stream>"
				  "<v:participant participant_id='z'/></r:recording>"),
			 0);
	assert_int_equal(m.participant_count, 0);
	assert_string_equal(m.streams[0].label, "1");
}

static void entities_and_files_are_refused(void **state)
{
	(void)state;
	assert_int_equal(read_xml("<!DOCTYPE r [<!ENTITY a 'aaaaaaaaaaaaaaaaaaaa'>"
				  "<!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
				  "<recording><datamode>&b;</datamode></recording>"),
			 ET_EMALFORMED);
	assert_int_equal(read_xml("<!DOCTYPE recording SYSTEM 'file:///etc/passwd'><recording/>"),
			 ET_EMALFORMED);
	assert_int_equal(read_xml("<recording><datamode>&b;</datamode></recording>"),
			 ET_EMALFORMED);
	assert_int_equal(read_xml("<recording><session>"), ET_EMALFORMED);
	assert_int_equal(read_xml("<html/>"), ET_EMALFORMED);
	assert_int_equal(read_xml(""), ET_EMALFORMED);
	assert_int_equal(read_xml("<recording/>"), 0);
}

/* `before` 0 `after` `before` 1 `after` ... */
static void repeat(struct et_buffer *b, const char *before, const char *after, int times)
{
	for (int i = 0; i < times; i++) {
		et_buffer_printf(b, "%s%d%s", before, i, after);
	}
}

static void what_is_too_much_is_bounded(void **state)
{
	struct et_buffer b = { .data = NULL };
	struct et_error error;
	(void)state;

	repeat(&b, "<recording>", "", ET_SIPREC_DEPTH_MAX + 1);
	assert_int_equal(et_siprec_parse((struct et_view){ b.data, b.size }, &m, &error),
			 ET_ELIMIT);
	b.size = 0;
	et_buffer_printf(&b, "<recording>");
	repeat(&b, "<a", "/>", ET_SIPREC_ELEMENTS_MAX);
	et_buffer_printf(&b, "</recording>");
	assert_int_equal(et_siprec_parse((struct et_view){ b.data, b.size }, &m, &error),
			 ET_ELIMIT);
	b.size = 0;
	et_buffer_printf(&b, "<recording>");
	while (b.size <= ET_SIPREC_XML_MAX) {
		et_buffer_printf(&b, "          ");
	}
	assert_int_equal(et_siprec_parse((struct et_view){ b.data, b.size }, &m, &error),
			 ET_ELIMIT);

	b.size = 0;
	et_buffer_printf(&b, "<recording>");
	repeat(&b, "<participant participant_id='p", "'/>", 40);
	repeat(&b, "<stream stream_id='s", "'/>", 40);
	et_buffer_printf(&b, "<participantstreamassoc participant_id='p15'>");
	repeat(&b, "<send>s", "</send>", 100);
	et_buffer_printf(&b, "</participantstreamassoc></recording>");
	assert_int_equal(et_siprec_parse((struct et_view){ b.data, b.size }, &m, &error), 0);
	assert_true(m.clipped);
	assert_int_equal(m.participant_count, ET_SIPREC_PARTICIPANTS_MAX);
	assert_int_equal(m.stream_count, ET_SIPREC_STREAMS_MAX);
	assert_int_equal(m.participants[15].sends, 0xFFFF);
	et_buffer_release(&b);
}

/* Expat would make 99 MB of these 57 KB. */
static void a_namespace_is_not_multiplied(void **state)
{
	struct et_buffer b = { .data = NULL };
	struct et_error error;
	(void)state;
	et_buffer_printf(&b, "<recording xmlns:p = '");
	for (int i = 0; i < 33000; i++) {
		et_buffer_add8(&b, 'u');
	}
	et_buffer_printf(&b, "'");
	for (int i = 0; i < 3000; i++) {
		et_buffer_printf(&b, " p:a%d=''", i);
	}
	et_buffer_printf(&b, "/>");
	assert_int_equal(et_siprec_parse((struct et_view){ b.data, b.size }, &m, &error),
			 ET_ELIMIT);
	et_buffer_release(&b);

	char name[ET_SIPREC_NAMESPACE_MAX + 2];
	char xml[sizeof(name) + 64];
	memset(name, 'u', sizeof(name));
	for (size_t over = 0; over < 2; over++) {
		(void)snprintf(xml, sizeof(xml), "<recording xmlns:p\n=\n\"%.*s\"/>",
			       (int)(ET_SIPREC_NAMESPACE_MAX + over), name);
		assert_int_equal(read_xml(xml), over > 0 ? ET_ELIMIT : 0);
		(void)snprintf(xml, sizeof(xml), "<recording xmlns%.*s=''/>",
			       (int)(ET_SIPREC_NAMESPACE_MAX - 2 + over), name);
		assert_int_equal(read_xml(xml), over > 0 ? ET_ELIMIT : 0);
	}
	assert_int_equal(read_xml("<recording xmlns:p='u"), ET_ELIMIT); /* it does not end */

	static const uint8_t utf16[] = "\xFF\xFE<\0r\0e\0c\0o\0r\0d\0i\0n\0g\0/\0>";
	assert_int_equal(et_siprec_parse((struct et_view){ utf16, sizeof(utf16) }, &m, &error),
			 ET_EMALFORMED);
}

static void texts_are_cut_between_characters(void **state)
{
	struct et_buffer b = { .data = NULL };
	struct et_error error;
	(void)state;
	et_buffer_printf(&b, "<recording><participant participant_id='a'><nameID aor='sip:x\ny'>"
			     "<name> a\tb ");
	for (int i = 0; i < 100; i++) {
		et_buffer_printf(&b, "\xC3\xA9");
	}
	et_buffer_printf(&b, "</name></nameID></participant></recording>");
	assert_int_equal(et_siprec_parse((struct et_view){ b.data, b.size }, &m, &error), 0);
	assert_string_equal(m.participants[0].aor, "sip:x y");
	const char *name = m.participants[0].name;
	assert_memory_equal(name, "a b \xC3\xA9", 6);
	assert_int_equal(strlen(name), 126); /* 127 would cut a character */
	et_buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_example_of_the_rfc),
		cmocka_unit_test(a_change_keeps_what_it_does_not_name),
		cmocka_unit_test(reads_what_drafts_wrote),
		cmocka_unit_test(other_namespaces_do_not_count),
		cmocka_unit_test(entities_and_files_are_refused),
		cmocka_unit_test(what_is_too_much_is_bounded),
		cmocka_unit_test(a_namespace_is_not_multiplied),
		cmocka_unit_test(texts_are_cut_between_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
