-- What the trading applications read: the limits that hold now, and the evidence for each change of them

create function active_risk_state()
returns table (version bigint, state_text text, state_hash text, origin text, is_locked boolean, read_at timestamptz,
               limits_valid_from timestamptz)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  -- One statement, one snapshot: what it returns belongs together.
  select (s.text::jsonb ->> 'version')::bigint, s.text, _text_digest(s.text), _installation_origin(),
         (select l.is_locked from lockdown_status() as l), clock_timestamp(),
         (select c.valid_from from only risk_configurations as c where c.valid_to is null)
  from (select _stored_state_text() as text) as s;
$function$;
comment on function active_risk_state is
  'The current risk state as canonical text with its hash and version, and whether the lockdown is engaged: one row, '
  'one consistent read.';

create function risk_evidence(since_version bigint default 0)
returns table (version bigint, kind text, previous text, state_text text, state_hash text, proposal_text text,
               proposer uuid, proposer_key text, proposal_signature text, reason text, payload jsonb, approved_by uuid,
               approvals jsonb, applied_at timestamptz)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select c.version, c.kind::text, c.previous::text, c.state_text, c.state_hash::text, p.signed_text, p.proposer,
         encode(p.proposer_key, 'hex'), encode(p.signature, 'hex'), p.reason, p.payload, c.approved_by, c.approvals,
         c.created_at
  from only risk_change_log as c
  join only proposals as p on p.proposal_id = c.proposal_id
  where c.version > coalesce(since_version, 0)
  order by c.version;
$function$;
comment on function risk_evidence is
  'Every applied change after a version (null: all), with the signed texts and signatures by which anyone can check it '
  'without trusting this database.';

select _grant('select on', '{risk_configurations, risk_asset_kill_thresholds}', '{app_risk, app_auditor}');
select _grant('execute on routine', '{active_risk_state, risk_evidence, verify_config_integrity}',
              '{app_trading, app_auditor, app_risk}');
