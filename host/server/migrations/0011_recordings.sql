-- Recordings and the video posts that they become.

-- Whether broadcasts are recorded: null leaves it to the next one that has an opinion.
ALTER TABLE apps ADD COLUMN record BIGINT;
ALTER TABLE video_rooms ADD COLUMN record BIGINT;
-- What the policy said when the room was started.
ALTER TABLE video_rooms ADD COLUMN record_granted BIGINT;

-- A post is made when its recording begins.
CREATE TABLE video_posts (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    owner_id TEXT NOT NULL REFERENCES members (id),
    room_id TEXT REFERENCES video_rooms (id),
    state TEXT NOT NULL,
    -- An unguessable word in the addresses of its segments.
    stamp TEXT NOT NULL,
    title TEXT,
    description TEXT,
    -- Milliseconds.
    duration BIGINT,
    bytes BIGINT,
    width BIGINT,
    height BIGINT,
    codecs TEXT,
    -- Why it could not be made.
    failure TEXT,
    -- What of the broadcast is missing in it, and why.
    missing TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX video_posts_of_app ON video_posts (app_id, id);
CREATE INDEX video_posts_of_owner ON video_posts (owner_id, id);
-- One recording for each room.
CREATE UNIQUE INDEX video_posts_of_room ON video_posts (room_id) WHERE room_id IS NOT NULL;
CREATE INDEX video_posts_unfinished ON video_posts (id) WHERE state IN ('RECORDING', 'PROCESSING');
