"""The characters that a person reading a text does not see."""

#: Bidi, zero-width and other invisible characters, and separators that some programs show as a new line: what stands
#: between the brackets of a regular expression. What is_plain_text() of the database refuses, and surrogates.
HIDDEN = (
    r"\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    r"\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
