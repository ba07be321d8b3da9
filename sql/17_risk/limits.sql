-- Risk limits and kill thresholds, versioned in time
--
-- The tables are a projection of risk_change_log, which can replay them. There is at most one current row, no overlap
-- and no gap: a version has no end (valid_to) as long as it holds, each version but the first begins where the one
-- before it ended (prev_to, a foreign key to that row's valid_to), and each end exists once.

create table risk_configurations (
  id                        uuid         not null  default gen_random_uuid(),
  max_position_size_pct     risk_5_4     not null  default 0.01,
  daily_drawdown_limit_pct  risk_5_4     not null  default 0.03,
  max_leverage_ratio        risk_5_2     not null  default 1.0,
  reason_for_change         text         not null,
  approved_by_agent_id      uuid         not null,
  valid_from                timestamptz  not null,
  valid_to                  timestamptz  null,
  prev_to                   timestamptz  null,
  version                   bigint       not null,
  proposal_id               uuid         not null,
  state_hash                char(64)     not null,
  created_at                timestamptz  not null  default clock_timestamp(),
  constraint risk_configurations_pkey primary key (id),
  constraint idx_active_config unique nulls not distinct (valid_to),
  constraint risk_configurations_valid_from_key unique (valid_from),
  constraint risk_configurations_prev_to_key unique nulls not distinct (prev_to),
  constraint risk_configurations_version_key unique (version),
  constraint risk_configurations_prev_to_fkey foreign key (prev_to)
    references risk_configurations (valid_to) deferrable initially deferred,
  constraint risk_configurations_begins_at_prev_to check (prev_to is null or prev_to = valid_from),
  constraint risk_configurations_ends_after_it_begins check (valid_to > valid_from),
  constraint risk_configurations_is_finite check (isfinite(valid_from) and (valid_to is null or isfinite(valid_to))),
  constraint risk_configurations_max_position_size_pct_bounds
    check (max_position_size_pct >= 0 and max_position_size_pct <= 1),
  constraint risk_configurations_daily_drawdown_limit_pct_bounds
    check (daily_drawdown_limit_pct >= 0 and daily_drawdown_limit_pct <= 1),
  constraint risk_configurations_max_leverage_ratio_bounds
    check (max_leverage_ratio >= 0 and max_leverage_ratio <= 100),
  constraint risk_configurations_approved_by_fkey foreign key (approved_by_agent_id) references agents (agent_id),
  constraint risk_configurations_proposal_id_fkey foreign key (proposal_id) references proposals (proposal_id)
);
comment on table risk_configurations is
  'Risk limits, a row for each version; the row without valid_to is the current one. Changed only by approved '
  'proposals.';
comment on column risk_configurations.id                       is 'Identity of the version.';
comment on column risk_configurations.max_position_size_pct is
  'Largest position as a share of equity, 0 to 1. Safe direction: down.';
comment on column risk_configurations.daily_drawdown_limit_pct is
  'Largest loss of a day as a share of equity, 0 to 1. Safe direction: down.';
comment on column risk_configurations.max_leverage_ratio       is 'Highest leverage, 0 to 100. Safe direction: down.';
comment on column risk_configurations.reason_for_change        is 'The proposal''s reason.';
comment on column risk_configurations.approved_by_agent_id     is 'The agent whose approval completed the quorum.';
comment on column risk_configurations.valid_from               is 'From when it holds.';
comment on column risk_configurations.valid_to                 is 'Until when it held; null: it holds.';
comment on column risk_configurations.prev_to is
  'valid_to of the version before, equal to valid_from; null for the first.';
comment on column risk_configurations.version                  is 'Version of the state that brought it.';
comment on column risk_configurations.proposal_id              is 'The approved proposal.';
comment on column risk_configurations.state_hash               is 'Hash of that state.';
comment on column risk_configurations.created_at               is 'When the row was written.';

create table risk_asset_kill_thresholds (
  id                    uuid         not null  default gen_random_uuid(),
  asset                 varchar(20)  not null,
  kill_loss_pct         risk_5_4     not null,
  kill_price            risk_28_10   null,
  retired               boolean      not null  default false,
  reason_for_change     text         not null,
  approved_by_agent_id  uuid         not null,
  valid_from            timestamptz  not null,
  valid_to              timestamptz  null,
  prev_to               timestamptz  null,
  version               bigint       not null,
  proposal_id           uuid         not null,
  state_hash            char(64)     not null,
  created_at            timestamptz  not null  default clock_timestamp(),
  constraint risk_asset_kill_thresholds_pkey primary key (id),
  constraint risk_asset_kill_thresholds_asset_valid_to_key unique nulls not distinct (asset, valid_to),
  constraint risk_asset_kill_thresholds_asset_valid_from_key unique (asset, valid_from),
  constraint risk_asset_kill_thresholds_asset_prev_to_key unique nulls not distinct (asset, prev_to),
  constraint risk_asset_kill_thresholds_version_key unique (version),
  constraint risk_asset_kill_thresholds_prev_to_fkey foreign key (asset, prev_to)
    references risk_asset_kill_thresholds (asset, valid_to) deferrable initially deferred,
  constraint risk_asset_kill_thresholds_begins_at_prev_to check (prev_to is null or prev_to = valid_from),
  constraint risk_asset_kill_thresholds_ends_after_it_begins check (valid_to > valid_from),
  constraint risk_asset_kill_thresholds_is_finite
    check (isfinite(valid_from) and (valid_to is null or isfinite(valid_to))),
  constraint risk_asset_kill_thresholds_asset_is_given check (btrim(asset::text) <> ''::text),
  constraint risk_asset_kill_thresholds_kill_loss_pct_bounds check (kill_loss_pct >= 0 and kill_loss_pct <= 1),
  constraint risk_asset_kill_thresholds_kill_price_bounds check (kill_price > 0),
  constraint risk_asset_kill_thresholds_approved_by_fkey foreign key (approved_by_agent_id)
    references agents (agent_id),
  constraint risk_asset_kill_thresholds_proposal_id_fkey foreign key (proposal_id) references proposals (proposal_id)
);
comment on table risk_asset_kill_thresholds is
  'Kill thresholds for each asset, a row for each version. Changed only by approved proposals.';
comment on column risk_asset_kill_thresholds.id                   is 'Identity of the version.';
comment on column risk_asset_kill_thresholds.asset                is 'The asset.';
comment on column risk_asset_kill_thresholds.kill_loss_pct is
  'Loss, as a share, at which the position is killed. Safe direction: down.';
comment on column risk_asset_kill_thresholds.kill_price is
  'Price at which the position is killed; null: none.';
comment on column risk_asset_kill_thresholds.retired              is 'True for the row that ends a threshold.';
comment on column risk_asset_kill_thresholds.reason_for_change    is 'The proposal''s reason.';
comment on column risk_asset_kill_thresholds.approved_by_agent_id is 'The agent whose approval completed the quorum.';
comment on column risk_asset_kill_thresholds.valid_from           is 'From when it holds.';
comment on column risk_asset_kill_thresholds.valid_to             is 'Until when it held; null: it holds.';
comment on column risk_asset_kill_thresholds.prev_to is
  'valid_to of the version before, equal to valid_from; null for the first.';
comment on column risk_asset_kill_thresholds.version              is 'Version of the state that brought it.';
comment on column risk_asset_kill_thresholds.proposal_id          is 'The approved proposal.';
comment on column risk_asset_kill_thresholds.state_hash           is 'Hash of that state.';
comment on column risk_asset_kill_thresholds.created_at           is 'When the row was written.';
