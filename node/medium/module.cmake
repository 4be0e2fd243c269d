et_module(node/medium
    SOURCES medium.c pcm.c riff.c aiff.c mp3.c flac.c ogg.c told.c
    USES node/base node/io node/text node/audio
    TESTS medium told
    TEST_USES node/tape node/rtp node/crypto
    FUZZERS medium told)
