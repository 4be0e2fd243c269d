et_module(node/medium
    SOURCES medium.c wav.c mp3.c told.c
    USES node/base node/io node/text
    TESTS medium told
    TEST_USES node/tape node/rtp node/crypto
    FUZZERS medium told)
