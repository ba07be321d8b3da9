-- What the writing functions return: the stored row, and whether it is new
--
-- is_new is false for a retry that found the row there already. A type has the columns of its table, each without the
-- length and the bounds that the table gives it: a column that is widened later changes nothing here.

create type recorded_signal as (
  id              bigint,
  correlation_id  uuid,
  signal_id       text,
  symbol          text,
  side            text,
  price           numeric,
  quantity        numeric,
  raw_payload     jsonb,
  source_ip       inet,
  hmac_verified   boolean,
  delivery_id     bigint,
  row_hash        text,
  created_at      timestamptz,
  recorded_by     text,
  is_new          boolean
);
comment on type recorded_signal is 'A row of signals, and whether this call recorded it.';

create type recorded_ai_debate as (
  id                bigint,
  correlation_id    uuid,
  model_name        text,
  reasoning_json    jsonb,
  confidence_score  numeric,
  elapsed_ms        integer,
  is_timeout        boolean,
  model_version     text,
  row_hash          text,
  created_at        timestamptz,
  recorded_by       text,
  is_new            boolean
);
comment on type recorded_ai_debate is 'A row of ai_debates, and whether this call recorded it: always true.';

create type recorded_order as (
  id                 bigint,
  correlation_id     uuid,
  order_type         text,
  symbol             text,
  side               text,
  quantity           numeric,
  price              numeric,
  exchange_order_id  text,
  status             text,
  client_order_id    text,
  stop_price         numeric,
  decision_maker     text,
  exchange_status    text,
  row_hash           text,
  created_at         timestamptz,
  recorded_by        text,
  is_new             boolean
);
comment on type recorded_order is 'A row of order_execution, and whether this call recorded it.';

create type recorded_order_event as (
  id                   bigint,
  order_execution_id   bigint,
  event_type           text,
  fill_quantity        numeric,
  fill_price           numeric,
  zar_equity           numeric,
  positions_closed     jsonb,
  rejection_reason     text,
  exchange_error_code  text,
  exchange_event_id    text,
  exchange_status      text,
  row_hash             text,
  created_at           timestamptz,
  recorded_by          text,
  is_new               boolean
);
comment on type recorded_order_event is 'A row of order_events, and whether this call recorded it.';

create type recorded_webhook as (
  id            bigint,
  body          jsonb,
  body_problem  text,
  is_whole      boolean,
  body_size     bigint,
  body_sha256   text,
  row_hash      text,
  created_at    timestamptz,
  recorded_by   text,
  is_new        boolean
);
comment on type recorded_webhook is
  'What became of a delivery: its body as jsonb, or why it is none; whether the whole body is kept; and is_new, always '
  'true, because every delivery is a row.';

-- Every column is described in the words of its table's column, so that they are written down once.
create function _comment_result(result text, stored text) returns void
language plpgsql
set search_path from current
as $function$
declare
  item record;
begin
  for item in
    select a.attname, coalesce(col_description(c.attrelid, c.attnum), case a.attname
      when 'is_new'       then 'Whether this call recorded the row; false for a retry.'
      when 'body'         then 'The body as jsonb; null if it is no JSON that PostgreSQL can hold.'
      when 'body_problem' then 'Why body is null; null if it is not.'
      when 'is_whole'     then 'Whether the whole body is kept; false for one over 1 MiB.' end) as words
    from pg_attribute as a
    left join pg_attribute as c on c.attrelid = stored::regclass and c.attname = a.attname
    where a.attrelid = result::regclass and a.attnum > 0
  loop
    execute format('comment on column %I.%I is %L', result, item.attname, item.words);
  end loop;
end
$function$;
comment on function _comment_result is
  'Describes the columns of a result''s type in the words of its table''s columns.';

select _comment_result('recorded_webhook',     'webhook_deliveries'),
       _comment_result('recorded_signal',      'signals'),
       _comment_result('recorded_ai_debate',   'ai_debates'),
       _comment_result('recorded_order',       'order_execution'),
       _comment_result('recorded_order_event', 'order_events');
