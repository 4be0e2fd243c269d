#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/tape/block_internal.h"
#include "node/tape/checkpoint.h"
#include "node/tape/index_internal.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"
#include "node/tape/reader.h"

/* The vector of ops/doc/formats/tape.md: DEK 00..1f, salt 80..9f, Ed25519 seed 40..5f. It was made
 * by another program than the one that is tested here, written from that page. */
static const char tape_hex[] =
	"4556544d01010000000102030405060708090a0b0c0d0e0f00000001000000028081828384858687"
	"88898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f7e4b41c1447a91cb2f0f4e50a3d6e067"
	"4c6f66e3d49f0fcfc01fa67e40227a3a0a0b0c0d0000000311223344556677880000000000000007"
	"00060a2418202240034b473c9a11db18b721de537248f41a075ffb725782c183cf621162b30d051e"
	"e7c40200000000420000000000000000f72be8150b31f463ed381278447ee02a1296f2d9d7a1bee4"
	"1f614d057beed358d392549d37f2ff53d48ad174d74e336315c66e092e29d54132680ab8dc081665"
	"18044d904539e7c401000000003900000001000000fa6b1d739dbb3dfa1069c38225d40c48b4d255"
	"361cc7d2fe7cbb11d26ac0c01c1c328baae204a3d4215e36d11a3a3d0172368260bff2a6bfd038a1"
	"93dfe04556544c0000000268fac07667d0d0bb59ca166e347d7d17616f097f10a4104bfbccc07498"
	"a7ccc7dc26c46fa9ff94dab5da4ffd4f38a0e6d33b0d6a643f299d29ff6f8e0a11b9c64556544601"
	"01000000000002000000fa000000000000014375d11905a38ca25239c60fd42601275644a877168c"
	"c316754a7731a90f416e9200060a241bb1c70000000000000000072543b92ff1095511476adc8369"
	"db6ddc933665a11978dda1404ee1066ca9559d74bc566eb2401aef92d6d9e011771ec90f264c05c5"
	"5c7c80d22de42a47bf7f71f5f42da30b39a548a84b4cdf4a0f60b8096f94fa3c7209ee5e9bbf30af"
	"6d1108000000000000024b000000000000000008b64d0e45565445";

static const char meta_hex[] =
	"01012f00cafebabe00000100001f400450434d550e3139322e302e322e313a343030300e3139322e"
	"302e322e323a35303030";

static const char media_hex[] =
	"0100060a241820224000890000ffff000003e804ff7f01020040c0b802080304050600a009020207"
	"08";

/* The state of that tape at its end, as the first segment of a recording would have it. */
static const char checkpoint_hex[] =
	"01013201012f00cafebabe00000100001f400450434d550e3139322e302e322e313a343030300e31"
	"39322e302e322e323a35303030030200000254000200001f4000060a241820224000000000000000"
	"08000003f00002ffe00000000000000000000000000000ffff00060a241820705b00000004000000"
	"0000060a241820224000060a2418202240000003e8ffff";

/* ... as an INDEX at byte 1234, number 40, of a tape with checkpoints at 323, number 2, 250 ms, and
 * 1000, number 35, 30250 ms; and the END behind it. */
static const char index_tail_hex[] = "040b02c302fa0121a505b0ea01";
static const char end_hex[] = "010000000000002800000000000004d2";

static const char object_hash_hex[] =
	"89f34102974211e083ceaf675e395797cf40c529adf3a5339f33a553e0cc0380";
static const char seal_hash_hex[] =
	"6d89a591ab15bcd7e59768af50decd9c87055031e1459094c42482ea15f6b91d";

static const char block_hex[] =
	"0102000000000000003201012f00cafebabe00000100001f400450434d550e3139322e302e322e31"
	"3a343030300e3139322e302e322e323a3530303001000000fa000000290100060a24182022400089"
	"0000ffff000003e804ff7f01020040c0b802080304050600a00902020708";

