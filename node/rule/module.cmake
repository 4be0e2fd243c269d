et_module(node/rule
    SOURCES rule.c number.c zone.c hours.c join.c agent.c
    USES node/base
    TESTS rule zone join agent
    FUZZERS zone)
