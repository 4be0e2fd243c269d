et_module(node/root
    SOURCES root.c spec.c slots.c secret.c token.c cryptoki.c
    USES node/base node/io node/crypto
    LIBRARIES PRIVATE PkgConfig::argon2 PkgConfig::p11 ${CMAKE_DL_LIBS}
    TESTS spec slots root token
    FUZZERS spec slots)
# The PKCS#11 module of test_token.
add_library(root_hostile MODULE "${PROJECT_SOURCE_DIR}/node/root/test/hostile.c")
target_link_libraries(root_hostile PRIVATE et_flags PkgConfig::p11)
target_compile_definitions(test_node_root_token PRIVATE "ET_HOSTILE_MODULE=\"$<TARGET_FILE:root_hostile>\"")
add_dependencies(test_node_root_token root_hostile)
