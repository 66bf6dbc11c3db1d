-- Recorded files that are played as live streams. A row stays for a while after its stream is over, to say why.

CREATE TABLE vod_streams (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    name TEXT NOT NULL,
    -- What is played, and how, as JSON.
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    -- Why it is over.
    reason TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX vod_streams_of_app ON vod_streams (app_id, id);
CREATE INDEX vod_streams_over ON vod_streams (updated_at) WHERE state IN ('ENDED', 'FAILED');
-- Names are parts of addresses, which all Apps share.
CREATE UNIQUE INDEX vod_streams_one_of_a_name ON vod_streams (name) WHERE state = 'KEPT';
