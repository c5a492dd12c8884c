"""The part of YAML that a configuration is written in: keys with values, lists, text, numbers, true, false and null.

Scalars are those of YAML 1.2, as editors read them: `no` and `2024-05-01` are text, 1e-3 is a number, 010 is not 8.
What has two readings or none is refused: a key that is there twice, tags, aliases (a few lines of which can stand for
billions of values), several documents.
"""

import re
from collections.abc import Hashable
from typing import Any, ClassVar

import yaml

MOST_BYTES = 1 << 16  # read in less than a second
_EXPECTED = "keys and values, lists, text and numbers, each written out"
_SCALARS = {  # tag -> its form, and the characters that it can start with
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9]{0,29})", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]{1,40}|(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,3})?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


def parse_yaml(content: bytes) -> Any:
    """The content of one document. Raises ValueError or yaml.YAMLError that says what is wrong with it."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    try:
        return yaml.load(content.decode("utf-8"), _Loader)  # noqa: S506 (makes nothing but what is listed here)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from error
    except RecursionError as error:
        raise ValueError("its entries are nested too deeply") from error


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict] = {}
    yaml_constructors: ClassVar[dict] = {}

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise self._refusal(event, "an alias")
        if event.tag is not None:
            raise self._refusal(event, "a tag")
        return super().compose_node(parent, index)

    def construct_keys_and_values(self, node: yaml.MappingNode) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key: Hashable = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise self._refusal(key_node, "a key that is no text")
            if key in content:
                raise self._refusal(key_node, f"the key '{key}' a second time")
            content[key] = self.construct_object(value_node, deep=True)
        return content

    def construct_list(self, node: yaml.SequenceNode) -> list:
        return self.construct_sequence(node, deep=True)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        return int(node.value)

    @staticmethod
    def _refusal(at: yaml.Node | yaml.Event, found: str) -> yaml.YAMLError:
        return yaml.constructor.ConstructorError(None, None, f"{found}; expected {_EXPECTED}", at.start_mark)


for _name, (_form, _starts) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_form})\Z"), _starts)
for _name, _construct in {
    "null": yaml.SafeLoader.construct_yaml_null,
    "bool": yaml.SafeLoader.construct_yaml_bool,
    "int": _Loader.construct_int,
    "float": yaml.SafeLoader.construct_yaml_float,
    "str": yaml.SafeLoader.construct_yaml_str,
    "seq": _Loader.construct_list,
    "map": _Loader.construct_keys_and_values,
}.items():
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _construct)
