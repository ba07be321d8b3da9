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
