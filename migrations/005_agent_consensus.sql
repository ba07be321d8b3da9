-- 005_agent_consensus: agents with Ed25519 keys, proposals and votes as signed text, and the quorum that applies a change.
-- Built from sql/ by bin/build; change it there.
-- depends: 004_security_hardening

-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('005_agent_consensus') then return; end if;

-- sql/11_ed25519/points.sql

-- Ed25519 in plain SQL, first part: numbers modulo p, and the points of the curve
--
-- PostgreSQL has SHA-512 and exact numbers of any size; Ed25519 needs nothing else. The names are those of RFC 8032,
-- section 5.1:
--
--   p           2^255 - 19; every coordinate is a number modulo p
--   d           the constant of the curve -x^2 + y^2 = 1 + d x^2 y^2
--   sqrt(-1)    a square root of -1 modulo p
--   B, L        the base point, and its order (in verify.sql)
--   x, y        a point. Its encoding is 32 bytes: y, lowest byte first, with the lowest bit of x as the highest bit.
--   x, y, z, t  extended coordinates, in which a sum needs no division. The RFC writes them X, Y, Z, T: the point is
--               (X/Z, Y/Z), and T is XY/Z.
--
-- There are two ways to reduce a number n modulo p. `n % p` is PostgreSQL's own. `n - p * trunc(n * q)`, where q is 1/p
-- to 160 decimals, is faster. Its result is congruent to n, hardly larger than p, and has the sign of n; that is good
-- enough between two multiplications, and the last step brings the result into 0 to p - 1. The code uses the second way
-- where a verification spends its time, and writes it out there: a call of a function costs as much as a
-- multiplication.
--
-- CHECK constraints call these functions, so each pins its search_path.

create function _ed25519_power_250(z numeric) returns numeric
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p          constant numeric   := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  q          constant numeric   :=
    1.72723371101888892507727037256007991422320007288725627700474069403371836063305224548e-77;
  squarings  constant integer[] := '{1,2,1,5,10,20,10,50,100,50}';
  factor     constant integer[] := '{1,2,1,4,5,6,5,8,9,8}';
  powers     numeric[] := array[z];
  x          numeric   := z;
begin
  -- z^(2^2-1), z^(2^4-1), z^(2^5-1), z^(2^10-1) … z^(2^250-1): each is the one before, squared, times an earlier one.
  for step in 1..10 loop
    for i in 1..squarings[step] loop
      x := x * x;
      x := x - p * trunc(x * q);
    end loop;
    x := x * powers[factor[step]];
    x := x - p * trunc(x * q);
    powers := powers || x;
  end loop;
  return x;
end
$function$;
comment on function _ed25519_power_250 is
  'z^(2^250-1) modulo p, the common part of the inverse and of the square root (RFC 8032, 5.1).';
create function _ed25519_little_endian(bytes bytea) returns numeric
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  n numeric := 0;
begin
  for i in reverse length(bytes) - 1 .. 0 loop
    n := n * 256 + get_byte(bytes, i);
  end loop;
  return n;
end
$function$;
comment on function _ed25519_little_endian is
  'Bytes as a number, the lowest byte first.';
