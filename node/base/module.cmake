et_module(node/base
    SOURCES err.c secret.c bytes.c queue.c log.c memory.c pool.c role.c
    LIBRARIES Threads::Threads
    TESTS secret bytes pool queue)
