"""Writes the data on spellings as Lua, for the scripts that read addresses themselves.

The Lua code that uses them is `_spellings.lua`.
"""

from policies.spellings import LONGEST, NumberForm, OptionalDigit, Spellings


def spellings_lua(spellings: Spellings) -> str:
    """Return the Lua table `OPTIONAL_DIGITS`.

    The countries of an entry are one text, because Lua would build a table again on every call.
    """
    entries = "".join(f"  {_entry(digit)},\n" for digit in spellings.digits)
    return f"local MAX_NUMBER = {LONGEST}\nlocal OPTIONAL_DIGITS = {{\n{entries}}}\n"


def _entry(digit: OptionalDigit) -> str:
    countries = " ".join(sorted(digit.countries))
    is_with = str(digit.canonical is NumberForm.WITH).lower()
    return (
        f"{{ countries = ' {countries} ', digit = '{digit.digit}', position = {digit.position}, "
        f"followed_by = '{digit.followed_by}', length = {digit.length}, is_with = {is_with} }}"
    )
