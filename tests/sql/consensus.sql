-- Risk limits by consensus: bootstrap_agents, propose, vote. $SIGN NAME signs the text in $TEXT with the key of an agent.

\set ada '''a0a0a0a0-0000-4000-8000-000000000001'''
\set ben '''b0b0b0b0-0000-4000-8000-000000000002'''
\set cyd '''c0c0c0c0-0000-4000-8000-000000000003'''
\set ada_key `$SIGN ada public`
\set ben_key `$SIGN ben public`
\set cyd_key `$SIGN cyd public`

--
-- Three agents sign the list of all of them. The owner enrols them, once.
--
select jsonb_agg(jsonb_build_object('agent_id', id, 'name', name, 'role', 'risk', 'public_key', key)) as agents
from (values (:ada, 'ada', :'ada_key'), (:ben, 'ben', :'ben_key'), (:cyd, 'cyd', :'cyd_key')) as a(id, name, key) \gset
select bootstrap_message(:'agents') as text \gset
\setenv TEXT :text
\set ada_signature `$SIGN ada`
\set ben_signature `$SIGN ben`
\set cyd_signature `$SIGN cyd`
select jsonb_agg(a.value || jsonb_build_object('signature', case a.value ->> 'name' when 'ada' then :'ada_signature'
                                                            when 'ben' then :'ben_signature' else :'ada_signature' end)) as agents
from jsonb_array_elements(:'agents') as a \gset wrong_
select name from bootstrap_agents(:'wrong_agents');
select jsonb_agg(a.value || jsonb_build_object('signature', case a.value ->> 'name' when 'ada' then :'ada_signature'
                                                            when 'ben' then :'ben_signature' else :'cyd_signature' end)) as agents
from jsonb_array_elements(:'agents') as a \gset right_
select name, role from bootstrap_agents(:'right_agents');
select name from bootstrap_agents(:'right_agents');

--
-- Ada proposes the first limits: she signs the exact text.
--
set role app_risk;
select ed25519_verify(decode(:'ada_key', 'hex'), convert_to(:'text', 'UTF8'), decode(:'ada_signature', 'hex')) as is_adas,
       ed25519_verify(decode(:'ben_key', 'hex'), convert_to(:'text', 'UTF8'), decode(:'ada_signature', 'hex')) as is_bens;
\set proposal '''11111111-1111-4111-8111-111111111111'''
\set limits '''{"max_position_size_pct": "0.05", "daily_drawdown_limit_pct": "0.03", "max_leverage_ratio": "2"}'''
\set expires '''2999-01-01T00:00:00Z'''
select proposal_message(:proposal, 'risk_config', :limits, 'the first limits', :ada, :expires) as text \gset
\pset format unaligned
\pset tuples_only on
select :'text';
\pset tuples_only off
\pset format aligned
\setenv TEXT :text
\set ben_signature `$SIGN ben`
select kind from propose(:proposal, 'risk_config', :limits, 'the first limits', :ada, :expires, decode(:'ben_signature', 'hex'));
\set ada_signature `$SIGN ada`
select kind from propose(:proposal, 'risk_config', :limits, 'the first limits', :ada, :expires, decode(:'ada_signature', 'hex'));
select * from proposal_progress(:proposal);

--
-- Ben approves, and votes once more; then Ada, who may not approve her own; then Cyd, who completes the quorum.
--
\set at '''2026-01-25T12:30:00.000000Z'''
select approval_message(:proposal, :ben, 'APPROVE', :at) as text \gset
\setenv TEXT :text
\set signature `$SIGN ben`
select vote(:proposal, :ben, 'APPROVE', :at, decode(:'signature', 'hex'));
select vote(:proposal, :ben, 'APPROVE', :at, decode(:'signature', 'hex'));
select vote(:proposal, :cyd, 'APPROVE', :at, decode(:'signature', 'hex'));
select approval_message(:proposal, :ada, 'APPROVE', :at) as text \gset
\setenv TEXT :text
\set signature `$SIGN ada`
select vote(:proposal, :ada, 'APPROVE', :at, decode(:'signature', 'hex'));
select * from proposal_progress(:proposal);
select approval_message(:proposal, :cyd, 'APPROVE', :at) as text \gset
\setenv TEXT :text
\set signature `$SIGN cyd`
select * from proposal_changes(:proposal);
select name, decision, counts, may_vote from proposal_voters(:proposal);
select vote(:proposal, :cyd, 'APPROVE', :at, decode(:'signature', 'hex'));
select * from proposal_progress(:proposal);

--
-- The limits are in force; each source of their hash says the same, and the signed evidence is there for anybody.
--
select version, max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio from risk_configurations;
select version, encode(sha256(convert_to(state_text, 'UTF8')), 'hex') = state_hash as hash_is_right, is_locked from active_risk_state();
select source, is_valid, detail from verify_config_integrity();
select version, kind, reason, jsonb_array_length(approvals) as approvals from risk_evidence();
select name, replaces, revoked_at from agent_keys();

--
-- A proposal for another state, a payload that lacks limits, and a vote on nothing.
--
\set other '''22222222-2222-4222-8222-222222222222'''
select kind from propose(:other, 'risk_config', :limits, 'again', :ada, :expires, decode(:'ada_signature', 'hex'), repeat('0', 64));
\set few '\'{"max_leverage_ratio": "2.5"}\''
select proposal_message(:other, 'risk_config', :few, 'one limit', :ada, :expires) as text \gset
\setenv TEXT :text
\set signature `$SIGN ada`
select kind from propose(:other, 'risk_config', :few, 'one limit', :ada, :expires, decode(:'signature', 'hex'));
select approval_message(:other, :ben, 'APPROVE', :at) is null as there_is_no_such_proposal;
