-- +goose Up
CREATE TABLE sessions (
    hash     TEXT   PRIMARY KEY, -- SHA-256 of the cookie's value, hexadecimal
    token_id TEXT   NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    created  BIGINT NOT NULL,
    seen     BIGINT NOT NULL
);
CREATE INDEX sessions_token ON sessions (token_id);
