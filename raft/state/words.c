/* Words of a text, for the index and for a query alike. No locale: which letters there are and how
 * they are folded is fixed here, for it decides what stands in the index of every node.
 *
 * A word is a run of ASCII letters and digits and of code points from U+00C0 on, but for General
 * Punctuation (U+2000..206F) and CJK punctuation (U+3000..303F). Folded to lower case: ASCII,
 * Latin-1, Latin Extended-A, Greek, Cyrillic; everything else stays as it is. */
#include "raft/state/state_internal.h"

struct fold {
	uint32_t first, last;
	uint32_t step; /* 1: each; 2: every second one, from `first` on */
	uint32_t add;
};

static const struct fold folds[] = {
	{ 0x41, 0x5a, 1, 0x20 },			   /* A-Z */
	{ 0xc0, 0xd6, 1, 0x20 },			   /* Latin-1 */
	{ 0xd8, 0xde, 1, 0x20 },   { 0x100, 0x12e, 2, 1 }, /* Latin Extended-A */
	{ 0x132, 0x136, 2, 1 },	   { 0x139, 0x147, 2, 1 },    { 0x14a, 0x176, 2, 1 },
	{ 0x179, 0x17d, 2, 1 },	   { 0x391, 0x3a1, 1, 0x20 }, /* Greek */
	{ 0x3a3, 0x3ab, 1, 0x20 }, { 0x400, 0x40f, 1, 0x50 }, /* Cyrillic */
	{ 0x410, 0x42f, 1, 0x20 }, { 0x460, 0x480, 2, 1 },    { 0x48a, 0x4be, 2, 1 },
	{ 0x4d0, 0x52e, 2, 1 },
};

static uint32_t letter_fold(uint32_t c)
{
	if (c == 0x178) {
		return 0xff;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(folds); i++) {
		const struct fold *f = &folds[i];
		if (c >= f->first && c <= f->last && (c - f->first) % f->step == 0) {
			return c + f->add;
		}
	}
	return c;
}

static bool letter_is(uint32_t c)
{
	if (c < 0x80) {
		return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
	}
	return c >= 0xc0 && c != 0xd7 && c != 0xf7 && !(c >= 0x2000 && c <= 0x206f) &&
	       !(c >= 0x3000 && c <= 0x303f);
}

/* One code point of UTF-8 that raft/command has checked; what is none (a query's text was not
 * checked) is U+FFFD, one byte long. */
static size_t letter_read(const char *text, uint32_t *ret)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t size = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t c = size == 1 ? p[0] : p[0] & (0xffU >> (size + 1));

	for (size_t i = 1; i < size; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			size = 0;
		} else {
			c = c << 6 | (p[i] & 0x3f);
		}
	}
	*ret = size > 0 ? c : 0xfffd;
	return size > 0 ? size : 1;
}

static size_t letter_write(uint32_t c, char *to)
{
	uint8_t *p = (uint8_t *)to;

	if (c < 0x80) {
		p[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		p[0] = (uint8_t)(0xc0 | c >> 6);
		p[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		p[0] = (uint8_t)(0xe0 | c >> 12);
		p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		p[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	p[0] = (uint8_t)(0xf0 | c >> 18);
	p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	p[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

const char *word_next(const char *text, char word[WORD_SIZE])
{
	size_t size = 0;
	bool cut = false;

	while (*text != '\0') {
		uint32_t c;
		char bytes[4];
		size_t n = letter_read(text, &c);
		if (!letter_is(c)) {
			if (size > 0) {
				break;
			}
			text += n;
			continue;
		}
		text += n;
		n = letter_write(letter_fold(c), bytes);
		cut |= size + n > WORD_SIZE - 1;
		if (!cut) {
			memcpy(word + size, bytes, n);
			size += n;
		}
	}
	word[size] = '\0';
	return size > 0 ? text : NULL;
}
