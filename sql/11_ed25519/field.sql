-- Ed25519 (RFC 8032), on core PostgreSQL: numeric arithmetic modulo 2^255-19

create function _ed25519_power_250(z numeric) returns numeric
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p         constant numeric   := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  q         constant numeric   := 0.0000000000000000000000000000000000000000000000000000000000000000000000000000172723371101888892507727037256007991422320007288725627700474069403371836063305224548;
  squarings constant integer[] := '{1,2,1,5,10,20,10,50,100,50}';
  factor    constant integer[] := '{1,2,1,4,5,6,5,8,9,8}';
  powers    numeric[] := array[z];
  x         numeric   := z;
begin
  -- z^(2^2-1), z^(2^4-1), z^(2^5-1), z^(2^10-1) … z^(2^250-1): each the one before, squared, times an earlier one.
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
  'z^(2^250-1) modulo 2^255-19, the common part of the inverse and of the square root (RFC 8032, 5.1).';

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
  'Bytes as a little-endian number.';

create function _ed25519_decode(encoded bytea) returns numeric[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p     constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  d     constant numeric := 37095705934669439343138083508754565189542113879843219016388785533085940283555;
  root  constant numeric := 19681161376707505956807079304988542015446066515923890162744021073123829784752;  -- of -1
  sign  integer;
  y     numeric;
  u     numeric;
  v     numeric;
  x     numeric;
  w     numeric;
begin
  if encoded is null or length(encoded) <> 32 then
    return null;
  end if;
  sign := get_byte(encoded, 31) >> 7;
  y := _ed25519_little_endian(set_byte(encoded, 31, get_byte(encoded, 31) & 127));
  if y >= p then
    return null;  -- not canonical
  end if;
  -- x² = (y² - 1) / (d y² + 1); candidate root u v³ (u v⁷)^((p - 5) / 8)
  u := (y * y - 1) % p;
  v := (d * (y * y % p) + 1) % p;
  w := u * (v * v % p * v % p) % p * (v * v % p * (v * v % p) % p) % p;
  x := _ed25519_power_250(w);
  x := x * x % p;
  x := x * x % p * w % p;
  x := x * u % p * (v * v % p * v % p) % p;
  w := v * (x * x % p) % p;
  if w <> u then
    if (w + u) % p <> 0 then
      return null;  -- not on the curve
    end if;
    x := x * root % p;
  end if;
  if x < 0 then
    x := x + p;
  end if;
  if x = 0 and sign = 1 then
    return null;
  end if;
  if x % 2 <> sign then
    x := p - x;
  end if;
  return array[x, y];
end
$function$;
comment on function _ed25519_decode is
  'The point (x, y) of an encoding (RFC 8032, 5.1.3); null unless it is canonical and on the curve.';

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

create function _ed25519_add(point numeric[], other numeric[]) returns numeric[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  p   constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  d2  constant numeric := 16295367250680780974490674513165176452449235426866156013048779062215315747161;
  a   numeric := (point[2] - point[1]) * (other[2] - other[1]);
  b   numeric := (point[2] + point[1]) * (other[2] + other[1]);
  c   numeric := point[4] * d2 % p * other[4];
  d   numeric := 2 * point[3] * other[3];
begin
  return array[(b - a) % p * ((d - c) % p) % p, (d + c) % p * ((b + a) % p) % p,
               (d - c) % p * ((d + c) % p) % p, (b - a) % p * ((b + a) % p) % p];
end
$function$;
comment on function _ed25519_add is
  'Sum of two points in extended coordinates x, y, z, t (RFC 8032, 5.1.4).';
