"""Names from data and files: normalization, rejection of control characters, and safe printing."""

import unicodedata

from afield.errors import InputError

MAX_LENGTH = 200

_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_name(name: str, kind: str) -> str:
    """Normalize a name to the form NFC, so that equal names from different file systems are equal.

    Args:
        name: name of a class, a domain or a recipe.
        kind: kind of the name, for error messages.

    Raises:
        InputError: if the name is empty, too long, or contains control characters, line breaks, text direction marks,
            or bytes that are not UTF-8.

    >>> checked_name("Ba\u0308r", "class") == "B\u00e4r"
    True
    """
    name = unicodedata.normalize("NFC", name)
    if not name.strip():
        raise InputError(f"a {kind} has an empty name")
    if len(name) > MAX_LENGTH:
        raise InputError(
            f"{kind} {shown(name[:20])}...: a name must have at most {MAX_LENGTH} characters, got {len(name):,}"
        )
    if bad := next((character for character in name if _unprintable(character)), None):
        raise InputError(f"{kind} '{shown(name)}': a name must not contain the character U+{ord(bad):04X}")
    return name


def shown(text: str) -> str:
    """Replace every character that is unsafe to print by a backslash escape.

    >>> shown("a\\x1b[31m")
    'a\\\\x1b[31m'
    """
    if text.isascii() and text.isprintable():  # almost all names
        return text
    return "".join(ascii(character)[1:-1] if _unprintable(character) else character for character in text)


def _unprintable(character: str) -> bool:
    """Whether it is a control character, surrogate, line or paragraph separator, direction mark, or noncharacter."""
    code = ord(character)
    nothing = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI or nothing
