/* Vorbis (Vorbis I, Xiph.Org, 2020): what has to be known of a stream before its packets.
 *
 * The headers are a stranger's, and small ones could ask libvorbis for many GiB: codebooks in short
 * form. So they are looked at before the library sees them, and what goes beyond
 * ET_VORBIS_BOOKS_MAX is refused (those of libvorbis have at most half of it).
 *
 * Threads: one owner at a time. */
#ifndef ET_NODE_AUDIO_VORBIS_H
#define ET_NODE_AUDIO_VORBIS_H

#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_VORBIS_IDENTITY_SIZE 30 /* bytes of the first header */
#define ET_VORBIS_SETUP_MAX 20000  /* bytes of the third one: the second is text, and not needed */
#define ET_VORBIS_BOOKS_MAX 131072 /* entries by their dimensions, of all codebooks */
/* The parameters of a decoder: "headers=" base64url of identity | setup. */
#define ET_VORBIS_FMTP_MAX                                                                         \
	(sizeof("headers=") + et_base64_size(ET_VORBIS_IDENTITY_SIZE + ET_VORBIS_SETUP_MAX))

struct et_vorbis;

/* The caller owns *ret. ET_EMALFORMED, ET_ELIMIT (of books), -ENOMEM. */
int et_vorbis_new(struct et_view identity, struct et_view setup,
		  struct et_vorbis **ret) ET_MUST_CHECK;
struct et_vorbis *et_vorbis_free(struct et_vorbis *v); /* NULL is allowed; returns NULL */

uint32_t et_vorbis_rate(const struct et_vorbis *v);	/* Hz */
uint32_t et_vorbis_channels(const struct et_vorbis *v); /* 1 to 255 */

/* The samples of a packet's window, of each channel; 0: it is no packet of sound. Behind one of
 * `a`, one of `b` gives a / 4 + b / 4 samples; the first one gives none (Vorbis I, section 1.3.2,
 * 4.3.8). */
uint32_t et_vorbis_window(struct et_vorbis *v, struct et_view packet);

/* For a decoder; `text` has room for ET_VORBIS_FMTP_MAX. */
void et_vorbis_fmtp(struct et_view identity, struct et_view setup, char *text);

#endif
