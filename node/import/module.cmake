et_module(node/import
    SOURCES import.c job.c audio.c capture.c check.c
    USES node/base node/io node/crypto node/text node/rtp node/rule node/tape node/srtp node/keylog node/medium node/capture
    LIBRARIES Threads::Threads
    TESTS import media
    TEST_LIBRARIES m
    TEST_USES node/audio node/playback)
