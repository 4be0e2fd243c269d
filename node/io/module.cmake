et_module(node/io
    SOURCES clock.c file.c post.c publish.c
    USES node/base
    LIBRARIES PkgConfig::uv
    TESTS publish clock post)
