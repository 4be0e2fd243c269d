et_module(node/tape
    SOURCES format.c tape.c source.c verify.c recover.c reader.c proof.c media.c items.c meta.c keys.c
    USES node/base node/io node/crypto
    TESTS tape damage proof vector media meta keys
    FUZZERS tape media meta proof keys)