static struct et_view unhex(const char *text)
{
	const size_t size = strlen(text) / 2;
	uint8_t *p = malloc(size);
	assert_non_null(p);
	assert_true(et_unhex(text, strlen(text), p, size));
	return (struct et_view){ p, size };
}

static void forget(struct et_view v)
{
	union {
		const uint8_t *in;
		void *out;
	} p = { .in = v.data };
	free(p.out);
}

static void the_published_tape_verifies(void **state)
{
	const struct et_view tape = unhex(tape_hex);
	const struct et_view hash = unhex(object_hash_hex);
	const struct et_view seal = unhex(seal_hash_hex);
	const struct et_tape_source source = et_tape_source_memory(&tape);
	const struct et_tape_expect expect = { .seal_hash = seal.data, .object_hash = hash.data };
	struct et_tape_report r;

	(void)state;
	assert_int_equal(et_tape_verify(&source, &expect, &r, NULL), 0);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(r.header.recording[i], i);
	}
	assert_int_equal(r.header.generation, 1);
	assert_int_equal(r.header.segment, 2);
	assert_int_equal(r.header.kek_id, 0x0A0B0C0D);
	assert_int_equal(r.header.kek_version, 3);
	assert_int_equal(r.header.dek_id, 0x1122334455667788);
	assert_int_equal(r.header.node, 7);
	assert_int_equal(r.header.t0_us, 1700000000123456);
	assert_int_equal(r.seal.records, 2);
	assert_int_equal(r.seal.last_ms, 250);
	assert_int_equal(r.seal.signed_us, 1700000060000000);
	assert_int_equal(r.seal.signer, 7);
	assert_int_equal(r.seal.flags, 0);
	forget(tape);
	forget(hash);
	forget(seal);
}

static void the_published_tape_opens(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = et_secret_new(32);
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	const struct et_view tape = unhex(tape_hex);
	const struct et_view meta = unhex(meta_hex);
	const struct et_view media = unhex(media_hex);
	const struct et_tape_source source = et_tape_source_memory(&tape);
	struct et_tape_record r;

	(void)state;
	for (uint8_t i = 0; i < 32; i++) {
		et_secret_edit(dek)[i] = i;
	}
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, NULL), 0);
	assert_int_equal(et_tape_reader_next(reader, &r, NULL), 1);
	assert_int_equal(r.kind, ET_TAPE_META);
	assert_int_equal(r.t_ms, 0);
	assert_int_equal(r.plain.size, meta.size);
	assert_memory_equal(r.plain.data, meta.data, meta.size);
	assert_int_equal(et_tape_reader_next(reader, &r, NULL), 1);
	assert_int_equal(r.kind, ET_TAPE_MEDIA);
	assert_int_equal(r.t_ms, 250);
	assert_int_equal(r.plain.size, media.size);
	assert_memory_equal(r.plain.data, media.data, media.size);
	assert_int_equal(et_tape_reader_next(reader, &r, NULL), 0);
	forget(tape);
	forget(meta);
	forget(media);
}

/* The plaintexts are what the page says, and what our own encoders make of it. */
static void the_published_plaintexts_are_ours(void **state)
{
	static const uint8_t payload[] = { 0xFF, 0x7F, 1, 2, 3, 4, 5, 6, 7, 8 };
	const int64_t t0 = 1700000000123456;
	const struct et_media_packet packets[] = {
		{ .marker = true,
		  .sequence = 65535,
		  .timestamp = 1000,
		  .arrival_us = t0,
		  .payload = { payload, 4 } },
		{ .sequence = 0,
		  .timestamp = 1004,
		  .arrival_us = t0 + 20000,
		  .payload = { payload + 4, 4 } },
		{ .sequence = 2,
		  .timestamp = 1008,
		  .arrival_us = t0 + 19995,
		  .payload = { payload + 8, 2 } },
	};
	const struct et_view media = unhex(media_hex);
	const struct et_view meta = unhex(meta_hex);
	struct et_media_encoder e = { 0 };
	struct et_buffer b = { 0 };
	struct et_meta_item i = { .type = ET_META_STREAM };

	(void)state;
	for (size_t n = 0; n < ET_ARRAY_SIZE(packets); n++) {
		assert_int_equal(et_media_encoder_add(&e, &packets[n], 1000), 0);
	}
	assert_int_equal(e.plain.size, media.size);
	assert_memory_equal(e.plain.data, media.data, media.size);
	i.stream.ssrc = 0xCAFEBABE;
	i.stream.channels = 1;
	i.stream.clock_rate = 8000;
	i.stream.codec = et_view_of("PCMU");
	i.stream.src = et_view_of("192.0.2.1:4000");
	i.stream.dst = et_view_of("192.0.2.2:5000");
	assert_int_equal(et_meta_add(&b, &i), 0);
	assert_int_equal(b.size, meta.size);
	assert_memory_equal(b.data, meta.data, meta.size);
	et_buffer_release(&b);
	et_media_encoder_release(&e);
	forget(media);
	forget(meta);
}

