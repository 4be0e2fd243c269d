et_module(node/audio
    SOURCES codec.c mix.c wav.c
    USES node/base node/io
    TESTS codec mix wav
    FUZZERS mix)
