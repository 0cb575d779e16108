-- +goose Up
CREATE TABLE jobs (
    kind     TEXT   NOT NULL,
    key      TEXT   NOT NULL,
    priority BIGINT NOT NULL, -- lower ones first
    due      BIGINT NOT NULL, -- not to be claimed before; while it is leased, when the lease ends
    owner    TEXT   NOT NULL, -- the claim that has the lease; empty: free
    asked    BIGINT NOT NULL, -- how often it was added: shows what came in during a claim
    attempts BIGINT NOT NULL, -- claims that did not end well
    parked   BIGINT NOT NULL, -- 0: no; else since when
    reason   TEXT   NOT NULL, -- of the last failure
    created  BIGINT NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX jobs_due ON jobs (kind, priority, due) WHERE parked = 0;
CREATE INDEX jobs_soon ON jobs (kind, due) WHERE parked = 0;
