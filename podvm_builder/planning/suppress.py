"""The section ``lint`` of a profile: findings that it has decided to be right, each with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from podvm_builder.catalog.lint_facts import lint_codes
from podvm_builder.catalog.yaml_nodes import Document, ListNode, MapNode, ScalarNode
from podvm_builder.errors import InputError
from podvm_builder.model.lint import Suppression


def suppressions(root: MapNode) -> tuple[Suppression, ...]:
    """Return the suppressions of a profile whose shape is right."""
    found = []
    for row in _rows(root):
        texts = {key: node.value for key in ("code", "path", "reason") if isinstance(node := row.get(key), ScalarNode)}
        found.append(
            Suppression(code=str(texts.get("code")), path=str(texts.get("path", "*")), reason=str(texts.get("reason")))
        )
    return tuple(found)


def suppression_errors(root: MapNode, document: Document) -> Iterator[InputError]:
    """Find codes that are no rule's, and reasons that say nothing."""
    for row in _rows(root):
        code, reason = row.get("code"), row.get("reason")
        if isinstance(code, ScalarNode) and isinstance(code.value, str) and code.value not in lint_codes():
            near = get_close_matches(code.value, lint_codes(), n=1)
            yield InputError(
                f"`{code.value}` is the code of no lint rule",
                code="PVB803",
                place=document.place(code.spot, f"did you mean `{near[0]}`?" if near else None),
                hint="docs/lint.md lists the rules; errors cannot be suppressed",
            )
        if isinstance(reason, ScalarNode) and isinstance(reason.value, str) and not reason.value.strip():
            yield InputError(
                "a suppression without a reason",
                code="PVB803",
                place=document.place(reason.spot),
                hint="say why the finding is right: it is shown and recorded with it",
            )


def _rows(root: MapNode) -> Iterator[MapNode]:
    section = root.get("lint")
    listed = section.get("suppress") if isinstance(section, MapNode) else None
    for row in listed.items if isinstance(listed, ListNode) else ():
        if isinstance(row, MapNode):
            yield row
