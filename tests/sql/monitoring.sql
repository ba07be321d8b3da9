-- metrics, costly_metrics and watch_events: what a monitor asks.

insert into signals (signal_id, symbol, side, price, quantity, raw_payload)
select 's-' || n, 'BTCUSDT', 'BUY', 1, 1, '{}' from generate_series(1, 3) as n;

--
-- The figures of this moment, in Prometheus' words. Nobody has verified anything yet.
--
set role app_auditor;
select name, value from metrics()
where labels = '{}' and name ~ 'locked|verification|checkpoint|proposals|recovery' order by name;
select name, value from metrics() where labels ->> 'table' = 'signals' and name ~ 'rows_total|clock|readable' order by name;
select count(*) as parts, min(value) as all_up from metrics() where name = 'alpha_db_part_up';

--
-- The costly ones.
--
select name, labels, value from costly_metrics() where name ~ 'guards|lockdown' order by name;
select labels ->> 'verdict' as verdict from costly_metrics()
where name = 'alpha_db_verdict_info' and labels ->> 'table' = 'signals';

--
-- A verification that was recorded, damage that another one found, and what it says since.
--
select record_verification(true, '{"signals": 2}', 2);
select labels ->> 'verdict' as verdict from costly_metrics()
where name = 'alpha_db_verdict_info' and labels ->> 'table' = 'signals';
select verdict from verify_checkpoint('signals', 1, sha256('another book'));
select name, value from metrics() where name ~ 'locked|verification_runs' order by name;
select name, labels ->> 'verdict' as verdict, value from costly_metrics()
where name ~ 'damaged|verdict' and labels ->> 'table' = 'signals' order by name;

--
-- What happened, and what happened after that.
--
select table_name, id, event, what, detail ->> 'damaged_places' as places from watch_events('{}');
select count(*) from watch_events('{"lockdown_events": 1}');

--
-- A part that cannot be read takes no other with it.
--
reset role;
alter table checkpoint_runs rename to runs;
set role app_auditor;
select name, labels, value from metrics() where labels ->> 'part' in ('checkpoints', 'lockdown') order by name, labels;
