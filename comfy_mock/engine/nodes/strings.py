"""Nodes that make and change text."""

from __future__ import annotations

import json
import re
from typing import Any

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import argument

_SECONDS = 0.0005


@node("StringConcatenate", seconds=_SECONDS)
def string_concatenate(call: Call) -> Output:
    """Two texts with a delimiter between."""
    return Output((call.inputs.get("delimiter", "").join((call.inputs["string_a"], call.inputs["string_b"])),))


@node("StringSubstring", seconds=_SECONDS)
def string_substring(call: Call) -> Output:
    """From a start to an end; negative ones count from the end of the text."""
    return Output((call.inputs["string"][call.inputs["start"] : call.inputs["end"]],))


@node("StringLength", seconds=_SECONDS)
def string_length(call: Call) -> Output:
    """The number of characters."""
    return Output((len(call.inputs["string"]),))


@node("CaseConverter", seconds=_SECONDS)
def case_converter(call: Call) -> Output:
    """Upper, lower, capitalised or title case."""
    text: str = call.inputs["string"]
    changed = {
        "UPPERCASE": text.upper,
        "lowercase": text.lower,
        "Capitalize": text.capitalize,
        "Title Case": text.title,
    }.get(call.inputs["mode"])
    return Output((changed() if changed else text,))


@node("StringTrim", seconds=_SECONDS)
def string_trim(call: Call) -> Output:
    """Without blanks at both ends, the left or the right."""
    text: str = call.inputs["string"]
    trimmed = {"Both": text.strip, "Left": text.lstrip, "Right": text.rstrip}.get(call.inputs["mode"])
    return Output((trimmed() if trimmed else text,))


@node("StringReplace", seconds=_SECONDS)
def string_replace(call: Call) -> Output:
    """Every occurrence of a text replaced."""
    return Output((call.inputs["string"].replace(call.inputs["find"], call.inputs["replace"]),))


@node("StringContains", seconds=_SECONDS)
def string_contains(call: Call) -> Output:
    """Whether a text is in another."""
    text, part = _cased(call, call.inputs["string"], call.inputs["substring"])
    return Output((part in text,))


@node("StringCompare", seconds=_SECONDS)
def string_compare(call: Call) -> Output:
    """Whether a text equals another, or starts or ends with it."""
    one, other = _cased(call, call.inputs["string_a"], call.inputs["string_b"])
    mode = call.inputs["mode"]
    if mode == "Equal":
        return Output((one == other,))
    return Output((one.startswith(other) if mode == "Starts With" else one.endswith(other),))


def _cased(call: Call, one: str, other: str) -> tuple[str, str]:
    return (one, other) if call.inputs.get("case_sensitive", True) else (one.lower(), other.lower())


def _flags(call: Call) -> re.RegexFlag:
    chosen = re.RegexFlag(0)
    for name, flag in (("case_insensitive", re.IGNORECASE), ("multiline", re.MULTILINE), ("dotall", re.DOTALL)):
        if call.inputs.get(name, name == "case_insensitive"):
            chosen |= flag
    return chosen


@node("RegexMatch", seconds=_SECONDS)
def regex_match(call: Call) -> Output:
    """Whether a pattern is found; a broken one is not."""
    try:
        found = re.search(call.inputs["regex_pattern"], call.inputs["string"], _flags(call))
    except re.error:
        found = None
    return Output((found is not None,))


@node("RegexExtract", seconds=_SECONDS)
def regex_extract(call: Call) -> Output:
    """The first or all finds of a pattern or of a group in it, all of them in lines; nothing for a broken pattern."""
    try:
        found = list(re.finditer(call.inputs["regex_pattern"], call.inputs["string"], _flags(call)))
    except re.error:
        found = []
    mode, group = call.inputs["mode"], call.inputs.get("group_index", 1)
    if mode.endswith(("Group", "Groups")):
        found = [match for match in found if (match.re.groups or 0) >= group]
    else:
        group = 0
    texts = [match.group(group) or "" for match in found]
    return Output(("\n".join(texts if mode.startswith("All") else texts[:1]),))


@node("RegexReplace", seconds=_SECONDS)
def regex_replace(call: Call) -> Output:
    """Finds of a pattern replaced. Raises what Python raises for a broken pattern."""
    text, count = call.inputs["string"], call.inputs.get("count", 0)
    pattern, replacement = call.inputs["regex_pattern"], call.inputs["replace"]
    return Output((re.sub(pattern, replacement, text, count=count, flags=_flags(call)),))


@node("JsonExtractString", seconds=_SECONDS)
def json_extract_string(call: Call) -> Output:
    """The value of a key of a JSON object as text; nothing where there is none."""
    try:
        value = json.loads(call.inputs["json_string"])
    except ValueError:
        value = None
    found = value.get(call.inputs["key"]) if isinstance(value, dict) else None
    return Output(("" if found is None else str(found),))


@node("ConvertDictionaryToString", "ConvertArrayToString", seconds=_SECONDS)
def convert_to_string(call: Call) -> Output:
    """A dictionary or a list as JSON text."""
    value = call.inputs["dictionary" if call.class_type == "ConvertDictionaryToString" else "array"]
    return Output((json.dumps(value, indent=call.inputs["indent"] or None, ensure_ascii=False, default=str),))


@node("StringFormat", seconds=_SECONDS)
def string_format(call: Call) -> Output:
    """A text with the values of other inputs put in by name, as `str.format` does.

    Raises `KeyError` for a name that is not there.
    """
    values: dict[str, Any] = {
        name.removeprefix("values."): value for name, value in call.inputs.items() if name.startswith("values.")
    }
    return Output((call.inputs["f_string"].format(**values),))


@node("TextToLowercase", seconds=_SECONDS)
def text_to_lowercase(call: Call) -> Output:
    """Lower case."""
    return Output((_texts(call).lower(),))


@node("TextToUppercase", seconds=_SECONDS)
def text_to_uppercase(call: Call) -> Output:
    """Upper case."""
    return Output((_texts(call).upper(),))


@node("TruncateText", seconds=_SECONDS)
def truncate_text(call: Call) -> Output:
    """The first so many characters."""
    return Output((_texts(call)[: call.inputs["max_length"]],))


@node("AddTextPrefix", seconds=_SECONDS)
def add_text_prefix(call: Call) -> Output:
    """With a text before it."""
    return Output((call.inputs["prefix"] + _texts(call),))


@node("AddTextSuffix", seconds=_SECONDS)
def add_text_suffix(call: Call) -> Output:
    """With a text after it."""
    return Output((_texts(call) + call.inputs["suffix"],))


@node("ReplaceText", seconds=_SECONDS)
def replace_text(call: Call) -> Output:
    """Every occurrence of a text replaced."""
    return Output((_texts(call).replace(call.inputs["find"], call.inputs["replace"]),))


@node("StripWhitespace", seconds=_SECONDS)
def strip_whitespace(call: Call) -> Output:
    """Without blanks at both ends."""
    return Output((_texts(call).strip(),))


def _texts(call: Call) -> str:
    return str(argument(call, "texts"))


@node("MergeTextLists", seconds=_SECONDS)
def merge_text_lists(call: Call) -> Output:
    """The texts of a list, as they come."""
    return Output((list(call.inputs["texts"]),))
