et_module(node/rule
    SOURCES rule.c number.c zone.c join.c
    USES node/base
    TESTS rule zone join
    FUZZERS zone)
