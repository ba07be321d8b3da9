-- Takes back 002_audit_tables. Refuses while an audit table holds rows.

do $rollback$
begin
perform begin_rollback('002_audit_tables');

drop function open_damage(), lockdown_status(), acknowledged_damage(), _release_holds(lockdown_events);
drop table order_events, order_execution, ai_debates, signals, lockdown_events, maintenance_events;

perform finish_rollback('002_audit_tables');
end
$rollback$;
