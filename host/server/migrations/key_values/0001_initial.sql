-- What plugins keep by wasi:keyvalue, in a database of its own. A namespace is a binding.

CREATE TABLE namespaces (
    namespace TEXT NOT NULL PRIMARY KEY,
    -- Of keys and values together.
    bytes BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    -- The last version that an entry got.
    version BIGINT NOT NULL
);

CREATE TABLE entries (
    namespace TEXT NOT NULL,
    -- UTF-8; as bytes, because keys are in the order of their bytes and may have a NUL.
    key BYTEA NOT NULL,
    value BYTEA NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (namespace, key)
);
