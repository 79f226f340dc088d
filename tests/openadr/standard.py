"""The Alliance's OpenAPI description of OpenADR 3.1.0, repaired where nothing could conform to it.

The file beside this one is as published. REPAIRS are its defects. LIBERTIES are where this node takes more than the
file allows, because the standard's own clients send it; they only widen what may be sent, and what is told back to
its sender.
Links, which the file lacks, tell a test program how objects hang together.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

__all__ = ["LIBERTIES", "PUBLISHED", "REPAIRS", "conformable", "published"]

PUBLISHED = Path(__file__).with_name("openadr3-3.1.0.yaml")
_BROKEN_DEFAULT = "default: null          -"
_COLLECTIONS = ("program", "event", "report", "subscription", "ven", "resource")

Document = dict[str, Any]


class _Texts(yaml.SafeLoader):  # type: ignore[misc]
    """Leaves dates the texts they are in JSON."""


_Texts.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def published() -> Document:
    """As published, but for one line without which it is not OpenAPI: a hyphen after a default of null."""
    text = PUBLISHED.read_text()
    assert text.count(_BROKEN_DEFAULT) == 1
    document: Document = yaml.load(text.replace(_BROKEN_DEFAULT, "default: null"), Loader=_Texts)
    return document


def _ven_and_resource_have_one_type(document: Document) -> None:
    """A ven's objectType would have to be VEN (objectMetadata) and BL_VEN_REQUEST (its request) at once."""
    schemas = document["components"]["schemas"]
    for name, request in (("ven", "BlVenRequest"), ("resource", "BlResourceRequest")):
        content = deepcopy(schemas[request])
        content["required"].remove("objectType")
        del content["properties"]["objectType"]
        schemas[f"{name}Content"] = content
        schemas[name]["allOf"][1] = {"$ref": f"#/components/schemas/{name}Content"}


def _a_new_ven_can_conflict(document: Document) -> None:
    """Names of vens are unique and the Definition answers a POST with 409, which only this route does not list."""
    document["paths"]["/vens"]["post"]["responses"]["409"] = {"$ref": "#/components/responses/conflict"}


def _requests_have_a_body(document: Document) -> None:
    """Some POST and PUT leave their body optional though its fields are required; the Definition answers 400."""
    for item in document["paths"].values():
        for method in ("post", "put"):
            if method in item and "requestBody" in item[method]:
                item[method]["requestBody"]["required"] = True


def _program_descriptions_are_objects(document: Document) -> None:
    """Their schema has a required field but no type, so that any number would do."""
    descriptions = document["components"]["schemas"]["programRequest"]["properties"]["programDescriptions"]
    descriptions["items"]["type"] = "object"


def _null_means_absent(document: Document) -> None:
    """Clients write null for what they leave out, also where the file has a reference, which cannot be nullable."""
    for schema in _objects_in(document["components"]["schemas"]):
        for name, field in schema["properties"].items():
            if name in schema.get("required", ()):
                continue
            if "$ref" in field:
                schema["properties"][name] = {"nullable": True, "allOf": [field]}
            else:
                field["nullable"] = True


def _operations_of_3_0(document: Document) -> None:
    """Clients of 3.1 still subscribe to GET, POST, PUT; they are told back what they said."""
    operations = document["components"]["schemas"]["subscriptionRequest"]["properties"]["objectOperations"]["items"]
    operations["properties"]["operations"]["items"]["enum"] += ["GET", "POST", "PUT"]


REPAIRS: Mapping[str, Callable[[Document], None]] = {
    "ven and resource have one type": _ven_and_resource_have_one_type,
    "a new ven can conflict": _a_new_ven_can_conflict,
    "requests have a body": _requests_have_a_body,
    "program descriptions are objects": _program_descriptions_are_objects,
}
LIBERTIES: Mapping[str, Callable[[Document], None]] = {
    "null means absent": _null_means_absent,
    "operations of 3.0": _operations_of_3_0,
}


def conformable(*, liberties: bool = True, callback_url: str | None = None) -> Document:
    """Repaired, with or without this node's liberties; callbacks only go to `callback_url`, for tests call nobody."""
    document = published()
    for repair in (*REPAIRS.values(), *(LIBERTIES.values() if liberties else ())):
        repair(document)
    if callback_url is not None:
        operations = document["components"]["schemas"]["subscriptionRequest"]["properties"]["objectOperations"]["items"]
        operations["properties"]["callbackUrl"]["enum"] = [callback_url]
    _link(document)
    return document


def _link(document: Document) -> None:
    """What is created can be read, replaced and deleted, and others can refer to it."""
    made = "$response.body#/id"
    for name in _COLLECTIONS:
        responses = document["paths"][f"/{name}s"]["post"]["responses"]
        by_id = document["paths"][f"/{name}s/{{{name}ID}}"]
        links = {
            method: {"operationId": by_id[method]["operationId"], "parameters": {f"{name}ID": made}}
            for method in ("get", "put", "delete")
        }
        for child, parent in (("event", "program"), ("report", "event"), ("resource", "ven")):
            if parent == name:
                create = document["paths"][f"/{child}s"]["post"]["operationId"]
                links["child"] = {"operationId": create, "requestBody": {f"{name}ID": made}}
        responses["201"]["links"] = links


def _objects_in(node: Any) -> list[Document]:
    """Every schema with properties, wherever it is."""
    if isinstance(node, list):
        return [found for part in node for found in _objects_in(part)]
    if not isinstance(node, dict):
        return []
    own = [node] if isinstance(node.get("properties"), dict) else []
    return own + [found for part in node.values() for found in _objects_in(part)]
