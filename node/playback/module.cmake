et_module(node/playback
    SOURCES walk.c protected.c seek.c render.c marks.c export.c file.c fit.c
    USES node/base node/io node/rtp node/crypto node/tape node/srtp node/keylog node/audio
    TEST_LIBRARIES m
    TESTS playback seek masked concealed export fit)
