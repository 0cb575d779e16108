-- +goose Up
CREATE TABLE tokens (
    id          TEXT   PRIMARY KEY,
    hash        TEXT   NOT NULL UNIQUE, -- SHA-256 of the secret, hexadecimal
    name        TEXT   NOT NULL,
    permissions TEXT   NOT NULL,        -- names, separated by commas
    from_env    BIGINT NOT NULL,        -- 1: set by the environment
    created     BIGINT NOT NULL,
    expires     BIGINT NOT NULL,        -- 0: never
    last_used   BIGINT NOT NULL,        -- 0: not yet
    revoked     BIGINT NOT NULL         -- 0: not revoked
);