create function _ed25519_decode_point(encoded bytea) returns numeric[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p        constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  d        constant numeric := 37095705934669439343138083508754565189542113879843219016388785533085940283555;
  sqrt_m1  constant numeric := 19681161376707505956807079304988542015446066515923890162744021073123829784752;
  x_0      integer;
  y        numeric;
  u        numeric;
  v        numeric;
  x        numeric;
  w        numeric;
begin
  if encoded is null or length(encoded) <> 32 then
    return null;
  end if;
  -- RFC 8032, 5.1.3. Step 1: x_0 is the lowest bit of x.
  x_0 := get_byte(encoded, 31) >> 7;
  y := _ed25519_little_endian(set_byte(encoded, 31, get_byte(encoded, 31) & 127));
  if y >= p then
    return null;  -- not canonical
  end if;
  -- Step 2: x^2 = u/v, where u = y^2 - 1 and v = d y^2 + 1. The candidate for x is u v^3 (u v^7)^((p-5)/8).
  u := (y * y - 1) % p;
  v := (d * (y * y % p) + 1) % p;
  w := u * (v * v % p * v % p) % p * (v * v % p * (v * v % p) % p) % p;  -- u v^7; (p-5)/8 = 4 (2^250 - 1) + 1
  x := _ed25519_power_250(w);
  x := x * x % p;
  x := x * x % p * w % p;
  x := x * u % p * (v * v % p * v % p) % p;
  -- Step 3: v x^2 is u, and x is right; or it is -u, and x times sqrt(-1) is; or there is no square root.
  w := v * (x * x % p) % p;
  if w <> u then
    if (w + u) % p <> 0 then
      return null;  -- not on the curve
    end if;
    x := x * sqrt_m1 % p;
  end if;
  -- Step 4: of the two roots, the one that x_0 says.
  if x < 0 then
    x := x + p;
  end if;
  if x = 0 and x_0 = 1 then
    return null;
  end if;
  if x % 2 <> x_0 then
    x := p - x;
  end if;
  return array[x, y];
end
$function$;
comment on function _ed25519_decode_point is
  'The point (x, y) of an encoding (RFC 8032, 5.1.3); null unless the encoding is canonical and the point on the '
  'curve.';
create function _ed25519_is_small_order(encoded bytea) returns boolean
language sql immutable parallel safe
set search_path from current
as $function$
  -- All eight points of small order; other encodings of them are not canonical and do not decode.
  select encode(encoded, 'hex') in (
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0000000000000000000000000000000000000000000000000000000000000080',
    '0100000000000000000000000000000000000000000000000000000000000000',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f');
$function$;
comment on function _ed25519_is_small_order is
  'Whether the encoding is one of the eight points of small order.';
create function _ed25519_key_is_weak(public_key bytea) returns boolean
language sql immutable parallel safe
set search_path from current
as $function$
  select public_key is null or _ed25519_decode_point(public_key) is null or _ed25519_is_small_order(public_key);
$function$;
comment on function _ed25519_key_is_weak is
  'Whether a public key must not be enrolled: malformed, not canonical, not on the curve, or of small order.';
create function _ed25519_add(p1 numeric[], p2 numeric[]) returns numeric[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  -- X1, Y1, Z1, T1 are p1[1] to p1[4]; X3, Y3, Z3, T3 are E F, G H, F G, E H.
  p    constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  d_2  constant numeric := 16295367250680780974490674513165176452449235426866156013048779062215315747161;  -- 2 d
  a    numeric := (p1[2] - p1[1]) * (p2[2] - p2[1]);
  b    numeric := (p1[2] + p1[1]) * (p2[2] + p2[1]);
  c    numeric := p1[4] * d_2 % p * p2[4];
  d    numeric := 2 * p1[3] * p2[3];
  e    numeric := (b - a) % p;
  f    numeric := (d - c) % p;
  g    numeric := (d + c) % p;
  h    numeric := (b + a) % p;
begin
  return array[e * f % p, g * h % p, f * g % p, e * h % p];
end
$function$;
comment on function _ed25519_add is
  'The sum of two points in extended coordinates (RFC 8032, 5.1.4).';

-- sql/11_ed25519/verify.sql

-- Ed25519 in plain SQL, second part: verifying a signature (RFC 8032, 5.1.7)
--
-- A signature is 64 bytes: R, an encoded point, then S, a number. It is valid for a message M and the key A if
--
--   [S]B = R + [k]A, where k = SHA-512(R || A || M)
--
-- ed25519_verify computes [S]B - [k]A and compares its encoding with R, bit by bit. That is the equation without the
-- cofactor, and strict: S must be below L, A and R must be canonical, and neither may be a point of small order. With
-- these rules a signature cannot be altered into another valid one, and every implementation that keeps them agrees;
-- python/alpha_db/security/ed25519.py does.
--
-- In this order: the table of small multiples, the digits of S and k, the double multiplication, the division by z,
-- and ed25519_verify, which uses all four. A verification takes a few milliseconds, nearly all of it in the
-- double multiplication. There is no secret here, so the time may depend on the data.

create function _ed25519_small_multiples(a numeric[], b numeric[]) returns numeric[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p       constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  d_2     constant numeric := 16295367250680780974490674513165176452449235426866156013048779062215315747161;  -- 2 d
  row_of  numeric[] := array[0, 1, 1, 0];
  entry   numeric[];
  table_  numeric[] := '{}';
begin
  for i in 0..3 loop
    entry := row_of;
    for j in 0..3 loop
      table_ := table_ || array[(entry[2] + entry[1]) % p, (entry[2] - entry[1]) % p, entry[4] * d_2 % p,
                                2 * entry[3] % p];
      entry := _ed25519_add(entry, b);
    end loop;
    row_of := _ed25519_add(row_of, a);
  end loop;
  return table_;
end
$function$;
comment on function _ed25519_small_multiples is
  'i A + j B for i and j from 0 to 3: at 4 (4 i + j) + 1 and the three places after it Y + X, Y - X, 2 d T and 2 Z, '
  'which is what an addition needs.';
create function _ed25519_digits(s numeric, k numeric) returns integer[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  limb    constant numeric := 4503599627370496;  -- 2^52, what a bigint takes at a time
  s_limb  bigint;
  k_limb  bigint;
  digits  integer[] := '{}';
begin
  for i in 1..5 loop
    s_limb := s % limb;
    k_limb := k % limb;
    s := div(s, limb);
    k := div(k, limb);
    for j in 0..25 loop
      digits := digits || (4 * ((k_limb >> (2 * j)) & 3) + ((s_limb >> (2 * j)) & 3))::integer;
    end loop;
  end loop;
  return digits;
end
$function$;
comment on function _ed25519_digits is
  'Two bits of k and two of s at a time, lowest first, as 4 i + j: 130 digits, 0 to 15.';
-- Longer than other functions, and its arithmetic written out, because each call in the loop would be made 260 times.
create function _ed25519_multiply_and_add(digits integer[], table_ numeric[]) returns numeric[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p        constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  q        constant numeric :=
    1.72723371101888892507727037256007991422320007288725627700474069403371836063305224548e-77;
  place    integer;
  x        numeric := 0;
  y        numeric := 1;
  z        numeric := 1;
  t        numeric := 0;
  e        numeric;
  f        numeric;
  g        numeric;
  h        numeric;
  started  boolean := false;  -- until the first digit that is not 0, doubling would only double the neutral point
begin
  for i in reverse 130..1 loop
    place := 4 * digits[i];
    if started then
      -- Twice the point, twice (5.1.4). e and g have the other sign than in the RFC, which gives the same point.
      for j in 1..2 loop
        e := x * x;
        f := y * y;
        h := e + f;
        h := h - p * trunc(h * q);
        g := f - e;
        g := g - p * trunc(g * q);
        e := 2 * x * y;
        e := e - p * trunc(e * q);
        f := 2 * z * z - g;
        f := f - p * trunc(f * q);
        x := e * f;
        x := x - p * trunc(x * q);
        y := g * h;
        y := y - p * trunc(y * q);
        z := f * g;
        z := z - p * trunc(z * q);
      end loop;
      if place = 0 then
        continue;
      end if;
      t := e * h;  -- doubling does not need it, only an addition does
      t := t - p * trunc(t * q);
    end if;
    if place > 0 then
      -- Plus the entry of the table (5.1.4).
      e := (y - x) * table_[place + 2];
      f := (y + x) * table_[place + 1];
      h := e + f;
      h := h - p * trunc(h * q);
      e := f - e;
      e := e - p * trunc(e * q);
      t := t * table_[place + 3];
      z := z * table_[place + 4];
      f := z - t;
      f := f - p * trunc(f * q);
      g := z + t;
      g := g - p * trunc(g * q);
      x := e * f;
      x := x - p * trunc(x * q);
      y := g * h;
      y := y - p * trunc(y * q);
      z := f * g;
      z := z - p * trunc(z * q);
      started := true;
    end if;
  end loop;
  return array[x, y, z];
end
$function$;
comment on function _ed25519_multiply_and_add is
  'The sum that the digits say (Straus): from the highest digit down, four times the point, plus the entry of the '
  'table. Gives X, Y, Z.';
create function _ed25519_divide_by_z(point numeric[]) returns numeric[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p     constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  z     constant numeric := point[3];
  z_2   constant numeric := z * z % p;
  z_11  constant numeric := (z_2 * z_2 % p * (z_2 * z_2 % p) % p) * z_2 % p * z % p;
  w     numeric := _ed25519_power_250(z);
begin
  -- 1/z = z^(p-2), and p - 2 = 2^5 (2^250 - 1) + 11.
  for i in 1..5 loop
    w := w * w % p;
  end loop;
  w := w * z_11 % p;
  return array[(point[1] * w % p + p) % p, (point[2] * w % p + p) % p];
end
$function$;
comment on function _ed25519_divide_by_z is
  'The point (x, y) of X, Y, Z, both from 0 to p - 1.';
-- SECURITY DEFINER, so that callers need no right on the functions that it calls.
create function ed25519_verify(public_key bytea, message bytea, signature bytea) returns boolean
language plpgsql immutable parallel safe security definer
set search_path from current
as $function$
declare
  p    constant numeric   := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  l    constant numeric   := 7237005577332262213973186563042994240857116359379907606001950938285454250989;
  b_x  constant numeric   := 15112221349535400772501151409588531511454012693041857206046113283949847762202;
  b_y  constant numeric   := 46316835694926478169428394003475163141307993866256225615783033603165251855960;
  r    bytea;
  s    numeric;
  a    numeric[];
  k    numeric;
  sum  numeric[];
begin
  -- Step 1: R, S and A. R is not decoded: a sum is always canonical, so what is not canonical differs from it.
  if public_key is null or message is null or signature is null or length(signature) <> 64 then
    return false;
  end if;
  r := substr(signature, 1, 32);
  s := _ed25519_little_endian(substr(signature, 33, 32));
  a := _ed25519_decode_point(public_key);
  if s >= l or a is null or _ed25519_is_small_order(public_key) or _ed25519_is_small_order(r) then
    return false;
  end if;
  -- Step 2: k.
  k := _ed25519_little_endian(sha512(r || public_key || message)) % l;
  -- Step 3: [S]B + [k](-A) is R.
  sum := _ed25519_divide_by_z(_ed25519_multiply_and_add(
    _ed25519_digits(s, k),
    _ed25519_small_multiples(array[p - a[1], a[2], 1, (p - a[1]) * a[2] % p],
                             array[b_x, b_y, 1, b_x * b_y % p])));
  return _ed25519_little_endian(set_byte(r, 31, get_byte(r, 31) & 127)) = sum[2]
     and get_byte(r, 31) >> 7 = sum[1] % 2;
end
$function$;
comment on function ed25519_verify is
  'Whether the signature is the key''s for the message: RFC 8032, cofactorless and strict (S < L, canonical A and R, '
  'none of small order). Malformed or null input is false. Never null, never an error.';

-- sql/12_consensus/refuse.sql

-- Consensus: how a proposal or a vote is refused
--
-- Risk limits, agents, the quorum, and the end of a lockdown change in one way only: an agent proposes a change, other
-- agents approve it, and the approval that completes the quorum applies it. Each signs the exact text of what it says
-- with Ed25519. The files of this chapter, in this order:
--
--   refuse, texts             how a refusal is raised; the texts that are signed
--   agents, proposals,        the tables: agents and revocations, proposals and votes, and every applied proposal
--     change_log                with the votes that carried it
--   state                     what the applied proposals lead to, as text
--   rules                     how a vote is counted. Begin here.
--   replay, problems          everything counted again from the bootstrap on, believing nothing but signatures; and
--                               what the tables hold besides
--   checks, payloads          what a payload must look like, a function for each kind of proposal
--   bootstrap, propose,       what people call
--     release, vote
--   apply                     what an approved proposal does
--   validate                  triggers: a row that did not come through these functions is refused
--   read                      views, reading functions, and grants

create function _refuse_consensus(code text, message text, detail text, hint text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(code, message, detail, hint, 'consensus', 'VOTE');
end
$function$;
comment on function _refuse_consensus is
  'Raises an RSK code, or AUD-009, for a proposal or a vote. Never returns.';
perform _count_attempts(c.code, 'consensus', 'VOTE')
from unnest(array['RSK-001', 'RSK-002', 'RSK-003', 'RSK-004', 'RSK-005', 'RSK-006', 'RSK-007', 'AUD-009']) as c(code);

-- sql/12_consensus/texts.sql

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

-- sql/12_consensus/agents.sql

-- Agents: who may propose and vote
--
-- An agent is a person or a program with an Ed25519 key. The first ones come with the bootstrap, all others by a
-- proposal of kind agent_enrol. A row is never changed: an agent that is revoked, or replaced by another (as when a key
-- is rotated), has a row in agent_revocations. An identity or a key is never used again.
--
-- What a CHECK needs stands in the row itself, tied to its origin by composite foreign keys, because a CHECK that read
-- another table would make a dump impossible to restore.

create table agents (
  id           bigserial    not null,
  agent_id     uuid         not null,
  name         varchar(50)  not null,
  role         varchar(30)  not null,
  public_key   bytea        not null,
  replaces     uuid         null,
  proposal_id  uuid         null,
  signature    bytea        null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  recorded_by  text         not null,
  constraint agents_pkey primary key (id),
  constraint agents_agent_id_key unique (agent_id),
  constraint agents_public_key_key unique (public_key),
  constraint agents_agent_id_public_key_key unique (agent_id, public_key),
  constraint agents_replaces_fkey foreign key (replaces) references agents (agent_id),
  constraint agents_name_is_plain check (btrim(name::text) <> ''::text and _is_plain_text(name::text)),
  constraint agents_role_is_plain check (btrim(role::text) <> ''::text and _is_plain_text(role::text)),
  constraint agents_public_key_is_strong check (not _ed25519_key_is_weak(public_key)),
  constraint agents_signature_is_of_bootstrap check ((proposal_id is null) = (signature is not null)
                                                     and length(signature) = 64)
);
comment on table agents is
  'Agents as they were enrolled. Append-only, hash-chained; the revoked ones stand in agent_revocations.';
comment on column agents.id          is 'Position in the chain.';
comment on column agents.agent_id    is 'Identity of the agent.';
comment on column agents.name        is 'What people call it.';
comment on column agents.role        is 'What it does, in a word or two.';
comment on column agents.public_key  is 'Ed25519 public key, 32 bytes.';
comment on column agents.replaces    is 'The agent whose place (and vote) it takes, as when a key is rotated.';
comment on column agents.proposal_id is 'The approved proposal that enrolled it; null for those of the bootstrap.';
comment on column agents.signature is
  'Its Ed25519 signature of the whole bootstrap (bootstrap_message), 64 bytes; null for those that a proposal '
  'enrolled.';
comment on column agents.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column agents.created_at  is 'When it was enrolled.';
comment on column agents.recorded_by is 'The login that wrote the row.';
create table agent_revocations (
  id           bigserial    not null,
  agent_id     uuid         not null,
  proposal_id  uuid         not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  recorded_by  text         not null,
  constraint agent_revocations_pkey primary key (id),
  constraint agent_revocations_agent_id_key unique (agent_id),
  constraint agent_revocations_agent_id_fkey foreign key (agent_id) references agents (agent_id)
);
comment on table agent_revocations is
  'Agents that may no longer propose or vote. Append-only, hash-chained.';
comment on column agent_revocations.id          is 'Position in the chain.';
comment on column agent_revocations.agent_id    is 'The agent.';
comment on column agent_revocations.proposal_id is 'The approved proposal that revoked or replaced it.';
comment on column agent_revocations.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column agent_revocations.created_at  is 'From when on its votes no longer count.';
comment on column agent_revocations.recorded_by is 'The login that wrote the row.';
create function _active_agents()
returns table (agent_id uuid, name text, role text, public_key bytea)
language sql stable
set search_path from current
set row_security = off
as $function$
  select a.agent_id, a.name::text, a.role::text, a.public_key
  from only agents as a
  where not exists (select from only agent_revocations as r where r.agent_id = a.agent_id);
$function$;
comment on function _active_agents is
  'The agents that may propose and vote now.';
create function _agent_removed_by(kind text, payload jsonb) returns text
language sql immutable
set search_path from current
as $function$
  select case kind when 'agent_revoke' then payload ->> 'agent_id'
                   when 'agent_enrol'  then payload ->> 'replaces' end;
$function$;
comment on function _agent_removed_by is
  'The agent that a proposal revokes or replaces; null if it does neither.';
create function _enrolment_of(agent agents) returns jsonb
language sql immutable
set search_path from current
as $function$
  select jsonb_build_object('agent_id', agent.agent_id, 'name', agent.name, 'role', agent.role,
                            'public_key', encode(agent.public_key, 'hex'), 'replaces', agent.replaces);
$function$;
comment on function _enrolment_of is
  'The payload of the agent_enrol that makes an agent what its row says.';

-- sql/12_consensus/proposals.sql

-- Proposals and votes, as they were signed
--
-- A row holds the exact text that was signed, and CHECK constraints say that the text is what the columns make and that
-- the signature is the key's for it. So a restored dump has every signature verified again, and a row whose columns
-- were altered is refused even if every trigger is off.

create function _proposal_kinds() returns text[]
language sql immutable parallel safe
set search_path from current
as $function$
  select '{risk_config, asset_kill_threshold, lockdown_release, agent_enrol, agent_revoke, quorum_policy, archive, hold,
           unhold}'::text[];
$function$;
comment on function _proposal_kinds is
  'What a proposal can change. What a new kind touches stands in 12_consensus/payloads.sql.';
create function _unknown_kind(kind text) returns text
language plpgsql immutable
set search_path from current
as $function$
begin
  raise exception 'alpha-db: % is not a kind of proposal, or not handled here', quote_nullable(left(kind, 40))
    using errcode = '22023', hint = 'The head of sql/12_consensus/payloads.sql lists what a new kind touches.';
end
$function$;
comment on function _unknown_kind is
  'Raises 22023: a kind of proposal that a place does not name never falls through. Never returns.';
create table proposals (
  id            bigserial    not null,
  proposal_id   uuid         not null,
  origin        text         not null,
  kind          varchar(30)  not null,
  payload       jsonb        not null,
  reason        text         not null,
  previous      char(64)     not null,
  proposer      uuid         not null,
  proposer_key  bytea        not null,
  expires_at    timestamptz  not null,
  signed_text   text         not null,
  digest        char(64)     not null,
  signature     bytea        not null,
  row_hash      char(64)     not null,
  created_at    timestamptz  not null,
  recorded_by   text         not null,
  constraint proposals_pkey primary key (id),
  constraint proposals_proposal_id_key unique (proposal_id),
  constraint proposals_proposal_id_digest_key unique (proposal_id, digest),
  constraint proposals_proposer_fkey foreign key (proposer, proposer_key) references agents (agent_id, public_key),
  constraint proposals_kind_is_known check (kind::text = any (_proposal_kinds())),
  constraint proposals_reason_is_plain check (btrim(reason) <> ''::text and _is_plain_text(reason)),
  constraint proposals_reason_is_short check (length(reason) <= 2000),
  constraint proposals_payload_is_plain check (_is_plain_text(payload::text)),
  constraint proposals_expires_at_is_readable check (_is_readable_time(expires_at)),
  constraint proposals_signed_text_is_exact check (
    signed_text = _proposal_text(origin, proposal_id, kind::text, previous::text, payload, reason, proposer,
                                 expires_at)),
  constraint proposals_digest_is_of_text check (digest::text = _text_digest(signed_text)),
  constraint proposals_signature_is_valid check (_signs(proposer_key, signed_text, signature))
);
create index proposals_proposer_idx on proposals (proposer);
comment on table proposals is
  'What agents proposed, each signed by its proposer. Append-only, hash-chained.';
comment on column proposals.id           is 'Position in the chain.';
comment on column proposals.proposal_id  is 'Identity of the proposal, chosen by the proposer.';
comment on column proposals.origin       is 'Identity of this installation, as it was signed.';
comment on column proposals.kind         is 'What it changes; docs/risk.md lists the kinds.';
comment on column proposals.payload      is 'What is to hold, complete, never a difference; decimals as strings.';
comment on column proposals.reason       is 'Why, in words.';
comment on column proposals.previous     is 'Hash of the state that the proposal was made for.';
comment on column proposals.proposer     is 'The agent that proposes.';
comment on column proposals.proposer_key is 'Its public key.';
comment on column proposals.expires_at   is 'After this moment it cannot be applied.';
comment on column proposals.signed_text  is 'The exact text that was signed.';
comment on column proposals.digest       is 'SHA-256 of the signed text, in hex; votes name it.';
comment on column proposals.signature    is 'Ed25519 signature of the proposer, 64 bytes.';
comment on column proposals.row_hash     is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column proposals.created_at   is 'When it was made.';
comment on column proposals.recorded_by  is 'The login that wrote the row.';
create table votes (
  id           bigserial    not null,
  proposal_id  uuid         not null,
  digest       char(64)     not null,
  origin       text         not null,
  agent_id     uuid         not null,
  agent_key    bytea        not null,
  decision     varchar(10)  not null,
  signed_at    timestamptz  not null,
  signed_text  text         not null,
  signature    bytea        not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  recorded_by  text         not null,
  constraint votes_pkey primary key (id),
  constraint votes_proposal_id_agent_id_key unique (proposal_id, agent_id),
  constraint votes_proposal_id_fkey foreign key (proposal_id, digest) references proposals (proposal_id, digest),
  constraint votes_agent_id_fkey foreign key (agent_id, agent_key) references agents (agent_id, public_key),
  constraint votes_decision_is_known check (decision::text = any (array['APPROVE'::text, 'REJECT'::text])),
  constraint votes_signed_at_is_readable check (_is_readable_time(signed_at)),
  constraint votes_signed_text_is_exact check (
    signed_text = _approval_text(origin, decision::text, digest::text, agent_id, signed_at)),
  constraint votes_signature_is_valid check (_signs(agent_key, signed_text, signature))
);
create index votes_agent_id_idx on votes (agent_id);
comment on table votes is
  'Votes on proposals, each signed by its agent. A REJECT vetoes; the proposer''s own withdraws. Append-only, '
  'hash-chained.';
comment on column votes.id          is 'Position in the chain.';
comment on column votes.proposal_id is 'The proposal.';
comment on column votes.digest      is 'Digest of the proposal''s text, as it was signed.';
comment on column votes.origin      is 'Identity of this installation, as it was signed.';
comment on column votes.agent_id    is 'The agent that votes.';
comment on column votes.agent_key   is 'Its public key.';
comment on column votes.decision    is 'APPROVE or REJECT.';
comment on column votes.signed_at   is 'When the agent signed, by its own clock.';
comment on column votes.signed_text is 'The exact text that was signed.';
comment on column votes.signature   is 'Ed25519 signature of the agent, 64 bytes.';
comment on column votes.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column votes.created_at  is 'When the vote was stored.';
comment on column votes.recorded_by is 'The login that wrote the row.';

-- sql/12_consensus/change_log.sql

-- The log of applied proposals
--
-- One row for each proposal that reached its quorum, of any kind: the approvals that carried it, and the complete state
-- that it led to. Everything else that consensus makes (agents, revocations, limits, the end of a lockdown) can be
-- derived from this log and the proposals, and is compared with it: see replay.sql and problems.sql.

create table risk_change_log (
  id           bigserial    not null,
  version      bigint       not null,
  proposal_id  uuid         not null,
  digest       char(64)     not null,
  kind         varchar(30)  not null,
  approved_by  uuid         not null,
  approvals    jsonb        not null,
  previous     char(64)     not null,
  state_text   text         not null,
  state_hash   char(64)     not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  recorded_by  text         not null,
  constraint risk_change_log_pkey primary key (id),
  constraint risk_change_log_version_key unique (version),
  constraint risk_change_log_proposal_id_key unique (proposal_id),
  constraint risk_change_log_proposal_id_fkey foreign key (proposal_id, digest)
    references proposals (proposal_id, digest),
  constraint risk_change_log_version_is_id check (version = id),
  constraint risk_change_log_state_hash_is_of_text check (state_hash::text = _text_digest(state_text))
);
comment on table risk_change_log is
  'Every applied proposal, of any kind, with the votes that carried it and the complete state it led to. Append-only, '
  'hash-chained.';
comment on column risk_change_log.id          is 'Position in the chain.';
comment on column risk_change_log.version     is 'Version of the state; counts applied proposals.';
comment on column risk_change_log.proposal_id is 'The proposal that was applied.';
comment on column risk_change_log.digest      is 'Digest of its text.';
comment on column risk_change_log.kind        is 'Its kind.';
comment on column risk_change_log.approved_by is 'The agent whose approval completed the quorum.';
comment on column risk_change_log.approvals is
  'The approvals that counted: agent, public_key, signed_at and signature of each.';
comment on column risk_change_log.previous    is 'Hash of the state before.';
comment on column risk_change_log.state_text  is 'The complete state after, as canonical text.';
comment on column risk_change_log.state_hash  is 'SHA-256 of the state text, in hex.';
comment on column risk_change_log.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column risk_change_log.created_at  is 'When it was applied.';
comment on column risk_change_log.recorded_by is 'The login that wrote the row.';
create function _last_applied()
returns table (proposal_id uuid, kind text, payload jsonb)
language sql stable
set search_path from current
as $function$
  select c.proposal_id, c.kind::text, p.payload
  from (select l.* from only risk_change_log as l order by l.id desc limit 1) as c
  join only proposals as p on p.proposal_id = c.proposal_id;
$function$;
comment on function _last_applied is
  'The proposal that was applied last. The triggers compare with it what the same transaction then writes elsewhere.';

-- sql/12_consensus/state.sql

-- The state: what the applied proposals lead to
--
-- The state is a text: its version, the limits, and the kill thresholds, in JSON that is always spelt alike. Each
-- proposal names the hash of the state that it was made for, so that it says what it changes, and can be applied to no
-- other state. Agents and quorum are not part of the text, but each change of them is a version, too: it makes every
-- older proposal stale.

create function _state_text(version bigint, limits jsonb, kill_thresholds jsonb) returns text
language sql immutable
set search_path from current
as $function$
  select format('{"version":%s,"limits":%s,"kill_thresholds":[%s]}', version,
    case when limits is null or limits = 'null' then 'null' else
      format('{"max_position_size_pct":%s,"daily_drawdown_limit_pct":%s,"max_leverage_ratio":%s}',
             round((limits ->> 'max_position_size_pct')::numeric, 4),
             round((limits ->> 'daily_drawdown_limit_pct')::numeric, 4),
             round((limits ->> 'max_leverage_ratio')::numeric, 2)) end,
    coalesce((select string_agg(format('{"asset":%s,"kill_loss_pct":%s,"kill_price":%s}', to_json(t.value ->> 'asset'),
                                       round((t.value ->> 'kill_loss_pct')::numeric, 4),
                                       coalesce(round((t.value ->> 'kill_price')::numeric, 10)::text, 'null')),
                                ',' order by t.value ->> 'asset' collate "C")
              from jsonb_array_elements(kill_thresholds) as t), ''));
$function$;
comment on function _state_text is
  'The canonical text of a risk state: JSON without spaces, decimals at column scale, thresholds sorted by asset.';
create function _next_state_text(previous_text text, kind text, payload jsonb) returns text
language sql immutable
set search_path from current
as $function$
  select _state_text(
    (s.state ->> 'version')::bigint + 1,
    case when kind = 'risk_config' then payload else s.state -> 'limits' end,
    case when kind = 'asset_kill_threshold' then
      coalesce((select jsonb_agg(t.value) from jsonb_array_elements(s.state -> 'kill_thresholds') as t
                where t.value ->> 'asset' <> payload ->> 'asset'), '[]')
      || case when (payload ->> 'retired')::boolean then '[]' else jsonb_build_array(payload) end
      else s.state -> 'kill_thresholds' end)
  from (select previous_text::jsonb as state) as s;
$function$;
comment on function _next_state_text is
  'The state that a proposal leads to from the one before. The replay of the change log uses nothing else.';
create function _current_state_text() returns text
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce((select c.state_text from only risk_change_log as c order by c.id desc limit 1),
                  _state_text(0, null, '[]'));
$function$;
comment on function _current_state_text is 'The state that the last applied proposal led to.';
create function _installation_origin() returns text
language sql stable
set search_path from current
as $function$
  select i.installation_id::text from only installation as i;
$function$;
comment on function _installation_origin is
  'Identity of this installation as signed texts name it: a signature for one desk is worth nothing at another.';

-- sql/12_consensus/rules.sql

-- How a vote is counted
--
-- A proposal is a signed text (texts.sql): the installation, what is to change (kind, payload), the hash of the state
-- that it was made for, why, by whom, and until when it can be applied. A vote is a signed text, too: it names the
-- proposal by the digest of its text, so that nobody can be made to approve something else.
--
-- Whose vote counts. An active agent: enrolled and not revoked. The proposer cannot approve, neither under its identity
-- nor with its key, and nobody votes on its own revocation or replacement. An agent votes once on a proposal, and a
-- vote is final. A key counts once, even if two agents should have it.
--
-- A REJECT vetoes: it closes the proposal, whatever the approvals. The proposer's own REJECT withdraws it.
--
-- How many are needed, besides the proposer, depends on what the proposal does to the current state. The database
-- classifies, not the proposer:
--
--   tighten   no limit becomes looser; rows are put on hold                   1, unless a quorum_policy says otherwise
--   loosen    any other change of limits, the end of a lockdown or of a       2
--             hold, and rows that leave the log
--   govern    a change of the agents, or of the quorum itself                 2
--
-- For govern, as many as there are eligible voters are enough if that is fewer, but at least one, so that a lost key
-- can always be voted out. A change of the quorum needs the highest of the three numbers, so that none can be lowered
-- by fewer than it asks for.
--
-- What supersedes. Every applied proposal makes a new state, and all others that were made for the old one are STALE.
-- So two proposals never mix: each approval was given to one text, for one state.
--
-- When it is counted. vote() holds the lock lock_proposals from before the vote is stored until its transaction ends,
-- so votes are counted one after the other. Each stored approval is counted with its signature verified again. The
-- approval that completes the quorum applies the change in the same transaction; the trigger of risk_change_log counts
-- once more (validate.sql), so that a row which is written without vote() is refused.
--
-- A revoked key. From the revocation on, its approvals of pending proposals do not count, and it can neither propose
-- nor vote. What it approved before stays approved: the replay (replay.sql) asks who was an agent at that place of the
-- log.
--
-- Order, not clock. What came first is decided by the position in risk_change_log, which its chain fixes. signed_at is
-- a statement of the voter from which nothing is derived; only, an approval of what does not tighten must not come from
-- the future. expires_at is compared with the server's clock when a vote arrives, and not again.
--
-- Crash, ROLLBACK TO SAVEPOINT: vote, log entry and what it changes are one transaction, so all of them are undone, or
-- none. A prepared transaction holds the lock until it ends, and other votes wait for it. A dump restores the rows as
-- they are; CHECK constraints verify the signatures of proposals and votes again, and the replay counts every quorum
-- again.

create function _default_quorum() returns jsonb
language sql immutable
set search_path from current
as $function$
  select '{"tighten": 1, "loosen": 2, "govern": 2}'::jsonb;
$function$;
comment on function _default_quorum is
  'The quorum until a quorum_policy is applied, in the form of its payload.';
create function _quorum() returns jsonb
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce((select p.payload
                   from only risk_change_log as c join only proposals as p on p.proposal_id = c.proposal_id
                   where c.kind::text = 'quorum_policy'::text order by c.id desc limit 1), _default_quorum());
$function$;
comment on function _quorum is
  'The quorum that holds now: the payload of the last quorum_policy.';
create function _quorum_for(direction text, kind text, policy jsonb, eligible integer) returns integer
language sql immutable
set search_path from current
as $function$
  select case direction
    when 'tighten' then q.tighten
    when 'loosen' then q.loosen
    else greatest(1, least(eligible, case when kind = 'quorum_policy' then greatest(q.tighten, q.loosen, q.govern)
                                          else q.govern end))
  end
  from jsonb_to_record(policy) as q(tighten integer, loosen integer, govern integer);
$function$;
comment on function _quorum_for is
  'How many approvals besides the proposer''s signature a change needs under a policy, if so many agents are eligible.';
create function _change_direction(kind text, payload jsonb, state jsonb) returns text
language sql immutable
set search_path from current
as $function$
  -- Each parameter's safe direction is down: smaller positions, earlier kills, less leverage. A kill price has a side
  -- that only the position knows, so touching one is loosening; adding one tightens.
  select case kind
    when 'risk_config' then case
      when state -> 'limits' <> 'null'
       and (payload ->> 'max_position_size_pct')::numeric    <= (state #>> '{limits,max_position_size_pct}')::numeric
       and (payload ->> 'daily_drawdown_limit_pct')::numeric <= (state #>> '{limits,daily_drawdown_limit_pct}')::numeric
       and (payload ->> 'max_leverage_ratio')::numeric       <= (state #>> '{limits,max_leverage_ratio}')::numeric
      then 'tighten' else 'loosen' end
    when 'asset_kill_threshold' then case
      when (payload ->> 'retired')::boolean then 'loosen'
      when t.known is null then 'tighten'
      when (payload ->> 'kill_loss_pct')::numeric <= (t.known ->> 'kill_loss_pct')::numeric
       and (t.known ->> 'kill_price' is null
            or (payload ->> 'kill_price')::numeric is not distinct from (t.known ->> 'kill_price')::numeric)
      then 'tighten' else 'loosen' end
    when 'lockdown_release' then 'loosen'
    when 'archive'          then 'loosen'
    when 'unhold'           then 'loosen'
    when 'hold'             then 'tighten'
    when 'agent_enrol'      then 'govern'
    when 'agent_revoke'     then 'govern'
    when 'quorum_policy'    then 'govern'
    else _unknown_kind(kind) end
  from (select (select e.value from jsonb_array_elements(state -> 'kill_thresholds') as e
                where e.value ->> 'asset' = payload ->> 'asset') as known) as t;
$function$;
comment on function _change_direction is
  'tighten, loosen or govern: what a proposal would do to a state. The database classifies, not the proposer. Raises '
  '22023 for an unknown kind.';
create function _eligible_voters(proposal proposals) returns setof uuid
language sql stable
set search_path from current
as $function$
  select a.agent_id from _active_agents() as a
  where a.agent_id <> proposal.proposer
    and a.public_key <> proposal.proposer_key
    and a.agent_id::text is distinct from _agent_removed_by(proposal.kind::text, proposal.payload);
$function$;
comment on function _eligible_voters is
  'The agents whose approval of a proposal counts now.';
create function _approvals_needed(proposal proposals, state jsonb) returns integer
language sql stable
set search_path from current
as $function$
  select _quorum_for(_change_direction(proposal.kind::text, proposal.payload, state), proposal.kind::text, _quorum(),
                     (select count(*)::integer from _eligible_voters(proposal)));
$function$;
comment on function _approvals_needed is
  'How many approvals besides the proposer''s own signature a proposal needs in this state.';
create function _counted_approvals(proposal proposals)
returns table (agent_id uuid, agent_key bytea, signed_at timestamptz, signature bytea)
language sql stable
set search_path from current
as $function$
  select distinct on (v.agent_key) v.agent_id, v.agent_key, v.signed_at, v.signature
  from only votes as v
  where v.proposal_id = proposal.proposal_id and v.digest = proposal.digest and v.decision::text = 'APPROVE'::text
    and v.agent_id in (select e.* from _eligible_voters(proposal) as e)
    and _signs(v.agent_key, v.signed_text, v.signature)
  order by v.agent_key, v.id;
$function$;
comment on function _counted_approvals is
  'The approvals of a proposal that count now: by distinct agents and distinct keys, valid, none of them revoked, none '
  'the proposer''s.';
create function _proposal_status(proposal proposals) returns text
language sql stable
set search_path from current
as $function$
  select case
    when exists (select from only risk_change_log as c where c.proposal_id = proposal.proposal_id) then 'APPLIED'
    when exists (select from only votes as v where v.proposal_id = proposal.proposal_id
                 and v.decision::text = 'REJECT'::text and v.agent_id = proposal.proposer) then 'WITHDRAWN'
    when exists (select from only votes as v where v.proposal_id = proposal.proposal_id
                 and v.decision::text = 'REJECT'::text) then 'REJECTED'
    when proposal.expires_at <= clock_timestamp() then 'EXPIRED'
    when proposal.previous::text <> _text_digest(_current_state_text()) then 'STALE'
    when not exists (select from _active_agents() as a where a.agent_id = proposal.proposer) then 'REVOKED'
    else 'PENDING' end;
$function$;
comment on function _proposal_status is
  'PENDING, APPLIED, REJECTED, WITHDRAWN, EXPIRED, STALE (made for another state) or REVOKED (its proposer is).';

-- sql/12_consensus/replay.sql

-- The replay: what the bootstrap and the applied proposals lead to, believing nothing but signatures
--
-- The replay starts with the agents of the bootstrap, each of whom signed the whole list, and goes through
-- risk_change_log by version. It keeps what holds at that place: the agents, the quorum, the state. An entry holds if
--
--   its proposal was made for that state, and its text, digest and columns agree    _proposal_problem
--   its proposer was an agent there, and signed it
--   nobody rejected it
--   enough of the agents there, none of them barred, signed approvals               _approvals_problem
--   it leads to the state that is stored, and enrols or revokes what can be         _effect_problem
--
-- From the first entry that does not hold, nothing is known, and the replay ends. Nothing depends on a clock or on what
-- other tables hold. Whatever relies on consensus asks here; what the tables hold besides is only compared
-- (problems.sql).

create function _bootstrap_problems()
returns table (id bigint, problem text)
language sql stable
set search_path from current
as $function$
  with first as (
    select a.id, a.public_key, a.signature,
           jsonb_build_object('agent_id', a.agent_id, 'name', a.name, 'role', a.role,
                              'public_key', encode(a.public_key, 'hex')) as member
    from only agents as a where a.proposal_id is null),
  list as (select count(*) as members, _bootstrap_text(_installation_origin(), jsonb_agg(f.member)) as text
           from first as f)
  select f.id, case when list.members < 3 then 'the bootstrap has fewer than three agents'
                    else 'its signature is not for the bootstrap as it stands' end
  from first as f cross join list
  where list.members < 3 or not _signs(f.public_key, list.text, f.signature);
$function$;
comment on function _bootstrap_problems is
  'The agents of the bootstrap whose signature does not hold for the list as it stands. Once an agent is added, '
  'removed or altered, no signature holds.';
create type replayed_change as (
  version      bigint,
  kind         text,
  proposal_id  uuid,
  payload      jsonb,
  reason       text,
  approved_by  uuid,
  applied_at   timestamptz,
  state_text   text,
  problem      text
);
comment on type replayed_change is 'An entry of risk_change_log as the replay finds it.';
comment on column replayed_change.version     is 'Its version; 0 for the bootstrap, if that does not hold.';
comment on column replayed_change.kind        is 'Kind of its proposal.';
comment on column replayed_change.proposal_id is 'Its proposal.';
comment on column replayed_change.payload     is 'The payload, as it was signed.';
comment on column replayed_change.reason      is 'The reason, as it was signed.';
comment on column replayed_change.approved_by is 'The agent whose approval completed the quorum.';
comment on column replayed_change.applied_at  is 'When it was applied.';
comment on column replayed_change.state_text  is 'The state that it leads to.';
comment on column replayed_change.problem     is 'Why it does not hold; null: it holds.';
create function _proposal_problem(change risk_change_log, proposal proposals, state text, active jsonb) returns text
language sql stable
set search_path from current
as $function$
  select case
    when proposal.proposal_id is null
      then 'its proposal is not there'
    when proposal.previous::text <> _text_digest(state) or change.previous <> proposal.previous
      or change.version <> (state::jsonb ->> 'version')::bigint + 1
      then 'it was made for another state than the one before it'
    when proposal.digest <> change.digest or proposal.digest::text <> _text_digest(proposal.signed_text)
      or proposal.kind::text <> change.kind::text or proposal.origin <> _installation_origin()
      or proposal.signed_text <> _proposal_text(proposal.origin, proposal.proposal_id, proposal.kind::text,
                                                proposal.previous::text, proposal.payload, proposal.reason,
                                                proposal.proposer, proposal.expires_at)
      then 'the signed text and the columns differ'
    when active ->> proposal.proposer::text is distinct from encode(proposal.proposer_key, 'hex')
      then 'its proposer was not an agent then, or had another key'
    when not _signs(proposal.proposer_key, proposal.signed_text, proposal.signature)
      then 'the proposer''s signature does not hold'
    when exists (select from only votes as v
                 where v.proposal_id = proposal.proposal_id and v.decision::text = 'REJECT'::text)
      then 'it was rejected'
    end;
$function$;
comment on function _proposal_problem is
  'Why the proposal of a log entry does not hold after a state, with the agents of that time (agent_id → public key '
  'in hex); null: it holds.';
create function _approvals_problem(
  change risk_change_log, proposal proposals, state text, eligible jsonb, policy jsonb
) returns text
language sql stable
set search_path from current
as $function$
  -- Distinct agents of that time, with the keys of that time.
  select case
    when not counted.hold or counted.agents <> counted.given
      then 'an approval does not hold'
    when counted.given < q.needed
      then format('it has %s approvals and needs %s', counted.given, q.needed)
    when not counted.completed
      then 'the agent that completed the quorum did not approve'
    end
  from (
    select count(*) as given, count(distinct v.agent_id) as agents,
           coalesce(bool_and(
             eligible ->> v.agent_id::text = v.public_key
             and _signs(decode(v.public_key, 'hex'),
                        _approval_text(proposal.origin, 'APPROVE', proposal.digest::text, v.agent_id, v.signed_at),
                        decode(v.signature, 'hex'))), false) as hold,
           coalesce(bool_or(v.agent_id = change.approved_by), false) as completed
    from jsonb_to_recordset(change.approvals)
      as v(agent_id uuid, public_key text, signed_at timestamptz, signature text)
  ) as counted
  cross join lateral (
    select _quorum_for(_change_direction(proposal.kind::text, proposal.payload, state::jsonb), proposal.kind::text,
                       policy, (select count(*)::integer from jsonb_object_keys(eligible))) as needed
  ) as q;
$function$;
comment on function _approvals_problem is
  'Why the approvals of a log entry are not its quorum, counted again under the policy of that time among the eligible '
  'agents of that time (agent_id → public key in hex); null: they are.';
create function _effect_problem(
  change risk_change_log, proposal proposals, state_after text, active jsonb, ever jsonb
) returns text
language sql stable
set search_path from current
as $function$
  select case
    when change.state_text is distinct from state_after or change.state_hash::text <> _text_digest(state_after)
      then 'it leads to another state than is stored'
    when proposal.kind::text = 'agent_revoke' and not active ? removed.agent
      then 'it revokes an agent that is not active'
    when proposal.kind::text = 'agent_enrol'
      and (ever ? (proposal.payload ->> 'agent_id') or not coalesce(active ? removed.agent, true)
           or exists (select from jsonb_each_text(ever) as e where e.value = proposal.payload ->> 'public_key'))
      then 'it enrols an agent or a key that was used before, or replaces an agent that is not active'
    end
  from (select _agent_removed_by(proposal.kind::text, proposal.payload) as agent) as removed;
$function$;
comment on function _effect_problem is
  'Why a log entry cannot lead where it says: another state, nobody to revoke, or an agent or key that was used '
  'before; null: it can. active and ever are the agents of that time, and all until then.';
create function _replay_entry(
  change risk_change_log, proposal proposals, state text, active jsonb, ever jsonb, policy jsonb
) returns replayed_change
language plpgsql stable
set search_path from current
as $function$
declare
  eligible   jsonb;
  approvals  text;
  result     replayed_change;
begin
  result := row(change.version, proposal.kind, change.proposal_id, proposal.payload, proposal.reason,
                change.approved_by, change.created_at, null, null);
  result.problem := _proposal_problem(change, proposal, state, active);
  if result.problem is null then
    eligible := active - proposal.proposer::text
                - coalesce(_agent_removed_by(proposal.kind::text, proposal.payload), '');
    approvals := _approvals_problem(change, proposal, state, eligible, policy);
    result.state_text := _next_state_text(state, proposal.kind::text, proposal.payload);
    result.problem := coalesce(approvals, _effect_problem(change, proposal, result.state_text, active, ever));
  end if;
  return result;
exception
  when insufficient_privilege then raise;  -- row-level security: nothing is known
  when others then
    result.problem := format('it cannot be read: %s (%s)', sqlerrm, sqlstate);
    return result;
end
$function$;
comment on function _replay_entry is
  'A log entry judged after a state: with the agents of that time, all agents until then, and the quorum of that time.';
create function _replay_consensus(only_agents boolean default false, to_version bigint default null)
returns setof replayed_change
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  entry   record;
  active  jsonb;  -- the agents at this place: agent_id → public key in hex
  ever    jsonb;  -- and all that were agents until then
  policy  jsonb := _default_quorum();
  state   text  := _state_text(0, null, '[]');
  result  replayed_change;
begin
  select 0, b.problem into result.version, result.problem from _bootstrap_problems() as b order by b.id limit 1;
  if found then
    return next result;
    return;
  end if;
  select coalesce(jsonb_object_agg(a.agent_id, encode(a.public_key, 'hex')), '{}') into active
  from only agents as a where a.proposal_id is null;
  ever := active;
  -- With only_agents: agents and quorum follow from few entries. The state before an entry need not be replayed to be
  -- known, because the entry's proposer signed its hash.
  for entry in
    select c as change, p as proposal, b.state_text as text_before
    from only risk_change_log as c
    left join only proposals as p on p.proposal_id = c.proposal_id
    left join only risk_change_log as b on b.version = c.version - 1
    where (to_version is null or c.version <= to_version)
      and (not only_agents or c.version = to_version
           or c.kind::text in ('agent_enrol', 'agent_revoke', 'quorum_policy')
           or p.kind::text in ('agent_enrol', 'agent_revoke', 'quorum_policy'))
    order by c.version
  loop
    if only_agents and (entry.change).version > 1 then
      state := coalesce(entry.text_before, '');
    end if;
    result := _replay_entry(entry.change, entry.proposal, state, active, ever, policy);
    return next result;
    if result.problem is not null then
      return;
    end if;
    state := result.state_text;
    active := active - coalesce(_agent_removed_by(result.kind, result.payload), '');
    if result.kind = 'agent_enrol' then
      active := active || jsonb_build_object(result.payload ->> 'agent_id', result.payload ->> 'public_key');
      ever := ever || active;
    elsif result.kind = 'quorum_policy' then
      policy := result.payload;
    end if;
  end loop;
end
$function$;
comment on function _replay_consensus is
  'Replays the bootstrap and the applied proposals in order, every signature and every quorum, up to the first that '
  'does not hold. With only_agents the entries that changed agents or quorum, and that of to_version.';

-- sql/12_consensus/problems.sql

-- What the tables hold besides: agents, revocations, releases and risk tables, compared with the replay
--
-- Each function takes the entries that _replay_consensus found and lists the rows that they do not derive, and what
-- they derive and is missing. _consensus_problems puts them together for the verification, _release_holds answers for
-- the lockdown (08_lockdown has placeholders for both, which this file replaces), and _require_consensus stands before
-- every proposal and every vote.

create function _agent_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select 'agents', b.id, b.problem from _bootstrap_problems() as b
  where exists (select from unnest(changes) as c where c.version = 0)  -- as the replay found
  union all
  select 'risk_change_log', c.version, c.problem from unnest(changes) as c where c.problem is not null and c.version > 0
  union all
  select 'agents', a.id, 'no applied proposal enrolled it as it stands'
  from only agents as a
  where a.proposal_id is not null
    and not exists (select from unnest(changes) as c
                    where c.proposal_id = a.proposal_id and c.kind = 'agent_enrol' and c.problem is null
                      and c.payload = _enrolment_of(a))
  union all
  select 'agents', null,
         format('agent %s, which version %s enrolled, is not there', c.payload ->> 'agent_id', c.version)
  from unnest(changes) as c
  where c.kind = 'agent_enrol' and c.problem is null
    and not exists (select from only agents as a where a.proposal_id = c.proposal_id)
  union all
  select 'agent_revocations', r.id, 'no applied proposal revoked that agent'
  from only agent_revocations as r
  where not exists (select from unnest(changes) as c
                    where c.proposal_id = r.proposal_id and c.problem is null
                      and r.agent_id::text = _agent_removed_by(c.kind, c.payload))
  union all
  select 'agent_revocations', null, format('the revocation that version %s made is not there', c.version)
  from unnest(changes) as c
  where c.problem is null and _agent_removed_by(c.kind, c.payload) is not null
    and not exists (select from only agent_revocations as r where r.proposal_id = c.proposal_id);
$function$;
comment on function _agent_problems is
  'Where agents, revocations and the change log are not what the bootstrap and the applied proposals made them.';
create function _release_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select 'lockdown_events', l.id,
         case when c.proposal_id is null then 'no applied proposal released that damage'
              else 'its release was used by an earlier event' end
  from (select e.id, e.proposal_id, e.damage, e.row_hash::text as row_hash,
               row_number() over (partition by e.proposal_id order by e.id) as use
        from only lockdown_events as e where e.event_type::text = 'RELEASED'::text) as l
  left join unnest(changes) as c
    on c.proposal_id = l.proposal_id and c.kind = 'lockdown_release' and c.problem is null
      and c.payload -> 'damage' = l.damage
  where (c.proposal_id is null or l.use > 1)
    -- A forged event that a release acknowledged as damage stays in the chain, and claims nothing any more.
    and not exists (
      select from unnest(changes) as r
      where r.kind = 'lockdown_release' and r.problem is null
        and r.payload -> 'damage' @> jsonb_build_array(jsonb_build_object(
          'table', 'lockdown_events', 'id', l.id, 'verdict', 'consensus_mismatch', 'actual_hash', l.row_hash)))
  union all
  select 'lockdown_events', null, format('the event of the release that version %s made is not there', c.version)
  from unnest(changes) as c
  where c.kind = 'lockdown_release' and c.problem is null
    and not exists (select from only lockdown_events as l where l.event_type::text = 'RELEASED'::text
                    and l.proposal_id = c.proposal_id);
$function$;
comment on function _release_problems is
  'RELEASED events of the lockdown that no applied release made, and applied releases without one.';
-- A placeholder: 17_risk/verify.sql replaces it when 23_risk_config brings the tables.
create function _risk_table_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _risk_table_problems is
  'Versions of limits and thresholds that the applied proposals do not say. None, until 23_risk_config brings the '
  'tables.';
-- A placeholder: 16_retention/archive.sql replaces it when 007_own_tables brings the table.
create function _segment_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _segment_problems is
  'Archived segments that the applied proposals do not say. None, until 007_own_tables brings the table.';
-- Replaces the placeholder in 08_lockdown/consensus.sql.
create or replace function _consensus_problems()
returns table (table_name text, id bigint, problem text)
language plpgsql stable security definer
set search_path from current
as $function$
declare
  changes  replayed_change[] := array(select c from _replay_consensus() as c);
begin
  return query select p.* from _agent_problems(changes) as p
    union all select p.* from _release_problems(changes) as p
    union all select p.* from _segment_problems(changes) as p
    union all select p.* from _risk_table_problems(changes) as p;
end
$function$;
comment on function _consensus_problems is
  'Every row that consensus is said to have made and that bootstrap and signed, applied proposals do not derive; id is '
  'the row''s id, the version in the risk tables, or null for a missing row. No row: all is derived.';
-- Replaces the placeholder in 08_lockdown/consensus.sql.
create or replace function _release_holds(event lockdown_events) returns boolean
language sql stable security definer
set search_path from current
as $function$
  select coalesce(event.event_type::text = 'RELEASED'::text
    and not exists (select from only lockdown_events as l where l.proposal_id = event.proposal_id and l.id < event.id)
    and exists (
      select from only risk_change_log as c
      cross join lateral _replay_consensus(true, c.version) as r
      where c.proposal_id = event.proposal_id and c.kind::text = 'lockdown_release'::text
        and r.version = c.version and r.problem is null and r.kind = 'lockdown_release'
            and r.payload -> 'damage' = event.damage), false);
$function$;
comment on function _release_holds is
  'Whether an event is the only one of an applied lockdown_release that lists its damage, signed by its proposer and '
  'enough other agents, each of which the bootstrap or a signed proposal made an agent.';
create function _require_consensus() returns void
language plpgsql
set search_path from current
as $function$
declare
  broken  record;
begin
  select p.* into broken
  from (select max(l.version) as version from only risk_change_log as l) as last
  cross join lateral _agent_problems(array(select c from _replay_consensus(true, last.version) as c)) as p
  limit 1;
  if found then
    perform _refuse_consensus(
      'RSK-007', 'agents or change log are not what the agents signed',
      format('%s %s: %s.', broken.table_name, coalesce(broken.id::text, ''), broken.problem),
      'The tables were changed by force. Run select * from verify_config_integrity(), and put back what stood there.');
  end if;
end
$function$;
comment on function _require_consensus is
  'Raises RSK-007 unless every agent and every revocation is derived from the bootstrap or a signed, applied proposal, '
  'and the current state from the last one. Each proposal signs the whole state before it.';

-- sql/12_consensus/checks.sql

-- Checks of the members of a payload
--
-- Each raises RSK-001 (RSK-003 for a key) and says what is wrong. Decimals come as strings such as "0.0250", because
-- many languages read a JSON number as a binary float.

create function _check_members(kind text, payload jsonb, members text[]) returns void
language plpgsql
set search_path from current
as $function$
declare
  wrong text;
begin
  if jsonb_typeof(payload) is distinct from 'object' then
    perform _refuse_consensus(
      'RSK-001', format('the payload of %s is not an object', kind), format('It is %s.', left(payload::text, 200)),
      'Give an object with the members that docs/risk.md lists for this kind.');
  end if;
  select string_agg(case when m.name is null then 'unknown ' || k.name else 'missing ' || m.name end, ', ') into wrong
  from unnest(members) as m(name)
  full join jsonb_object_keys(payload) as k(name) on k.name = m.name
  where m.name is null or k.name is null;
  if wrong is not null then
    perform _refuse_consensus(
      'RSK-001', format('the payload of %s is not complete', kind), format('Members: %s.', wrong),
      format('Give exactly these members, with everything that is to hold, never a difference: %s.',
             array_to_string(members, ', ')));
  end if;
end
$function$;
comment on function _check_members is
  'Raises RSK-001 unless a payload has exactly these members.';
create function _check_decimal(member text, value jsonb, lowest numeric, highest numeric, places integer) returns void
language plpgsql
set search_path from current
as $function$
declare
  given numeric;
begin
  if jsonb_typeof(value) is distinct from 'string' or value #>> '{}' !~ '^(0|[1-9][0-9]{0,27})([.][0-9]{1,28})?$' then
    perform _refuse_consensus(
      'RSK-001', format('%s is not a decimal', member),
      format('It is %s.', left(coalesce(value::text, 'missing'), 60)),
      'Give a string such as "0.0250": digits and a point, no sign, no exponent.');
  end if;
  given := (value #>> '{}')::numeric;
  if min_scale(given) > places or given < lowest or given > highest then
    perform _refuse_consensus(
      'RSK-001', format('%s is out of bounds', member), format('It is %s.', given),
      format('Give a number from %s to %s with at most %s decimals.', lowest, highest, places));
  end if;
end
$function$;
comment on function _check_decimal is
  'Raises RSK-001 unless a member is a decimal string within bounds.';
create function _check_text(member text, value jsonb, longest integer) returns void
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'string' or btrim(value #>> '{}') = '' or length(value #>> '{}') > longest
     or not _is_plain_text(value #>> '{}') then
    perform _refuse_consensus(
      'RSK-001', format('%s is not a plain text', member),
      format('It is %s.', left(coalesce(value::text, 'missing'), 200)),
      format('Give 1 to %s characters, all of them visible.', longest));
  end if;
end
$function$;
comment on function _check_text is
  'Raises RSK-001 unless a member is a visible, non-empty text.';
create function _check_uuid(member text, value jsonb) returns uuid
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'string'
     or value #>> '{}' !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
    perform _refuse_consensus(
      'RSK-001', format('%s is not a uuid', member),
      format('It is %s.', left(coalesce(value::text, 'missing'), 60)), 'Give a uuid in lower case.');
  end if;
  return (value #>> '{}')::uuid;
end
$function$;
comment on function _check_uuid is
  'The uuid in a member. Raises RSK-001 if it is not one.';
create function _check_public_key(value jsonb) returns bytea
language plpgsql
set search_path from current
as $function$
declare
  key bytea;
begin
  if jsonb_typeof(value) is distinct from 'string' or value #>> '{}' !~ '^[0-9a-f]{64}$' then
    perform _refuse_consensus(
      'RSK-003', 'public_key is not a key', format('It is %s.', left(coalesce(value::text, 'missing'), 80)),
      'Give 32 bytes as 64 lower-case hex digits.');
  end if;
  key := decode(value #>> '{}', 'hex');
  if _ed25519_key_is_weak(key) then
    perform _refuse_consensus(
      'RSK-003', 'public_key is weak',
      format('%s is not canonical, not on the curve, or of small order.', value #>> '{}'),
      'Make a new key: alpha-db agents keygen.');
  end if;
  if exists (select from only agents as a where a.public_key = key) then
    perform _refuse_consensus(
      'RSK-003', 'public_key was enrolled before', format('Key %s.', value #>> '{}'),
      'Make a new key: a key is never used again.');
  end if;
  return key;
end
$function$;
comment on function _check_public_key is
  'The key in a member. Raises RSK-003 if it is malformed, weak or was used before.';
create function _check_active(agent uuid, what text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if not exists (select from _active_agents() as a where a.agent_id = agent) then
    perform _refuse_consensus(
      'RSK-003', format('the agent to be %s is unknown or revoked', what), format('Agent %s.', agent),
      'Name an active agent: alpha-db agents list shows them.');
  end if;
end
$function$;
comment on function _check_active is
  'Raises RSK-003 unless the agent to be replaced or revoked is active.';
create function _refuse_missing_tables(damage jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  missing text;
begin
  select string_agg(left(d.value ->> 'table', 63), ', ') into missing
  from jsonb_array_elements(damage) as d where d.value ->> 'verdict' = 'table_missing';
  if missing is not null then
    perform _refuse_consensus(
      'RSK-005', 'a release cannot acknowledge a table that is gone',
      format('Missing, in whole or in part: %s.', left(missing, 400)),
      'Restore it from a dump (docs/operations.md), then propose again.');
  end if;
end
$function$;
comment on function _refuse_missing_tables is
  'Raises RSK-005 if the damage of a release names a table that is gone: there is nothing to acknowledge.';

-- sql/12_consensus/payloads.sql

-- Payloads: what a proposal of each kind must say
--
-- A payload says everything that is to hold, never a difference, so that it can be understood without the state. There
-- is one function for each kind; _check_payload calls it, when something is proposed and again when it is applied (what
-- was possible when it was proposed need not be any more: agents may have gone).
--
-- A new kind of proposal touches the following. A place that does not know a kind raises.
--
-- In SQL, here in 12_consensus:
--
--   proposals.sql   its name, in _proposal_kinds
--   payloads.sql    its function _check_…, and its line in _check_payload
--   rules.sql       its line in _change_direction: tighten or loosen (a limit), or govern (agents, quorum)
--   apply.sql       its line in _check_allowed: beside risk_config if it is a limit, because a lockdown must refuse to
--                   loosen it; and its line in _apply_proposal: what it does, or null
--   state.sql       _state_text and _next_state_text, only if it changes the text of the state
--   agents.sql      _agent_removed_by, only if it revokes or replaces an agent
--   replay.sql      _replay_consensus, only if it changes agents or quorum
--   problems.sql    only if it writes a table of this chapter; that table's trigger is in validate.sql
--
-- Every state that was ever signed must keep its text, the empty one above all, because proposals name the hash: print
-- a new member only while it is set. Where the text changes, _stored_state_text in 17_risk/apply.sql must print the
-- same, or the next change of limits is refused with RSK-007.
--
-- A kind without a table of its own, such as quorum_policy, needs no more: its entry in risk_change_log is what holds.
-- A kind with a table, such as risk_config, also needs in 17_risk: the table (limits.sql), its triggers (guard.sql),
-- what writes it (apply.sql), what should stand in it (verify.sql), its grants (read.sql), its name in rollback.sql.
--
-- Until sql/manifest.toml has these migrations as released, edit the files in place. Afterwards the kind comes in a
-- migration of its own: the new function, and create or replace of those above; bin/build makes the rollback. If the
-- arguments of a function change, drop it and create it again, with its callers and grants: create or replace would
-- make a second function.
--
-- In Python, which checks the same independently, and outside:
--
--   security/payloads.py      MEMBERS and check_payload
--   security/replay.py        direction; next_state if it changes the state, _apply and _governed if it does more
--   security/state.py         RiskState, its text and parse, if it changes the state; the bounds of a new decimal
--   risk/config_manager.py    ON_LIMITS, if it is a limit
--   risk/cli/                 a command of its own (propose.py, __init__.py): there is no general "propose";
--                             history.py; get_config.py if it is shown there
--   risk/orders.py            if the guardrail enforces it
--   tests/risk/               test_payloads.py: entries in GOOD and BAD, a test asks for them; test_two_languages.py
--   tests/security/           test_grants.py, for a new table
--   docs/                     risk.md (payload, state, command), design.md, command-line.md; bin/lint --fix makes the
--                             man page

create function _check_risk_config(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('risk_config', payload,
                         '{max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio}');
  perform _check_decimal('max_position_size_pct', payload -> 'max_position_size_pct', 0, 1, 4);
  perform _check_decimal('daily_drawdown_limit_pct', payload -> 'daily_drawdown_limit_pct', 0, 1, 4);
  perform _check_decimal('max_leverage_ratio', payload -> 'max_leverage_ratio', 0, 100, 2);
end
$function$;
comment on function _check_risk_config is
  'Raises RSK-001 unless a payload holds limits within their bounds.';
create function _check_kill_threshold(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('asset_kill_threshold', payload, '{asset, kill_loss_pct, kill_price, retired}');
  -- As long as its column, which widen_column may have made longer.
  perform _check_text('asset', payload -> 'asset', (
    select a.atttypmod - 4 from pg_attribute as a
    where a.attrelid = 'risk_asset_kill_thresholds'::regclass and a.attname = 'asset'));
  perform _check_decimal('kill_loss_pct', payload -> 'kill_loss_pct', 0, 1, 4);
  if payload -> 'kill_price' <> 'null' then
    perform _check_decimal('kill_price', payload -> 'kill_price', 0.0000000001, 999999999999999999.9999999999, 10);
  end if;
  if jsonb_typeof(payload -> 'retired') <> 'boolean' then
    perform _refuse_consensus(
      'RSK-001', 'retired is not true or false', format('It is %s.', payload -> 'retired'),
      'Give true to end the threshold, false otherwise.');
  end if;
end
$function$;
comment on function _check_kill_threshold is
  'Raises RSK-001 unless a payload holds a threshold within its bounds.';
create function _check_agent_enrol(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  agent  uuid;
begin
  perform _check_members('agent_enrol', payload, '{agent_id, name, role, public_key, replaces}');
  agent := _check_uuid('agent_id', payload -> 'agent_id');
  if exists (select from only agents as a where a.agent_id = agent) then
    perform _refuse_consensus(
      'RSK-001', 'agent_id is taken', format('Agent %s.', agent),
      'Choose a new uuid: an identity is never used again.');
  end if;
  perform _check_text('name', payload -> 'name', 50);
  perform _check_text('role', payload -> 'role', 30);
  perform _check_public_key(payload -> 'public_key');
  if payload -> 'replaces' <> 'null' then
    perform _check_active(_check_uuid('replaces', payload -> 'replaces'), 'replaced');
  end if;
end
$function$;
comment on function _check_agent_enrol is
  'Raises RSK-001 or RSK-003 unless a payload enrols a new agent with a new, strong key.';
create function _check_agent_revoke(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('agent_revoke', payload, '{agent_id}');
  perform _check_active(_check_uuid('agent_id', payload -> 'agent_id'), 'revoked');
end
$function$;
comment on function _check_agent_revoke is
  'Raises RSK-001 or RSK-003 unless a payload names an active agent.';
create function _check_quorum_policy(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  item  jsonb;
  most  integer;
begin
  perform _check_members('quorum_policy', payload, '{tighten, loosen, govern}');
  most := (select count(*) - 1 from _active_agents());
  for item in select v.value from jsonb_each(payload) as v loop
    if jsonb_typeof(item) <> 'number' or (item #>> '{}') !~ '^[1-9]$' or (item #>> '{}')::integer > most then
      perform _refuse_consensus(
        'RSK-001', 'a quorum is out of bounds', format('It is %s.', left(payload::text, 200)),
        format('Give whole numbers from 1 to %s, the number of agents besides the proposer.', most));
    end if;
  end loop;
  if (payload ->> 'loosen')::integer < 2 or (payload ->> 'govern')::integer < 2 then
    perform _refuse_consensus(
      'RSK-001', 'a quorum is out of bounds', format('It is %s.', left(payload::text, 200)),
      'Give 2 or more for loosen and for govern.');
  end if;
end
$function$;
comment on function _check_quorum_policy is
  'Raises RSK-001 unless a payload holds numbers of approvals that the agents can reach.';
create function _check_lockdown_release(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  item  jsonb;
begin
  perform _check_members('lockdown_release', payload, '{damage}');
  if jsonb_typeof(payload -> 'damage') <> 'array' then
    perform _refuse_consensus(
      'RSK-001', 'a release lists the damage that it acknowledges', format('It is %s.', left(payload::text, 200)),
      'List it: alpha-db lockdown release does; from psql: select * from damaged_rows().');
  elsif jsonb_array_length(payload -> 'damage') > 10000 then
    perform _refuse_consensus(
      'RSK-001', 'a release acknowledges at most 10000 places',
      format('It lists %s.', jsonb_array_length(payload -> 'damage')),
      'Restore from a backup, or install into a new schema and keep this one as evidence: this is too much to '
      'acknowledge.');
  end if;
  perform _refuse_missing_tables(payload -> 'damage');
  select d.value into item
  from jsonb_array_elements(payload -> 'damage') as d
  where case when jsonb_typeof(d.value) <> 'object' then true else
    not d.value ?& array['table', 'id', 'verdict', 'actual_hash', 'expected_hash']
    or d.value - array['table', 'id', 'verdict', 'actual_hash', 'expected_hash'] <> '{}'
    or not exists (select from only chains as c where to_jsonb(c.table_name) = d.value -> 'table')
    or jsonb_typeof(d.value -> 'id') <> 'number' or (d.value ->> 'id') !~ '^-?[0-9]{1,19}$'
    or jsonb_typeof(d.value -> 'verdict') <> 'string' or (d.value ->> 'verdict') !~ '^[a-z_]{1,40}$'
    or jsonb_typeof(d.value -> 'actual_hash') not in ('string', 'null') or length(d.value ->> 'actual_hash') > 64
    or jsonb_typeof(d.value -> 'expected_hash') not in ('string', 'null')
        or length(d.value ->> 'expected_hash') > 64 end
  limit 1;
  if found then
    perform _refuse_consensus(
      'RSK-001', 'not a damaged place', format('It is %s.', left(item::text, 400)),
      'Give as table a chained table, as id a row of it, as verdict what find_chain_damage says, as actual_hash and '
      'expected_hash the hashes or null.');
  end if;
end
$function$;
comment on function _check_lockdown_release is
  'Raises RSK-001 unless a payload is a list of damaged places, RSK-005 if one of them is a table that is gone.';
create function _refuse_unknown_kind(kind text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse_consensus(
    'RSK-001', format('%s is not a kind of proposal', coalesce(quote_literal(left(kind, 40)), 'NULL')),
    'The payload was not looked at.',
    format('Choose one of %s.', array_to_string(_proposal_kinds(), ', ')));
end
$function$;
comment on function _refuse_unknown_kind is
  'Raises RSK-001 for a kind of proposal that does not exist. Never returns.';
create function _require_migration(kind text, table_name text, migration text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if to_regclass(format('%I.%I', current_schema(), table_name)) is null then
    raise exception 'alpha-db: proposals of kind % need migration %', kind, migration
      using errcode = '55000', hint = 'Apply the migration: alpha-db migrate.';
  end if;
end
$function$;
comment on function _require_migration is
  'Raises 55000 if the migration that brings what a kind of proposal changes is not applied.';
create function _check_payload(kind text, payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  -- What the last three call is made in 16_retention.
  perform _require_migration(kind, 'archived_segments', '007_own_tables') where kind in ('archive', 'hold', 'unhold');
  case kind
    when 'risk_config'          then perform _check_risk_config(payload);
    when 'asset_kill_threshold' then perform _check_kill_threshold(payload);
    when 'agent_enrol'          then perform _check_agent_enrol(payload);
    when 'agent_revoke'         then perform _check_agent_revoke(payload);
    when 'quorum_policy'        then perform _check_quorum_policy(payload);
    when 'lockdown_release'     then perform _check_lockdown_release(payload);
    when 'archive'              then perform _check_archive(payload);
    when 'hold'                 then perform _check_hold(payload);
    when 'unhold'               then perform _check_unhold(payload);
    else perform _refuse_unknown_kind(kind);
  end case;
end
$function$;
comment on function _check_payload is
  'Raises RSK-001 or RSK-003 unless a payload is complete, well-formed and possible.';

-- sql/12_consensus/bootstrap.sql

-- The bootstrap: the first agents
--
-- Before there are agents, nobody can propose any. So the owner enrols the first ones, three or more, in one statement,
-- once. Each of them signs the whole list, so that nobody, not even the owner, can add, leave out or exchange one
-- afterwards: the trigger _check_bootstrap (validate.sql) refuses it, and the replay finds it.

create function bootstrap_message(agents jsonb) returns text
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select _bootstrap_text(_installation_origin(), bootstrap_message.agents);
$function$;
comment on function bootstrap_message is
  'The exact text that each of the first agents signs: [{"agent_id", "name", "role", "public_key": hex}, …] in any '
  'order; a "signature" in a member is ignored.';
create function _check_bootstrap_list(agents jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  item   jsonb;
  twice  text;
begin
  if jsonb_typeof(agents) is distinct from 'array' or jsonb_array_length(agents) < 3 then
    perform _refuse_consensus(
      'RSK-003', 'a bootstrap needs at least three agents', 'With fewer no quorum could be reached.',
      'Give three agents or more, in one array.');
  end if;
  for item in select e.value from jsonb_array_elements(agents) as e loop
    perform _check_members('agent', item, '{agent_id, name, role, public_key, signature}');
    perform _check_agent_enrol(item - 'signature' || '{"replaces": null}');
    if jsonb_typeof(item -> 'signature') <> 'string' or item ->> 'signature' !~ '^[0-9a-f]{128}$' then
      perform _refuse_consensus(
        'RSK-003', 'signature is not a signature',
        format('Agent %s: %s.', item ->> 'agent_id', left(item ->> 'signature', 150)),
        'Give 64 bytes as 128 lower-case hex digits: alpha-db agents sign-bootstrap makes them.');
    end if;
  end loop;
  select min(d.given) into twice
  from (select e.value ->> 'agent_id' as given
        from jsonb_array_elements(agents) as e group by 1 having count(*) > 1) as d;
  if twice is not null then
    perform _refuse_consensus(
      'RSK-001', 'agent_id is taken', format('Agent %s is given twice.', twice),
      'Choose a new uuid: an identity is never used again.');
  end if;
  select min(d.given) into twice
  from (select e.value ->> 'public_key' as given
        from jsonb_array_elements(agents) as e group by 1 having count(*) > 1) as d;
  if twice is not null then
    perform _refuse_consensus(
      'RSK-003', 'public_key is given twice', format('Key %s.', twice),
      'Make a new key: each agent has one of its own.');
  end if;
end
$function$;
comment on function _check_bootstrap_list is
  'Raises RSK-001 or RSK-003 unless these are three agents or more, each new, with a key and a signature of its own.';
create function bootstrap_agents(agents jsonb) returns setof agents
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  unsigned  text;
  message   text;
begin
  perform _require_primary('bootstrap_agents');
  lock table only lock_agents in share update exclusive mode;
  if exists (select from only agents as a) then
    perform _refuse_consensus(
      'RSK-002', 'the agents were bootstrapped before',
      format('There are %s of them.', (select count(*) from only agents as a)),
      'Enrol further agents by proposals of kind agent_enrol.');
  end if;
  perform _check_bootstrap_list(bootstrap_agents.agents);
  message := bootstrap_message(bootstrap_agents.agents);
  select e.value ->> 'agent_id' into unsigned from jsonb_array_elements(bootstrap_agents.agents) as e
  where not _signs(decode(e.value ->> 'public_key', 'hex'), message, decode(e.value ->> 'signature', 'hex')) limit 1;
  if found then
    perform _refuse_consensus(
      'RSK-003', format('the signature of agent %s is not for this bootstrap', unsigned),
      format(E'The text was:\n%s', message),
      'Let each agent sign the UTF-8 bytes of bootstrap_message(…) of the whole list, its last line feed included.');
  end if;
  -- One statement, because what stands there when it has ended is the bootstrap, and never changes.
  return query insert into agents (agent_id, name, role, public_key, signature)
    select (e.value ->> 'agent_id')::uuid, e.value ->> 'name', e.value ->> 'role',
           decode(e.value ->> 'public_key', 'hex'),
           decode(e.value ->> 'signature', 'hex')
    from jsonb_array_elements(bootstrap_agents.agents) with ordinality as e order by e.ordinality
    returning *;
end
$function$;
comment on function bootstrap_agents is
  'Enrols the first agents, three or more, once for an installation: [{"agent_id", "name", "role", "public_key": hex, '
  '"signature": hex}, …], each signing bootstrap_message of the list. Only the owner may. Raises RSK-001, RSK-002, '
  'RSK-003.';

-- sql/12_consensus/propose.sql

-- Proposing
--
-- propose() first checks what costs little, then the signature, and only then what costs much or takes a lock, because
-- until the signature holds anyone may be calling. After the lock it looks again at what may have changed meanwhile.

create function proposal_message(
  proposal_id uuid, kind text, payload jsonb, reason text, proposer uuid, expires_at timestamptz,
  previous text default null
) returns text
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select _proposal_text(_installation_origin(), proposal_message.proposal_id, proposal_message.kind,
                        coalesce(proposal_message.previous, _text_digest(_current_state_text())),
                        proposal_message.payload, proposal_message.reason, proposal_message.proposer,
                        proposal_message.expires_at);
$function$;
comment on function proposal_message is
  'The exact text to sign for a proposal; previous defaults to the hash of the current state.';
create function _refuse_used_proposal_id(proposal_id uuid) returns void
language plpgsql
set search_path from current
as $function$
begin
  if exists (select from only proposals as p where p.proposal_id = _refuse_used_proposal_id.proposal_id) then
    perform _refuse_consensus(
      'RSK-006', 'the proposal_id was used before', format('Proposal %s.', proposal_id),
      'Choose a new uuid for each proposal.');
  end if;
end
$function$;
comment on function _refuse_used_proposal_id is
  'Raises RSK-006 if there is a proposal with this id.';
create function _refuse_short_signature(signature bytea, message_function text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if signature is null or length(signature) <> 64 then
    perform _refuse_consensus(
      'RSK-003', 'a signature is 64 bytes', format('It has %s.', coalesce(length(signature), 0)),
      format('Sign the UTF-8 bytes of %s(…) with Ed25519.', message_function));
  end if;
end
$function$;
comment on function _refuse_short_signature is
  'Raises RSK-003 unless a signature has 64 bytes.';
create function _key_of_active(agent_id uuid, what text) returns bytea
language plpgsql
set search_path from current
as $function$
declare
  key bytea;
begin
  select a.public_key into key from _active_agents() as a where a.agent_id = _key_of_active.agent_id;
  if not found then
    perform _refuse_consensus(
      'RSK-003', format('the %s is unknown or revoked', what), format('Agent %s.', coalesce(agent_id::text, 'null')),
      'Name an active agent: alpha-db agents list shows them.');
  end if;
  return key;
end
$function$;
comment on function _key_of_active is
  'The key of an active agent. Raises RSK-003 for any other, as the proposer or the voter.';
create function _check_proposal(proposal_id uuid, kind text, payload jsonb, reason text, expires_at timestamptz)
returns void
language plpgsql
set search_path from current
as $function$
begin
  if proposal_id is null then
    perform _refuse_consensus(
      'RSK-006', 'a proposal needs a proposal_id', 'It is null.', 'Choose a new uuid for each proposal.');
  end if;
  -- Before the lock, too, because a signature that was stored can be sent again by anyone who can read it.
  perform _refuse_used_proposal_id(proposal_id);
  if kind is null or kind <> all (_proposal_kinds()) then
    perform _refuse_unknown_kind(kind);
  end if;
  if jsonb_typeof(payload) is distinct from 'object' or pg_column_size(payload) > 8388608
     or kind <> 'lockdown_release' and pg_column_size(payload) > 65536 then
    perform _refuse_consensus(
      'RSK-001', 'the payload is missing, not an object, or too large',
      format('It has %s bytes.', pg_column_size(payload)),
      'Give at most 64 kB; for the list of a lockdown_release at most 10000 places and 8 MB.');
  end if;
  if reason is null or octet_length(reason) > 8000 or length(reason) > 2000 or btrim(reason) = ''
     or not _is_plain_text(reason) then
    perform _refuse_consensus(
      'RSK-001', 'the reason is missing, too long, or hides characters',
      format('It has %s characters.', coalesce(length(reason), 0)),
      'Give a reason of at most 2000 characters, without bidi, zero-width or control characters.');
  end if;
  if not _is_readable_time(expires_at) or expires_at <= clock_timestamp() then
    perform _refuse_consensus(
      'RSK-006', 'the proposal has expired', coalesce(expires_at::text, 'It has no expires_at.'),
      'Give a time in the future, before the year 10000.');
  end if;
end
$function$;
comment on function _check_proposal is
  'Raises RSK-001 or RSK-006 for what is wrong with a proposal before anyone looks at its signature.';
create function _refuse_other_state(previous text, state text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if previous <> _text_digest(state) then
    perform _refuse_consensus(
      'RSK-005', 'the proposal was made for another state than the current one',
      format('Made for %s, current is %s.', left(previous, 80), _text_digest(state)),
      'Look at the current state and propose again.');
  end if;
end
$function$;
comment on function _refuse_other_state is
  'Raises RSK-005 if a proposal was made for another state than this one.';
create function _refuse_many_pending(proposer uuid, state text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if (select count(*) from only proposals as p
      where p.proposer = _refuse_many_pending.proposer and p.previous::text = _text_digest(state)
        and _proposal_status(p) = 'PENDING') >= 20 then
    perform _refuse_consensus(
      'RSK-006', 'the agent has 20 pending proposals', format('Agent %s.', proposer),
      'Withdraw one (the proposer votes REJECT), or wait until one is applied or expires.');
  end if;
end
$function$;
comment on function _refuse_many_pending is
  'Raises RSK-006 if an agent has 20 proposals pending.';
create function propose(
  proposal_id uuid, kind text, payload jsonb, reason text, proposer uuid, expires_at timestamptz, signature bytea,
  previous text default null
) returns proposals
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  key      bytea;
  state    text;
  message  text;
  damage   jsonb;
  stored   proposals;
begin
  perform _require_primary('propose');
  perform _refuse_short_signature(signature, 'proposal_message');
  perform _check_proposal(proposal_id, kind, payload, reason, expires_at);
  key := _key_of_active(proposer, 'proposer');
  state := _current_state_text();
  perform _refuse_other_state(previous, state);
  message := _proposal_text(_installation_origin(), proposal_id, kind, _text_digest(state), payload, reason, proposer,
                            expires_at);
  if not _signs(key, message, signature) then
    perform _refuse_consensus(
      'RSK-003', 'the signature is not the proposer''s for this text',
      format(E'The text was:\n%s', left(message, 4000)),
      'Sign the UTF-8 bytes of proposal_message(…), its last line feed included.');
  end if;
  if not _is_plain_text(payload::text) then
    perform _refuse_consensus(
      'RSK-001', 'a text of the payload hides characters', 'What is signed must show all that it says.',
      'Leave out bidi, zero-width and control characters.');
  end if;
  perform _check_payload(kind, payload);
  perform _require_consensus();
  if kind = 'lockdown_release' then
    damage := _open_damage_items();  -- release.sql; it reads all chains, so before the lock
  elsif kind = 'archive' then
    perform _refuse_archive(payload);  -- 16_retention/propose.sql; it looks at many rows, so before the lock
  end if;

  lock table only lock_proposals in share update exclusive mode;
  perform _refuse_used_proposal_id(proposal_id);
  perform _refuse_other_state(_text_digest(state), _current_state_text());
  perform _refuse_many_pending(proposer, state);
  perform _check_allowed(kind, payload, state::jsonb);  -- apply.sql
  if kind = 'lockdown_release' then
    perform _refuse_other_damage(payload -> 'damage', damage);  -- release.sql
  end if;
  insert into proposals (proposal_id, origin, kind, payload, reason, previous, proposer, proposer_key, expires_at,
                         signed_text, digest, signature)
  values (propose.proposal_id, _installation_origin(), propose.kind, propose.payload, propose.reason,
          _text_digest(state), propose.proposer, key, propose.expires_at,
          message, _text_digest(message), propose.signature)
  returning * into stored;
  return stored;
end
$function$;
comment on function propose is
  'Stores a signed proposal and returns its row. Raises RSK-001, RSK-003, RSK-005, RSK-006, RSK-007, AUD-009, AUD-016.';

-- sql/12_consensus/release.sql

-- Releasing the lockdown: the proposal must list exactly the damage that is there
--
-- Reading the damage means reading all chains, which takes long and must not happen under the lock. So propose() and
-- vote() read it before they take the lock. New damage that is found meanwhile raises another alarm (a sequence, see
-- 08_lockdown): the vote that would complete the quorum remembers the alarm from before it read, and gives up if
-- another has been raised since. The release lifts that one alarm and no later one.

create function _open_damage_items() returns jsonb
language sql stable
set search_path from current
as $function$
  select coalesce(jsonb_agg(jsonb_build_object('table', d."table", 'id', d.id, 'verdict', d.verdict,
                                               'actual_hash', d.actual_hash, 'expected_hash', d.expected_hash)), '[]')
  from open_damage() as d;
$function$;
comment on function _open_damage_items is
  'The damage that is there, as a release must list it.';
create function _refuse_other_damage(listed jsonb, damage jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  too_many  text;
  too_few   text;
begin
  perform _refuse_missing_tables(damage);
  select string_agg(x.value::text, ', ') into too_many
  from (select e.value from (select l.value from jsonb_array_elements(listed) as l
                             except all select d.value from jsonb_array_elements(damage) as d) as e limit 5) as x;
  select string_agg(x.value::text, ', ') into too_few
  from (select e.value from (select d.value from jsonb_array_elements(damage) as d
                             except all select l.value from jsonb_array_elements(listed) as l) as e limit 5) as x;
  if too_many is not null or too_few is not null then
    perform _refuse_consensus(
      'RSK-005', 'a release lists exactly the damage that is there',
      concat_ws(' ', 'Listed, but not there: ' || too_many || '.', 'There, but not listed: ' || too_few || '.'),
      'List it (alpha-db lockdown release does; from psql: select * from damaged_rows()), and propose again.');
  end if;
end
$function$;
comment on function _refuse_other_damage is
  'Raises RSK-005 unless a release lists all damage that is there, and nothing else, and no table is gone.';
create function _look_before_release(proposal proposals, out alarm bigint, out damage jsonb)
language plpgsql
set search_path from current
as $function$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'a lockdown is released in READ COMMITTED only, not in %',
      upper(current_setting('transaction_isolation'))
      using errcode = '0A000', detail = 'An older snapshot does not show the newest damage.',
            hint = 'Vote in a transaction of its own: begin isolation level read committed.';
  end if;
  if (select count(*) from _counted_approvals(proposal)) + 1
     < _approvals_needed(proposal, _current_state_text()::jsonb) then
    return;
  end if;
  -- First the alarm, then the damage.
  alarm := pg_sequence_last_value('lockdown_alarm'::regclass);
  damage := _open_damage_items();
  if not exists (select from only lockdown_events as l
                 where l.event_type::text = 'ENGAGED'::text and l.alarm = _look_before_release.alarm) then
    perform _refuse_consensus(
      'RSK-005', 'the alarm that stands is not recorded as an event yet', 'Its event is not written yet.',
      'Run select * from verify_chain_integrity(), which records it; look at what it finds, and vote again.');
  end if;
end
$function$;
comment on function _look_before_release is
  'Before the lock of a vote that would complete a release: the alarm that stands, and the damage that is there; '
  'nulls if the vote would not complete it. Raises RSK-005 for an alarm without an event, 0A000 in other isolation '
  'levels.';
create function _refuse_changed_damage(proposal proposals, alarm bigint, damage jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  if damage is null or alarm is distinct from pg_sequence_last_value('lockdown_alarm'::regclass) then
    raise exception 'could not serialize access: others voted, or found damage, at the same time'
      using errcode = '40001', hint = 'Run the transaction again.';
  end if;
  perform _refuse_other_damage(proposal.payload -> 'damage', damage);
end
$function$;
comment on function _refuse_changed_damage is
  'Raises 40001 if what _look_before_release saw has changed, RSK-005 if the release lists other damage.';

-- sql/12_consensus/vote.sql

-- Voting. How a vote is counted stands at the top of rules.sql.
--
-- vote() first checks what costs little, then the signature, and only then what costs much or takes a lock, because
-- until the signature holds anyone may be calling. After the lock, which all votes take one after the other, it looks
-- again at what may have changed meanwhile.

create function approval_message(proposal_id uuid, agent_id uuid, decision text, signed_at timestamptz) returns text
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select _approval_text(p.origin, approval_message.decision, p.digest, approval_message.agent_id,
                        approval_message.signed_at)
  from only proposals as p where p.proposal_id = approval_message.proposal_id;
$function$;
comment on function approval_message is
  'The exact text to sign for a vote; null if there is no such proposal.';
create function _check_vote(proposal proposals, decision text, signed_at timestamptz, signature bytea) returns void
language plpgsql
set search_path from current
as $function$
begin
  if decision is null or decision not in ('APPROVE', 'REJECT') then
    perform _refuse_consensus(
      'RSK-004', format('%s is not a vote', coalesce(quote_literal(left(decision, 40)), 'NULL')),
      'A vote is for a proposal or against it.', 'Vote APPROVE or REJECT.');
  end if;
  perform _refuse_short_signature(signature, 'approval_message');
  -- A clock that was set back must not keep off a veto or a tightening: only what loosens needs a time that has come.
  if not _is_readable_time(signed_at)
     or signed_at > clock_timestamp() + interval '5 minutes' and decision = 'APPROVE'
        and _change_direction(proposal.kind::text, proposal.payload, _current_state_text()::jsonb) <> 'tighten' then
    perform _refuse_consensus(
      'RSK-003', 'signed_at is not a time of signing', format('It is %s.', coalesce(signed_at::text, 'null')),
      'Set the clock of the signing machine.');
  end if;
end
$function$;
comment on function _check_vote is
  'Raises RSK-003 or RSK-004 for what is wrong with a vote before anyone looks at its signature.';
create function _refuse_closed(proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
declare
  status  text := _proposal_status(proposal);
begin
  if status = 'STALE' then
    perform _refuse_other_state(proposal.previous::text, _current_state_text());
  elsif status <> 'PENDING' then
    perform _refuse_consensus(
      'RSK-006', format('the proposal is %s', lower(status)), format('Proposal %s.', proposal.proposal_id),
      'Propose again if it is still wanted.');
  end if;
end
$function$;
comment on function _refuse_closed is
  'Raises RSK-005 or RSK-006 for a proposal that is not pending.';
create function _refuse_second_vote(proposal_id uuid, agent_id uuid, key bytea) returns void
language plpgsql
set search_path from current
as $function$
begin
  if exists (select from only votes as v
             where v.proposal_id = _refuse_second_vote.proposal_id
               and (v.agent_id = _refuse_second_vote.agent_id or v.agent_key = key)) then
    perform _refuse_consensus(
      'RSK-004', 'the agent has voted on this proposal', format('Agent %s.', agent_id),
      'Let another agent vote: each agent votes once.');
  end if;
end
$function$;
comment on function _refuse_second_vote is
  'Raises RSK-004 if the agent, or its key, has voted on a proposal.';
create function _refuse_barred(proposal proposals, agent_id uuid, key bytea, decision text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if decision = 'APPROVE' and (agent_id = proposal.proposer or key = proposal.proposer_key) then
    perform _refuse_consensus(
      'RSK-004', 'a proposer cannot approve its own proposal', format('Agent %s.', agent_id),
      'Let another agent approve it. To withdraw, the proposer votes REJECT.');
  end if;
  if agent_id <> proposal.proposer
     and not exists (select from _eligible_voters(proposal) as e(id) where e.id = _refuse_barred.agent_id) then
    perform _refuse_consensus(
      'RSK-004', 'an agent has no vote on its own revocation or replacement', format('Agent %s.', agent_id),
      'Let another agent vote.');
  end if;
end
$function$;
comment on function _refuse_barred is
  'Raises RSK-004 for the proposer''s own approval, and for a vote on the voter''s own revocation or replacement.';
create function vote(proposal_id uuid, agent_id uuid, decision text, signed_at timestamptz, signature bytea)
returns text
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  proposal    proposals;
  key         bytea;
  message     text;
  is_release  boolean;
  standing    bigint;
  damage      jsonb;
begin
  perform _require_primary('vote');
  select * into proposal from only proposals as p where p.proposal_id = vote.proposal_id;
  if not found then
    perform _refuse_consensus(
      'RSK-006', 'there is no such proposal', format('Proposal %s.', coalesce(proposal_id::text, 'null')),
      'Name one of those that alpha-db risk proposals --all lists.');
  end if;
  perform _check_vote(proposal, decision, signed_at, signature);
  key := _key_of_active(agent_id, 'voter');
  message := _approval_text(_installation_origin(), decision, proposal.digest, agent_id, signed_at);
  if not _signs(key, message, signature) then
    perform _refuse_consensus(
      'RSK-003', 'the signature is not the voter''s for this text', format(E'The text was:\n%s', message),
      'Sign the UTF-8 bytes of approval_message(…), its last line feed included.');
  end if;
  -- Before the lock, too, because a signature that was stored can be sent again by anyone who can read it.
  perform _refuse_closed(proposal);
  perform _refuse_second_vote(proposal_id, agent_id, key);
  if decision = 'APPROVE' then
    perform _require_consensus();
  end if;
  is_release := decision = 'APPROVE' and proposal.kind::text = 'lockdown_release'::text;
  if is_release then
    select l.alarm, l.damage into standing, damage from _look_before_release(proposal) as l;
  elsif decision = 'APPROVE' and proposal.kind::text = 'archive'::text then
    -- What changes after this look makes the proposal stale, or is found when the rows are removed.
    perform _refuse_archive(proposal.payload);  -- 16_retention/propose.sql
  end if;

  lock table only lock_proposals in share update exclusive mode;
  perform _refuse_closed(proposal);
  perform _key_of_active(agent_id, 'voter');
  perform _refuse_second_vote(proposal_id, agent_id, key);
  perform _refuse_barred(proposal, agent_id, key, decision);
  insert into votes (proposal_id, digest, origin, agent_id, agent_key, decision, signed_at, signed_text, signature)
  values (vote.proposal_id, proposal.digest, _installation_origin(), vote.agent_id, key, vote.decision, vote.signed_at,
          message, vote.signature);
  if decision = 'REJECT' then
    return 'REJECTED';
  elsif (select count(*) from _counted_approvals(proposal))
        < _approvals_needed(proposal, _current_state_text()::jsonb) then
    return 'PENDING';
  end if;
  if is_release then
    perform _refuse_changed_damage(proposal, standing, damage);
  end if;
  perform _apply_proposal(proposal, agent_id, standing);  -- apply.sql
  return 'APPLIED';
end
$function$;
comment on function vote is
  'Stores a signed vote; the approval that completes the quorum applies the change in the same transaction. Returns '
  'PENDING, APPLIED or REJECTED. Raises RSK-001, RSK-003 to RSK-007, AUD-009, AUD-016.';

-- sql/12_consensus/apply.sql

-- What an approved proposal does
--
-- vote() calls _apply_proposal for the approval that completes the quorum, under its lock. First comes the entry in
-- risk_change_log; then what the entry stands for is written: agents, revocations, the release, or (17_risk/apply.sql,
-- which 23_risk_config brings) a version of the limits. Each of these tables has a trigger that compares a new row with
-- the last entry of the log (validate.sql), so nothing else can be written there.

create function _check_allowed(kind text, payload jsonb, state jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  case kind
  when 'risk_config', 'asset_kill_threshold' then
    perform _require_migration(kind, 'risk_configurations', '23_risk_config');
    perform _require_stored_state(_current_state_text());  -- 17_risk/apply.sql, with 23_risk_config
    if _change_direction(kind, payload, state) = 'loosen' and (select s.is_locked from lockdown_status() as s) then
      perform _refuse_consensus(
        'AUD-009', 'in a lockdown limits can only be tightened', 'This change loosens them.',
        'Look at the damage: select * from lockdown_status().');
    end if;
  when 'lockdown_release' then
    if not (select s.is_locked from lockdown_status() as s) then
      perform _refuse_consensus(
        'RSK-005', 'there is no lockdown to release', 'The lockdown is not engaged.',
        'Look at it: select * from lockdown_status().');
    end if;
  when 'archive', 'unhold' then
    if (select s.is_locked from lockdown_status() as s) then
      perform _refuse_consensus(
        'AUD-009', 'in a lockdown nothing leaves the log', 'The damage must be looked at first.',
        'Look at the damage: select * from lockdown_status().');
    end if;
  when 'agent_enrol', 'agent_revoke', 'quorum_policy', 'hold' then null;  -- always allowed
  else
    perform _unknown_kind(kind);
  end case;
end
$function$;
comment on function _check_allowed is
  'Raises AUD-009 for loosening in a lockdown, RSK-005 for a release without one, RSK-007 if the risk tables were '
  'changed by force.';
create function _log_applied(proposal proposals, approved_by uuid) returns risk_change_log
language plpgsql
set search_path from current
as $function$
declare
  before  text := _current_state_text();
  change  risk_change_log;
begin
  insert into risk_change_log (version, proposal_id, digest, kind, approved_by, approvals, previous, state_text,
                               state_hash)
  select (before::jsonb ->> 'version')::bigint + 1, proposal.proposal_id, proposal.digest, proposal.kind,
         _log_applied.approved_by,
         (select jsonb_agg(jsonb_build_object('agent_id', a.agent_id, 'public_key', encode(a.agent_key, 'hex'),
                                              'signed_at', _signed_time(a.signed_at),
                                              'signature', encode(a.signature, 'hex')) order by a.agent_id)
          from _counted_approvals(proposal) as a),
         _text_digest(before), s.after, _text_digest(s.after)
  from (select _next_state_text(before, proposal.kind, proposal.payload) as after) as s
  returning * into change;
  return change;
end
$function$;
comment on function _log_applied is
  'Writes the entry of risk_change_log: the approvals that count, and the state that the proposal leads to.';
create function _apply_proposal(proposal proposals, approved_by uuid, alarm bigint default null) returns void
language plpgsql
set search_path from current
as $function$
declare
  payload  jsonb := proposal.payload;
  removed  uuid  := _agent_removed_by(proposal.kind::text, proposal.payload)::uuid;
  change   risk_change_log;
begin
  -- What was possible when it was proposed need not be any more: the state is the same, but agents may have gone.
  perform _check_payload(proposal.kind, payload);
  perform _check_allowed(proposal.kind, payload, _current_state_text()::jsonb);
  change := _log_applied(proposal, approved_by);
  if removed is not null then
    insert into agent_revocations (agent_id, proposal_id) values (removed, proposal.proposal_id);
  end if;
  case proposal.kind::text
  when 'agent_enrol' then
    insert into agents (agent_id, name, role, public_key, replaces, proposal_id)
    values ((payload ->> 'agent_id')::uuid, payload ->> 'name', payload ->> 'role',
            decode(payload ->> 'public_key', 'hex'), removed, proposal.proposal_id);
  when 'agent_revoke' then null;
  when 'lockdown_release' then
    insert into lockdown_events (event_type, reason, damage, proposal_id, alarm)
    values ('RELEASED', proposal.reason, payload -> 'damage', proposal.proposal_id, _apply_proposal.alarm);
  when 'quorum_policy', 'hold', 'unhold' then null;  -- the log entry is what holds
  when 'archive' then
    perform _record_segments(proposal.proposal_id, payload);  -- 16_retention/archive.sql
  when 'risk_config', 'asset_kill_threshold' then
    perform _apply_risk_change(change, proposal);  -- 17_risk/apply.sql
  else
    perform _unknown_kind(proposal.kind::text);
  end case;
end
$function$;
comment on function _apply_proposal is
  'Applies an approved proposal: its entry in risk_change_log, then what it changes; a release lifts the given alarm. '
  'Called by vote. It notifies nobody: NOTIFY fails at commit once a stranger has filled the queue, and then no change '
  'could be made.';

-- sql/12_consensus/validate.sql

-- Triggers: these tables are written by the functions above, and by nothing else
--
-- The owner of the tables could insert a row by hand. So each row is compared with what the functions would have
-- written: a proposal or a vote with the agents of now, an entry of the log with its quorum counted again, an agent or
-- a revocation with the last entry of the log. A row that differs is refused with RSK-002. If the owner disables the
-- triggers, the replay finds the row (problems.sql), and verify_guards the trigger.

create function _refuse_direct_change(table_name text, operation text, detail text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'RSK-002', format('%s on %s was not made by an approved proposal', operation, table_name), detail,
    'Call propose(…), then vote(…): docs/risk.md.', table_name, operation);
end
$function$;
comment on function _refuse_direct_change is 'Raises RSK-002. Never returns.';
create function _validate_proposal() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if new.origin is distinct from _installation_origin()
     or new.previous::text is distinct from _text_digest(_current_state_text())
     or not exists (select from _active_agents() as a
                    where a.agent_id = new.proposer and a.public_key = new.proposer_key) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'Another installation, another state, or a proposer that is not active.');
  end if;
  return new;
end
$function$;
comment on function _validate_proposal is
  'Row trigger of proposals: refuses (RSK-002) what propose() would not have stored. Argument: table.';
create function _validate_vote() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if new.origin is distinct from _installation_origin()
     or not exists (select from _active_agents() as a where a.agent_id = new.agent_id and a.public_key = new.agent_key)
     or not exists (select from only proposals as p
                    where p.proposal_id = new.proposal_id and _proposal_status(p) = 'PENDING'
                      and (new.agent_id in (select e.* from _eligible_voters(p) as e)
                           or new.agent_id = p.proposer and new.decision::text = 'REJECT'::text)) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'Another installation, a proposal that is not pending, or a voter that has no vote on it.');
  end if;
  return new;
end
$function$;
comment on function _validate_vote is
  'Row trigger of votes: refuses (RSK-002) what vote() would not have stored. Argument: table.';
create function _validate_change() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  proposal  proposals;
  before    text := _current_state_text();
begin
  select * into proposal from only proposals as p where p.proposal_id = new.proposal_id;
  if not found
     or _proposal_status(proposal) <> 'PENDING'
     or (select count(*) from _counted_approvals(proposal)) < _approvals_needed(proposal, before::jsonb)
     or new.kind::text is distinct from proposal.kind::text
     or new.previous::text is distinct from _text_digest(before)
     or new.state_text is distinct from _next_state_text(before, proposal.kind, proposal.payload)
     or new.version is distinct from (before::jsonb ->> 'version')::bigint + 1
     or new.approved_by not in (select a.agent_id from _counted_approvals(proposal) as a) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op,
      format('Proposal %s is not pending with a complete quorum, or leads to another state.', new.proposal_id));
  end if;
  perform _require_consensus();
  return new;
end
$function$;
comment on function _validate_change is
  'Row trigger of risk_change_log: counts the quorum again and recomputes the state, and refuses (RSK-002) all else. '
  'Argument: table.';
create function _validate_agent() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if new.proposal_id is null then
    -- Whether the whole list is signed by each of its agents is checked when the statement has ended: _check_bootstrap.
    if new.signature is null or exists (select from only risk_change_log as c) then
      perform _refuse_direct_change(tg_argv[0], tg_op,
                                   'The agents were bootstrapped before, or the agent did not sign the bootstrap.');
    end if;
  elsif not exists (
      select from _last_applied() as l
      where l.proposal_id = new.proposal_id and l.kind = 'agent_enrol' and l.payload = _enrolment_of(new)) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'The proposal that it names is not the last one applied, or says something else.');
  end if;
  return new;
end
$function$;
comment on function _validate_agent is
  'Row trigger of agents: refuses (RSK-002) an agent that neither the bootstrap nor an approved proposal made. '
  'Argument: table.';
create function _check_bootstrap() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  found_here  record;
begin
  select * into found_here from _bootstrap_problems() as b order by b.id limit 1;
  if found then
    perform _refuse_direct_change(tg_argv[0], tg_op, format('Agent %s: %s.', found_here.id, found_here.problem));
  end if;
  return null;
end
$function$;
comment on function _check_bootstrap is
  'Statement trigger of agents: refuses (RSK-002) rows after which the bootstrap is not a list that each of its agents '
  'signed. Argument: table.';
create function _validate_revocation() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if not exists (
      select from _last_applied() as l
      where l.proposal_id = new.proposal_id and new.agent_id::text = _agent_removed_by(l.kind, l.payload)) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'The proposal that it names is not the last one applied, or says something else.');
  end if;
  return new;
end
$function$;
comment on function _validate_revocation is
  'Row trigger of agent_revocations: refuses (RSK-002) a revocation that no approved proposal made. Argument: table.';
-- Replaces the placeholder in 08_lockdown/consensus.sql.
create or replace function _release_is_approved(proposal_id uuid, damage jsonb) returns boolean
language sql stable
set search_path from current
set row_security = off
as $function$
  select exists (
    select from _last_applied() as l
    where l.proposal_id = _release_is_approved.proposal_id and l.kind = 'lockdown_release'
      and l.payload -> 'damage' = _release_is_approved.damage)
    and not exists (select from only lockdown_events as l where l.proposal_id = _release_is_approved.proposal_id);
$function$;
comment on function _release_is_approved is
  'Whether the last applied proposal is this release of the lockdown, and no event has used it.';
create trigger _500_validate before insert on proposals
  for each row execute function _validate_proposal('proposals');
create trigger _500_validate before insert on votes
  for each row execute function _validate_vote('votes');
create trigger _500_validate before insert on risk_change_log
  for each row execute function _validate_change('risk_change_log');
create trigger _500_validate before insert on agents
  for each row execute function _validate_agent('agents');
create trigger _500_validate before insert on agent_revocations
  for each row execute function _validate_revocation('agent_revocations');
create trigger _600_check_bootstrap after insert on agents
  for each statement execute function _check_bootstrap('agents');
comment on trigger _500_validate on proposals is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _500_validate on votes is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _500_validate on risk_change_log is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _500_validate on agents is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _500_validate on agent_revocations is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _600_check_bootstrap on agents is
  'Refuses a bootstrap that not each of its agents signed, and any agent that is added to it (RSK-002).';
perform _protect_table(t.name, 'RSK-002', 'RSK-002'), _owner_only(t.name, 'RSK-002'), _chain_attach(t.name)
from unnest(array['agents', 'agent_revocations', 'proposals', 'votes', 'risk_change_log']) as t(name);

-- sql/12_consensus/shown.sql

-- What a proposal would change, and who votes on it: for those who decide
--
-- A payload says everything that is to hold, never a difference. Here is the difference: old and new value of each
-- thing that a proposal touches, and whether that tightens or loosens it. Old is always what held in the state that the
-- proposal was made for, so a proposal reads alike before and after it was applied. The rules of the directions are
-- those of _change_direction (rules.sql): a proposal loosens if one of its rows does.
--
-- Everything here is for people. Nothing decides by it, and `alpha-db risk approve` derives it again from the signed
-- text.

create function _state_made_for(proposal proposals) returns jsonb
language sql stable
set search_path from current
set row_security = off
as $function$
  select s.state_text::jsonb
  from (select c.state_text, c.state_hash::text from only risk_change_log as c
        union all
        select e.state_text, _text_digest(e.state_text) from _state_text(0, null, '[]') as e(state_text)) as s
  where s.state_hash = proposal.previous::text
  limit 1;
$function$;
comment on function _state_made_for is
  'The state that a proposal was made for; null if this installation never had it.';
create function _proposal_direction(proposal proposals) returns text
language plpgsql stable
set search_path from current
as $function$
begin
  return _change_direction(proposal.kind::text, proposal.payload, _state_made_for(proposal));
exception when data_exception then
  return null;  -- only for what was put there by force
end
$function$;
comment on function _proposal_direction is
  'tighten, loosen or govern: what a proposal does, or did, to the state that it was made for.';
create function _changed_decimal(old_value numeric, new_value numeric) returns text
language sql immutable
set search_path from current
as $function$
  -- Lower is safer, and a limit where there was none is not, because until then nothing may be risked.
  select case when new_value = old_value then 'same' when new_value < old_value then 'tighten' else 'loosen' end;
$function$;
comment on function _changed_decimal is
  'same, tighten or loosen: what a new value of a limit does.';
create function _changed_limits(before jsonb, after jsonb)
returns table (name text, old_value text, new_value text, direction text)
language sql immutable
set search_path from current
as $function$
  select n.name, before ->> n.name, after ->> n.name,
         _changed_decimal((before ->> n.name)::numeric, (after ->> n.name)::numeric)
  from unnest('{max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio}'::text[])
         with ordinality as n(name, place)
  order by n.place;
$function$;
comment on function _changed_limits is
  'The three limits of two states.';
create function _changed_threshold(asset text, before jsonb, after jsonb)
returns table (name text, old_value text, new_value text, direction text)
language sql immutable
set search_path from current
as $function$
  -- In quotes unless it is plain, so that no asset reads like a change: it is whatever the proposer wrote.
  select format('%s %s', case when asset ~ '^[-A-Za-z0-9._:/]+$' collate "C" then asset else to_json(asset)::text end,
                n.name), before ->> n.name, after ->> n.name,
         case when before ->> n.name is not distinct from after ->> n.name then 'same'
              when after is null then 'loosen'
              when before is null then 'tighten'
              when n.name = 'kill_loss_pct' then
                _changed_decimal((before ->> n.name)::numeric, (after ->> n.name)::numeric)
              when before ->> n.name is null then 'tighten'
              else 'loosen' end
  from unnest('{kill_loss_pct, kill_price}'::text[]) as n(name)
  where coalesce(before ->> n.name, after ->> n.name) is not null;
$function$;
comment on function _changed_threshold is
  'The threshold of an asset in two states; null where there is none.';
create function _changed_state(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
as $function$
  select d.*
  from (select s.before, _next_state_text(s.before::text, proposal.kind::text, proposal.payload)::jsonb as after
        from _state_made_for(proposal) as s(before)) as s
  cross join lateral (select proposal.payload ->> 'asset') as p(asset)
  cross join lateral (
    select c.* from _changed_limits(s.before -> 'limits', s.after -> 'limits') as c
    where proposal.kind::text = 'risk_config'::text
    union all
    select c.*
    from _changed_threshold(
      p.asset,
      (select t.value from jsonb_array_elements(s.before -> 'kill_thresholds') as t
       where t.value ->> 'asset' = p.asset),
      (select t.value from jsonb_array_elements(s.after -> 'kill_thresholds') as t
       where t.value ->> 'asset' = p.asset)) as c
    where proposal.kind::text = 'asset_kill_threshold'::text) as d;
$function$;
comment on function _changed_state is
  'What a proposal of limits or of a threshold changes.';
create function _changed_quorum(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select format('approvals to %s', n.name), o.policy ->> n.name, proposal.payload ->> n.name,
         case when o.policy -> n.name = proposal.payload -> n.name then 'same' else 'govern' end
  from unnest('{tighten, loosen, govern}'::text[]) with ordinality as n(name, place)
  cross join lateral (
    select coalesce((select q.payload
                     from only risk_change_log as c join only proposals as q on q.proposal_id = c.proposal_id
                     where c.kind::text = 'quorum_policy'::text
                       and c.version <= (_state_made_for(proposal) ->> 'version')::bigint
                     order by c.id desc limit 1), _default_quorum())) as o(policy)
  where proposal.kind::text = 'quorum_policy'::text
  order by n.place;
$function$;
comment on function _changed_quorum is
  'What a proposal of a quorum changes.';
create function _changed_agents(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select 'agent',
         (select format('%s (%s), key %s', a.name, a.role, encode(a.public_key, 'hex')) from only agents as a
          where a.agent_id::text = _agent_removed_by(proposal.kind::text, proposal.payload)),
         case when proposal.kind::text = 'agent_enrol'::text then
           format('%s (%s), key %s', proposal.payload ->> 'name', proposal.payload ->> 'role',
                  proposal.payload ->> 'public_key') end,
         'govern'
  where proposal.kind::text in ('agent_enrol'::text, 'agent_revoke'::text);
$function$;
comment on function _changed_agents is
  'What a proposal that enrols or revokes an agent changes.';
create function _changed_damage(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
as $function$
  select d.name, d.old_value, d.new_value, 'loosen'
  from (select 0 as place, 'lockdown' as name, 'engaged' as old_value, 'released' as new_value
        union all
        select e.place::integer, format('%s %s', e.value ->> 'table', e.value ->> 'id'), e.value ->> 'verdict',
               'acknowledged'
        from jsonb_array_elements(proposal.payload -> 'damage') with ordinality as e(value, place)) as d
  where proposal.kind::text = 'lockdown_release'::text
  order by d.place;
$function$;
comment on function _changed_damage is
  'What a release changes: the lockdown ends, and each damaged place that it lists is acknowledged.';
create function _changed_retention(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select format('%s, rows up to %s', e.value ->> 'table', e.value ->> 'through_id'), 'in the database',
         format('leave the database; the segment with SHA-256 %s has them', e.value ->> 'segment_sha256'),
         'loosen'
  from jsonb_array_elements(coalesce(proposal.payload -> 'segments', jsonb_build_array(proposal.payload))) as e
  where proposal.kind::text = 'archive'::text
  union all
  select format('%s, rows from %s on', proposal.payload ->> 'table', proposal.payload ->> 'from_id'), 'may leave',
         'held', 'tighten'
  where proposal.kind::text = 'hold'::text
  union all
  select format('hold %s', proposal.payload ->> 'hold'),
         (select format('%s, rows from %s on', h.payload ->> 'table', h.payload ->> 'from_id')
          from only proposals as h where h.proposal_id::text = proposal.payload ->> 'hold'),
         null, 'loosen'
  where proposal.kind::text = 'unhold'::text;
$function$;
comment on function _changed_retention is
  'What a proposal about retention changes.';
create function proposal_changes(proposal_id uuid)
returns table (name text, old_value text, new_value text, direction text)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  proposal  proposals;
begin
  select * into proposal from only proposals as p where p.proposal_id = proposal_changes.proposal_id;
  return query
    select * from _changed_state(proposal)
    union all select * from _changed_quorum(proposal)
    union all select * from _changed_agents(proposal)
    union all select * from _changed_damage(proposal)
    union all select * from _changed_retention(proposal);
exception when data_exception then
  -- Only a payload that was put there by force; it must not hide the other proposals.
  return query select 'payload', null, left(proposal.payload::text, 2000), null;
end
$function$;
comment on function proposal_changes is
  'What a proposal changes: old and new value of each thing that it touches, null where there is none, and its '
  'direction: tighten, loosen, govern (who decides), or same. Old is what held in the state that it was made for.';
create function _carrying_approvals(proposal proposals) returns table (agent_id uuid)
language sql stable
set search_path from current
set row_security = off
as $function$
  select c.agent_id from _counted_approvals(proposal) as c where _proposal_status(proposal) = 'PENDING'
  union all
  select (e.value ->> 'agent_id')::uuid
  from only risk_change_log as l cross join jsonb_array_elements(l.approvals) as e
  where l.proposal_id = proposal.proposal_id;
$function$;
comment on function _carrying_approvals is
  'The agents whose approvals of a proposal count now, or carried it when it was applied.';
create function proposal_voters(proposal_id uuid)
returns table (agent_id uuid, name text, role text, decision text, signed_at timestamptz, voted_at timestamptz,
               counts boolean, may_vote boolean)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select a.agent_id, a.name::text, a.role::text, v.decision::text, v.signed_at, v.created_at,
         case when v.decision::text = 'REJECT'::text then true
              when v.decision is not null then a.agent_id in (select c.agent_id from _carrying_approvals(p) as c) end,
         v.decision is null
  from only proposals as p
  cross join only agents as a
  left join only votes as v on v.proposal_id = p.proposal_id and v.agent_id = a.agent_id
  where p.proposal_id = proposal_voters.proposal_id
    and (v.decision is not null
         or a.agent_id in (select e.* from _eligible_voters(p) as e) and _proposal_status(p) = 'PENDING')
  order by v.id, a.id;
$function$;
comment on function proposal_voters is
  'Who voted on a proposal, in this order, and, while it is pending, who still may. An approval counts while the agent '
  'is eligible, and for good once it carried the proposal.';

-- sql/12_consensus/read.sql

-- Reading: where a proposal stands, the agents and their keys, the damage, the evidence for clients; and the grants

create function proposal_progress(proposal_id uuid)
returns table (status text, approvals bigint, needed integer, direction text)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  -- Signatures are checked again for what is pending only, because a list of all proposals must not take longer with
  -- each that is closed. What was applied had what it needed, in the state that it was made for.
  select s.status,
         case when s.status = 'PENDING' then (select count(*) from _counted_approvals(p))
              when s.status = 'APPLIED' then c.approvals::bigint
              else (select count(*) from only votes as v
                    where v.proposal_id = p.proposal_id and v.decision::text = 'APPROVE'::text
                      and v.agent_id in (select e.* from _eligible_voters(p) as e)) end,
         -- What was put there by force has no direction; it must not hide the other proposals.
         case when s.status = 'APPLIED' then c.approvals
              when s.direction is not null then
                _quorum_for(s.direction, p.kind::text, _quorum(),
                            (select count(*)::integer from _eligible_voters(p))) end,
         s.direction
  from only proposals as p
  cross join lateral (select _proposal_status(p) as status, _proposal_direction(p) as direction offset 0) as s
  left join lateral (
    select case when jsonb_typeof(l.approvals) = 'array' then jsonb_array_length(l.approvals) end as approvals
    from only risk_change_log as l where l.proposal_id = p.proposal_id) as c on true
  where p.proposal_id = proposal_progress.proposal_id;
$function$;
comment on function proposal_progress is
  'Where a proposal stands: status, approvals that count now, approvals it needs now (for an applied one, how many it '
  'had and needed), and what it does: tighten, loosen or govern.';
create function agent_keys()
returns table (agent_id uuid, name text, role text, public_key text, replaces uuid, proposal_id uuid,
               enrolled_at timestamptz, revoked_at timestamptz, signature text)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select a.agent_id, a.name::text, a.role::text, encode(a.public_key, 'hex'), a.replaces, a.proposal_id, a.created_at,
         r.created_at, encode(a.signature, 'hex')
  from only agents as a
  left join only agent_revocations as r on r.agent_id = a.agent_id
  order by a.id;
$function$;
comment on function agent_keys is
  'Every agent ever enrolled with its key in hex, the proposal that enrolled it (null: the bootstrap), since when it '
  'is revoked, and its signature of the bootstrap.';
create function damaged_rows(proposal_id uuid default null)
returns table ("table" text, id bigint, verdict text, actual_hash text, expected_hash text, row_data text)
language plpgsql stable security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set jit = off
as $function$
declare
  damage  jsonb;
  chain   record;
begin
  if proposal_id is null then
    damage := _open_damage_items();
  else
    select p.payload -> 'damage' into damage from only proposals as p
    where p.proposal_id = damaged_rows.proposal_id and p.kind::text = 'lockdown_release'::text;
  end if;
  for chain in
    select c.table_name from only chains as c
    where exists (select from jsonb_array_elements(damage) as d where d.value ->> 'table' = c.table_name)
    order by c.position
  loop
    if _missing_part(chain.table_name) is not null then
      return query
        select d."table", d.id, d.verdict, d.actual_hash, d.expected_hash, null::text
        from jsonb_to_recordset(damage)
          as d("table" text, id bigint, verdict text, actual_hash text, expected_hash text)
        where d."table" = chain.table_name order by d.id, d.verdict;
      continue;
    end if;
    return query execute format($query$
      select d."table", d.id, d.verdict, d.actual_hash, d.expected_hash, left(r.row_data, 2000)
      from jsonb_to_recordset($1) as d("table" text, id bigint, verdict text, actual_hash text, expected_hash text)
      left join lateral (select x.row_data from (%s) as x where x.id = d.id limit 1) as r on true
      where d."table" = $2 order by d.id, d.verdict
      $query$, chain_rows_sql(chain.table_name)) using damage, chain.table_name;
  end loop;
end
$function$;
comment on function damaged_rows is
  'The damage that a release has to list now, or that a proposed release lists, each place with the content that '
  'stands there (at most 2000 characters; null for missing rows): what approvers look at before they sign.';
create function lockdown_evidence()
returns table (alarm bigint, event_id bigint, event_type text, event_alarm bigint, proposal_id uuid,
               damage_hash text, row_hash text)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select pg_sequence_last_value('lockdown_alarm'::regclass), l.id, l.event_type::text, l.alarm, l.proposal_id,
         _text_digest(l.damage::text), l.row_hash::text
  from (select max(e.id) as id from only lockdown_events as e) as last
  left join only lockdown_events as l on l.event_type::text = 'RELEASED'::text or l.id = last.id
  order by l.id;
$function$;
comment on function lockdown_evidence is
  'What a client needs to check by itself whether the lockdown is engaged: the alarm, every RELEASED event, and the '
  'last event, with the hash of the damage it lists. One row with nulls if there is no event.';
create view vw_agents with (security_invoker = true) as
select a.agent_id, a.name, a.role, a.public_key, a.replaces, a.proposal_id, a.enrolled_at, a.revoked_at, a.signature
from agent_keys() as a(agent_id, name, role, public_key, replaces, proposal_id, enrolled_at, revoked_at, signature);
comment on view vw_agents is 'Agents with their keys in hex, and since when they are revoked, if they are.';
comment on column vw_agents.agent_id    is 'Identity of the agent.';
comment on column vw_agents.name        is 'What people call it.';
comment on column vw_agents.role        is 'What it does.';
comment on column vw_agents.public_key  is 'Ed25519 public key in hex.';
comment on column vw_agents.replaces    is 'The agent whose place it took.';
comment on column vw_agents.proposal_id is 'The proposal that enrolled it; null: the bootstrap.';
comment on column vw_agents.enrolled_at is 'Since when it may propose and vote.';
comment on column vw_agents.revoked_at  is 'Since when it may not any more; null: it may.';
comment on column vw_agents.signature is
  'Its signature of the whole bootstrap, in hex; null if a proposal enrolled it.';
create view vw_proposals with (security_invoker = true) as
select p.proposal_id, p.kind, p.payload, p.reason, p.proposer, a.name as proposer_name, p.previous, p.digest,
       p.signed_text, p.expires_at, p.created_at, s.status, s.approvals, s.needed, s.direction
from only proposals as p
join only agents as a on a.agent_id = p.proposer
cross join lateral proposal_progress(p.proposal_id) as s(status, approvals, needed, direction)
where _sees_every_row('{proposals,agents}'::text[]);
comment on view vw_proposals is 'Proposals and where they stand.';
comment on column vw_proposals.proposal_id   is 'Identity of the proposal.';
comment on column vw_proposals.kind          is 'What it changes.';
comment on column vw_proposals.payload       is 'What is to hold.';
comment on column vw_proposals.reason        is 'Why.';
comment on column vw_proposals.proposer      is 'The agent that proposes.';
comment on column vw_proposals.proposer_name is 'Its name.';
comment on column vw_proposals.previous      is 'Hash of the state it was made for.';
comment on column vw_proposals.digest        is 'SHA-256 of the signed text; votes name it.';
comment on column vw_proposals.signed_text   is 'The exact text that was signed.';
comment on column vw_proposals.expires_at    is 'After this moment it cannot be applied.';
comment on column vw_proposals.created_at    is 'When it was made.';
comment on column vw_proposals.status        is 'PENDING, APPLIED, REJECTED, WITHDRAWN, EXPIRED, STALE or REVOKED.';
comment on column vw_proposals.approvals     is 'Approvals that count now; of an applied one, those that carried it.';
comment on column vw_proposals.needed is
  'Approvals it needs now, or needed when it was applied, besides the proposer''s signature.';
comment on column vw_proposals.direction is
  'What it does, or did, to the state that it was made for: tighten, loosen, or govern (who decides).';
perform _grant('select on', '{agents, agent_revocations, proposals, votes, risk_change_log, vw_agents, vw_proposals}',
              '{app_risk, app_auditor}');
perform _grant('execute on routine',
              '{proposal_message, bootstrap_message, approval_message, proposal_progress, proposal_changes,
                proposal_voters, damaged_rows, ed25519_verify}',
              '{app_risk, app_auditor}');
perform _grant('execute on routine', '{agent_keys, lockdown_evidence}', '{app_trading, app_auditor, app_risk}');
perform _grant('execute on routine', '{propose, vote}', '{app_risk}');

perform _finish_migration('005_agent_consensus');
end
$migration$;
