-- +goose Up
CREATE TABLE marks ( -- how far recurring work has come
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE symbols ( -- originals: the files that were uploaded
    key        TEXT   PRIMARY KEY, -- of the object in blob storage
    debug_file TEXT   NOT NULL,
    debug_id   TEXT   NOT NULL,    -- as Breakpad spells it
    code_file  TEXT   NOT NULL,
    code_id    TEXT   NOT NULL,
    name       TEXT   NOT NULL,    -- last part of the key
    format     TEXT   NOT NULL,    -- for people
    arch       TEXT   NOT NULL,
    sym_rank   BIGINT NOT NULL,    -- how good a symcache it gives; 0: none
    cfi_rank   BIGINT NOT NULL,    -- how good a cficache it gives; 0: none
    size       BIGINT NOT NULL,
    sha256     TEXT   NOT NULL,
    uploaded   BIGINT NOT NULL,
    uploader   TEXT   NOT NULL     -- name of the token
);
CREATE INDEX symbols_debug ON symbols (debug_id);
CREATE INDEX symbols_code ON symbols (code_id) WHERE code_id <> '';
CREATE INDEX symbols_uploaded ON symbols (uploaded);
CREATE TABLE derived ( -- lookup files made from them
    debug_id TEXT   NOT NULL,
    kind     TEXT   NOT NULL, -- symcache or cficache
    rank     BIGINT NOT NULL, -- of the original; 0: none gives one, see reason
    source   TEXT   NOT NULL, -- key of the original
    sha256   TEXT   NOT NULL, -- of the original
    revision BIGINT NOT NULL, -- of the builder
    size     BIGINT NOT NULL,
    built    BIGINT NOT NULL,
    reason   TEXT   NOT NULL, -- why there is none, or what of the original could not be used
    PRIMARY KEY (debug_id, kind)
);
CREATE TABLE missing ( -- what processed crashes would be better with
    crash_id   TEXT   NOT NULL,
    debug_id   TEXT   NOT NULL,
    kind       TEXT   NOT NULL, -- symcache or cficache
    rank       BIGINT NOT NULL, -- of the one that was used; 0: none
    debug_file TEXT   NOT NULL,
    code_file  TEXT   NOT NULL,
    code_id    TEXT   NOT NULL,
    PRIMARY KEY (crash_id, debug_id, kind)
);
CREATE INDEX missing_debug ON missing (debug_id, kind, rank);
