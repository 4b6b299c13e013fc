"""Changes files at random, as a disk, a bad download or an ill-meaning author would."""

# What readers stumble over: ends of number ranges, counts, special characters, and pieces of the formats' own grammars.
NUMBERS = [b'0', b'-1', b'1e999', b'-1e308', b'nan', b'inf', b'4294967296', b'9223372036854775808', b'1e-320', b'0x10',
           b'1_0', b'9' * 400, b'true']
WORDS = [b'\0', b'\xff\xfe', b'\xef\xbb\xbf', b'\r\n', b'"', b"'", b'<', b'>', b'&amp;', b'&x;',
         b'<!DOCTYPE a [<!ENTITY x "y">]>', b'../', b'/etc/passwd',
         b'{', b'}', b'[', b']', b',', b':', b'null', b'- ', b'\t', b'!!python/object:os.system ', b'&a ', b'*a',
         b'\\ud800', b'\\u0000', b'[' * 2000,
         b'{"a":' * 2000, b'<a>' * 2000, b'%s%n', b'con', b'\xf0\x9f\x90\x8d', b'__background__',
         b'\x80\x02]r\xff\xff\xff\x7f.', b'#']
EDGES = [0, 1, 2, 0x7F, 0x80, 0xFF]


def mutate(data, other, rng):
    """A changed copy.

    Args:
        data: bytes. other: bytes of another file of the same kind, to take pieces from. rng: np.random.RandomState.
    """
    for _ in range(rng.geometric(0.6)):
        data = CHANGES[rng.randint(len(CHANGES))](data, other, rng)
    return data


def _place(data, rng):
    return rng.randint(len(data) + 1)


def _span(data, rng, most=64):
    start = _place(data, rng)
    return start, min(len(data), start + rng.randint(1, most + 1))


def _flip_bit(data, other, rng):
    if not data:
        return data
    changed, place = bytearray(data), rng.randint(len(data))
    changed[place] ^= 1 << rng.randint(8)
    return bytes(changed)


def _set_byte(data, other, rng):
    if not data:
        return data
    changed = bytearray(data)
    changed[rng.randint(len(data))] = rng.choice(EDGES) if rng.randint(2) else rng.randint(256)
    return bytes(changed)


def _set_number(data, other, rng):
    """Two, four or eight bytes become an edge of their range: where counts and lengths are."""
    size, place = rng.choice([2, 4, 8]), _place(data, rng)
    size = int(size)
    value = int(rng.choice([0, 1, 127, -1, -2, 255, 65535])) if rng.randint(2) else 2 ** (8 * size - 1) - rng.randint(2)
    number = (value % 2 ** (8 * size)).to_bytes(size, 'little' if rng.randint(2) else 'big')
    return data[:place] + number + data[place + len(number):]


def _delete(data, other, rng):
    start, end = _span(data, rng, 1 + len(data) // 2)
    return data[:start] + data[end:]


def _cut_off(data, other, rng):
    return data[:_place(data, rng)]


def _repeat(data, other, rng):
    start, end = _span(data, rng, 200)
    return data[:end] + data[start:end] * rng.randint(1, 50) + data[end:]


def _insert(data, other, rng):
    place, words = _place(data, rng), NUMBERS if rng.randint(2) else WORDS
    return data[:place] + words[rng.randint(len(words))] + data[place:]


def _replace_number(data, other, rng):
    """A run of digits in a text becomes another number."""
    digits = [i for i, byte in enumerate(data[:20000]) if 48 <= byte <= 57]
    if not digits:
        return data
    start = digits[rng.randint(len(digits))]
    end = start
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    return data[:start] + NUMBERS[rng.randint(len(NUMBERS))] + data[end:]


def _splice(data, other, rng):
    start, end = _span(other, rng, 500)
    place = _place(data, rng)
    return data[:place] + other[start:end] + data[place + rng.randint(2) * (end - start):]


def _swap(data, other, rng):
    (a, b), (c, d) = sorted([_span(data, rng), _span(data, rng)])
    return data if b > c else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


CHANGES = [_flip_bit, _set_byte, _set_number, _delete, _cut_off, _repeat, _insert, _insert, _replace_number,
           _replace_number, _replace_number, _splice,
           _swap]
