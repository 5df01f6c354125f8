"""KEY=VALUE on the command line."""

from collections.abc import Sequence

from trainer.errors import InputError


def parse_assignments(texts: Sequence[str]) -> dict[str, object]:
    """Return overrides as `load_experiment` takes them. Values are YAML: `digit.yaw={normal: [90, 10]}`.

    Raises:
        InputError: a text is not KEY=VALUE, its value is not YAML, or a key occurs twice.
    """
    from pathlib import Path

    from trainer.errors import GrammarError
    from trainer.grammar.document import parse_document

    values: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or not value.strip():
            raise InputError(f"{text!r} is not KEY=VALUE; write settings like training.epochs=4")
        if key in values:
            raise InputError(f"{key} is set twice; set it once")
        try:
            values[key] = parse_document(f"value: {value}", Path(key)).data["value"]
        except GrammarError as error:
            reason = str(error).split("not YAML: ")[-1]
            raise InputError(
                f"{text}: the value is not YAML ({reason}); write for example 'digit.yaw={{normal: [90, 10]}}'"
            ) from None
    return values


def parse_mapping(text: str, option: str) -> dict[str, str]:
    """Return the pairs of a text like `nine=9,ten=10`.

    Raises:
        InputError: a part has no name on one side of its `=`, or a name comes twice.
    """
    pairs: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not name or not value or name in pairs:
            raise InputError(
                f"{option} {text}: {part.strip()!r} is not NAME=VALUE, once each; write for example a=b,c=d"
            )
        pairs[name] = value
    return pairs
