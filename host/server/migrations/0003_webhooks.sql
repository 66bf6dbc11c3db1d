-- Webhook subscriptions, and the outbox that their deliveries wait in. Lists and objects are JSON.

CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    description TEXT,
    urls TEXT NOT NULL,
    config TEXT NOT NULL,
    -- Null is every kind of event.
    kinds TEXT,
    enabled BIGINT NOT NULL,
    secret TEXT NOT NULL,
    -- Signs as well, until it is retired.
    old_secret TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX webhooks_of_app ON webhooks (app_id, id);

-- A row is written with its event and removed when it was delivered. Until it is planned, request and body are null.
CREATE TABLE webhook_deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    -- What is delivered in order: a room, or a member for events without one.
    lane TEXT NOT NULL,
    -- The order within a lane: the event, then the delivery of it.
    seq BIGINT NOT NULL,
    position BIGINT NOT NULL,
    event TEXT NOT NULL,
    request TEXT,
    body BYTEA,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- From when on the time is counted after which it is given up.
    since BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    last_status BIGINT,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (webhook_id, lane, seq, position) WHERE state <> 'dead';
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (updated_at) WHERE state = 'dead';

-- A lane with something to deliver, and when its next turn is.
CREATE TABLE webhook_lanes (
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    lane TEXT NOT NULL,
    app_id TEXT NOT NULL,
    next_at BIGINT NOT NULL,
    PRIMARY KEY (webhook_id, lane)
);

CREATE INDEX webhook_lanes_due ON webhook_lanes (next_at);
