#include "node/audio/wav.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "node/audio/mix.h"
#include "node/io/file.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
enum { CHUNK_FRAMES = 4096 };
#endif

static void put16_little(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put32_little(uint8_t *p, uint32_t v)
{
	put16_little(p, (uint16_t)v);
	put16_little(p + 2, (uint16_t)(v >> 16));
}

static uint32_t get32_little(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int et_wav_header(uint64_t frames, uint32_t rate, uint8_t ret[ET_WAV_HEADER_SIZE])
{
	if (frames > ET_WAV_FRAMES_MAX) {
		return ET_ELIMIT;
	}
	const uint32_t size = (uint32_t)frames * ET_WAV_FRAME_SIZE;
	memcpy(ret, "RIFF", 4);
	put32_little(ret + 4, size + ET_WAV_HEADER_SIZE - 8);
	memcpy(ret + 8, "WAVEfmt ", 8);
	put32_little(ret + 16, 16); /* bytes of the format */
	put16_little(ret + 20, 1);  /* PCM */
	put16_little(ret + 22, ET_MIX_CHANNELS);
	put32_little(ret + 24, rate);
	put32_little(ret + 28, rate * ET_WAV_FRAME_SIZE);
	put16_little(ret + 32, ET_WAV_FRAME_SIZE);
	put16_little(ret + 34, 16); /* bits a sample */
	memcpy(ret + 36, "data", 4);
	put32_little(ret + 40, size);
	return 0;
}

int et_wav_label(uint8_t header[ET_WAV_HEADER_SIZE], uint8_t ret[ET_WAV_LABEL_SIZE])
{
	static const char text[] = "A derivative, made by evertape: sound that was lost on its way "
				   "to the recorder is made up. The original is evidence.";
	const uint32_t riff = get32_little(header + 4);

	_Static_assert(20 + sizeof(text) <= ET_WAV_LABEL_SIZE, "the comment fits, with its NUL");
	if (riff > UINT32_MAX - ET_WAV_LABEL_SIZE) {
		return ET_ELIMIT;
	}
	put32_little(header + 4, riff + ET_WAV_LABEL_SIZE);
	memset(ret, 0, ET_WAV_LABEL_SIZE);
	memcpy(ret, "LIST", 4);
	put32_little(ret + 4, ET_WAV_LABEL_SIZE - 8);
	memcpy(ret + 8, "INFOICMT", 8);
	put32_little(ret + 16, ET_WAV_LABEL_SIZE - 20);
	memcpy(ret + 20, text, sizeof(text));
	return 0;
}

void et_wav_frames(const int16_t *samples, size_t frames, uint8_t *ret)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	memcpy(ret, samples, frames * ET_WAV_FRAME_SIZE);
#else
	for (size_t i = 0; i < frames * ET_MIX_CHANNELS; i++) {
		put16_little(ret + 2 * i, (uint16_t)samples[i]);
	}
#endif
}

int et_wav_create(struct et_wav *w, const char *path, uint32_t rate, struct et_error *reterr)
{
	uint8_t header[ET_WAV_HEADER_SIZE];

	*w = (struct et_wav){ .fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
					 0600) };
	if (w->fd < 0) {
		return et_fail(reterr, -errno, "create '%s'", path);
	}
	w->rate = rate;
	int rc = et_wav_header(0, rate, header);
	if (rc == 0) {
		rc = et_file_pwrite(w->fd, header, sizeof(header), 0);
	}
	if (rc < 0) {
		et_wav_close(w);
		(void)unlink(path);
		return et_fail(reterr, rc, "write '%s'", path);
	}
	return 0;
}

int et_wav_write(struct et_wav *w, const int16_t *samples, size_t frames, struct et_error *reterr)
{
	if (frames > ET_WAV_FRAMES_MAX - w->frames) {
		return et_fail(reterr, ET_ELIMIT, "WAV file of more than 4 GiB");
	}
	while (frames > 0) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		const size_t n = frames; /* they lie in memory as in the file */
		const void *bytes = samples;
#else
		uint8_t bytes[CHUNK_FRAMES * ET_WAV_FRAME_SIZE];
		const size_t n = frames < CHUNK_FRAMES ? frames : CHUNK_FRAMES;
		et_wav_frames(samples, n, bytes);
#endif
		int rc = et_file_pwrite(
			w->fd, bytes, n * ET_WAV_FRAME_SIZE,
			(int64_t)(ET_WAV_HEADER_SIZE + w->frames * ET_WAV_FRAME_SIZE));
		if (rc < 0) {
			return et_fail(reterr, rc, "write WAV file");
		}
		samples += n * ET_MIX_CHANNELS;
		frames -= n;
		w->frames += n;
	}
	return 0;
}

int et_wav_end(struct et_wav *w, struct et_error *reterr)
{
	const uint64_t end = ET_WAV_HEADER_SIZE + w->frames * ET_WAV_FRAME_SIZE;
	uint8_t header[ET_WAV_HEADER_SIZE];
	uint8_t label[ET_WAV_LABEL_SIZE];

	int rc = et_wav_header(w->frames, w->rate, header);
	if (rc == 0 && w->concealed) {
		rc = et_wav_label(header, label);
		rc = rc < 0 ? rc : et_file_pwrite(w->fd, label, sizeof(label), (int64_t)end);
	}
	if (rc == 0) {
		rc = et_file_pwrite(w->fd, header, sizeof(header), 0);
	}
	et_wav_close(w);
	return rc < 0 ? et_fail(reterr, rc, "finish WAV file") : 0;
}

void et_wav_close(struct et_wav *w)
{
	if (w->fd >= 0) {
		(void)close(w->fd);
		w->fd = -1;
	}
}

void et_peaks_init(struct et_peaks *p, struct et_peak *peaks, uint32_t count, uint64_t frames_total)
{
	et_assert(frames_total <= UINT32_MAX); /* More than a mix or a WAV file has. */
	memset(peaks, 0, count * sizeof(*peaks));
	*p = (struct et_peaks){ .peaks = peaks, .count = count, .frames_total = frames_total };
}

/* The bucket of a frame. Both factors have 32 bits. */
static uint64_t peak_of(const struct et_peaks *p, uint64_t frame)
{
	return frame * p->count / p->frames_total;
}

void et_peaks_add(struct et_peaks *p, const int16_t *samples, size_t frames)
{
	for (size_t i = 0; i < frames; i++) {
		if (p->frames >= p->frames_total || p->count == 0) {
			return;
		}
		struct et_peak *peak = &p->peaks[peak_of(p, p->frames)];
		for (size_t c = 0; c < ET_MIX_CHANNELS; c++) {
			const int16_t s = samples[i * ET_MIX_CHANNELS + c];
			if (s < peak->low[c]) {
				peak->low[c] = s;
			}
			if (s > peak->high[c]) {
				peak->high[c] = s;
			}
		}
		p->frames++;
	}
}
