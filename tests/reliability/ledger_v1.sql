-- A ledger of version 1, as triaged 0.1.0 wrote it: at least one row of each kind.
PRAGMA application_id=1953654628;
PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE decision (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    cause TEXT,
    rule TEXT,
    reason TEXT,
    observed TEXT NOT NULL,
    copies TEXT NOT NULL,
    rules_sha256 TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    task TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
INSERT INTO "decision" VALUES('default','left','2026-03-01T00:00:00.000000Z','no_rule',NULL,NULL,'[]','[]','5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','{"id": "left"}');
CREATE TABLE dismissal (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    cycle TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    outcome TEXT,
    settled_at TEXT,
    request_id TEXT,
    detail TEXT,
    rules_sha256 TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    task TEXT NOT NULL,
    trace BLOB NOT NULL
);
INSERT INTO "dismissal" VALUES('17b5a08b12f743f3b2d970dabb70b1cc','default','confirmed','clutter','testing','daemon','cycle0','2026-03-01T00:00:00.000000Z','confirmed','2026-03-01T00:10:00.000000Z','req_1',NULL,'5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','19b8cd64db9cd02f80ea805b397e245dbe04a3694da9718418f3ccf1f99cf9ec','{"id": "confirmed", "type": "prospect_search", "status": "pending", "description": "[TEST] café confirmed", "created_at": "2026-02-28T00:00:00+00:00", "metadata": {}}',X'789CAB562A2ACD4955B252504ACE292D29492D52AA0500402F0696');
INSERT INTO "dismissal" VALUES('7259117f71dd43758893c89bc4c96df7','default','handled','clutter','testing','daemon','cycle1','2026-03-01T00:01:00.000000Z','already_handled','2026-03-01T00:10:00.000000Z','req_1','it''s said','5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','c87c32c113b0ae6c1afcfe4c9b692d0bdc7449e7ea2f6aeb251aed77dd4ae26b','{"id": "handled", "type": "prospect_search", "status": "pending", "description": "[TEST] café handled", "created_at": "2026-02-28T00:00:00+00:00", "metadata": {}}',X'789CAB562A2ACD4955B252504ACE292D29492D52AA0500402F0696');
INSERT INTO "dismissal" VALUES('d8ce05e95b824bb4a0e8074004b2a70a','default','gone',NULL,'other','hand','cycle2','2026-03-01T00:02:00.000000Z','gone','2026-03-01T00:10:00.000000Z','req_1','it''s said','5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','993095a98b4bc9200fab45fbdea461037bdaf85f4a5916d2c8c5f3ce1c25cddf','{"id": "gone", "type": "prospect_search", "status": "pending", "description": "[TEST] café gone", "created_at": "2026-02-28T00:00:00+00:00", "metadata": {}}',X'789CAB562A2ACD4955B252504ACE292D29492D52AA0500402F0696');
INSERT INTO "dismissal" VALUES('3f6823dcf505488cb6c4401ad1333f40','default','rejected','stale','not_relevant','apply','cycle3','2026-03-01T00:03:00.000000Z','rejected','2026-03-01T00:10:00.000000Z','req_1','it''s said','5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','37b0cc467974e68525dfdfe8875f59f68b4cce77b349e9d3f93ec074f99b22b1','{"id": "rejected", "type": "prospect_search", "status": "pending", "description": "[TEST] café rejected", "created_at": "2026-02-28T00:00:00+00:00", "metadata": {}}',X'789CAB562A2ACD4955B252504ACE292D29492D52AA0500402F0696');
INSERT INTO "dismissal" VALUES('669ef241259f45bdbbcad0459ba2d333','default','failed','clutter','testing','daemon','cycle4','2026-03-01T00:04:00.000000Z','failed','2026-03-01T00:10:00.000000Z','req_1','it''s said','5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','081ea78423f4d5a34bd17899f822829c40b56c240af68ebc8d65758ef87e9ae4','{"id": "failed", "type": "prospect_search", "status": "pending", "description": "[TEST] café failed", "created_at": "2026-02-28T00:00:00+00:00", "metadata": {}}',X'789CAB562A2ACD4955B252504ACE292D29492D52AA0500402F0696');
INSERT INTO "dismissal" VALUES('f14826c2ea01463f9c8dc4edc72e53bb','default','unknown','clutter','testing','daemon','cycle5','2026-03-01T00:05:00.000000Z','unknown','2026-03-01T00:10:00.000000Z','req_1','it''s said','5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','1198b4d6791d5173f43d50e79155fc0859f6c78266b74dad89afdfdaa9cd702d','{"id": "unknown", "type": "prospect_search", "status": "pending", "description": "[TEST] café unknown", "created_at": "2026-02-28T00:00:00+00:00", "metadata": {}}',X'789CAB562A2ACD4955B252504ACE292D29492D52AA0500402F0696');
INSERT INTO "dismissal" VALUES('b0fa57fda7c54e119c1350fb35519eb6','default','intended','clutter','testing','review','cycle6','2026-03-01T00:06:00.000000Z',NULL,NULL,NULL,NULL,'5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','c26bec0432435e101ca38f5feab4a73bd78c65dc98ccf4660f3bcd8dfc1dae13','{"id": "intended", "type": "prospect_search", "status": "pending", "description": "[TEST] café intended", "created_at": "2026-02-28T00:00:00+00:00", "metadata": {}}',X'789CAB562A2ACD4955B252504ACE292D29492D52AA0500402F0696');
CREATE TABLE hold (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id, rule)
);
INSERT INTO "hold" VALUES('default','held','slow','print','2026-03-01T00:00:00.000000Z');
CREATE TABLE mark (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    since TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (workspace, name)
);
INSERT INTO "mark" VALUES('default','paused','2026-03-01T00:00:00.000000Z','a person''s word; said once');
CREATE TABLE observation (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id, rule)
);
INSERT INTO "observation" VALUES('default','seen','watch','not_relevant','2026-03-01T00:00:00.000000Z');
CREATE TABLE quota (
    workspace TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    state TEXT NOT NULL
);
INSERT INTO "quota" VALUES('default',7,'{"format": 2}');
CREATE TABLE ruleset (
    sha256 TEXT PRIMARY KEY,
    first_used_at TEXT NOT NULL,
    text TEXT NOT NULL
);
INSERT INTO "ruleset" VALUES('5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','2026-03-01T00:00:00.000000Z','version: 1
rules:
- name: ''clutter''
');
CREATE TABLE tally (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    label2 TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (workspace, name, label, label2)
);
INSERT INTO "tally" VALUES('default','attempts','confirmed','',1);
INSERT INTO "tally" VALUES('default','attempts','already_handled','',1);
INSERT INTO "tally" VALUES('default','attempts','gone','',1);
INSERT INTO "tally" VALUES('default','attempts','rejected','',1);
INSERT INTO "tally" VALUES('default','attempts','failed','',1);
INSERT INTO "tally" VALUES('default','attempts','unknown','',1);
INSERT INTO "tally" VALUES('default','dismissals','clutter','testing',1);
INSERT INTO "tally" VALUES('default','observed','watch','not_relevant',3);
CREATE TABLE veto (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
INSERT INTO "veto" VALUES('default','kept','2026-03-01T00:00:00.000000Z');
CREATE INDEX dismissal_by_task ON dismissal (workspace, task_id);
CREATE INDEX dismissal_by_time ON dismissal (workspace, decided_at);
CREATE INDEX dismissal_open ON dismissal (workspace)
    WHERE outcome IS NULL OR outcome = 'unknown';
COMMIT;
