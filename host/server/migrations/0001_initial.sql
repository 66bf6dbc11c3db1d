-- Times are milliseconds since the Unix epoch. Plain SQL that PostgreSQL understands too, but for events.seq, which is
-- "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY" there.

CREATE TABLE operators (
    token_hash TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE apps (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    api_key TEXT NOT NULL UNIQUE,
    secret_hash TEXT NOT NULL,
    signing_secret TEXT NOT NULL,
    output_mode TEXT,
    transcoding_profile TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE members (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    app_user_id TEXT NOT NULL,
    name TEXT,
    stream_name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (app_id, app_user_id)
);

CREATE TABLE stream_keys (
    member_id TEXT NOT NULL PRIMARY KEY REFERENCES members (id),
    secret TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    output_mode TEXT,
    transcoding_profile TEXT,
    publish_id TEXT UNIQUE,
    publish_mode TEXT,
    secret_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX stream_keys_publishing ON stream_keys (state) WHERE state LIKE 'ACTIVE%';

CREATE TABLE video_rooms (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    owner_id TEXT NOT NULL REFERENCES members (id),
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    access_level TEXT NOT NULL,
    title TEXT,
    description TEXT,
    scheduled_at BIGINT,
    mode TEXT,
    video_post_id TEXT,
    failure TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT
);

CREATE INDEX video_rooms_of_app ON video_rooms (app_id, id);
CREATE INDEX video_rooms_of_owner ON video_rooms (owner_id, id);
CREATE INDEX video_rooms_shown ON video_rooms (id) WHERE state IN ('LIVE', 'LIVE_INACTIVE');
-- One broadcast per member at a time.
CREATE UNIQUE INDEX video_rooms_one_live ON video_rooms (owner_id) WHERE state IN ('LIVE', 'LIVE_INACTIVE');

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    app_id TEXT NOT NULL,
    member_id TEXT NOT NULL,
    room_id TEXT,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE INDEX events_of_app ON events (app_id, seq);
CREATE INDEX events_of_room ON events (room_id, seq);
CREATE INDEX events_age ON events (at);

-- Answers to creates that carried an Idempotency-Key.
CREATE TABLE idempotency (
    caller TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (caller, idempotency_key)
);

CREATE INDEX idempotency_age ON idempotency (created_at);
