et_program(gencalls cluster-tests/harness
    SOURCES calls.c
    USES node/base
    TESTS tapes losses
    TEST_USES node/io node/crypto node/sip node/rtp node/tape node/audio node/capture node/playback)
