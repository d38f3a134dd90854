"""Writes the data on spellings as Lua, for the one script that reads addresses itself. Its code is `_spellings.lua`."""

from policies.spellings import LONGEST, Form, OptionalDigit, Spellings


def spellings_lua(spellings: Spellings) -> str:
    """Return the Lua table `OPTIONAL_DIGITS`. Countries are one text, because a table would be built at every call."""
    entries = "".join(f"  {_entry(digit)},\n" for digit in spellings.digits)
    return f"local LONGEST_NUMBER = {LONGEST}\nlocal OPTIONAL_DIGITS = {{\n{entries}}}\n"


def _entry(digit: OptionalDigit) -> str:
    countries = " ".join(sorted(digit.countries))
    is_with = str(digit.canonical is Form.WITH).lower()
    return (
        f"{{ countries = ' {countries} ', digit = '{digit.digit}', position = {digit.position}, "
        f"followed_by = '{digit.followed_by}', length = {digit.length}, is_with = {is_with} }}"
    )
