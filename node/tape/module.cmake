et_module(node/tape
    SOURCES format.c tape.c source.c verify.c recover.c reader.c proof.c link.c rewrite.c media.c items.c meta.c keys.c
        checkpoint.c index.c file.c block.c
    USES node/base node/io node/crypto node/rtp
    TESTS file checkpoint tape block damage proof rewrite vector media meta keys
    FUZZERS file block checkpoint link tape media meta proof keys)
