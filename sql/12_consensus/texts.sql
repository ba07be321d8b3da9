-- The texts that agents sign (docs/risk.md)
--
-- One field a line, each value escaped as JSON, so that people can read what they sign, and no value can pretend to be
-- another line. A signature is of the text's UTF-8 bytes, its last line feed included. The texts are fixed: a change to
-- one would make every earlier signature invalid. They name the installation (origin), so that a signature for one
-- installation is worth nothing at another.
--
-- In this order: what may stand in a text; the texts of a proposal, a vote and the bootstrap; times; digest; signature.
-- CHECK constraints call most of these functions, so each pins its search_path.

create function _is_plain_text(value text) returns boolean
language sql immutable parallel safe
set search_path from current
as $function$
  -- No bidi or zero-width characters, no separators that some programs show as a new line, no other invisible ones.
  select value !~ E'['
    '\\u007F-\\u009F\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u2028-\\u202E'
    '\\u2060-\\u206F\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\uFFF9-\\uFFFB\\U0001BCA0-\\U0001BCA3\\U0001D173-\\U0001D17A'
    '\\U000E0000-\\U000E0FFF]';
$function$;
comment on function _is_plain_text is
  'Whether a text shows all that it says: no bidi, zero-width or invisible control characters.';

create function _signed_time(moment timestamptz) returns text
language sql immutable parallel safe
set search_path from current
as $function$
  select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
$function$;
comment on function _signed_time is
  'A time as signed texts print it: UTC, always six digits, 2026-01-25T12:00:00.123456Z.';

create function _proposal_text(
  origin text, proposal_id uuid, kind text, previous text, payload jsonb, reason text, proposer uuid,
  expires_at timestamptz
) returns text
language sql immutable parallel safe
set search_path from current
as $function$
  select E'alpha-db/proposal/v1\n'
      || 'origin: '   || to_json(origin)                || E'\n'
      || 'kind: '     || to_json(kind)                  || E'\n'
      || 'proposal: ' || to_json(proposal_id::text)     || E'\n'
      || 'previous: ' || to_json(previous)              || E'\n'
      || 'payload: '  || payload::text                  || E'\n'
      || 'reason: '   || to_json(reason)                || E'\n'
      || 'proposer: ' || to_json(proposer::text)        || E'\n'
      || 'expires: '  || to_json(_signed_time(expires_at)) || E'\n';
$function$;
comment on function _proposal_text is 'The exact text of a proposal, whose UTF-8 bytes the proposer signs.';

create function _approval_text(origin text, decision text, digest text, agent_id uuid, signed_at timestamptz)
returns text
language sql immutable parallel safe
set search_path from current
as $function$
  select E'alpha-db/approval/v1\n'
      || 'origin: '    || to_json(origin)              || E'\n'
      || 'decision: '  || to_json(decision)            || E'\n'
      || 'digest: '    || to_json(digest)              || E'\n'
      || 'agent: '     || to_json(agent_id::text)      || E'\n'
      || 'signed_at: ' || to_json(_signed_time(signed_at)) || E'\n';
$function$;
comment on function _approval_text is 'The exact text of a vote, whose UTF-8 bytes the agent signs.';

create function _bootstrap_text(origin text, agents jsonb) returns text
language sql immutable parallel safe
set search_path from current
as $function$
  -- In the order of the ids, so that all who have the same agents sign the same text.
  select E'alpha-db/bootstrap/v1\n'
      || 'origin: ' || to_json(origin) || E'\n'
      || coalesce(string_agg(
           'agent: ' || jsonb_build_object('agent_id', a.value -> 'agent_id', 'name', a.value -> 'name',
                                           'role', a.value -> 'role', 'public_key', a.value -> 'public_key')::text
                     || E'\n',
           '' order by a.value ->> 'agent_id' collate "C"), '')
  from jsonb_array_elements(case when jsonb_typeof(agents) = 'array' then agents else '[]' end) as a;
$function$;
comment on function _bootstrap_text is 'The exact text of a bootstrap, whose UTF-8 bytes each of its agents signs.';

create function _is_readable_time(moment timestamptz) returns boolean
language sql immutable parallel safe
set search_path from current
as $function$
  -- A day from either end, because a time zone can push a time over it.
  select coalesce(moment at time zone 'UTC' >= timestamp '0001-01-02 00:00:00'
              and moment at time zone 'UTC' <  timestamp '9999-12-31 00:00:00', false);
$function$;
comment on function _is_readable_time is
  'Whether every client can read a time back, in every time zone: finite, and in the years 1 to 9999.';

create function _text_digest(value text) returns text
language sql immutable parallel safe
set search_path from current
as $function$
  select encode(sha256(convert_to(value, 'UTF8')), 'hex');
$function$;
comment on function _text_digest is 'SHA-256 of the UTF-8 bytes of a text, in hex.';

create function _signs(public_key bytea, message text, signature bytea) returns boolean
language sql immutable parallel safe
set search_path from current
as $function$
  select ed25519_verify(public_key, convert_to(message, 'UTF8'), signature);
$function$;
comment on function _signs is 'Whether the signature is the key''s for the UTF-8 bytes of the text.';
