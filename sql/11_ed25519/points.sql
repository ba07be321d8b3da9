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
