create function ed25519_verify(public_key bytea, message bytea, signature bytea) returns boolean
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p       constant numeric  := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  q       constant numeric  := 0.0000000000000000000000000000000000000000000000000000000000000000000000000000172723371101888892507727037256007991422320007288725627700474069403371836063305224548;
  l       constant numeric  := 7237005577332262213973186563042994240857116359379907606001950938285454250989;
  d2      constant numeric  := 16295367250680780974490674513165176452449235426866156013048779062215315747161;
  base_x  constant numeric  := 15112221349535400772501151409588531511454012693041857206046113283949847762202;
  base_y  constant numeric  := 46316835694926478169428394003475163141307993866256225615783033603165251855960;
  limb    constant numeric  := 4503599627370496;  -- 2^52
  r       bytea;
  a       numeric[];
  b       numeric[];
  s       numeric;
  h       numeric;
  s_limb  bigint;
  h_limb  bigint;
  digits  integer[] := '{}';
  digit   integer;
  entry   numeric[];
  row_of  numeric[] := array[0, 1, 1, 0];
  ypx     numeric[] := '{}';
  ymx     numeric[] := '{}';
  t2d     numeric[] := '{}';
  z2      numeric[] := '{}';
  x       numeric := 0;
  y       numeric := 1;
  z       numeric := 1;
  t       numeric := 0;
  e       numeric;
  f       numeric;
  g       numeric;
  k       numeric;
  started boolean := false;
begin
  if public_key is null or message is null or signature is null or length(signature) <> 64 then
    return false;
  end if;
  r := substr(signature, 1, 32);
  s := _ed25519_little_endian(substr(signature, 33, 32));
  a := _ed25519_decode(public_key);
  if s >= l or a is null or _ed25519_is_small_order(public_key) or _ed25519_is_small_order(r) then
    return false;
  end if;
  h := _ed25519_little_endian(sha512(r || public_key || message)) % l;

  -- i (-A) + j B for i and j from 0 to 3, at 4 i + j + 1, in the form that an addition wants.
  a := array[p - a[1], a[2], 1, (p - a[1]) * a[2] % p];
  b := array[base_x, base_y, 1, base_x * base_y % p];
  for i in 0..3 loop
    entry := row_of;
    for j in 0..3 loop
      ypx := ypx || (entry[2] + entry[1]) % p;
      ymx := ymx || (entry[2] - entry[1]) % p;
      t2d := t2d || entry[4] * d2 % p;
      z2  := z2  || 2 * entry[3] % p;
      entry := _ed25519_add(entry, b);
    end loop;
    row_of := _ed25519_add(row_of, a);
  end loop;

  -- Two bits of h and two of s at a time, lowest first.
  for i in 1..5 loop
    s_limb := s % limb;
    h_limb := h % limb;
    s := div(s, limb);
    h := div(h, limb);
    for j in 0..25 loop
      digits := digits || (4 * ((h_limb >> (2 * j)) & 3) + ((s_limb >> (2 * j)) & 3) + 1)::integer;
    end loop;
  end loop;

  -- s B - h A (Straus), in extended coordinates; n - p * trunc(n * q) is n modulo p, but for its sign.
  for i in reverse 130..1 loop
    digit := digits[i];
    if started then
      for j in 1..2 loop
        e := x * x;
        f := y * y;
        k := e + f;
        k := k - p * trunc(k * q);
        g := f - e;
        g := g - p * trunc(g * q);
        e := 2 * x * y;
        e := e - p * trunc(e * q);
        f := 2 * z * z - g;
        f := f - p * trunc(f * q);
        x := e * f;
        x := x - p * trunc(x * q);
        y := g * k;
        y := y - p * trunc(y * q);
        z := f * g;
        z := z - p * trunc(z * q);
      end loop;
      if digit = 1 then
        continue;
      end if;
      t := e * k;
      t := t - p * trunc(t * q);
    end if;
    if digit > 1 then
      e := (y - x) * ymx[digit];
      f := (y + x) * ypx[digit];
      k := e + f;
      k := k - p * trunc(k * q);
      e := f - e;
      e := e - p * trunc(e * q);
      t := t * t2d[digit];
      z := z * z2[digit];
      f := z - t;
      f := f - p * trunc(f * q);
      g := z + t;
      g := g - p * trunc(g * q);
      x := e * f;
      x := x - p * trunc(x * q);
      y := g * k;
      y := y - p * trunc(y * q);
      z := f * g;
      z := z - p * trunc(z * q);
      started := true;
    end if;
  end loop;

  -- Its encoding must be R to the bit. 1 / z = z^(p - 2).
  k := _ed25519_power_250(z);
  for i in 1..5 loop
    k := k * k % p;
  end loop;
  e := z * z % p;
  f := e * e % p * (e * e % p) % p;
  k := k * (f * e % p * z % p) % p;
  x := x * k % p;
  y := y * k % p;
  if x < 0 then x := x + p; end if;
  if y < 0 then y := y + p; end if;
  return _ed25519_little_endian(set_byte(r, 31, get_byte(r, 31) & 127)) = y
     and get_byte(r, 31) >> 7 = x % 2;
end
$function$;
comment on function ed25519_verify is
  'Whether the signature is the key''s for the message: RFC 8032, cofactorless and strict (S < L, canonical A and R, none of small order). Malformed or null input is false. Never null, never an error.';

create function _ed25519_key_is_weak(public_key bytea) returns boolean
language sql immutable parallel safe
set search_path from current
as $function$
  select public_key is null or _ed25519_decode(public_key) is null or _ed25519_is_small_order(public_key);
$function$;
comment on function _ed25519_key_is_weak is 'Whether a public key must not be enrolled: malformed, not canonical, not on the curve, or of small order.';
