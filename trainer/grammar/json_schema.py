"""The JSON Schema of grammar and experiment files, for editors.

`python -m trainer.grammar.json_schema > grammars/schema.json` rewrites the committed file.
"""

import json
import sys

from trainer.grammar.schema import WorldFile


def json_schema() -> dict[str, object]:
    """Return the schema, draft 2020-12. YAML files name it by `# yaml-language-server: $schema=...`."""
    schema = _without_null(WorldFile.model_json_schema(by_alias=True))
    if not isinstance(schema, dict):
        raise TypeError(f"the schema is a {type(schema).__name__}; it must be a mapping")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Meta-Sim grammar"}


def json_schema_text() -> str:
    """Return the text of the committed file."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _without_null(value: object) -> object:
    """Return a schema without pydantic's `null` for omitted keys: an empty value is an error in the language."""
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    cleaned = {key: _without_null(item) for key, item in value.items() if not (key == "default" and item is None)}
    cleaned = {key: item for key, item in cleaned.items() if not (key == "title" and isinstance(item, str))}
    options = cleaned.get("anyOf")
    if isinstance(options, list):
        kept = [option for option in options if option != {"type": "null"}]
        if len(kept) == 1 and len(options) == 2 and isinstance(kept[0], dict):
            del cleaned["anyOf"]
            cleaned = {**kept[0], **cleaned}
        else:
            cleaned["anyOf"] = kept
    return cleaned


if __name__ == "__main__":
    sys.stdout.write(json_schema_text())
