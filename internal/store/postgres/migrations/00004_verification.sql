-- Whether the receiver of an endpoint agreed to get deliveries. Endpoints of before need
-- no verification.

-- +goose Up
ALTER TABLE endpoints ADD COLUMN verification bigint NOT NULL DEFAULT 0; -- hook.VerificationState
ALTER TABLE endpoints ADD COLUMN verification_event bytea; -- the latest challenge; NULL: none
ALTER TABLE endpoints ADD COLUMN verified_at bigint NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN verification_attempt_at bigint NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN verification_reason text COLLATE "C" NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE endpoints DROP COLUMN verification_reason;
ALTER TABLE endpoints DROP COLUMN verification_attempt_at;
ALTER TABLE endpoints DROP COLUMN verified_at;
ALTER TABLE endpoints DROP COLUMN verification_event;
ALTER TABLE endpoints DROP COLUMN verification;
