et_module(node/rule
    SOURCES rule.c number.c zone.c
    USES node/base
    TESTS rule zone
    FUZZERS zone)
