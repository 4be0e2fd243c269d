et_module(node/playback
    SOURCES walk.c protected.c seek.c render.c marks.c sound.c export.c file.c fit.c
    USES node/base node/io node/rtp node/crypto node/tape node/srtp node/keylog node/audio
    TEST_LIBRARIES PkgConfig::flac m
    TESTS playback seek masked concealed sound export fit)
