"""Checks a document against the schema and reports pydantic's errors in the language's terms."""

import math

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trainer.errors import GrammarError
from trainer.grammar.document import Document, KeyPath, shown
from trainer.grammar.schema import WorldFile

#: What is allowed, by pydantic's type of error; {braces} are its context.
_ALLOWED = {
    "float_type": "a number is needed, without a unit",
    "finite_number": "a finite number is needed",
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "bool_type": "true or false is needed",
    "string_type": "a text is needed",
    "string_too_short": "a text is needed that is not empty",
    "dict_type": "a mapping is needed",
    "model_type": "a mapping is needed",
    "model_attributes_type": "a mapping is needed",
    "list_type": "a list is needed",
    "tuple_type": "a list is needed",
    "literal_error": "it must be {expected}",
    "greater_than": "it must be above {gt:g}",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than": "it must be below {lt:g}",
    "less_than_equal": "it must be at most {le:g}",
    "too_long": "at most {max_length} values are allowed",
}
#: Lists of fixed length other than two, by their key.
_LENGTHS = {"truncated_normal": 4, "background": 3}


def validate_document(document: Document) -> WorldFile:
    """Return the document as the schema's models.

    Raises:
        GrammarError: the first fault in the file.
    """
    try:
        return WorldFile.model_validate(document.data)
    except ValidationError as error:
        raise _first_fault(document, error.errors(include_url=False)) from None


def _first_fault(document: Document, details: list[ErrorDetails]) -> GrammarError:
    located = [(_path(document, detail), detail) for detail in details]
    # If a value may have several forms, report the errors of the form that matched deepest.
    deepest = [
        (path, detail)
        for path, detail in located
        if not any(len(other) > len(path) and other[: len(path)] == path for other, _ in located)
    ]
    first = min((path for path, _ in deepest), key=lambda path: document.lines.get(path, math.inf))
    return _translate(document, first, [detail for path, detail in deepest if path == first])


def _path(document: Document, detail: ErrorDetails) -> KeyPath:
    """Return pydantic's location without parts that the file lacks: tags of unions, keys of shorthands."""
    value: object = document.data
    path: list[str | int | float] = []
    for key in detail["loc"]:
        options: list[object] = [key]
        if isinstance(value, dict):  # pydantic writes the keys of mappings as text
            options = [own for own in value if own == key or str(own) == key]
        if isinstance(value, dict) and options:
            path.append(options[0])  # type: ignore[arg-type]  # keys of a file are names and numbers
            value = value[options[0]]
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            path.append(key)
            value = value[key]
    if detail["type"] == "missing" and isinstance(value, dict):
        path.append(detail["loc"][-1])
    return tuple(path)


def _translate(document: Document, path: KeyPath, details: list[ErrorDetails]) -> GrammarError:
    detail = details[0]
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "unknown_key":
        return document.unknown(path, context["key"], context["known"])
    if kind == "empty":
        return document.error((*path, context["key"]), "give a value or leave the key out")
    if context.get("bare"):
        return document.error(path, detail["msg"], show_value=False)
    if kind == "missing":
        if isinstance(detail["input"], list | tuple):
            return document.error(path, f"{_LENGTHS.get(str(path[-1]), 2)} values are needed")
        return document.error(path, "it must be given")
    if detail["loc"][-1] == "[key]":
        return document.error(path[:-1], f"the key {shown(path[-1])} must be a number", show_value=False)
    allowed = dict.fromkeys(_ALLOWED.get(each["type"], each["msg"]).format_map(each.get("ctx", {})) for each in details)
    return document.error(path, " or ".join(allowed))
