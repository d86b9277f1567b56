"""What of a filter an index can answer. The parsed tree becomes conditions with parameters, never text.

The conditions only narrow down what is looked at: whether a resource fits is decided by the whole filter afterwards.
Above: storage. Below: scim2-models.
"""

from typing import Any
from unicodedata import normalize

from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
)

from ai_platform.scim.rows import folded

Conditions = list[tuple[str, str]]
"""(column, value it must equal)."""

COLUMNS = {"username": ("User", "name"), "displayname": ("Group", "name"), "externalid": ("", "external_id")}
"""Attribute in lower case -> the kind it narrows ("" = any) and its column."""


def narrowed(node: FilterNode | None, kinds: list[str]) -> Conditions:
    """Conditions that every resource which fits also fits; none = all must be looked at."""
    if isinstance(node, LogicalExpr) and node.op == LogicalOperator.and_:
        return [condition for term in node.terms for condition in narrowed(term, kinds)]
    if not isinstance(node, Comparison) or node.op != CompareOperator.eq or not isinstance(node.value, str):
        return []
    attribute = node.attr_path.attr.lower()
    if node.attr_path.sub_attr is not None or node.attr_path.uri is not None:
        return []
    exact = normalize("NFC", node.value)
    if attribute == "id":
        return [("id", exact)]
    kind, column = COLUMNS.get(attribute, ("-", ""))
    if kind and kinds != [kind]:
        return []
    return [(column, exact if column == "external_id" else folded(node.value))]


def mentions(node: Any, attribute: str) -> bool:
    """Whether the filter speaks of this attribute (lower case)."""
    if isinstance(node, LogicalExpr):
        return any(mentions(term, attribute) for term in node.terms)
    if isinstance(node, Not):
        return mentions(node.expr, attribute)
    if isinstance(node, Comparison | Present | ValuePath):
        path: AttrPath = node.attr_path
        return path.attr.lower() == attribute
    return False
