et_module(node/text
    SOURCES yaml.c yaml_read.c units.c json.c
    USES node/base
    LIBRARIES PkgConfig::jansson PRIVATE PkgConfig::fyaml
    TESTS yaml units json
    FUZZERS yaml json)