static void the_published_checkpoints_are_ours(void **state)
{
	ET_CLEANUP(et_tape_state_freep)
	struct et_tape_state *s = et_tape_state_new(1700000000123456);
	const struct et_view meta = unhex(meta_hex);
	const struct et_view media = unhex(media_hex);
	const struct et_view want = unhex(checkpoint_hex);
	const struct et_view tail = unhex(index_tail_hex);
	const struct et_view end = unhex(end_hex);
	const struct tape_checkpoint all[] = { { 323, 2, 250 }, { 1000, 35, 30250 } };
	struct tape_list list = { 0 };
	struct et_media_decoder d;
	struct et_media_packet p;
	struct et_buffer plain = { 0 };
	uint8_t ended[TAPE_END_SIZE];

	(void)state;
	et_tape_state_meta(s, meta);
	assert_int_equal(et_media_decoder_init(&d, media, NULL), 0);
	while (et_media_decoder_next(&d, &p, NULL) == 1) {
		et_tape_state_packet(s, &p);
	}
	assert_int_equal(et_tape_state_write(s, &plain), 0);
	assert_int_equal(plain.size, want.size);
	assert_memory_equal(plain.data, want.data, want.size);
	for (size_t i = 0; i < ET_ARRAY_SIZE(all); i++) {
		assert_int_equal(tape_list_add(&list, all[i]), 0);
	}
	tape_list_write(&list, &plain);
	assert_int_equal(plain.size, want.size + tail.size);
	assert_memory_equal(plain.data + want.size, tail.data, tail.size);
	tape_end_format(1234, 40, ended);
	assert_int_equal(end.size, sizeof(ended));
	assert_memory_equal(ended, end.data, sizeof(ended));
	tape_list_release(&list);
	et_buffer_release(&plain);
	forget(meta);
	forget(media);
	forget(want);
	forget(tail);
	forget(end);
}

static void the_published_block_is_ours(void **state)
{
	const struct et_view meta = unhex(meta_hex);
	const struct et_view media = unhex(media_hex);
	const struct et_view want = unhex(block_hex);
	struct et_buffer b = { 0 };

	(void)state;
	tape_block_add(&b, ET_TAPE_META, 0, meta);
	tape_block_add(&b, ET_TAPE_MEDIA, 250, media);
	assert_int_equal(b.size, want.size);
	assert_memory_equal(b.data, want.data, want.size);
	tape_block_fill(&b, ET_TAPE_BLOCK_MIN);
	assert_int_equal(b.size, ET_TAPE_BLOCK_MIN);
	for (size_t i = want.size; i < b.size; i++) {
		assert_int_equal(b.data[i], 0);
	}
	et_buffer_release(&b);
	forget(meta);
	forget(media);
	forget(want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_published_tape_verifies),
		cmocka_unit_test(the_published_tape_opens),
		cmocka_unit_test(the_published_plaintexts_are_ours),
		cmocka_unit_test(the_published_checkpoints_are_ours),
		cmocka_unit_test(the_published_block_is_ours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
