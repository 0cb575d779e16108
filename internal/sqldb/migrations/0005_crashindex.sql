-- +goose Up
-- Texts are kept once each; crash_index has their ids. So a row is about 110 bytes, and what counts and
-- compares reads small numbers.
CREATE TABLE crash_index_values (
    id    BIGINT PRIMARY KEY,
    field TEXT   NOT NULL,
    hash  BIGINT NOT NULL, -- the first 64 bits of the text's SHA-256
    text  TEXT   NOT NULL,
    refs  BIGINT NOT NULL  -- rows of crash_index that have it
);
CREATE INDEX crash_index_values_hash ON crash_index_values (field, hash);

-- A column for each field of package crashindex, NULL for null. No REFERENCES: a value that goes would be
-- looked for in each column.
CREATE TABLE crash_index (
    id                      TEXT   PRIMARY KEY,
    submitted               BIGINT NOT NULL,
    signature               BIGINT,
    product                 BIGINT,
    version                 BIGINT,
    release_channel         BIGINT,
    build_id                BIGINT, -- the number itself
    process_type            BIGINT,
    platform                BIGINT,
    platform_version        BIGINT,
    platform_pretty_version BIGINT,
    cpu_arch                BIGINT,
    android_manufacturer    BIGINT,
    android_model           BIGINT,
    reason                  BIGINT,
    address                 BIGINT,
    crashing_thread_name    BIGINT,
    moz_crash_reason        BIGINT,
    proto_signature         BIGINT,
    topmost_filenames       BIGINT,
    modules_in_stack        BIGINT,
    uptime                  BIGINT  -- the number itself
);
CREATE INDEX crash_index_submitted ON crash_index (submitted);
CREATE INDEX crash_index_signature ON crash_index (signature, submitted);
CREATE INDEX crash_index_product ON crash_index (product, submitted);
