-- A column of a view that has no comment of its own says what the column behind it says.

do $comments$
declare
  item  record;
begin
  for item in
    select v.relname as view_name, a.attname as column_name, col_description(b.attrelid, b.attnum) as what
    from (values ('order_', 'order_execution'), ('event_', 'order_events'), ('', 'signals')) as s(prefix, table_name)
    join pg_class as v on v.oid in ('vw_trade_audit_full'::regclass, 'vw_kill_switch_events'::regclass)
    join pg_attribute as a on a.attrelid = v.oid and a.attnum > 0 and starts_with(a.attname::text, s.prefix)
    join pg_attribute as b on b.attrelid = s.table_name::regclass
                          and b.attname in (a.attname, substr(a.attname, length(s.prefix) + 1))
    where col_description(a.attrelid, a.attnum) is null
  loop
    execute format('comment on column %I.%I is %L', item.view_name, item.column_name, item.what);
  end loop;
end
$comments$;
