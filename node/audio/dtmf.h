/* Key presses as sound (DTMF: ITU-T Q.23), looked for in a window of samples.
 *
 * A window is a key when two tones, one of each group, make up most of its energy, neither is much
 * louder than the other, and both are near where they should be:
 *
 *   frequency   up to 2.5 % off (Q.24: 1.8 % at most); not from 3.5 % on
 *   level       each tone from -45 dBm0 on
 *   twist       up to 11 dB either way (Q.24: at most 10)
 *   purity      three quarters of the energy: a noise 6 dB below the tones is fine
 *   duration    two windows in a row: any tone of 40 ms (Q.24) has them
 *
 * That is wider than what a receiver of keys takes, since here a key that is missed is a digit that
 * somebody hears, and one that is made up is a moment of silence.
 *
 * Threads: pure. */
#ifndef ET_NODE_AUDIO_DTMF_H
#define ET_NODE_AUDIO_DTMF_H

#include <stdint.h>

#define ET_DTMF_RATE 8000  /* Hz */
#define ET_DTMF_WINDOW 200 /* samples: 25 ms */
#define ET_DTMF_HOP 80	   /* from one window to the next: 10 ms */

struct et_dtmf_look {
	char key;   /* one of 0-9 * # A-D; '\0': none */
	char faint; /* the tones that stand out of their groups, whatever sound there is beside
		     * them: a key only for who knows that it is being pressed; '\0': none does */
};

/* Tables, once for many windows. */
struct et_dtmf {
	float window[ET_DTMF_WINDOW];
	float turn[8]; /* of the tones */
};

void et_dtmf_init(struct et_dtmf *d);

struct et_dtmf_look et_dtmf_look(const struct et_dtmf *d, const int16_t samples[ET_DTMF_WINDOW]);

#endif
