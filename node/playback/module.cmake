et_module(node/playback
    SOURCES walk.c render.c export.c
    USES node/base node/io node/rtp node/crypto node/tape node/srtp node/audio
    TESTS playback export)
