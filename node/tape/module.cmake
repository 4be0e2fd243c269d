et_module(node/tape
    SOURCES format.c tape.c source.c verify.c recover.c reader.c proof.c link.c rewrite.c media.c items.c meta.c keys.c
    USES node/base node/io node/crypto
    TESTS tape damage proof rewrite vector media meta keys
    FUZZERS link tape media meta proof keys)
