et_module(node/tape
    SOURCES format.c tape.c source.c verify.c recover.c reader.c media.c meta.c
    USES node/base node/io node/crypto
    TESTS tape damage vector media meta
    FUZZERS tape media meta)
